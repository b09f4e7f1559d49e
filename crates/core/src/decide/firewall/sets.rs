//! Named sets and maps: what they hold, how a packet is looked up in them, and the change that
//! makes one of another.
//!
//! Elements are part of the plan: it holds all of them. Two plans that differ in elements alone
//! differ by [`SetUpdate`]s, which change the kernel's set where it stands: no rule is replaced, no
//! counter starts anew.

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
    /// type of an element's key; more than one is a concatenation
    pub key: Vec<Kind>,
    /// type of what a key leads to; `None`: a set
    pub data: Option<DataKind>,
    /// `flags constant`: once a rule uses it, its elements stay as they are
    pub constant: bool,
    /// `flags interval`: keys may be networks and ranges
    pub interval: bool,
    /// `flags dynamic`: rules add elements, see [`super::Action::Sample`]
    pub dynamic: bool,
    /// how long an element stays, in seconds. Such a set begins with `elements`; what it holds
    /// later is the clock's matter
    pub timeout: Option<u64>,
    /// most elements that it takes
    pub size: Option<u32>,
    /// in a map each with its data
    pub elements: Elements,
}

/// The elements of a set: key, and data if it is a map. Keys do not overlap.
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
    /// an integer below this, as [`Key::RoundRobin`] and [`Key::Hash`] yield it: alone in its key,
    /// without intervals. nft has no type of this name, so that such a map is declared by examples:
    /// `typeof numgen inc mod N`
    Number(u32),
}

/// Type of what a map leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataKind {
    Verdict,
    /// more than one is a concatenation
    Values(Vec<Kind>),
}

/// One field of a key or of data.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    /// an address, as the network of it alone, or a network, without host bits
    Addresses(IpNet),
    /// first and last; alike for one port
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

/// What a key of a map leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    Verdict(Verdict),
    Values(Vec<Item>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Accept,
    Drop,
    /// the chain of this name, and no way back
    Goto(Name),
    /// the chain of this name; what it does not decide comes back to the rule after the lookup
    Jump(Name),
}

/// A key, looked up in the set of this name, which must be one of [`Ruleset::sets`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    pub key: Key,
    pub set: Name,
}

/// What is looked up in a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// fields of the packet: as many, and of the same types, as the set's key
    Fields(Vec<Field>),
    /// `numgen inc mod N`: 0, 1 … N - 1, 0 …, one further with each packet that asks (module
    /// `nft_numgen`). A rule that is replaced begins anew, a map that is changed goes on: so the
    /// shares stay alike
    RoundRobin { modulus: u32 },
    /// `jhash FIELDS mod N seed S`: a number below N, the same whenever the fields are the same
    /// (module `nft_hash`). Without a seed each load of the table would map otherwise
    Hash { fields: Vec<Field>, modulus: u32, seed: u32 },
}

/// A field of a packet. One of a protocol also makes sure that the packet is of that protocol.
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

/// A change of a set's elements: first all of `remove` goes, then all of `add` comes. An element
/// with other data is in both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetUpdate {
    pub set: Name,
    /// the set's flag
    pub interval: bool,
    pub remove: BTreeSet<Vec<Item>>,
    pub add: Elements,
}

impl Set {
    /// Returns the change that makes `before` this set; `None` where elements are not all that
    /// differs, or must not change.
    fn update_from(&self, before: &Self) -> Option<SetUpdate> {
        if !self.is_same_but_for_elements(before)
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

    /// Returns whether nothing but elements differs.
    fn is_same_but_for_elements(&self, other: &Self) -> bool {
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
    /// Returns the changes of sets that make `before` this rule set; `None` where more than
    /// elements differs, so that the table has to be replaced.
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
