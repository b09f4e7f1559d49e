//! The nodes as the daemon tells them, or as the settings name them where no daemon answers.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::super::settings;
use super::super::status::client::{Client, Error};
use super::super::status::configured_socket;
use crate::config::Fault;

/// A snapshot that takes longer does not come.
const PATIENCE: Duration = Duration::from_secs(5);

/// One node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub name: String,
    pub mac: Option<String>,
    pub address: Option<Ipv4Addr>,
    /// the settings do not name it
    pub found: bool,
}

/// What `ssh` and a hosts file need to know.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Known {
    pub nodes: Vec<Node>,
    /// the address that stands on the panel's first row
    pub head: Option<IpAddr>,
    /// all that the daemon tells of the head's ports
    pub held: Vec<IpAddr>,
}

/// Why nothing is known.
#[derive(Debug)]
pub enum Unknown {
    Socket(PathBuf, Error),
    Settings(Vec<Fault>),
}

/// The daemon's snapshot.
///
/// # Errors
/// Nobody answers at the socket, or not as a daemon does.
pub fn snapshot(socket: Option<PathBuf>, config: &Path) -> Result<Value, Unknown> {
    let own = || settings::load(config).ok().map(|merged| merged.settings.status.socket);
    let socket = socket.or_else(own).unwrap_or_else(configured_socket);
    let ask = || {
        let mut client = Client::connect(&socket)?;
        client.patience(Some(PATIENCE));
        client.next_line()?.ok_or_else(|| Error::NotStatus("it says nothing".to_owned()))
    };
    ask().map(|line| line.value).map_err(|error| Unknown::Socket(socket.clone(), error))
}

impl Known {
    /// From the daemon; where none answers, from the settings.
    ///
    /// # Errors
    /// Neither the one nor the other can be had.
    pub fn look(socket: Option<PathBuf>, config: &Path) -> Result<Self, Unknown> {
        match snapshot(socket, config) {
            Ok(value) => Ok(Self::of_status(&value)),
            Err(_) => {
                let merged = settings::load(config).map_err(Unknown::Settings)?;
                let node = |node: &crate::config::Node| Node {
                    name: node.name.clone(),
                    mac: node.mac.map(|mac| mac.to_string()),
                    address: node.address,
                    found: false,
                };
                Ok(Self { nodes: merged.settings.nodes.iter().map(node).collect(), ..Self::default() })
            }
        }
    }

    pub fn of_status(status: &Value) -> Self {
        let text = |value: &Value, path: &str| value.pointer(path).and_then(Value::as_str).map(str::to_owned);
        let nodes = status.get("nodes").and_then(Value::as_array).into_iter().flatten().filter_map(|node| {
            Some(Node {
                name: text(node, "/name").filter(|name| is_label(name))?,
                mac: text(node, "/mac"),
                address: text(node, "/address").and_then(|address| address.parse().ok()),
                found: text(node, "/origin").as_deref() == Some("found"),
            })
        });
        let head = status.pointer("/uplink/address").and_then(address);
        let cluster = status.pointer("/cluster/address").into_iter();
        let uplinks = status.get("uplinks").and_then(Value::as_array).into_iter().flatten();
        let of_uplinks = uplinks.filter_map(|uplink| uplink.get("addresses")?.as_array()).flatten();
        let held = cluster.chain(of_uplinks).filter_map(address).collect();
        Self { nodes: nodes.collect(), head, held }
    }
}

/// The address of `ADDRESS/LENGTH`.
fn address(value: &Value) -> Option<IpAddr> {
    value.as_str()?.split('/').next()?.parse().ok()
}

/// Names go into files that other programs read.
fn is_label(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}
