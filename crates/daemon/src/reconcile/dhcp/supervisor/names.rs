//! Names of leases that follow the file of names with a second reading only.
//!
//! When dnsmasq (2.90) reads its files again it looks up in its cache who is at a lease's address.
//! The name that the board gave is still there, beside the one of the file, and which of the two is
//! found depends on where they stand in a hash table (`host_from_dns` in `dhcp.c`,
//! `cache_find_by_addr` in `cache.c`): the board's own name may be resolved for as long as its
//! lease lasts. After that reading the board's name leads from no address any more, so that the
//! next one finds the file's.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::Supervisor;
use crate::view::dhcp::Files;
use crate::watch::dhcp::leases::file::Entry;

/// So often are the files read once more at most: two signals in a row may be one to a process.
const READINGS: u8 = 2;

impl Supervisor {
    /// Notes that the running one is about to read these files.
    pub(super) fn expect_names(&mut self, wanted: &Files) {
        if self.given.as_ref().is_none_or(|given| given.nodes.names != wanted.nodes.names) {
            self.readings = READINGS;
        }
    }

    /// Takes a line of its log. Lets it read its files again if it has read them, and a lease has
    /// kept another name than they give.
    pub(super) fn follow_names(&mut self, line: &str) {
        let (Some(running), Some(given)) = (&self.running, &self.given) else { return };
        let due = self.readings > 0 && are_read(line);
        if due && differ(&self.keep.entries(), &given.nodes.names) {
            self.readings -= 1;
            running.reload();
        }
    }
}

/// Returns whether a line logs that the file of names was read:
/// `read /run/bramblegate/dnsmasq/names - 4 names`.
fn are_read(text: &str) -> bool {
    text.starts_with("read ") && text.contains("/names - ")
}

/// Returns whether a lease has another name than the file gives to its address.
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
    fn the_line_is_known() {
        assert!(are_read("read /run/bramblegate/dnsmasq/names - 3 names"));
        assert!(!are_read("read /run/bramblegate/dnsmasq/hosts"));
    }
}
