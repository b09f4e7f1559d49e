//! Hearing of changes, in a tokio runtime.

use std::io;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::socket::{DATAGRAM, Socket};
use crate::{NetlinkError, message};

/// A batch ends when it holds this much, so that a storm does not fill the memory.
const BATCH: usize = 2 * DATAGRAM;

/// Hands over the messages of the groups that a [`Socket`] joined, all that wait at once.
#[derive(Debug)]
pub struct Listener {
    socket: AsyncFd<Socket>,
    batch: Vec<u8>,
}

impl Listener {
    /// Registers a socket with the runtime.
    ///
    /// # Errors
    /// The runtime's poll does not take it.
    pub fn new(socket: Socket) -> Result<Self, NetlinkError> {
        // SAFETY: the descriptor belongs to the socket, which the `AsyncFd` keeps and only lends out.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
        Ok(Self { socket: socket.map_err(io::Error::from)?, batch: Vec::new() })
    }

    /// Returns the socket.
    pub fn socket(&self) -> &Socket {
        self.socket.get_ref()
    }

    /// Waits until there is something and takes all that is there, up to some 128 KiB. What is returned
    /// is for [`crate::messages`]; uevents, which are no messages, are to be taken by [`Self::next`].
    ///
    /// Nothing is lost when the future is dropped before it is ready.
    ///
    /// # Errors
    /// [`NetlinkError::Overrun`]: messages were dropped. What waited has been thrown away as well: what
    /// is known by them has to be listed anew. Otherwise the socket failed.
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

    /// Fills the batch with at least `enough` bytes, or with what there is.
    async fn fill(&mut self, enough: usize) -> Result<(), NetlinkError> {
        self.batch.clear();
        while self.batch.is_empty() {
            let mut guard = self.socket.readable_mut().await?;
            // From here to the end nothing waits.
            while self.batch.len() < enough {
                match guard.get_inner().receive_into(&mut self.batch) {
                    Ok(true) => {
                        let padded = message::aligned(self.batch.len());
                        self.batch.resize(padded, 0);
                    }
                    Ok(false) => {
                        guard.clear_ready();
                        break;
                    }
                    Err(error) => {
                        self.batch.clear();
                        guard.get_inner_mut().drain();
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    }

    /// Throws away what waits: a listing will tell it better.
    pub fn discard(&mut self) {
        self.socket.get_mut().drain();
    }
}
