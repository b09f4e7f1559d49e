//! Leases that outlive a power cut: dnsmasq works with a file in memory (`$RUNTIME_DIRECTORY`), and what has to last is
//! copied to the disk (`$STATE_DIRECTORY`), whole or not at all, and no more often than it must.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use ipnet::Ipv4Net;

use crate::event::Mac;
use crate::policy::subnet::keep_host;
use crate::source::leases::file::{self, Entry, Leases};

/// Both files, and what the one on the disk holds.
#[derive(Debug)]
pub struct Keep {
    working: PathBuf,
    copy: PathBuf,
    /// as on the disk
    kept: Option<BTreeMap<Mac, Entry>>,
}

impl Keep {
    pub fn new(working: PathBuf, state_directory: &Path) -> Self {
        Self { working, copy: state_directory.join("dnsmasq.leases"), kept: None }
    }

    /// Gives dnsmasq, before its start, the leases that it had: of the working file, and where there is none or it is damaged,
    /// of the copy. Those of another subnet get their host part in `net`, where the cluster is now. Answers what the
    /// nodes were given before, and what to tell of damage.
    ///
    /// # Errors
    /// The working file cannot be written.
    pub fn prepare(&mut self, net: Ipv4Net) -> io::Result<(Leases, Vec<String>)> {
        let mut told = Vec::new();
        let mut leases = self.read(&self.working.clone(), &mut told);
        let copied = self.read(&self.copy.clone(), &mut told);
        self.kept.get_or_insert_with(|| by_mac(copied.as_ref()));
        let whole = leases.as_ref().is_some_and(|leases| leases.damaged.is_empty());
        if let Some(copied) = copied.filter(|_| !whole) {
            let held = leases.get_or_insert_default();
            let missing = |entry: &Entry| {
                !held.entries.iter().any(|known| known.mac == entry.mac || known.address == entry.address)
            };
            let more: Vec<Entry> = copied.entries.into_iter().filter(missing).collect();
            held.entries.extend(more);
        }
        let leases = leases.unwrap_or_default();
        fs::write(&self.working, moved(leases.clone(), net).to_text())?;
        Ok((leases, told))
    }

    fn read(&self, path: &Path, told: &mut Vec<String>) -> Option<Leases> {
        let leases = file::parse(&fs::read(path).ok()?);
        if !leases.damaged.is_empty() {
            let lines: Vec<String> = leases.damaged.iter().map(usize::to_string).collect();
            let (path, kept) = (path.display(), leases.entries.len());
            told.push(format!("{path}: line {} is damaged and was left out; {kept} leases are kept", lines.join(", ")));
        }
        Some(leases)
    }

    /// Copies the leases to the disk if that is due: one came, went or is another, or what the disk says of one ends soon.
    ///
    /// # Errors
    /// The disk is full, or read-only; told as often as it happens, and tried again with the next change.
    pub fn copy(&mut self, leases: &Leases) -> io::Result<bool> {
        let now = by_mac(Some(leases));
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if !is_due(self.kept.as_ref(), &now, clock) {
            return Ok(false);
        }
        let new = self.copy.with_extension("leases.new");
        let mut file = File::create(&new)?;
        file.write_all(leases.to_text().as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &self.copy)?;
        if let Some(folder) = self.copy.parent() {
            File::open(folder)?.sync_all()?;
        }
        self.kept = Some(now);
        Ok(true)
    }

    /// The file in which the leases outlive a power cut; for messages.
    pub fn place(&self) -> &Path {
        &self.copy
    }
}

fn by_mac(leases: Option<&Leases>) -> BTreeMap<Mac, Entry> {
    leases.into_iter().flat_map(|leases| &leases.entries).map(|entry| (entry.mac, entry.clone())).collect()
}

/// A renewal alone is not written each time: the disk may believe that a lease ends earlier than it does, as long as it does
/// not believe it is over.
fn is_due(kept: Option<&BTreeMap<Mac, Entry>>, now: &BTreeMap<Mac, Entry>, clock: u64) -> bool {
    let Some(kept) = kept else { return !now.is_empty() };
    let left = |entry: &Entry| if entry.expiry == 0 { u64::MAX } else { entry.expiry.saturating_sub(clock) };
    let same = |entry: &Entry| {
        kept.get(&entry.mac).is_some_and(|known| {
            let unchanged = Entry { expiry: entry.expiry, ..known.clone() } == *entry;
            unchanged && left(known) >= left(entry) / 4
        })
    };
    kept.len() != now.len() || !now.values().all(same)
}

