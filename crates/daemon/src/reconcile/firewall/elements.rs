//! Elements of sets in the kernel's encoding: made from the plan's values, and read back.

use std::collections::BTreeSet;

use ipnet::IpNet;
use rustix::io::Errno;

use super::raw::{name_of_interface, protocol};
use crate::decide::firewall::{Data, Elements, Item, TABLE, Verdict};
use bramblegate_netlink::netfilter::{GET_ELEMENTS, INET, NFTABLES};
use bramblegate_netlink::{Attributes, Message, Request, Socket, attributes};

/// `NFTA_SET_ELEM_LIST_*`
const LIST_TABLE: u16 = 1;
const LIST_SET: u16 = 2;
const LIST_ELEMENTS: u16 = 3;
/// `NFTA_SET_ELEM_*`
const KEY: u16 = 1;
const DATA: u16 = 2;
const FLAGS: u16 = 3;
const USERDATA: u16 = 6;
const KEY_END: u16 = 10;
/// `NFTA_DATA_*`, `NFTA_VERDICT_*`
const VALUE: u16 = 1;
const VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
const VERDICT_CHAIN: u16 = 2;

/// Userdata by which nft recognises an interval without an end element:
/// `NFTNL_UDATA_SET_ELEM_FLAGS`, four bytes, `NFTNL_SET_ELEM_F_INTERVAL_OPEN` (`libnftnl/udata.h`).
pub const OPEN: [u8; 6] = {
    let [a, b, c, d] = 1_u32.to_ne_bytes();
    [1, 4, a, b, c, d]
};

/// An element. Bytes are in network order, those of numbers in host order. An interval of one field
/// is a pair of elements.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Element {
    pub key: Vec<u8>,
    /// The last value of each field, in an interval set with a concatenated key.
    pub key_end: Option<Vec<u8>>,
    /// False for an element that ends the previous interval, exclusively. Where another begins at
    /// the same key, the kernel requires the end first.
    pub begins: bool,
    /// The interval that begins here has no end element.
    pub open: bool,
    pub data: Option<ElementData>,
}

/// The data of a map's element.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ElementData {
    Value(Vec<u8>),
    /// `NF_ACCEPT` … or `NFT_GOTO` …, and the chain.
    Verdict(i32, Option<String>),
}

/// Encodes the elements of a plan; `interval` is the set's flag.
pub fn elements(plan: &Elements, interval: bool) -> BTreeSet<Element> {
    let data = |data: &Option<Data>| data.as_ref().map(element_data);
    plan.iter().flat_map(|(key, value)| of_key(key, interval, data(value))).collect()
}

/// Encodes a key as one or two elements. The kernel refuses a range in a set without intervals.
pub fn of_key(key: &[Item], interval: bool, data: Option<ElementData>) -> Vec<Element> {
    let bounds: Vec<(Vec<u8>, Vec<u8>)> = key.iter().map(bounds).collect();
    let first = joined(bounds.iter().map(|(first, _)| first.as_slice()), key.len() > 1);
    let last = joined(bounds.iter().map(|(_, last)| last.as_slice()), key.len() > 1);
    let at = |key, key_end, open| Element { key, key_end, begins: true, open, data: data.clone() };
    match (interval || first != last, key.len()) {
        (false, _) => vec![at(first, None, false)],
        (true, 1) => {
            let end = after(&last).map(|key| Element {
                key,
                key_end: None,
                begins: false,
                open: false,
                data: None,
            });
            std::iter::once(at(first, None, end.is_none())).chain(end).collect()
        }
        (true, _) => vec![at(first, Some(last), false)],
    }
}

fn element_data(data: &Data) -> ElementData {
    match data {
        Data::Verdict(Verdict::Accept) => ElementData::Verdict(libc::NF_ACCEPT, None),
        Data::Verdict(Verdict::Drop) => ElementData::Verdict(libc::NF_DROP, None),
        Data::Verdict(Verdict::Goto(chain)) => {
            ElementData::Verdict(libc::NFT_GOTO, Some(chain.to_string()))
        }
        Data::Verdict(Verdict::Jump(chain)) => {
            ElementData::Verdict(libc::NFT_JUMP, Some(chain.to_string()))
        }
        Data::Values(items) => {
            let values: Vec<Vec<u8>> = items.iter().map(|item| bounds(item).0).collect();
            ElementData::Value(joined(values.iter().map(Vec::as_slice), items.len() > 1))
        }
    }
}

