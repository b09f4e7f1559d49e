//! The state as metrics for Prometheus: text format 0.0.4 or OpenMetrics 1.0, as the client
//! prefers.
//!
//! Names and units follow Prometheus' conventions: base units, `_total` for counters, `_info` for
//! labels alone. A state is one series per value, 0 or 1, so that rules need no numbers. Every
//! series appears once, since Prometheus silently drops duplicates.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::fmt::{self, Write};
use std::hash::Hash;
use std::sync::Arc;

use bramblegate_api::client::Known;
use bramblegate_api::status::{
    DeviceState, DhcpStatus, NodeHealth, Rule, Severity, Share, Snapshot, Uplink,
};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, EncodeLabelValue,
    EncodeMetric, LabelValueEncoder,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::changes::HealthChanges;
use crate::process::Process;
use crate::traffic::{self, Traffic};

/// Media types of the two formats, as Prometheus asks for them.
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
pub const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Returns the metrics, with series of each node up to `nodes_max` nodes, above that of groups
/// only.
///
/// # Errors
/// Never, since writing into memory does not fail.
pub fn encode(
    known: &Known,
    changes: &Arc<HealthChanges>,
    nodes_max: usize,
    openmetrics: bool,
) -> Result<String, fmt::Error> {
    let traffic = known.snapshot.as_deref().map(traffic::of_uplinks).unwrap_or_default();
    let scrape = Scrape {
        snapshot: known.snapshot.clone(),
        lost: known.lost.is_some() || known.snapshot.is_none(),
        traffic,
        process: Process::now(),
        changes: Arc::clone(changes),
        nodes_max,
    };
    let mut registry = Registry::default();
    registry.register_collector(Box::new(scrape));
    let mut text = String::new();
    if openmetrics {
        prometheus_client::encoding::text::encode(&mut text, &registry)?;
    } else {
        prometheus_client::encoding::prometheus_text::encode(&mut text, &registry)?;
    }
    Ok(text)
}

/// Returns whether `Accept` lists OpenMetrics before text, as Prometheus does.
pub fn wants_openmetrics(accept: &str) -> bool {
    match (accept.find("application/openmetrics-text"), accept.find("text/plain")) {
        (Some(open), Some(plain)) => open < plain,
        (open, _) => open.is_some(),
    }
}

/// The content of one answer.
#[derive(Debug)]
struct Scrape {
    snapshot: Option<Arc<Snapshot>>,
    lost: bool,
    traffic: Vec<(String, Traffic)>,
    process: Process,
    changes: Arc<HealthChanges>,
    nodes_max: usize,
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out(encoder);
        let up = u64::from(!self.lost);
        out.gauge("up", "Whether the gateway daemon answers.", unlabelled(Some(up)))?;
        process(&mut out, &self.process)?;
        // Stale values are not exported: the series end, which rules can detect.
        let Some(snapshot) = self.snapshot.as_deref().filter(|_| !self.lost) else {
            return Ok(());
        };
        daemon(&mut out, snapshot)?;
        uplinks(&mut out, snapshot)?;
        traffic(&mut out, &self.traffic)?;
        gateway(&mut out, snapshot)?;
        rules(&mut out, snapshot)?;
        cluster(&mut out, snapshot)?;
        host(&mut out, snapshot)?;
        panel(&mut out, snapshot)?;
        shares(&mut out, snapshot)?;
        groups(&mut out, snapshot, &self.changes)?;
        if snapshot.nodes.len() <= self.nodes_max {
            nodes(&mut out, snapshot, &self.changes)?;
        }
        Ok(())
    }
}

/// Writes families of series.
struct Out<'a>(DescriptorEncoder<'a>);

