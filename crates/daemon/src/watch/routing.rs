//! Looks up the routes that packets would take: from the cluster to the internet, and for each
//! flow that the plan requires. Uses `RTM_GETROUTE` only, without a bound socket or a chosen
//! output interface. No packet is sent.
//!
//! The kernel may return an interface without carrier, unless `ignore_routes_with_linkdown` is set
//! there, as on uplinks. Readers of a result check the carrier.

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

/// Answers each plan with [`Vital::Egress`] and, when it has changed, [`Vital::Astray`].
///
/// # Errors
/// The netlink socket cannot be opened, or a channel is closed (`Closed`).
pub async fn run(
    mut plan: watch::Receiver<Option<EgressPlan>>,
    events: mpsc::Sender<Event>,
) -> io::Result<Infallible> {
    let mut requests = Socket::open(Protocol::Route, &[])?;
    let mut reported = Vec::new();
    loop {
        let wanted = plan.borrow_and_update().clone();
        let mut found = Vec::new();
        if let Some(wanted) = wanted {
            let index = egress(&mut requests, wanted.from_port, wanted.source, INTERNET.into());
            emit(&events, Event::Vital(Vital::Egress { index })).await?;
            found = astray(&mut requests, &wanted.ways);
        }
        if found != reported {
            emit(&events, Event::Vital(Vital::Astray(found.clone()))).await?;
            reported = found;
        }
        plan.changed().await.map_err(|_| Closed)?;
    }
}

/// Returns the output interface that the kernel would choose for a packet received on `from_port`,
/// without our own policy rule for nodes ([`MARK_ELSEWHERE`]); `None` if it would not forward it.
pub fn egress(
    requests: &mut Socket,
    from_port: LinkIndex,
    source: IpAddr,
    destination: IpAddr,
) -> Option<LinkIndex> {
    let selectors = [
        RouteAttribute::Source(source.into()),
        RouteAttribute::Iif(from_port),
        RouteAttribute::Mark(MARK_ELSEWHERE),
    ];
    look_up(requests, destination, 0, selectors).map(|(port, _)| port)
}

/// Returns the flows of `ways` that the kernel would route differently from what is planned.
pub fn astray(requests: &mut Socket, ways: &[Way]) -> Vec<Astray> {
    let mut found = Vec::new();
    for way in ways {
        let from = way.from.map(|from| RouteAttribute::Source(from.into()));
        let enters = way.enters.map(RouteAttribute::Iif);
        let protocol = way.ip_protocol.map(RouteAttribute::IpProto);
        // The default would be our own UID; the flow may be another user's (0: forwarded packets).
        let uid = Some(RouteAttribute::Uid(way.uid));
        let [from_port, to_port] = way.ports;
        let ports = [from_port.map(RouteAttribute::Sport), to_port.map(RouteAttribute::Dport)];
        let selectors = [from, enters, uid, protocol].into_iter().chain(ports).flatten();
        let route = look_up(requests, way.to, way.tos, selectors);
        let by = route.map(|(port, _)| port);
        if by != Some(way.leaves) {
            found.push(Astray { way: *way, by, table: route.map(|(_, table)| table) });
        }
    }
    found
}

/// Returns the output interface for a packet to `destination`, and the routing table that decided.
fn look_up(
    requests: &mut Socket,
    destination: IpAddr,
    tos: u8,
    selectors: impl IntoIterator<Item = RouteAttribute>,
) -> Option<(LinkIndex, u32)> {
    let mut message = RouteMessage::default();
    message.attributes.push(RouteAttribute::Destination(destination.into()));
    message.attributes.extend(selectors);
    let has_source =
        message.attributes.iter().any(|attribute| matches!(attribute, RouteAttribute::Source(_)));
    let (family, host_length) = match destination {
        IpAddr::V4(_) => (AddressFamily::Inet, 32),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128),
    };
    message.header.address_family = family;
    message.header.tos = tos;
    message.header.destination_prefix_length = host_length;
    message.header.source_prefix_length = if has_source { host_length } else { 0 };
    // `RTM_F_LOOKUP_TABLE` (kernel ≥ 4.4): the reply names the table.
    message.header.flags = RouteFlags::LookupTable;
    let mut found = None;
    requests
        .request(&Request::new(kind::GET_ROUTE, &message), |reply| found = parse(reply))
        .ok()?;
    found
}

/// Parses a reply into output interface and table; `None` if the route is not unicast.
fn parse(reply: &Message<'_>) -> Option<(LinkIndex, u32)> {
    let route = rtnetlink::route(reply).filter(|route| route.header.kind == RouteType::Unicast)?;
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
