//! Journal records: one for each transition, none while nothing changes.

mod dhcp;
mod kinds;
mod node;
mod output;
#[cfg(test)]
mod tests;
mod uplink;
mod venue;

pub use kinds::{Kind, Priority, catalog};

use std::sync::Arc;
use std::time::Duration;

use ipnet::Ipv6Net;

use crate::decide::Desired;
use crate::decide::alert::{Alert, listed};
use crate::event::alert::Journal;
use crate::event::{ApplyError, Output, Stop, in_words};
use crate::facts::{Facts, Transition};

/// Limit on names that a record lists.
const MAX_LISTED: usize = 16;

/// An entry of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub kind: Kind,
    pub priority: Priority,
    /// One line of plain English, except for [`Kind::RulesAbout`].
    pub message: String,
    /// Fields in addition to `MESSAGE`, `MESSAGE_ID` and `PRIORITY`.
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

    /// Adds a field if its value is known.
    fn with_known(self, name: &'static str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Returns the value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// Overrides the priority of its kind.
    fn at(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }
}

/// Returns the records for `transitions` that led from `before` to `after`. `before` is `None` the
/// first time.
pub fn records(
    transitions: &[Transition],
    before: Option<&Desired>,
    after: &Desired,
    facts: &Facts,
) -> Vec<Record> {
    let mut entries = Vec::new();
    if before.is_none() {
        entries.push(started(after));
    }
    entries.extend(about_to_apply(before, after));
    entries.extend(transitions.iter().filter_map(|transition| record(transition, facts)));
    entries.extend(venue::records(before.map_or(&[], |before| &before.venues), &after.venues));
    entries.iter_mut().for_each(|record| add_uplink_fields(record, facts));
    if let Some(before) = before.filter(|before| before.cluster_address != after.cluster_address) {
        let moved =
            Transition::ClusterMoved { from: before.cluster_address, to: after.cluster_address };
        if !transitions.contains(&moved) {
            entries.extend(record(&moved, facts));
        }
    }
    entries.extend(delegated(before.and_then(|before| before.cluster_delegated), after));
    entries.extend(alerts(before.map_or(&[], |before| &before.alerts), &after.alerts));
    for record in &mut entries {
        if record.field("SEVERITY").is_none() {
            record.fields.push(("SEVERITY", after.severity.name().to_owned()));
        }
    }
    entries
}

/// Returns the record that the nodes' delegated network has changed or is lost.
fn delegated(before: Option<Ipv6Net>, after: &Desired) -> Option<Record> {
    let text = match (before, after.cluster_delegated) {
        (before, now) if before == now => return None,
        (_, Some(net)) => {
            format!("the venue delegated a prefix: the nodes have {} of it", net.trunc())
        }
        (Some(lost), None) => {
            format!("{} was delegated to the nodes, and is no longer", lost.trunc())
        }
        (None, None) => return None,
    };
    Some(Record::new(Kind::Delegated, text))
}

