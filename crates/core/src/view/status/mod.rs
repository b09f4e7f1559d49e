//! The content of the status socket. [`Snapshot`] and [`NodeStatus`] hold points in time; `at`
//! converts them, for a given time, to the line types in `bramblegate-api`.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use crate::api::Text;
use crate::api::status as api;

use super::panel::led;
use crate::config::{LcdBus, LedDevice, Settings, Share};
use crate::decide::Desired;
use crate::decide::alert::{Alert, Severity};
use crate::decide::clat::{ClatPlan, translation};
use crate::decide::dhcp::{self, Verdict};
use crate::decide::firewall::traffic;
use crate::decide::venue::VenueKind;
use crate::event::alert::Subject;
use crate::event::{
    Acquisition, Applied, ApplyErrorKind, Blocker, Head, Instant, Mac, NodeId, Output, Report,
    RuleCount, Traffic,
};
use crate::facts::Facts;
use crate::facts::node::{NodeHealth, NodeState, Origin};
use crate::facts::output::Outputs;
use crate::facts::uplink::{UplinkState, UplinkView};
use crate::panel::{self, Signal};

/// Everything except the nodes. Holds points in time instead of ages, so that an unchanged state is
/// an equal value.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    pub started: Instant,
    pub severity: Severity,
    pub alerts: Vec<api::Alert>,
    /// The active uplink.
    pub uplink: UplinkStatus,
    /// All existing uplinks, in the order of the settings.
    pub uplinks: Vec<UplinkStatus>,
    pub gateway: api::Gateway,
    /// Counters of the rules.
    pub rules: Arc<[RuleCount]>,
    pub cluster: api::Cluster,
    /// `None`: not read yet.
    pub host: Option<api::Host>,
    pub panel: api::Panel,
    pub shares: Vec<api::Share>,
    /// `None`: there is no status page.
    pub web: Option<api::Web>,
    /// The active uplink's venue.
    pub venue: Option<VenueKind>,
    pub clat: Option<api::Clat>,
    /// `None`: no shutdown of the nodes is in progress.
    pub shutdown: Option<api::Shutdown>,
}

impl Snapshot {
    /// Returns the line's value at `now`, without nodes.
    pub fn at(&self, now: Instant) -> api::Snapshot {
        api::Snapshot {
            version: env!("CARGO_PKG_VERSION").into(),
            uptime_s: seconds(self.started, now),
            severity: self.severity.into(),
            alerts: self.alerts.clone(),
            uplink: self.uplink.at(now),
            uplinks: self.uplinks.iter().map(|uplink| uplink.at(now)).collect(),
            gateway: self.gateway.clone(),
            rules: self.rules.iter().map(rule).collect(),
            cluster: self.cluster.clone(),
            host: self.host.clone(),
            panel: self.panel.clone(),
            shares: self.shares.clone(),
            web: self.web,
            venue: self.venue.map(Into::into),
            clat: self.clat.clone(),
            shutdown: self.shutdown.clone(),
            ..api::Snapshot::default()
        }
    }

    /// Returns whether anything except times and byte counts differs from `before`.
    pub fn is_news_after(&self, before: &Self) -> bool {
        self != before && !self.change_after(before, Instant::default()).is_empty()
    }

    /// Returns the parts that differ from `before` in more than times and byte counts, at `now`.
    pub fn change_after(&self, before: &Self, now: Instant) -> api::Change {
        let uplinks = || self.uplinks.iter().map(|uplink| uplink.at(now)).collect();
        let same_uplinks = self.uplinks.len() == before.uplinks.len()
            && self
                .uplinks
                .iter()
                .zip(&before.uplinks)
                .all(|(after, before)| after.is_same(before));
        api::Change {
            severity: (self.severity != before.severity).then(|| self.severity.into()),
            alerts: (self.alerts != before.alerts).then(|| self.alerts.clone()),
            uplink: (!self.uplink.is_same(&before.uplink)).then(|| self.uplink.at(now)),
            uplinks: (!same_uplinks).then(uplinks),
            gateway: (self.gateway != before.gateway).then(|| self.gateway.clone()),
            rules: (!is_same_rules(&self.rules, &before.rules))
                .then(|| self.rules.iter().map(rule).collect()),
            cluster: (self.cluster != before.cluster).then(|| self.cluster.clone()),
            host: (self.host != before.host).then(|| self.host.clone()),
            panel: (!is_same_panel(&self.panel, &before.panel)).then(|| self.panel.clone()),
            shares: (self.shares != before.shares).then(|| self.shares.clone()),
            web: (self.web != before.web).then_some(self.web),
            venue: (self.venue != before.venue).then(|| self.venue.map(Into::into)),
            clat: (self.clat != before.clat).then(|| self.clat.clone()),
            shutdown: (self.shutdown != before.shutdown).then(|| self.shutdown.clone()),
            ..api::Change::default()
        }
    }
}

