//! Asks by which port the kernel would send a packet: of the cluster to the internet, and on every
//! way that has been promised. Only look-ups (`RTM_GETROUTE`), as an ordinary packet is looked up:
//! no socket is bound, no port chosen. Nothing is sent.
//!
//! The answer names a port that has lost its carrier too, unless its `ignore_routes_with_linkdown`
//! is set, as it is on uplinks: a reader of an answer checks the carrier.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;

use bramblegate_netlink::packet::AddressFamily;
use bramblegate_netlink::packet::route::{RouteAttribute, RouteFlags, RouteMessage, RouteType};
use bramblegate_netlink::rtnetlink::{self, kind};
use bramblegate_netlink::{Message, Protocol, Request, Socket};
use tokio::sync::{mpsc, watch};

use crate::event::{Astray, EgressPlan, Event, INTERNET, LinkIndex, MARK_ELSEWHERE, Vital, Way};
use crate::sync::Closed;
use crate::watch::emit;

/// Answers each question with [`Vital::Egress`] and, whenever that is news, [`Vital::Astray`].
///
/// # Errors
/// No netlink socket, or a channel is closed (`Closed`).
pub async fn run(
    mut plan: watch::Receiver<Option<EgressPlan>>,
    events: mpsc::Sender<Event>,
) -> io::Result<Infallible> {
    let mut requests = Socket::open(Protocol::Route, &[])?;
    let mut known = Vec::new();
    loop {
        let asked = plan.borrow_and_update().clone();
        let mut found = Vec::new();
        if let Some(asked) = asked {
            let index = egress(&mut requests, asked.from_port, asked.source, INTERNET.into());
            emit(&events, Event::Vital(Vital::Egress { index })).await?;
            found = astray(&mut requests, &asked.ways);
        }
        if found != known {
            emit(&events, Event::Vital(Vital::Astray(found.clone()))).await?;
            known = found;
        }
        plan.changed().await.map_err(|_| Closed)?;
    }
}

/// Returns the route that the kernel would choose for a packet that comes in by `from_port`, were
/// there no rule of ours for the nodes' way out; `None`: it would not forward it.
pub fn egress(
    requests: &mut Socket,
    from_port: LinkIndex,
    source: IpAddr,
    destination: IpAddr,
) -> Option<LinkIndex> {
    let question = [
        RouteAttribute::Source(source.into()),
        RouteAttribute::Iif(from_port),
        RouteAttribute::Mark(MARK_ELSEWHERE),
    ];
    look_up(requests, destination, 0, question).map(|(port, _)| port)
}

/// Returns those of `ways` that the kernel would not go.
pub fn astray(requests: &mut Socket, ways: &[Way]) -> Vec<Astray> {
    let mut found = Vec::new();
    for way in ways {
        let from = way.from.map(|from| RouteAttribute::Source(from.into()));
        let enters = way.enters.map(RouteAttribute::Iif);
        let protocol = way.ip_protocol.map(RouteAttribute::IpProto);
        // Without one the kernel would take ours, and our own packets are of no other user.
        let uid = Some(RouteAttribute::Uid(way.uid));
        let [from_port, to_port] = way.ports;
        let ports = [from_port.map(RouteAttribute::Sport), to_port.map(RouteAttribute::Dport)];
        let question = [from, enters, uid, protocol].into_iter().chain(ports).flatten();
        let route = look_up(requests, way.to, way.tos, question);
        let by = route.map(|(port, _)| port);
        if by != Some(way.leaves) {
            found.push(Astray { way: *way, by, table: route.map(|(_, table)| table) });
        }
    }
    found
}

/// Returns the port that a packet to `destination` of this type of service would leave by, and the
/// table that says so.
fn look_up(
    requests: &mut Socket,
    destination: IpAddr,
    tos: u8,
    question: impl IntoIterator<Item = RouteAttribute>,
) -> Option<(LinkIndex, u32)> {
    let mut message = RouteMessage::default();
    message.attributes.push(RouteAttribute::Destination(destination.into()));
    message.attributes.extend(question);
    let names_source =
        message.attributes.iter().any(|attribute| matches!(attribute, RouteAttribute::Source(_)));
    let (family, whole) = match destination {
        IpAddr::V4(_) => (AddressFamily::Inet, 32),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128),
    };
    message.header.address_family = family;
    message.header.tos = tos;
    message.header.destination_prefix_length = whole;
    message.header.source_prefix_length = if names_source { whole } else { 0 };
    // Say which table decided; kernel ≥ 4.4.
    message.header.flags = RouteFlags::LookupTable;
    let mut found = None;
    requests
        .request(&Request::new(kind::GET_ROUTE, &message), |answer| found = chosen(answer))
        .ok()?;
    found
}

/// Returns the port and the table that an answer names; `None` where the packet is not to be
/// forwarded.
fn chosen(answer: &Message<'_>) -> Option<(LinkIndex, u32)> {
    let route = rtnetlink::route(answer).filter(|route| route.header.kind == RouteType::Unicast)?;
    let (mut port, mut table) = (None, 0);
    for attribute in route.attributes() {
        match attribute {
            RouteAttribute::Oif(index) => port = Some(index),
            RouteAttribute::Table(number) => table = number,
            _ => {}
        }
    }
    port.map(|port| (port, table))
}
