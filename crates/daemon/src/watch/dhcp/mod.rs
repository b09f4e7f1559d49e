//! Finds out whether anybody else serves addresses on the cluster port. Before we do we ask, as a
//! client would; while we do we listen.
//!
//! The question works without an address on the port, and nothing but it is ever sent. What others'
//! servers say is picked out by a filter in the kernel, so that a quiet port wakes no task. Behind
//! a switch a server's answers go past us; but which server's offer it takes a client announces to
//! all. Only an answer to our own question counts: all else can be forged by anybody at the port,
//! and is a reason to ask.
//!
//! A switch with a spanning tree keeps a port from forwarding for half a minute: it says so, and
//! silence counts only after that.
//!
//! What clients send also holds what they call themselves: our own server keeps that to itself
//! where it gives another name. They are heard by a socket of their own, which is read now and then
//! only: a flood covers up no server, and costs little.

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

/// Of BOOTP and DHCP (RFC 2131, 4.1).
const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;
/// Larger frames are no DHCP.
pub(crate) const FRAME: usize = 2048;
/// Servers may look for three seconds whether an address is free (dnsmasq takes 3.1 s); later
/// answers are to no question of ours.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);
/// A port that went away is reported by netlink too; until then.
const PAUSE: Duration = Duration::from_millis(500);

/// Asks and listens for as long as there is a port; reports [`Dhcp::NoOtherServer`],
/// [`Dhcp::OtherServer`], [`Dhcp::CheckFailed`] and [`Dhcp::CallsItself`].
///
/// # Errors
/// No packet socket is to be had (`CAP_NET_RAW`), or a channel is closed (`Closed`).
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
                () = sleep(PAUSE) => {}
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

/// Watches one port, until the plan is another.
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
        // A restart of ours must not leave the nodes without a server; asked it is all the same.
        report(events, watch.alone()).await?;
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
                // Anybody can say so: a reason to ask.
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
            bpdu = heard_bpdu(watch.switch.as_ref()) => watch.bpdu(bpdu?),
            () = sleep_until(due) => watch.act()?,
        };
        let Some(news) = news else { continue };
        match news {
            // Without the file the next start asks first, and that is all.
            Dhcp::NoOtherServer { .. } => drop(memory.keep(&watch.plugging)),
            Dhcp::Held { .. } => {}
            _ => memory.forget(),
        }
        report(events, news).await?;
    }
}

/// Names what a server's frame means.
enum Heard {
    /// another server answers our question: as it calls itself, and its hardware address
    Answer(Ipv4Addr, Mac),
    /// a sign of another server that anybody could have given
    Hint,
}

/// Holds one stay of a cable in the port.
struct Watch {
    wire: AsyncFd<Socket>,
    name: String,
    plugging: Port,
    ours: Vec<Ipv4Addr>,
    /// of the question, another one each time
    transactions: [u32; QUESTIONS],
    /// when it was asked last
    asked: Option<Instant>,
    schedule: Schedule,
    reported: Option<Dhcp>,
    /// hears what switches say of their spanning tree
    switch: Option<AsyncFd<Socket>>,
    /// the switch that was heard
    bridge: Option<[u8; 8]>,
    /// what it says again and again is not heard any more
    only_news: bool,
}

/// Bounds the questions that may be answered at a time.
const QUESTIONS: usize = 3;

impl Watch {
    fn open(plan: &DhcpWatchPlan) -> io::Result<Self> {
        let wire = packet::open(Type::RAW, ETHERTYPE_IPV4, plan.index, &filter::servers())?;
        let plugging = packet::find(&plan.name)?;
        if (plugging.index, plugging.mac) != (plan.index, plan.mac) {
            // The plan is older than the port.
            return Err(io::ErrorKind::NotFound.into());
        }
        // Without it there is only the risk of a switch that keeps us from being heard.
        let switch = stp::open(plan.index).and_then(readable).ok();
        Ok(Self {
            wire: readable(wire)?,
            name: plan.name.clone(),
            plugging,
            ours: plan.ours.clone(),
            transactions: [unguessable() as u32; QUESTIONS],
            asked: None,
            schedule: Schedule::new(Instant::now()),
            reported: None,
            switch,
            bridge: None,
            only_news: false,
        })
    }

