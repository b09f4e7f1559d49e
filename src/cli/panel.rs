//! `bramblegate panel`: shows display and LED in the terminal.

mod glass;
mod live;
pub mod style;
pub mod view;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{exit, output, settings, status, terminal};
use crate::api::client::{Error, StatusClient};

pub use glass::{draw, glass, lamp, lamp_words};
pub use style::{Depth, Style};

const EXAMPLES: &str = "\
Examples:
  bramblegate panel                        until q or Ctrl-C
  bramblegate panel --once                 one picture
  bramblegate panel | tee panel.log        a line of text for each change";

/// Environment variable of the process that draws; its parent guards the terminal.
const DRAWING: &str = "BRAMBLEGATE_PANEL";
/// Exit code if the daemon cannot be reached, as for `status`.
const NOT_REACHABLE: u8 = 3;

/// Show display and LED in the terminal, live
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The daemon's socket, if not the one in the settings
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Print one picture and end
    #[arg(long)]
    pub once: bool,
    #[command(flatten)]
    pub config: settings::ConfigArg,
}

/// Draws the panel. Exits with 0, or with 3 if the daemon is not reachable.
pub fn main(args: Args) -> ExitCode {
    let socket = args.socket.unwrap_or_else(|| status::configured_socket(&args.config.config));
    if args.once {
        return finish(&socket, live::once(&socket));
    }
    if !(std::io::stdout().is_terminal() && std::io::stdin().is_terminal()) {
        return finish(&socket, live::lines(&socket));
    }
    if std::env::var_os(DRAWING).is_some() {
        return finish(&socket, live::run(&socket).map(|()| 0).map_err(Error::from));
    }
    // Before the alternate screen is open, so that the error stays visible.
    if let Err(error) = StatusClient::connect(&socket) {
        return finish(&socket, Err(error));
    }
    match terminal::guard(DRAWING, None) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            output::error(&format!("panel: {error}"), "use --once, which needs no terminal");
            ExitCode::from(exit::CANNOT_CREATE)
        }
    }
}

/// Returns the exit code, and reports a daemon that cannot be reached.
fn finish(socket: &Path, result: Result<u8, Error>) -> ExitCode {
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let message = format!("panel: {}: {error}", socket.display());
            output::error(&message, status::remedy(&error));
            ExitCode::from(NOT_REACHABLE)
        }
    }
}
