//! Alerts of forwarded ports that lead nowhere, or hide a service of the head.

use crate::config::{Allow, Forward, Settings, Transport};
use crate::decide::Overlap;
use crate::decide::alert::{Alert, AlertCode, Subject};
use crate::decide::cluster::Placement;
use crate::decide::forward::{NoWay, name, target, way};
use crate::facts::Facts;

/// Raises the faults of each forwarded port.
pub fn alerts(settings: &Settings, facts: &Facts, placement: &Placement, raised: &mut Vec<Alert>) {
    for forward in &settings.forwards {
        raised.extend(leads_nowhere(forward, facts, placement));
        raised.extend(hides_service(forward, settings, facts));
    }
    // Without a cluster port the overlap is with its own leftover address on a renamed port, not
    // with the venue.
    let has_port = facts.cluster_port().is_some();
    if has_port && !settings.forwards.is_empty() && placement.overlap == Overlap::Routed {
        let text = format!(
            "computers in the venue's own {} cannot use forwarded ports: the nodes have the same \
             subnet and would look for them in the cluster",
            placement.address.trunc()
        );
        raised.push(Alert::whole(AlertCode::NodeForwardOverlap, text));
    }
}

/// Returns the alert that a forwarded port leads nowhere.
fn leads_nowhere(forward: &Forward, facts: &Facts, placement: &Placement) -> Option<Alert> {
    let (port, to) = (name(forward), target(forward));
    let text = match way(forward, facts, placement).err()? {
        NoWay::NoAddress => format!("the forwarded port {port} leads nowhere: {to} has no address"),
        NoWay::Outside(address) => format!(
            "the forwarded port {port} leads nowhere: {address} is not a node's address in the \
             cluster, which is at {} now",
            placement.address.trunc()
        ),
    };
    Some(Alert::new(AlertCode::NodeForwardLost, Subject::Forward(port), text))
}

/// Returns the alert that a forwarded port hides a service of the head.
fn hides_service(forward: &Forward, settings: &Settings, facts: &Facts) -> Option<Alert> {
    let service = hidden_service(settings, facts, forward)?;
    let (port, to) = (name(forward), target(forward));
    let text = format!(
        "{port} leads to {to}, so the venue cannot reach {service} of the head itself there: the \
         forward wins over uplink.allow"
    );
    Some(Alert::new(AlertCode::NodeForwardHides, Subject::Forward(port), text))
}

/// Returns the service of `uplink.allow` on the port that a forward takes.
fn hidden_service(settings: &Settings, facts: &Facts, forward: &Forward) -> Option<&'static str> {
    let port = forward.listen;
    settings.uplink.allow.iter().find_map(|allow| match (allow, forward.transport) {
        (Allow::Ssh, Transport::Tcp) if port == 22 || facts.vitals().ssh_ports.contains(&port) => {
            Some("ssh")
        }
        (Allow::Web, Transport::Tcp) if facts.web_port() == Some(port) => Some("the status page"),
        (Allow::Mdns, Transport::Udp) if port == 5353 => Some("mDNS"),
        (Allow::Tcp(first, last), Transport::Tcp) | (Allow::Udp(first, last), Transport::Udp)
            if (*first..=*last).contains(&port) =>
        {
            Some("what is allowed")
        }
        _ => None,
    })
}