/// Returns the first and the last value of a field.
fn bounds(item: &Item) -> (Vec<u8>, Vec<u8>) {
    match item {
        Item::Addresses(IpNet::V4(net)) => {
            (net.network().octets().to_vec(), net.broadcast().octets().to_vec())
        }
        Item::Addresses(IpNet::V6(net)) => {
            (net.network().octets().to_vec(), net.broadcast().octets().to_vec())
        }
        Item::Ports(first, last) => (first.to_be_bytes().to_vec(), last.to_be_bytes().to_vec()),
        Item::Transport(transport) => (vec![protocol(*transport)], vec![protocol(*transport)]),
        Item::Number(number) => (number.to_ne_bytes().to_vec(), number.to_ne_bytes().to_vec()),
        Item::Interface(name) => {
            (name_of_interface(name).to_vec(), name_of_interface(name).to_vec())
        }
    }
}

/// Joins the fields of an element. In a concatenation each is padded to registers of four bytes.
fn joined<'a>(fields: impl Iterator<Item = &'a [u8]>, concatenated: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    for field in fields {
        bytes.extend(field);
        if concatenated {
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
    }
    bytes
}

/// Increments a big-endian number; `None` on overflow.
fn after(number: &[u8]) -> Option<Vec<u8>> {
    let mut next = number.to_vec();
    for byte in next.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            return Some(next);
        }
    }
    None
}

/// Reads the elements of a set of our table.
///
/// # Errors
/// The kernel's error; `ENOENT` if the set does not exist.
pub fn read(socket: &mut Socket, set: &str) -> Result<BTreeSet<Element>, Errno> {
    let request = Request::netfilter(NFTABLES, GET_ELEMENTS, INET)
        .dump()
        .text(LIST_TABLE, TABLE)
        .text(LIST_SET, set);
    Ok(socket.dump(&request, listed)?.items.into_iter().collect())
}

fn listed(message: &Message<'_>) -> Vec<Element> {
    let list = message.attributes().nest(LIST_ELEMENTS);
    list.filter_map(|element| parse(&attributes(element.value))).collect()
}

/// Parses an element. `None` for a catch-all element, which has no key and is never ours.
fn parse(element: &Attributes<'_>) -> Option<Element> {
    let bytes = |kind| Some(element.nest(kind).value(VALUE)?.to_vec());
    Some(Element {
        open: element.value(USERDATA) == Some(&OPEN),
        key: bytes(KEY)?,
        key_end: bytes(KEY_END),
        begins: element.be32(FLAGS).unwrap_or(0) & libc::NFT_SET_ELEM_INTERVAL_END as u32 == 0,
        data: element.value(DATA).and_then(|data| parse_data(&attributes(data))),
    })
}

fn parse_data(data: &Attributes<'_>) -> Option<ElementData> {
    if let Some(value) = data.value(VALUE) {
        return Some(ElementData::Value(value.to_vec()));
    }
    let verdict = data.nest(VERDICT);
    let code = i32::from_ne_bytes(verdict.be32(VERDICT_CODE)?.to_ne_bytes());
    Some(ElementData::Verdict(code, verdict.text(VERDICT_CHAIN)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::firewall::Transport;

    fn net(text: &str) -> Item {
        Item::Addresses(text.parse().unwrap())
    }

    #[test]
    fn an_interval_has_an_exclusive_end_unless_it_ends_at_the_last_value() {
        let bytes = |key: Item| -> Vec<(Vec<u8>, bool)> {
            of_key(&[key], true, None)
                .into_iter()
                .map(|element| (element.key, element.begins))
                .collect()
        };
        assert_eq!(
            bytes(net("10.0.0.0/24")),
            [(vec![10, 0, 0, 0], true), (vec![10, 0, 1, 0], false)]
        );
        assert_eq!(bytes(Item::Ports(80, 255)), [(vec![0, 80], true), (vec![1, 0], false)]);
        assert_eq!(bytes(net("255.0.0.0/8")), [(vec![255, 0, 0, 0], true)]);
        assert_eq!(bytes(Item::Ports(65_000, 65_535)), [(vec![253, 232], true)]);
    }

    #[test]
    fn fields_of_a_concatenation_are_padded_and_each_has_an_end() {
        let key = [net("10.0.0.0/24"), Item::Ports(80, 90), Item::Transport(Transport::Udp)];
        let [element] = of_key(&key, true, None).try_into().unwrap();
        assert_eq!(element.key, [10, 0, 0, 0, 0, 80, 0, 0, 17, 0, 0, 0]);
        assert_eq!(element.key_end, Some(vec![10, 0, 0, 255, 0, 90, 0, 0, 17, 0, 0, 0]));
        assert_eq!(
            of_key(&[Item::from(80_u16)], false, None)[0].key,
            [0, 80],
            "a single field is not padded"
        );
    }
}
