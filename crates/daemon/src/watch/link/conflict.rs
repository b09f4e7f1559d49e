//! Finds out whether another board has one of the head's own addresses. Each port is asked by ARP
//! probes (RFC 5227, 2.1.1), and what others send there with such an address as their own is picked
//! out by a filter in the kernel, so that a port in order wakes no task. The kernel itself neither
//! notices nor reports this.

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

/// Asked so often when a port has got its cable: switches may keep the first ones.
const FIRST: [Duration; 3] = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(3)];
/// Asked again this often; …
const AGAIN: Duration = Duration::from_secs(60);
/// … and this often while a device has the address, which is gone when not heard for so long.
const WHILE_TAKEN: Duration = Duration::from_secs(5);
const GONE: Duration = Duration::from_secs(12);

/// Reports all conflicts whenever they change.
///
/// # Errors
/// No packet socket is to be had (`CAP_NET_RAW`), or a channel is closed (`Closed`).
pub async fn run(
    mut plan: watch::Receiver<ConflictPlan>,
    events: mpsc::Sender<Event>,
) -> io::Result<Infallible> {
    let mut reported = Vec::new();
    let mut ports: Vec<AskedPort> = Vec::new();
    let mut own = Vec::new();
    let mut planned = true;
    loop {
        if std::mem::take(&mut planned) {
            let wanted = plan.borrow_and_update().clone();
            ports = reopen(ports, &wanted)?;
            own = wanted.own;
        }
        let conflicts: Vec<Conflict> = ports.iter().flat_map(AskedPort::conflicts).collect();
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
            (place, heard) = heard(&ports) => match heard {
                Ok((mac, address)) => if let Some(port) = ports.get_mut(place) {
                    if !own.contains(&mac) {
                        port.take(mac, address);
                    }
                }
                // The port went away; the next plan says so.
                Err(error) => {
                    debug!(%error, "a port is not heard any more");
                    ports.remove(place);
                }
            },
            () = reached(due) => ports.iter_mut().for_each(AskedPort::act),
        }
    }
}

/// Keeps what continues. A port that has just gone is left out.
fn reopen(mut before: Vec<AskedPort>, plan: &ConflictPlan) -> io::Result<Vec<AskedPort>> {
    let mut ports = Vec::new();
    for wanted in &plan.ports {
        if let Some(place) = before.iter().position(|port| port.plan == *wanted) {
            ports.push(before.swap_remove(place));
            continue;
        }
        match AskedPort::open(wanted) {
            Ok(opened) => ports.push(opened),
            Err(error) if packet::is_port_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(ports)
}

/// Waits for the next claim to an address of ours. Returns at which of the ports it was heard.
async fn heard(ports: &[AskedPort]) -> (usize, io::Result<(Mac, Ipv4Addr)>) {
    if ports.is_empty() {
        return std::future::pending().await;
    }
    let each: Vec<BoxFuture<'_, _>> = ports.iter().map(|port| port.heard().boxed()).collect();
    let (heard, place, _) = select_all(each).await;
    (place, heard)
}

/// Asks and listens at one port.
struct AskedPort {
    socket: AsyncFd<Socket>,
    plan: ConflictPort,
    asked: usize,
    due: Instant,
    /// who has which address, and when it was heard last
    taken: Vec<(Ipv4Addr, Mac, Instant)>,
}

impl AskedPort {
    fn open(port: &ConflictPort) -> io::Result<Self> {
        let socket = readable(packet::open(
            Type::DGRAM,
            ETHERTYPE_ARP,
            port.index,
            &claims(&port.addresses),
        )?)?;
        Ok(Self { socket, plan: port.clone(), asked: 0, due: Instant::now(), taken: Vec::new() })
    }

    fn conflicts(&self) -> impl Iterator<Item = Conflict> {
        let port = self.plan.index;
        self.taken.iter().map(move |(address, by, _)| Conflict { port, address: *address, by: *by })
    }

    fn take(&mut self, by: Mac, address: Ipv4Addr) {
        let now = Instant::now();
        match self.taken.iter_mut().find(|(taken, ..)| *taken == address) {
            // Of two the first is named.
            Some((_, _, heard)) => *heard = now,
            None => {
                self.taken.push((address, by, now));
                self.due = self.due.min(next_aligned(WHILE_TAKEN));
            }
        }
    }

    /// Asks what is due, and forgets who is not heard any more.
    fn act(&mut self) {
        let now = Instant::now();
        if self.due > now {
            return;
        }
        self.taken.retain(|(_, _, heard)| now.saturating_duration_since(*heard) < GONE);
        let everybody = packet::address(self.plan.index, ETHERTYPE_ARP, Mac([0xff; 6]));
        for address in &self.plan.addresses {
            let question = arp_request(self.plan.mac, address.octets());
            if let Err(error) = self.socket.get_ref().send_to(&question, &everybody) {
                // The port's queue may be full; it is asked again.
                debug!(%address, %error, "no probe for one of the head's addresses was sent");
            }
        }
        self.asked += 1;
        let first = FIRST.get(self.asked).zip(FIRST.get(self.asked - 1));
        self.due = match first {
            Some((next, last)) => now + next.saturating_sub(*last),
            None if self.taken.is_empty() => next_aligned(AGAIN),
            None => next_aligned(WHILE_TAKEN),
        };
    }

    async fn heard(&self) -> io::Result<(Mac, Ipv4Addr)> {
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

/// Returns who sent an ARP packet.
fn sender(packet: &[u8; ARP_LENGTH]) -> (Mac, Ipv4Addr) {
    let [_, _, _, _, _, _, _, _, a, b, c, d, e, f, w, x, y, z, ..] = *packet;
    (Mac([a, b, c, d, e, f]), Ipv4Addr::new(w, x, y, z))
}

/// Lets ARP packets through whose sender has one of the addresses.
fn claims(addresses: &[Ipv4Addr]) -> Vec<SockFilter> {
    let mut program = vec![load_word(14)];
    for address in addresses {
        program.push(jump_if_equal(u32::from(*address), 0, 1));
        program.push(accept(ARP_LENGTH as u32));
    }
    program.push(reject());
    program
}
