//! The logbook: from changes of fact to journal records, one for each; none for what only went on
//! as it was.

mod inventory;
mod kinds;
mod service;
#[cfg(test)]
mod tests;

pub use kinds::{Kind, Priority, catalog};

use std::time::Duration;

use crate::decide::Desired;
use crate::decide::alert::Alert;
use crate::decide::alert::uplink::no_dhcp;
use crate::event::alert::Journal;
use crate::event::{ApplyError, Output, Reachability, Stop, in_words};
use crate::facts::node::{NodeHealth, Trouble};
use crate::facts::uplink::UplinkState;
use crate::facts::{State, Transition};

/// So many of the alerts that somebody acknowledged are named.
const KNOWN_LISTED: usize = 16;

/// One entry of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub kind: Kind,
    pub priority: Priority,
    /// one line for people, but for [`Kind::RulesAbout`]
    pub message: String,
    /// beyond `MESSAGE`, `MESSAGE_ID` and `PRIORITY`
    pub fields: Vec<(&'static str, String)>,
}

impl Record {
    fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            priority: kind.priority(),
            message: in_words(&message.into()),
            fields: Vec::new(),
        }
    }

    fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.fields.push((name, value.to_string()));
        self
    }

    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    fn at(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }
}

/// What to write when `transitions` have led from `before` to `after`. `before` is `None` the first
/// time.
pub fn records(
    transitions: &[Transition],
    before: Option<&Desired>,
    after: &Desired,
    state: &State,
) -> Vec<Record> {
    let mut reported = Vec::new();
    if before.is_none() {
        reported.push(started(after));
    }
    reported.extend(about_to_apply(before, after));
    reported.extend(transitions.iter().filter_map(|transition| record(transition, state)));
    reported.iter_mut().for_each(|record| complete(record, state));
    if let Some(before) = before.filter(|before| before.cluster_address != after.cluster_address) {
        let moved =
            Transition::ClusterMoved { from: before.cluster_address, to: after.cluster_address };
        if !transitions.contains(&moved) {
            reported.extend(record(&moved, state));
        }
    }
    reported.extend(alerts(before.map_or(&[], |before| &before.alerts), &after.alerts));
    for record in &mut reported {
        if record.field("SEVERITY").is_none() {
            record.fields.push(("SEVERITY", after.severity.name().to_owned()));
        }
    }
    reported
}

/// Adds the address and the gateway that an uplink has now, where its record does not tell them
/// itself: the route comes a moment after the address.
fn complete(record: &mut Record, state: &State) {
    let Some(port) = record.field("UPLINK").map(str::to_owned) else { return };
    let Some(uplink) = state.uplinks().into_iter().find(|uplink| uplink.link.name == port) else {
        return;
    };
    let Some(address) = uplink.address.map(|address| address.to_string()) else { return };
    if record.field("ADDRESS").is_some_and(|reported| reported != address) {
        return;
    }
    for (name, value) in
        [("ADDRESS", Some(address)), ("GATEWAY", uplink.gateway.map(|gateway| gateway.to_string()))]
    {
        if let (None, Some(value)) = (record.field(name), value) {
            record.fields.push((name, value));
        }
    }
}

/// The daemon ends.
pub fn stopping(stop: Stop) -> Record {
    Record::new(Kind::Stopping, kinds::reason(stop))
}

/// New settings were not taken.
pub fn settings_refused(faults: &str) -> Record {
    Record::new(
        Kind::SettingsRefused,
        format!("the settings were not taken: {}", faults.trim_end()),
    )
}

/// A watcher ended; it is begun again.
pub fn source_failed(source: &str, error: &str) -> Record {
    Record::new(Kind::SourceFailed, format!("{source} cannot be watched: {error}; trying again"))
}

/// An essential output owes an answer for so long that the service manager is told no more that all
/// is well.
pub fn overdue(output: Output) -> Record {
    let message = format!("{}: no answer; the watchdog will start the gateway again", name(output));
    Record::new(Kind::OutputFailed, message).at(Priority::Error)
}

/// A file of ours could not be written, or what it held is damaged.
pub fn not_written(what: &str) -> Record {
    Record::new(Kind::OutputFailed, what)
}

