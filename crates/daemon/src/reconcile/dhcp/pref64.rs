//! Advertises the venue's NAT64 prefix to the nodes (PREF64, RFC 8781), which dnsmasq cannot. A
//! router may spread its options over several advertisements (RFC 4861, section 6.2.3): these
//! contain PREF64, and all of dnsmasq's options except the prefixes.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv6Addr, SocketAddrV6};
use std::time::Duration;

use bramblegate_clat::{Advertisement, NatPrefix, Resolvers};
use bramblegate_netlink::bpf::{accept, jump_if_equal, load_byte, reject};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::io::unix::AsyncFd;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::debug;

use crate::decide::dhcp::{ADVERTISED_EVERY, Pref64Plan, ROUTER_LIFETIME};
use crate::event::{Applied, ApplyError, Mac, Output};
use crate::reconcile::Reconciler;
use crate::sync::{next_aligned, readable};

/// Destinations of advertisements and of solicitations (RFC 4291, section 2.7.1).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// The type of a router solicitation (RFC 4861, section 4.1).
const SOLICITATION: u32 = 133;
/// `MIN_DELAY_BETWEEN_RAS` (RFC 4861, section 10).
pub(super) const SPACING: Duration = Duration::from_secs(3);
/// Pause between attempts, and how many of them: a port without a link-local address cannot send
/// yet. After that it is tried at [`INTERVAL`].
const PAUSE: Duration = Duration::from_secs(1);
const ATTEMPTS: u8 = 30;
/// Interval of advertisements.
const INTERVAL: Duration = Duration::from_secs(ADVERTISED_EVERY as u64);
/// The lifetime that withdraws a prefix (RFC 8781, section 4).
const WITHDRAWN: u16 = 0;

/// Advertises the prefix while there is one.
#[derive(Debug, Default)]
pub struct Pref64Reconciler {
    advertised: Option<Pref64Plan>,
    task: Option<JoinHandle<()>>,
}

impl Pref64Reconciler {
    /// Withdraws the prefix. A node that misses the message keeps it for its lifetime.
    fn withdraw(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
        if let Some(plan) = self.advertised.take() {
            let sent = open(&plan.port, plan.index).and_then(|wire| send(&wire, &plan, WITHDRAWN));
            if let Err(error) = sent {
                debug!(port = %plan.port, %error, "the NAT64 prefix of before was not withdrawn");
            }
        }
    }
}

impl Drop for Pref64Reconciler {
    /// Stops without withdrawing the prefix, so that a restart does not affect the nodes.
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

impl Reconciler for Pref64Reconciler {
    type Desired = Option<Pref64Plan>;
    const OUTPUT: Output = Output::Pref64;

