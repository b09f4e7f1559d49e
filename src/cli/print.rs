//! `bramblegate print`: what would be applied, by the same pure code.

use std::path::PathBuf;
use std::process::ExitCode;

use super::settings::{self, ConfigArg};
use super::{not_built, output};

const EXAMPLES: &str = "\
Examples:
  bramblegate print ruleset | unshare -rn nft -c -f -    let nft check the rules
  bramblegate print settings                             every value, and where it was written
  bramblegate print frame                                what the display would hold";

/// Print what would be applied: rules, routes, dnsmasq's settings, the display's contents, the settings
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What to print
    #[arg(value_enum)]
    pub what: What,
    #[command(flatten)]
    pub config: ConfigArg,
    /// Read links, addresses and routes from this file, not from the kernel
    #[arg(long, value_name = "FILE")]
    pub facts: Option<PathBuf>,
    /// With "ruleset": as it is loaded, with the table's flags and the flow table
    #[arg(long)]
    pub kernel: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum What {
    Ruleset,
    Routes,
    Dnsmasq,
    Frame,
    Settings,
}

/// Exit 0, or 78 when the settings are not right.
pub fn main(args: Args) -> ExitCode {
    let merged = match settings::load_or_tell(&args.config.config) {
        Ok(merged) => merged,
        Err(code) => return code,
    };
    match args.what {
        What::Settings => {
            output::out(&merged.to_toml());
            ExitCode::SUCCESS
        }
        What::Ruleset | What::Routes | What::Dnsmasq | What::Frame => not_built("print"),
    }
}