impl Out<'_> {
    /// Writes a family of gauges; `name` is without the prefix `bramblegate_`.
    fn gauge<S: EncodeLabelSet, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (S, V)>,
    ) -> fmt::Result {
        let series = series.into_iter().map(|(s, v)| (s, ConstGauge::new(v)));
        self.family(&format!("bramblegate_{name}"), help, MetricType::Gauge, series)
    }

    /// Writes a family of counters; the format adds `_total`.
    fn counter<S: EncodeLabelSet, V: EncodeCounterValue>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (S, V)>,
    ) -> fmt::Result {
        let series = series.into_iter().map(|(s, v)| (s, ConstCounter::new(v)));
        self.family(&format!("bramblegate_{name}"), help, MetricType::Counter, series)
    }

    /// Writes a family; the series must have different labels ([`distinct`]).
    fn family<S: EncodeLabelSet, M: EncodeMetric>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        series: impl IntoIterator<Item = (S, M)>,
    ) -> fmt::Result {
        let mut series = series.into_iter().peekable();
        if series.peek().is_none() {
            return Ok(());
        }
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, metric) in series {
            metric.encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// Returns the items with different labels; of several with equal ones, the first.
fn distinct<'a, T, K: Eq + Hash>(all: &'a [T], label: impl Fn(&'a T) -> K) -> Vec<&'a T> {
    let mut labels = HashSet::with_capacity(all.len());
    all.iter().filter(|item| labels.insert(label(item))).collect()
}

/// A label's value, written by its `Display`.
struct Shown<'a>(&'a dyn fmt::Display);

impl EncodeLabelValue for Shown<'_> {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        write!(encoder, "{}", self.0)
    }
}

impl<'a> Shown<'a> {
    /// Returns a label's value, empty for `None`.
    fn or_empty(value: Option<&'a impl fmt::Display>) -> Self {
        value.map_or(Self(&""), |value| Self(value))
    }
}

/// No labels.
type NoLabels = [(&'static str, &'static str); 0];

/// Returns the single series of a family without labels; none without a value.
fn unlabelled<V>(value: Option<V>) -> Option<(NoLabels, V)> {
    value.map(|value| ([], value))
}

/// Writes the standard metrics of this process
/// (<https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>).
fn process(out: &mut Out<'_>, process: &Process) -> fmt::Result {
    let cpu = unlabelled(process.cpu_seconds.map(ConstCounter::new));
    let help = "CPU time that the status page's process has used.";
    out.family("process_cpu_seconds", help, MetricType::Counter, cpu)?;
    for (name, help, value) in [
        ("process_resident_memory_bytes", "Resident memory of it.", process.resident_bytes),
        ("process_virtual_memory_bytes", "Virtual memory of it.", process.virtual_bytes),
        ("process_start_time_seconds", "When it started, Unix time.", process.started),
        ("process_open_fds", "File descriptors that it has open.", process.open_fds),
        ("process_max_fds", "File descriptors that it may have open.", process.max_fds),
    ] {
        out.family(name, help, MetricType::Gauge, unlabelled(value.map(ConstGauge::new)))?;
    }
    Ok(())
}

fn daemon(out: &mut Out<'_>, snapshot: &Snapshot) -> fmt::Result {
    let info = [([("version", &*snapshot.version)], 1_u64)];
    out.gauge("build_info", "Version of the gateway daemon.", info)?;
    let uptime = unlabelled(Some(snapshot.uptime_s));
    out.gauge("uptime_seconds", "Time since the gateway daemon started.", uptime)?;
    let level = Severity::ALL.into_iter().position(|severity| snapshot.severity == severity);
    // A severity that a newer daemon has added has no number here: export none.
    let severity = unlabelled(level.map(|level| level as f64));
    out.gauge("severity", "0 ok, 1 notice, 2 warning, 3 fault: what the LED shows.", severity)?;
    let alerts = distinct(&snapshot.alerts, |alert| {
        let subject = alert.subject.as_deref().unwrap_or_default();
        (&alert.code, subject, &alert.severity, alert.acknowledged)
    });
    let alerts = alerts.into_iter().map(|alert| {
        let labels = [
            ("code", Shown(&alert.code)),
            ("subject", Shown::or_empty(alert.subject.as_ref())),
            ("severity", Shown(&alert.severity)),
            ("acknowledged", Shown(&alert.acknowledged)),
        ];
        (labels, 1_u64)
    });
    out.gauge("alert", "1 while the alert stands.", alerts)
}

