//! Reports the leases of our DHCP server, from its lease file, which is watched by inotify.

pub mod file;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
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

/// Delay after a change, since dnsmasq writes its file in several steps.
const SETTLE: Duration = Duration::from_millis(20);
/// Number of reads while a line is damaged or missing: dnsmasq truncates the file and rewrites it
/// in place, so such a line may just be in progress.
const MAX_READS: u32 = 4;
/// Interval between them.
const REREAD_INTERVAL: Duration = Duration::from_millis(20);

/// Number of changes read without delay, then one per `SPACING`: a single node can cause a thousand
/// writes a second.
const BURST: u32 = 8;
const SPACING: Duration = Duration::from_millis(500);

/// Watches a lease file.
#[derive(Debug)]
pub struct Watch {
    path: PathBuf,
    watched: OneShot<OwnedFd>,
    /// When a changed file is due to be read.
    read_at: Option<Instant>,
    pace: Pace,
    /// Boards with a lease at the last read.
    known: BTreeSet<Mac>,
}

impl Watch {
    /// Watches the file, which need not exist. Creates a missing folder.
    ///
    /// # Errors
    /// inotify is unavailable, or the folder cannot be created.
    pub fn open(path: &Path) -> io::Result<Self> {
        let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        Folder::make(folder, 0o700)?;
        let watched = OneShot::new(inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?);
        // Watch the folder, since the file may be created, removed and replaced.
        let flags =
            WatchFlags::MODIFY | WatchFlags::MOVED_TO | WatchFlags::DELETE | WatchFlags::ONLYDIR;
        inotify::add_watch(watched.get_ref(), folder, flags)?;
        let pace = Pace::new(BURST, SPACING, Instant::now());
        Ok(Self { path: path.to_owned(), watched, read_at: None, pace, known: BTreeSet::new() })
    }

    /// Returns the leases in the file; none if it does not exist.
    pub async fn read(&mut self) -> Leases {
        let mut leases = self.parse();
        for _ in 1..MAX_READS {
            let found = BTreeSet::from_iter(leases.entries.iter().map(|entry| entry.mac));
            if leases.damaged.is_empty() && self.known.is_subset(&found) {
                break;
            }
            sleep(REREAD_INTERVAL).await;
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

    /// Waits until the file has changed. Cancel-safe.
    ///
    /// # Errors
    /// inotify has failed.
    pub async fn changed(&mut self) -> io::Result<()> {
        loop {
            if let Some(read_at) = self.read_at {
                tokio::time::sleep_until(read_at).await;
                self.read_at = None;
                // The file is read now, which covers the changes since then.
                self.drain()?;
                return Ok(());
            }
            self.watched.readable().await?;
            if self.drain()? {
                self.read_at = Some(self.pace.next(Instant::now() + SETTLE));
            }
        }
    }

    /// Reads the queued inotify events. Returns whether the file may have changed. Watches the
    /// folder again if it was removed, since the kernel drops the watch of a removed folder.
    fn drain(&mut self) -> io::Result<bool> {
        let name = self.path.file_name().map(OsStrExt::as_bytes).unwrap_or_default();
        let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(self.watched.get_ref(), &mut buffer);
        let (mut changed, mut folder_gone) = (false, false);
        while let Ok(event) = reader.next() {
            folder_gone |= event.events().contains(ReadFlags::IGNORED);
            changed |= event.file_name().is_none_or(|written| written.to_bytes() == name);
        }
        if folder_gone {
            self.watched = Self::open(&self.path)?.watched;
        }
        Ok(changed || folder_gone)
    }
}

/// Reports the leases in `path` at the start, and each change. A renewal counts as a change, since
/// the facts expire a lease that is not renewed.
///
/// # Errors
/// inotify is unavailable, or the receiver is gone (`Closed`).
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

/// Returns the leases in these files, for the start; for a board in several files, the first.
pub fn kept(paths: &[PathBuf]) -> Vec<Lease> {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut boards = BTreeSet::new();
    let files = paths.iter().filter_map(|path| folder::read(path).ok());
    let entries = files
        .flat_map(|bytes| file::parse(&bytes).entries)
        .filter(|entry| boards.insert(entry.mac));
    entries.map(|entry| lease(&entry, clock)).collect()
}

/// Returns the changes, removals first, since a removed address may have been assigned again.
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

    // The paused clock does not advance while events are pending, so load cannot fail the test.
    #[tokio::test(start_paused = true)]
    async fn a_cancelled_wait_loses_no_change() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().to_owned();
        let path = folder.join("leases");
        let mut watch = Watch::open(&path).unwrap();
        assert!(timeout(SETTLE, watch.changed()).await.is_err(), "the file was not written");
        let written = Instant::now();
        std::fs::write(&path, "x").unwrap();
        for _ in 0..3 {
            // Shorter than the delay after a change.
            assert!(timeout(SETTLE / 8, watch.changed()).await.is_err(), "too early");
        }
        timeout(SETTLE, watch.changed()).await.unwrap().unwrap();
        // The runtime's clock counts in whole milliseconds.
        assert!(written.elapsed() <= SETTLE + Duration::from_millis(2), "{:?}", written.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_being_rewritten_loses_no_lease() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().to_owned();
        let path = folder.join("leases");
        let mut watch = Watch::open(&path).unwrap();
        let line = |last: u32| format!("0 b8:27:eb:00:00:0{last} 192.168.50.10{last} * *\n");
        std::fs::write(&path, line(1) + &line(2)).unwrap();
        assert_eq!(watch.read().await.entries.len(), 2);
        std::fs::write(&path, line(1)).unwrap();
        let (whole, written) = (line(1) + &line(2), path.clone());
        let writer = tokio::spawn(async move {
            sleep(REREAD_INTERVAL / 2).await;
            std::fs::write(written, whole).unwrap();
        });
        assert_eq!(watch.read().await.entries.len(), 2, "truncated between two lines");
        writer.await.unwrap();
        std::fs::write(&path, line(1)).unwrap();
        assert_eq!(watch.read().await.entries.len(), 1, "a removed lease");
    }

    #[tokio::test(start_paused = true)]
    async fn a_recreated_folder_is_watched_again() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().to_owned();
        let path = folder.join("leases");
        let mut watch = Watch::open(&path).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        timeout(SETTLE * 50, watch.changed()).await.unwrap().unwrap();
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(&path, "x").unwrap();
        timeout(SETTLE * 50, watch.changed()).await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn changes_in_place_and_replacement_are_reported() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().to_owned();
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
