//! Does anybody else serve addresses on the cluster port? Before we do we ask, as a client would; while we do we listen.
//!
//! The question works without an address on the port, and nothing but it is ever sent. What others' servers say is picked out
//! by a filter in the kernel, so that a quiet port wakes nobody. Behind a switch a server's answers go past us; but which
//! server's offer it takes a client tells all.
//!
//! What clients say also tells what they call themselves: our own server keeps that to itself where it gives another name. They
//! are heard by a socket of their own, which is read now and then only: whoever floods it covers up no server, and costs little.

mod memory;
mod message;
mod names;
mod schedule;

use std::convert::Infallible;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use rustix::net::{RecvFlags, recv};
use socket2::{SockFilter, Socket, Type};
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use super::alarm::Alarm;
use super::packet::{self, ETHERTYPE_IPV4, Port};
use super::probe::unguessable;
use super::readable;
use crate::event::{Dhcp, Event, LinkIndex, Mac};
use memory::Memory;
use names::Names;
use schedule::{Schedule, Step};

/// Of BOOTP and DHCP (RFC 2131, 4.1).
const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;
/// Larger frames are no DHCP.
const FRAME: usize = 2048;
/// A port that went away is told by netlink too; until then.
const PAUSE: Duration = Duration::from_millis(500);

/// The port on which we are to serve. An equal plan disturbs nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DhcpWatchPlan {
    pub index: LinkIndex,
    pub name: String,
    /// its hardware address; what comes from it is ours
    pub mac: Mac,
    /// counts up when a cable was plugged in: what was heard before does not count
    pub generation: u64,
    /// addresses that the head may have there: who takes their offer takes ours
    pub ours: Vec<Ipv4Addr>,
    /// counts up when a board was heard that was not known: behind a switch a server may have come. A reason to ask, and none to
    /// begin anew.
    pub strangers: u64,
}

impl DhcpWatchPlan {
    /// The same stay of the same cable.
    fn continues(&self, before: &Self) -> bool {
        Self { strangers: before.strangers, ..self.clone() } == *before
    }
}

/// Asks and listens for as long as there is a port; tells [`Dhcp::Alone`], [`Dhcp::Foreign`], [`Dhcp::Unasked`] and
/// [`Dhcp::CallsItself`].
///
/// # Errors
/// No packet socket is to be had (`CAP_NET_RAW`), or a channel is closed (`BrokenPipe`).
pub async fn run(
    mut plan: watch::Receiver<Option<DhcpWatchPlan>>,
    events: mpsc::Sender<Event>,
    run_directory: impl AsRef<Path>,
) -> io::Result<Infallible> {
    let memory = Memory::new(run_directory.as_ref());
    loop {
        let Some(port) = plan.borrow_and_update().clone() else {
            changed(&mut plan).await?;
            continue;
        };
        match watch(&port, &mut plan, &events, &memory).await {
            Ok(()) => {}
            Err(error) if packet::is_port_gone(&error) => tokio::select! {
                changed = changed(&mut plan) => changed?,
                () = sleep(PAUSE) => {}
            },
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Err(error),
            Err(error) => {
                tell(&events, Dhcp::Unasked { index: port.index, why: error.to_string() }).await?;
                return Err(error);
            }
        }
    }
}

async fn changed(plan: &mut watch::Receiver<Option<DhcpWatchPlan>>) -> io::Result<()> {
    plan.changed().await.map_err(|_| io::ErrorKind::BrokenPipe.into())
}

async fn tell(events: &mpsc::Sender<Event>, dhcp: Dhcp) -> io::Result<()> {
    events.send(Event::Dhcp(dhcp)).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
}

/// One port, until the plan is another.
async fn watch(
    port: &DhcpWatchPlan,
    plan: &mut watch::Receiver<Option<DhcpWatchPlan>>,
    events: &mpsc::Sender<Event>,
    memory: &Memory,
) -> io::Result<()> {
    let mut watch = Watch::open(port)?;
    let mut names = Names::open(port.index)?;
    let mut alarm = Alarm::new()?;
    if memory.holds(&watch.plugging) {
        // A restart of ours must not leave the nodes without a server; asked it is all the same.
        tell(events, watch.alone()).await?;
    }
    loop {
        alarm.set(Some(watch.schedule.next()));
        let news = tokio::select! {
            changed = changed(plan) => {
                changed?;
                if !plan.borrow().as_ref().is_some_and(|now| now.continues(port)) {
                    return Ok(());
                }
                watch.schedule.doubt(Instant::now());
                None
            }
            heard = watch.heard() => watch.foreign(heard?),
            clients = names.heard(&watch.ours) => match clients? {
                names::Heard::Server(server) => watch.foreign((server, None)),
                names::Heard::Names(names) => {
                    for (mac, name) in names {
                        tell(events, Dhcp::CallsItself { mac, name }).await?;
                    }
                    None
                }
            },
            () = alarm.rings() => watch.act()?,
        };
        let Some(news) = news else { continue };
        match news {
            // Without the file the next start asks first, and that is all.
            Dhcp::Alone { .. } => drop(memory.keep(&watch.plugging)),
            _ => memory.forget(),
        }
        tell(events, news).await?;
    }
}

/// One stay of a cable in the port.
struct Watch {
    wire: AsyncFd<Socket>,
    name: String,
    plugging: Port,
    ours: Vec<Ipv4Addr>,
    transaction: u32,
    schedule: Schedule,
    said: Option<Dhcp>,
}