/// Returns whether only the counts differ.
fn is_same_rules(after: &[RuleCount], before: &[RuleCount]) -> bool {
    after.len() == before.len()
        && after.iter().zip(before).all(|(after, before)| {
            (&after.chain, &after.purpose) == (&before.chain, &before.purpose)
        })
}

/// Returns whether only the bytes sent and their time differ.
fn is_same_panel(after: &api::Panel, before: &api::Panel) -> bool {
    let api::Lcd { bus_time_us: _, bytes: _, backlight, errors, lines, state } = &after.lcd;
    let earlier = &before.lcd;
    (backlight, errors, lines, state, &after.led)
        == (&earlier.backlight, &earlier.errors, &earlier.lines, &earlier.state, &before.led)
}

/// One uplink, with points in time instead of ages.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct UplinkStatus {
    /// Without ages.
    pub facts: api::Uplink,
    pub since: Option<Instant>,
    /// `None`: forever.
    pub valid_until: Option<Instant>,
    /// Since when the lease of `address`, or its prefix, has not been renewed; `None`: it is.
    pub not_renewed_since: Option<Instant>,
}

impl UplinkStatus {
    fn at(&self, now: Instant) -> api::Uplink {
        api::Uplink {
            since_s: self.since.map(|since| seconds(since, now)),
            lease_left_s: self.valid_until.map(|until| seconds(now, until)),
            not_renewed_s: self.not_renewed_since.map(|since| seconds(since, now)),
            ..self.facts.clone()
        }
    }

    /// Returns whether only times differ.
    fn is_same(&self, other: &Self) -> bool {
        self.facts == other.facts
            && self.not_renewed_since.is_some() == other.not_renewed_since.is_some()
    }
}

/// Returns the whole seconds between two points in time.
fn seconds(from: Instant, to: Instant) -> u64 {
    to.saturating_since(from).as_secs()
}

/// One node.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeStatus {
    /// Identifies the node across snapshots; not sent.
    pub id: NodeId,
    pub name: String,
    pub mac: Option<Mac>,
    pub address: Option<IpAddr>,
    /// Addresses that it assigned itself.
    pub ipv6: Vec<Ipv6Addr>,
    pub health: NodeHealth,
    /// While booting: the file that it loaded last.
    pub stage: Option<Box<str>>,
    pub rtt: Option<Duration>,
    /// See [`NodeState::loss_percent`].
    pub loss_percent: Option<u8>,
    pub since: Instant,
    pub origin: Origin,
    /// Its group's name.
    pub group: Option<String>,
}

impl NodeStatus {
    /// Returns whether `other` is worth a line after this: more than the round trip and the time
    /// differs.
    pub fn is_reported_by(&self, other: &Self) -> bool {
        self.without_round_trip() == other.without_round_trip()
    }

    /// Returns the fields whose change is worth a line.
    fn without_round_trip(&self) -> impl PartialEq + '_ {
        let names = (&self.name, &self.group, &self.stage, &self.ipv6);
        (names, self.mac, self.address, self.health, self.origin)
    }

    /// Returns the line's value at `now`.
    pub fn at(&self, now: Instant) -> api::Node {
        api::Node {
            name: (&self.name).into(),
            mac: self.mac.map(|mac| mac.to_string().into()),
            address: self.address,
            addresses: self
                .address
                .into_iter()
                .chain(self.ipv6.iter().copied().map(IpAddr::V6))
                .collect(),
            health: self.health.into(),
            stage: self.stage.as_deref().map(Text::from),
            rtt_us: self.rtt.map(|rtt| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX)),
            loss_percent: self.loss_percent,
            since_s: seconds(self.since, now),
            origin: self.origin.into(),
            group: self.group.as_ref().map(Text::from),
        }
    }
}

