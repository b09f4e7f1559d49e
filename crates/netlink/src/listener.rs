//! Hearing of changes, in a tokio runtime.

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::socket::{DATAGRAM, Socket};
use crate::{NetlinkError, message};

/// A batch ends when it holds this much, so that a storm does not fill the memory.
const BATCH: usize = 2 * DATAGRAM;

/// Hands over the messages of the groups that a [`Socket`] joined, all that wait at once.
///
/// While it is registered with the runtime's poll each message that comes wakes the process, also
/// when no task waits for it (the poll is edge-triggered). Who lets messages wait on purpose calls
/// [`Listener::rest`] first.
#[derive(Debug)]
pub struct Listener {
    /// before the socket, so that it goes first
    registration: Option<AsyncFd<Descriptor>>,
    socket: Socket,
    batch: Vec<u8>,
}

/// Holds the number of the socket's descriptor.
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
    /// The runtime's poll does not take it.
    pub fn new(socket: Socket) -> Result<Self, NetlinkError> {
        let registration = Some(register(&socket)?);
        Ok(Self { registration, socket, batch: Vec::new() })
    }

    /// Returns the socket.
    pub const fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Waits until there is something and takes all that is there, up to some 128 KiB. What is
    /// returned is for [`crate::messages`]; uevents, which are no messages, are to be taken by
    /// [`Self::next`].
    ///
    /// Nothing is lost when the future is dropped before it is ready.
    ///
    /// # Errors
    /// [`NetlinkError::Overrun`]: messages were dropped. What waited has been thrown away as well:
    /// what is known by them has to be listed anew. Otherwise the socket failed.
    pub async fn receive(&mut self) -> Result<&[u8], NetlinkError> {
        self.fill(BATCH).await?;
        Ok(&self.batch)
    }

    /// Waits for one datagram.
    ///
    /// Nothing is lost when the future is dropped before it is ready.
    ///
    /// # Errors
    /// As [`Self::receive`].
    pub async fn next(&mut self) -> Result<&[u8], NetlinkError> {
        self.fill(1).await?;
        Ok(&self.batch)
    }

    /// Lets messages wait without waking anybody, until the next call of [`Self::receive`].
    pub fn rest(&mut self) {
        self.registration = None;
    }

    /// Throws away what waits: a listing will say it better.
    pub fn discard(&mut self) {
        self.socket.drain();
    }

    /// Fills the batch with at least `enough` bytes, or with what there is.
    async fn fill(&mut self, enough: usize) -> Result<(), NetlinkError> {
        self.batch.clear();
        // After a rest something is there, as a rule.
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

/// Takes what waits until there is enough. `false`: nothing waits any more.
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
    // SAFETY: the descriptor belongs to the socket, which a `Listener` keeps for as long as the
    // registration: it is never replaced, and dropped after it.
    let registration = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
    Ok(registration.map_err(io::Error::from)?)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::rtnetlink::link_request;
    use crate::{Protocol, messages};

    /// Sends a message from one socket to the other, as the kernel would.
    fn send(to: u32, sequence: u32) {
        let bytes = link_request(7).bytes(sequence);
        let from = netlink_sys::Socket::new(netlink_sys::protocols::NETLINK_USERSOCK).unwrap();
        from.send_to(&bytes, &netlink_sys::SocketAddr::new(to, 0), 0).unwrap();
    }

    fn sequences(batch: &[u8]) -> Vec<u32> {
        messages(batch).map(|message| message.sequence).collect()
    }

    #[test]
    fn what_waits_is_one_batch_also_after_a_rest() {
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
