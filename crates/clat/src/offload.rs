//! The offload header of a TUN device with `IFF_VNET_HDR` (`struct virtio_net_hdr`,
//! linux/virtio_net.h; VIRTIO 1.3, section 5.1.6).

use crate::DropReason;
use crate::bytes::{put_u16, u16_at};
use crate::checksum;

/// The checksum field holds only the sum of the pseudo header (`VIRTIO_NET_HDR_F_NEEDS_CSUM`).
const NEEDS_CSUM: u8 = 1;
/// `VIRTIO_NET_HDR_GSO_ECN`, a bit beside the type.
const ECN: u8 = 0x80;

/// The segmentation that is still to do (`VIRTIO_NET_HDR_GSO_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Gso {
    /// None.
    #[default]
    None,
    /// TCP over IPv4.
    TcpV4,
    /// A UDP datagram into IP fragments.
    UdpFragments,
    /// TCP over IPv6.
    TcpV6,
    /// UDP datagrams of equal length.
    UdpSegments,
}

/// The offload header before a packet. Offsets and lengths are in octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offload {
    /// `VIRTIO_NET_HDR_F_*`.
    pub flags: u8,
    /// The segmentation that is still to do.
    pub gso: Gso,
    /// TCP: the segments carry congestion marks (`VIRTIO_NET_HDR_GSO_ECN`).
    pub ecn: bool,
    /// The length of all headers, for segmentation; a hint.
    pub header_length: u16,
    /// The payload of each segment.
    pub gso_size: u16,
    /// Where the checksummed part begins, from the beginning of the packet.
    pub checksum_start: u16,
    /// Where the checksum field is, from `checksum_start`.
    pub checksum_offset: u16,
}

impl Offload {
    /// The length of the header in its shortest form, a TUN device's default.
    pub const LENGTH: usize = 10;

    /// Parses the header, which is in host byte order.
    ///
    /// # Errors
    /// [`DropReason::Offload`]: an unknown type.
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

    /// Returns the header in host byte order.
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

    /// Returns whether the checksum is partial.
    #[must_use]
    pub fn needs_checksum(&self) -> bool {
        self.flags & NEEDS_CSUM != 0
    }

    /// Checks that a partial checksum is that of the transport header at `start`, at the offset
    /// `field` within it; `None` where that header has no checksum.
    pub(crate) fn check(&self, start: usize, field: Option<usize>) -> Result<(), DropReason> {
        let fits = usize::from(self.checksum_start) == start
            && field == Some(usize::from(self.checksum_offset));
        let segments = self.gso != Gso::None;
        let bad = (self.needs_checksum() && !fits) || (segments && !self.needs_checksum());
        if bad { Err(DropReason::Offload) } else { Ok(()) }
    }

    /// Returns the offload after translation moved the transport header from `before` to `start`.
    pub(crate) fn moved(mut self, before: usize, start: usize, gso: Gso) -> Self {
        if self.needs_checksum() {
            self.checksum_start = start as u16;
        }
        // The kernel sets no hint without segmentation, and refuses one beyond the packet's end.
        if self.gso != Gso::None {
            let beyond = usize::from(self.header_length).saturating_sub(before);
            self.header_length = u16::try_from(start + beyond).unwrap_or(u16::MAX);
        }
        self.gso = gso;
        self
    }

    /// Completes the partial checksum of a packet, and returns the offload that remains.
    pub(crate) fn complete(mut self, packet: &mut [u8]) -> Result<Self, DropReason> {
        let start = usize::from(self.checksum_start);
        let field = start + usize::from(self.checksum_offset);
        let counted = packet.get(start..).ok_or(DropReason::Offload)?;
        u16_at(packet, field).map_err(|_| DropReason::Offload)?;
        // The field holds the pseudo header's sum, so the sum over everything includes it.
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
