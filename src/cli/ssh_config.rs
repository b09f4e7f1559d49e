//! `bramblegate ssh-config`.

use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  bramblegate ssh-config >> ~/.ssh/config";

/// Print ready-made ssh settings for the nodes, through the head node
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    pub config: super::settings::ConfigArg,
}

pub fn main(_args: Args) -> ExitCode {
    super::not_built("ssh-config")
}
