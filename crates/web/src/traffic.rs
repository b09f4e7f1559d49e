//! What the kernel counts and everybody may read: bytes of ports, tracked connections.

use std::fs;

use bramblegate_api::status::Snapshot;

/// What a port has received and sent since the machine started, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    pub received: u64,
    pub sent: u64,
}

/// Returns the traffic of each uplink that is there.
pub fn of_uplinks(snapshot: &Snapshot) -> Vec<(String, Traffic)> {
    let names = snapshot.uplinks.iter().filter_map(|uplink| uplink.interface.as_deref());
    names.filter_map(|name| Some((name.to_owned(), of_port(name)?))).collect()
}

/// Returns the traffic of one port (Documentation/ABI/testing/sysfs-class-net-statistics).
fn of_port(name: &str) -> Option<Traffic> {
    // A name of a port has no slash (dev_valid_name() in net/core/dev.c); a text that came by a
    // socket may.
    if name.contains('/') || name.starts_with('.') {
        return None;
    }
    let count = |what: &str| number(&format!("/sys/class/net/{name}/statistics/{what}"));
    Some(Traffic { received: count("rx_bytes")?, sent: count("tx_bytes")? })
}

/// Returns a figure of connection tracking: "count" or "max"
/// (Documentation/networking/nf_conntrack-sysctl.rst); `None` where the module is not loaded.
pub fn conntrack(what: &str) -> Option<u64> {
    number(&format!("/proc/sys/net/netfilter/nf_conntrack_{what}"))
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}
