//! `bramblegate panel`.

pub mod glass;
mod live;
pub mod style;
pub mod view;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::demo::terminal;
use super::{exit, output, settings};

pub use glass::draw;
pub use style::{Depth, Style};

const EXAMPLES: &str = "\
Examples:
  bramblegate panel                        until q or Ctrl-C
  bramblegate panel --once                 one picture
  bramblegate panel | tee panel.log        a line of text for each change";

/// Where the daemon's socket is if no settings tell.
const DEFAULT_SOCKET: &str = "/run/bramblegate/status.sock";
/// Tells the process that draws from the one that watches over the terminal.
const DRAWING: &str = "BRAMBLEGATE_PANEL";
/// The daemon cannot be reached, as for `status`.
const NOT_REACHABLE: u8 = 3;

/// Show display and LED in the terminal, live
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The daemon's socket; without it the one that the settings name
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Print one picture and end
    #[arg(long)]
    pub once: bool,
}

/// Exit 0, or 3 if the daemon is not reachable.
pub fn main(args: Args) -> ExitCode {
    let socket = args.socket.unwrap_or_else(configured_socket);
    if args.once {
        return told(live::once(&socket));
    }
    if !(std::io::stdout().is_terminal() && std::io::stdin().is_terminal()) {
        return told(live::lines(&socket));
    }
    if std::env::var_os(DRAWING).is_some() {
        live::run(&socket);
        return ExitCode::SUCCESS;
    }
    // Before the screen is taken over: a mistake is told where it stays to be read.
    if let Err(error) = crate::venue::watch::Watch::open(&socket) {
        return told(Err(error.to_string()));
    }
    match terminal::guard(DRAWING) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            output::err(&format!("bramblegate panel: {error}\n"));
            ExitCode::from(exit::CANNOT_CREATE)
        }
    }
}

fn told(result: Result<(), String>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    output::err(&format!("bramblegate panel: {error}; does the daemon run? (systemctl status bramblegate)\n"));
    ExitCode::from(NOT_REACHABLE)
}

fn configured_socket() -> PathBuf {
    let settings = settings::load(Path::new(settings::DEFAULT_FILE));
    settings.map_or_else(|_| PathBuf::from(DEFAULT_SOCKET), |merged| merged.settings.status.socket)
}
