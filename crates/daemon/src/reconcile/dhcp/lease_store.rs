//! Leases that outlive a power cut: dnsmasq works with a file in memory (`$RUNTIME_DIRECTORY`), and
//! what has to last is copied to the disk (`$STATE_DIRECTORY`), whole or not at all, and no more
//! often than it must.
//!
//! When the cluster moves, leases of the other subnet are not handed on: who has a lease and asks
//! all for another address is taken by dnsmasq for another server's client, and not answered. They
//! become reservations, so that dnsmasq says no to the previous address and the node keeps its host
//! part when it asks anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use ipnet::Ipv4Net;

use super::reclaim::{Homes, in_the_way};
use super::remembered::Remembered;
use crate::decide::dhcp::places::{self, Range};
use crate::event::Mac;
use crate::files::folder;
use crate::watch::dhcp::leases::file::{self, Entry, Leases};

/// Both files, and what the one on the disk holds.
#[derive(Debug)]
pub struct LeaseStore {
    working: PathBuf,
    copy: PathBuf,
    /// as on the disk
    kept: Option<BTreeMap<Mac, Entry>>,
    /// leases of another subnet, as they were there, of nodes that have none in this one yet
    moving: Vec<Entry>,
    /// where each of those is expected, in their order
    reserved: Vec<(Mac, Ipv4Addr)>,
    /// who had which address when they were here last
    remembered: Remembered,
}

impl LeaseStore {
    pub fn new(working: PathBuf, state_directory: &Path) -> Self {
        let copy = super::copied_leases(state_directory);
        let remembered = Remembered::open(state_directory);
        Self { working, copy, kept: None, moving: Vec::new(), reserved: Vec::new(), remembered }
    }

    /// Gives dnsmasq, before its start, the leases that it had in `net`, where the cluster is now:
    /// of the working file, and where there is none or it is damaged, of the copy. Those of another
    /// subnet are reserved their host part in this one, if it is in `range`. One of an address that
    /// is another board's by the settings (`homes`) is left out. Answers what the nodes were given
    /// before, and what to report of damage.
    ///
    /// # Errors
    /// The working file cannot be written.
    pub fn prepare(
        &mut self,
        net: Ipv4Net,
        range: Range,
        homes: &Homes,
    ) -> io::Result<(Leases, Vec<String>)> {
        let mut reported = Vec::new();
        let mut leases = self.read(&self.working.clone(), &mut reported);
        let copied = self.read(&self.copy.clone(), &mut reported);
        self.kept.get_or_insert_with(|| copied.clone().unwrap_or_default().by_mac());
        let whole = leases.as_ref().is_some_and(|leases| leases.damaged.is_empty());
        // Of a whole working file only those are missing that wait for their node to move.
        let copied = copied.into_iter().flat_map(|copied| copied.entries);
        let copied = copied.filter(|entry| !whole || !net.contains(&entry.address));
        let mut leases = leases.take().unwrap_or_default();
        leases.damaged.clear();
        let (mut macs, mut addresses) = (BTreeSet::new(), BTreeSet::new());
        leases.entries.extend(std::mem::take(&mut self.moving).into_iter().chain(copied));
        leases.entries.retain(|entry| macs.insert(entry.mac) && addresses.insert(entry.address));
        let taken =
            BTreeSet::from_iter(in_the_way(&leases.entries, homes).iter().map(|entry| entry.mac));
        leases.entries.retain(|entry| !taken.contains(&entry.mac));
        let (here, moving): (Vec<Entry>, _) =
            leases.entries.iter().cloned().partition(|entry| net.contains(&entry.address));
        let here = Leases { entries: here, damaged: Vec::new() };
        folder::replace(&self.working, here.to_text())?;
        let addresses = here.entries.iter().map(|entry| entry.address);
        let placed = moving.iter().map(|entry| (entry.mac, entry.address));
        self.reserved = places::reserved(placed, addresses, net, range);
        self.moving = moving;
        Ok((leases, reported))
    }

