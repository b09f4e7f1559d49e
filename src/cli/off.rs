//! `bramblegate off`.

use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  sudo bramblegate off";

/// Take everything of ours out of the kernel, also when the daemon is dead
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    pub config: super::settings::ConfigArg,
}

pub fn main(_args: Args) -> ExitCode {
    super::not_built("off")
}
