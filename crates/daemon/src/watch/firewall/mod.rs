//! Watches other programs' use of the firewall: changes to our table, and rules that drop required
//! traffic.

mod counters;
mod disturbance;
mod expression;
mod foreign;
mod legacy;
mod packet;
mod remedy;
mod simulate;
#[cfg(test)]
mod tests;
mod value;

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use bramblegate_netlink::netfilter::GROUP_NFTABLES;
use bramblegate_netlink::{Listener, NetlinkError, Protocol, Socket, messages};
use ipnet::IpNet;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

pub use crate::event::FirewallWatch;
use crate::event::{Blocker, Dropped, Event, Firewall, RuleCount, Traffic};
use crate::packet::{ICMP, ICMPV6, index_of};
use crate::sync::{Closed, next_aligned, reached};
use crate::watch::emit;

use counters::Counts;
use disturbance::Disturbance;
pub use disturbance::Watcher;
use packet::{Port, Topology};

/// Time without changes before the rules are analysed: other programs change rules in bursts
/// (Docker writes hundreds).
const DEBOUNCE: Duration = Duration::from_millis(250);
/// Maximum delay of the analysis after the first change.
const MAX_DELAY: Duration = Duration::from_secs(2);
/// Interval of counter readings.
const COUNTERS: Duration = Duration::from_secs(60);
/// Interval while packets seem to be lost, and for some readings after another program has changed
/// its rules.
const COUNTERS_SUSPICIOUS: Duration = Duration::from_secs(3);
/// Number of those readings; they reveal effects of rules that the analysis cannot predict.
const READINGS_AFTER_CHANGE: u8 = 3;

