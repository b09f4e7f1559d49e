//! Detects other DHCP servers on the cluster port: sends DHCPDISCOVER messages like a client before
//! our own server starts, and listens while it runs.
//!
//! A DISCOVER needs no address on the interface, and nothing else is ever sent. A socket filter
//! passes messages of servers only, so other traffic wakes no task. Behind a switch the replies to
//! other clients are not visible, but a client broadcasts which server's offer it accepts. Only a
//! reply to our own DISCOVER counts as proof. All else can be forged by any host on the link, and
//! only causes a new DISCOVER.
//!
//! With spanning tree a switch does not forward on a new port for half a minute. Its BPDUs show
//! this, and missing replies count only afterwards.
//!
//! Client messages also contain the client's own host name, which our server does not reveal if it
//! assigns another one. They are read from a separate socket at a limited rate, so that a flood
//! neither hides a server nor costs much.

pub mod ask;
pub mod boot_files;
pub(crate) mod filter;
pub mod leases;
mod memory;
pub(crate) mod message;
pub mod name_server;
mod names;
mod questions;
mod schedule;
mod stp;

use std::convert::Infallible;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use socket2::{Socket, Type};
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::emit;
use super::probe::unguessable;
pub use crate::event::DhcpWatchPlan;
use crate::event::{Dhcp, Event, Mac};
use crate::packet::{self, ETHERTYPE_IPV4, Port};
use crate::sync::{Closed, readable};
use memory::Memory;
use names::Names;
pub use questions::{Questions, Unheard};
use schedule::{Schedule, Step};
use stp::Bpdu;

/// UDP ports of BOOTP and DHCP (RFC 2131, 4.1).
const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;
/// Maximum size of a DHCP frame, in bytes.
pub(crate) const FRAME: usize = 2048;
/// Maximum delay of a reply to our DISCOVER. Servers may check for three seconds whether an address
/// is free (dnsmasq takes 3.1 s).
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause before a vanished interface is tried again; netlink reports its end as well.
const REOPEN_PAUSE: Duration = Duration::from_millis(500);

/// Watches the planned interface. Reports [`Dhcp::NoOtherServer`], [`Dhcp::OtherServer`],
/// [`Dhcp::CheckFailed`] and [`Dhcp::CallsItself`].
///
/// # Errors
/// A packet socket cannot be opened (`CAP_NET_RAW`), or a channel is closed (`Closed`).
pub async fn run(
    mut plan: watch::Receiver<Option<DhcpWatchPlan>>,
    events: mpsc::Sender<Event>,
    run_directory: impl AsRef<Path>,
    questions: Questions,
) -> io::Result<Infallible> {
    let memory = Memory::new(run_directory.as_ref());
    loop {
        let Some(port) = plan.borrow_and_update().clone() else {
            changed(&mut plan).await?;
            continue;
        };
        match watch(&port, &mut plan, &events, &memory, &questions).await {
            Ok(()) => {}
            Err(error) if packet::is_port_gone(&error) => tokio::select! {
                changed = changed(&mut plan) => changed?,
                () = sleep(REOPEN_PAUSE) => {}
            },
            Err(error) if Closed::is_cause_of(&error) => return Err(error),
            Err(error) => {
                report(&events, Dhcp::CheckFailed { index: port.index, why: error.to_string() })
                    .await?;
                return Err(error);
            }
        }
    }
}

async fn changed(plan: &mut watch::Receiver<Option<DhcpWatchPlan>>) -> io::Result<()> {
    plan.changed().await.map_err(|_| Closed.into())
}

async fn report(events: &mpsc::Sender<Event>, dhcp: Dhcp) -> io::Result<()> {
    Ok(emit(events, Event::Dhcp(dhcp)).await?)
}

