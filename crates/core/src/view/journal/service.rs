//! Records of what our DHCP and DNS server says.

use super::{Kind, Record};
use crate::event::{ServerLog, ServerLogKind};
use crate::facts::Facts;

/// With the node's name, where it is known.
pub fn logged(logged: &ServerLog, state: &Facts) -> Record {
    let kind = match logged.what {
        ServerLogKind::Leased => Kind::Leased,
        ServerLogKind::Refused => Kind::LeaseRefused,
        ServerLogKind::Exhausted | ServerLogKind::Trouble => Kind::DnsmasqTrouble,
    };
    let mut record = Record::new(kind, logged.text.clone());
    let node = logged.mac.and_then(|mac| state.nodes().by_mac(mac));
    let node =
        node.or_else(|| logged.address.and_then(|address| state.nodes().by_address(address)));
    let fields = [
        ("NODE", node.map(|node| node.name.clone())),
        ("MAC", logged.mac.map(|mac| mac.to_string())),
        ("ADDRESS", logged.address.map(|address| address.to_string())),
    ];
    record.fields.extend(fields.into_iter().filter_map(|(name, value)| Some((name, value?))));
    record
}
