//! The status socket.

use std::io::{self, BufReader, ErrorKind};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::socket;
use crate::status::{Line, Snapshot};

/// The maximum length of a line, in bytes: about fifty times the state of ten thousand nodes.
const LONGEST: usize = 64 << 20;

/// Why the connection cannot be used any further.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The daemon has too many clients.
    #[error("refused: {0}")]
    Refused(String),
    #[error("the daemon closed the connection")]
    Ended,
    /// The other end does not use the protocol of the status socket, or sends nothing.
    #[error("this is not a status: {0}")]
    NotStatus(String),
}

/// A line, as received and parsed.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// Without the line break.
    pub text: String,
    /// A snapshot, a change, or an unknown type.
    pub line: Line,
}

/// A connection to the status socket, which sends a snapshot, then changes.
#[derive(Debug)]
pub struct StatusClient {
    reader: BufReader<UnixStream>,
    partial: Vec<u8>,
    timeout: Option<Duration>,
}

impl StatusClient {
    /// Connects.
    ///
    /// # Errors
    /// No process listens at `path`, or none accepts within 3 s.
    pub fn connect(path: &Path) -> Result<Self, Error> {
        let reader = BufReader::new(socket::connect(path)?);
        Ok(Self { reader, partial: Vec::new(), timeout: None })
    }

    /// Sets how long [`Self::next_line`] waits for a whole line; `None`, the default, is for ever.
    pub const fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
    }

    /// Returns the next line; `None` after the timeout. Keeps a partial line for the next call.
    ///
    /// # Errors
    /// The connection cannot be used any further.
    pub fn next_line(&mut self) -> Result<Option<Received>, Error> {
        match socket::read_line(&mut self.reader, &mut self.partial, LONGEST, self.timeout) {
            Ok(()) if self.partial.last() == Some(&b'\n') => {}
            Ok(()) if self.partial.len() >= LONGEST => {
                return Err(Error::NotStatus("a line without an end".to_owned()));
            }
            Ok(()) => return Err(Error::Ended),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        }
        let bytes = std::mem::take(&mut self.partial);
        match Line::parse(&bytes).map_err(Error::NotStatus)? {
            Line::Refused(refused) => Err(Error::Refused(refused.reason.to_string())),
            line => Ok(Some(Received {
                text: String::from_utf8_lossy(&bytes).trim_end().to_owned(),
                line,
            })),
        }
    }

    /// Connects and returns the daemon's state, as received and parsed.
    ///
    /// # Errors
    /// No process listens at `path`, or it does not send its state within `timeout`.
    pub fn fetch(path: &Path, timeout: Duration) -> Result<(String, Snapshot), Error> {
        let mut client = Self::connect(path)?;
        client.set_timeout(Some(timeout));
        match client.next_line()? {
            Some(Received { text, line: Line::Snapshot(snapshot) }) => Ok((text, *snapshot)),
            Some(_) => Err(Error::NotStatus("its first line is not a snapshot".to_owned())),
            None => Err(Error::NotStatus("it sends nothing".to_owned())),
        }
    }
}
