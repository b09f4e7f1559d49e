//! Records of outputs: what a reconciler applied or could not, and what other programs changed.

use super::{Kind, Priority, Record};
use crate::event::Output;
use crate::facts::{Facts, Transition};

/// Returns the record of an output's transition; `None` for any other.
pub(super) fn record(transition: &Transition, facts: &Facts) -> Option<Record> {
    Some(match transition {
        Transition::Disturbed { output, what, by } => {
            let by = by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
            let record = Record::new(Kind::Disturbed, format!("{what}{by}; it is put back"));
            match output {
                Output::Firewall => record.with("RULESET_GENERATION", facts.outputs().applied),
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
            let remarks = [
                (*adopted, ", adopted from an earlier run"),
                (*owned, ", protected"),
                (*flow_table == Some(true), ", with a flow table"),
                (*flow_table == Some(false), ", without a flow table, which it refuses"),
                (
                    *rejects == Some(false),
                    ", dropping what it cannot reject (no module nft_reject_inet)",
                ),
            ];
            let remarks: String =
                remarks.into_iter().filter_map(|(holds, text)| holds.then_some(text)).collect();
            let message = format!("rule set {generation} is in the kernel{remarks}");
            Record::new(Kind::RulesApplied, message).with("RULESET_GENERATION", generation)
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
            "display: it cannot be read back; after a power loss it is redrawn within five \
             minutes",
        ),
        _ => return None,
    })
}

/// Returns an output's name for records.
pub(super) const fn name(output: Output) -> &'static str {
    match output {
        Output::Link => "interfaces",
        Output::Firewall => "firewall",
        Output::Routing => "routing",
        Output::Conntrack => "connection tracking",
        Output::Clat => "translator's order",
        Output::Dnsmasq => "dnsmasq",
        Output::Pref64 => "advertised NAT64 prefix",
        Output::Withdrawal => "withdrawn IPv6 prefix",
        Output::Display => "display",
        Output::Indicator => "LED",
        Output::Status => "status socket",
        Output::Journal => "journal",
        Output::Manager => "service manager",
    }
}
