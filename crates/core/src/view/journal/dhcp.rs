//! Records of dnsmasq, and of other DHCP servers on the cluster port.

use super::{Kind, Record};
use crate::event::{ServerLog, ServerLogKind};
use crate::facts::{Facts, Transition};

/// Returns the record of a DHCP or DNS transition; `None` for any other.
pub(super) fn record(transition: &Transition, facts: &Facts) -> Option<Record> {
    Some(match transition {
        Transition::ServerSaid(log) => server_log(log, facts),
        Transition::DhcpHeld { seconds } => Record::new(
            Kind::DhcpHeld,
            format!(
                "the switch blocks the cluster interface for {seconds} s (spanning tree): after \
                 that Bramblegate looks for other DHCP servers and serves addresses"
            ),
        ),
        Transition::ForeignDhcp { server, mac } => {
            let by = mac.map(|mac| format!(" ({mac})")).unwrap_or_default();
            let message = format!(
                "another DHCP server answers on the cluster interface: {server}{by}; no \
                 addresses are served there"
            );
            Record::new(Kind::DhcpForeign, message).with("SERVER", server).with_known("MAC", *mac)
        }
        Transition::ForeignDhcpGone { server } => Record::new(
            Kind::DhcpForeignGone,
            format!("the DHCP server {server} no longer answers on the cluster interface"),
        )
        .with("SERVER", server),
        _ => return None,
    })
}

/// Returns the record of a dnsmasq message, with the node's name if known.
fn server_log(log: &ServerLog, facts: &Facts) -> Record {
    let kind = match log.what {
        ServerLogKind::Leased => Kind::Leased,
        ServerLogKind::Refused => Kind::LeaseRefused,
        ServerLogKind::Exhausted | ServerLogKind::Trouble => Kind::DnsmasqTrouble,
    };
    let nodes = facts.nodes();
    let by_mac = log.mac.and_then(|mac| nodes.by_mac(mac));
    let node = by_mac.or_else(|| log.address.and_then(|address| nodes.by_address(address.into())));
    Record::new(kind, log.text.clone())
        .with_known("NODE", node.map(|node| &node.name))
        .with_known("MAC", log.mac)
        .with_known("ADDRESS", log.address)
}
