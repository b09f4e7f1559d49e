//! Restores the table immediately after another program removes it, where the kernel does not
//! protect it.
//!
//! After a deletion the second transaction waits for an RCU grace period, some 15 ms. To be the
//! first, ours has to be sent within some 50 µs of the kernel's notification
//! (`docs/decisions/haste.md`). So a dedicated thread waits for notifications with an encoded
//! transaction. The usual path (event, facts, decision, plan) follows, and finds the table
//! restored.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use bramblegate_netlink::netfilter::GROUP_NFTABLES;
use bramblegate_netlink::{Protocol, Socket, messages};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;

use super::encode::Encoded;
use super::transact::transact;
use crate::decide::firewall::TABLE;
use crate::watch::firewall::Watcher;

/// Minimum interval between restorations. A program that removes the rules more often is left to
/// the usual path.
const INTERVAL: Duration = Duration::from_millis(50);
const STACK: usize = 128 * 1024;

/// The state that reconciler and guard share. They use the same socket, so that the kernel's
/// notifications have the same port ID for both.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    state: Arc<Mutex<State>>,
    port: u32,
}

#[derive(Debug)]
pub(super) struct State {
    socket: Socket,
    /// The transaction that restores the table.
    ready: Option<Encoded>,
    /// The table was restored, and no other program has changed it since.
    restored: bool,
    last: Option<Instant>,
}

impl Shared {
    pub fn new(socket: Socket) -> Self {
        let port = socket.port();
        let state = State { socket, ready: None, restored: false, last: None };
        Self { state: Arc::new(Mutex::new(state)), port }
    }

    /// Returns the netlink port ID of the socket.
    pub fn port(&self) -> u32 {
        self.port
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Restores the table after another program changed it.
    fn restore(&self) {
        match self.state.try_lock() {
            Ok(mut state) => state.restore(),
            Err(TryLockError::Poisoned(state)) => state.into_inner().restore(),
            // The reconciler is working on the table.
            Err(TryLockError::WouldBlock) => {}
        }
    }
}

impl State {
    pub fn socket(&mut self) -> &mut Socket {
        &mut self.socket
    }

    /// Arms the guard with the transaction that restores the table.
    pub fn arm(&mut self, ready: Encoded) {
        self.ready = Some(ready);
    }

    /// Disarms the guard: only the reconciler changes the table.
    pub fn disarm(&mut self) {
        self.ready = None;
        self.restored = false;
    }

    /// Returns whether the table was restored since the last call.
    pub fn take_restored(&mut self) -> bool {
        std::mem::take(&mut self.restored)
    }

    fn restore(&mut self) {
        self.restored = false;
        let now = Instant::now();
        let is_recent = self.last.is_some_and(|last| now.duration_since(last) < INTERVAL);
        if let Some(ready) = self.ready.as_ref().filter(|_| !is_recent) {
            self.last = Some(now);
            self.restored = transact(&mut self.socket, ready).is_ok();
        }
    }
}

/// The guard's thread, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Guard {
    end: Arc<OwnedFd>,
}

impl Guard {
    /// Starts the guard; `None` if no socket or thread can be created.
    pub fn start(shared: Shared) -> Option<Self> {
        let listener = Socket::open(Protocol::Netfilter, &[GROUP_NFTABLES]).ok()?;
        let end = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok()?);
        let ended = Arc::clone(&end);
        let thread = thread::Builder::new().name("nft-guard".into()).stack_size(STACK);
        thread.spawn(move || run(listener, &shared, &ended)).ok()?;
        Some(Self { end })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = rustix::io::write(&self.end, &1_u64.to_ne_bytes());
    }
}

/// Guards the table until `ended` is readable.
fn run(mut listener: Socket, shared: &Shared, ended: &OwnedFd) {
    let mut watcher = Watcher::default();
    loop {
        // Also before the first wait: it faults in the thread's memory, and handles messages from
        // before the thread ran.
        handle_messages(&mut listener, &mut watcher, shared);
        let mut fds = [PollFd::new(&listener, PollFlags::IN), PollFd::new(ended, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
        let [_, ended] = &fds;
        if ended.revents().contains(PollFlags::IN) {
            return;
        }
    }
}

/// Handles the queued messages. An overrun needs no handling here: the firewall watch sees it too,
/// and makes the reconciler resync.
fn handle_messages(listener: &mut Socket, watcher: &mut Watcher, shared: &Shared) {
    while let Ok(Some(datagram)) = listener.receive() {
        for message in messages(datagram) {
            let touched = watcher.is_touched();
            watcher.take(&message, TABLE, shared.port);
            if watcher.is_touched() && !touched {
                shared.restore();
            }
        }
    }
}
