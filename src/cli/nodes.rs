//! `bramblegate nodes`.

use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  bramblegate nodes                        list them
  sudo bramblegate nodes drain rpi2        no alarm while it is worked on
  sudo bramblegate nodes resume rpi2";

/// The inventory of nodes
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// list, add, adopt, rename, forget, drain or resume, and what it needs
    #[arg(trailing_var_arg = true, value_name = "ACTION")]
    pub action: Vec<String>,
}

pub fn main(_args: Args) -> ExitCode {
    super::not_built("nodes")
}