/// Returns the status without the nodes.
pub fn snapshot(settings: &Settings, facts: &Facts, desired: &Desired) -> Snapshot {
    Snapshot {
        started: facts.started(),
        severity: desired.severity,
        alerts: desired.alerts.iter().map(alert).collect(),
        uplink: facts.active().map_or_else(no_uplink, |view| uplink(&view, desired)),
        uplinks: facts.uplinks().iter().map(|view| uplink(view, desired)).collect(),
        gateway: gateway(facts, desired),
        rules: Arc::clone(&facts.firewall().rules),
        cluster: api::Cluster {
            interface: facts.cluster_port().map(|link| (&link.name).into()),
            address: Some(desired.cluster_address),
            ipv6: desired.cluster_ipv6.map(|address| api::ClusterIpv6 {
                address: Some(address.into()),
                prefix: Some(address.trunc().into()),
                delegated: desired.cluster_delegated.map(|address| address.trunc().into()),
                state: dhcp(settings, facts).into(),
            }),
            dhcp: dhcp(settings, facts).into(),
            leases: facts.nodes().leases(),
            range_size: settings.cluster.dhcp.as_ref().map(|dhcp| dhcp.size()),
            up: facts.nodes().count(NodeHealth::Up),
            total: facts.nodes().total(),
        },
        host: facts.vitals().head.as_ref().map(host),
        panel: api::Panel { lcd: lcd(settings, facts), led: led(settings, facts, desired) },
        shares: settings.shares.iter().map(|settings| share(settings, facts)).collect(),
        web: facts.web_port().map(|port| api::Web { port }),
        venue: facts.active().and_then(|active| {
            let index = active.link.index;
            desired.venues.iter().find(|venue| venue.index == index).map(|venue| venue.kind)
        }),
        clat: clat(facts, desired),
        shutdown: facts.shutdown().map(shutdown),
    }
}

fn shutdown(report: &Report) -> api::Shutdown {
    api::Shutdown {
        head: report.head,
        left_s: report.left_s,
        waiting: report.waiting.iter().map(Into::into).collect(),
        waiting_total: report.waiting_total,
    }
}

/// Returns the status of a share.
fn share(share: &Share, facts: &Facts) -> api::Share {
    let (shares, disk) = (facts.shares(), facts.shares().disk(&share.path));
    let clients = shares.seen.iter().flat_map(|seen| &seen.clients);
    let called = |address: &Ipv4Addr| {
        let node = facts.nodes().by_address(IpAddr::V4(*address));
        node.map_or_else(|| address.to_string(), |node| node.name.clone()).into()
    };
    api::Share {
        access: share.access.word().into(),
        clients: clients.map(called).collect(),
        errors: disk.map(|disk| disk.errors),
        exported: shares.is_exported(&share.path),
        free_percent: disk.and_then(|disk| disk.free),
        mounted: disk.is_some(),
        name: (&share.name).into(),
        path: share.path.display().to_string().into(),
        read_only: disk.map(|disk| disk.read_only),
    }
}

fn clat(facts: &Facts, desired: &Desired) -> Option<api::Clat> {
    let plan = desired.gateway.as_ref().map_or(&ClatPlan::Off, |gateway| &gateway.clat);
    let found = translation(facts, plan)?;
    let (by, prefix) = (found.by.into(), found.prefix.map(Text::from));
    Some(api::Clat { by, prefix, state: found.state.into() })
}

/// Returns the status of one node; `None` if there is none with this name.
pub fn node(facts: &Facts, name: &str) -> Option<NodeStatus> {
    facts.nodes().by_name(name).map(|node| node_status(facts, node))
}

/// Returns the status of all nodes, in their order.
pub fn nodes(facts: &Facts) -> Vec<NodeStatus> {
    facts.nodes().iter().map(|node| node_status(facts, node)).collect()
}

/// Returns the status of one node.
fn node_status(facts: &Facts, node: &NodeState) -> NodeStatus {
    NodeStatus {
        id: node.id,
        name: node.name.clone(),
        mac: node.mac,
        address: node.address,
        ipv6: node.mac.into_iter().flat_map(|mac| facts.nodes().ipv6_of(mac)).collect(),
        health: node.health,
        stage: node.stage().map(Into::into),
        rtt: node.rtt,
        loss_percent: node.loss_percent(),
        since: node.since,
        origin: node.origin,
        group: node
            .group
            .and_then(|group| facts.settings().groups.get(group))
            .map(|group| group.name.clone()),
    }
}

/// Returns the status of an alert.
fn alert(alert: &Alert) -> api::Alert {
    api::Alert {
        acknowledged: alert.acknowledged,
        code: alert.code.name().into(),
        severity: alert.severity.into(),
        subject: (alert.subject != Subject::Whole).then(|| alert.subject.to_string().into()),
        text: (&alert.text).into(),
    }
}

