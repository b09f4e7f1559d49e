//! The last addresses of discovered nodes, which they keep after the end of their leases: the node
//! may be off for a weekend, or the head for a week. A present node that finds no other address
//! takes precedence.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use super::reclaim::Homes;
use crate::event::Mac;
use crate::files::folder;
use crate::watch::dhcp::leases::file::Leases;

/// Limit on remembered nodes; the ones seen last are kept.
const MOST: usize = 4096;

/// The last address of each node, on disk as `MAC ADDRESS` lines.
#[derive(Debug)]
pub struct Remembered {
    path: PathBuf,
    /// In the order in which they were last seen.
    nodes: Vec<(Mac, Ipv4Addr)>,
    /// The current leases.
    present: BTreeMap<Mac, Ipv4Addr>,
    /// Differs from the disk.
    unsaved: bool,
}

impl Remembered {
    /// Reads the list and skips damaged lines.
    pub fn open(state_directory: &Path) -> Self {
        let path = state_directory.join("dnsmasq.addresses");
        let text = folder::read(&path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let mut list = Self { path, nodes: Vec::new(), present: BTreeMap::new(), unsaved: false };
        for (mac, address) in text.lines().filter_map(entry) {
            list.set(mac, address);
        }
        list.unsaved = false;
        list
    }

    /// Records the current leases, except those of nodes whose address is in the settings. Writes
    /// only if a node is new or has another address.
    ///
    /// # Errors
    /// The file cannot be written; the next change retries.
    pub fn note(&mut self, leases: &Leases, homes: &Homes) -> io::Result<()> {
        let configured = BTreeSet::from_iter(homes.iter().map(|(_, mac)| *mac));
        let discovered = leases.entries.iter().filter(|entry| !configured.contains(&entry.mac));
        let present: BTreeMap<Mac, Ipv4Addr> =
            discovered.map(|entry| (entry.mac, entry.address)).collect();
        let before = std::mem::replace(&mut self.present, present.clone());
        for (mac, address) in present {
            if before.get(&mac) != Some(&address) {
                self.set(mac, address);
            }
        }
        self.save()
    }

    /// Forgets the node that has been absent longest, so that another gets its address. Returns
    /// whether there was one.
    pub fn let_go(&mut self) -> bool {
        let Some(index) = self.nodes.iter().position(|(mac, _)| !self.present.contains_key(mac))
        else {
            return false;
        };
        self.nodes.remove(index);
        // Saved with the lease of the node that needs the address.
        self.unsaved = true;
        true
    }

    /// Forgets a node. A present one is recorded again when its address changes or it returns.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn forget(&mut self, mac: Mac) -> io::Result<()> {
        let before = self.nodes.len();
        self.nodes.retain(|(node, _)| *node != mac);
        self.unsaved |= self.nodes.len() != before;
        self.save()
    }

    /// Returns the absent nodes with their last addresses, the ones seen last first.
    pub fn away(&self) -> impl Iterator<Item = (Mac, Ipv4Addr)> {
        self.nodes.iter().rev().filter(|(mac, _)| !self.present.contains_key(mac)).copied()
    }

    /// Records the address of a node, and removes it from any other node.
    fn set(&mut self, mac: Mac, address: Ipv4Addr) {
        if self.nodes.last() == Some(&(mac, address)) {
            return;
        }
        self.nodes.retain(|(node, used)| *node != mac && *used != address);
        self.nodes.push((mac, address));
        let surplus = self.nodes.len().saturating_sub(MOST);
        self.nodes.drain(..surplus);
        self.unsaved = true;
    }

    fn save(&mut self) -> io::Result<()> {
        if self.unsaved {
            let text: String =
                self.nodes.iter().map(|(mac, address)| format!("{mac} {address}\n")).collect();
            folder::keep(&self.path, text)?;
            self.unsaved = false;
        }
        Ok(())
    }
}