    /// Returns `hosts` (`dhcp-hostsfile`) with lines that reserve nodes of another subnet their
    /// host part, and boards that are away the address that they had; not an address that `hosts`
    /// names. `lease`: how each line ends.
    pub fn reservations(&self, hosts: &str, away: &[(Mac, Ipv4Addr)], lease: &str) -> String {
        let expected = self.reserved.iter().chain(away);
        let mut taken: BTreeSet<Ipv4Addr> =
            hosts.split([',', '\n']).filter_map(|word| word.parse().ok()).collect();
        let mut places: BTreeMap<String, Ipv4Addr> = BTreeMap::new();
        for (mac, address) in expected {
            let mac = mac.to_string();
            if !places.contains_key(&mac) && taken.insert(*address) {
                places.insert(mac, *address);
            }
        }
        let mut text = String::new();
        for line in hosts.lines() {
            // One board has one line. That of a node with an address of its own stays.
            let (board, rest) = line.split_once(',').unwrap_or((line, ""));
            let has_address = rest.split(',').any(|word| word.parse::<Ipv4Addr>().is_ok());
            let _ = match places.remove(board).filter(|_| !has_address) {
                Some(address) => writeln!(text, "{board},{address},{rest}"),
                None => writeln!(text, "{line}"),
            };
        }
        for (mac, address) in places {
            let _ = writeln!(text, "{mac},{address}{lease}");
        }
        text
    }

    /// Returns where boards that are away are expected.
    pub fn away(&self, net: Ipv4Net, range: Range) -> Vec<(Mac, Ipv4Addr)> {
        places::expected(self.remembered.away(), net, range)
    }

    /// Forgets a board that is away, for its address is needed. Returns whether there was one.
    pub fn let_go(&mut self) -> bool {
        self.remembered.let_go()
    }

    /// Forgets the address that a board had.
    ///
    /// # Errors
    /// The disk takes nothing.
    pub fn forget(&mut self, mac: Mac) -> io::Result<()> {
        self.moving.retain(|entry| entry.mac != mac);
        self.reserved.retain(|(board, _)| *board != mac);
        self.remembered.forget(mac)
    }

    /// Returns the leases as they are written now.
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

    /// Copies the leases to the disk if that is due: one came, went or is another, or what the disk
    /// says of one ends soon.
    ///
    /// # Errors
    /// The disk is full, or read-only; reported as often as it happens, and tried again with the
    /// next change.
    pub fn copy(&mut self, leases: &Leases, homes: &Homes) -> io::Result<bool> {
        self.remembered.note(leases, homes)?;
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let leases = &self.with_moving(leases, clock);
        let now = leases.clone().by_mac();
        if !is_due(self.kept.as_ref(), &now, clock) {
            return Ok(false);
        }
        folder::keep(&self.copy, leases.to_text())?;
        self.kept = Some(now);
        Ok(true)
    }

    /// Returns the leases, and those of nodes that have not moved here yet and still could.
    fn with_moving(&mut self, leases: &Leases, clock: u64) -> Leases {
        let come = BTreeSet::from_iter(leases.entries.iter().map(|entry| entry.mac));
        let over = |entry: &Entry| entry.expiry != 0 && entry.expiry <= clock;
        self.moving.retain(|entry| !come.contains(&entry.mac) && !over(entry));
        let waiting = BTreeSet::from_iter(self.moving.iter().map(|entry| entry.mac));
        self.reserved.retain(|(mac, _)| waiting.contains(mac));
        let entries = leases.entries.iter().chain(&self.moving).cloned().collect();
        Leases { entries, damaged: Vec::new() }
    }

    /// Returns the file in which the leases outlive a power cut; for messages.
    pub fn place(&self) -> &Path {
        &self.copy
    }
}

/// Returns whether the leases are to be written. A renewal alone is not written each time: the disk
/// may hold an earlier end of a lease than the true one, as long as that is not over.
fn is_due(kept: Option<&BTreeMap<Mac, Entry>>, now: &BTreeMap<Mac, Entry>, clock: u64) -> bool {
    let Some(kept) = kept else { return !now.is_empty() };
    let same = |entry: &Entry| {
        kept.get(&entry.mac).is_some_and(|known| {
            let unchanged = Entry { expiry: entry.expiry, ..known.clone() } == *entry;
            unchanged && left(known, clock) >= left(entry, clock) / 4
        })
    };
    kept.len() != now.len() || !now.values().all(same)
}

