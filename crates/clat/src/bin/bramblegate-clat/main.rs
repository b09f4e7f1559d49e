//! The program `bramblegate-clat`: IPv4 over an uplink that has only IPv6 (464XLAT, RFC 6877). BPF
//! in the kernel rewrites headers; a TUN device handles packets that need more than that.

mod kernel;
mod network;
mod orders;
mod plan;
mod refusal;
mod session;
mod sysctl;
mod tun;
mod worker;

use std::io;
use std::net::Ipv6Addr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bramblegate_api::Text;
use bramblegate_api::clat::{Mode, ORDER, SYSCTLS_FILE, State};
use bramblegate_clat::Prefix;
use bramblegate_netlink::{Protocol, Socket, rtnetlink::group};
use clap::Parser;
use ipnet::Ipv6Net;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use kernel::Attach;
use network::Network;
use orders::Orders;
use plan::{Order, Plan, TRIES};
use refusal::Refusal;
use session::{Options, Session};

/// EX_USAGE and EX_OSERR of sysexits.h: wrong options, the system refuses a thread or socket.
const USAGE: u8 = 64;
const SYSTEM: u8 = 71;
/// The pause before a retry after a failure.
const RETRY: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };
/// The delay after kernel events, which may come in bursts.
const SETTLE: Duration = Duration::from_millis(100);

/// Kernel events that may change the plan, or what a session needs.
const GROUPS: [u32; 4] = [group::LINK, group::IPV6_ADDRESS, group::IPV6_ROUTE, group::IPV6_NETCONF];

/// Carry IPv4 over an uplink that has only IPv6 (464XLAT)
#[derive(Debug, Parser)]
#[command(name = "bramblegate-clat", version)]
struct Args {
    /// The interface that leads to the NAT64; without it, the one that the file of --orders names
    #[arg(long, value_name = "INTERFACE", requires = "prefix")]
    uplink: Option<String>,
    /// The NAT64 prefix, for example 64:ff9b::/96
    #[arg(long, value_name = "PREFIX", requires = "uplink")]
    prefix: Option<Prefix>,
    /// The IPv6 address to translate with; without it, one of the venue's /64
    #[arg(long, value_name = "ADDRESS", requires = "uplink")]
    address: Option<Ipv6Addr>,
    /// The uplink's IPv6 MTU in octets; without it, the kernel's
    #[arg(long, value_name = "OCTETS", requires = "uplink", value_parser = clap::value_parser!(u16).range(1280..))]
    mtu: Option<u16>,
    /// What translates: auto, bpf or tun
    #[arg(long, value_name = "MODE", default_value = "auto", requires = "uplink", value_parser = orders::mode)]
    mode: Mode,
    /// The file that the daemon writes its orders to
    #[arg(long, value_name = "FILE", default_value = ORDER, conflicts_with = "uplink")]
    orders: PathBuf,
    /// Write what is translated to this file
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// The interface to make, which gets IPv4
    #[arg(long, value_name = "NAME", default_value = bramblegate_api::clat::DEVICE)]
    device: String,
    /// Attach in this way only
    #[arg(long, hide = true)]
    attach: Option<Attach>,
    /// Load another BPF object
    #[arg(long, hide = true)]
    object: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let fixed = match (args.uplink, args.prefix) {
        (Some(uplink), Some(prefix)) => {
            let (mode, address, mtu) = (args.mode, args.address, args.mtu);
            match orders::checked(Order { uplink, prefix, mode, address, mtu }) {
                Ok(order) => Some(order),
                Err(error) => {
                    eprintln!("bramblegate-clat: {error}");
                    return ExitCode::from(USAGE);
                }
            }
        }
        _ => None,
    };
    let orders =
        fixed.map_or_else(|| Orders::follow(args.orders), |order| Ok(Orders::Fixed(order)));
    // Beside the state, in the service's own folder.
    let record = args.state.as_ref().map(|state| state.with_file_name(SYSCTLS_FILE));
    record.as_deref().into_iter().for_each(sysctl::restore);
    let options = Options { device: args.device, attach: args.attach, object: args.object, record };
    let ended = orders.and_then(|orders| Supervisor::new(orders, options, args.state)?.run());
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bramblegate-clat: cannot start: {error}");
            ExitCode::from(SYSTEM)
        }
    }
}