/// So many records of one kind were left out; `last` is what the last of them said.
pub fn left_out(kind: Kind, count: u64, last: &str, time: Duration) -> Record {
    let seconds = time.as_secs().max(1);
    let message = format!("{count} more like this were left out within {seconds} s: {last}");
    Record::new(Kind::LeftOut, message).with("LEFT_OUT", kind.id())
}

/// Returns whether a record is a [`detail`].
pub fn is_detail(record: &Record) -> bool {
    record.kind == Kind::Detail
}

/// Returns a detail for whoever looks for a fault; `target` is the part of the program that it is
/// from.
pub fn detail(priority: Priority, target: &str, message: String) -> Record {
    Record::new(Kind::Detail, message).at(priority).with("TARGET", target)
}

/// Something of ours could not be taken away at the end.
pub fn not_put_back(error: &ApplyError) -> Record {
    Record::new(Kind::OutputFailed, format!("not put back: {error}"))
}

fn started(after: &Desired) -> Record {
    let what = if after.gateway.is_some() { "gateway of" } else { "panel of" };
    let version = env!("CARGO_PKG_VERSION");
    Record::new(
        Kind::Started,
        format!("bramblegate {version} is the {what} {}", after.cluster_address.trunc()),
    )
}

/// The rule set's text, when it is another one.
fn about_to_apply(before: Option<&Desired>, after: &Desired) -> Option<Record> {
    let ruleset = &after.gateway.as_ref()?.firewall.ruleset;
    let known =
        before.and_then(|before| before.gateway.as_ref()).map(|gateway| &gateway.firewall.ruleset);
    (known != Some(ruleset))
        .then(|| Record::new(Kind::RulesAbout, format!("about to apply this rule set:\n{ruleset}")))
}

/// Alerts that came and went, but for those that another record tells. The same alert with another
/// text is not news.
fn alerts(before: &[Alert], after: &[Alert]) -> Vec<Record> {
    let same = |a: &Alert, b: &Alert| a.code == b.code && a.subject == b.subject;
    let known = |list: &[Alert], alert: &Alert| {
        list.iter().any(|a| same(a, alert) && a.severity == alert.severity)
    };
    let worth = |alert: &&Alert| alert.code.journal() == Journal::Alert;
    let raised = after.iter().filter(worth).filter(|alert| !known(before, alert)).map(|alert| {
        Record::new(Kind::AlertRaised, format!("{}: {}", alert.code, alert.text))
            .at(Priority::of(alert.severity))
            .with("ALERT", alert.code)
            .with("SEVERITY", alert.severity)
    });
    let gone = |alert: &&Alert| !after.iter().any(|a| same(a, alert));
    let cleared = before.iter().filter(worth).filter(gone).map(|alert| {
        // Of several of one kind it is to be seen which.
        let several = before.iter().chain(after).any(|a| a.code == alert.code && !same(a, alert));
        let which = if several { format!(": {}", alert.text) } else { String::new() };
        Record::new(Kind::AlertCleared, format!("{}: over{which}", alert.code))
            .with("ALERT", alert.code)
    });
    raised.chain(cleared).collect()
}

/// The record of one change; `None` where another change tells the same.
fn record(transition: &Transition, state: &State) -> Option<Record> {
    if let Some(record) = inventory::record(transition) {
        return Some(record);
    }
    Some(match transition {
        Transition::UplinkState { port, from, to } => return uplink_state(state, port, *from, *to),
        Transition::UplinkAddress { port, address, gateway } => {
            let by = gateway.map(|gateway| format!(", gateway {gateway}")).unwrap_or_default();
            let record = Record::new(Kind::UplinkAddress, format!("{port} has {address}{by}"))
                .with("UPLINK", port)
                .with("ADDRESS", address);
            match gateway {
                Some(gateway) => record.with("GATEWAY", gateway),
                None => record,
            }
        }
        Transition::UplinkRenewed { port, address } => {
            Record::new(Kind::UplinkRenewed, format!("{port}: {address} was dropped and put back"))
                .with("UPLINK", port)
                .with("ADDRESS", address)
        }
        Transition::UplinkAddressLost { port, address } => {
            Record::new(Kind::UplinkLost, format!("{port} has lost {address}"))
                .with("UPLINK", port)
                .with("ADDRESS", address)
        }
        Transition::ActiveUplink { from, to } => {
            return active_uplink(from.as_deref(), to.as_deref());
        }
        Transition::Reachability { port, to } => reachability(port, *to),
        Transition::NodeHealth { name, from, to, why } => {
            return node_health(name, *from, *to, *why);
        }
        other => gateway_record(other, state)?,
    })
}

