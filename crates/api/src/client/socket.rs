//! Connections to the daemon's sockets with deadlines. If the daemon hangs, its backlog fills, and
//! connect(2) blocks for ever. And a timeout of each read does not limit a whole line, whose bytes
//! may come one by one.

use std::io::{self, BufRead, BufReader, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

/// How long to wait while the backlog is full, and the poll interval.
const BACKLOG: Duration = Duration::from_secs(3);
const STEP: Duration = Duration::from_millis(20);

/// Connects; waits 3 s at most while the backlog is full.
///
/// # Errors
/// No process listens there, or none accepts ([`ErrorKind::TimedOut`]).
pub fn connect(path: &Path) -> io::Result<UnixStream> {
    let address = SockAddr::unix(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let deadline = Instant::now() + BACKLOG;
    loop {
        match socket.connect(&address) {
            Ok(()) => break,
            // unix(7): the backlog of the listener is full.
            Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < deadline => {
                sleep(STEP)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Err(io::Error::new(
                    ErrorKind::TimedOut,
                    "the daemon there does not accept connections: it hangs",
                ));
            }
            Err(error) => return Err(error),
        }
    }
    socket.set_nonblocking(false)?;
    Ok(UnixStream::from(OwnedFd::from(socket)))
}

/// Appends to `line` up to and including the next line break, until it holds `longest` bytes or the
/// peer closes. `timeout` is for the whole line; `None` waits for ever. After an error, `line`
/// keeps what was received.
///
/// # Errors
/// The timeout ([`ErrorKind::TimedOut`] or [`ErrorKind::WouldBlock`]), or a failed system call.
pub fn read_line(
    reader: &mut BufReader<UnixStream>,
    line: &mut Vec<u8>,
    longest: usize,
    timeout: Option<Duration>,
) -> io::Result<()> {
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Err(ErrorKind::TimedOut.into());
        }
        reader.get_ref().set_read_timeout(left)?;
        let received = match reader.fill_buf() {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            received => received?,
        };
        let room = longest.saturating_sub(line.len()).min(received.len());
        let end = received.iter().take(room).position(|byte| *byte == b'\n');
        let taken = end.map_or(room, |end| end + 1);
        line.extend_from_slice(received.get(..taken).unwrap_or_default());
        reader.consume(taken);
        if end.is_some() || taken == 0 {
            return Ok(());
        }
    }
}
