//! `bramblegate demo`: a story, or a venue file, played in private namespaces.
//!
//! Three processes: the one that was called keeps watch and restores the terminal whatever happens;
//! it starts a second that makes the namespaces; inside them runs the third, which builds the world
//! and tells the story.

mod picture;
mod stage;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::inside;

use bramblegate::cli::{exit, output, terminal};

const EXAMPLES: &str = "\
Examples:
  bramblegate demo                         tells its story; keys cause events
  bramblegate demo --plain --seconds 60    one line for each change, then ends
  bramblegate demo --venue tests/venues/our-subnet-gateway-1.toml";

/// The whole thing on this machine without hardware, in private namespaces
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Walk into this venue: a file as in tests/venues
    #[arg(long, value_name = "FILE")]
    pub venue: Option<PathBuf>,
    /// Exit after this time: a number of seconds, or with a unit (90s, 2m, 1h)
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub seconds: Option<u64>,
    /// One line for each change, for logs and tests
    #[arg(long)]
    pub plain: bool,
}

/// No time as it is written on the command line.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("write a number of seconds, or one with a unit: 90s, 2m, 1h")]
struct NoTime;

/// Returns a time in seconds; a number without a unit is one.
fn seconds(text: &str) -> Result<u64, NoTime> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text.get(digits.len()..) {
        Some("" | "s") => 1,
        Some("m" | "min") => 60,
        Some("h") => 3600,
        _ => return Err(NoTime),
    };
    digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).ok_or(NoTime)
}

/// Tells the process that is to make the namespaces.
const STAGE: &str = "BRAMBLEGATE_DEMO";

/// Exit 0 if everything expected was seen, 1 if not, 71 if the world cannot be built, 78 for faults
/// in the venue file.
pub fn main(args: Args) -> ExitCode {
    if inside::is_inside() {
        return stage::perform(&args);
    }
    if std::env::var_os(STAGE).is_some() {
        let words: Vec<_> = std::env::args_os().skip(1).collect();
        output::err(&format!("bramblegate demo: {}\n", inside::enter(&words)));
        return ExitCode::from(exit::CANNOT_CREATE);
    }
    if let Some(path) = &args.venue {
        if let Err(error) = crate::Venue::read(path) {
            output::err(&format!("{error}\n"));
            return ExitCode::from(exit::CONFIG);
        }
    }
    match terminal::guard(STAGE) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            output::err(&format!("bramblegate demo: {error}\n"));
            ExitCode::from(exit::CANNOT_CREATE)
        }
    }
}

/// Returns whether to print lines instead of drawing.
fn is_plain(args: &Args) -> bool {
    args.plain || !std::io::stdout().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit_or_are_seconds() {
        for (text, time) in [("5", 5), ("5s", 5), ("2m", 120), ("2min", 120), ("1h", 3600)] {
            assert_eq!(seconds(text).ok(), Some(time), "{text}");
        }
        for text in
            ["", "s", "5x", "1h30m", "-1", "1.5s", "99999999999999999999", "9999999999999999999h"]
        {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