fn uplinks<'a>(out: &mut Out<'_>, snapshot: &'a Snapshot) -> fmt::Result {
    let name = |uplink: &'a Uplink| uplink.interface.as_deref().unwrap_or_default();
    let uplinks = distinct(&snapshot.uplinks, name);
    let info = uplinks.iter().map(|uplink| {
        let labels = [
            ("interface", Shown::or_empty(uplink.interface.as_ref())),
            ("address", Shown::or_empty(uplink.address.as_ref())),
            ("state", Shown(&uplink.state)),
            ("venue", Shown::or_empty(uplink.venue.as_ref())),
        ];
        (labels, 1_u64)
    });
    out.gauge("uplink_info", "What each uplink is like.", info)?;
    let active = uplinks.iter().map(|uplink| {
        let active = uplink.interface == snapshot.uplink.interface;
        ([("interface", name(uplink))], u64::from(active))
    });
    out.gauge("uplink_active", "Whether the uplink carries the traffic.", active)?;
    let leases = uplinks
        .iter()
        .filter_map(|uplink| Some(([("interface", name(uplink))], uplink.lease_left_s?)));
    out.gauge("uplink_lease_remaining_seconds", "Time that the address is valid for.", leases)?;
    let late = uplinks
        .iter()
        .filter_map(|uplink| Some(([("interface", name(uplink))], uplink.not_renewed_s?)));
    out.gauge("uplink_lease_overdue_seconds", "Time for which a lease has not been renewed.", late)
}

fn traffic(out: &mut Out<'_>, traffic: &[(String, Traffic)]) -> fmt::Result {
    let traffic = distinct(traffic, |(name, _)| name);
    let received = traffic.iter().map(|(name, traffic)| ([("interface", name)], traffic.received));
    out.counter("uplink_receive_bytes", "Bytes that the uplink's interface received.", received)?;
    let sent = traffic.iter().map(|(name, traffic)| ([("interface", name)], traffic.sent));
    out.counter("uplink_transmit_bytes", "Bytes that the uplink's interface sent.", sent)?;
    let count = unlabelled(traffic::conntrack("count"));
    out.gauge("conntrack_entries", "Connections that the kernel tracks.", count)?;
    let max = unlabelled(traffic::conntrack("max"));
    out.gauge("conntrack_entries_limit", "Connections that the kernel can track.", max)
}

fn gateway(out: &mut Out<'_>, snapshot: &Snapshot) -> fmt::Result {
    let gateway = &snapshot.gateway;
    let flag = |flag: Option<bool>| unlabelled(flag.map(u64::from));
    let forwarding = flag(Some(gateway.forwarding));
    out.gauge("gateway_forwarding", "Whether the kernel forwards.", forwarding)?;
    let masquerade = flag(gateway.masquerade);
    out.gauge("gateway_masquerade", "Whether NAT is in the kernel.", masquerade)?;
    let blocked = flag(Some(gateway.blocked_by.is_some()));
    out.gauge("gateway_blocked", "Whether another program drops the nodes' traffic.", blocked)?;
    let applied = unlabelled(Some(gateway.applied));
    out.counter("gateway_applied", "Times the rule set was applied.", applied)?;
    let repaired = unlabelled(Some(gateway.repaired));
    out.counter("gateway_repaired", "Times a change by others was repaired.", repaired)
}

/// Writes the counters of each rule, which the daemon reads once a minute.
fn rules<'a>(out: &mut Out<'_>, snapshot: &'a Snapshot) -> fmt::Result {
    let rules = distinct(&snapshot.rules, |rule| (&rule.chain, &rule.rule));
    let label = |rule: &'a Rule| [("chain", &*rule.chain), ("rule", &*rule.rule)];
    let packets = rules.iter().map(|rule| (label(rule), rule.packets));
    out.counter("rule_packets", "Packets that rules of the gateway's have matched.", packets)?;
    let bytes = rules.iter().map(|rule| (label(rule), rule.bytes));
    out.counter("rule_bytes", "Bytes that rules of the gateway's have matched.", bytes)
}