/// Watches one interface until the plan changes.
async fn watch(
    port: &DhcpWatchPlan,
    plan: &mut watch::Receiver<Option<DhcpWatchPlan>>,
    events: &mpsc::Sender<Event>,
    memory: &Memory,
    questions: &Questions,
) -> io::Result<()> {
    let mut watch = Watch::open(port)?;
    let mut names = Names::open(port.index, questions.clone())?;
    if memory.holds(&watch.plugging) {
        // After a restart our server starts at once; the check runs all the same.
        report(events, watch.no_other_server()).await?;
    }
    loop {
        let due = watch.schedule.next();
        let news = tokio::select! {
            changed = changed(plan) => {
                changed?;
                if !plan.borrow().as_ref().is_some_and(|now| now.continues(port)) {
                    return Ok(());
                }
                watch.schedule.doubt(Instant::now());
                None
            }
            heard = watch.heard() => match heard? {
                Heard::Answer(server, mac) => watch.foreign((server, mac)),
                Heard::Hint => {
                    watch.schedule.hint(Instant::now());
                    None
                }
            },
            clients = names.heard(&watch.ours) => match clients? {
                // May be forged, so it only causes a new DISCOVER.
                names::Heard::Server => {
                    watch.schedule.hint(Instant::now());
                    None
                }
                names::Heard::Names(names) => {
                    for (mac, name) in names {
                        report(events, Dhcp::CallsItself { mac, name }).await?;
                    }
                    None
                }
            },
            bpdu = next_bpdu(watch.switch.as_ref()) => watch.bpdu(bpdu?),
            () = sleep_until(due) => watch.act()?,
        };
        let Some(news) = news else { continue };
        match news {
            // If the file cannot be written, the next start merely waits for the check.
            Dhcp::NoOtherServer { .. } => drop(memory.keep(&watch.plugging)),
            Dhcp::Held { .. } => {}
            _ => memory.forget(),
        }
        report(events, news).await?;
    }
}

/// Classifies a server's frame.
enum Heard {
    /// Another server's reply to our DISCOVER: its identifier and hardware address.
    Answer(Ipv4Addr, Mac),
    /// A sign of another server that may be forged.
    Hint,
}

/// Holds the state of the check while the carrier stays up.
struct Watch {
    wire: AsyncFd<Socket>,
    name: String,
    /// The interface with its count of carrier changes.
    plugging: Port,
    ours: Vec<Ipv4Addr>,
    /// Transaction IDs of the last requests, newest first.
    transactions: [u32; MAX_PENDING],
    /// When the last request was sent.
    asked: Option<Instant>,
    schedule: Schedule,
    reported: Option<Dhcp>,
    /// The newest request when the reported server last replied.
    replied: u32,
    /// Receives BPDUs.
    switch: Option<AsyncFd<Socket>>,
    /// Bridge ID of the last BPDU.
    bridge: Option<[u8; 8]>,
    /// The filter drops BPDUs that repeat the known state.
    only_changes: bool,
}

/// Number of requests whose replies still count.
const MAX_PENDING: usize = 3;

impl Watch {
    fn open(plan: &DhcpWatchPlan) -> io::Result<Self> {
        let wire = packet::open(Type::RAW, ETHERTYPE_IPV4, plan.index, &filter::servers())?;
        let plugging = packet::find(&plan.name)?;
        if (plugging.index, plugging.mac) != (plan.index, plan.mac) {
            // The interface was replaced since the plan was made.
            return Err(io::ErrorKind::NotFound.into());
        }
        // Optional: it only matters for a switch with spanning tree.
        let switch = stp::open(plan.index).and_then(readable).ok();
        Ok(Self {
            wire: readable(wire)?,
            name: plan.name.clone(),
            plugging,
            ours: plan.ours.clone(),
            transactions: [unguessable() as u32; MAX_PENDING],
            asked: None,
            schedule: Schedule::new(Instant::now()),
            reported: None,
            replied: 0,
            switch,
            bridge: None,
            only_changes: false,
        })
    }

    /// Performs the due step: sends a DISCOVER, or concludes from missing replies.
    fn act(&mut self) -> io::Result<Option<Dhcp>> {
        let now = Instant::now();
        match self.schedule.due(now) {
            Some(Step::Ask) => self.ask(now).map(|()| None),
            Some(Step::Silence) if packet::find(&self.name)? != self.plugging => {
                // The carrier changed during the check, and netlink has not reported that yet.
                Err(io::ErrorKind::NotFound.into())
            }
            Some(Step::Silence) if !matches!(self.reported, Some(Dhcp::NoOtherServer { .. })) => {
                Ok(Some(self.no_other_server()))
            }
            Some(Step::Silence) | None => Ok(None),
        }
    }

    fn no_other_server(&mut self) -> Dhcp {
        let result = Dhcp::NoOtherServer { index: self.plugging.index };
        self.reported = Some(result.clone());
        result
    }

