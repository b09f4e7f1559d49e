//! `bramblegate panel`.

use std::path::PathBuf;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  bramblegate panel                        until Ctrl-C";

/// Show display and LED in the terminal, live
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The daemon's socket; without it the one that the settings name
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

pub fn main(_args: Args) -> ExitCode {
    super::not_built("panel")
}
