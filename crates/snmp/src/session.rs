//! Sessions with snmpd: open, register, answer, notify (RFC 2741), and reconnect.

use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use agentx::pdu::{Header, Type};
use bramblegate_api::client::{Follower, connect};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::change::Changes;
use crate::message::{self, Broken};
use crate::mib::Tree;

/// The interval of snapshots of the daemon, and so the maximum age of answers.
const REFRESH: Duration = Duration::from_secs(10);
/// How long snmpd may take to answer the messages that open a session, or to accept a message.
const ANSWER: Duration = Duration::from_secs(5);
/// How long snmpd waits for each answer of the subagent.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The idle time after which a ping is sent.
const PING: Duration = Duration::from_secs(10);
/// The idle time after which the session is closed, since snmpd hangs or has restarted.
const SILENCE: Duration = Duration::from_secs(20);
/// The first pause before a reconnection to snmpd; it doubles up to [`LONGEST_RETRY`].
const RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_millis(500);

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("{0}")]
    Broken(#[from] Broken),
    #[error("snmpd refused to {what}: error {code} (RFC 2741, section 6.2.16)")]
    Refused { what: &'static str, code: u16 },
    #[error("snmpd does not answer")]
    Silent,
}

/// The daemon's state, and a stream that is readable after a change.
#[derive(Debug)]
pub struct Follow {
    follower: Follower,
    wakeups: UnixStream,
}

impl Follow {
    /// Begins to follow the status socket at `path`, in a thread that ends with the process.
    ///
    /// # Errors
    /// The system refuses a socket pair or a thread.
    pub fn start(path: PathBuf) -> io::Result<Self> {
        let (mut waker, wakeups) = UnixStream::pair()?;
        waker.set_nonblocking(true)?;
        wakeups.set_nonblocking(true)?;
        let follower = Follower::start(path, REFRESH, move |_, _| {
            // Fails, harmlessly, when full: a wake-up is pending then.
            let _ = waker.write(&[0]);
        })?;
        Ok(Self { follower, wakeups })
    }
}

/// Keeps a session with the snmpd behind `socket`. Calls `report` with a line when a session
/// begins, and when one ends or cannot begin, once for each reason.
pub fn keep(socket: &Path, follow: &Follow, report: &mut dyn FnMut(&str)) -> ! {
    let mut changes = Changes::default();
    let mut reported = String::new();
    let mut pause = RETRY;
    loop {
        let error = match Session::open(socket) {
            Ok(mut session) => {
                report("registered");
                reported.clear();
                pause = RETRY;
                match session.run(follow, &mut changes) {
                    Ok(never) => match never {},
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        let why = error.to_string();
        if why != reported {
            report(&format!("{why}; trying again"));
            reported = why;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_RETRY);
    }
}

/// An open session, with the tree registered.
#[derive(Debug)]
struct Session {
    stream: UnixStream,
    id: u32,
    /// The number of the last message sent.
    packet: u32,
    /// Received bytes that are not processed yet.
    inbox: Vec<u8>,
    received: Instant,
    pinged: Instant,
}

impl Session {
    fn open(socket: &Path) -> Result<Self, Error> {
        let stream = connect(socket)?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.set_write_timeout(Some(ANSWER))?;
        let now = Instant::now();
        let mut session =
            Self { stream, id: 0, packet: 0, inbox: Vec::new(), received: now, pinged: now };
        session.stream.write_all(&message::open(TIMEOUT)?)?;
        session.id = session.opening("open a session", now + ANSWER)?.session_id;
        let packet = session.number();
        session.stream.write_all(&message::register(session.id, packet)?)?;
        session.opening("register the tree", now + ANSWER)?;
        Ok(session)
    }

    /// Waits for the answer to one of the messages that open the session.
    fn opening(&mut self, what: &'static str, deadline: Instant) -> Result<Header, Error> {
        loop {
            if let Some((header, payload)) = message::take(&mut self.inbox)? {
                let code = message::error_of(&header, &payload);
                return match code {
                    Some(0) if header.ty == Type::Response => Ok(header),
                    _ => Err(Error::Refused { what, code: code.unwrap_or(0) }),
                };
            }
            if Instant::now() >= deadline {
                return Err(Error::Silent);
            }
            self.receive()?;
        }
    }

    /// Answers and notifies until the session ends.
    fn run(
        &mut self,
        Follow { follower, wakeups }: &Follow,
        changes: &mut Changes,
    ) -> Result<Infallible, Error> {
        // The tree, and the generation that it is of.
        let (mut generation, mut tree) = (u64::MAX, Tree::default());
        loop {
            let now = Instant::now();
            for values in changes.take(&follower.known(), now) {
                let packet = self.number();
                self.stream.write_all(&message::notify(self.id, packet, values)?)?;
            }
            if now >= self.received + SILENCE {
                return Err(Error::Silent);
            }
            if now >= self.received.max(self.pinged) + PING {
                self.pinged = now;
                let packet = self.number();
                self.stream.write_all(&message::ping(self.id, packet)?)?;
            }
            let due = self.received.max(self.pinged) + PING;
            let due = changes.deadline().map_or(due, |deadline| deadline.min(due));
            let [requests, changed] =
                wait([&self.stream, wakeups], due.saturating_duration_since(now))?;
            if changed {
                let mut discarded = [0; 64];
                while (&mut &*wakeups).read(&mut discarded).is_ok_and(|count| count > 0) {}
            }
            if !requests {
                continue;
            }
            self.receive()?;
            while let Some((header, payload)) = message::take(&mut self.inbox)? {
                let known = follower.known();
                if generation != known.generation {
                    generation = known.generation;
                    tree = Tree::new(known.live().map(AsRef::as_ref));
                }
                if let Some(answer) = message::answer(&header, &payload, self.id, &tree)? {
                    self.stream.write_all(&answer)?;
                }
            }
        }
    }

    /// Reads the available bytes; waits up to [`ANSWER`] for the first.
    fn receive(&mut self) -> Result<(), Error> {
        let mut bytes = [0; 4096];
        let count = match self.stream.read(&mut bytes) {
            Ok(0) => return Err(Broken::Closed.into()),
            Ok(count) => count,
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => return Ok(()),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => return Err(Error::Silent),
                _ => return Err(error.into()),
            },
        };
        self.inbox.extend_from_slice(bytes.get(..count).unwrap_or_default());
        self.received = Instant::now();
        Ok(())
    }

    /// Returns the number of the next message.
    fn number(&mut self) -> u32 {
        self.packet = self.packet.wrapping_add(1);
        self.packet
    }
}

/// Waits until a stream is readable or has ended, for `timeout` at most; returns which.
fn wait(streams: [&UnixStream; 2], timeout: Duration) -> io::Result<[bool; 2]> {
    let mut fds = streams.map(|stream| PollFd::new(stream, PollFlags::IN));
    let timeout = Timespec::try_from(timeout).ok();
    match poll(&mut fds, timeout.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(fds.map(|fd| !fd.revents().is_empty())),
        Err(error) => Err(error.into()),
    }
}
