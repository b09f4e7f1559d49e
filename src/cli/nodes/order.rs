//! `nodes drain` and `nodes resume`: orders on the control socket.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::settings::ConfigArg;
use super::super::{exit, output, settings};
use super::code;
use crate::source::control::SCHEMA;

const EXAMPLES: &str = "\
Examples:
  bramblegate nodes drain rpi2 rpi3        no alarm while they are worked on
  bramblegate nodes resume rpi2 rpi3";

/// Where the socket is if no settings tell.
const DEFAULT_SOCKET: &str = "/run/bramblegate/control.sock";
/// A card may take its time to keep an order.
const PATIENCE: Duration = Duration::from_secs(20);

/// Say which nodes are worked on (drain), or no longer (resume)
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct OrderArgs {
    /// Names of nodes
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// The daemon's control socket; without it the one that the settings name
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    #[command(flatten)]
    pub config: ConfigArg,
}

pub fn main(args: OrderArgs, order: &str) -> ExitCode {
    let configured = || {
        let merged = settings::load(&args.config.config);
        merged.map_or_else(|_| PathBuf::from(DEFAULT_SOCKET), |merged| merged.settings.control.socket)
    };
    let socket = args.socket.unwrap_or_else(configured);
    let mut refused = false;
    for name in &args.names {
        match send(&socket, order, name) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                output::err(&format!("bramblegate nodes {order} {name}: {error}\n"));
                refused = true;
            }
            Err(error) => {
                let (remedy, code) = remedy(&error);
                output::err(&format!("bramblegate nodes {order}: {}: {error}\n{remedy}\n", socket.display()));
                return ExitCode::from(code);
            }
        }
    }
    if refused { ExitCode::from(code::REFUSED) } else { ExitCode::SUCCESS }
}

fn remedy(error: &io::Error) -> (&'static str, u8) {
    match error.kind() {
        io::ErrorKind::PermissionDenied => (
            "Orders are for root and for members of the group bramblegate: try sudo, or `sudo usermod -aG bramblegate $USER` and log in again.",
            exit::NO_PERMISSION,
        ),
        _ => (
            "The daemon does not run, or listens elsewhere (--socket PATH). Start it with `sudo systemctl start bramblegate`.",
            code::NOT_REACHABLE,
        ),
    }
}

/// One order and its reply: carried out, or why not.
fn send(socket: &Path, order: &str, name: &str) -> io::Result<Result<(), String>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let line = json!({ "schema": SCHEMA, "order": order, "node": name });
    stream.write_all(format!("{line}\n").as_bytes())?;
    let mut reply = String::new();
    BufReader::new(stream).read_line(&mut reply)?;
    let reply: Value = serde_json::from_str(&reply)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("this is no control socket: {error}")))?;
    Ok(match reply.get("ok").and_then(Value::as_bool) {
        Some(true) => Ok(()),
        _ => Err(reply.get("error").and_then(Value::as_str).unwrap_or("refused").to_owned()),
    })
}