/// Returns how long a lease still lasts, in seconds; `u64::MAX`: for ever.
fn left(entry: &Entry, clock: u64) -> u64 {
    if entry.expiry == 0 { u64::MAX } else { entry.expiry.saturating_sub(clock) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::decide::cluster::keep_host;

    const TWO: &str =
        "2000 b8:27:eb:00:00:01 192.168.50.101 rpi1 *\n2000 b8:27:eb:00:00:02 192.168.50.102 * *\n";

    /// As the settings have it by default.
    fn range(net: Ipv4Net) -> Range {
        let place = |last| keep_host(Ipv4Addr::new(0, 0, 0, last), net);
        Some((place(100), place(199)))
    }

    fn held(text: &str) -> BTreeMap<Mac, Entry> {
        file::parse(text.as_bytes()).by_mac()
    }

    #[test]
    fn each_change_is_written_once_and_every_other_renewal_not_at_all() {
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
            "half of it is over: the disk still says that it is valid"
        );
        let again = held(&TWO.replace("2000 ", "3000 "));
        assert!(is_due(Some(&two), &again, 2000), "and now it would not any more");
        assert!(!is_due(None, &held(""), 1000), "nothing is written for nothing");
    }

    #[test]
    fn leases_of_another_subnet_become_reservations_until_their_nodes_have_come() {
        let held = tempfile::tempdir().unwrap();
        let folder = held.path().to_owned();
        let working = folder.join("leases");
        let far = TWO.replace("2000 ", "4000000000 ");
        fs::write(&working, &far).unwrap();
        let (away, home) = ("10.213.50.1/24".parse().unwrap(), "192.168.50.1/24".parse().unwrap());
        let mut keep = LeaseStore::new(working.clone(), &folder);
        assert_eq!(
            keep.prepare(away, range(away), &[]).unwrap().0.to_text(),
            far,
            "those were given before"
        );
        assert_eq!(
            fs::read_to_string(&working).unwrap(),
            "",
            "dnsmasq has no lease of a node that is elsewhere"
        );
        let both = "b8:27:eb:00:00:01,10.213.50.101\nb8:27:eb:00:00:02,10.213.50.102\n";
        assert_eq!(keep.reservations("", &[], ""), both);
        let named = "b8:27:eb:00:00:01,rpi1\nrpi9,10.213.50.102\n";
        let placed = "b8:27:eb:00:00:01,10.213.50.101,rpi1\nrpi9,10.213.50.102\n";
        assert_eq!(
            keep.reservations(named, &[], ""),
            placed,
            "a board has one line, and an address one board"
        );
        let settled = "b8:27:eb:00:00:01,10.213.50.11,rpi1,120\nb8:27:eb:00:00:02,10.213.50.12\n";
        assert_eq!(
            keep.reservations(settled, &[], ",120"),
            settled,
            "the settings say where they are"
        );
        let come = "4000000000 b8:27:eb:00:00:01 10.213.50.101 rpi1 *\n";
        fs::write(&working, come).unwrap();
        assert!(keep.copy(&file::parse(come.as_bytes()), &[]).unwrap());
        let waits = "b8:27:eb:00:00:02,10.213.50.102\n";
        assert_eq!(keep.reservations("", &[], ""), waits);
        for stop in ["a restart", "a power cut"] {
            if stop == "a power cut" {
                fs::remove_file(&working).unwrap();
            }
            keep = LeaseStore::new(working.clone(), &folder);
            keep.prepare(away, range(away), &[]).unwrap();
            assert_eq!(fs::read_to_string(&working).unwrap(), come, "{stop}");
            assert_eq!(keep.reservations("", &[], ""), waits, "{stop}");
        }
        keep.prepare(home, range(home), &[]).unwrap();
        assert_eq!(
            keep.reservations("", &[], ""),
            "b8:27:eb:00:00:01,192.168.50.101\n",
            "back home only one has to move"
        );
        assert_eq!(
            fs::read_to_string(&working).unwrap(),
            far.lines().nth(1).unwrap().to_owned() + "\n"
        );
    }

    #[test]
    fn what_was_copied_is_there_after_a_power_cut_and_damage_costs_one_lease_and_is_reported() {
        let held = tempfile::tempdir().unwrap();
        let folder = held.path().to_owned();
        let working = folder.join("leases");
        let mut keep = LeaseStore::new(working.clone(), &folder);
        let net: Ipv4Net = "192.168.50.1/24".parse().unwrap();
        assert_eq!(keep.prepare(net, range(net), &[]).unwrap().0, Leases::default());
        assert!(keep.copy(&file::parse(TWO.as_bytes()), &[]).unwrap());
        assert!(
            !keep.copy(&file::parse(TWO.as_bytes()), &[]).unwrap(),
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
        fs::write(keep.place(), &TWO.as_bytes()[..TWO.len() - 5]).unwrap();
        fs::remove_file(&working).unwrap();
        let (leases, reported) =
            LeaseStore::new(working, &folder).prepare(net, range(net), &[]).unwrap();
        assert_eq!((leases.entries.len(), reported.len()), (1, 1));
    }

    #[test]
    fn a_disk_that_takes_nothing_is_an_error_and_the_old_copy_stays() {
        let held = tempfile::tempdir().unwrap();
        let folder = held.path().to_owned();
        let mut keep = LeaseStore::new(folder.join("leases"), &folder.join("nowhere"));
        assert!(keep.copy(&file::parse(TWO.as_bytes()), &[]).is_err());
        assert!(keep.copy(&file::parse(TWO.as_bytes()), &[]).is_err(), "it is tried again");
    }
}
