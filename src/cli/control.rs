//! Orders to the daemon, by its control socket.

use std::io::{self, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::{exit, settings, socket};
use crate::source::control::SCHEMA;

/// Where the socket is if no settings tell.
const DEFAULT_SOCKET: &str = "/run/bramblegate/control.sock";
/// A card may take its time to keep an order.
const PATIENCE: Duration = Duration::from_secs(20);
/// No reply is longer, bytes.
const LONGEST: usize = 64 << 10;

/// The socket that these settings name.
pub fn configured_socket(config: &Path) -> PathBuf {
    settings::load(config).map_or_else(|_| PathBuf::from(DEFAULT_SOCKET), |merged| merged.settings.control.socket)
}

/// One order and its reply: carried out, or why not.
///
/// # Errors
/// The socket cannot be reached, or what listens there is no control socket.
pub fn send(socket: &Path, order: &str, node: Option<&str>) -> io::Result<Result<(), String>> {
    send_by(&mut None, socket, order, node)
}

/// As [`send`], by a connection that is made for the first order and kept for the next.
///
/// # Errors
/// As [`send`].
pub fn send_by(
    connection: &mut Option<BufReader<UnixStream>>,
    path: &Path,
    order: &str,
    node: Option<&str>,
) -> io::Result<Result<(), String>> {
    let reader = match connection {
        Some(reader) => reader,
        None => {
            let stream = socket::connect(path)?;
            stream.set_write_timeout(Some(PATIENCE))?;
            connection.insert(BufReader::new(stream))
        }
    };
    let line = match node {
        Some(node) => json!({ "schema": SCHEMA, "order": order, "node": node }),
        None => json!({ "schema": SCHEMA, "order": order }),
    };
    reader.get_mut().write_all(format!("{line}\n").as_bytes())?;
    let mut reply = Vec::new();
    socket::read_line(reader, &mut reply, LONGEST, Some(PATIENCE)).map_err(|error| match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            io::Error::new(io::ErrorKind::TimedOut, format!("no reply within {} s", PATIENCE.as_secs()))
        }
        _ => error,
    })?;
    let reply: Value = serde_json::from_slice(&reply)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("this is no control socket: {error}")))?;
    Ok(match reply.get("ok").and_then(Value::as_bool) {
        Some(true) => Ok(()),
        _ => Err(reply.get("error").and_then(Value::as_str).unwrap_or("refused").to_owned()),
    })
}

/// What to do about a socket that cannot be reached.
pub fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "Orders are for root and for members of the group bramblegate: try sudo, or `sudo usermod -aG bramblegate $USER` and log in again."
        }
        io::ErrorKind::TimedOut => {
            "The daemon hangs, or another program listens there: `systemctl status bramblegate` tells; `sudo systemctl restart bramblegate` ends it."
        }
        _ => {
            "The daemon does not run, or listens elsewhere (--socket PATH). Start it with `sudo systemctl start bramblegate`."
        }
    }
}

/// The exit code where it is a matter of rights.
pub fn code(error: &io::Error) -> Option<u8> {
    (error.kind() == io::ErrorKind::PermissionDenied).then_some(exit::NO_PERMISSION)
}
