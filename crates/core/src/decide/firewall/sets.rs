//! Named sets and maps: their elements, lookups in them, and the update from one to another.
//!
//! The plan holds all elements. Two plans that differ in elements only differ by [`SetUpdate`]s,
//! which change the kernel's set in place: no rule is replaced and no counter reset.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::{Family, Ruleset, Side, Transport};

/// The name of a set or chain; at most 255 bytes (`NFT_NAME_MAXLEN`).
pub type Name = Cow<'static, str>;

/// A named set or, with `data`, a map.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Set {
    pub name: Name,
    /// Types of the key; more than one is a concatenation.
    pub key: Vec<Kind>,
    /// Types of the data; `None`: a set.
    pub data: Option<DataKind>,
    /// `flags constant`: elements cannot change once a rule uses it.
    pub constant: bool,
    /// `flags interval`: keys may be networks and ranges.
    pub interval: bool,
    /// `flags dynamic`: rules add elements, see [`super::Action::Sample`].
    pub dynamic: bool,
    /// Lifetime of an element, in seconds. `elements` are only the initial ones of such a set.
    pub timeout: Option<u64>,
    /// Maximum number of elements.
    pub size: Option<u32>,
    /// In a map each has data.
    pub elements: Elements,
}

/// The elements of a set: key, and data in a map. Keys do not overlap.
pub type Elements = BTreeMap<Vec<Item>, Option<Data>>;

/// Type of one field of a key or of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `ipv4_addr`
    Ipv4,
    /// `ipv6_addr`
    Ipv6,
    /// `inet_service`
    Port,
    /// `inet_proto`
    Transport,
    /// `ifname`
    Interface,
    /// An integer below this, as [`Key::RoundRobin`] and [`Key::Hash`] yield it: the only field of
    /// its key, without intervals. nft has no name for this type; it is declared by example:
    /// `typeof numgen inc mod N`.
    Number(u32),
}

/// Type of a map's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataKind {
    Verdict,
    /// More than one is a concatenation.
    Values(Vec<Kind>),
}

/// One field of a key or of data.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    /// A network without host bits; an address is a network of one.
    Addresses(IpNet),
    /// First and last; equal for one port.
    Ports(u16, u16),
    Transport(Transport),
    Interface(String),
    Number(u32),
}

impl From<IpAddr> for Item {
    fn from(address: IpAddr) -> Self {
        Self::Addresses(address.into())
    }
}

impl From<IpNet> for Item {
    fn from(net: IpNet) -> Self {
        Self::Addresses(net.trunc())
    }
}

impl From<u16> for Item {
    fn from(port: u16) -> Self {
        Self::Ports(port, port)
    }
}

/// The data of a map's element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    Verdict(Verdict),
    Values(Vec<Item>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Accept,
    Drop,
    /// Continue in this chain, without returning.
    Goto(Name),
    /// Call this chain; an undecided packet returns to the rule after the lookup.
    Jump(Name),
}

/// A lookup of a key in the set of this name, which must be one of [`Ruleset::sets`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    pub key: Key,
    pub set: Name,
}

/// The key of a lookup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// Fields of the packet, in number and type those of the set's key.
    Fields(Vec<Field>),
    /// `numgen inc mod N`: 0, 1 … N - 1, 0 …, advancing with each evaluation (module `nft_numgen`).
    /// Replacing the rule resets it, updating the map does not, so the distribution stays even.
    RoundRobin { modulus: u32 },
    /// `jhash FIELDS mod N seed S`: a number below N, equal for equal fields (module `nft_hash`).
    /// Without a seed each load of the table would map differently.
    Hash { fields: Vec<Field>, modulus: u32, seed: u32 },
}

/// A field of a packet. A field of a protocol also requires that protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// `ip saddr`, `ip6 saddr`
    Source(Family),
    /// `ip daddr`, `ip6 daddr`
    Destination(Family),
    /// `tcp dport` …
    Port(Transport, Side),
    /// `meta l4proto`
    Transport,
    /// `iifname`
    Input,
    /// `oifname`
    Output,
}

/// An update of a set's elements: `remove` is applied before `add`. An element with changed data is
/// in both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetUpdate {
    pub set: Name,
    /// The set's flag.
    pub interval: bool,
    pub remove: BTreeSet<Vec<Item>>,
    pub add: Elements,
}

impl Set {
    /// Returns the update from `before` to this set; `None` if more than elements differs, or they
    /// are constant.
    fn update_from(&self, before: &Self) -> Option<SetUpdate> {
        if !self.equals_except_elements(before)
            || (self.constant && self.elements != before.elements)
        {
            return None;
        }
        let stays = |(key, data): &(&Vec<Item>, &Option<Data>), other: &Elements| {
            other.get(*key) == Some(*data)
        };
        let gone = before.elements.iter().filter(|element| !stays(element, &self.elements));
        let new = self.elements.iter().filter(|element| !stays(element, &before.elements));
        Some(SetUpdate {
            set: self.name.clone(),
            interval: self.interval,
            remove: gone.map(|(key, _)| key.clone()).collect(),
            add: new.map(|(key, data)| (key.clone(), data.clone())).collect(),
        })
    }

    /// Returns whether the sets are equal in everything except elements.
    fn equals_except_elements(&self, other: &Self) -> bool {
        let Self { name, key, data, constant, interval, dynamic, timeout, size, elements: _ } =
            self;
        (name, key, data) == (&other.name, &other.key, &other.data)
            && (constant, interval, dynamic) == (&other.constant, &other.interval, &other.dynamic)
            && (timeout, size) == (&other.timeout, &other.size)
    }
}

impl SetUpdate {
    fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.add.is_empty()
    }
}

impl Ruleset {
    /// Returns the set updates from `before` to this rule set; `None` if more than elements
    /// differs, and the table has to be replaced.
    pub fn updates_from(&self, before: &Self) -> Option<Vec<SetUpdate>> {
        let Self { flow_table, sets, chains } = self;
        if *flow_table != before.flow_table
            || *chains != before.chains
            || sets.len() != before.sets.len()
        {
            return None;
        }
        let updates: Option<Vec<_>> =
            sets.iter().zip(&before.sets).map(|(now, then)| now.update_from(then)).collect();
        updates.map(|updates| updates.into_iter().filter(|update| !update.is_empty()).collect())
    }
}
