//! The customer-side translator (CLAT) of 464XLAT (RFC 6877), without I/O: bytes in, bytes out.
//! Depends on no other crate of this workspace; begin with [`Translator`].
//!
//! * [`Prefix`] is an IPv6 prefix that embeds all of IPv4, with any length that RFC 6052 allows.
//! * [`Translator`] translates packets between IPv4 and IPv6 (RFC 7915). The result is new headers
//!   and the rest of the original packet ([`Translated`]), so the payload is not copied unless the
//!   packet has to be fragmented.
//! * [`Offload`] is the header that a TUN device with `IFF_VNET_HDR` puts before a packet: partial
//!   checksums and segmentation still to do. It is translated with the packet.
//! * [`DropReason`] is why a packet is dropped, and [`Translator::answer`] builds the ICMP error
//!   that RFC 7915 requires.
//! * [`Advertisement`] parses router advertisements and their options: PREF64 (RFC 8781), captive
//!   portal (RFC 8910), resolvers, MTU, prefixes.
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
//! // An empty UDP datagram from 192.0.0.1 to 8.8.8.8, without a checksum.
//! let packet = [
//!     0x45, 0, 0, 28, 0, 0, 0x40, 0, 64, 17, 0x6a, 0xc0, 192, 0, 0, 1, 8, 8, 8, 8, //
//!     0x12, 0x34, 0, 53, 0, 8, 0, 0,
//! ];
//! let mut headers = Vec::new();
//! let translated = translator.to_v6(&packet, Offload::default(), &mut headers)?;
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
