//! Counters of the kernel that need no rights: bytes of interfaces, tracked connections.

use std::fs;

use bramblegate_api::status::Snapshot;

/// The bytes that an interface has received and sent since it was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    pub received: u64,
    pub sent: u64,
}

/// Returns the traffic of each uplink that exists.
pub fn of_uplinks(snapshot: &Snapshot) -> Vec<(String, Traffic)> {
    let names = snapshot.uplinks.iter().filter_map(|uplink| uplink.interface.as_deref());
    names.filter_map(|name| Some((name.to_owned(), of_port(name)?))).collect()
}

/// Returns the traffic of one interface (Documentation/ABI/testing/sysfs-class-net-statistics).
fn of_port(name: &str) -> Option<Traffic> {
    // The name comes from a socket: refuse what no interface can have (dev_valid_name() in
    // net/core/dev.c) and what would lead to another path.
    if name.contains('/') || name.starts_with('.') {
        return None;
    }
    let count = |what: &str| number(&format!("/sys/class/net/{name}/statistics/{what}"));
    Some(Traffic { received: count("rx_bytes")?, sent: count("tx_bytes")? })
}

/// Returns the sysctl "count" or "max" of connection tracking
/// (Documentation/networking/nf_conntrack-sysctl.rst); `None` where the module is not loaded.
pub fn conntrack(what: &str) -> Option<u64> {
    number(&format!("/proc/sys/net/netfilter/nf_conntrack_{what}"))
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}