fn entry(line: &str) -> Option<(Mac, Ipv4Addr)> {
    let (mac, address) = line.split_once(' ')?;
    Some((mac.parse().ok()?, address.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use ipnet::Ipv4Net;

    use super::*;
    use crate::decide::cluster::keep_host;
    use crate::decide::dhcp::places;
    use crate::watch::dhcp::leases::file::parse;

    const NET: &str = "192.168.50.1/24";
    const RANGE: (Ipv4Addr, Ipv4Addr) =
        (Ipv4Addr::new(192, 168, 50, 100), Ipv4Addr::new(192, 168, 50, 109));

    fn list(name: &str) -> (Remembered, PathBuf) {
        let folder = tempfile::Builder::new().prefix(name).tempdir().unwrap().keep();
        (Remembered::open(&folder), folder)
    }

    fn leases(boards: &[(u8, u8)]) -> Leases {
        let line = |(board, last): &(u8, u8)| {
            format!("9 b8:27:eb:00:00:{board:02x} 192.168.50.{last} * *\n")
        };
        parse(boards.iter().map(line).collect::<String>().as_bytes())
    }

    fn expected(list: &Remembered, net: &str) -> Vec<(u8, u8)> {
        let net: Ipv4Net = net.parse().unwrap();
        let range = Some((keep_host(RANGE.0, net), keep_host(RANGE.1, net)));
        places::expected(list.away(), net, range)
            .iter()
            .map(|(mac, address)| (mac.0[5], address.octets()[3]))
            .collect()
    }

    #[test]
    fn an_absent_node_is_expected_at_its_address_after_a_restart_and_in_another_subnet() {
        let (mut list, folder) = list("away");
        list.note(&leases(&[(1, 101), (2, 102)]), &[]).unwrap();
        assert_eq!(expected(&list, NET), [], "both are here");
        list.note(&leases(&[(2, 102)]), &[]).unwrap();
        assert_eq!(expected(&list, NET), [(1, 101)]);
        let list = Remembered::open(&folder);
        assert_eq!(expected(&list, "10.213.50.1/24"), [(2, 102), (1, 101)]);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_present_node_takes_precedence_over_an_absent_one() {
        let (mut list, folder) = list("here");
        list.note(&leases(&[(1, 101), (2, 102)]), &[]).unwrap();
        list.note(&leases(&[(3, 101)]), &[]).unwrap();
        assert_eq!(expected(&list, NET), [(2, 102)], "another has that address");
        assert!(list.let_go());
        assert!(!list.let_go(), "those with a lease stay");
        assert_eq!(expected(&list, NET), []);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn memory_and_reservations_are_bounded_and_a_renewal_writes_nothing() {
        let (mut list, folder) = list("bounds");
        for board in 0..=255 {
            for last in [100, 101, 102, 103, 104, 105, 106, 107, 108] {
                list.set(Mac([last, 0, 0, 0, 0, board]), Ipv4Addr::new(10, board, 0, last));
            }
        }
        let more =
            (0..MOST).map(|n| (Mac([1, 0, 0, 0, 0, 0]), Ipv4Addr::from(u32::try_from(n).unwrap())));
        more.for_each(|(mac, address)| list.set(mac, address));
        assert!(list.nodes.len() <= MOST);
        let five = leases(&[(1, 100), (2, 101), (3, 102), (4, 103), (5, 104), (6, 105), (7, 106)]);
        list.note(&five, &[]).unwrap();
        list.note(&leases(&[]), &[]).unwrap();
        assert_eq!(
            expected(&list, NET),
            [(7, 106), (6, 105), (5, 104), (4, 103), (3, 102)],
            "half of the range"
        );
        fs::remove_dir_all(&folder).unwrap();
        list.note(&leases(&[]), &[]).expect("nothing is to be written");
        list.note(&five, &[]).expect_err("and now there is");
    }

    #[test]
    fn damaged_lines_are_skipped() {
        let (list, folder) = list("damage");
        fs::write(
            &list.path,
            b"b8:27:eb:00:00:01 192.168.50.101\nrubbish\xff\nb8:27:eb:00:00:02 192.168.50.10",
        )
        .unwrap();
        assert_eq!(Remembered::open(&folder).nodes.len(), 2);
        fs::remove_dir_all(folder).unwrap();
    }
}
