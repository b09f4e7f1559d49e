//! Leases that outlive a power cut. dnsmasq's lease file is in memory (`$RUNTIME_DIRECTORY`), and
//! is copied to the disk (`$STATE_DIRECTORY`) atomically and as rarely as possible.
//!
//! When the cluster moves to another subnet, its old leases are not passed to dnsmasq: a node that
//! has a lease but broadcasts a request for another address looks like a client of another server,
//! and gets no reply. They become reservations, so that dnsmasq refuses the old address and the
//! node gets one with the same host part.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use ipnet::Ipv4Net;

use super::reclaim::{Homes, conflicting};
use super::remembered::Remembered;
use crate::decide::dhcp::places::{self, Range};
use crate::event::Mac;
use crate::files::folder;
use crate::watch::dhcp::leases::file::{self, Entry, Leases};

/// The lease file and its copy.
#[derive(Debug)]
pub struct LeaseStore {
    working: PathBuf,
    copy: PathBuf,
    /// Content of the copy.
    copied: Option<BTreeMap<Mac, Entry>>,
    /// Leases in another subnet of nodes that have none in this one yet.
    moving: Vec<Entry>,
    /// The address expected in this subnet for each of `moving`, in the same order.
    reserved: Vec<(Mac, Ipv4Addr)>,
    /// The last addresses of absent nodes.
    remembered: Remembered,
}

impl LeaseStore {
    pub fn new(working: PathBuf, state_directory: &Path) -> Self {
        let copy = super::copied_leases(state_directory);
        let remembered = Remembered::open(state_directory);
        Self { working, copy, copied: None, moving: Vec::new(), reserved: Vec::new(), remembered }
    }

    /// Writes the lease file before a start of dnsmasq: the leases in `net`, the cluster's subnet,
    /// from the working file, and from the copy if that is missing or damaged. Leases of another
    /// subnet become reservations of the same host part, if it is in `range`. Leases of an address
    /// that the settings assign to another node (`homes`) are dropped. Returns all leases, and
    /// reports of damage.
    ///
    /// # Errors
    /// The lease file cannot be written.
    pub fn prepare(
        &mut self,
        net: Ipv4Net,
        range: Range,
        homes: &Homes,
    ) -> io::Result<(Leases, Vec<String>)> {
        let mut reported = Vec::new();
        let mut leases = self.read(&self.working.clone(), &mut reported);
        let copied = self.read(&self.copy.clone(), &mut reported);
        self.copied.get_or_insert_with(|| copied.clone().unwrap_or_default().by_mac());
        let intact = leases.as_ref().is_some_and(|leases| leases.damaged.is_empty());
        // An intact working file lacks only the leases of nodes that have yet to move.
        let copied = copied.into_iter().flat_map(|copied| copied.entries);
        let copied = copied.filter(|entry| !intact || !net.contains(&entry.address));
        let mut leases = leases.take().unwrap_or_default();
        leases.damaged.clear();
        let (mut macs, mut addresses) = (BTreeSet::new(), BTreeSet::new());
        leases.entries.extend(std::mem::take(&mut self.moving).into_iter().chain(copied));
        leases.entries.retain(|entry| macs.insert(entry.mac) && addresses.insert(entry.address));
        let conflicts =
            BTreeSet::from_iter(conflicting(&leases.entries, homes).iter().map(|entry| entry.mac));
        leases.entries.retain(|entry| !conflicts.contains(&entry.mac));
        let (valid, moving): (Vec<Entry>, _) =
            leases.entries.iter().cloned().partition(|entry| net.contains(&entry.address));
        let valid = Leases { entries: valid, damaged: Vec::new() };
        folder::replace(&self.working, valid.to_text())?;
        let addresses = valid.entries.iter().map(|entry| entry.address);
        let placed = moving.iter().map(|entry| (entry.mac, entry.address));
        self.reserved = places::reserved(placed, addresses, net, range);
        self.moving = moving;
        Ok((leases, reported))
    }

