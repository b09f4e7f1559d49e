//! `bramblegate demo`: a story, or a venue file, played in private namespaces.
//!
//! There are three processes. The first one supervises, and restores the terminal whatever happens.
//! It starts a second one that makes the namespaces. Inside them the third builds the world and
//! plays the story. `bramblegate demo attach` finds them by the record file of the first.

mod attach;
mod captions;
mod diagram;
mod keys;
mod page;
mod picture;
mod running;
mod stage;
mod words;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::{Error, Result, inside};

use bramblegate::cli::{exit, output, terminal};

const EXAMPLES: &str = "\
Examples:
  bramblegate demo                         plays its story; keys cause events
  bramblegate demo --loop --big            for a stand: starts again by itself
  bramblegate demo --plain --seconds 60    one line for each change, then ends
  bramblegate demo --venue tests/venues/our-subnet-gateway-1.toml
  bramblegate demo attach status           in a second terminal: any verb inside it";

/// The whole thing on this machine without hardware, in private namespaces
#[derive(Debug, Clone, Default, clap::Args)]
#[command(after_long_help = EXAMPLES, args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub struct Args {
    /// Walk into this venue: a file as in tests/venues
    #[arg(long, value_name = "FILE")]
    pub venue: Option<PathBuf>,
    /// Exit after this time: seconds, or with a unit (90s, 2m, 1h)
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub seconds: Option<u64>,
    /// One line for each change, for logs and tests
    #[arg(long)]
    pub plain: bool,
    /// Start the story again after this time without a key
    #[arg(
        long = "loop",
        value_name = "TIME",
        value_parser = seconds,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "60"
    )]
    pub again: Option<u64>,
    /// Draw the display as large as the terminal allows, for a projector
    #[arg(long)]
    pub big: bool,
    #[command(subcommand)]
    pub action: Option<Action>,
}

/// Reports that a text is no time.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("write a number of seconds, or one with a unit: 90s, 2m, 1h")]
struct NoTime;

/// Parses a time in seconds; a number without a unit is in seconds.
fn seconds(text: &str) -> std::result::Result<u64, NoTime> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text.get(digits.len()..) {
        Some("" | "s") => 1,
        Some("m" | "min") => 60,
        Some("h") => 3600,
        _ => return Err(NoTime),
    };
    digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).ok_or(NoTime)
}

#[derive(Debug, Clone, clap::Subcommand)]
pub enum Action {
    Attach(attach::Args),
}

/// Environment variable that marks the process that makes the namespaces; contains the PID of its
/// supervisor, which `attach --demo` uses.
const STAGE: &str = "BRAMBLEGATE_DEMO";

/// The remedy if the demo's world cannot be built.
pub(super) const NEEDED: &str =
    "run it with sudo; it needs the packages iproute2, nftables and dnsmasq-base";

/// Plays the demo. Returns 0 if all expectations were met, 1 if not, 71 if the world cannot be
/// built, 78 for faults in the venue file.
pub fn main(args: Args) -> ExitCode {
    if let Some(Action::Attach(args)) = &args.action {
        return attach::main(args);
    }
    if inside::is_inside() {
        return stage::perform(&args);
    }
    if std::env::var_os(STAGE).is_some() {
        let words: Vec<_> = std::env::args_os().skip(1).collect();
        output::failure("demo", &inside::enter(&words).to_string(), NEEDED);
        return ExitCode::from(exit::CANNOT_CREATE);
    }
    if let Some(path) = &args.venue {
        if let Err(error) = crate::Venue::read(path) {
            output::error(
                &format!("demo: {error}"),
                "tests/venues/README.md describes these files",
            );
            return ExitCode::from(exit::CONFIG);
        }
    }
    // Without a record file, only `attach` does not work.
    let _record = match running::Record::write() {
        Ok(record) => Some(record),
        Err(error) => {
            output::note(
                &format!("`bramblegate demo attach` will not find this demo: {error}"),
                "the demo itself plays without it",
            );
            None
        }
    };
    // Without a free port, only the status page is not reachable from the machine's browser.
    let page = page::Offer::make();
    let offered = page.as_ref().map(|page| (page::VARIABLE, page.value()));
    match terminal::guard(STAGE, offered) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            output::failure("demo", &error.to_string(), NEEDED);
            ExitCode::from(exit::CANNOT_CREATE)
        }
    }
}

/// Returns whether to print lines instead of drawing.
fn is_plain(args: &Args) -> bool {
    args.plain || !std::io::stdout().is_terminal()
}

/// Returns the gateway's program: the one that started this, one beside this, or the installed one.
fn gateway() -> Result<PathBuf> {
    let own = std::env::current_exe().map_err(|error| Error(error.to_string()))?;
    let named = std::env::var_os("BRAMBLEGATE_PROGRAM").map(PathBuf::from);
    let beside = own.parent().map(|folder| folder.join("bramblegate"));
    let installed = ["/usr/local/bin/bramblegate", "/usr/bin/bramblegate"].map(PathBuf::from);
    let mut places = named.into_iter().chain(beside).chain(installed);
    places.find(|path| path.is_file()).ok_or_else(|| {
        Error(format!(
            "there is no bramblegate beside {}: start it by `bramblegate demo`",
            own.display()
        ))
    })
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
