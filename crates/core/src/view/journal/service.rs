//! Records of what our DHCP and DNS server says.

use super::{Kind, Record};
use crate::event::{Said, Saying};
use crate::facts::State;

/// With the node's name, where it is known.
pub fn said(said: &Said, state: &State) -> Record {
    let kind = match said.what {
        Saying::Leased => Kind::Leased,
        Saying::Refused => Kind::LeaseRefused,
        Saying::Exhausted | Saying::Trouble => Kind::DnsmasqTrouble,
    };
    let mut record = Record::new(kind, said.text.clone());
    let node = said.mac.and_then(|mac| state.nodes().by_mac(mac));
    let node = node.or_else(|| said.address.and_then(|address| state.nodes().by_address(address)));
    let fields = [
        ("NODE", node.map(|node| node.name.clone())),
        ("MAC", said.mac.map(|mac| mac.to_string())),
        ("ADDRESS", said.address.map(|address| address.to_string())),
    ];
    record.fields.extend(fields.into_iter().filter_map(|(name, value)| Some((name, value?))));
    record
}
