//! The addresses that found boards had: they keep them beyond their leases, for a board that was
//! off for a weekend, or a head that was off for a week, ends no promise. Whoever is here and finds
//! no other goes before them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use super::reclaim::Homes;
use crate::event::Mac;
use crate::files::folder;
use crate::watch::dhcp::leases::file::Leases;

/// Bounds the boards that are remembered: those that were here last.
const MOST: usize = 4096;

/// Holds which board had which address last, on the disk as `MAC ADDRESS` lines.
#[derive(Debug)]
pub struct Remembered {
    path: PathBuf,
    /// who came last stands last
    boards: Vec<(Mac, Ipv4Addr)>,
    /// who had a lease when they were noted last, and of which address
    here: BTreeMap<Mac, Ipv4Addr>,
    /// differs from the disk
    unwritten: bool,
}

impl Remembered {
    /// Reads the list leniently: a line that is none costs one board its memory.
    pub fn open(state_directory: &Path) -> Self {
        let path = state_directory.join("dnsmasq.addresses");
        let text = folder::read(&path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let mut list = Self { path, boards: Vec::new(), here: BTreeMap::new(), unwritten: false };
        for (mac, address) in text.lines().filter_map(entry) {
            list.place(mac, address);
        }
        list.unwritten = false;
        list
    }

    /// Notes who has a lease now, but for boards that have an address by the settings. Writes only
    /// when a board came, or has another address.
    ///
    /// # Errors
    /// The disk takes nothing; tried again with the next change.
    pub fn note(&mut self, leases: &Leases, homes: &Homes) -> io::Result<()> {
        let settled = BTreeSet::from_iter(homes.iter().map(|(_, mac)| *mac));
        let found = leases.entries.iter().filter(|entry| !settled.contains(&entry.mac));
        let here: BTreeMap<Mac, Ipv4Addr> = found.map(|entry| (entry.mac, entry.address)).collect();
        let before = std::mem::replace(&mut self.here, here.clone());
        for (mac, address) in here {
            if before.get(&mac) != Some(&address) {
                self.place(mac, address);
            }
        }
        self.write()
    }

    /// Forgets the board that was away longest, for another needs its address. Returns whether
    /// there was one.
    pub fn let_go(&mut self) -> bool {
        let Some(place) = self.boards.iter().position(|(mac, _)| !self.here.contains_key(mac))
        else {
            return false;
        };
        self.boards.remove(place);
        self.unwritten = true;
        // Written with the next lease: that of the board that needs it.
        true
    }

    /// Forgets a board. One that has a lease is remembered again when it has another, or comes
    /// back.
    ///
    /// # Errors
    /// The disk takes nothing.
    pub fn forget(&mut self, mac: Mac) -> io::Result<()> {
        let before = self.boards.len();
        self.boards.retain(|(board, _)| *board != mac);
        self.unwritten |= self.boards.len() != before;
        self.write()
    }

    /// Returns the boards that are away with the addresses that they had; those that were here last
    /// first.
    pub fn away(&self) -> impl Iterator<Item = (Mac, Ipv4Addr)> {
        self.boards.iter().rev().filter(|(mac, _)| !self.here.contains_key(mac)).copied()
    }

    /// Notes an address for a board, and takes it from any other: an address is one board's, and a
    /// board has one address.
    fn place(&mut self, mac: Mac, address: Ipv4Addr) {
        if self.boards.last() == Some(&(mac, address)) {
            return;
        }
        self.boards.retain(|(board, place)| *board != mac && *place != address);
        self.boards.push((mac, address));
        let surplus = self.boards.len().saturating_sub(MOST);
        self.boards.drain(..surplus);
        self.unwritten = true;
    }

    fn write(&mut self) -> io::Result<()> {
        if self.unwritten {
            let text: String =
                self.boards.iter().map(|(mac, address)| format!("{mac} {address}\n")).collect();
            folder::keep(&self.path, text)?;
            self.unwritten = false;
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
    fn a_board_that_was_away_is_expected_where_it_was_also_after_a_restart_and_in_another_subnet() {
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
    fn a_board_that_is_here_goes_before_one_that_was() {
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
                list.place(Mac([last, 0, 0, 0, 0, board]), Ipv4Addr::new(10, board, 0, last));
            }
        }
        let more =
            (0..MOST).map(|n| (Mac([1, 0, 0, 0, 0, 0]), Ipv4Addr::from(u32::try_from(n).unwrap())));
        more.for_each(|(mac, address)| list.place(mac, address));
        assert!(list.boards.len() <= MOST);
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
    fn damage_costs_one_line() {
        let (list, folder) = list("damage");
        fs::write(
            &list.path,
            b"b8:27:eb:00:00:01 192.168.50.101\nrubbish\xff\nb8:27:eb:00:00:02 192.168.50.10",
        )
        .unwrap();
        assert_eq!(Remembered::open(&folder).boards.len(), 2);
        fs::remove_dir_all(folder).unwrap();
    }
}
