//! Checks addresses and ports against each other, and builds the nodes.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;

use ipnet::Ipv4Net;

use super::derive::overlap;
use super::fault::Origin;
use super::keys::{self, Key};
use super::tree::Table;
use super::validate::Check;
use super::{Cluster, Dhcp, Gateway, Group, Node, NodeProbe, PortPattern, Uplink};
use crate::Mac;

impl Check<'_> {
    /// Checks that no uplink is also the cluster interface.
    pub fn ports(&mut self, uplink: &Uplink, cluster: &Cluster) {
        for (index, pattern) in uplink.interfaces.iter().enumerate() {
            if *pattern == cluster.interface {
                self.report(
                    self.element(&keys::UPLINK_INTERFACES, index),
                    format!("uplink.interfaces: \"{pattern}\" is the cluster interface as well"),
                    "change this or cluster.interface: one interface leads to the venue, another \
                     to the nodes",
                );
            }
        }
    }

    /// Checks that no trusted port is also the cluster interface or an uplink.
    pub fn trust(&mut self, gateway: &Gateway, uplink: &Uplink, cluster: &Cluster) {
        for (index, pattern) in gateway.trust.iter().enumerate() {
            let (what, remedy) = if *pattern == cluster.interface {
                ("the cluster interface", "remove it: the nodes may reach the head node anyway")
            } else if uplink.interfaces.contains(pattern) {
                (
                    "an uplink",
                    "keep it here or in uplink.interfaces: uplink.allow lists what the venue may \
                     reach",
                )
            } else {
                continue;
            };
            let message = format!("gateway.trust: \"{pattern}\" is {what} as well");
            self.report(self.element(&keys::GATEWAY_TRUST, index), message, remedy);
        }
    }

    /// Returns the position of an element of a list.
    fn element(&self, key: &Key, index: usize) -> Origin {
        let item = self.tree.get(key.path).and_then(|item| item.list()?.get(index));
        item.map_or_else(|| self.place(key), |item| item.at)
    }

    pub fn fallback_addresses(
        &mut self,
        head: Ipv4Net,
        addresses: &[Ipv4Net],
        dhcp: Option<&Dhcp>,
    ) {
        let path = keys::CLUSTER_FALLBACK_ADDRESSES.path;
        for (index, net) in addresses.iter().enumerate() {
            let at = self.element(&keys::CLUSTER_FALLBACK_ADDRESSES, index);
            let before = addresses.iter().take(index).find(|other| overlap(**other, *net));
            if net.prefix_len() != head.prefix_len() {
                let remedy =
                    format!("write \"{}/{}\": host parts are kept", net.addr(), head.prefix_len());
                self.report(
                    at,
                    format!("{path}: {net} has another prefix length than cluster.address {head}"),
                    remedy,
                );
            } else if overlap(*net, head) {
                let message = format!("{path}: {net} overlaps cluster.address {head}");
                self.report(
                    at,
                    message,
                    "choose another subnet, such as one of 10.213.0.0/16 or 172.30.0.0/16",
                );
            } else if let Some(other) = before {
                self.report(
                    at,
                    format!("{path}: {net} overlaps {other} before it"),
                    "choose subnets that do not overlap",
                );
            } else if keep_host(net.addr(), head) != head.addr()
                && dhcp.is_some_and(|dhcp| is_in_range(dhcp, keep_host(net.addr(), head)))
            {
                let message = format!(
                    "{path}: the head node's host part in {net} is within cluster.dhcp.range"
                );
                self.report(
                    at,
                    message,
                    format!("write \"{}\": host parts are kept", moved_to(head, *net)),
                );
            }
        }
    }

    pub fn dhcp_range(&mut self, head: Ipv4Net, dhcp: &Dhcp) {
        let at = self.place(&keys::CLUSTER_DHCP_RANGE);
        let path = keys::CLUSTER_DHCP_RANGE.path;
        let remedy = format!("write hosts of {}, which are {}", head.trunc(), host_range(head));
        for end in [dhcp.first, dhcp.last] {
            let problem = if !head.contains(&end) {
                "is outside the cluster's subnet"
            } else if end == head.network() || end == head.broadcast() {
                "is not a host of the cluster's subnet"
            } else {
                continue;
            };
            self.report(at, format!("{path}: {end} {problem}"), remedy);
            return;
        }
        if is_in_range(dhcp, head.addr()) {
            let message =
                format!("{path}: the head node's address {} is in the range", head.addr());
            self.report(at, message, "begin the range after it, or end it before");
        }
    }

    pub fn nodes(
        &mut self,
        tables: &[Table],
        cluster: Option<&Cluster>,
        groups: &[Group],
    ) -> Vec<Node> {
        let mut seen = Seen::default();
        tables.iter().filter_map(|table| self.node(table, cluster, groups, &mut seen)).collect()
    }

    fn node(
        &mut self,
        table: &Table,
        cluster: Option<&Cluster>,
        groups: &[Group],
        seen: &mut Seen,
    ) -> Option<Node> {
        let name = keys::NODE_NAME.of(table)?;
        let mac = keys::NODE_MAC.of(table);
        let address = keys::NODE_ADDRESS.of(table);
        if table.get("mac").is_none() && table.get("address").is_none() {
            let message =
                format!("node \"{name}\" has neither mac nor address, so it cannot be found");
            self.report(keys::NODE_NAME.place(table), message, "add mac or address, or both");
        }
        if let Some(address) = address {
            if let Some(cluster) = cluster {
                self.node_address(keys::NODE_ADDRESS.place(table), &name, address, cluster);
            }
            if let Some((other, first)) =
                seen.addresses.insert(address, (name.clone(), keys::NODE_ADDRESS.place(table)))
            {
                let message =
                    format!("node \"{name}\": {address} is the address of \"{other}\" as well");
                self.report(
                    keys::NODE_ADDRESS.place(table),
                    message,
                    format!("give each its own; the other one is at {}", self.sources.place(first)),
                );
            }
        }
        if let Some((other, first)) =
            mac.and_then(|mac| seen.macs.insert(mac, (name.clone(), keys::NODE_MAC.place(table))))
        {
            let message = format!("node \"{name}\" has the hardware address of \"{other}\"");
            self.report(
                keys::NODE_MAC.place(table),
                message,
                format!("give each its own; the other one is at {}", self.sources.place(first)),
            );
        }
        let group = self.membership(table, &name, groups);
        let probes = seen.intern(keys::NODE_PROBE.of(table)?);
        let timeout = keys::NODE_TIMEOUT.of(table);
        Some(Node { name, mac, address, probes, timeout, group })
    }

    fn node_address(&mut self, at: Origin, name: &str, address: Ipv4Addr, cluster: &Cluster) {
        let head = cluster.address;
        let remedy = format!("choose one of {}", host_range(head));
        if !head.contains(&address) {
            let message = format!(
                "node \"{name}\": {address} is outside the cluster's subnet {}",
                head.trunc()
            );
            self.report(at, message, remedy);
        } else if address == head.addr() {
            self.report(
                at,
                format!("node \"{name}\": {address} is the head node's own address"),
                "choose another address",
            );
        } else if address == head.network() || address == head.broadcast() {
            self.report(
                at,
                format!("node \"{name}\": {address} is not a host of the cluster's subnet"),
                remedy,
            );
        } else if let Some(net) =
            cluster.fallback_addresses.iter().find(|net| keep_host(net.addr(), head) == address)
        {
            let message = format!(
                "node \"{name}\": if the cluster moves to {net}, {address} keeps its host part, \
                 which is the head node's there"
            );
            self.report(
                at,
                message,
                format!(
                    "choose another address, or write \"{}\" in cluster.fallback_addresses",
                    moved_to(head, *net)
                ),
            );
        }
    }

    /// Checks the address that a port is forwarded to: a host of the cluster's subnet or of a
    /// fallback subnet, and not the head.
    pub fn target(&mut self, at: Origin, address: Ipv4Addr, cluster: &Cluster) {
        let head = cluster.address;
        let net = std::iter::once(&head)
            .chain(&cluster.fallback_addresses)
            .find(|net| net.contains(&address));
        let message = match net {
            None => format!("{address} is outside the cluster's subnet {}", head.trunc()),
            Some(net) if keep_host(head.addr(), *net) == address => {
                format!("{address} is the head node's own address")
            }
            Some(net) if address == net.network() || address == net.broadcast() => {
                format!("{address} is not a host of the cluster's subnet")
            }
            Some(_) => return,
        };
        self.report(
            at,
            message,
            format!("write the name of a node, or one of {}", host_range(head)),
        );
    }
}

