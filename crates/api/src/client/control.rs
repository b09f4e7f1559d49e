//! The control socket.

use std::io::{self, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::socket;
use crate::control::{Answer, Order};

/// The deadline of an answer: the daemon may have to store an order on a slow SD card.
const TIMEOUT: Duration = Duration::from_secs(20);
/// The maximum length of an answer, in bytes.
const LONGEST: usize = 64 << 10;

/// A connection to the control socket, for one order after the other.
#[derive(Debug)]
pub struct ControlClient(BufReader<UnixStream>);

impl ControlClient {
    /// Connects.
    ///
    /// # Errors
    /// No process listens at `path`, or none accepts within 3 s ([`ErrorKind::TimedOut`]).
    pub fn connect(path: &Path) -> io::Result<Self> {
        let stream = socket::connect(path)?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends an order and waits up to 20 s for the answer: success, or the daemon's reason for a
    /// refusal.
    ///
    /// # Errors
    /// The connection broke, no answer came ([`ErrorKind::TimedOut`]), or the socket is not a
    /// control socket ([`ErrorKind::InvalidData`]).
    pub fn send(&mut self, order: &Order) -> io::Result<Result<(), String>> {
        self.0.get_mut().write_all(&crate::line(order))?;
        let mut line = Vec::new();
        socket::read_line(&mut self.0, &mut line, LONGEST, Some(TIMEOUT)).map_err(|error| {
            match error.kind() {
                ErrorKind::TimedOut | ErrorKind::WouldBlock => io::Error::new(
                    ErrorKind::TimedOut,
                    format!("no reply within {} s", TIMEOUT.as_secs()),
                ),
                _ => error,
            }
        })?;
        let answer: Answer = serde_json::from_slice(&line).map_err(|error| {
            io::Error::new(ErrorKind::InvalidData, format!("this is not a control socket: {error}"))
        })?;
        Ok(answer.into())
    }
}
