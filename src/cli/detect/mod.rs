//! `bramblegate detect`: detects hardware and interfaces, and prints settings for them. Reads only.

pub mod decide;
pub mod look;
#[cfg(test)]
mod tests;
mod try_panel;
pub mod write;

use std::path::PathBuf;
use std::process::ExitCode;

use super::machine::Machine;
use super::{exit, output, settings};

const EXAMPLES: &str = "\
Examples:
  bramblegate detect > bramblegate.toml    settings for this machine, the reasoning on the terminal
  bramblegate detect --try 0x27            show each wiring's number on the display at that \
  address";

/// Look for hardware and interfaces; print a settings file
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Step through known wirings and OLEDs at this address
    #[arg(long = "try", value_name = "ADDRESS", value_parser = address)]
    pub try_address: Option<u8>,
    /// With --try: the I2C bus, if not the board's
    #[arg(long, value_name = "/dev/i2c-N", requires = "try_address")]
    pub bus: Option<PathBuf>,
    /// With --try: the display's size, if not the board's
    #[arg(long, value_name = "SIZE", requires = "try_address")]
    pub size: Option<String>,
}

/// An address outside those of expanders.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("a PCF8574 has 0x20 to 0x27, a PCF8574A 0x38 to 0x3f")]
struct NoExpander;

/// Parses the address of an expander: hexadecimal after "0x", else decimal.
fn address(text: &str) -> Result<u8, NoExpander> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u8::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    number.filter(|address| matches!(address, 0x20..=0x27 | 0x38..=0x3f)).ok_or(NoExpander)
}

/// Prints settings to standard output, and the reasons to standard error.
pub fn main(args: Args) -> ExitCode {
    let machine = Machine::real();
    let boards = settings::boards();
    let compatible = machine.bytes(settings::COMPATIBLE);
    let board = match boards.resolve("auto", compatible.as_deref()) {
        Ok(board) => board,
        Err(error) => {
            settings::report_board("detect", &error);
            return ExitCode::from(exit::CONFIG);
        }
    };
    if let Some(address) = args.try_address {
        return try_panel::main(&board, address, args.bus, args.size.as_deref());
    }
    let found = look::look(&machine, &board, compatible.is_some());
    let proposal = decide::decide(&found, &board);
    for line in &proposal.reasons {
        output::err(&format!("{line}\n"));
    }
    ExitCode::from(output::deliver(&write::write(&proposal, &board)))
}