/// Keeps a session that matches the order and the uplink.
#[derive(Debug)]
struct Supervisor {
    orders: Orders,
    options: Options,
    state: Option<PathBuf>,
    session: Option<Session>,
    /// Addresses that other hosts of the venue have.
    taken: Vec<Ipv6Addr>,
    /// The time of the last kernel events.
    last_read: Instant,
    /// The last reported state.
    reported: Option<State>,
    network: Network,
    /// Kernel events about links, addresses and routes.
    events: Socket,
    /// Readable after a signal to end.
    signals: UnixStream,
}

impl Supervisor {
    fn new(orders: Orders, options: Options, state: Option<PathBuf>) -> io::Result<Self> {
        let events = Socket::open(Protocol::Route, &GROUPS);
        let (signals, sender) = UnixStream::pair()?;
        for number in [SIGTERM, SIGINT, SIGHUP] {
            signal_hook::low_level::pipe::register(number, sender.try_clone()?)?;
        }
        Ok(Self {
            orders,
            options,
            state,
            session: None,
            taken: Vec::new(),
            last_read: Instant::now(),
            reported: None,
            network: Network::open().map_err(io::Error::other)?,
            events: events.map_err(io::Error::other)?,
            signals,
        })
    }

    /// Translates until a signal ends it.
    fn run(mut self) -> io::Result<()> {
        let mut is_first = true;
        loop {
            let outcome = self.reconcile();
            if std::mem::take(&mut is_first) {
                self.remove_left_over();
            }
            let failed = outcome.is_err();
            self.report(outcome);
            if self.wait(failed.then_some(&RETRY)) {
                drop(self.session.take());
                self.report(Err("ended".to_owned().into()));
                return Ok(());
            }
        }
    }

    /// Removes what a killed service left behind, except what the first session took over. A
    /// process that a user started may run beside the service, and leaves the service's address
    /// alone.
    fn remove_left_over(&mut self) {
        let is_alone =
            self.session.is_some() || matches!(self.network.link(&self.options.device), Ok(None));
        if is_alone && matches!(self.orders, Orders::File(_)) {
            let held = self.session.as_ref().map(|session| session.address);
            session::remove_left_over(&mut self.network, held);
        }
    }

    /// Starts, replaces or ends the session as the plan requires.
    fn reconcile(&mut self) -> Result<(), Refusal> {
        let plan = match self.plan() {
            Ok(Some(plan)) => plan,
            other => {
                self.session = None;
                return other.map(drop).map_err(Refusal::from);
            }
        };
        if self.session.as_ref().is_none_or(|session| session.plan != plan) {
            self.start(&plan)?;
        }
        self.set_next_hop();
        self.session
            .as_mut()
            .map_or(Ok(()), |session| session.keep_forwarding().map_err(Refusal::from))
    }

    /// Starts a session, with an address that no other host has.
    fn start(&mut self, plan: &Plan) -> Result<(), Refusal> {
        self.session = None;
        self.taken.retain(|address| plan.generates(*address));
        loop {
            let known = self.taken.len();
            match Session::start(plan.clone(), &self.options, &mut self.taken) {
                Ok(session) => {
                    self.session = Some(session);
                    return Ok(());
                }
                // The address was a duplicate: try the next one.
                Err(_) if known < self.taken.len() && self.taken.len() < TRIES as usize => {}
                Err(refusal) => {
                    self.taken.clear();
                    return Err(refusal);
                }
            }
        }
    }

    /// Spares a route lookup for each packet, where the routes leave only one next hop.
    fn set_next_hop(&mut self) {
        let Some(session) = &mut self.session else { return };
        if let Err(error) = session.set_next_hop(&mut self.network) {
            eprintln!(
                "bramblegate-clat: the way to the NAT64 is looked up for each packet: {error}"
            );
        }
    }

