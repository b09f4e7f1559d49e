//! Puts the table back in the moment another tool takes it away, where the kernel does not protect
//! it.
//!
//! Who comes second after a deletion waits for a grace period of RCU, some 15 ms; to come first,
//! the answer has to be sent within some 50 µs of the first word (`docs/decisions/haste.md`). So a
//! thread of its own sleeps on the kernel's messages, with a transaction that only has to be sent.
//! It has no other duties; the usual way (event, facts, decision, order) follows and finds it done.

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

/// Not more often than another program could want in earnest: with one who takes the rules away
/// again and again, the usual way remains.
const INTERVAL: Duration = Duration::from_millis(50);
const STACK: usize = 128 * 1024;

/// What reconciler and guard share: the socket, so that both are the same to the kernel, and what
/// to send.
#[derive(Debug, Clone)]
pub(super) struct Hold {
    held: Arc<Mutex<Held>>,
    port: u32,
}

#[derive(Debug)]
pub(super) struct Held {
    socket: Socket,
    /// puts back what was loaded last
    ready: Option<Encoded>,
    /// it was sent, and no other program has touched the table since
    restored: bool,
    last: Option<Instant>,
}

impl Hold {
    pub fn new(socket: Socket) -> Self {
        let port = socket.port();
        Self {
            held: Arc::new(Mutex::new(Held { socket, ready: None, restored: false, last: None })),
            port,
        }
    }

    /// Returns the netlink port of the socket.
    pub fn port(&self) -> u32 {
        self.port
    }

    pub fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts the table back after another program touched it.
    fn restore(&self) {
        match self.held.try_lock() {
            Ok(mut held) => held.restore(),
            Err(TryLockError::Poisoned(held)) => held.into_inner().restore(),
            // The reconciler is at it.
            Err(TryLockError::WouldBlock) => {}
        }
    }
}

impl Held {
    pub fn socket(&mut self) -> &mut Socket {
        &mut self.socket
    }

    /// Arms the guard: from now on the table is put back by sending `ready`.
    pub fn arm(&mut self, ready: Encoded) {
        self.ready = Some(ready);
    }

    /// Disarms the guard: whatever happens to the table is left to the reconciler.
    pub fn disarm(&mut self) {
        self.ready = None;
        self.restored = false;
    }

    /// Returns whether the table was put back since this was asked last.
    pub fn take_restored(&mut self) -> bool {
        std::mem::take(&mut self.restored)
    }

    fn restore(&mut self) {
        self.restored = false;
        let now = Instant::now();
        let lately = self.last.is_some_and(|last| now.duration_since(last) < INTERVAL);
        if let Some(ready) = self.ready.as_ref().filter(|_| !lately) {
            self.last = Some(now);
            self.restored = transact(&mut self.socket, ready).is_ok();
        }
    }
}

/// The guard's thread; it ends with this value.
#[derive(Debug)]
pub(super) struct Guard {
    end: Arc<OwnedFd>,
}

impl Guard {
    /// Starts the guard. `None` where the system gives no socket or thread: then the usual way has
    /// to do.
    pub fn start(hold: Hold) -> Option<Self> {
        let ear = Socket::open(Protocol::Netfilter, &[GROUP_NFTABLES]).ok()?;
        let end = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok()?);
        let ended = Arc::clone(&end);
        let thread = thread::Builder::new().name("nft-guard".into()).stack_size(STACK);
        thread.spawn(move || stand(ear, &hold, &ended)).ok()?;
        Some(Self { end })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = rustix::io::write(&self.end, &1_u64.to_ne_bytes());
    }
}

/// Guards the table until the end is asked for.
fn stand(mut ear: Socket, hold: &Hold, ended: &OwnedFd) {
    let mut watcher = Watcher::default();
    loop {
        // Before the first wait too: this thread's memory is there when it counts, and what came
        // before the thread ran is not lost.
        hear(&mut ear, &mut watcher, hold);
        let mut fds = [PollFd::new(&ear, PollFlags::IN), PollFd::new(ended, PollFlags::IN)];
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

/// Takes what waits. Lost messages are heard of by the source as well, which makes the reconciler
/// look.
fn hear(ear: &mut Socket, watcher: &mut Watcher, hold: &Hold) {
    while let Ok(Some(datagram)) = ear.receive() {
        for message in messages(datagram) {
            let touched = watcher.is_touched();
            watcher.take(&message, TABLE, hold.port);
            if watcher.is_touched() && !touched {
                hold.restore();
            }
        }
    }
}