/// Records of what is neither an uplink's nor a node's.
fn gateway_record(transition: &Transition, state: &State) -> Option<Record> {
    Some(match transition {
        Transition::ClusterPort { port, present } => {
            let what = if *present { "is there" } else { "is gone" };
            Record::new(Kind::ClusterPort, format!("cluster port {port} {what}"))
        }
        Transition::Disturbed { output, what, by } => {
            let by = by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
            let record = Record::new(Kind::Disturbed, format!("{what}{by}; it is put back"));
            match output {
                Output::Firewall => record.with("RULESET_GENERATION", state.outputs().applied),
                _ => record,
            }
        }
        Transition::OutputHealed { output } => {
            Record::new(Kind::OutputHealed, format!("{}: works again", name(*output)))
        }
        Transition::OutputFailed { output, message } => {
            let priority = if output.is_essential() { Priority::Error } else { Priority::Warning };
            Record::new(Kind::OutputFailed, format!("{}: {message}", name(*output))).at(priority)
        }
        Transition::RulesetApplied { generation, adopted, flow_table, rejects, owned } => {
            let mut message = format!("rule set {generation} is in the kernel");
            for (so, word) in [
                (*adopted, ", adopted from an earlier run"),
                (*owned, ", protected"),
                (*flow_table == Some(true), ", with a flow table"),
                (*flow_table == Some(false), ", without a flow table, which it refuses"),
                (
                    *rejects == Some(false),
                    ", dropping what it cannot reject (no module nft_reject_inet)",
                ),
            ] {
                message.push_str(if so { word } else { "" });
            }
            Record::new(Kind::RulesApplied, message).with("RULESET_GENERATION", generation)
        }
        Transition::ClusterMoved { from, to } => {
            Record::new(Kind::ClusterMoved, format!("the cluster moved from {from} to {to}"))
                .with("ADDRESS", to)
        }
        Transition::ConntrackFlushed { deleted } => {
            let connections = if *deleted == 1 { "connection" } else { "connections" };
            Record::new(
                Kind::ConntrackFlushed,
                format!("{deleted} stale {connections} of another uplink forgotten"),
            )
        }
        Transition::DisplayBlind => Record::new(
            Kind::DisplayBlind,
            "display: it cannot be read back; after a loss of its power it is drawn again within \
             five minutes",
        ),
        Transition::ServerSaid(logged) => service::logged(logged, state),
        Transition::DhcpHeld { seconds } => Record::new(
            Kind::DhcpHeld,
            format!(
                "the switch at the cluster port lets nothing through for {seconds} s (spanning \
                 tree): only then it is asked whether \
                 another DHCP server is there, and addresses are served"
            ),
        ),
        Transition::ForeignDhcp { server, mac } => {
            let by = mac.map(|mac| format!(" ({mac})")).unwrap_or_default();
            let message = format!(
                "another DHCP server answers on the cluster port: {server}{by}; no addresses are \
                 served there"
            );
            let record = Record::new(Kind::DhcpForeign, message).with("SERVER", server);
            match mac {
                Some(mac) => record.with("MAC", mac),
                None => record,
            }
        }
        Transition::ForeignDhcpGone { server } => Record::new(
            Kind::DhcpForeignGone,
            format!("the DHCP server {server} is not heard on the cluster port any more"),
        )
        .with("SERVER", server),
        Transition::Reloaded => Record::new(Kind::Reloaded, "settings read again"),
        Transition::Acknowledged { alerts } => {
            let (first, others) = alerts.split_at(alerts.len().min(KNOWN_LISTED));
            let more = if others.is_empty() {
                String::new()
            } else {
                format!(" and {} more", others.len())
            };
            Record::new(Kind::Acknowledged, format!("acknowledged: {}{more}", first.join(", ")))
        }
        Transition::PowerOffOrdered => {
            Record::new(Kind::PowerOff, "the power button was held: powering off")
        }
        Transition::PowerOffUnheard => {
            let message = "the machine was not powered off: is bramblegate-poweroff.path enabled?";
            Record::new(Kind::PowerOff, message).at(Priority::Warning)
        }
        Transition::UplinkState { .. }
        | Transition::UplinkAddress { .. }
        | Transition::UplinkRenewed { .. }
        | Transition::UplinkAddressLost { .. }
        | Transition::ActiveUplink { .. }
        | Transition::Reachability { .. }
        | Transition::NodesAwaited
        | Transition::NodeFound { .. }
        | Transition::NodeForgotten { .. }
        | Transition::NodeStage { .. }
        | Transition::NodeHealth { .. } => return None,
    })
}

