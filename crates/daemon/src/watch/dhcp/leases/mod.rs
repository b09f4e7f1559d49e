//! Reads the leases that our DHCP server has given: its file, watched by inotify.

pub mod file;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::event::{Change, Event, Lease, Mac};
use crate::files::folder::{self, Folder};
use crate::oneshot::OneShot;
use crate::pace::Pace;
use crate::watch::emit;
use file::{Entry, Leases};

/// dnsmasq writes its file in several steps.
const SETTLE: Duration = Duration::from_millis(20);
/// dnsmasq cuts its file off and writes it anew in place: a line that is damaged, or not there, may
/// be one that is being written. So often, and after so long each time, it is looked at again.
const LOOKS: u32 = 4;
const AGAIN: Duration = Duration::from_millis(20);

/// One change after another is read at once, so many times; then no more often than this. One node
/// can have the file written a thousand times a second.
const AT_ONCE: u32 = 8;
const SPACING: Duration = Duration::from_millis(500);

/// Watches a lease file.
#[derive(Debug)]
pub struct Watch {
    path: PathBuf,
    watched: OneShot<OwnedFd>,
    /// it was written, and is still left alone until then
    settled: Option<Instant>,
    pace: Pace,
    /// who had a lease when it was last read
    known: BTreeSet<Mac>,
}

impl Watch {
    /// Watches the file, also while there is none; its folder is made if it is missing.
    ///
    /// # Errors
    /// No inotify to be had, or the folder cannot be made.
    pub fn open(path: &Path) -> io::Result<Self> {
        let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        Folder::make(folder, 0o700)?;
        let watched = OneShot::new(inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?);
        // The folder, for the file comes, goes and is replaced.
        let flags =
            WatchFlags::MODIFY | WatchFlags::MOVED_TO | WatchFlags::DELETE | WatchFlags::ONLYDIR;
        inotify::add_watch(watched.get_ref(), folder, flags)?;
        let pace = Pace::new(AT_ONCE, SPACING, Instant::now());
        Ok(Self { path: path.to_owned(), watched, settled: None, pace, known: BTreeSet::new() })
    }

    /// Returns what the file holds now; none if there is no file.
    pub async fn read(&mut self) -> Leases {
        let mut leases = self.parse();
        for _ in 1..LOOKS {
            let held = BTreeSet::from_iter(leases.entries.iter().map(|entry| entry.mac));
            if leases.damaged.is_empty() && self.known.is_subset(&held) {
                break;
            }
            sleep(AGAIN).await;
            let again = self.parse();
            if again.entries.len() >= leases.entries.len() {
                leases = again;
            }
        }
        self.known = BTreeSet::from_iter(leases.entries.iter().map(|entry| entry.mac));
        leases
    }

    fn parse(&self) -> Leases {
        folder::read(&self.path).map(|bytes| file::parse(&bytes)).unwrap_or_default()
    }

    /// Ends when the file has been written. Who waits for something else as well may begin again:
    /// nothing is lost.
    ///
    /// # Errors
    /// inotify does not work any more.
    pub async fn changed(&mut self) -> io::Result<()> {
        let name: Option<OsString> = self.path.file_name().map(ToOwned::to_owned);
        loop {
            if let Some(settled) = self.settled {
                tokio::time::sleep_until(settled).await;
                self.settled = None;
                // What was heard meanwhile is seen when the file is read now.
                if self.drain(name.as_deref().map(OsStrExt::as_bytes).unwrap_or_default())
                    == Heard::FolderGone
                {
                    self.watched = Self::open(&self.path)?.watched;
                }
                return Ok(());
            }
            self.watched.readable().await?;
            let heard = self.drain(name.as_deref().map(OsStrExt::as_bytes).unwrap_or_default());
            if heard == Heard::FolderGone {
                self.watched = Self::open(&self.path)?.watched;
            }
            let now = Instant::now();
            self.settled = (heard != Heard::Nothing).then(|| self.pace.next(now + SETTLE));
        }
    }

