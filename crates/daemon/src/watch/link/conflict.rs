//! Detects other devices that use one of the head's own IPv4 addresses. Sends ARP probes (RFC 5227,
//! 2.1.1) on each interface and captures ARP packets whose sender claims such an address; a socket
//! filter drops all others, so normal traffic wakes no task. The kernel does not detect conflicts.

use std::convert::Infallible;
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use bramblegate_netlink::bpf::{accept, jump_if_equal, load_word, reject};
use futures_util::future::{BoxFuture, FutureExt, select_all};
use socket2::{SockFilter, Socket, Type};
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::debug;

use crate::event::{Conflict, Event, Mac, Vital};
pub use crate::event::{ConflictPlan, ConflictPort};
use crate::packet::{self, ARP_LENGTH, ETHERTYPE_ARP};
use crate::sync::{Closed, next_aligned, reached, readable};
use crate::watch::emit;
use crate::watch::probe::arp_request;

/// Times of the first probes after the carrier comes up: a switch may drop the first ones.
const FIRST_PROBES: [Duration; 3] =
    [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(3)];
/// Interval of the probes after that.
const PROBE_INTERVAL: Duration = Duration::from_secs(60);
/// Interval of the probes during a conflict.
const CONFLICT_PROBE_INTERVAL: Duration = Duration::from_secs(5);
/// A conflict ends when the address was not claimed for this long.
const CONFLICT_TIMEOUT: Duration = Duration::from_secs(12);

/// Reports all conflicts whenever they change.
///
/// # Errors
/// A packet socket cannot be opened (`CAP_NET_RAW`), or a channel is closed (`Closed`).
pub async fn run(
    mut plan: watch::Receiver<ConflictPlan>,
    events: mpsc::Sender<Event>,
) -> io::Result<Infallible> {
    let mut reported = Vec::new();
    let mut ports: Vec<ProbedPort> = Vec::new();
    let mut own = Vec::new();
    let mut planned = true;
    loop {
        if std::mem::take(&mut planned) {
            let wanted = plan.borrow_and_update().clone();
            ports = reopen(ports, &wanted)?;
            own = wanted.own;
        }
        let conflicts: Vec<Conflict> = ports.iter().flat_map(ProbedPort::conflicts).collect();
        if conflicts != reported {
            emit(&events, Event::Vital(Vital::Conflicts(conflicts.clone()))).await?;
            reported = conflicts;
        }
        let due = ports.iter().map(|port| port.due).min();
        tokio::select! {
            changed = plan.changed() => {
                changed.map_err(|_| Closed)?;
                planned = true;
            }
            (position, claim) = next_claim(&ports) => match claim {
                Ok((mac, address)) => if let Some(port) = ports.get_mut(position) {
                    if !own.contains(&mac) {
                        port.take(mac, address);
                    }
                }
                // The interface is gone; the next plan will not contain it.
                Err(error) => {
                    debug!(%error, "a port is not heard any more");
                    ports.remove(position);
                }
            },
            () = reached(due) => ports.iter_mut().for_each(ProbedPort::act),
        }
    }
}