    /// Returns `hosts` (dnsmasq's `dhcp-hostsfile`) with reservations for nodes that move from
    /// another subnet, then for absent nodes, except of addresses that `hosts` contains. `lease` is
    /// the end of each line.
    pub fn reservations(&self, hosts: &str, away: &[(Mac, Ipv4Addr)], lease: &str) -> String {
        let expected = self.reserved.iter().chain(away);
        let mut taken: BTreeSet<Ipv4Addr> =
            hosts.split([',', '\n']).filter_map(|word| word.parse().ok()).collect();
        let mut reservations: BTreeMap<String, Ipv4Addr> = BTreeMap::new();
        for (mac, address) in expected {
            let mac = mac.to_string();
            if !reservations.contains_key(&mac) && taken.insert(*address) {
                reservations.insert(mac, *address);
            }
        }
        let mut text = String::new();
        for line in hosts.lines() {
            // Each node has one line. A line that has an address stays as it is.
            let (mac, rest) = line.split_once(',').unwrap_or((line, ""));
            let has_address = rest.split(',').any(|word| word.parse::<Ipv4Addr>().is_ok());
            let _ = match reservations.remove(mac).filter(|_| !has_address) {
                Some(address) => writeln!(text, "{mac},{address},{rest}"),
                None => writeln!(text, "{line}"),
            };
        }
        for (mac, address) in reservations {
            let _ = writeln!(text, "{mac},{address}{lease}");
        }
        text
    }

    /// Returns the addresses reserved for absent nodes.
    pub fn away(&self, net: Ipv4Net, range: Range) -> Vec<(Mac, Ipv4Addr)> {
        places::expected(self.remembered.away(), net, range)
    }

    /// Forgets an absent node, so that another gets its address. Returns whether there was one.
    pub fn let_go(&mut self) -> bool {
        self.remembered.let_go()
    }

    /// Forgets the address of a node.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn forget(&mut self, mac: Mac) -> io::Result<()> {
        self.moving.retain(|entry| entry.mac != mac);
        self.reserved.retain(|(node, _)| *node != mac);
        self.remembered.forget(mac)
    }

    /// Reads the current leases.
    pub fn entries(&self) -> Vec<Entry> {
        folder::read(&self.working).map(|bytes| file::parse(&bytes)).unwrap_or_default().entries
    }

    fn read(&self, path: &Path, reported: &mut Vec<String>) -> Option<Leases> {
        let leases = file::parse(&folder::read(path).ok()?);
        if !leases.damaged.is_empty() {
            let lines: Vec<String> = leases.damaged.iter().map(usize::to_string).collect();
            let (path, kept) = (path.display(), leases.entries.len());
            reported.push(format!(
                "{path}: line {} is damaged and was left out; {kept} leases are kept",
                lines.join(", ")
            ));
        }
        Some(leases)
    }

    /// Copies the leases to the disk if a lease was added, removed or changed, or expires soon
    /// according to the copy. Returns whether it did.
    ///
    /// # Errors
    /// The disk is full or read-only; the next change retries.
    pub fn copy(&mut self, leases: &Leases, homes: &Homes) -> io::Result<bool> {
        self.remembered.note(leases, homes)?;
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let leases = &self.with_moving(leases, clock);
        let now = leases.clone().by_mac();
        if !is_due(self.copied.as_ref(), &now, clock) {
            return Ok(false);
        }
        folder::keep(&self.copy, leases.to_text())?;
        self.copied = Some(now);
        Ok(true)
    }

    /// Returns the leases, with the unexpired ones of nodes that have yet to move.
    fn with_moving(&mut self, leases: &Leases, clock: u64) -> Leases {
        let moved = BTreeSet::from_iter(leases.entries.iter().map(|entry| entry.mac));
        let expired = |entry: &Entry| entry.expiry != 0 && entry.expiry <= clock;
        self.moving.retain(|entry| !moved.contains(&entry.mac) && !expired(entry));
        let waiting = BTreeSet::from_iter(self.moving.iter().map(|entry| entry.mac));
        self.reserved.retain(|(mac, _)| waiting.contains(mac));
        let entries = leases.entries.iter().chain(&self.moving).cloned().collect();
        Leases { entries, damaged: Vec::new() }
    }

    /// Returns the path of the copy, for messages.
    pub fn copy_path(&self) -> &Path {
        &self.copy
    }
}

