//! The nodes as the daemon reports them, or those of the settings if no daemon answers.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;

use super::super::settings;
use super::super::status::{TIMEOUT, configured_socket};
use crate::api::client::{Error, StatusClient};
use crate::api::status::{self, NodeHealth, Origin, Snapshot};
use crate::config::Fault;

/// One node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub name: String,
    pub mac: Option<String>,
    /// Of IPv4, if it has one.
    pub address: Option<IpAddr>,
    /// The lasting IPv6 addresses: without those of a network that the venue delegated.
    pub ipv6: Vec<IpAddr>,
    /// It is not in the settings.
    pub found: bool,
    pub group: Option<String>,
    /// As in the status; "unknown" if no daemon answers.
    pub health: String,
}

impl Node {
    /// Returns whether it is in the settings, by name or as a member of a group. Other devices may
    /// be visitors.
    pub fn is_named(&self) -> bool {
        !self.found || self.group.is_some()
    }
}

/// The nodes, and the addresses of the head.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inventory {
    pub nodes: Vec<Node>,
    /// The address on the panel's first row.
    pub head: Option<IpAddr>,
    /// All addresses of the head's interfaces that the daemon reports.
    pub held: Vec<IpAddr>,
}

/// Why the nodes cannot be listed.
#[derive(Debug)]
pub enum Unavailable {
    Socket(PathBuf, Error),
    Settings(Vec<Fault>),
}

/// Returns the daemon's snapshot.
///
/// # Errors
/// No daemon answers at the socket, or the answer is not a status.
pub fn snapshot(socket: Option<PathBuf>, config: &Path) -> Result<Snapshot, Unavailable> {
    let socket = socket.unwrap_or_else(|| configured_socket(config));
    match StatusClient::fetch(&socket, TIMEOUT) {
        Ok((_, snapshot)) => Ok(snapshot),
        Err(error) => Err(Unavailable::Socket(socket, error)),
    }
}

impl Inventory {
    /// Returns the nodes from the daemon, or from the settings if no daemon answers.
    ///
    /// # Errors
    /// No daemon answers, and the settings have errors.
    pub fn load(socket: Option<PathBuf>, config: &Path) -> Result<Self, Unavailable> {
        match snapshot(socket, config) {
            Ok(status) => Ok(Self::of_status(&status)),
            Err(_) => {
                let merged = settings::load(config).map_err(Unavailable::Settings)?;
                let groups = &merged.settings.groups;
                Ok(Self {
                    nodes: merged
                        .settings
                        .nodes
                        .iter()
                        .map(|node| of_settings(node, groups))
                        .collect(),
                    ..Self::default()
                })
            }
        }
    }

    pub fn of_status(status: &Snapshot) -> Self {
        let delegated = status.cluster.ipv6.as_ref().and_then(|ipv6| ipv6.delegated);
        let nodes = status.nodes.iter().filter(|node| is_label(&node.name));
        let nodes = nodes.map(|node| of_status(node, delegated)).collect();
        let of_uplinks =
            status.uplinks.iter().filter_map(|uplink| uplink.addresses.as_ref()).flatten();
        let ipv6 = status.cluster.ipv6.iter().filter_map(|ipv6| ipv6.address.as_ref());
        let of_cluster = status.cluster.address.iter().chain(ipv6);
        let held = of_cluster.chain(of_uplinks).map(IpNet::addr).collect();
        Self { nodes, head: status.uplink.address.map(|net| net.addr()), held }
    }
}

/// Returns a node as the settings have it.
fn of_settings(node: &crate::config::Node, groups: &[crate::config::Group]) -> Node {
    Node {
        name: node.name.clone(),
        mac: node.mac.map(|mac| mac.to_string()),
        address: node.address.map(IpAddr::V4),
        ipv6: Vec::new(),
        found: false,
        group: node.group.and_then(|at| groups.get(at)).map(|group| group.name.clone()),
        health: NodeHealth::Unknown.to_string(),
    }
}

/// Returns a node as the status has it. `delegated`: the network that the venue delegated.
fn of_status(node: &status::Node, delegated: Option<IpNet>) -> Node {
    let lasts = |address: &&IpAddr| !delegated.is_some_and(|net| net.contains(*address));
    let ipv6 = node.addresses.iter().filter(|address| address.is_ipv6());
    Node {
        name: node.name.to_string(),
        mac: node.mac.as_ref().map(ToString::to_string),
        address: node.address.or_else(|| node.addresses.first().copied()),
        ipv6: ipv6.filter(lasts).copied().collect(),
        found: node.origin == Origin::Found,
        group: node.group.as_ref().map(ToString::to_string).filter(|group| is_label(group)),
        health: node.health.to_string(),
    }
}

/// Returns whether a name is safe in files that other programs read.
fn is_label(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}