    /// Reads what inotify has to report of the file of this name.
    fn drain(&self, name: &[u8]) -> Heard {
        let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(self.watched.get_ref(), &mut buffer);
        let mut heard = Heard::Nothing;
        while let Ok(event) = reader.next() {
            if event.events().contains(ReadFlags::IGNORED) {
                heard = Heard::FolderGone;
            } else if heard == Heard::Nothing
                && event.file_name().is_none_or(|written| written.to_bytes() == name)
            {
                heard = Heard::Change;
            }
        }
        heard
    }
}

/// Names what inotify reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    /// of other files
    Nothing,
    Change,
    /// the folder was removed, and the kernel's watch with it: one that is made later is another
    FolderGone,
}

/// Reports the leases in `path` at the start, and each change; a renewal is one, for the part that
/// hears of none believes it is over.
///
/// # Errors
/// No inotify to be had, or the receiver is gone (`Closed`).
pub async fn run(events: mpsc::Sender<Event>, path: PathBuf) -> io::Result<Infallible> {
    let mut watch = Watch::open(&path)?;
    let mut known: BTreeMap<Mac, Entry> = BTreeMap::new();
    loop {
        let now = watch.read().await.by_mac();
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        for event in changes(&known, &now, clock) {
            emit(&events, event).await?;
        }
        known = now;
        watch.changed().await?;
    }
}

/// Returns what these files hold at a start; of a board that stands in several the first says.
pub fn kept(paths: &[PathBuf]) -> Vec<Lease> {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut boards = BTreeSet::new();
    let files = paths.iter().filter_map(|path| folder::read(path).ok());
    let entries = files
        .flat_map(|bytes| file::parse(&bytes).entries)
        .filter(|entry| boards.insert(entry.mac));
    entries.map(|entry| lease(&entry, clock)).collect()
}

/// Returns the changes, those that went first: their addresses may have been given to others.
fn changes(before: &BTreeMap<Mac, Entry>, now: &BTreeMap<Mac, Entry>, clock: u64) -> Vec<Event> {
    let gone = before
        .values()
        .filter(|entry| !now.contains_key(&entry.mac))
        .map(|entry| Change::Gone(lease(entry, clock)));
    let content = |entry: &Entry| (entry.address, entry.host_name.clone(), entry.expiry);
    let same = |entry: &Entry| {
        before.get(&entry.mac).is_some_and(|known| content(known) == content(entry))
    };
    let new =
        now.values().filter(|entry| !same(entry)).map(|entry| Change::Present(lease(entry, clock)));
    gone.chain(new).map(Event::Lease).collect()
}