    /// Does what is due: asks, or takes silence for an answer.
    fn act(&mut self) -> io::Result<Option<Dhcp>> {
        let now = Instant::now();
        match self.schedule.due(now) {
            Some(Step::Ask) => self.ask(now).map(|()| None),
            Some(Step::Silence) if packet::find(&self.name)? != self.plugging => {
                // The cable was moved while we asked, and netlink has not reported that yet.
                Err(io::ErrorKind::NotFound.into())
            }
            Some(Step::Silence) if !matches!(self.reported, Some(Dhcp::NoOtherServer { .. })) => {
                Ok(Some(self.alone()))
            }
            Some(Step::Silence) | None => Ok(None),
        }
    }

    fn alone(&mut self) -> Dhcp {
        let alone = Dhcp::NoOtherServer { index: self.plugging.index };
        self.reported = Some(alone.clone());
        alone
    }

    fn ask(&mut self, now: Instant) -> io::Result<()> {
        let asking_for = u16::try_from(self.schedule.asking_for(now).as_secs()).unwrap_or(u16::MAX);
        self.transactions.rotate_right(1);
        let [transaction, ..] = &mut self.transactions;
        *transaction = unguessable() as u32;
        let frame = message::discover(self.plugging.mac, *transaction, asking_for);
        self.asked = Some(now);
        let everybody = packet::address(self.plugging.index, ETHERTYPE_IPV4, Mac([0xff; 6]));
        match self.wire.get_ref().send_to(&frame, &everybody) {
            // The port has no room at the moment; the question is asked more than once.
            Err(error)
                if error.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error()) =>
            {
                Ok(())
            }
            sent => sent.map(drop),
        }
    }

    /// Waits for a frame of a server other than ours.
    async fn heard(&self) -> io::Result<Heard> {
        let mut frame = [0; FRAME];
        loop {
            let length = packet::receive(&self.wire, &mut frame).await?;
            if let Some(heard) = frame.get(..length).and_then(|frame| self.read(frame)) {
                return Ok(heard);
            }
        }
    }

    /// Returns what a server's frame means; `None`: it is ours, or none.
    fn read(&self, frame: &[u8]) -> Option<Heard> {
        let reply = message::reply(frame).filter(|reply| reply.mac != self.plugging.mac)?;
        let lately = self.asked.is_some_and(|at| at.elapsed() < ANSWERED_WITHIN);
        let to_us =
            reply.asked_by == self.plugging.mac && self.transactions.contains(&reply.transaction);
        Some(if to_us && lately { Heard::Answer(reply.server, reply.mac) } else { Heard::Hint })
    }

    /// Takes what a switch says: that nothing is heard through it yet, or that what is behind it
    /// has changed.
    fn bpdu(&mut self, bpdu: Bpdu) -> Option<Dhcp> {
        let now = Instant::now();
        let known = self.bridge.replace(bpdu.bridge) == Some(bpdu.bridge);
        if self.reported.is_some() {
            if let Some(switch) = self.switch.as_ref().filter(|_| !known || !self.only_news) {
                // It says the same every two seconds.
                self.only_news = stp::only_news(switch.get_ref(), bpdu.bridge).is_ok();
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

    /// Notes that another server serves here; that is news unless it was reported already.
    fn foreign(&mut self, (server, mac): (Ipv4Addr, Mac)) -> Option<Dhcp> {
        self.schedule.refused(Instant::now());
        let foreign = Dhcp::OtherServer { index: self.plugging.index, server, mac: Some(mac) };
        // Of two that answer in turn the first is named.
        let news = !matches!(self.reported, Some(Dhcp::OtherServer { .. }));
        news.then(|| {
            self.reported = Some(foreign.clone());
            foreign
        })
    }
}

/// Waits for the next message of a switch.
async fn heard_bpdu(switch: Option<&AsyncFd<Socket>>) -> io::Result<Bpdu> {
    let Some(switch) = switch else { return std::future::pending().await };
    let mut frame = [0; stp::FRAME];
    loop {
        let length = packet::receive(switch, &mut frame).await?;
        if let Some(bpdu) = frame.get(..length).and_then(stp::read) {
            return Ok(bpdu);
        }
    }
}

/// Reads any bytes as a frame from the cluster port: the door for fuzzing. Who sent it, as a
/// server, and what a board calls itself is all that may come of it unchanged.
#[doc(hidden)]
pub fn read_any(frame: &[u8]) -> (Option<Mac>, Option<String>) {
    let _ = (message::question(frame), message::answer(frame, Mac([2, 0, 0, 0, 0, 1])));
    (
        message::reply(frame).map(|reply| reply.mac),
        message::calls_itself(frame).map(|(_, name)| name),
    )
}
