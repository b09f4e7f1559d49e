//! Deletes obsolete conntrack entries:
//!
//! * Those translated to the address of an uplink that lost the default route but kept the address,
//!   which would leave through the new uplink with the old one's address. (The kernel itself drops
//!   masqueraded entries when an address or a port is removed.)
//! * Those of a forwarded port that leads elsewhere now or nowhere: a client that never pauses
//!   would reach the old node for ever. An open TCP connection is left to end by itself.
//! * Those that a node opened before its address was masqueraded, which would leave with it for
//!   ever.

use std::net::{IpAddr, Ipv4Addr};

use bramblegate_netlink::netfilter::{CTNETLINK, IPV4};
use bramblegate_netlink::{Attributes, Message, NESTED, Protocol, Request, Socket};
use ipnet::IpNet;
use rustix::io::Errno;

use crate::decide::ConntrackPlan;
use crate::decide::firewall::{ForwardedPort, Transport};
use crate::event::{Applied, ApplyError, ApplyErrorKind, Output};
use crate::packet::{TCP, UDP};
use crate::reconcile::Reconciler;
use crate::reconcile::error::{OutputError, into_apply_error};

/// `IPCTNL_MSG_CT_GET`, `IPCTNL_MSG_CT_DELETE`
const GET: u8 = 1;
const DELETE: u8 = 2;
/// `CTA_TUPLE_ORIG`, `CTA_TUPLE_REPLY`, `CTA_ID`, `CTA_ZONE`; `CTA_TUPLE_IP`; `CTA_IP_V4_SRC`,
/// `CTA_IP_V4_DST`; `CTA_TUPLE_PROTO`; `CTA_PROTO_NUM`, `CTA_PROTO_SRC_PORT`, `CTA_PROTO_DST_PORT`
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const ID: u16 = 12;
const ZONE: u16 = 18;
const IP: u16 = 1;
const SOURCE: u16 = 1;
const DESTINATION: u16 = 2;
const PROTOCOL: u16 = 2;
const NUMBER: u16 = 1;
const SOURCE_PORT: u16 = 2;
const DESTINATION_PORT: u16 = 3;
/// `CTA_STATUS`; `IPS_ASSURED`
const STATUS: u16 = 3;
const ASSURED: u32 = 4;

/// Deletes the entries of a plan, once for each plan.
#[derive(Debug, Default)]
pub struct ConntrackReconciler;

impl Reconciler for ConntrackReconciler {
    type Desired = ConntrackPlan;
    const OUTPUT: Output = Output::Conntrack;

    async fn apply(&mut self, desired: &ConntrackPlan) -> Result<Applied, ApplyError> {
        if desired.sources.is_empty() {
            return Ok(Applied::Conntrack { deleted: 0 });
        }
        let sources = desired.sources.clone();
        // The dump of a full table and close(2) take long, and would block the runtime.
        let joined = tokio::task::spawn_blocking(move || delete(&sources)).await;
        let result = joined.unwrap_or(Err(Errno::CANCELED));
        Ok(result.map(|deleted| Applied::Conntrack { deleted }).map_err(ConntrackError)?)
    }
}

