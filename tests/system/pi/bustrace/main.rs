//! The host's side of `make pi-test`: compares the traffic on the bus of the emulated Raspberry Pi
//! with what the gateway claimed.
//!
//!     bustrace TRACE CONSOLE [RATIO]     prints the times from power-on to the address, and verdicts
//!
//! With RATIO, this build's first text has to come within that fraction of another build's time.
//! Exits with 1 if a verdict is bad, with 2 if trace or console are not those of a whole run.

mod console;
mod glass;
mod shares;
mod trace;
mod verdicts;

use std::process::ExitCode;
use std::{env, fs};

use console::Console;
use glass::Glass;

/// The expander's address, as in the board's file.
const EXPANDER: u8 = 0x27;

fn main() -> ExitCode {
    match judge() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("pi-test: FAIL: {error}");
            ExitCode::from(2)
        }
    }
}

fn judge() -> Result<bool, String> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (trace, console, ratio) = match arguments.as_slice() {
        [trace, console] => (trace, console, None),
        [trace, console, ratio] => (trace, console, Some(ratio)),
        _ => return Err("usage: bustrace TRACE CONSOLE [RATIO]".to_owned()),
    };
    let at_most =
        ratio.map(|ratio| ratio.parse::<f64>().map_err(|error| format!("{ratio}: {error}")));
    let read = |path| fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
    let mut messages = trace::messages(&read(trace)?)?;
    let console = Console::read(&read(console)?)?;
    trace::time(&mut messages, &console.transfers)?;
    let starts: Vec<_> = console.all("start").map(|mark| mark.at).collect();
    let glass = Glass::play(&messages, EXPANDER, &starts);

    let shares = shares::Shares::measure(&console, &messages, &glass)?;
    shares.print();
    verdicts::all(&console, &messages, &glass, &shares, at_most.transpose()?)
}
