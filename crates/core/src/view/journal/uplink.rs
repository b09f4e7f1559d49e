//! Records of the uplinks: carrier, address, internet, and the active uplink.

use super::{Kind, Record};
use crate::api::clat;
use crate::decide::alert::uplink::no_dhcp;
use crate::event::Reachability;
use crate::facts::uplink::UplinkState;
use crate::facts::{Facts, Transition};

/// Returns the record of an uplink's transition; `None` for any other, or if another transition is
/// recorded instead.
pub(super) fn record(transition: &Transition, facts: &Facts) -> Option<Record> {
    Some(match transition {
        Transition::UplinkState { port, from, to } => return uplink_state(facts, port, *from, *to),
        Transition::UplinkAddress { port, address, gateway } => {
            let by = gateway.map(|gateway| format!(", gateway {gateway}")).unwrap_or_default();
            Record::new(Kind::UplinkAddress, format!("{port} has {address}{by}"))
                .with("UPLINK", port)
                .with("ADDRESS", address)
                .with_known("GATEWAY", *gateway)
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
        _ => return None,
    })
}

/// Returns the record of a new state; addresses and reachability have records of their own.
fn uplink_state(facts: &Facts, port: &str, from: UplinkState, to: UplinkState) -> Option<Record> {
    // The translator's device expects nothing from the venue.
    if port == clat::DEVICE {
        return None;
    }
    let (kind, what) = match to {
        UplinkState::Absent => (Kind::UplinkLink, "is gone"),
        UplinkState::NoCarrier => (Kind::UplinkLink, "has no carrier"),
        UplinkState::Searching if from.is_addressed() => return None,
        UplinkState::Searching => (Kind::UplinkLink, "has a carrier and waits for an address"),
        UplinkState::NoDhcp => {
            let reason = facts
                .uplinks()
                .iter()
                .find(|uplink| uplink.link.name == port)
                .map(|uplink| no_dhcp(facts, uplink));
            let message = reason.unwrap_or_else(|| format!("{port} gets no address"));
            return Some(Record::new(Kind::UplinkNoDhcp, message).with("UPLINK", port));
        }
        UplinkState::Addressed | UplinkState::Online | UplinkState::Portal | UplinkState::Clash => {
            return None;
        }
    };
    Some(Record::new(kind, format!("{port} {what}")).with("UPLINK", port))
}

/// Returns the record that the active uplink changed; the first one is not a change.
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

/// Returns the record of a probe result.
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
