//! `bramblegate demo`: a story, or a venue file, played in private namespaces.
//!
//! Three processes: the one that was called keeps watch and restores the terminal whatever happens;
//! it starts a second that makes the namespaces; inside them runs the third, which builds the world
//! and plays the story. `bramblegate demo attach` finds them by the first one's file.

mod attach;
mod captions;
mod diagram;
mod keys;
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
  bramblegate demo --loop --big            for a stand: starts again when no key is pressed
  bramblegate demo --plain --seconds 60    one line for each change, then ends
  bramblegate demo --venue tests/venues/our-subnet-gateway-1.toml
  sudo bramblegate demo attach status      from a second terminal: any verb, inside the demo";

/// The whole thing on this machine without hardware, in private namespaces
#[derive(Debug, Clone, Default, clap::Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub struct Args {
    /// Walk into this venue: a file as in tests/venues
    #[arg(long, value_name = "FILE")]
    pub venue: Option<PathBuf>,
    /// End by itself after so long
    #[arg(long, value_name = "N")]
    pub seconds: Option<u64>,
    /// One line for each change, for logs and tests
    #[arg(long)]
    pub plain: bool,
    /// Start the story again after so many seconds without a key
    #[arg(
        long = "loop",
        value_name = "N",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "60"
    )]
    pub again: Option<u64>,
    /// Draw the display as large as the terminal allows, and little else: for a projector
    #[arg(long)]
    pub big: bool,
    #[command(subcommand)]
    pub action: Option<Action>,
}

#[derive(Debug, Clone, clap::Subcommand)]
pub enum Action {
    Attach(attach::Args),
}

/// Marks the process that is to make the namespaces; holds the number of the one that watches over
/// it, by which `attach --demo` knows it.
const STAGE: &str = "BRAMBLEGATE_DEMO";

/// Exit 0 if everything expected was seen, 1 if not, 71 if the world cannot be built, 78 for faults
/// in the venue file.
pub fn main(args: Args) -> ExitCode {
    if let Some(Action::Attach(args)) = &args.action {
        return attach::main(args);
    }
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
    // Without its file the demo plays all the same; only `attach` does not find it.
    let _record = match running::Record::write() {
        Ok(record) => Some(record),
        Err(error) => {
            output::err(&format!("bramblegate demo attach will not find this demo: {error}\n"));
            None
        }
    };
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

/// Returns the gateway's program: the one that started this, or one beside this, or where it is
/// installed.
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