fn cluster(out: &mut Out<'_>, snapshot: &Snapshot) -> fmt::Result {
    let cluster = &snapshot.cluster;
    let state =
        DhcpStatus::ALL.map(|state| ([("state", state.name())], u64::from(cluster.dhcp == state)));
    out.gauge("dhcp_state", "1 for how the nodes are served addresses.", state)?;
    let leases = unlabelled(Some(as_u64(cluster.leases)));
    out.gauge("dhcp_leases", "Addresses that are leased now.", leases)?;
    let size = unlabelled(cluster.range_size.map(as_u64));
    out.gauge("dhcp_range_addresses", "Addresses that the range of the settings has.", size)
}

fn as_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn host(out: &mut Out<'_>, snapshot: &Snapshot) -> fmt::Result {
    let Some(host) = &snapshot.host else { return Ok(()) };
    let ratio = |percent: Option<u8>| percent.map(|percent| f64::from(percent) / 100.0);
    let flag = |flag: Option<bool>| flag.map(|flag| f64::from(u8::from(flag)));
    let celsius = host.temperature_c.map(f64::from);
    let memory = ratio(host.memory_available_percent);
    let (disk, inodes) = (ratio(host.disk_free_percent), ratio(host.inodes_free_percent));
    for (name, help, value) in [
        ("host_temperature_celsius", "Hottest thermal zone of the head.", celsius),
        ("host_load1", "Load of one minute.", host.load),
        ("host_memory_available_ratio", "Memory that is available.", memory),
        ("host_disk_free_ratio", "Free space of the root file system.", disk),
        ("host_inodes_free_ratio", "Free inodes of the root file system.", inodes),
        ("host_under_voltage", "Whether the supply sags.", flag(host.under_voltage)),
        ("host_throttled", "Whether the firmware slows the processor.", flag(host.throttled)),
        ("host_read_only", "Whether the root file system is read-only.", flag(host.read_only)),
        ("host_clock_set", "Whether the clock has been set.", flag(host.clock_set)),
    ] {
        out.gauge(name, help, unlabelled(value))?;
    }
    Ok(())
}

fn panel(out: &mut Out<'_>, snapshot: &Snapshot) -> fmt::Result {
    let devices = [("lcd", &snapshot.panel.lcd.state), ("led", &snapshot.panel.led.state)];
    let states = devices.into_iter().flat_map(|(device, held)| {
        DeviceState::ALL
            .map(|state| ([("device", device), ("state", state.name())], u64::from(*held == state)))
    });
    out.gauge("panel_state", "1 for the state of display and LED.", states)?;
    let lcd = &snapshot.panel.lcd;
    let bytes = unlabelled(Some(lcd.bytes));
    out.counter("lcd_sent_bytes", "Bytes sent to the display.", bytes)?;
    let seconds = unlabelled(Some(lcd.bus_time_us as f64 / 1e6));
    out.counter("lcd_bus_seconds", "Time that writing to the display took.", seconds)?;
    out.counter("lcd_errors", "Failed transfers to the display.", unlabelled(Some(lcd.errors)))
}

fn shares<'a>(out: &mut Out<'_>, snapshot: &'a Snapshot) -> fmt::Result {
    let shares = distinct(&snapshot.shares, |share| &share.name);
    let name = |share: &'a Share| [("share", &*share.name)];
    let info = shares.iter().map(|share| {
        let labels = [
            ("share", Shown(&share.name)),
            ("path", Shown(&share.path)),
            ("access", Shown(&share.access)),
        ];
        (labels, 1_u64)
    });
    out.gauge("share_info", "Which disks of the head the nodes may use.", info)?;
    let mounted = shares.iter().map(|share| (name(share), u64::from(share.mounted)));
    out.gauge("share_mounted", "Whether the disk of the share is there.", mounted)?;
    let exported = shares.iter().map(|share| (name(share), u64::from(share.exported)));
    out.gauge("share_exported", "Whether the NFS server gives it to the nodes.", exported)?;
    let read_only =
        shares.iter().filter_map(|share| Some((name(share), u64::from(share.read_only?))));
    out.gauge("share_read_only", "Whether its file system is read-only.", read_only)?;
    let free = shares
        .iter()
        .filter_map(|share| Some((name(share), f64::from(share.free_percent?) / 100.0)));
    out.gauge("share_free_ratio", "Free space of its file system, to ordinary users.", free)?;
    let errors = shares.iter().filter_map(|share| Some((name(share), share.errors?)));
    out.counter("share_errors", "Errors of its file system and of its device.", errors)?;
    let clients = shares.iter().map(|share| (name(share), as_u64(share.clients.len())));
    out.gauge("share_clients", "Nodes that are connected to the NFS server now.", clients)
}