/// An error of connection tracking.
#[derive(Debug, thiserror::Error)]
#[error("deleting entries of connection tracking (ctnetlink)")]
pub struct ConntrackError(#[source] Errno);

impl OutputError for ConntrackError {
    fn kind(&self) -> ApplyErrorKind {
        match self.0 {
            Errno::PERM => ApplyErrorKind::Denied,
            Errno::PROTONOSUPPORT | Errno::OPNOTSUPP => ApplyErrorKind::Unsupported,
            _ => ApplyErrorKind::Failed,
        }
    }
}

into_apply_error!(ConntrackError);

/// Deletes the IPv4 entries whose source was translated to one of `sources`. Returns their number.
///
/// # Errors
/// `EPERM` without CAP_NET_ADMIN; `EOPNOTSUPP` if the kernel has no ctnetlink.
pub fn delete(sources: &[IpAddr]) -> Result<u32, Errno> {
    delete_matching(|entry| is_translated_to(entry, sources))
}

/// Deletes the entries of these forwarded ports, except open TCP connections. Returns their number.
///
/// # Errors
/// As [`delete`].
pub fn delete_forwarded(ports: &[ForwardedPort]) -> Result<u32, Errno> {
    if ports.is_empty() { Ok(0) } else { delete_matching(|entry| is_forwarded_by(entry, ports)) }
}

/// Deletes the untranslated entries from these networks to the outside, except open TCP
/// connections. Returns their number.
///
/// # Errors
/// As [`delete`].
pub fn delete_bare(networks: &[IpNet]) -> Result<u32, Errno> {
    if networks.is_empty() { Ok(0) } else { delete_matching(|entry| is_bare(entry, networks)) }
}

fn delete_matching(matches: impl Fn(&Attributes<'_>) -> bool) -> Result<u32, Errno> {
    let mut socket = Socket::open(Protocol::Netfilter, &[])?;
    let dump = Request::netfilter(CTNETLINK, GET, IPV4).dump();
    let requests = socket.dump(&dump, |message| deletion(message, &matches))?;
    let mut deleted: u32 = 0;
    let mut failure = None;
    for request in requests.items {
        match socket.request(&request, |_| {}).map_err(Errno::from) {
            Ok(()) => deleted = deleted.saturating_add(1),
            // The entry has ended since the dump.
            Err(Errno::NOENT) => {}
            // An entry in a flow table (EBUSY) does not affect the others.
            Err(errno) => failure = Some(errno),
        }
    }
    failure.map_or(Ok(deleted), Err)
}

fn is_translated_to(entry: &Attributes<'_>, sources: &[IpAddr]) -> bool {
    let translated = address(&entry.nest(REPLY), DESTINATION);
    translated.is_some_and(|address| sources.contains(&address))
        && address(&entry.nest(ORIGINAL), SOURCE) != translated
}

/// Returns whether the connection leads from one of these networks to the outside, untranslated.
fn is_bare(entry: &Attributes<'_>, networks: &[IpNet]) -> bool {
    let (original, reply) = (entry.nest(ORIGINAL), entry.nest(REPLY));
    let (Some(from), Some(to)) = (address(&original, SOURCE), address(&original, DESTINATION))
    else {
        return false;
    };
    let inside = |address: IpAddr| networks.iter().any(|net| net.contains(&address));
    inside(from)
        && !inside(to)
        && address(&reply, DESTINATION) == Some(from)
        && !is_open_stream(entry)
}

/// Returns whether this is an established TCP connection, which a deletion would break.
fn is_open_stream(entry: &Attributes<'_>) -> bool {
    protocol(&entry.nest(ORIGINAL)) == Some(TCP)
        && entry.be32(STATUS).is_some_and(|status| status & ASSURED != 0)
}

fn protocol(tuple: &Attributes<'_>) -> Option<u8> {
    tuple.nest(PROTOCOL).value(NUMBER).and_then(|number| number.first().copied())
}

/// Returns whether one of these ports forwarded the connection to its node.
fn is_forwarded_by(entry: &Attributes<'_>, ports: &[ForwardedPort]) -> bool {
    let (original, reply) = (entry.nest(ORIGINAL), entry.nest(REPLY));
    let transport = match protocol(&original) {
        Some(UDP) => Transport::Udp,
        Some(TCP) if !is_open_stream(entry) => Transport::Tcp,
        _ => return false,
    };
    let (Some(listen), Some(port)) =
        (original.nest(PROTOCOL).be16(DESTINATION_PORT), reply.nest(PROTOCOL).be16(SOURCE_PORT))
    else {
        return false;
    };
    let node = address(&reply, SOURCE);
    let forwarded = (transport, listen, node, port);
    address(&original, DESTINATION) != node
        && ports
            .iter()
            .any(|port| (port.transport, port.listen, Some(port.to), port.port) == forwarded)
}

/// Returns the request that deletes the entry in `message` if it matches.
fn deletion(message: &Message<'_>, matches: impl Fn(&Attributes<'_>) -> bool) -> Option<Request> {
    let entry = message.attributes();
    if !matches(&entry) {
        return None;
    }
    // The ID excludes a later entry with the same addresses.
    let mut request = Request::netfilter(CTNETLINK, DELETE, IPV4)
        .attribute(ORIGINAL | NESTED, entry.value(ORIGINAL)?);
    for kind in [ID, ZONE] {
        if let Some(value) = entry.value(kind) {
            request = request.attribute(kind, value);
        }
    }
    Some(request)
}

/// Returns an IPv4 address of a tuple; other entries are not dumped.
fn address(tuple: &Attributes<'_>, kind: u16) -> Option<IpAddr> {
    tuple.nest(IP).be32(kind).map(Ipv4Addr::from_bits).map(IpAddr::V4)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use bramblegate_netlink::messages;

    fn nest(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend((value.len() as u16 + 4).to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn entry(original: [&str; 2], reply: [&str; 2]) -> Vec<u8> {
        let tuple = |[from, to]: [&str; 2]| {
            let octets = |text: &str| text.parse::<Ipv4Addr>().unwrap().octets();
            nest(
                IP | NESTED,
                &[nest(SOURCE, &octets(from)), nest(DESTINATION, &octets(to))].concat(),
            )
        };
        let request = Request::netfilter(CTNETLINK, 0, IPV4);
        let request = request
            .attribute(ORIGINAL | NESTED, &tuple(original))
            .attribute(REPLY | NESTED, &tuple(reply));
        request.be32(ID, 7).bytes(1)
    }

    fn goes(original: [&str; 2], reply: [&str; 2]) -> bool {
        let bytes = entry(original, reply);
        let message = messages(&bytes).next().unwrap();
        deletion(&message, |entry| is_translated_to(entry, &["10.99.0.126".parse().unwrap()]))
            .is_some()
    }

    #[test]
    fn only_entries_translated_to_the_old_address_are_deleted() {
        assert!(goes(["192.168.50.11", "9.9.9.9"], ["9.9.9.9", "10.99.0.126"]));
        assert!(!goes(["192.168.50.11", "9.9.9.9"], ["9.9.9.9", "10.77.0.5"]), "another uplink's");
        assert!(
            !goes(["10.99.0.126", "9.9.9.9"], ["9.9.9.9", "10.99.0.126"]),
            "the head's own, not translated"
        );
        assert!(
            !goes(["10.99.0.7", "10.99.0.126"], ["10.99.0.126", "10.99.0.7"]),
            "a session into the head"
        );
    }

    #[test]
    fn only_entries_that_leave_the_cluster_untranslated_are_bare() {
        let cluster = ["192.168.50.0/24".parse().unwrap()];
        let bare = |original, reply| {
            let bytes = entry(original, reply);
            let message = messages(&bytes).next().unwrap();
            is_bare(&message.attributes(), &cluster)
        };
        assert!(bare(["192.168.50.11", "9.9.9.9"], ["9.9.9.9", "192.168.50.11"]));
        assert!(!bare(["192.168.50.11", "9.9.9.9"], ["9.9.9.9", "10.99.0.126"]), "translated");
        assert!(
            !bare(["192.168.50.11", "192.168.50.1"], ["192.168.50.1", "192.168.50.11"]),
            "to the head"
        );
        assert!(
            !bare(["10.99.0.20", "10.99.0.126"], ["192.168.50.11", "10.99.0.20"]),
            "through a forwarded port"
        );
    }

    #[test]
    fn the_deletion_identifies_the_entry() {
        let bytes = entry(["192.168.50.11", "9.9.9.9"], ["9.9.9.9", "10.99.0.126"]);
        let message = messages(&bytes).next().unwrap();
        let request = deletion(&message, |_| true).unwrap().bytes(5);
        let request = messages(&request).next().unwrap();
        assert_eq!(request.kind, CTNETLINK << 8 | u16::from(DELETE));
        assert_eq!(request.attributes().value(ORIGINAL), message.attributes().value(ORIGINAL));
        assert_eq!(request.attributes().be32(ID), Some(7));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_harmless(bytes: Vec<u8>) {
            for message in messages(&bytes) {
                let _ = deletion(&message, |entry| is_translated_to(entry, &[[0; 4].into()]));
                let _ = deletion(&message, |entry| is_forwarded_by(entry, &[]));
            }
        }
    }
}