/// Adds the uplink's current address and gateway to its record if they are missing: the route
/// arrives a moment after the address.
fn add_uplink_fields(record: &mut Record, facts: &Facts) {
    let Some(port) = record.field("UPLINK").map(str::to_owned) else { return };
    let Some(uplink) = facts.uplinks().into_iter().find(|uplink| uplink.link.name == port) else {
        return;
    };
    let Some(address) = uplink.address.map(|address| address.to_string()) else { return };
    if record.field("ADDRESS").is_some_and(|of_record| of_record != address) {
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

/// Returns the record that the daemon stops.
pub fn stopping(stop: Stop) -> Record {
    Record::new(Kind::Stopping, kinds::reason(stop))
}

/// Returns the record that new settings were rejected.
pub fn settings_refused(faults: &str) -> Record {
    Record::new(
        Kind::SettingsRefused,
        format!("the settings were not taken: {}", faults.trim_end()),
    )
}

/// Returns the record that a watch ended; it is restarted.
pub fn source_failed(source: &str, error: &str) -> Record {
    Record::new(Kind::SourceFailed, format!("{source} cannot be watched: {error}; trying again"))
}

/// Returns the record that an essential output has not reported for so long that `WATCHDOG=1` is
/// withheld.
pub fn overdue(output: Output) -> Record {
    let message =
        format!("{}: no answer; the watchdog will start the gateway again", output::name(output));
    Record::new(Kind::OutputFailed, message).at(Priority::Error)
}

/// Returns the record that one of our files could not be written, or was corrupt.
pub fn not_written(what: &str) -> Record {
    Record::new(Kind::OutputFailed, what)
}

/// Returns the record that `count` records of one kind were suppressed within `time`; `last` is the
/// last message.
pub fn left_out(kind: Kind, count: u64, last: &str, time: Duration) -> Record {
    let seconds = time.as_secs().max(1);
    let message = format!("{count} more like this were left out within {seconds} s: {last}");
    Record::new(Kind::LeftOut, message).with("LEFT_OUT", kind.id())
}

/// Returns whether a record is a [`detail`].
pub fn is_detail(record: &Record) -> bool {
    record.kind == Kind::Detail
}

/// Returns a detail for debugging; `target` is the part of the program it comes from.
pub fn detail(priority: Priority, target: &str, message: String) -> Record {
    Record::new(Kind::Detail, message).at(priority).with("TARGET", target)
}

/// Returns the record that cleanup at the end failed.
pub fn not_put_back(error: &ApplyError) -> Record {
    Record::new(Kind::OutputFailed, format!("not put back: {error}"))
}

/// Returns the first record of a run.
fn started(after: &Desired) -> Record {
    let what = if after.gateway.is_some() { "gateway of" } else { "panel of" };
    let version = env!("CARGO_PKG_VERSION");
    Record::new(
        Kind::Started,
        format!("bramblegate {version} is the {what} {}", after.cluster_address.trunc()),
    )
}

/// Returns the record of the rule set's text if it has changed.
fn about_to_apply(before: Option<&Desired>, after: &Desired) -> Option<Record> {
    let (plan, known) =
        (after.gateway.as_ref()?, before.and_then(|before| before.gateway.as_ref()));
    // The usual case: the same plan, without comparing rules.
    if known.is_some_and(|known| Arc::ptr_eq(known, plan)) {
        return None;
    }
    let ruleset = &plan.firewall.ruleset;
    (known.map(|known| &known.firewall.ruleset) != Some(ruleset))
        .then(|| Record::new(Kind::RulesAbout, format!("about to apply this rule set:\n{ruleset}")))
}

/// Returns the records of alerts that were raised and cleared, except where the cause has a record.
/// A changed text is not a new alert.
fn alerts(before: &[Alert], after: &[Alert]) -> Vec<Record> {
    let new = after.iter().filter(|alert| {
        has_record(alert)
            && !before.iter().any(|b| has_same_identity(b, alert) && b.severity == alert.severity)
    });
    let ended = before
        .iter()
        .filter(|alert| has_record(alert) && !after.iter().any(|a| has_same_identity(a, alert)))
        .map(|alert| {
            // If several have the same code, the text distinguishes them.
            let mut all = before.iter().chain(after);
            cleared(alert, all.any(|a| a.code == alert.code && !has_same_identity(a, alert)))
        });
    new.map(raised).chain(ended).collect()
}

/// Returns whether the journal records the alert itself.
fn has_record(alert: &Alert) -> bool {
    alert.code.journal() == Journal::Alert
}

/// Returns whether two alerts have the same identity, whatever their text and severity.
fn has_same_identity(a: &Alert, b: &Alert) -> bool {
    a.code == b.code && a.subject == b.subject
}

/// Returns the record of a new alert.
fn raised(alert: &Alert) -> Record {
    Record::new(Kind::AlertRaised, format!("{}: {}", alert.code, alert.text))
        .at(Priority::of(alert.severity))
        .with("ALERT", alert.code)
        .with("SEVERITY", alert.severity)
}

/// Returns the record of a cleared alert, with its text if there are `several` of its code.
fn cleared(alert: &Alert, several: bool) -> Record {
    let which = if several { format!(": {}", alert.text) } else { String::new() };
    Record::new(Kind::AlertCleared, format!("{}: over{which}", alert.code))
        .with("ALERT", alert.code)
}

/// Returns the record of one transition; `None` if another transition is recorded instead.
fn record(transition: &Transition, facts: &Facts) -> Option<Record> {
    if let Some(record) = node::record(transition)
        .or_else(|| uplink::record(transition, facts))
        .or_else(|| dhcp::record(transition, facts))
        .or_else(|| output::record(transition, facts))
    {
        return Some(record);
    }
    Some(match transition {
        Transition::ClusterPort { port, present } => {
            let what = if *present { "is there" } else { "is gone" };
            Record::new(Kind::ClusterPort, format!("cluster interface {port} {what}"))
        }
        Transition::ClusterMoved { from, to } => {
            Record::new(Kind::ClusterMoved, format!("the cluster moved from {from} to {to}"))
                .with("ADDRESS", to)
        }
        Transition::Reloaded => Record::new(Kind::Reloaded, "settings read again"),
        Transition::Acknowledged { alerts } => acknowledged(alerts),
        Transition::PowerOffOrdered => {
            Record::new(Kind::PowerOff, "the power button was held: powering off")
        }
        Transition::PowerOffUnheard => {
            let message = "the machine was not powered off: is bramblegate-poweroff.path enabled?";
            Record::new(Kind::PowerOff, message).at(Priority::Warning)
        }
        Transition::ShutdownBegan { nodes, head } => {
            let then = if *head { ", then the head" } else { "" };
            let count = if *nodes == 1 { "1 node".to_owned() } else { format!("{nodes} nodes") };
            Record::new(Kind::Shutdown, format!("shutting down {count}{then}"))
        }
        Transition::ShutdownEnded { total: 0, head, .. } => {
            let then = if *head { "; the head follows" } else { "" };
            Record::new(Kind::Shutdown, format!("all nodes are off{then}"))
        }
        Transition::ShutdownEnded { up, total, .. } => {
            let message =
                format!("still up after the shutdown: {}", listed(up, *total, MAX_LISTED));
            Record::new(Kind::Shutdown, message).at(Priority::Warning)
        }
        Transition::ShutdownBrokenOff => {
            Record::new(Kind::Shutdown, "the shutdown of the nodes was broken off")
                .at(Priority::Warning)
        }
        Transition::NodesMissing { names } => {
            let message = format!(
                "shut down before, and not back with the others: {}",
                listed(names, names.len(), MAX_LISTED)
            );
            Record::new(Kind::NodesMissing, message).at(Priority::Warning)
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
        | Transition::NodeHealth { .. }
        | Transition::ServerSaid(_)
        | Transition::DhcpHeld { .. }
        | Transition::ForeignDhcp { .. }
        | Transition::ForeignDhcpGone { .. }
        | Transition::Disturbed { .. }
        | Transition::OutputHealed { .. }
        | Transition::OutputFailed { .. }
        | Transition::RulesetApplied { .. }
        | Transition::ConntrackFlushed { .. }
        | Transition::DisplayBlind => return None,
    })
}

/// Returns the record that the operator acknowledged these alerts.
fn acknowledged(alerts: &[String]) -> Record {
    let listed = listed(alerts, alerts.len(), MAX_LISTED);
    Record::new(Kind::Acknowledged, format!("acknowledged: {listed}"))
}