    async fn apply(&mut self, desired: &Option<Pref64Plan>) -> Result<Applied, ApplyError> {
        if self.advertised != *desired {
            self.withdraw();
            self.advertised.clone_from(desired);
            self.task = desired.clone().map(|plan| tokio::spawn(advertise(plan)));
        }
        Ok(Applied::Done)
    }
}

/// Advertises until the task is aborted.
async fn advertise(plan: Pref64Plan) {
    let mut failed = 0;
    loop {
        let begun = Instant::now();
        let Err(error) = serve(&plan).await;
        debug!(port = %plan.port, %error, "the NAT64 prefix is not advertised for now");
        failed = failures(failed, begun.elapsed());
        sleep(pause(failed)).await;
    }
}

/// Counts a failure after advertising for `served`; one that lasted begins the count again.
fn failures(before: u8, served: Duration) -> u8 {
    if served >= INTERVAL { 1 } else { before.saturating_add(1) }
}

/// Returns the pause after this many failures in a row.
fn pause(failures: u8) -> Duration {
    if failures < ATTEMPTS { PAUSE } else { INTERVAL }
}

/// Advertises immediately, at intervals, and after solicitations.
async fn serve(plan: &Pref64Plan) -> io::Result<Infallible> {
    let wire = readable(open(&plan.port, plan.index)?)?;
    let (mut failed, mut next) = (0, Instant::now());
    let mut last: Option<Instant> = None;
    loop {
        tokio::select! {
            result = solicited(&wire) => {
                result?;
                let earliest = last.map_or_else(Instant::now, |last| last + SPACING);
                next = next.min(earliest);
            }
            () = sleep_until(next) => {
                match send(wire.get_ref(), plan, ROUTER_LIFETIME) {
                    Ok(()) => {
                        (failed, last) = (0, Some(Instant::now()));
                        next = next_aligned(INTERVAL);
                    }
                    Err(_) if failed < ATTEMPTS => {
                        failed += 1;
                        next = Instant::now() + PAUSE;
                    }
                    // The port is down or was removed; a new plan follows when it returns.
                    Err(_) => next = next_aligned(INTERVAL),
                }
            }
        }
    }
}

/// Opens a socket that receives only router solicitations, only on the port.
pub(super) fn open(port: &str, index: u32) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
    socket.attach_filter(&solicitations())?;
    socket.bind_device(Some(port.as_bytes()))?;
    socket.set_nonblocking(true)?;
    socket.join_multicast_v6(&ALL_ROUTERS, index)?;
    socket.set_multicast_hops_v6(255)?;
    socket.set_multicast_loop_v6(false)?;
    socket.set_multicast_if_v6(index)?;
    Ok(socket)
}

/// Returns a filter that accepts router solicitations.
fn solicitations() -> Vec<SockFilter> {
    vec![load_byte(0), jump_if_equal(SOLICITATION, 0, 1), accept(u32::MAX), reject()]
}

/// Waits for a solicitation; all that are queued count as one.
async fn solicited(wire: &AsyncFd<Socket>) -> io::Result<()> {
    let mut buffer = [0; 64];
    let mut received = false;
    loop {
        let mut guard = wire.readable().await?;
        loop {
            match recv(wire.get_ref(), &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok(_) => received = true,
                Err(Errno::AGAIN) => break,
                Err(error) => return Err(error.into()),
            }
        }
        guard.clear_ready();
        if received {
            return Ok(());
        }
    }
}

/// Sends an advertisement to all nodes. `lifetime` is that of the prefix, in seconds.
fn send(wire: &Socket, plan: &Pref64Plan, lifetime: u16) -> io::Result<()> {
    // The same values as dnsmasq's, since a host uses those of the last message.
    let advertisement = Advertisement {
        hop_limit: 64,
        lifetime: ROUTER_LIFETIME,
        link_layer: plan.mac.map(|Mac(mac)| mac),
        mtu: Some(plan.mtu),
        resolvers: resolvers(plan.resolver, u32::MAX),
        nat_prefixes: vec![NatPrefix { prefix: plan.prefix, lifetime }],
        ..Advertisement::default()
    };
    send_to_all(wire, plan.index, &advertisement)
}

/// Returns the option that names the resolver, if there is one; `lifetime` in seconds.
pub(super) fn resolvers(server: Option<Ipv6Addr>, lifetime: u32) -> Vec<Resolvers> {
    let option = server.map(|server| Resolvers { lifetime, servers: vec![server] });
    option.into_iter().collect()
}

/// Sends an advertisement to all nodes.
pub(super) fn send_to_all(wire: &Socket, index: u32, message: &Advertisement) -> io::Result<()> {
    let to = SocketAddrV6::new(ALL_NODES, 0, 0, index);
    wire.send_to(&message.message(), &to.into()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A port may go and come back more than [`ATTEMPTS`] times in the life of a plan.
    #[test]
    fn failures_are_counted_in_a_row_and_never_end_it() {
        let mut failed = 0;
        for attempt in 1..=250 {
            failed = failures(failed, Duration::ZERO);
            assert_eq!(pause(failed) == PAUSE, attempt < ATTEMPTS, "{attempt}");
        }
        failed = failures(failed, INTERVAL);
        assert_eq!((failed, pause(failed)), (1, PAUSE), "it worked in between");
    }
}
