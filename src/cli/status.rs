//! `bramblegate status`.

use std::path::PathBuf;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  bramblegate status                       for people
  bramblegate status --json | jq .uplink   one snapshot
  bramblegate status --json --watch        a line for each change";

/// Tell the daemon's state: exit 0 ok or notice, 1 warning, 2 fault, 3 not reachable
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// One snapshot as JSON; with --watch the stream
    #[arg(long)]
    pub json: bool,
    /// Go on for as long as it runs
    #[arg(long)]
    pub watch: bool,
    /// The daemon's socket; without it the one that the settings name
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

pub fn main(_args: Args) -> ExitCode {
    super::not_built("status")
}
