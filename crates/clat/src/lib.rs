//! The customer-side translator (CLAT) of 464XLAT (RFC 6877), without I/O: bytes in, bytes out.
//! Depends on no other crate of this workspace; begin with [`Translator`].
//!
//! # The pieces
//!
//! * [`Prefix`] is an IPv6 prefix that stands for all of IPv4, of each length of RFC 6052.
//! * [`Translator`] makes IPv6 packets of IPv4 packets and the other way round (RFC 7915). The result
//!   is a new head and the rest of the packet that came in ([`Translated`]), so that the payload is
//!   copied nowhere; what has to be fragmented comes out piece by piece.
//! * [`Offload`] is the header that a TUN device with `IFF_VNET_HDR` puts before a packet: checksums
//!   not yet complete, segments not yet cut. It is translated with the packet.
//! * [`DropReason`] says why a packet is not translated, and [`Translator::answer`] makes the ICMP
//!   error that RFC 7915 asks for.
//! * [`Advertisement`] reads router advertisements, with the options that a venue may put there:
//!   PREF64 (RFC 8781), captive portal (RFC 8910), resolvers, MTU, prefixes.
//! * [`prefixes`] finds the venue's NAT64 prefixes in the addresses of `ipv4only.arpa` (RFC 7050).
//!
//! ```
//! use bramblegate_clat::{Offload, Prefix, Translator};
//!
//! let translator = Translator {
//!     clat4: "192.0.0.1".parse()?,
//!     clat6: "2001:db8::464".parse()?,
//!     prefix: Prefix::WELL_KNOWN,
//!     ..Translator::default()
//! };
//! // an empty UDP datagram from 192.0.0.1 to 8.8.8.8, without checksum
//! let packet = [
//!     0x45, 0, 0, 28, 0, 0, 0x40, 0, 64, 17, 0x6a, 0xc0, 192, 0, 0, 1, 8, 8, 8, 8, //
//!     0x12, 0x34, 0, 53, 0, 8, 0, 0,
//! ];
//! let mut head = Vec::new();
//! let translated = translator.to_v6(&packet, Offload::default(), &mut head)?;
//! assert_eq!(translated.len(), 48);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod address;
mod advertisement;
mod answer;
mod bytes;
mod checksum;
mod direction;
mod discovery;
mod error;
mod icmp;
mod ipv4;
mod ipv6;
mod offload;
mod reason;
mod translated;
mod translator;
mod transport;

pub use address::{LengthError, Prefix, is_global};
pub use advertisement::{
    Advertisement, AdvertisementError, NatPrefix, Preference, PrefixInformation, Resolvers,
    solicitation,
};
pub use discovery::{WELL_KNOWN_NAME, prefixes};
pub use offload::{Gso, Offload};
pub use reason::DropReason;
pub use translated::Translated;
pub use translator::Translator;