/// Returns the status of an uplink.
fn uplink(view: &UplinkView<'_>, desired: &Desired) -> UplinkStatus {
    let venue = desired.venues.iter().find(|venue| venue.index == view.link.index);
    // Without a carrier no one can use the addresses, so they are not shown.
    let addresses = if view.link.carrier { view.addresses.clone() } else { Vec::new() };
    UplinkStatus {
        facts: api::Uplink {
            state: view.state.into(),
            interface: Some((&view.link.name).into()),
            address: view.address,
            // A route that outlives its carrier leads nowhere.
            gateway: view.gateway.filter(|_| view.address.is_some()),
            addresses: Some(addresses),
            dhcp: view.acquisition.map(|acquisition| progress(acquisition).into()),
            portal_url: view.portal_url.map(|url| url.as_str().into()),
            nat64_prefix: venue
                .and_then(|venue| venue.nat64)
                .map(|prefix| prefix.to_string().into()),
            venue: venue.map(|venue| venue.kind.into()),
            venue_reasons: venue.map(|venue| venue.reasons.iter().map(Text::from).collect()),
            ..api::Uplink::default()
        },
        since: Some(view.since),
        valid_until: view.valid_until,
        not_renewed_since: view.not_renewed.map(|(_, since)| since),
    }
}

/// Returns the status of an uplink that does not exist.
fn no_uplink() -> UplinkStatus {
    let facts = api::Uplink { state: UplinkState::Absent.into(), ..api::Uplink::default() };
    UplinkStatus { facts, ..UplinkStatus::default() }
}

/// Returns the status of a rule's counter.
fn rule(count: &RuleCount) -> api::Rule {
    api::Rule {
        bytes: count.bytes,
        chain: (&count.chain).into(),
        packets: count.packets,
        rule: (&count.purpose).into(),
    }
}

/// Returns the progress of a DHCP client.
const fn progress(acquisition: Acquisition) -> api::DhcpProgress {
    match acquisition {
        Acquisition::NoClient => api::DhcpProgress::NoClient,
        Acquisition::Waiting => api::DhcpProgress::Waiting,
        Acquisition::Unanswered => api::DhcpProgress::Unanswered,
        Acquisition::Offered { .. } => api::DhcpProgress::Offered,
        Acquisition::Ipv6Only { .. } => api::DhcpProgress::Ipv6Only,
        Acquisition::Refused { .. } => api::DhcpProgress::Refused,
        Acquisition::Declined => api::DhcpProgress::Declined,
    }
}

/// Returns the status of DHCP for the nodes.
fn dhcp(settings: &Settings, facts: &Facts) -> api::DhcpStatus {
    if settings.cluster.dhcp.is_none() {
        return api::DhcpStatus::Off;
    }
    match dhcp::verdict(settings, facts) {
        Verdict::Off => api::DhcpStatus::Off,
        Verdict::Waiting => api::DhcpStatus::Waiting,
        Verdict::Refused => api::DhcpStatus::RefusedForeignServer,
        Verdict::Serve if facts.outputs().error(Output::Dnsmasq).is_some() => {
            api::DhcpStatus::Failed
        }
        Verdict::Serve if facts.outputs().serves() => api::DhcpStatus::Serving,
        Verdict::Serve => api::DhcpStatus::Waiting,
    }
}

/// Returns the status of the head's vitals.
fn host(head: &Head) -> api::Host {
    api::Host {
        clock_set: head.clock_set,
        disk_free_percent: head.disk,
        inodes_free_percent: head.inodes,
        load: head.load.map(|load| f64::from(load) / 100.0),
        memory_available_percent: head.memory,
        pressure_percent: head.pressure,
        read_only: head.read_only,
        temperature_c: head.temperature,
        throttled: head.throttled,
        under_voltage: head.under_voltage,
    }
}

