//! `bramblegate doctor`.

use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  bramblegate doctor                       exit 0 clean, 1 findings, 2 the gateway is blocked
  sudo bramblegate doctor                  sees the rules of others as well";

/// Look for what on this machine would stop or disturb the gateway; changes nothing
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    pub config: super::settings::ConfigArg,
}

pub fn main(_args: Args) -> ExitCode {
    super::not_built("doctor")
}
