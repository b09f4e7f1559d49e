//! By which port would the kernel send a packet: of the cluster to the internet, and on every way that has been promised?
//! Only look-ups (`RTM_GETROUTE`), as an ordinary packet is looked up: no socket is bound, no port chosen. Nothing is sent.
//!
//! The answer names a port that has lost its carrier too, unless its `ignore_routes_with_linkdown` is set, as it is on uplinks:
//! whoever reads an answer looks at the carrier.

use std::convert::Infallible;
use std::io;
use std::net::Ipv4Addr;

use tokio::sync::{mpsc, watch};

use crate::event::{Astray, Event, LinkIndex, MARK_ELSEWHERE, Vital, Way};
use crate::source::netlink::{Attributes, Connection, u32_of};

/// a.root-servers.net: an address of the internet that nobody routes specially.
pub const DESTINATION: Ipv4Addr = Ipv4Addr::new(198, 41, 0, 4);

/// `RTM_GETROUTE`; `RTM_F_LOOKUP_TABLE`, kernel ≥ 4.4: say which table decided
const GETROUTE: u16 = 26;
const LOOKUP_TABLE: u32 = 0x1000;
/// `RTN_UNICAST`, `RTA_DST`, `RTA_SRC`, `RTA_IIF`, `RTA_OIF`, `RTA_TABLE`, `RTA_MARK`, `RTA_UID`, `RTA_IP_PROTO`, `RTA_SPORT`,
/// `RTA_DPORT`
const UNICAST: u8 = 1;
const TO: u16 = 1;
const FROM: u16 = 2;
const ENTERS: u16 = 3;
const LEAVES: u16 = 4;
const TABLE: u16 = 15;
const MARK: u16 = 16;
const UID: u16 = 25;
const IP_PROTOCOL: u16 = 27;
const SOURCE_PORT: u16 = 28;
const DESTINATION_PORT: u16 = 29;

/// A question; `generation` makes an equal one be asked again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WayOutPlan {
    /// the cluster port
    pub from_port: LinkIndex,
    /// an address of the cluster that is not the head's own
    pub source: Ipv4Addr,
    /// what has been promised
    pub ways: Vec<Way>,
    pub generation: u64,
}

/// Answers each question with [`Vital::WayOut`] and, whenever that is news, [`Vital::Astray`].
///
/// # Errors
/// No netlink socket, or a channel is closed (`BrokenPipe`).
pub async fn run(mut plan: watch::Receiver<Option<WayOutPlan>>, events: mpsc::Sender<Event>) -> io::Result<Infallible> {
    let mut requests = Connection::open()?;
    let mut known = Vec::new();
    loop {
        let asked = plan.borrow_and_update().clone();
        let mut found = Vec::new();
        if let Some(asked) = asked {
            let index = way_out(&mut requests, asked.from_port, asked.source, DESTINATION);
            tell(&events, Vital::WayOut { index }).await?;
            found = astray(&mut requests, &asked.ways);
        }
        if found != known {
            tell(&events, Vital::Astray(found.clone())).await?;
            known = found;
        }
        plan.changed().await.map_err(|_| io::ErrorKind::BrokenPipe)?;
    }
}

async fn tell(events: &mpsc::Sender<Event>, vital: Vital) -> io::Result<()> {
    events.send(Event::Vital(vital)).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
}

/// Returns the route that the kernel would choose for a packet that comes in by `from_port`, were there no rule of ours for
/// the nodes' way out; `None`: it would not forward it.
pub fn way_out(
    requests: &mut Connection,
    from_port: LinkIndex,
    source: Ipv4Addr,
    destination: Ipv4Addr,
) -> Option<LinkIndex> {
    let question = [(FROM, source.octets()), (ENTERS, from_port.to_ne_bytes()), (MARK, MARK_ELSEWHERE.to_ne_bytes())];
    look_up(requests, destination, &question).map(|(port, _)| port)
}

/// Returns those of `ways` that the kernel would not go.
pub fn astray(requests: &mut Connection, ways: &[Way]) -> Vec<Astray> {
    let mut found = Vec::new();
    for way in ways {
        let from = way.from.map(|from| (FROM, from.octets()));
        let enters = way.enters.map(|port| (ENTERS, port.to_ne_bytes()));
        let protocol = way.ip_protocol.map(|protocol| (IP_PROTOCOL, [protocol, 0, 0, 0]));
        // Without one the kernel would take ours, and our own packets are nobody's.
        let uid = Some((UID, way.uid.to_ne_bytes()));
        let ports = [SOURCE_PORT, DESTINATION_PORT].into_iter().zip(way.ports);
        let ports = ports.filter_map(|(kind, port)| {
            let [high, low] = port?.to_be_bytes();
            Some((kind, [high, low, 0, 0]))
        });
        let question: Vec<(u16, [u8; 4])> = [from, enters, uid, protocol].into_iter().flatten().chain(ports).collect();
        let route = look_up(requests, way.to, &question);
        let by = route.map(|(port, _)| port);
        if by != Some(way.leaves) {
            found.push(Astray { way: *way, by, table: route.map(|(_, table)| table) });
        }
    }
    found
}

/// The port that a packet to `destination` would leave by, and the table that says so.
fn look_up(requests: &mut Connection, destination: Ipv4Addr, question: &[(u16, [u8; 4])]) -> Option<(LinkIndex, u32)> {
    let source_length = if question.iter().any(|(kind, _)| *kind == FROM) { 32 } else { 0 };
    // struct rtmsg: AF_INET, lengths of destination and source, …, flags
    let mut body = vec![2, 32, source_length, 0, 0, 0, 0, 0];
    body.extend(LOOKUP_TABLE.to_ne_bytes());
    for (kind, value) in [(TO, destination.octets())].iter().chain(question) {
        // The length counts what the value means, not its padding.
        let length: u16 = match *kind {
            IP_PROTOCOL => 5,
            SOURCE_PORT | DESTINATION_PORT => 6,
            _ => 8,
        };
        body.extend(length.to_ne_bytes());
        body.extend(kind.to_ne_bytes());
        body.extend(value);
    }
    let mut found = None;
    requests
        .request(GETROUTE, 0, &body, |message| {
            let unicast = message.payload.get(7) == Some(&UNICAST);
            let attributes = || Attributes::after(message.payload, 12);
            let port = attributes().find(LEAVES).and_then(u32_of).filter(|_| unicast);
            found = port.map(|port| (port, attributes().find(TABLE).and_then(u32_of).unwrap_or(0)));
        })
        .ok()?;
    found
}
