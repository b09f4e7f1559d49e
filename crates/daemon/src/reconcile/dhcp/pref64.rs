//! Advertises the venue's NAT64 prefix to the nodes (PREF64, RFC 8781), which dnsmasq cannot. A
//! router may spread its options over several advertisements (RFC 4861, section 6.2.3): these
//! contain PREF64, and all of dnsmasq's options except the prefixes.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use bramblegate_clat::{Advertisement, NatPrefix};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use socket2::Socket;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::debug;

use super::advertisement::{SPACING, open, resolvers, send_to_all};
use crate::decide::dhcp::{ADVERTISED_EVERY, Pref64Plan, ROUTER_LIFETIME};
use crate::event::{Applied, ApplyError, Mac, Output};
use crate::reconcile::Reconciler;
use crate::supervise::Task;
use crate::sync::{next_aligned, readable};

/// Pause between attempts, and how many of them: a port without a link-local address cannot send
/// yet. After that it is tried at [`INTERVAL`].
const PAUSE: Duration = Duration::from_secs(1);
const ATTEMPTS: u8 = 30;
/// Interval of advertisements.
const INTERVAL: Duration = Duration::from_secs(ADVERTISED_EVERY as u64);
/// The lifetime that withdraws a prefix (RFC 8781, section 4).
const WITHDRAWN: u16 = 0;

/// Advertises the prefix while there is one. Dropping it does not withdraw the prefix, so that a
/// restart does not affect the nodes.
#[derive(Debug, Default)]
pub struct Pref64Reconciler {
    advertised: Option<Pref64Plan>,
    task: Option<Task>,
}

impl Pref64Reconciler {
    /// Withdraws the prefix. A node that misses the message keeps it for its lifetime.
    fn withdraw(&mut self) {
        self.task = None;
        if let Some(plan) = self.advertised.take() {
            let sent = open(&plan.port, plan.index).and_then(|wire| send(&wire, &plan, WITHDRAWN));
            if let Err(error) = sent {
                debug!(port = %plan.port, %error, "the NAT64 prefix of before was not withdrawn");
            }
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
            self.task = desired.clone().map(|plan| Task::spawn(advertise(plan)));
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