/// Returns whether the leases have to be copied. Not each renewal is: the copy may have an earlier
/// expiry, as long as that leaves at least a quarter of the true remaining time.
fn is_due(copied: Option<&BTreeMap<Mac, Entry>>, now: &BTreeMap<Mac, Entry>, clock: u64) -> bool {
    let Some(copied) = copied else { return !now.is_empty() };
    let is_current = |entry: &Entry| {
        copied.get(&entry.mac).is_some_and(|copy| {
            let unchanged = Entry { expiry: entry.expiry, ..copy.clone() } == *entry;
            unchanged && remaining(copy, clock) >= remaining(entry, clock) / 4
        })
    };
    copied.len() != now.len() || !now.values().all(is_current)
}

/// Returns the remaining time of a lease in seconds, `u64::MAX` for an infinite one.
fn remaining(entry: &Entry, clock: u64) -> u64 {
    if entry.expiry == 0 { u64::MAX } else { entry.expiry.saturating_sub(clock) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::decide::cluster::keep_host;

    const TWO: &str =
        "2000 b8:27:eb:00:00:01 192.168.50.101 rpi1 *\n2000 b8:27:eb:00:00:02 192.168.50.102 * *\n";

    /// The default range of the settings.
    fn range(net: Ipv4Net) -> Range {
        let place = |last| keep_host(Ipv4Addr::new(0, 0, 0, last), net);
        Some((place(100), place(199)))
    }

    fn held(text: &str) -> BTreeMap<Mac, Entry> {
        file::parse(text.as_bytes()).by_mac()
    }

    #[test]
    fn each_change_is_copied_and_not_each_renewal() {
        let two = held(TWO);
        assert!(is_due(Some(&held("")), &two, 1000), "one came");
        assert!(
            is_due(Some(&two), &held(TWO.lines().next().unwrap().to_owned().as_str()), 1000),
            "one went"
        );
        assert!(!is_due(Some(&two), &two, 1000));
        assert!(is_due(Some(&two), &held(&TWO.replace(".102", ".103")), 1000), "another address");
        assert!(is_due(Some(&two), &held(&TWO.replace("rpi1", "rpi9")), 1000), "another name");
        let renewed = held(&TWO.replace("2000 ", "2500 "));
        assert!(
            !is_due(Some(&two), &renewed, 1500),
            "half of it is over: valid according to the disk"
        );
        let again = held(&TWO.replace("2000 ", "3000 "));
        assert!(is_due(Some(&two), &again, 2000), "no longer valid according to the disk");
        assert!(!is_due(None, &held(""), 1000), "without leases nothing is written");
    }

    #[test]
    fn leases_of_another_subnet_become_reservations_until_their_nodes_have_moved() {
        let held = tempfile::tempdir().unwrap();
        let folder = held.path().to_owned();
        let working = folder.join("leases");
        let far = TWO.replace("2000 ", "4000000000 ");
        fs::write(&working, &far).unwrap();
        let (away, home) = ("10.213.50.1/24".parse().unwrap(), "192.168.50.1/24".parse().unwrap());
        let mut store = LeaseStore::new(working.clone(), &folder);
        assert_eq!(
            store.prepare(away, range(away), &[]).unwrap().0.to_text(),
            far,
            "those were given before"
        );
        assert_eq!(
            fs::read_to_string(&working).unwrap(),
            "",
            "dnsmasq has no lease of a node that is elsewhere"
        );
        let both = "b8:27:eb:00:00:01,10.213.50.101\nb8:27:eb:00:00:02,10.213.50.102\n";
        assert_eq!(store.reservations("", &[], ""), both);
        let named = "b8:27:eb:00:00:01,rpi1\nrpi9,10.213.50.102\n";
        let placed = "b8:27:eb:00:00:01,10.213.50.101,rpi1\nrpi9,10.213.50.102\n";
        assert_eq!(
            store.reservations(named, &[], ""),
            placed,
            "a board has one line, and an address one board"
        );
        let settled = "b8:27:eb:00:00:01,10.213.50.11,rpi1,120\nb8:27:eb:00:00:02,10.213.50.12\n";
        assert_eq!(
            store.reservations(settled, &[], ",120"),
            settled,
            "the settings say where they are"
        );
        let come = "4000000000 b8:27:eb:00:00:01 10.213.50.101 rpi1 *\n";
        fs::write(&working, come).unwrap();
        assert!(store.copy(&file::parse(come.as_bytes()), &[]).unwrap());
        let waits = "b8:27:eb:00:00:02,10.213.50.102\n";
        assert_eq!(store.reservations("", &[], ""), waits);
        for stop in ["a restart", "a power cut"] {
            if stop == "a power cut" {
                fs::remove_file(&working).unwrap();
            }
            store = LeaseStore::new(working.clone(), &folder);
            store.prepare(away, range(away), &[]).unwrap();
            assert_eq!(fs::read_to_string(&working).unwrap(), come, "{stop}");
            assert_eq!(store.reservations("", &[], ""), waits, "{stop}");
        }
        store.prepare(home, range(home), &[]).unwrap();
        assert_eq!(
            store.reservations("", &[], ""),
            "b8:27:eb:00:00:01,192.168.50.101\n",
            "back home only one has to move"
        );
        assert_eq!(
            fs::read_to_string(&working).unwrap(),
            far.lines().nth(1).unwrap().to_owned() + "\n"
        );
    }

    #[test]
    fn the_copy_survives_a_power_cut_and_damaged_lines_are_reported() {
        let held = tempfile::tempdir().unwrap();
        let folder = held.path().to_owned();
        let working = folder.join("leases");
        let mut store = LeaseStore::new(working.clone(), &folder);
        let net: Ipv4Net = "192.168.50.1/24".parse().unwrap();
        assert_eq!(store.prepare(net, range(net), &[]).unwrap().0, Leases::default());
        assert!(store.copy(&file::parse(TWO.as_bytes()), &[]).unwrap());
        assert!(
            !store.copy(&file::parse(TWO.as_bytes()), &[]).unwrap(),
            "an equal list is no write"
        );
        fs::remove_file(&working).unwrap();
        let (leases, reported) =
            LeaseStore::new(working.clone(), &folder).prepare(net, range(net), &[]).unwrap();
        assert_eq!((leases.to_text().as_str(), reported.len()), (TWO, 0));
        fs::write(&working, &TWO.as_bytes()[..TWO.len() - 5]).unwrap();
        let (leases, reported) =
            LeaseStore::new(working.clone(), &folder).prepare(net, range(net), &[]).unwrap();
        assert_eq!(leases.to_text(), TWO, "what was damaged in the one is whole in the other");
        assert!(reported[0].contains("line 2 is damaged"), "{reported:?}");
        fs::write(store.copy_path(), &TWO.as_bytes()[..TWO.len() - 5]).unwrap();
        fs::remove_file(&working).unwrap();
        let (leases, reported) =
            LeaseStore::new(working, &folder).prepare(net, range(net), &[]).unwrap();
        assert_eq!((leases.entries.len(), reported.len()), (1, 1));
    }

    #[test]
    fn a_failed_copy_is_an_error_and_retried() {
        let held = tempfile::tempdir().unwrap();
        let folder = held.path().to_owned();
        let mut store = LeaseStore::new(folder.join("leases"), &folder.join("nowhere"));
        assert!(store.copy(&file::parse(TWO.as_bytes()), &[]).is_err());
        assert!(store.copy(&file::parse(TWO.as_bytes()), &[]).is_err(), "it is tried again");
    }
}
