//! `bramblegate setup`.

use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  sudo bramblegate setup                                       asks
  sudo bramblegate setup --uplink wlan0 --cluster eth0 --yes   does not ask";

/// Ask what detect cannot know, write the settings, start the service
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The port that leads to the venue
    #[arg(long, value_name = "IF")]
    pub uplink: Option<String>,
    /// The port that leads to the nodes
    #[arg(long, value_name = "IF")]
    pub cluster: Option<String>,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

pub fn main(_args: Args) -> ExitCode {
    super::not_built("setup")
}