/// Opens the interfaces of the plan, reusing those already open. One that is gone is left out.
fn reopen(mut before: Vec<ProbedPort>, plan: &ConflictPlan) -> io::Result<Vec<ProbedPort>> {
    let mut ports = Vec::new();
    for wanted in &plan.ports {
        if let Some(position) = before.iter().position(|port| port.plan == *wanted) {
            ports.push(before.swap_remove(position));
            continue;
        }
        match ProbedPort::open(wanted) {
            Ok(opened) => ports.push(opened),
            Err(error) if packet::is_port_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(ports)
}

/// Waits for the next claim to one of our addresses. Returns the position of its interface as well.
async fn next_claim(ports: &[ProbedPort]) -> (usize, io::Result<(Mac, Ipv4Addr)>) {
    if ports.is_empty() {
        return std::future::pending().await;
    }
    let each: Vec<BoxFuture<'_, _>> = ports.iter().map(|port| port.next_claim().boxed()).collect();
    let (claim, position, _) = select_all(each).await;
    (position, claim)
}

/// Probes one interface and captures claims there.
struct ProbedPort {
    socket: AsyncFd<Socket>,
    plan: ConflictPort,
    probes_sent: usize,
    due: Instant,
    /// Conflicts: address, its other holder, and when it was last claimed.
    taken: Vec<(Ipv4Addr, Mac, Instant)>,
}

impl ProbedPort {
    fn open(port: &ConflictPort) -> io::Result<Self> {
        let filter = claims(&port.addresses);
        let socket = readable(packet::open(Type::DGRAM, ETHERTYPE_ARP, port.index, &filter)?)?;
        let due = Instant::now();
        Ok(Self { socket, plan: port.clone(), probes_sent: 0, due, taken: Vec::new() })
    }

    fn conflicts(&self) -> impl Iterator<Item = Conflict> {
        let port = self.plan.index;
        self.taken.iter().map(move |(address, by, _)| Conflict { port, address: *address, by: *by })
    }

    fn take(&mut self, by: Mac, address: Ipv4Addr) {
        let now = Instant::now();
        match self.taken.iter_mut().find(|(taken, ..)| *taken == address) {
            // Of two devices with the address the first is reported.
            Some((_, _, claimed)) => *claimed = now,
            None => {
                self.taken.push((address, by, now));
                self.due = self.due.min(next_aligned(CONFLICT_PROBE_INTERVAL));
            }
        }
    }

    /// Sends the probes that are due, and drops conflicts that timed out.
    fn act(&mut self) {
        let now = Instant::now();
        if self.due > now {
            return;
        }
        self.taken
            .retain(|(_, _, claimed)| now.saturating_duration_since(*claimed) < CONFLICT_TIMEOUT);
        let broadcast = packet::address(self.plan.index, ETHERTYPE_ARP, Mac([0xff; 6]));
        for address in &self.plan.addresses {
            let probe = arp_request(self.plan.mac, address.octets());
            if let Err(error) = self.socket.get_ref().send_to(&probe, &broadcast) {
                // For example a full queue; the probe is repeated.
                debug!(%address, %error, "no probe for one of the head's addresses was sent");
            }
        }
        self.probes_sent += 1;
        let first = FIRST_PROBES.get(self.probes_sent).zip(FIRST_PROBES.get(self.probes_sent - 1));
        self.due = match first {
            Some((next, last)) => now + next.saturating_sub(*last),
            None if self.taken.is_empty() => next_aligned(PROBE_INTERVAL),
            None => next_aligned(CONFLICT_PROBE_INTERVAL),
        };
    }

    async fn next_claim(&self) -> io::Result<(Mac, Ipv4Addr)> {
        let mut packet = [0; ARP_LENGTH];
        loop {
            let length = packet::receive(&self.socket, &mut packet).await?;
            let (mac, address) = sender(&packet);
            if length == ARP_LENGTH && self.plan.addresses.contains(&address) {
                return Ok((mac, address));
            }
        }
    }
}

/// Returns the sender's hardware and protocol address of an ARP packet.
fn sender(packet: &[u8; ARP_LENGTH]) -> (Mac, Ipv4Addr) {
    let [_, _, _, _, _, _, _, _, a, b, c, d, e, f, w, x, y, z, ..] = *packet;
    (Mac([a, b, c, d, e, f]), Ipv4Addr::new(w, x, y, z))
}

/// Returns a filter that passes ARP packets whose sender claims one of the addresses.
fn claims(addresses: &[Ipv4Addr]) -> Vec<SockFilter> {
    let mut program = vec![load_word(14)];
    for address in addresses {
        program.push(jump_if_equal(u32::from(*address), 0, 1));
        program.push(accept(ARP_LENGTH as u32));
    }
    program.push(reject());
    program
}