fn lease(entry: &Entry, clock: u64) -> Lease {
    let valid_for =
        (entry.expiry != 0).then(|| Duration::from_secs(entry.expiry.saturating_sub(clock)));
    Lease {
        mac: entry.mac,
        address: entry.address.into(),
        host_name: entry.host_name.clone(),
        valid_for,
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    fn held(text: &str) -> BTreeMap<Mac, Entry> {
        file::parse(text.as_bytes()).by_mac()
    }

    #[test]
    fn new_changed_renewed_and_gone_leases_are_reported() {
        let before = held(
            "1000 b8:27:eb:00:00:01 192.168.50.101 rpi1 *\n1000 b8:27:eb:00:00:02 192.168.50.102 * *\n\
             1000 b8:27:eb:00:00:03 192.168.50.103 * *\n",
        );
        let now = held(
            "4600 b8:27:eb:00:00:01 192.168.50.101 rpi1 *\n4600 b8:27:eb:00:00:02 192.168.50.103 * *\n\
             0 b8:27:eb:00:00:04 192.168.50.104 rpi4 *\n",
        );
        let reported: Vec<String> = changes(&before, &now, 1000)
            .into_iter()
            .map(|event| match event {
                Event::Lease(Change::Gone(lease)) => format!("-{}", lease.address),
                Event::Lease(Change::Present(lease)) => {
                    format!("+{} {:?}", lease.address, lease.valid_for)
                }
                other => format!("{other:?}"),
            })
            .collect();
        assert_eq!(
            reported,
            [
                "-192.168.50.103",
                "+192.168.50.101 Some(3600s)",
                "+192.168.50.103 Some(3600s)",
                "+192.168.50.104 None"
            ]
        );
        assert!(changes(&now, &now, 2000).is_empty());
    }

    // The clock stands while the kernel has something to report: no load makes it late.
    #[tokio::test(start_paused = true)]
    async fn who_stops_waiting_and_begins_again_misses_nothing() {
        let held = tempfile::tempdir().unwrap();
        let folder = held.path().to_owned();
        let path = folder.join("leases");
        let mut watch = Watch::open(&path).unwrap();
        assert!(timeout(SETTLE, watch.changed()).await.is_err(), "the file was not written");
        let written = Instant::now();
        std::fs::write(&path, "x").unwrap();
        for _ in 0..3 {
            // Shorter than the file is left alone after it was written.
            assert!(timeout(SETTLE / 8, watch.changed()).await.is_err(), "too early");
        }
        timeout(SETTLE, watch.changed()).await.unwrap().unwrap();
        // The runtime's clock counts in whole milliseconds.
        assert!(written.elapsed() <= SETTLE + Duration::from_millis(2), "{:?}", written.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_just_being_written_takes_no_lease_away() {
        let held = tempfile::tempdir().unwrap();
        let folder = held.path().to_owned();
        let path = folder.join("leases");
        let mut watch = Watch::open(&path).unwrap();
        let line = |last: u32| format!("0 b8:27:eb:00:00:0{last} 192.168.50.10{last} * *\n");
        std::fs::write(&path, line(1) + &line(2)).unwrap();
        assert_eq!(watch.read().await.entries.len(), 2);
        std::fs::write(&path, line(1)).unwrap();
        let (whole, written) = (line(1) + &line(2), path.clone());
        let writer = tokio::spawn(async move {
            sleep(AGAIN / 2).await;
            std::fs::write(written, whole).unwrap();
        });
        assert_eq!(watch.read().await.entries.len(), 2, "it was cut off between two lines");
        writer.await.unwrap();
        std::fs::write(&path, line(1)).unwrap();
        assert_eq!(watch.read().await.entries.len(), 1, "and what is gone is gone");
    }

    #[tokio::test(start_paused = true)]
    async fn a_folder_that_is_removed_and_made_anew_is_watched_again() {
        let held = tempfile::tempdir().unwrap();
        let folder = held.path().to_owned();
        let path = folder.join("leases");
        let mut watch = Watch::open(&path).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        timeout(SETTLE * 50, watch.changed()).await.unwrap().unwrap();
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(&path, "x").unwrap();
        timeout(SETTLE * 50, watch.changed()).await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_written_in_place_or_replaced_is_reported() {
        let held = tempfile::tempdir().unwrap();
        let folder = held.path().to_owned();
        let path = folder.join("leases");
        let (sender, mut events) = mpsc::channel(16);
        let task = tokio::spawn(run(sender, path.clone()));
        tokio::time::sleep(Duration::from_millis(50)).await;
        std::fs::write(&path, "0 b8:27:eb:00:00:01 192.168.50.101 rpi1 *\n").unwrap();
        let first = events.recv().await.unwrap();
        assert!(
            matches!(&first, Event::Lease(Change::Present(lease)) if lease.host_name.as_deref() == Some("rpi1"))
        );
        std::fs::write(folder.join("other"), "").unwrap();
        std::fs::write(folder.join("new"), "").unwrap();
        std::fs::rename(folder.join("new"), &path).unwrap();
        assert!(matches!(events.recv().await.unwrap(), Event::Lease(Change::Gone(_))));
        task.abort();
    }
}
