//! Nodes that the kernel has not heard by IPv6: all are asked at once, by an echo request to
//! all on the wire (ff02::1, RFC 4443 4.1) from the head's address in their network. They answer
//! from their own addresses there. Of one that the kernel does not know as a neighbour it is asked
//! for: the next request goes to that address alone.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::time::Duration;

use bramblegate_netlink::bpf::{accept, jump_if_equal, load_byte, reject};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use crate::event::NeighbourPlan;
use crate::sync::next_aligned;

/// All nodes of the link (RFC 4291 2.7.1).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const EVERY: Duration = Duration::from_secs(60);
/// One that has just come makes its address and looks for its double for a second or two (RFC 4862
/// 5.4); at the start the first advertisement goes out when it is sure that no other server is
/// there.
const SOON: Duration = Duration::from_secs(1);
const TIMES: u8 = 20;

/// An echo request without identifier, sequence and data; the kernel fills the checksum in
/// (RFC 3542 3.1).
const REQUEST: [u8; 8] = [128, 0, 0, 0, 0, 0, 0, 0];
const REPLY: u32 = 129;
/// Bounds the answers that are looked at, and the addresses asked for, at a time: a computer that
/// answers in the name of a whole network fills no table.
const MOST: usize = 512;

/// When the nodes are asked.
#[derive(Debug, Default)]
pub struct RollCall {
    plan: Option<NeighbourPlan>,
    socket: Option<UdpSocket>,
    at: Option<Instant>,
    /// so many times more at short intervals
    left: u8,
}

impl RollCall {
    /// Begins at a port; where the nodes get no IPv6 there is nothing to ask.
    pub fn begin(&mut self, plan: Option<NeighbourPlan>) {
        self.plan = plan.filter(|plan| plan.ipv6.is_some());
        (self.at, self.socket) = (None, None);
        self.soon();
    }

    /// Has a round begin soon, since a neighbour has come.
    pub fn soon(&mut self) {
        if self.plan.is_some() {
            let soon = Instant::now() + SOON;
            self.at = Some(self.at.map_or(soon, |at| at.min(soon)));
            self.left = TIMES;
        }
    }

    /// Waits until it is time to ask; for ever where no node is to be asked.
    pub async fn due(&self) {
        match self.at {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    /// Takes the answers to the last call in, and asks again. That the head has no address yet, or
    /// the port no cable, is as if no node answered. `is_known`: the kernel has it as a neighbour.
    pub fn call(&mut self, is_known: impl Fn(IpAddr) -> bool) {
        self.left = self.left.saturating_sub(1);
        self.at = self
            .plan
            .map(|_| if self.left > 0 { Instant::now() + SOON } else { next_aligned(EVERY) });
        if let Err(error) = self.ask(is_known) {
            debug!(%error, "the nodes were not asked for their IPv6 addresses");
            self.socket = None;
        }
    }

    fn ask(&mut self, is_known: impl Fn(IpAddr) -> bool) -> io::Result<()> {
        let Some((plan, head)) = self.plan.and_then(|plan| Some((plan, plan.ipv6?))) else {
            return Ok(());
        };
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => open(head.addr())?,
        };
        let mut unknown = BTreeSet::new();
        for _ in 0..MOST {
            // Nothing waits any more, or an error of an earlier request does.
            let Ok((_, SocketAddr::V6(from))) = socket.recv_from(&mut [0; 8]) else { break };
            if head.contains(from.ip()) && !is_known(IpAddr::V6(*from.ip())) {
                unknown.insert(*from.ip());
            }
        }
        let everywhere = std::iter::once(ALL_NODES);
        for to in unknown.into_iter().chain(everywhere) {
            socket.send_to(&REQUEST, SocketAddrV6::new(to, 0, 0, plan.index))?;
        }
        self.socket = Some(socket);
        Ok(())
    }
}

/// Returns a socket that hears echo replies to this address.
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
