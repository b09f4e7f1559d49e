//! Serves one client: the snapshot in pieces, then lines of changes, as fast as it reads.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::change_log::{Cursor, Piece};
use super::{Shared, clock};
use crate::sync::lock;

/// Limit on a client's queue, bytes; above it the client is disconnected.
pub const MOST_BEHIND: usize = 256 * 1024;
/// Nodes in a piece of the snapshot.
const NODES_IN_A_PIECE: usize = 100;
/// Input is discarded in reads of this size, at most [`READS`] of them per [`READ_INTERVAL`].
const SCRATCH: usize = 2048;
const READS: usize = 32;
const READ_INTERVAL: Duration = Duration::from_secs(1);

/// Lines queued for a client. The lines are shared, so that a hundred clients use the memory once.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: Mutex<Waiting>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: VecDeque<Arc<[u8]>>,
    bytes: usize,
    closed: bool,
}

impl Queue {
    /// Queues a line, or closes the queue if it would exceed [`MOST_BEHIND`].
    pub fn push(&self, line: &Arc<[u8]>) {
        let mut waiting = lock(&self.waiting);
        if waiting.closed {
            return;
        }
        if waiting.bytes > 0 && waiting.bytes + line.len() > MOST_BEHIND {
            drop(waiting);
            self.close();
            return;
        }
        waiting.bytes += line.len();
        waiting.lines.push_back(Arc::clone(line));
        drop(waiting);
        self.wake.notify_one();
    }

    pub fn close(&self) {
        let mut waiting = lock(&self.waiting);
        waiting.closed = true;
        waiting.lines = VecDeque::new();
        drop(waiting);
        self.wake.notify_one();
    }

    pub fn is_closed(&self) -> bool {
        lock(&self.waiting).closed
    }

    /// Returns the oldest line, which counts towards the limit until the next call. `written` is
    /// the length of the previous one.
    fn next(&self, written: usize) -> Option<Arc<[u8]>> {
        let mut waiting = lock(&self.waiting);
        waiting.bytes = waiting.bytes.saturating_sub(written);
        waiting.lines.pop_front()
    }
}

/// The text being written.
enum Text {
    Piece(Vec<u8>),
    Line(Arc<[u8]>),
}

impl Text {
    fn rest(&self, from: usize) -> &[u8] {
        let all: &[u8] = match self {
            Self::Piece(text) => text,
            Self::Line(line) => line,
        };
        all.get(from..).unwrap_or_default()
    }
}

/// Serves a client until it disconnects, falls behind, or the daemon ends. A client that shuts down
/// its sending half gets only the snapshot.
pub async fn serve(stream: UnixStream, shared: &Shared, queue: &Queue) {
    let mut client = Client {
        stream,
        cursor: Some(Cursor::default()),
        text: Text::Piece(Vec::new()),
        written: 0,
        ended: false,
        next_read: Instant::now(),
    };
    while client.step(shared, queue).await.is_ok() {}
}

struct Client {
    stream: UnixStream,
    /// Position in the snapshot; `None` after its end.
    cursor: Option<Cursor>,
    text: Text,
    written: usize,
    /// The client has shut down its sending half.
    ended: bool,
    next_read: Instant,
}

/// The connection has ended.
struct Over;

impl Client {
    async fn step(&mut self, shared: &Shared, queue: &Queue) -> Result<(), Over> {
        if queue.is_closed() {
            return Err(Over);
        }
        if self.text.rest(self.written).is_empty() {
            self.fill(shared, queue)?;
        }
        let idle = self.text.rest(self.written).is_empty();
        if idle && self.ended {
            return Err(Over);
        }
        let reads = !self.ended && self.next_read <= Instant::now();
        let interest = match (idle, reads) {
            (true, true) => Some(Interest::READABLE),
            (false, true) => Some(Interest::READABLE | Interest::WRITABLE),
            (false, false) => Some(Interest::WRITABLE),
            (true, false) => None,
        };
        let ready = async {
            match interest {
                Some(interest) => self.stream.ready(interest).await,
                None => std::future::pending().await,
            }
        };
        let ready = tokio::select! {
            ready = ready => ready.map_err(|_| Over)?,
            () = queue.wake.notified() => return Ok(()),
            () = sleep_until(self.next_read), if !reads && !self.ended => return Ok(()),
        };
        if reads && (ready.is_readable() || ready.is_read_closed()) {
            self.discard()?;
        }
        if ready.is_writable() || ready.is_write_closed() {
            self.write()?;
        }
        Ok(())
    }

    /// Loads the next piece of the snapshot, or the next line.
    fn fill(&mut self, shared: &Shared, queue: &Queue) -> Result<(), Over> {
        let written = match self.text {
            Text::Piece(_) => 0,
            Text::Line(_) => self.written,
        };
        self.written = 0;
        if let Some(cursor) = &mut self.cursor {
            let piece = lock(&shared.change_log).piece(cursor, NODES_IN_A_PIECE, clock::now());
            self.text = match piece.ok_or(Over)? {
                Piece::Part(text) => Text::Piece(text),
                Piece::Last(text) => {
                    self.cursor = None;
                    Text::Piece(text)
                }
            };
            return Ok(());
        }
        if self.ended {
            self.text = Text::Piece(Vec::new());
            return Ok(());
        }
        self.text = queue.next(written).map_or_else(|| Text::Piece(Vec::new()), Text::Line);
        Ok(())
    }

    fn write(&mut self) -> Result<(), Over> {
        let rest = self.text.rest(self.written);
        if rest.is_empty() {
            return Ok(());
        }
        match self.stream.try_write(rest) {
            Ok(0) => Err(Over),
            Ok(count) => {
                self.written += count;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => {
                debug!(%error, "a client of the status socket has gone");
                Err(Over)
            }
        }
    }

    /// Discards input, and detects its end.
    fn discard(&mut self) -> Result<(), Over> {
        let mut scratch = [0; SCRATCH];
        for _ in 0..READS {
            match self.stream.try_read(&mut scratch) {
                Ok(0) => {
                    self.ended = true;
                    return Ok(());
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(_) => return Err(Over),
            }
        }
        self.next_read = Instant::now() + READ_INTERVAL;
        Ok(())
    }
}
