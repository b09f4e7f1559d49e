//! `bramblegate status`: shows the daemon's state.

#[cfg(test)]
mod tests;
mod text;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

pub use self::text::{age, round_trip};
use super::{control, output, settings};
use crate::api::client::{Error, StatusClient, View};
use crate::api::control::Order;
use crate::api::status::{Line, Severity, Snapshot};

const EXAMPLES: &str = "\
Examples:
  bramblegate status                       for people
  bramblegate status -j | jq .uplink       one snapshot as JSON
  bramblegate status -jw                   a line of JSON for each change
  bramblegate status --acknowledge         acknowledge all current alerts: the LED calms down
  bramblegate status > /dev/null || echo look at it

The exit status is that of a Nagios plugin: 0 ok (or a notice), 1 warning, 2 fault (critical), \
3 unknown: the daemon cannot be reached.";

/// The status socket if the settings cannot be read.
pub const DEFAULT_SOCKET: &str = "/run/bramblegate/status.sock";
/// Timeout of a snapshot.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// Interval of updates while nothing changes, for ages and to notice that the reader is gone.
const REDRAW: Duration = Duration::from_secs(1);

/// Exit codes of this verb; 0 is ok or notice.
mod code {
    pub const WARNING: u8 = 1;
    pub const FAULT: u8 = 2;
    pub const NOT_REACHABLE: u8 = 3;
}

/// Show the gateway's state; exits as a Nagios plugin does
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Print one snapshot as JSON; with --watch the stream
    #[arg(short, long)]
    pub json: bool,
    /// Keep running; update on every change
    #[arg(short, long)]
    pub watch: bool,
    /// Acknowledge all current alerts, as the button does
    ///
    /// The LED of a fault falls to amber. New and recurring alerts are not covered.
    #[arg(long, conflicts_with_all = ["json", "watch"])]
    pub acknowledge: bool,
    /// The daemon's socket, if not the one in the settings
    ///
    /// With --acknowledge it is the control socket.
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    #[command(flatten)]
    pub config: settings::ConfigArg,
}

/// Prints the status. Exits with 0 ok or notice, 1 warning, 2 fault, 3 not reachable.
pub fn main(args: Args) -> ExitCode {
    if args.acknowledge {
        return acknowledge(args.socket, &args.config.config);
    }
    let socket = args.socket.unwrap_or_else(|| configured_socket(&args.config.config));
    let result = match (args.json, args.watch) {
        (true, true) => stream(&socket),
        (false, true) => follow(&socket),
        (json, false) => once(&socket, json),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            output::error(&format!("status: {}: {error}", socket.display()), remedy(&error));
            ExitCode::from(code::NOT_REACHABLE)
        }
    }
}

/// Acknowledges alerts. Exits with 0 done, 1 refused, 3 not reachable, 77 not allowed.
fn acknowledge(socket: Option<PathBuf>, config: &Path) -> ExitCode {
    let socket = socket.unwrap_or_else(|| control::configured_socket(config));
    match control::send(&socket, &Order::Acknowledge) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            let help = "`sudo journalctl -u bramblegate` shows what happened";
            output::failure("status --acknowledge", &error, help);
            ExitCode::from(code::WARNING)
        }
        Err(error) => {
            let message = format!("status --acknowledge: {}: {error}", socket.display());
            output::error(&message, control::remedy(&error));
            ExitCode::from(control::code(&error).unwrap_or(code::NOT_REACHABLE))
        }
    }
}

/// Returns the status socket of these settings.
pub fn configured_socket(config: &Path) -> PathBuf {
    let settings = settings::load(config);
    settings.map_or_else(|_| PathBuf::from(DEFAULT_SOCKET), |merged| merged.settings.sockets.status)
}

/// Returns the remedy.
pub fn remedy(error: &Error) -> &'static str {
    use std::io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied, TimedOut};
    match error {
        Error::Io(error) if error.kind() == PermissionDenied => {
            "its folder keeps this user out: try sudo"
        }
        Error::Io(error) if matches!(error.kind(), NotFound | ConnectionRefused) => {
            "start the daemon with `sudo systemctl start bramblegate`, or name its socket \
             (--socket PATH); `sudo journalctl -u bramblegate` shows why it does not start"
        }
        Error::Io(error) if error.kind() == TimedOut => {
            "the daemon hangs, or another program listens there: `systemctl status bramblegate` \
             shows it, `sudo systemctl restart bramblegate` ends it"
        }
        Error::Refused(_) => "end some of the programs that watch it",
        Error::Ended => "the daemon has stopped: `sudo journalctl -u bramblegate` shows why",
        Error::Io(_) | Error::NotStatus(_) => {
            "check that a bramblegate daemon of this version listens there: `systemctl status \
             bramblegate`"
        }
    }
}

/// Returns the exit code of the severity.
fn severity_code(snapshot: &Snapshot) -> u8 {
    match snapshot.severity.known() {
        Some(Severity::Ok | Severity::Notice) => 0,
        Some(Severity::Warning) => code::WARNING,
        // An unknown severity of a newer daemon counts as a fault.
        Some(Severity::Fault) | None => code::FAULT,
    }
}

fn once(socket: &Path, json: bool) -> Result<u8, Error> {
    let (text, snapshot) = StatusClient::fetch(socket, TIMEOUT)?;
    let code = if json {
        output::deliver_json(&format!("{text}\n"))
    } else {
        output::deliver_drawn(&text::page(&snapshot, output::colours(), output::columns()))
    };
    Ok(match code {
        0 => severity_code(&snapshot),
        code => code,
    })
}

/// Prints every line as it arrives.
fn stream(socket: &Path) -> Result<u8, Error> {
    let mut client = StatusClient::connect(socket)?;
    client.set_timeout(Some(REDRAW));
    while output::is_open() {
        if let Some(line) = client.next_line()? {
            if !output::try_out_json(&format!("{}\n", line.text)) {
                break;
            }
        }
    }
    Ok(0)
}

/// Prints the page again and again: in place on a terminal, else after each change.
fn follow(socket: &Path) -> Result<u8, Error> {
    let mut client = StatusClient::connect(socket)?;
    let terminal = std::io::stdout().is_terminal();
    client.set_timeout(Some(REDRAW));
    let mut view = View::default();
    while output::is_open() {
        let news = client.next_line()?.map(|received| received.line);
        let is_quiet = matches!(news, None | Some(Line::Other));
        news.into_iter().for_each(|line| view.take(line));
        let Some(snapshot) = view.now().filter(|_| terminal || !is_quiet) else { continue };
        let page = text::page(&snapshot, output::colours(), output::columns());
        if !output::try_out_drawn(&if terminal { in_place(&page) } else { format!("{page}\n") }) {
            break;
        }
    }
    // The reader may be gone before the first snapshot.
    Ok(view.snapshot().map_or(0, severity_code))
}

/// Returns the page with the sequences that draw it in place: cursor home, the rest of each line
/// cleared, then all below.
fn in_place(page: &str) -> String {
    format!("\x1b[H{}\x1b[J", page.replace('\n', "\x1b[K\n"))
}
