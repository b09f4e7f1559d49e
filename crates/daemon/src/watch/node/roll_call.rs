//! Discovers IPv6 nodes that the kernel does not know: sends an echo request (RFC 4443, 4.1) to all
//! nodes on the link (ff02::1), from each of the head's addresses in their networks, so that nodes
//! reply from their own addresses there. An address missing in the neighbour table then gets a unicast
//! request, for which the kernel resolves it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::time::Duration;

use bramblegate_netlink::bpf::{accept, jump_if_equal, load_byte, reject};
use ipnet::Ipv6Net;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::time::Instant;
use tracing::debug;

use crate::event::{LinkIndex, NeighbourPlan};
use crate::sync::{next_aligned, reached};

/// All nodes on the link (RFC 4291, 2.7.1).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const INTERVAL: Duration = Duration::from_secs(60);
/// Interval of the first rounds after a start or a newcomer. A new node spends a second or two on
/// duplicate address detection (RFC 4862, 5.4), and our first router advertisement waits until no
/// other DHCP server has answered.
const FAST_INTERVAL: Duration = Duration::from_secs(1);
/// Number of such rounds.
const FAST_ROUNDS: u8 = 20;

/// An echo request with identifier and sequence number 0 and no data; the kernel fills in the
/// checksum (RFC 3542, 3.1).
const REQUEST: [u8; 8] = [128, 0, 0, 0, 0, 0, 0, 0];
const REPLY: u32 = 129;
/// Limit on replies read, and thus on addresses queried, per round: a host that replies from a
/// whole network must not fill the neighbour table.
const MAX_REPLIES: usize = 512;

/// Holds the schedule and the sockets of the discovery.
#[derive(Debug, Default)]
pub struct RollCall {
    plan: Option<NeighbourPlan>,
    /// One for each of the head's addresses, to which it is bound.
    sockets: BTreeMap<Ipv6Addr, UdpSocket>,
    at: Option<Instant>,
    /// Remaining rounds at [`FAST_INTERVAL`].
    fast_rounds: u8,
}

impl RollCall {
    /// Starts on an interface; does nothing if the nodes get no IPv6.
    pub fn begin(&mut self, plan: Option<NeighbourPlan>) {
        self.plan = plan.filter(|plan| plan.ipv6.is_some());
        self.at = None;
        self.sockets.clear();
        self.soon();
    }

    /// Schedules a round soon, because a new neighbour has appeared.
    pub fn soon(&mut self) {
        if self.plan.is_some() {
            let soon = Instant::now() + FAST_INTERVAL;
            self.at = Some(self.at.map_or(soon, |at| at.min(soon)));
            self.fast_rounds = FAST_ROUNDS;
        }
    }

    /// Waits until the next round is due; forever without a plan.
    pub async fn due(&self) {
        reached(self.at).await;
    }

    /// Processes the replies to the last round and starts the next. A missing address of the head
    /// or a missing carrier is treated like missing replies. `is_known` returns whether the kernel
    /// has a neighbour entry for an address.
    pub fn call(&mut self, is_known: impl Fn(IpAddr) -> bool) {
        self.fast_rounds = self.fast_rounds.saturating_sub(1);
        let is_fast = self.fast_rounds > 0;
        self.at = self
            .plan
            .map(|_| if is_fast { Instant::now() + FAST_INTERVAL } else { next_aligned(INTERVAL) });
        let Some(plan) = self.plan else { return };
        for head in plan.ipv6_addresses() {
            let socket = self.sockets.remove(&head.addr()).map_or_else(|| open(head.addr()), Ok);
            let sent = socket.and_then(|socket| send_requests(socket, head, plan.index, &is_known));
            match sent {
                Ok(socket) => drop(self.sockets.insert(head.addr(), socket)),
                Err(error) => debug!(%error, %head, "the nodes were not asked for IPv6 addresses"),
            }
        }
    }
}

/// Reads the replies to one of the head's addresses, and asks from it again. Returns the socket.
fn send_requests(
    socket: UdpSocket,
    head: Ipv6Net,
    index: LinkIndex,
    is_known: impl Fn(IpAddr) -> bool,
) -> io::Result<UdpSocket> {
    let mut unknown = BTreeSet::new();
    for _ in 0..MAX_REPLIES {
        // An error means an empty queue, or reports an earlier request.
        let Ok((_, SocketAddr::V6(from))) = socket.recv_from(&mut [0; 8]) else { break };
        if head.contains(from.ip()) && !is_known(IpAddr::V6(*from.ip())) {
            unknown.insert(*from.ip());
        }
    }
    for to in unknown.into_iter().chain([ALL_NODES]) {
        socket.send_to(&REQUEST, SocketAddrV6::new(to, 0, 0, index))?;
    }
    Ok(socket)
}

/// Opens a raw socket for echo replies to this address.
fn open(head: Ipv6Addr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
    socket.attach_filter(&[
        load_byte(0),
        jump_if_equal(REPLY, 0, 1),
        accept(u32::MAX),
        reject(),
    ])?;
    socket.set_nonblocking(true)?;
    socket.set_multicast_loop_v6(false)?;
    socket.bind(&SocketAddrV6::new(head, 0, 0, 0).into())?;
    Ok(socket.into())
}
