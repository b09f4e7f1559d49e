//! The status socket.

use std::fmt;
use std::io::{self, BufReader, ErrorKind};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::socket;
use crate::status::{Line, Snapshot};

/// No line of a daemon is longer: some fifty times the state of ten thousand nodes, bytes.
const LONGEST: usize = 64 << 20;

/// Why there is nothing more to read.
#[derive(Debug)]
pub enum Error {
    Io(io::Error),
    /// there are too many clients
    Refused(String),
    /// the daemon closed the connection
    Ended,
    /// who answers there does not speak as a status socket does
    NotStatus(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "{error}"),
            Self::Refused(reason) => write!(f, "refused: {reason}"),
            Self::Ended => f.write_str("the daemon closed the connection"),
            Self::NotStatus(what) => write!(f, "this is not a status: {what}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A line, as it came and as it is meant.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// without the line break
    pub text: String,
    /// a snapshot, a change, or one of a type that is not known here
    pub line: Line,
}

/// A connection by which the status comes: first a snapshot, then changes.
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

    /// Sets how long [`Self::next_line`] waits for a whole line; `None` is for ever, as in the
    /// beginning.
    pub const fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
    }

    /// Returns the next line; `None` if it did not come in time. What came of it is kept.
    ///
    /// # Errors
    /// There will be no more.
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

    /// Returns the state of a daemon, as it came and as it is meant.
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