    /// Returns the plan for the current order and uplink; `None` without an order. Ends a session
    /// that has lost its address.
    fn plan(&mut self) -> Result<Option<Plan>, String> {
        let order = self.orders.read().map_err(|error| error.to_string())?;
        let Some(order) = order else { return Ok(None) };
        let name = &order.uplink;
        let failed = |error| format!("{name}: {error}");
        let uplink = self.network.link(name).map_err(failed)?;
        let uplink = uplink.ok_or_else(|| format!("{name} is not there"))?;
        let mut addresses = self.network.addresses(uplink.index).map_err(failed)?;
        let held = |session: &Session| {
            addresses.iter().find(|held| held.address == session.address).copied()
        };
        if let Some(session) = self.session.take_if(|session| session.has_lost(held(session))) {
            let duplicate = held(&session).is_some_and(|held| held.is_duplicate());
            self.taken.extend(duplicate.then_some(session.address));
        }
        if let Some(session) = self.session.as_ref().filter(|session| !session.is_shared()) {
            addresses.retain(|address| address.address != session.address);
        }
        let routes = self.network.routes().map_err(failed)?;
        let by_route = plan::route_mtu(&routes, uplink.index, &order.prefix);
        let mtu = sysctl::mtu(name).into_iter().chain(by_route).min();
        Plan::new(order, uplink, &addresses, mtu).map(Some)
    }

    /// Logs the state and writes the state file, if the state has changed.
    fn report(&mut self, outcome: Result<(), Refusal>) {
        let mut state = State::default();
        let mut refusal = outcome.err();
        if let Some(session) = &self.session {
            let order = &session.plan.order;
            state.device = Some(Text::from(&self.options.device));
            state.uplink = Some(Text::from(&order.uplink));
            state.prefix = Ipv6Net::new(order.prefix.address(), order.prefix.length()).ok();
            state.mode = Some(session.mode.into());
            state.address = Some(session.address);
            state.shared = session.is_shared();
            refusal = refusal.or_else(|| session.refusal.clone());
        }
        state.reason = refusal.as_ref().map(|refusal| Text::from(&refusal.reason));
        if self.reported.as_ref() == Some(&state) {
            return;
        }
        match (&self.session, &state.reason) {
            (Some(session), _) => log_session(session, &self.options.device),
            (None, Some(reason)) => eprintln!("bramblegate-clat: nothing is translated: {reason}"),
            (None, None) => eprintln!("bramblegate-clat: nothing is to be translated"),
        }
        for line in refusal.iter().flat_map(|refusal| &refusal.log) {
            eprintln!("bramblegate-clat: the kernel's verifier: {line}");
        }
        if let Some(path) = &self.state {
            orders::report(path, &state);
        }
        self.reported = Some(state);
    }

    /// Waits for events, for `timeout` at most; returns whether the process is to end.
    fn wait(&mut self, timeout: Option<&Timespec>) -> bool {
        let broken = self.session.as_ref().map(Session::ended);
        let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN)];
        fds.push(PollFd::new(&self.events, PollFlags::IN));
        fds.extend(self.orders.changed().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let broken_index = fds.len();
        fds.extend(broken.as_ref().map(|fd| PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)));
        let _ = poll(&mut fds, timeout);
        let is_ready = |index: usize| fds.get(index).is_some_and(|fd| !fd.revents().is_empty());
        let (end, events, lost) = (is_ready(0), is_ready(1), is_ready(broken_index));
        drop(fds);
        drop(broken);
        if lost {
            self.session = None;
        }
        if events && !end {
            // Packets follow a new router without the delay below.
            self.set_next_hop();
            // A renewal removes an address or route for a moment: let it pass, so as not to end the
            // session for it.
            let since =
                if self.session.is_some() { Duration::ZERO } else { self.last_read.elapsed() };
            std::thread::sleep(SETTLE.saturating_sub(since));
            self.last_read = Instant::now();
        }
        self.events.drain();
        end
    }
}

fn log_session(session: &Session, device: &str) {
    let order = &session.plan.order;
    let how = session.attach.map_or_else(|| "a TUN device".into(), |way| format!("BPF ({way})"));
    let shared = if session.is_shared() { ", which the head uses too" } else { "" };
    eprintln!(
        "bramblegate-clat: {device}: IPv4 over {} by {how}, prefix {}, address {}{shared}",
        order.uplink, order.prefix, session.address
    );
    if let Some(refusal) = &session.refusal {
        let reason = &refusal.reason;
        eprintln!("bramblegate-clat: without BPF, which is several times as fast: {reason}");
    }
}
