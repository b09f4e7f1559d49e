//! Connection tracking: takes away the entries whose source was translated to an address that no
//! longer leads out.
//!
//! The kernel itself drops masqueraded entries when an address or a port goes. What remains is an
//! uplink that lost the default route and kept its address: its connections would go out by the new
//! uplink with the old one's address.
//!
//! And those that were led to a node by a port that leads elsewhere now, or nowhere: who never
//! pauses would reach the node of before for ever. A TCP connection that is open ends by itself.
//!
//! And those that a node had opened to the outside before its address was hidden: they would leave
//! with it for ever.

use std::net::{IpAddr, Ipv4Addr};

use bramblegate_netlink::netfilter::CTNETLINK;
use bramblegate_netlink::{Attributes, Message, NESTED, Protocol, Request, Socket};
use ipnet::IpNet;
use rustix::io::Errno;

use crate::decide::ConntrackPlan;
use crate::decide::firewall::{ForwardedPort, Transport};
use crate::event::{Applied, ApplyError, ApplyErrorKind, Output};
use crate::reconcile::Reconciler;
use crate::reconcile::error::{OutputError, into_apply_error};

/// `IPCTNL_MSG_CT_GET`, `IPCTNL_MSG_CT_DELETE`
const GET: u8 = 1;
const DELETE: u8 = 2;
/// `AF_INET`
const IPV4: u8 = 2;
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
/// `IPPROTO_TCP`, `IPPROTO_UDP`
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Deletes entries on order; an order is carried out once.
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
        // A full table takes long to list, and the socket long to close: not on the thread that
        // runs the daemon.
        let done = tokio::task::spawn_blocking(move || delete(&sources)).await;
        let result = done.unwrap_or(Err(Errno::CANCELED));
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

/// Deletes the IPv4 entries whose source was translated to one of `sources`; how many there were.
///
/// # Errors
/// `EPERM` without CAP_NET_ADMIN; `EOPNOTSUPP` where the kernel has no ctnetlink.
pub fn delete(sources: &[IpAddr]) -> Result<u32, Errno> {
    delete_those(|entry| is_translated_to(entry, sources))
}

/// Deletes the entries that these ports led to nodes, but for open TCP connections; how many there
/// were.
///
/// # Errors
/// As [`delete`].
pub fn delete_forwarded(ports: &[ForwardedPort]) -> Result<u32, Errno> {
    if ports.is_empty() { Ok(0) } else { delete_those(|entry| is_led_by(entry, ports)) }
}

/// Deletes the entries that lead from these networks to the outside and are not translated, but for
/// open TCP connections; how many there were.
///
/// # Errors
/// As [`delete`].
pub fn delete_bare(networks: &[IpNet]) -> Result<u32, Errno> {
    if networks.is_empty() { Ok(0) } else { delete_those(|entry| is_bare(entry, networks)) }
}

fn delete_those(goes: impl Fn(&Attributes<'_>) -> bool) -> Result<u32, Errno> {
    let mut socket = Socket::open(Protocol::Netfilter, &[])?;
    let orders = socket
        .dump(&Request::netfilter(CTNETLINK, GET, IPV4).dump(), |message| order(message, &goes))?;
    let mut deleted: u32 = 0;
    let mut failure = None;
    for order in orders.items {
        match socket.request(&order, |_| {}).map_err(Errno::from) {
            Ok(()) => deleted = deleted.saturating_add(1),
            // It has just ended by itself.
            Err(Errno::NOENT) => {}
            // One that a flow table holds (EBUSY) does not keep the others.
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

/// Returns whether the connection leads from one of these networks to the outside, and is answered
/// to that very address.
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

/// Returns whether it is a TCP connection whose handshake is over: it may work as it is, and would
/// be cut.
fn is_open_stream(entry: &Attributes<'_>) -> bool {
    protocol(&entry.nest(ORIGINAL)) == Some(TCP)
        && entry.be32(STATUS).is_some_and(|status| status & ASSURED != 0)
}

fn protocol(tuple: &Attributes<'_>) -> Option<u8> {
    tuple.nest(PROTOCOL).value(NUMBER).and_then(|number| number.first().copied())
}

/// Returns whether the connection was opened to the head's port and led to the node's.
fn is_led_by(entry: &Attributes<'_>, ports: &[ForwardedPort]) -> bool {
    let (original, reply) = (entry.nest(ORIGINAL), entry.nest(REPLY));
    let transport = match protocol(&original) {
        Some(UDP) => Transport::Udp,
        Some(TCP) if !is_open_stream(entry) => Transport::Tcp,
        _ => return false,
    };
    let (asked, answers) =
        (original.nest(PROTOCOL).be16(DESTINATION_PORT), reply.nest(PROTOCOL).be16(SOURCE_PORT));
    let (Some(asked), Some(answers)) = (asked, answers) else { return false };
    let node = address(&reply, SOURCE);
    let led = (transport, asked, node, answers);
    address(&original, DESTINATION) != node
        && ports.iter().any(|port| (port.transport, port.listen, Some(port.to), port.port) == led)
}

/// Returns the request that deletes the entry in `message`, if it is one of those to go.
fn order(message: &Message<'_>, goes: impl Fn(&Attributes<'_>) -> bool) -> Option<Request> {
    let entry = message.attributes();
    if !goes(&entry) {
        return None;
    }
    // The number makes sure that it is this entry and not a later one of the same addresses.
    let mut order = Request::netfilter(CTNETLINK, DELETE, IPV4)
        .attribute(ORIGINAL | NESTED, entry.value(ORIGINAL)?);
    for kind in [ID, ZONE] {
        if let Some(value) = entry.value(kind) {
            order = order.attribute(kind, value);
        }
    }
    Some(order)
}

/// Returns an address of a tuple: of IPv4, as only such entries are listed.
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
        order(&message, |entry| is_translated_to(entry, &["10.99.0.126".parse().unwrap()]))
            .is_some()
    }

    #[test]
    fn only_what_was_translated_to_the_old_address_goes() {
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
    fn only_what_leaves_the_cluster_untranslated_goes() {
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
            "by a forwarded port"
        );
    }

    #[test]
    fn the_order_names_the_entry() {
        let bytes = entry(["192.168.50.11", "9.9.9.9"], ["9.9.9.9", "10.99.0.126"]);
        let message = messages(&bytes).next().unwrap();
        let order = order(&message, |_| true).unwrap().bytes(5);
        let order = messages(&order).next().unwrap();
        assert_eq!(order.kind, CTNETLINK << 8 | u16::from(DELETE));
        assert_eq!(order.attributes().value(ORIGINAL), message.attributes().value(ORIGINAL));
        assert_eq!(order.attributes().be32(ID), Some(7));
    }

    proptest! {
        #[test]
        fn any_bytes_make_no_harm(bytes: Vec<u8>) {
            for message in messages(&bytes) {
                let _ = order(&message, |entry| is_translated_to(entry, &[[0; 4].into()]));
                let _ = order(&message, |entry| is_led_by(entry, &[]));
            }
        }
    }
}