/// Returns the status of the gateway.
fn gateway(facts: &Facts, desired: &Desired) -> api::Gateway {
    let outputs = facts.outputs();
    let masquerade = match (outputs.held(Output::Firewall), outputs.error(Output::Firewall)) {
        _ if desired.gateway.is_none() => Some(false),
        (_, Some(_)) => None,
        (Some(Applied::Firewall { masquerade, .. }), None) => Some(*masquerade),
        _ => Some(false),
    };
    let firewall = facts.firewall();
    let swallowed = Blocker {
        table: None,
        chain: None,
        remedy: "sudo iptables-legacy -S FORWARD shows rules that nftables cannot see".to_owned(),
    };
    let vital = |(what, _): &&(Traffic, Blocker)| traffic::is_vital(*what);
    let promised = firewall.traffic.iter().find(vital).or_else(|| firewall.traffic.first());
    let blocked_by =
        firewall.blocker().cloned().or_else(|| firewall.swallowed.then_some(swallowed));
    let blocked_by = blocked_by.or_else(|| promised.map(|(_, blocker)| blocker.clone()));
    api::Gateway {
        // If nodes get no IPv6, the rules block it.
        ipv6_forwarding: masquerade
            .filter(|loaded| *loaded)
            .map(|_| desired.cluster_ipv6.is_some()),
        forwarding: facts.links().is_forwarding_by_all(),
        masquerade,
        applied: outputs.applied,
        repaired: firewall.repaired,
        overlap: desired.overlap.into(),
        blocked_by: blocked_by.filter(|_| desired.gateway.is_some()).map(|by| api::Blocker {
            chain: by.chain.map(Text::from),
            remedy: by.remedy.into(),
            table: by.table.map(Text::from),
        }),
    }
}

/// Returns the state of a panel device by its last report. It counts as absent until the first.
fn device(outputs: &Outputs, output: Output, switched_off: bool) -> api::DeviceState {
    match outputs.error(output).map(|error| error.kind) {
        _ if switched_off => api::DeviceState::Off,
        None if outputs.held(output).is_some() => api::DeviceState::Ok,
        None | Some(ApplyErrorKind::Absent | ApplyErrorKind::Waiting) => api::DeviceState::Absent,
        Some(ApplyErrorKind::Off) => api::DeviceState::Off,
        Some(
            ApplyErrorKind::Failed
            | ApplyErrorKind::Unsupported
            | ApplyErrorKind::Denied
            | ApplyErrorKind::Held,
        ) => api::DeviceState::Error,
    }
}

/// Returns the state and content of the display.
fn lcd(settings: &Settings, facts: &Facts) -> api::Lcd {
    let (outputs, errors) = (facts.outputs(), facts.vitals().display_errors);
    let facts = device(outputs, Output::Display, settings.lcd.bus == LcdBus::Off);
    let is_ok = facts == api::DeviceState::Ok;
    let (lines, lit, bytes, bus_time) = match outputs.held(Output::Display) {
        Some(Applied::Display { lines, bytes, bus_time, lit, .. }) => {
            (Some(lines.iter().map(Text::from).collect()), Some(*lit), *bytes, *bus_time)
        }
        _ => (None, None, 0, Duration::ZERO),
    };
    api::Lcd {
        state: facts.into(),
        lines: lines.filter(|_| is_ok),
        backlight: lit.filter(|_| is_ok),
        bus_time_us: u64::try_from(bus_time.as_micros()).unwrap_or(u64::MAX),
        bytes,
        errors,
    }
}

/// Returns the state and signal of the LED.
fn led(settings: &Settings, facts: &Facts, desired: &Desired) -> api::Led {
    let device = device(facts.outputs(), Output::Indicator, settings.led.device == LedDevice::Off);
    let signals = match facts.outputs().held(Output::Indicator) {
        Some(Applied::Indicator { leds, .. }) if device == api::DeviceState::Ok => {
            let driven = usize::from(*leds).max(1);
            Some(led::lights(facts, desired).iter().take(driven).map(signal).collect::<Vec<_>>())
        }
        _ => None,
    };
    let first = signals.as_ref().and_then(|signals| signals.first());
    api::Led {
        state: device.into(),
        colour: first.map(|signal| signal.colour.clone()),
        pattern: first.map(|signal| signal.pattern.clone()),
        leds: signals,
    }
}

/// Returns the status of a signal.
fn signal(signal: &Signal) -> api::Signal {
    let pattern = match signal.pattern {
        panel::Pattern::Off => api::Pattern::Off,
        panel::Pattern::Steady => api::Pattern::Steady,
        panel::Pattern::Breathe => api::Pattern::Breathe,
        panel::Pattern::QuickBreathe => api::Pattern::QuickBreathe,
        panel::Pattern::DoubleBlink => api::Pattern::DoubleBlink,
        panel::Pattern::FastBlink => api::Pattern::FastBlink,
    };
    api::Signal { colour: signal.colour.to_string().into(), pattern: pattern.into() }
}