/// The cluster may have been elsewhere: host parts are kept.
fn moved(mut leases: Leases, net: Ipv4Net) -> Leases {
    for entry in &mut leases.entries {
        if !net.contains(&entry.address) {
            entry.address = keep_host(entry.address, net);
        }
    }
    // Two that were apart in another subnet, or the head's own: the first keeps it.
    let mut taken = std::collections::BTreeSet::from([net.addr()]);
    leases.entries.retain(|entry| taken.insert(entry.address));
    leases.damaged.clear();
    leases
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "2000 b8:27:eb:00:00:01 192.168.50.101 rpi1 *\n2000 b8:27:eb:00:00:02 192.168.50.102 * *\n";

    fn held(text: &str) -> BTreeMap<Mac, Entry> {
        by_mac(Some(&file::parse(text.as_bytes())))
    }

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("bramblegate-keep-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn each_change_is_written_once_and_every_other_renewal_not_at_all() {
        let two = held(TWO);
        assert!(is_due(Some(&held("")), &two, 1000), "one came");
        assert!(is_due(Some(&two), &held(TWO.lines().next().unwrap().to_owned().as_str()), 1000), "one went");
        assert!(!is_due(Some(&two), &two, 1000));
        assert!(is_due(Some(&two), &held(&TWO.replace(".102", ".103")), 1000), "another address");
        assert!(is_due(Some(&two), &held(&TWO.replace("rpi1", "rpi9")), 1000), "another name");
        let renewed = held(&TWO.replace("2000 ", "2500 "));
        assert!(!is_due(Some(&two), &renewed, 1500), "half of it is over: the disk still says that it is valid");
        let again = held(&TWO.replace("2000 ", "3000 "));
        assert!(is_due(Some(&two), &again, 2000), "and now it would not any more");
        assert!(!is_due(None, &held(""), 1000), "nothing is written for nothing");
    }

    #[test]
    fn leases_move_with_the_cluster_and_keep_their_host_parts() {
        let net: Ipv4Net = "10.213.50.1/24".parse().unwrap();
        let moved = moved(file::parse(TWO.as_bytes()), net);
        assert_eq!(moved.to_text(), TWO.replace("192.168.50", "10.213.50"));
        let home: Ipv4Net = "192.168.50.1/24".parse().unwrap();
        assert_eq!(super::moved(moved, home).to_text(), TWO, "and back");
    }

    #[test]
    fn what_was_copied_is_there_after_a_power_cut_and_damage_costs_one_lease_and_is_said() {
        let folder = folder("power");
        let working = folder.join("leases");
        let mut keep = Keep::new(working.clone(), &folder);
        let net: Ipv4Net = "192.168.50.1/24".parse().unwrap();
        assert_eq!(keep.prepare(net).unwrap().0, Leases::default());
        assert!(keep.copy(&file::parse(TWO.as_bytes())).unwrap());
        assert!(!keep.copy(&file::parse(TWO.as_bytes())).unwrap(), "an equal list is no write");
        fs::remove_file(&working).unwrap();
        let (leases, told) = Keep::new(working.clone(), &folder).prepare(net).unwrap();
        assert_eq!((leases.to_text().as_str(), told.len()), (TWO, 0));
        fs::write(&working, &TWO.as_bytes()[..TWO.len() - 5]).unwrap();
        let (leases, told) = Keep::new(working.clone(), &folder).prepare(net).unwrap();
        assert_eq!(leases.to_text(), TWO, "what was damaged in the one is whole in the other");
        assert!(told[0].contains("line 2 is damaged"), "{told:?}");
        fs::write(keep.place(), &TWO.as_bytes()[..TWO.len() - 5]).unwrap();
        fs::remove_file(&working).unwrap();
        let (leases, told) = Keep::new(working, &folder).prepare(net).unwrap();
        assert_eq!((leases.entries.len(), told.len()), (1, 1));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_disk_that_takes_nothing_is_an_error_and_the_old_copy_stays() {
        let folder = folder("full");
        let mut keep = Keep::new(folder.join("leases"), &folder.join("nowhere"));
        assert!(keep.copy(&file::parse(TWO.as_bytes())).is_err());
        assert!(keep.copy(&file::parse(TWO.as_bytes())).is_err(), "it is tried again");
        fs::remove_dir_all(folder).unwrap();
    }
}
