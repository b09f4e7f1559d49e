//! Receives notifications in a tokio runtime.

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::socket::{DATAGRAM, Socket};
use crate::{NetlinkError, message};

/// Size at which a batch ends, to bound memory use in a storm.
const BATCH: usize = 2 * DATAGRAM;

/// Receives the multicast messages of a [`Socket`], all queued ones at once.
///
/// While the socket is registered with the runtime, each message wakes the process, even if no task
/// is waiting (the poll is edge-triggered). To leave messages queued on purpose, call
/// [`Listener::rest`].
#[derive(Debug)]
pub struct Listener {
    /// Declared before the socket, so that it is dropped first.
    registration: Option<AsyncFd<Descriptor>>,
    socket: Socket,
    batch: Vec<u8>,
}

/// The socket's file descriptor.
#[derive(Debug)]
struct Descriptor(RawFd);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

impl Listener {
    /// Registers a socket with the runtime.
    ///
    /// # Errors
    /// The runtime cannot register the socket.
    pub fn new(socket: Socket) -> Result<Self, NetlinkError> {
        let registration = Some(register(&socket)?);
        Ok(Self { registration, socket, batch: Vec::new() })
    }

    /// Returns the socket.
    pub const fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Waits for a message and returns all queued ones, up to about 128 KiB, for
    /// [`crate::messages`]. For uevents, which are not netlink messages, use [`Self::next`].
    ///
    /// Cancel safe: dropping the future loses no message.
    ///
    /// # Errors
    /// [`NetlinkError::Overrun`]: messages were dropped. The queue has been discarded too, so a new
    /// dump is needed. Other errors are of the socket.
    pub async fn receive(&mut self) -> Result<&[u8], NetlinkError> {
        self.fill(BATCH).await?;
        Ok(&self.batch)
    }

    /// Waits for one datagram.
    ///
    /// Cancel safe: dropping the future loses no message.
    ///
    /// # Errors
    /// As [`Self::receive`].
    pub async fn next(&mut self) -> Result<&[u8], NetlinkError> {
        self.fill(1).await?;
        Ok(&self.batch)
    }

    /// Leaves messages queued without wakeups until the next call of [`Self::receive`].
    pub fn rest(&mut self) {
        self.registration = None;
    }

    /// Discards queued messages, before a dump.
    pub fn discard(&mut self) {
        self.socket.drain();
    }

    /// Fills the batch with at least `enough` bytes, or with all that is queued, at least one
    /// datagram.
    async fn fill(&mut self, enough: usize) -> Result<(), NetlinkError> {
        self.batch.clear();
        // After a rest, messages are usually queued already.
        if self.registration.is_none() {
            self.take(enough)?;
        }
        while self.batch.is_empty() {
            // Nothing is queued: an idle listener holds no memory for datagrams.
            self.batch = Vec::new();
            let registration = match self.registration.take() {
                Some(registration) => registration,
                None => register(&self.socket)?,
            };
            let mut guard = self.registration.insert(registration).readable().await?;
            if !take(&mut self.socket, &mut self.batch, enough)? {
                guard.clear_ready();
            }
        }
        Ok(())
    }

    fn take(&mut self, enough: usize) -> Result<bool, NetlinkError> {
        take(&mut self.socket, &mut self.batch, enough)
    }
}

/// Reads datagrams until there are `enough` bytes. Returns `false` if the queue is empty.
fn take(socket: &mut Socket, batch: &mut Vec<u8>, enough: usize) -> Result<bool, NetlinkError> {
    while batch.len() < enough {
        match socket.receive_into(batch) {
            Ok(true) => batch.resize(message::aligned(batch.len()), 0),
            Ok(false) => return Ok(false),
            Err(error) => {
                batch.clear();
                socket.drain();
                return Err(error);
            }
        }
    }
    Ok(true)
}

fn register(socket: &Socket) -> Result<AsyncFd<Descriptor>, NetlinkError> {
    let descriptor = Descriptor(socket.as_raw_fd());
    // SAFETY: the descriptor belongs to the socket, which the `Listener` owns for as long as the
    // registration: it is never replaced, and is dropped after it.
    let registration = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
    Ok(registration.map_err(io::Error::from)?)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::rtnetlink::link_request;
    use crate::{Protocol, messages};

    /// Sends a message to a socket, in place of the kernel.
    fn send(to: u32, sequence: u32) {
        let bytes = link_request(7).bytes(sequence);
        let from = netlink_sys::Socket::new(netlink_sys::protocols::NETLINK_USERSOCK).unwrap();
        from.send_to(&bytes, &netlink_sys::SocketAddr::new(to, 0), 0).unwrap();
    }

    fn sequences(batch: &[u8]) -> Vec<u32> {
        messages(batch).map(|message| message.sequence).collect()
    }

    #[test]
    fn queued_messages_are_one_batch_also_after_a_rest() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut listener = Listener::new(Socket::open(Protocol::User, &[]).unwrap()).unwrap();
            let port = listener.socket().port();
            (1..=3).for_each(|sequence| send(port, sequence));
            assert_eq!(sequences(listener.receive().await.unwrap()), [1, 2, 3]);
            listener.rest();
            (4..=5).for_each(|sequence| send(port, sequence));
            assert_eq!(sequences(listener.receive().await.unwrap()), [4, 5]);
            let waits = tokio::time::timeout(Duration::from_millis(20), listener.receive()).await;
            assert!(waits.is_err(), "there is nothing more");
            assert_eq!(listener.batch.capacity(), 0, "an idle listener holds no memory");
            send(port, 6);
            send(port, 7);
            assert_eq!(sequences(listener.next().await.unwrap()), [6]);
            assert_eq!(sequences(listener.next().await.unwrap()), [7]);
        });
    }
}
