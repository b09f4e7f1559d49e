//! `bramblegate demo`.

use std::path::PathBuf;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  bramblegate demo                         tells its story; keys cause events
  bramblegate demo --plain --seconds 60    one line for each change, then ends";

/// The whole thing on this machine without hardware, in private namespaces
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Walk into this venue: a file as in tests/venues
    #[arg(long, value_name = "FILE")]
    pub venue: Option<PathBuf>,
    /// End by itself after so long
    #[arg(long, value_name = "N")]
    pub seconds: Option<u64>,
    /// One line for each change, for logs and tests
    #[arg(long)]
    pub plain: bool,
}

pub fn main(_args: Args) -> ExitCode {
    super::not_built("demo")
}