impl Watch {
    fn open(plan: &DhcpWatchPlan) -> io::Result<Self> {
        let wire = packet::open(Type::RAW, ETHERTYPE_IPV4, plan.index, &between(SERVER_PORT, CLIENT_PORT))?;
        let plugging = packet::find(&plan.name)?;
        if (plugging.index, plugging.mac) != (plan.index, plan.mac) {
            // The plan is older than the port.
            return Err(io::ErrorKind::NotFound.into());
        }
        let (name, ours, transaction) = (plan.name.clone(), plan.ours.clone(), unguessable() as u32);
        let schedule = Schedule::new(Instant::now());
        Ok(Self { wire: readable(wire)?, name, plugging, ours, transaction, schedule, said: None })
    }

    /// Does what is due: asks, or takes silence for an answer.
    fn act(&mut self) -> io::Result<Option<Dhcp>> {
        let now = Instant::now();
        match self.schedule.due(now) {
            Some(Step::Ask) => self.ask(now).map(|()| None),
            Some(Step::Silence) if packet::find(&self.name)? != self.plugging => {
                // The cable was moved while we asked, and that is not told yet.
                Err(io::ErrorKind::NotFound.into())
            }
            Some(Step::Silence) if !matches!(self.said, Some(Dhcp::Alone { .. })) => Ok(Some(self.alone())),
            Some(Step::Silence) | None => Ok(None),
        }
    }

    fn alone(&mut self) -> Dhcp {
        let alone = Dhcp::Alone { index: self.plugging.index };
        self.said = Some(alone.clone());
        alone
    }

    fn ask(&self, now: Instant) -> io::Result<()> {
        let asking_for = u16::try_from(self.schedule.asking_for(now).as_secs()).unwrap_or(u16::MAX);
        let frame = message::discover(self.plugging.mac, self.transaction, asking_for);
        let everybody = packet::address(self.plugging.index, ETHERTYPE_IPV4, Mac([0xff; 6]));
        match self.wire.get_ref().send_to(&frame, &everybody) {
            // The port has no room at the moment; the question is asked more than once.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error()) => Ok(()),
            sent => sent.map(drop),
        }
    }

    /// Waits for a sign of a server other than ours: returns what it calls itself, and its hardware address.
    async fn heard(&self) -> io::Result<(Ipv4Addr, Option<Mac>)> {
        let mut frame = [0; FRAME];
        loop {
            let mut guard = self.wire.readable().await?;
            match recv(self.wire.get_ref(), &mut frame[..], RecvFlags::DONTWAIT) {
                Ok((length, _)) => {
                    let reply = frame.get(..length).and_then(message::reply);
                    if let Some(reply) = reply.filter(|reply| reply.mac != self.plugging.mac) {
                        return Ok((reply.server, Some(reply.mac)));
                    }
                }
                Err(rustix::io::Errno::AGAIN) => guard.clear_ready(),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Somebody else serves here: news unless it was said already.
    fn foreign(&mut self, (server, mac): (Ipv4Addr, Option<Mac>)) -> Option<Dhcp> {
        self.schedule.refused(Instant::now());
        let foreign = Dhcp::Foreign { index: self.plugging.index, server, mac };
        // Of two that answer in turn the first is named.
        let news = !matches!(self.said, Some(Dhcp::Foreign { .. }));
        news.then(|| {
            self.said = Some(foreign.clone());
            foreign
        })
    }
}

/// Lets through what is IPv4, UDP, no later fragment, and goes between these ports. A program of the classic BPF of
/// `linux/filter.h`.
fn between(from: u16, to: u16) -> [SockFilter; 11] {
    // BPF_LD | BPF_H/BPF_B | BPF_ABS/BPF_IND, BPF_LDX | BPF_B | BPF_MSH, BPF_JMP | BPF_JEQ/BPF_JSET | BPF_K, BPF_RET | BPF_K
    const LOAD_HALF: u16 = 0x28;
    const LOAD_BYTE: u16 = 0x30;
    const LOAD_HALF_INDEXED: u16 = 0x48;
    const LOAD_HEADER_LENGTH: u16 = 0xb1;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const JUMP_IF_ANY_BIT: u16 = 0x45;
    const RETURN: u16 = 0x06;
    let accept = FRAME as u32;
    [
        SockFilter::new(LOAD_BYTE, 0, 0, 23),
        SockFilter::new(JUMP_IF_EQUAL, 0, 8, 17),
        SockFilter::new(LOAD_HALF, 0, 0, 20),
        SockFilter::new(JUMP_IF_ANY_BIT, 6, 0, 0x1fff),
        SockFilter::new(LOAD_HEADER_LENGTH, 0, 0, 14),
        SockFilter::new(LOAD_HALF_INDEXED, 0, 0, 14),
        SockFilter::new(JUMP_IF_EQUAL, 0, 3, from.into()),
        SockFilter::new(LOAD_HALF_INDEXED, 0, 0, 16),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, to.into()),
        SockFilter::new(RETURN, 0, 0, accept),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

/// Reads any bytes as a frame from the cluster port: the door for fuzzing. Who sent it, as a server, and what a board calls
/// itself is all that may come of it unchanged.
#[doc(hidden)]
pub fn read_any(frame: &[u8]) -> (Option<Mac>, Option<String>) {
    (message::reply(frame).map(|reply| reply.mac), message::calls_itself(frame).map(|(_, name)| name))
}
