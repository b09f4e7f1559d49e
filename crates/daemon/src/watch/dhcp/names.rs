//! Captures the host names in client requests. Any host can flood the link with requests, so after
//! the first one the socket is read at intervals, and the kernel drops what exceeds its buffer.

use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use rustix::net::{RecvFlags, recv};
use socket2::{Socket, Type};
use tokio::time::Instant;

use super::message;
use super::{FRAME, Questions, filter};
use crate::event::{LinkIndex, Mac};
use crate::oneshot::OneShot;
use crate::packet::{self, ETHERTYPE_IPV4};

/// Pause between two reads.
const PAUSE: Duration = Duration::from_millis(50);
/// Pause after a read of more than [`LARGE_BATCH`] frames, a flood: nodes that boot together do not
/// send for long.
const LONG_PAUSE: Duration = Duration::from_millis(250);
const LARGE_BATCH: usize = 24;
/// Receive buffer in bytes, for some 200 frames: a whole cluster that is switched on.
const RECEIVE_BUFFER: usize = 256 << 10;
/// Maximum number of frames per read, and so of names.
const BATCH: usize = 64;

/// Lists what client messages can report.
pub enum Heard {
    /// A client accepts the offer of another server.
    Server,
    /// Host names of clients, each from its last message.
    Names(HashMap<Mac, String>),
}

/// Receives the requests of clients on one interface.
pub struct Names {
    wire: OneShot<Socket>,
    /// When the socket may be read next.
    read_at: Instant,
    /// Names that were read but not yet returned.
    pending: HashMap<Mac, String>,
    questions: Questions,
    /// The server's log line count when the queue was last empty; `None` if the last read left
    /// frames in it.
    emptied: Option<u64>,
}

impl Names {
    /// Opens the socket on one interface.
    ///
    /// # Errors
    /// `CAP_NET_RAW` is missing, or the interface does not exist.
    pub fn open(index: LinkIndex, questions: Questions) -> io::Result<Self> {
        let wire = packet::open(Type::RAW, ETHERTYPE_IPV4, index, &filter::clients())?;
        wire.set_recv_buffer_size(RECEIVE_BUFFER)?;
        Ok(Self {
            wire: OneShot::new(wire),
            read_at: Instant::now(),
            pending: HashMap::new(),
            emptied: Some(questions.unheard().lines),
            questions,
        })
    }

    /// Waits for a relevant message of a client. `ours` are the addresses of our own server.
    /// Cancel-safe.
    ///
    /// # Errors
    /// The interface is gone.
    pub async fn heard(&mut self, ours: &[Ipv4Addr]) -> io::Result<Heard> {
        loop {
            if !self.pending.is_empty() {
                return Ok(Heard::Names(std::mem::take(&mut self.pending)));
            }
            tokio::time::sleep_until(self.read_at).await;
            self.wire.readable().await?;
            let Reading { count, questions, server } =
                read(self.wire.get_ref(), ours, &mut self.pending)?;
            let lines = self.questions.unheard().lines;
            let emptied = (count < BATCH).then_some(lines);
            let before = std::mem::replace(&mut self.emptied, emptied);
            if let Some(lines) = before.filter(|_| emptied.is_some()) {
                self.questions.count(questions, lines);
            }
            self.read_at = Instant::now() + if count > LARGE_BATCH { LONG_PAUSE } else { PAUSE };
            if server {
                return Ok(Heard::Server);
            }
        }
    }
}

/// Holds the result of one read.
#[derive(Debug, Default)]
struct Reading {
    /// Number of frames.
    count: usize,
    /// Number of requests to all servers.
    questions: u64,
    /// A client accepts the offer of another server.
    server: bool,
}

/// Reads the queued frames, at most [`BATCH`].
fn read(wire: &Socket, ours: &[Ipv4Addr], names: &mut HashMap<Mac, String>) -> io::Result<Reading> {
    let mut frame = [0; FRAME];
    let mut reading = Reading::default();
    while reading.count < BATCH {
        let length = match recv(wire, &mut frame[..], RecvFlags::DONTWAIT) {
            Ok((length, _)) => length,
            Err(rustix::io::Errno::AGAIN) => break,
            Err(error) => return Err(error.into()),
        };
        reading.count += 1;
        let Some(frame) = frame.get(..length) else { continue };
        reading.questions += u64::from(message::asks_all(frame));
        // The name of a client of another server is of no interest.
        match message::chosen(frame).filter(|server| !ours.contains(server)) {
            Some(_) => reading.server = true,
            None => names.extend(message::calls_itself(frame)),
        }
    }
    Ok(reading)
}