/// Addresses and the internet have records of their own.
fn uplink_state(state: &State, port: &str, from: UplinkState, to: UplinkState) -> Option<Record> {
    let (kind, what) = match to {
        UplinkState::Absent => (Kind::UplinkLink, "is gone"),
        UplinkState::NoCarrier => (Kind::UplinkLink, "has no carrier"),
        UplinkState::Searching if from.is_addressed() => return None,
        UplinkState::Searching => (Kind::UplinkLink, "has a carrier and waits for an address"),
        UplinkState::NoDhcp => {
            let known = state
                .uplinks()
                .iter()
                .find(|uplink| uplink.link.name == port)
                .map(|uplink| no_dhcp(state, uplink));
            let message = known.unwrap_or_else(|| format!("{port} gets no address"));
            return Some(Record::new(Kind::UplinkNoDhcp, message).with("UPLINK", port));
        }
        UplinkState::Addressed | UplinkState::Online | UplinkState::Portal | UplinkState::Clash => {
            return None;
        }
    };
    Some(Record::new(kind, format!("{port} {what}")).with("UPLINK", port))
}

/// The first one is no change to speak of.
fn active_uplink(from: Option<&str>, to: Option<&str>) -> Option<Record> {
    let record = match (from, to) {
        (Some(from), Some(to)) => {
            Record::new(Kind::UplinkActive, format!("{to} takes over from {from}"))
                .with("UPLINK", to)
        }
        (Some(from), None) => {
            Record::new(Kind::UplinkLink, format!("{from} is gone, and no other uplink is there"))
                .with("UPLINK", from)
        }
        (None, _) => return None,
    };
    Some(record)
}

fn reachability(port: &str, to: Reachability) -> Record {
    let record = match to {
        Reachability::Online => Record::new(Kind::Online, format!("{port}: the internet answers")),
        Reachability::Portal => {
            Record::new(Kind::Portal, format!("{port}: a captive portal answers"))
        }
        Reachability::Nothing => {
            Record::new(Kind::NoInternet, format!("{port}: nothing answers from the internet"))
        }
    };
    record.with("UPLINK", port)
}

fn node_health(
    name: &str,
    from: NodeHealth,
    to: NodeHealth,
    why: Option<Trouble>,
) -> Option<Record> {
    let (kind, what) = match to {
        NodeHealth::Up if from == NodeHealth::Down => (Kind::NodeUp, " again"),
        NodeHealth::Up => (Kind::NodeUp, ""),
        NodeHealth::Down => (Kind::NodeDown, ""),
        NodeHealth::Booting => (Kind::NodeBooting, ""),
        NodeHealth::Degraded => match why {
            Some(Trouble::Flapping) => {
                (Kind::NodeDegraded, ": it goes down and comes back again and again")
            }
            Some(Trouble::Lossy) => (Kind::NodeDegraded, ": it leaves many probes unanswered"),
            Some(Trouble::Slow) => (Kind::NodeDegraded, ": it answers slowly"),
            None => (Kind::NodeDegraded, ""),
        },
        NodeHealth::Unknown | NodeHealth::Maintenance => return None,
    };
    let record = Record::new(kind, format!("{name} is {}{what}", to.name()));
    Some(record.with("NODE", name).with("HEALTH", to.name()))
}

/// An output in words.
const fn name(output: Output) -> &'static str {
    match output {
        Output::Link => "ports",
        Output::Firewall => "firewall",
        Output::Routing => "routing",
        Output::Conntrack => "connection tracking",
        Output::Dnsmasq => "dnsmasq",
        Output::Display => "display",
        Output::Indicator => "LED",
        Output::Status => "status socket",
        Output::Journal => "journal",
        Output::Manager => "service manager",
    }
}
