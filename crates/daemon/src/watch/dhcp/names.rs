//! What boards call themselves, heard on the wire. Anybody can send as many requests as they like,
//! so the first is read at once and the rest now and then: what does not fit into the socket
//! meanwhile is dropped by the kernel, and costs nothing.

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

/// Between two readings, …
const PAUSE: Duration = Duration::from_millis(50);
/// … and after one that found more than so many frames, as nodes that start together do not send
/// for long.
const LONG_PAUSE: Duration = Duration::from_millis(250);
const MANY: usize = 24;
/// Bytes of the socket's buffer: for some 200 frames, which is a room that is switched on.
const ROOM: usize = 256 << 10;
/// Most frames of one reading, and so most names: the rest waits for the next.
const MOST: usize = 64;

/// Names what was heard of clients.
pub enum Heard {
    /// one takes the offer of a server other than ours
    Server,
    /// what boards call themselves, each by its last message
    Names(HashMap<Mac, String>),
}

/// Hears the requests of clients on one port.
pub struct Names {
    wire: OneShot<Socket>,
    /// it is left alone until then
    read_at: Instant,
    /// what was read and is still to be reported
    waiting: HashMap<Mac, String>,
    /// counts what all servers are asked
    questions: Questions,
    /// how many lines our server had logged when the wire was last read to its end; `None`: it was
    /// not, and what is left is old
    emptied: Option<u64>,
}

impl Names {
    /// Opens the socket at one port.
    ///
    /// # Errors
    /// `CAP_NET_RAW` is missing, or the port is not there.
    pub fn open(index: LinkIndex, questions: Questions) -> io::Result<Self> {
        let wire = packet::open(Type::RAW, ETHERTYPE_IPV4, index, &filter::clients())?;
        wire.set_recv_buffer_size(ROOM)?;
        Ok(Self {
            wire: OneShot::new(wire),
            read_at: Instant::now(),
            waiting: HashMap::new(),
            emptied: Some(questions.unheard().lines),
            questions,
        })
    }

    /// Waits for something that clients say. `ours`: addresses of our own server. Who waits for
    /// something else as well may begin again: nothing is lost.
    ///
    /// # Errors
    /// The port is gone.
    pub async fn heard(&mut self, ours: &[Ipv4Addr]) -> io::Result<Heard> {
        loop {
            if !self.waiting.is_empty() {
                return Ok(Heard::Names(std::mem::take(&mut self.waiting)));
            }
            tokio::time::sleep_until(self.read_at).await;
            self.wire.readable().await?;
            let Reading { count, questions, server } =
                read(self.wire.get_ref(), ours, &mut self.waiting)?;
            let lines = self.questions.unheard().lines;
            let emptied = (count < MOST).then_some(lines);
            let before = std::mem::replace(&mut self.emptied, emptied);
            if let Some(lines) = before.filter(|_| emptied.is_some()) {
                self.questions.count(questions, lines);
            }
            self.read_at = Instant::now() + if count > MANY { LONG_PAUSE } else { PAUSE };
            if server {
                return Ok(Heard::Server);
            }
        }
    }
}

/// Holds what one reading found.
#[derive(Debug, Default)]
struct Reading {
    /// frames
    count: usize,
    /// questions to all servers
    questions: u64,
    /// one takes the offer of another server
    server: bool,
}

/// Reads what waits, but no more than [`MOST`] frames.
fn read(wire: &Socket, ours: &[Ipv4Addr], names: &mut HashMap<Mac, String>) -> io::Result<Reading> {
    let mut frame = [0; FRAME];
    let mut reading = Reading::default();
    while reading.count < MOST {
        let length = match recv(wire, &mut frame[..], RecvFlags::DONTWAIT) {
            Ok((length, _)) => length,
            Err(rustix::io::Errno::AGAIN) => break,
            Err(error) => return Err(error.into()),
        };
        reading.count += 1;
        let Some(frame) = frame.get(..length) else { continue };
        reading.questions += u64::from(message::asks_all(frame));
        // Who takes another's offer is not called anything by us.
        match message::chosen(frame).filter(|server| !ours.contains(server)) {
            Some(_) => reading.server = true,
            None => names.extend(message::calls_itself(frame)),
        }
    }
    Ok(reading)
}
