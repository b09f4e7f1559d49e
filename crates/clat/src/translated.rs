//! A translated packet.

use crate::bytes::{byte, u16_at, u32_at};
use crate::ipv6::{self, Fragment};
use crate::{DropReason, Offload};

/// The offset of the fragmentable part in a packet with a fragment header, in octets.
const FRAGMENTABLE: usize = ipv6::HEADER + ipv6::FRAGMENT;

/// A translated packet: new headers, and the rest of the original packet.
#[derive(Debug, Clone, Copy)]
pub struct Translated<'a> {
    pub(crate) headers: &'a [u8],
    pub(crate) body: &'a [u8],
    pub(crate) offload: Offload,
    /// The maximum size of each fragment, in octets; the packet has a fragment header then.
    pub(crate) limit: Option<u16>,
}

impl Translated<'_> {
    /// Returns the length before fragmentation, in octets.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "no packet is empty")]
    pub fn len(&self) -> usize {
        self.headers.len() + self.body.len()
    }

    /// Calls `send` for each packet to be sent: the whole one, or its fragments. The arguments are
    /// the remaining offload, the headers and the body, the latter two contiguous on the wire (as
    /// `writev` takes them).
    ///
    /// # Errors
    /// [`DropReason::Offload`]: the checksum field to be completed is outside the packet.
    pub fn for_each(&self, mut send: impl FnMut(&Offload, &[u8], &[u8])) -> Result<(), DropReason> {
        let Some(limit) = self.limit.filter(|limit| self.len() > usize::from(*limit)) else {
            send(&self.offload, self.headers, self.body);
            return Ok(());
        };
        let mut whole = [self.headers, self.body].concat();
        let mut offload = self.offload;
        if offload.needs_checksum() {
            offload = offload.complete(&mut whole)?;
        }
        let (headers, data) = whole.split_at_checked(FRAGMENTABLE).ok_or(DropReason::Truncated)?;
        let protocol = byte(headers, ipv6::HEADER)?;
        let field = u16_at(headers, ipv6::HEADER + 2)?;
        let identification = u32_at(headers, ipv6::HEADER + 4)?;
        let room = (usize::from(limit).saturating_sub(FRAGMENTABLE) & !7).max(8);
        let last = data.len().div_ceil(room).saturating_sub(1);
        let mut fragment_headers = Vec::with_capacity(FRAGMENTABLE);
        for (number, payload) in data.chunks(room).enumerate() {
            fragment_headers.clear();
            fragment_headers.extend_from_slice(headers.get(..ipv6::HEADER).unwrap_or_default());
            let fragment = Fragment {
                offset: (field >> 3) + (number * room / 8) as u16,
                more: number != last || field & 1 != 0,
                identification,
            };
            ipv6::write_fragment(fragment, protocol, &mut fragment_headers);
            ipv6::set_payload_length(&mut fragment_headers, 0, ipv6::FRAGMENT + payload.len())?;
            send(&offload, &fragment_headers, payload);
        }
        Ok(())
    }

    /// Returns the packets to be sent, each in its own buffer.
    ///
    /// # Errors
    /// As [`Translated::for_each`].
    pub fn packets(&self) -> Result<Vec<(Offload, Vec<u8>)>, DropReason> {
        let mut packets = Vec::new();
        self.for_each(|offload, headers, body| packets.push((*offload, [headers, body].concat())))?;
        Ok(packets)
    }
}
