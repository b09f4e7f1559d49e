//! Other programs and the firewall: who disturbs our table, and whose rules drop what is to get
//! through.

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
use packet::{Place, Port};

/// Changes of other programs come in bursts (Docker writes hundreds of rules): look when it has
/// been quiet this long, …
const QUIET: Duration = Duration::from_millis(250);
/// … but not later than this after the first.
const PATIENCE: Duration = Duration::from_secs(2);
/// Counters are read this often, …
const COUNTERS: Duration = Duration::from_secs(60);
/// … and this often while packets seem to get lost, …
const COUNTERS_SUSPICIOUS: Duration = Duration::from_secs(3);
/// … or so many times after another program changed its rules: what its chains do is not always to
/// be read from them.
const READINGS_AFTER_CHANGE: u8 = 3;

/// Reports disturbances of our table, other tables that block us, and counters, until the receiver
/// is gone.
///
/// # Errors
/// The sockets cannot be made (no nfnetlink in the kernel, no CAP_NET_ADMIN), or the receiver is
/// gone (`Closed`).
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
    source.look().await?;
    let mut look_at = Due::default();
    let mut count_at = source.count().await?;
    loop {
        tokio::select! {
            biased;
            // First: what waits to be heard may be about what is to be watched from now on.
            changed = watch.changed() => {
                changed.map_err(|_| Closed)?;
                if source.rewatch(watch.borrow_and_update().clone()) {
                    look_at.put_off();
                    count_at = count_at.or_else(|| Some(next_aligned(COUNTERS)));
                }
            }
            () = reached(look_at.at) => {
                look_at = Due::default();
                source.look().await?;
                // Whether packets get through in spite of it, again, or no longer, is of interest
                // now.
                source.readings = READINGS_AFTER_CHANGE;
                count_at = source.count().await?;
            }
            () = reached(count_at) => count_at = source.count().await?,
            batch = listener.receive() => match batch {
                Ok(batch) => if source.heard(batch).await? { look_at.put_off() },
                Err(NetlinkError::Overrun) => { source.lost().await?; look_at.put_off() }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Looks once for chains of other programs that drop what is to get through between the ports of
/// `watch`.
///
/// # Errors
/// No nfnetlink in the kernel, or no CAP_NET_ADMIN.
pub fn blockers_now(watch: &FirewallWatch) -> io::Result<Blockers> {
    let mut socket = Socket::open(Protocol::Netfilter, &[])?;
    let mut ruleset = foreign::read(&mut socket, watch.table)?;
    legacy::add(&mut ruleset, legacy::read());
    Ok(judge(watch, &ruleset, &socket))
}

/// Returns what the rules of `table` that drop have dropped since they were loaded, by their
/// comments; those of which there was none are left out.
///
/// # Errors
/// No nfnetlink in the kernel, or no CAP_NET_ADMIN.
pub fn drops_now(table: &str) -> io::Result<Vec<(String, u64)>> {
    Ok(counters::drops(&mut Socket::open(Protocol::Netfilter, &[])?, table)?)
}

/// Returns the first chain of others that drops one of the packets, with the remedy.
fn blocker(
    ruleset: &foreign::Ruleset,
    place: &Place,
    traffic: Traffic,
    packets: &[packet::Packet],
) -> Option<Blocker> {
    let found = simulate::first_drop(ruleset, place, traffic, packets)?;
    Some(Blocker {
        table: Some(remedy::table_name(found.name)),
        remedy: remedy::remedy(&found),
        chain: Some(found.culprit),
    })
}

/// Holds what drops the nodes' traffic.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Blockers {
    /// on the way that it takes
    pub egress: Option<Blocker>,
    /// on ways that it would take by other uplinks
    pub spare: Vec<(String, Blocker)>,
    /// of what is promised beside that
    pub traffic: Vec<(Traffic, Blocker)>,
}

/// Reads any bytes as messages of the kernel and follows packets through what they say: the door
/// for fuzzing.
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
    let place = Place { cluster: port("eth0", 2), uplinks: vec![port("eth1", 3)], head: None };
    let traffic = vec![
        Traffic::Addresses,
        Traffic::Neighbours,
        Traffic::Venue { protocol: crate::packet::TCP, port: 22 },
    ];
    let ipv6_uplinks = vec!["eth1".to_owned()];
    let watch = FirewallWatch { traffic, ipv6_uplinks, ..FirewallWatch::default() };
    judge_at(&watch, &place, &ruleset);
}

/// Returns the ports that packets pass, with their numbers by `socket`; `None` without a cluster
/// port.
fn place(watch: &FirewallWatch, socket: &Socket) -> Option<Place> {
    let port = |name: &String| {
        let index = index_of(socket, name).ok();
        Port { name: name.clone(), index, bridge: false }
    };
    let cluster = Port { bridge: watch.bridge, ..port(watch.cluster_port.as_ref()?) };
    let head = match watch.head.or_else(|| watch.cluster_networks.first().copied()) {
        Some(IpNet::V4(head)) => Some(head),
        _ => None,
    };
    Some(Place { cluster, uplinks: watch.uplinks.iter().map(port).collect(), head })
}

fn judge(watch: &FirewallWatch, ruleset: &foreign::Ruleset, socket: &Socket) -> Blockers {
    place(watch, socket).map_or_else(Blockers::default, |place| judge_at(watch, &place, ruleset))
}

/// Returns what the nodes and the head send takes the way out that is used, where that is
/// known.
fn place_of(watch: &FirewallWatch, place: &Place, traffic: Traffic) -> Place {
    let mut place = place.clone();
    let by_egress = matches!(traffic, Traffic::Datagrams | Traffic::Own);
    if let Some(egress) =
        watch.egress.as_ref().filter(|egress| by_egress && watch.uplinks.contains(egress))
    {
        place.uplinks.retain(|uplink| uplink.name == *egress);
    }
    if matches!(traffic, Traffic::VenueIpv6 { .. } | Traffic::ForwardingIpv6) {
        place.uplinks.retain(|uplink| watch.ipv6_uplinks.contains(&uplink.name));
    }
    place
}

fn judge_at(watch: &FirewallWatch, place: &Place, ruleset: &foreign::Ruleset) -> Blockers {
    let mut found = Blockers::default();
    for uplink in &place.uplinks {
        let packets = packet::forwarded(place, uplink);
        let Some(blocker) = blocker(ruleset, place, Traffic::Forwarding, &packets) else {
            continue;
        };
        if watch.egress.as_ref().is_none_or(|egress| *egress == uplink.name) {
            found.egress.get_or_insert(blocker);
        } else {
            found.spare.push((uplink.name.clone(), blocker));
        }
    }
    // Of what is forwarded all is reported already where not even connections are.
    let logged = |traffic: &Traffic| *traffic == Traffic::Datagrams && found.egress.is_some();
    let promised: Vec<Traffic> =
        watch.traffic.iter().copied().filter(|traffic| !logged(traffic)).collect();
    for traffic in &promised {
        let place = &place_of(watch, place, *traffic);
        let drop = blocker(ruleset, place, *traffic, &packet::packets(place, *traffic));
        // A table that drops what is forwarded by IPv4 is reported already.
        let again = |drop: &Blocker| {
            *traffic == Traffic::ForwardingIpv6
                && found.egress.as_ref().is_some_and(|by| by.table == drop.table)
        };
        let drop = drop.filter(|drop| !again(drop));
        // Where it is dropped by IPv4 that says it all.
        let is_named = drop.is_some();
        found.traffic.extend(drop.map(|drop| (*traffic, drop)));
        let by_ipv6 = by_ipv6(*traffic).filter(|_| !is_named && !watch.ipv6_uplinks.is_empty());
        found.traffic.extend(by_ipv6.and_then(|by_ipv6| {
            let place = &place_of(watch, place, by_ipv6);
            let packets = packet::packets(place, by_ipv6);
            Some((by_ipv6, blocker(ruleset, place, by_ipv6, &packets)?))
        }));
    }
    found
}

/// Returns the traffic that is the same to its user, by IPv6.
const fn by_ipv6(traffic: Traffic) -> Option<Traffic> {
    match traffic {
        Traffic::Venue { protocol: ICMP, port } => {
            Some(Traffic::VenueIpv6 { protocol: ICMPV6, port })
        }
        Traffic::Venue { protocol, port } => Some(Traffic::VenueIpv6 { protocol, port }),
        _ => None,
    }
}

/// Holds a moment that is put off by each new reason, but not for ever.
#[derive(Debug, Clone, Copy, Default)]
struct Due {
    at: Option<Instant>,
    latest: Option<Instant>,
}

impl Due {
    fn put_off(&mut self) {
        let now = Instant::now();
        let latest = *self.latest.get_or_insert(now + PATIENCE);
        self.at = Some((now + QUIET).min(latest));
    }
}

struct Source {
    events: mpsc::Sender<Event>,
    requests: Socket,
    watcher: Watcher,
    watch: FirewallWatch,
    /// as last reported
    blockers: Blockers,
    counts: Option<Counts>,
    /// what was read of iptables' older interface, which does not notify of changes
    legacy: Vec<legacy::Listing>,
    /// as last reported
    dropped: Vec<Dropped>,
    /// what each of our rules had counted, as last reported
    rules: Vec<RuleCount>,
    /// of the counters, to follow closely upon one another
    readings: u8,
}

impl Source {
    async fn report(&self, event: Firewall) -> io::Result<()> {
        Ok(emit(&self.events, Event::Firewall(event)).await?)
    }

    /// Takes in a batch of messages; true if another table was changed.
    async fn heard(&mut self, batch: &[u8]) -> io::Result<bool> {
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

    /// Messages were lost: is our table still there, and ours? If the kernel does not guard it,
    /// that cannot be known.
    async fn lost(&mut self) -> io::Result<()> {
        self.watcher = Watcher::default();
        let port = self.watch.own_port;
        let guarded = foreign::owner(&mut self.requests, self.watch.table)
            .is_ok_and(|owner| owner == Some(port));
        if port != 0 && !guarded {
            self.report(Firewall::Disturbed { by: None }).await?;
        }
        Ok(())
    }

    /// Returns true if it matters for what blocks us.
    fn rewatch(&mut self, watch: FirewallWatch) -> bool {
        let before = std::mem::replace(&mut self.watch, watch);
        FirewallWatch { own_port: 0, ..before }
            != FirewallWatch { own_port: 0, ..self.watch.clone() }
    }

    /// Looks for chains of others that drop what is to get through; reports what is new.
    async fn look(&mut self) -> io::Result<()> {
        let ruleset = match self.watch.cluster_port {
            None => Ok(foreign::Ruleset::default()),
            Some(_) => foreign::read(&mut self.requests, self.watch.table),
        };
        // A listing that is refused says nothing; the next change asks again.
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

    /// Reads the counters and reports them if they moved. Returns when to read again.
    async fn count(&mut self) -> io::Result<Option<Instant>> {
        if self.watch.forwarded.is_empty() || self.watch.cluster_port.is_none() {
            self.counts = None;
            if !std::mem::take(&mut self.rules).is_empty() {
                self.report(Firewall::Rules([].into())).await?;
            }
            return Ok(None);
        }
        if legacy::read() != self.legacy {
            self.look().await?;
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
        let curious = self.readings > 0;
        self.readings = self.readings.saturating_sub(1);
        let suspicious =
            curious || self.blockers.egress.is_some() || counters::suspicious(before, counts);
        Ok(Some(if suspicious {
            Instant::now() + COUNTERS_SUSPICIOUS
        } else {
            next_aligned(COUNTERS)
        }))
    }
}
