//! A translated packet.

use crate::bytes::{byte, u16_at, u32_at};
use crate::ipv6::{self, Fragment};
use crate::{DropReason, Offload};

/// Where the payload of a packet with a fragment header begins, in octets.
const FRAGMENTABLE: usize = ipv6::HEADER + ipv6::FRAGMENT;

/// Holds a translated packet: a new head, and the rest of the packet that came in.
#[derive(Debug, Clone, Copy)]
pub struct Translated<'a> {
    pub(crate) head: &'a [u8],
    pub(crate) body: &'a [u8],
    pub(crate) offload: Offload,
    /// The size that no piece of it may exceed, in octets; it has a fragment header then.
    pub(crate) limit: Option<u16>,
}

impl Translated<'_> {
    /// Returns the length before it is cut into pieces, in octets.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "no packet is empty")]
    pub fn len(&self) -> usize {
        self.head.len() + self.body.len()
    }

    /// Returns whether it has to be sent in pieces.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.limit.is_some_and(|limit| self.len() > usize::from(limit))
    }

    /// Hands over each packet that is to be sent: one, or several pieces. A packet is a head and a
    /// body, one behind the other (as `writev` takes them), and what is left to be done with it.
    ///
    /// # Errors
    /// [`DropReason::Offload`]: the checksum is to be completed and lies outside of the packet.
    pub fn for_each(&self, mut send: impl FnMut(&Offload, &[u8], &[u8])) -> Result<(), DropReason> {
        let limit = match self.limit {
            Some(limit) if self.is_cut() => limit,
            _ => {
                send(&self.offload, self.head, self.body);
                return Ok(());
            }
        };
        let mut whole = [self.head, self.body].concat();
        let mut offload = self.offload;
        if offload.needs_checksum() {
            offload = offload.complete(&mut whole)?;
        }
        let (head, data) = whole.split_at_checked(FRAGMENTABLE).ok_or(DropReason::Truncated)?;
        let protocol = byte(head, ipv6::HEADER)?;
        let field = u16_at(head, ipv6::HEADER + 2)?;
        let identification = u32_at(head, ipv6::HEADER + 4)?;
        let room = (usize::from(limit).saturating_sub(FRAGMENTABLE) & !7).max(8);
        let last = data.len().div_ceil(room).saturating_sub(1);
        let mut piece_head = Vec::with_capacity(FRAGMENTABLE);
        for (number, piece) in data.chunks(room).enumerate() {
            piece_head.clear();
            piece_head.extend_from_slice(head.get(..ipv6::HEADER).unwrap_or_default());
            let fragment = Fragment {
                offset: (field >> 3) + (number * room / 8) as u16,
                more: number != last || field & 1 != 0,
                identification,
            };
            ipv6::write_fragment(fragment, protocol, &mut piece_head);
            ipv6::set_payload_length(&mut piece_head, 0, ipv6::FRAGMENT + piece.len())?;
            send(&offload, &piece_head, piece);
        }
        Ok(())
    }

    /// Returns the packets that are to be sent, each in one piece of memory.
    ///
    /// # Errors
    /// As [`Translated::for_each`].
    pub fn packets(&self) -> Result<Vec<(Offload, Vec<u8>)>, DropReason> {
        let mut packets = Vec::new();
        self.for_each(|offload, head, body| packets.push((*offload, [head, body].concat())))?;
        Ok(packets)
    }
}