/// Reports disturbances of our table, chains that block traffic, and counters, until the receiver
/// is gone.
///
/// # Errors A socket cannot be opened (no nfnetlink in the kernel, no CAP_NET_ADMIN), or the
/// receiver is gone (`Closed`).
pub async fn run(
    events: mpsc::Sender<Event>,
    mut watch: watch::Receiver<FirewallWatch>,
) -> io::Result<Infallible> {
    let mut listener = Listener::new(Socket::open(Protocol::Netfilter, &[GROUP_NFTABLES])?)?;
    let mut source = Source {
        events,
        requests: Socket::open(Protocol::Netfilter, &[])?,
        watcher: Watcher::default(),
        watch: watch.borrow_and_update().clone(),
        blockers: Blockers::default(),
        counts: None,
        legacy: Vec::new(),
        dropped: Vec::new(),
        rules: Vec::new(),
        readings: 0,
    };
    source.analyse().await?;
    let mut analyse_at = Due::default();
    let mut count_at = source.count().await?;
    loop {
        tokio::select! {
            biased;
            // First, since queued messages may be about the newly watched table.
            changed = watch.changed() => {
                changed.map_err(|_| Closed)?;
                if source.rewatch(watch.borrow_and_update().clone()) {
                    analyse_at.postpone();
                    count_at = count_at.or_else(|| Some(next_aligned(COUNTERS)));
                }
            }
            () = reached(analyse_at.at) => {
                analyse_at = Due::default();
                source.analyse().await?;
                source.readings = READINGS_AFTER_CHANGE;
                count_at = source.count().await?;
            }
            () = reached(count_at) => count_at = source.count().await?,
            batch = listener.receive() => match batch {
                Ok(batch) => if source.take(batch).await? { analyse_at.postpone() },
                Err(NetlinkError::Overrun) => { source.overrun().await?; analyse_at.postpone() }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Returns the chains of other programs that currently drop traffic required by `watch`.
///
/// # Errors
/// The kernel has no nfnetlink, or CAP_NET_ADMIN is missing.
pub fn blockers_now(watch: &FirewallWatch) -> io::Result<Blockers> {
    let mut socket = Socket::open(Protocol::Netfilter, &[])?;
    let mut ruleset = foreign::read(&mut socket, watch.table)?;
    legacy::add(&mut ruleset, legacy::read());
    Ok(judge(watch, &ruleset, &socket))
}

/// Returns the packets dropped by rules of `table` since they were loaded, by the rules' comments;
/// leaves out zeros.
///
/// # Errors
/// The kernel has no nfnetlink, or CAP_NET_ADMIN is missing.
pub fn drops_now(table: &str) -> io::Result<Vec<(String, u64)>> {
    Ok(counters::drops(&mut Socket::open(Protocol::Netfilter, &[])?, table)?)
}

/// Returns the first chain of another program that drops one of the packets, with the remedy.
fn blocker(
    ruleset: &foreign::Ruleset,
    topology: &Topology,
    traffic: Traffic,
    packets: &[packet::Packet],
) -> Option<Blocker> {
    let found = simulate::first_drop(ruleset, topology, traffic, packets)?;
    Some(Blocker {
        table: Some(remedy::table_name(found.name)),
        remedy: remedy::remedy(&found),
        chain: Some(found.culprit),
    })
}

/// Holds the chains that drop required traffic.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Blockers {
    /// Drops forwarded traffic on the active uplink.
    pub egress: Option<Blocker>,
    /// Drop forwarded traffic on other uplinks, by name.
    pub spare: Vec<(String, Blocker)>,
    /// Drop other required traffic.
    pub traffic: Vec<(Traffic, Blocker)>,
}

/// Parses arbitrary bytes as messages of the kernel and evaluates packets against the result, for
/// fuzzing.
#[doc(hidden)]
pub fn read_any(bytes: &[u8]) {
    let mut watcher = Watcher::default();
    let mut ruleset = foreign::Ruleset::default();
    for message in messages(bytes) {
        watcher.take(&message, "bramblegate", 1);
        if let Some((table, name, chain)) = foreign::chain(&message) {
            ruleset.tables.entry(table).or_default().chains.insert(name, chain);
        }
        if let Some((table, name, rule)) = foreign::rule(&message) {
            ruleset
                .tables
                .entry(table)
                .or_default()
                .chains
                .entry(name)
                .or_default()
                .rules
                .push(rule);
        }
        for table in ruleset.tables.values_mut() {
            drop(table.sets.insert(
                String::new(),
                foreign::elements(&message, &foreign::field_widths(&message)),
            ));
        }
    }
    legacy::add(&mut ruleset, legacy::parse_any(bytes));
    let port = |name: &str, index| Port { name: name.into(), index: Some(index), bridge: false };
    let topology =
        Topology { cluster: port("eth0", 2), uplinks: vec![port("eth1", 3)], head: None };
    let traffic = vec![
        Traffic::Addresses,
        Traffic::Neighbours,
        Traffic::Venue { protocol: crate::packet::TCP, port: 22 },
    ];
    let ipv6_uplinks = vec!["eth1".to_owned()];
    let watch = FirewallWatch { traffic, ipv6_uplinks, ..FirewallWatch::default() };
    judge_at(&watch, &topology, &ruleset);
}

/// Returns the interfaces that packets pass, with indices looked up by `socket`; `None` without a
/// cluster port.
fn topology(watch: &FirewallWatch, socket: &Socket) -> Option<Topology> {
    let port = |name: &String| {
        let index = index_of(socket, name).ok();
        Port { name: name.clone(), index, bridge: false }
    };
    let cluster = Port { bridge: watch.bridge, ..port(watch.cluster_port.as_ref()?) };
    let head = match watch.head.or_else(|| watch.cluster_networks.first().copied()) {
        Some(IpNet::V4(head)) => Some(head),
        _ => None,
    };
    Some(Topology { cluster, uplinks: watch.uplinks.iter().map(port).collect(), head })
}

fn judge(watch: &FirewallWatch, ruleset: &foreign::Ruleset, socket: &Socket) -> Blockers {
    topology(watch, socket)
        .map_or_else(Blockers::default, |topology| judge_at(watch, &topology, ruleset))
}

/// Returns `place` restricted to the uplinks that this kind of traffic uses.
fn topology_for(watch: &FirewallWatch, topology: &Topology, traffic: Traffic) -> Topology {
    let mut topology = topology.clone();
    let by_egress = matches!(traffic, Traffic::Datagrams | Traffic::Own);
    if let Some(egress) =
        watch.egress.as_ref().filter(|egress| by_egress && watch.uplinks.contains(egress))
    {
        topology.uplinks.retain(|uplink| uplink.name == *egress);
    }
    if matches!(traffic, Traffic::VenueIpv6 { .. }) {
        topology.uplinks.retain(|uplink| watch.ipv6_uplinks.contains(&uplink.name));
    }
    topology
}

fn judge_at(watch: &FirewallWatch, topology: &Topology, ruleset: &foreign::Ruleset) -> Blockers {
    let mut found = Blockers::default();
    for uplink in &topology.uplinks {
        let packets = packet::forwarded(topology, uplink);
        let Some(blocker) = blocker(ruleset, topology, Traffic::Forwarding, &packets) else {
            continue;
        };
        if watch.egress.as_ref().is_none_or(|egress| *egress == uplink.name) {
            found.egress.get_or_insert(blocker);
        } else {
            found.spare.push((uplink.name.clone(), blocker));
        }
    }
    let drop_of = |traffic| {
        let topology = &topology_for(watch, topology, traffic);
        let blocker = blocker(ruleset, topology, traffic, &packet::packets(topology, traffic))?;
        Some((traffic, blocker))
    };
    for traffic in watch.traffic.iter().copied() {
        // A dropped connection is reported already, so dropped datagrams add nothing.
        if traffic == Traffic::Datagrams && found.egress.is_some() {
            continue;
        }
        // Likewise IPv6, if IPv4 is dropped.
        let over_ipv6 = || by_ipv6(traffic).filter(|_| !watch.ipv6_uplinks.is_empty());
        found.traffic.extend(drop_of(traffic).or_else(|| over_ipv6().and_then(drop_of)));
    }
    found
}

/// Returns the IPv6 counterpart of a kind of traffic.
const fn by_ipv6(traffic: Traffic) -> Option<Traffic> {
    match traffic {
        Traffic::Venue { protocol: ICMP, port } => {
            Some(Traffic::VenueIpv6 { protocol: ICMPV6, port })
        }
        Traffic::Venue { protocol, port } => Some(Traffic::VenueIpv6 { protocol, port }),
        _ => None,
    }
}

/// Debounces: each change postpones the deadline, up to [`MAX_DELAY`] after the first.
#[derive(Debug, Clone, Copy, Default)]
struct Due {
    at: Option<Instant>,
    latest: Option<Instant>,
}

impl Due {
    fn postpone(&mut self) {
        let now = Instant::now();
        let latest = *self.latest.get_or_insert(now + MAX_DELAY);
        self.at = Some((now + DEBOUNCE).min(latest));
    }
}

struct Source {
    events: mpsc::Sender<Event>,
    requests: Socket,
    watcher: Watcher,
    watch: FirewallWatch,
    /// As last reported.
    blockers: Blockers,
    counts: Option<Counts>,
    /// Tables of iptables-legacy, which sends no notifications.
    legacy: Vec<legacy::Listing>,
    /// As last reported.
    dropped: Vec<Dropped>,
    /// Counters of our rules, as last reported.
    rules: Vec<RuleCount>,
    /// Remaining readings at [`COUNTERS_SUSPICIOUS`] after a change.
    readings: u8,
}

impl Source {
    async fn report(&self, event: Firewall) -> io::Result<()> {
        Ok(emit(&self.events, Event::Firewall(event)).await?)
    }

    /// Processes a batch of messages. Returns whether another program changed rules.
    async fn take(&mut self, batch: &[u8]) -> io::Result<bool> {
        let mut foreign = false;
        for message in messages(batch) {
            match self.watcher.take(&message, self.watch.table, self.watch.own_port) {
                Disturbance::None => {}
                Disturbance::Foreign => foreign = true,
                Disturbance::Ours { by } => {
                    foreign = true;
                    self.report(Firewall::Disturbed { by }).await?;
                }
            }
        }
        Ok(foreign)
    }

    /// Handles lost messages. Unless our table still exists and has us as its owner, which protects
    /// it from others, it may have been changed.
    async fn overrun(&mut self) -> io::Result<()> {
        self.watcher = Watcher::default();
        let port = self.watch.own_port;
        let protected = foreign::owner(&mut self.requests, self.watch.table)
            .is_ok_and(|owner| owner == Some(port));
        if port != 0 && !protected {
            self.report(Firewall::Disturbed { by: None }).await?;
        }
        Ok(())
    }

    /// Applies a new plan. Returns whether it differs in more than our own port ID.
    fn rewatch(&mut self, watch: FirewallWatch) -> bool {
        let before = std::mem::replace(&mut self.watch, watch);
        FirewallWatch { own_port: 0, ..before }
            != FirewallWatch { own_port: 0, ..self.watch.clone() }
    }

    /// Finds the chains of other programs that drop required traffic, and reports changes.
    async fn analyse(&mut self) -> io::Result<()> {
        let ruleset = match self.watch.cluster_port {
            None => Ok(foreign::Ruleset::default()),
            Some(_) => foreign::read(&mut self.requests, self.watch.table),
        };
        // After an error the next change triggers another attempt.
        let Ok(mut ruleset) = ruleset else { return Ok(()) };
        self.legacy = legacy::read();
        legacy::add(&mut ruleset, self.legacy.clone());
        let found = judge(&self.watch, &ruleset, &self.requests);
        let before = std::mem::replace(&mut self.blockers, found.clone());
        if found.egress != before.egress {
            self.report(Firewall::Blocked(found.egress)).await?;
        }
        if found.spare != before.spare {
            self.report(Firewall::BlockedSpare(found.spare)).await?;
        }
        if found.traffic != before.traffic {
            self.report(Firewall::BlockedTraffic(found.traffic)).await?;
        }
        Ok(())
    }

    /// Reads the counters and reports changes. Returns when to read them again.
    async fn count(&mut self) -> io::Result<Option<Instant>> {
        if self.watch.forwarded.is_empty() || self.watch.cluster_port.is_none() {
            self.counts = None;
            if !std::mem::take(&mut self.rules).is_empty() {
                self.report(Firewall::Rules([].into())).await?;
            }
            return Ok(None);
        }
        if legacy::read() != self.legacy {
            self.analyse().await?;
        }
        let rules = counters::rules(&mut self.requests, self.watch.table).ok();
        let counts = rules.as_ref().map(|rules| Counts::of(rules, &self.watch));
        let dropped = counters::dropped(rules.as_deref().unwrap_or_default(), self.watch.drops);
        if counters::moved(&dropped, &self.dropped) {
            let news =
                counters::with_examples(&mut self.requests, &self.watch, &dropped, &self.dropped);
            self.dropped = dropped;
            self.report(Firewall::Dropped(news)).await?;
        }
        if let Some(rules) = rules.filter(|rules| *rules != self.rules) {
            self.rules.clone_from(&rules);
            self.report(Firewall::Rules(rules.into())).await?;
        }
        let before = std::mem::replace(&mut self.counts, counts);
        if let Some(Counts { forwarded, postrouted }) = counts.filter(|_| counts != before) {
            self.report(Firewall::Counters { forwarded, postrouted }).await?;
        }
        let after_change = self.readings > 0;
        self.readings = self.readings.saturating_sub(1);
        let suspicious =
            after_change || self.blockers.egress.is_some() || counters::suspicious(before, counts);
        Ok(Some(if suspicious {
            Instant::now() + COUNTERS_SUSPICIOUS
        } else {
            next_aligned(COUNTERS)
        }))
    }
}
