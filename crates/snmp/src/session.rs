//! Sessions with snmpd: open, register, answer, notify (RFC 2741); and again, when one ends.

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

/// A snapshot of the daemon is asked for so often: requests have answers no older than this.
const REFRESH: Duration = Duration::from_secs(10);
/// What opens a session is answered within this time, and what is sent is taken.
const ANSWER: Duration = Duration::from_secs(5);
/// snmpd waits so long for each of our answers.
const TIMEOUT: Duration = Duration::from_secs(5);
/// An idle session is asked after so long whether it holds.
const PING: Duration = Duration::from_secs(10);
/// One that does not answer that is given up: snmpd hangs, or is another.
const SILENCE: Duration = Duration::from_secs(20);
/// Pause before another try to reach snmpd, which may be restarting: it doubles with each try.
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

/// The state of the daemon, and a stream that is readable when it has changed.
#[derive(Debug)]
pub struct Follow {
    follower: Follower,
    bell: UnixStream,
}

impl Follow {
    /// Begins to follow the status socket at `path`, in a thread that ends with the process.
    ///
    /// # Errors
    /// There can be no such stream or no thread.
    pub fn start(path: PathBuf) -> io::Result<Self> {
        let (mut rope, bell) = UnixStream::pair()?;
        rope.set_nonblocking(true)?;
        bell.set_nonblocking(true)?;
        let follower = Follower::start(path, REFRESH, move |_, _| {
            // Full: it rings already.
            let _ = rope.write(&[0]);
        })?;
        Ok(Self { follower, bell })
    }
}

/// Has a session with the snmpd behind `socket` whenever there can be one. Calls `report` with a
/// line when one begins, and when one ends or cannot begin, once for each reason.
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

/// A session that snmpd has granted, with the tree registered.
#[derive(Debug)]
struct Session {
    stream: UnixStream,
    id: u32,
    /// number of the last message of ours
    packet: u32,
    inbox: Vec<u8>,
    heard: Instant,
    pinged: Instant,
}

impl Session {
    fn open(socket: &Path) -> Result<Self, Error> {
        let stream = connect(socket)?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.set_write_timeout(Some(ANSWER))?;
        let now = Instant::now();
        let mut session =
            Self { stream, id: 0, packet: 0, inbox: Vec::new(), heard: now, pinged: now };
        session.stream.write_all(&message::open(TIMEOUT)?)?;
        session.id = session.opening("open a session", now + ANSWER)?.session_id;
        let packet = session.number();
        session.stream.write_all(&message::register(session.id, packet)?)?;
        session.opening("register the tree", now + ANSWER)?;
        Ok(session)
    }

    /// Reads the answer to what opens the session.
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
        Follow { follower, bell }: &Follow,
        changes: &mut Changes,
    ) -> Result<Infallible, Error> {
        let mut laid_out = (u64::MAX, Tree::default());
        loop {
            let now = Instant::now();
            for values in changes.take(&follower.known(), now) {
                let packet = self.number();
                self.stream.write_all(&message::notify(self.id, packet, values)?)?;
            }
            if now >= self.heard + SILENCE {
                return Err(Error::Silent);
            }
            if now >= self.heard.max(self.pinged) + PING {
                self.pinged = now;
                let packet = self.number();
                self.stream.write_all(&message::ping(self.id, packet)?)?;
            }
            let due = self.heard.max(self.pinged) + PING;
            let due = changes.deadline().map_or(due, |deadline| deadline.min(due));
            let [asked, rung] = wait([&self.stream, bell], due.saturating_duration_since(now))?;
            if rung {
                let mut rings = [0; 64];
                while (&mut &*bell).read(&mut rings).is_ok_and(|count| count > 0) {}
            }
            if !asked {
                continue;
            }
            self.receive()?;
            while let Some((header, payload)) = message::take(&mut self.inbox)? {
                let known = follower.known();
                if laid_out.0 != known.generation {
                    laid_out = (known.generation, Tree::new(known.live().map(AsRef::as_ref)));
                }
                if let Some(answer) = message::answer(&header, &payload, self.id, &laid_out.1)? {
                    self.stream.write_all(&answer)?;
                }
            }
        }
    }

    /// Reads what is there; waits for a while if that is nothing.
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
        self.heard = Instant::now();
        Ok(())
    }

    fn number(&mut self) -> u32 {
        self.packet = self.packet.wrapping_add(1);
        self.packet
    }
}

/// Waits until a stream is readable or has ended, for `timeout` at most; returns which.
fn wait(streams: [&UnixStream; 2], timeout: Duration) -> io::Result<[bool; 2]> {
    let mut fds = streams.map(|stream| PollFd::new(stream, PollFlags::IN));
    let timeout = Timespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    };
    match poll(&mut fds, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(fds.map(|fd| !fd.revents().is_empty())),
        Err(error) => Err(error.into()),
    }
}
