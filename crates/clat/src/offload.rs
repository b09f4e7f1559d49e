//! What a TUN device with `IFF_VNET_HDR` leaves to be done, or has done (`struct virtio_net_hdr`,
//! linux/virtio_net.h; VIRTIO 1.3, section 5.1.6).

use crate::DropReason;
use crate::bytes::{put_u16, u16_at};
use crate::checksum;

/// The checksum is only the sum of the pseudo header yet.
const NEEDS_CSUM: u8 = 1;
/// More segments follow an ECN mark (a bit beside the type).
const ECN: u8 = 0x80;

/// Names how a packet is to be cut into segments (`VIRTIO_NET_HDR_GSO_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Gso {
    /// Not at all.
    #[default]
    None,
    /// TCP over IPv4.
    TcpV4,
    /// A UDP datagram into IP fragments.
    UdpFragments,
    /// TCP over IPv6.
    TcpV6,
    /// UDP datagrams of one length.
    UdpSegments,
}

/// Holds the header before a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offload {
    /// `VIRTIO_NET_HDR_F_*`.
    pub flags: u8,
    /// How the packet is to be cut.
    pub gso: Gso,
    /// TCP: the segments carry congestion marks (`VIRTIO_NET_HDR_GSO_ECN`).
    pub ecn: bool,
    /// Octets of all headers, where the packet is to be cut; a hint.
    pub header_length: u16,
    /// Octets of payload in each segment.
    pub gso_size: u16,
    /// Where the checksum begins to count, from the beginning of the packet.
    pub checksum_start: u16,
    /// Where it stands, from there.
    pub checksum_offset: u16,
}

impl Offload {
    /// Octets of the header in its shortest form, which a TUN device uses unless asked otherwise.
    pub const LENGTH: usize = 10;

    /// Reads the header as a TUN device of this machine writes it, in its byte order.
    ///
    /// # Errors
    /// [`DropReason::Offload`]: a type that is not known.
    pub fn from_bytes(bytes: &[u8; Self::LENGTH]) -> Result<Self, DropReason> {
        let [flags, gso, rest @ ..] = *bytes;
        let [a, b, c, d, e, f, g, h] = rest;
        Ok(Self {
            flags,
            gso: match gso & !ECN {
                0 => Gso::None,
                1 => Gso::TcpV4,
                3 => Gso::UdpFragments,
                4 => Gso::TcpV6,
                5 => Gso::UdpSegments,
                _ => return Err(DropReason::Offload),
            },
            ecn: gso & ECN != 0,
            header_length: u16::from_ne_bytes([a, b]),
            gso_size: u16::from_ne_bytes([c, d]),
            checksum_start: u16::from_ne_bytes([e, f]),
            checksum_offset: u16::from_ne_bytes([g, h]),
        })
    }

    /// Returns the header as a TUN device of this machine reads it.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::LENGTH] {
        let gso = match self.gso {
            Gso::None => 0,
            Gso::TcpV4 => 1,
            Gso::UdpFragments => 3,
            Gso::TcpV6 => 4,
            Gso::UdpSegments => 5,
        };
        let [a, b] = self.header_length.to_ne_bytes();
        let [c, d] = self.gso_size.to_ne_bytes();
        let [e, f] = self.checksum_start.to_ne_bytes();
        let [g, h] = self.checksum_offset.to_ne_bytes();
        [self.flags, gso | if self.ecn { ECN } else { 0 }, a, b, c, d, e, f, g, h]
    }

    /// Returns whether the checksum is to be completed.
    #[must_use]
    pub fn needs_checksum(&self) -> bool {
        self.flags & NEEDS_CSUM != 0
    }

    /// Checks that an open checksum is the one of a transport header at `start`, which stands at
    /// `field` of it; `None` if that header has none or is not there.
    pub(crate) fn check(&self, start: usize, field: Option<usize>) -> Result<(), DropReason> {
        let fits = usize::from(self.checksum_start) == start
            && field == Some(usize::from(self.checksum_offset));
        let cut = self.gso != Gso::None;
        let bad = (self.needs_checksum() && !fits) || (cut && !self.needs_checksum());
        if bad { Err(DropReason::Offload) } else { Ok(()) }
    }

    /// Returns the header for the packet after its headers grew or shrank to begin the transport
    /// header at `start` instead of at `before`.
    pub(crate) fn moved(mut self, before: usize, start: usize, gso: Gso) -> Self {
        if self.needs_checksum() {
            self.checksum_start = start as u16;
        }
        // The kernel leaves the hint at 0 in whole packets, and refuses one beyond the packet's end.
        if self.gso != Gso::None {
            let beyond = usize::from(self.header_length).saturating_sub(before);
            self.header_length = u16::try_from(start + beyond).unwrap_or(u16::MAX);
        }
        self.gso = gso;
        self
    }

    /// Completes an open checksum in a packet, and returns the header that says so.
    pub(crate) fn complete(mut self, packet: &mut [u8]) -> Result<Self, DropReason> {
        let start = usize::from(self.checksum_start);
        let field = start + usize::from(self.checksum_offset);
        let counted = packet.get(start..).ok_or(DropReason::Offload)?;
        u16_at(packet, field).map_err(|_| DropReason::Offload)?;
        // The field holds the pseudo header's sum, so it is counted with the rest.
        let checksum = !checksum::sum(counted);
        put_u16(packet, field, if checksum == 0 { 0xffff } else { checksum });
        self.flags &= !NEEDS_CSUM;
        self.checksum_start = 0;
        self.checksum_offset = 0;
        Ok(self)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn reads_what_it_writes(bytes: [u8; 10]) {
            if let Ok(offload) = Offload::from_bytes(&bytes) {
                prop_assert_eq!(offload.to_bytes(), bytes);
            }
        }
    }
}