#[derive(Default)]
struct Seen {
    addresses: HashMap<Ipv4Addr, (String, Origin)>,
    macs: HashMap<Mac, (String, Origin)>,
    probes: HashSet<Arc<[NodeProbe]>>,
}

impl Seen {
    /// Returns one shared list for equal probes: ten thousand separate ones would take a megabyte.
    fn intern(&mut self, probes: Vec<NodeProbe>) -> Arc<[NodeProbe]> {
        if let Some(known) = self.probes.get(probes.as_slice()) {
            return Arc::clone(known);
        }
        let shared: Arc<[NodeProbe]> = probes.into();
        self.probes.insert(Arc::clone(&shared));
        shared
    }
}

fn is_in_range(dhcp: &Dhcp, address: Ipv4Addr) -> bool {
    (dhcp.first..=dhcp.last).contains(&address)
}

/// Returns `address` with its host part in the subnet of `net`. Only addresses of DHCPv4 move with
/// the cluster.
pub fn keep_host(address: Ipv4Addr, net: Ipv4Net) -> Ipv4Addr {
    net.network() | (address & net.hostmask())
}

/// Returns the head's address with its host part in another subnet, as text.
fn moved_to(head: Ipv4Net, net: Ipv4Net) -> String {
    format!("{}/{}", keep_host(head.addr(), net), net.prefix_len())
}

/// Formats the range of hosts: "192.168.50.1 to 192.168.50.254".
fn host_range(net: Ipv4Net) -> String {
    let first = Ipv4Addr::from(u32::from(net.network()).saturating_add(1));
    let last = Ipv4Addr::from(u32::from(net.broadcast()).saturating_sub(1));
    format!("{first} to {last}")
}

impl fmt::Display for PortPattern {
    /// Writes it as the settings have it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Glob(name) => f.write_str(name),
            Self::Mac(mac) => write!(f, "mac:{mac}"),
        }
    }
}