/// Counts of nodes by their health, in the order of [`NodeHealth::ALL`].
type Counts = [u64; NodeHealth::ALL.len()];

fn groups(out: &mut Out<'_>, snapshot: &Snapshot, changes: &HealthChanges) -> fmt::Result {
    let mut groups: BTreeMap<&str, Counts> = BTreeMap::new();
    for node in &snapshot.nodes {
        let counts = groups.entry(node.group.as_deref().unwrap_or_default()).or_default();
        for (health, count) in NodeHealth::ALL.iter().zip(counts) {
            *count += u64::from(node.health == *health);
        }
    }
    let healths = NodeHealth::ALL.iter().enumerate().map(|(place, health)| {
        let count = groups.values().filter_map(|counts| counts.get(place)).sum::<u64>();
        ([("health", health.name())], count)
    });
    out.gauge("nodes", "Nodes by health.", healths)?;
    let series = groups.iter().flat_map(|(group, counts)| {
        let label = move |health: &NodeHealth| [("group", *group), ("health", health.name())];
        NodeHealth::ALL.iter().zip(counts).map(move |(health, count)| (label(health), *count))
    });
    out.gauge("group_nodes", "Nodes of each group by health.", series)?;
    let series = groups.keys().map(|name| ([("group", *name)], changes.of_group(name)));
    let help = "Changes of health of the nodes of each group since the page's server started.";
    out.counter("group_health_changes", help, series)
}

fn nodes(out: &mut Out<'_>, snapshot: &Snapshot, changes: &HealthChanges) -> fmt::Result {
    let nodes = distinct(&snapshot.nodes, |node| &node.name);
    let up = nodes
        .iter()
        .map(|node| ([("node", &*node.name)], u64::from(node.health == NodeHealth::Up)));
    out.gauge("node_up", "Whether the node is up.", up)?;
    let info = nodes.iter().map(|node| {
        let labels = [
            ("node", Shown(&node.name)),
            ("address", Shown::or_empty(node.reached_at())),
            ("mac", Shown::or_empty(node.mac.as_ref())),
            ("group", Shown::or_empty(node.group.as_ref())),
            ("health", Shown(&node.health)),
            ("origin", Shown(&node.origin)),
        ];
        (labels, 1_u64)
    });
    out.gauge("node_info", "What is known of the node.", info)?;
    let trips = nodes.iter().filter_map(|node| {
        // A u32 of microseconds, over an hour, is exact in a double.
        let seconds = u32::try_from(node.rtt_us?).map_or(f64::INFINITY, f64::from) / 1e6;
        Some(([("node", &*node.name)], seconds))
    });
    out.gauge("node_rtt_seconds", "Smoothed round trip of the probes.", trips)?;
    let losses = nodes
        .iter()
        .filter_map(|node| Some(([("node", &*node.name)], f64::from(node.loss_percent?) / 100.0)));
    out.gauge("node_loss_ratio", "Share of the last 64 probes that was lost.", losses)?;
    let ages = nodes.iter().map(|node| ([("node", &*node.name)], node.since_s));
    out.gauge("node_health_age_seconds", "Time since the node's health changed.", ages)?;
    let counts = nodes.iter().map(|node| ([("node", &*node.name)], changes.of_node(&node.name)));
    let help = "Changes of the node's health since the page's server started.";
    out.counter("node_health_changes", help, counts)
}
