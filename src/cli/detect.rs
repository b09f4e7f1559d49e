//! `bramblegate detect`.

use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  bramblegate detect > bramblegate.toml    settings for this machine, the reasoning on the terminal
  bramblegate detect --try 0x27            show each wiring's name on the display at that address";

/// Look for board, displays, LEDs and network ports; print a settings file for them
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Show the name of each wiring on the display at this I2C address, one after the other
    #[arg(long = "try", value_name = "ADDRESS")]
    pub try_address: Option<String>,
}

pub fn main(_args: Args) -> ExitCode {
    super::not_built("detect")
}
