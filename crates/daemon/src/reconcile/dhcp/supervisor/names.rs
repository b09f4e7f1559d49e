//! Names of leases, which follow the file of names only after a second reload.
//!
//! On a reload dnsmasq (2.90) looks up the name of a lease's address in its cache. That still holds
//! the node's own name beside the file's, and their order in a hash table decides which is found
//! (`host_from_dns` in `dhcp.c`, `cache_find_by_addr` in `cache.c`). So the node's own name may be
//! resolved until its lease ends. The reload removes the reverse entry of the own name, so a second
//! one finds the file's.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::Supervisor;
use crate::view::dhcp::Files;
use crate::watch::dhcp::leases::file::Entry;

/// Limit on extra reloads. More than one, since the kernel may merge two pending signals.
const EXTRA_RELOADS: u8 = 2;

impl Supervisor {
    /// Prepares for the reload of these files.
    pub(super) fn expect_names(&mut self, desired: &Files) {
        if self.applied.as_ref().is_none_or(|applied| applied.nodes.names != desired.nodes.names) {
            self.reloads_left = EXTRA_RELOADS;
        }
    }

    /// Reloads again if `line` logs a reload after which a lease still has another name than the
    /// file of names gives it.
    pub(super) fn follow_names(&mut self, line: &str) {
        let (Some(running), Some(applied)) = (&self.running, &self.applied) else { return };
        let is_due = self.reloads_left > 0 && are_read(line);
        if is_due && differ(&self.store.entries(), &applied.nodes.names) {
            self.reloads_left -= 1;
            running.reload();
        }
    }
}

/// Returns whether a line logs that dnsmasq read the file of names:
/// `read /run/bramblegate/dnsmasq/names - 4 names`.
fn are_read(text: &str) -> bool {
    text.starts_with("read ") && text.contains("/names - ")
}

/// Returns whether a lease has another name than the file gives its address.
fn differ(leases: &[Entry], file: &str) -> bool {
    let mut names = BTreeMap::new();
    for (address, name) in file.lines().filter_map(|line| line.split_once(' ')) {
        if let Ok(address) = address.parse::<Ipv4Addr>() {
            names.entry(address).or_insert(name);
        }
    }
    leases.iter().any(|lease| match (&lease.host_name, names.get(&lease.address)) {
        (Some(own), Some(name)) => !own.eq_ignore_ascii_case(name),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::dhcp::leases::file::parse;

    #[test]
    fn a_lease_with_another_name_than_the_file_gives_differs() {
        let leases = |name: &str| {
            let text = format!("2000 b8:27:eb:00:00:01 192.168.50.150 {name} *\n");
            parse(text.as_bytes()).entries
        };
        let file = "192.168.50.1 head\nfd00::150 other\n192.168.50.150 rpi2\n";
        assert!(differ(&leases("worker"), file));
        assert!(!differ(&leases("RPi2"), file));
        assert!(!differ(&leases("*"), file), "it has no name in the cache");
        assert!(!differ(&leases("worker"), "192.168.50.1 head\n"), "the file gives it none yet");
    }

    #[test]
    fn the_line_of_a_reload_is_recognised() {
        assert!(are_read("read /run/bramblegate/dnsmasq/names - 3 names"));
        assert!(!are_read("read /run/bramblegate/dnsmasq/hosts"));
    }
}