    fn ask(&mut self, now: Instant) -> io::Result<()> {
        let asking_for = u16::try_from(self.schedule.asking_for(now).as_secs()).unwrap_or(u16::MAX);
        self.transactions.rotate_right(1);
        let [transaction, ..] = &mut self.transactions;
        *transaction = unguessable() as u32;
        let frame = message::discover(self.plugging.mac, *transaction, asking_for);
        self.asked = Some(now);
        let broadcast = packet::address(self.plugging.index, ETHERTYPE_IPV4, Mac([0xff; 6]));
        match self.wire.get_ref().send_to(&frame, &broadcast) {
            // The queue is full; the request will be repeated.
            Err(error)
                if error.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error()) =>
            {
                Ok(())
            }
            sent => sent.map(drop),
        }
    }

    /// Waits for a frame of another server.
    async fn heard(&self) -> io::Result<Heard> {
        let mut frame = [0; FRAME];
        loop {
            let length = packet::receive(&self.wire, &mut frame).await?;
            if let Some(heard) = frame.get(..length).and_then(|frame| self.read(frame)) {
                return Ok(heard);
            }
        }
    }

    /// Classifies a server's frame; `None` for our own, and for other messages.
    fn read(&self, frame: &[u8]) -> Option<Heard> {
        let reply = message::reply(frame).filter(|reply| reply.mac != self.plugging.mac)?;
        let in_time = self.asked.is_some_and(|at| at.elapsed() < REPLY_TIMEOUT);
        let to_us =
            reply.asked_by == self.plugging.mac && self.transactions.contains(&reply.transaction);
        Some(if to_us && in_time { Heard::Answer(reply.server, reply.mac) } else { Heard::Hint })
    }

    /// Processes a BPDU: the switch does not forward yet, or its topology has changed.
    fn bpdu(&mut self, bpdu: Bpdu) -> Option<Dhcp> {
        let now = Instant::now();
        let known = self.bridge.replace(bpdu.bridge) == Some(bpdu.bridge);
        if self.reported.is_some() {
            if let Some(switch) = self.switch.as_ref().filter(|_| !known || !self.only_changes) {
                // The same BPDU repeats every two seconds.
                self.only_changes = stp::drop_repetitions(switch.get_ref(), bpdu.bridge).is_ok();
            }
            if !known || bpdu.changes {
                self.schedule.hint(now);
            }
            return None;
        }
        if bpdu.forwards {
            self.schedule.release(now);
            return None;
        }
        let held = self.schedule.hold(bpdu.delay * 2, now)?;
        Some(Dhcp::Held { index: self.plugging.index, seconds: held.as_secs() })
    }

    /// Records that another server answered. Returns the event, unless that one or another that
    /// still answers was already reported.
    fn foreign(&mut self, (server, mac): (Ipv4Addr, Mac)) -> Option<Dhcp> {
        self.schedule.refused(Instant::now());
        let foreign = Dhcp::OtherServer { index: self.plugging.index, server, mac: Some(mac) };
        let [newest, ..] = self.transactions;
        let still_replies = self.transactions.contains(&self.replied);
        let is_news = replaces(self.reported.as_ref(), &foreign, still_replies);
        if is_news || self.reported.as_ref() == Some(&foreign) {
            self.replied = newest;
        }
        is_news.then(|| {
            self.reported = Some(foreign.clone());
            foreign
        })
    }
}

/// Returns whether a server that answers is to be reported: of several the first one, and another
/// once that has left the last requests unanswered.
fn replaces(reported: Option<&Dhcp>, answered: &Dhcp, still_replies: bool) -> bool {
    match reported {
        Some(known @ Dhcp::OtherServer { .. }) => known != answered && !still_replies,
        _ => true,
    }
}

/// Waits for the next BPDU.
async fn next_bpdu(switch: Option<&AsyncFd<Socket>>) -> io::Result<Bpdu> {
    let Some(switch) = switch else { return std::future::pending().await };
    let mut frame = [0; stp::FRAME];
    loop {
        let length = packet::receive(switch, &mut frame).await?;
        if let Some(bpdu) = frame.get(..length).and_then(stp::read) {
            return Ok(bpdu);
        }
    }
}

/// Parses arbitrary bytes as a frame from the cluster port, for fuzzing. Returns a server's
/// hardware address and a client's host name, the only parts that are passed on unchanged.
#[doc(hidden)]
pub fn read_any(frame: &[u8]) -> (Option<Mac>, Option<String>) {
    let _ = (message::question(frame), message::answer(frame, Mac([2, 0, 0, 0, 0, 1])));
    (
        message::reply(frame).map(|reply| reply.mac),
        message::calls_itself(frame).map(|(_, name)| name),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_takes_the_place_of_another_is_reported_and_one_beside_it_is_not() {
        let server = |last| Dhcp::OtherServer {
            index: 2,
            server: Ipv4Addr::new(192, 168, 50, last),
            mac: Some(Mac([2, 0, 0, 0, 0, last])),
        };
        let (first, other) = (server(1), server(2));
        assert!(replaces(None, &first, false));
        assert!(replaces(Some(&Dhcp::NoOtherServer { index: 2 }), &first, true));
        assert!(!replaces(Some(&first), &first, false), "it is known");
        assert!(!replaces(Some(&first), &other, true), "the first one is reported");
        assert!(replaces(Some(&first), &other, false), "the first one is gone");
    }
}
