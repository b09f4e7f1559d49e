//! `bramblegate run`.

use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  bramblegate run                          with the settings of this machine
  bramblegate run -c bramblegate.toml      with others";

/// Be the gateway, in the foreground; what systemd starts
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    pub config: super::settings::ConfigArg,
}

pub fn main(_args: Args) -> ExitCode {
    super::not_built("run")
}
