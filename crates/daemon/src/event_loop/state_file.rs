//! Lists in the state directory, one entry a line, that outlive a restart and a power cut. A card
//! bears only so many writes: changes that come one after another are written together, and each
//! writer waits for that.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use crate::files::folder;
use crate::pace::Pace;

/// At the end the disk is given so long.
const LAST_WRITE: Duration = Duration::from_secs(1);

/// Resolved once the list is on the disk, or with why it is not.
pub(super) type Reply = oneshot::Sender<Result<(), String>>;

/// A list is written at once so many times in a row, and then once in each interval.
const AT_ONCE: u32 = 16;
const INTERVAL: Duration = Duration::from_millis(200);

/// A list to write down.
#[derive(Debug)]
struct Entry {
    lines: BTreeSet<String>,
    reply: Option<Reply>,
    /// it is the last one: no task waits for others
    last: bool,
}

/// Writes in its own task: a card that takes its time holds nothing up.
#[derive(Debug)]
pub(super) struct StateFile {
    entries: mpsc::UnboundedSender<Entry>,
    /// given to be written last, or read at the start; what is on the disk only the writer knows
    given: BTreeSet<String>,
}

/// What an earlier run kept.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Stored {
    pub lines: BTreeSet<String>,
    /// what is damaged, for users
    pub damage: Option<String>,
}

impl StateFile {
    /// Starts the thread that writes. `lost`: what could not be written and no task waits for is
    /// reported there.
    pub fn spawn(path: PathBuf, stored: &Stored, lost: mpsc::UnboundedSender<String>) -> Self {
        let (entries, orders) = mpsc::unbounded_channel();
        let on_disk = stored.damage.is_none().then(|| stored.lines.clone());
        tokio::spawn(write_all(path, on_disk, orders, lost));
        Self { entries, given: stored.lines.clone() }
    }

    /// Has a list written. One that was given before is not written again.
    pub fn keep(&mut self, lines: &BTreeSet<String>) {
        if self.given != *lines {
            self.given.clone_from(lines);
            self.send(lines, None, false);
        }
    }

    /// Has a list written as [`StateFile::keep`] does; `reply` gets an answer when the list is on
    /// the disk.
    pub fn keep_for(&mut self, lines: &BTreeSet<String>, reply: Reply) {
        self.given.clone_from(lines);
        self.send(lines, Some(reply), false);
    }

    fn send(&self, lines: &BTreeSet<String>, reply: Option<Reply>, last: bool) {
        let _ = self.entries.send(Entry { lines: lines.clone(), reply, last });
    }

    /// Waits until what was given is on the disk, or the disk takes too long.
    pub async fn finish(&mut self) {
        let (reply, written) = oneshot::channel();
        self.send(&self.given, Some(reply), true);
        let _ = timeout(LAST_WRITE, written).await;
    }
}

/// Writes each list that comes. `on_disk`: what the file holds, where it is sure.
async fn write_all(
    path: PathBuf,
    mut on_disk: Option<BTreeSet<String>>,
    mut orders: mpsc::UnboundedReceiver<Entry>,
    lost: mpsc::UnboundedSender<String>,
) {
    let mut pace = Pace::new(AT_ONCE, INTERVAL, Instant::now());
    while let Some(mut entry) = orders.recv().await {
        let mut replies = Vec::from_iter(entry.reply.take());
        if on_disk.as_ref() != Some(&entry.lines) {
            let at = pace.next(Instant::now());
            gather(&mut orders, &mut entry, &mut replies, at).await;
        }
        let lines = entry.lines;
        let result =
            if on_disk.as_ref() == Some(&lines) { Ok(()) } else { write(&path, &lines).await };
        match &result {
            Err(error) if replies.is_empty() => {
                let _ = lost.send(format!(
                    "{} cannot be written: {error}; after a restart it will be as it was before",
                    path.display()
                ));
            }
            _ => {}
        }
        let reported = result.as_ref().copied().map_err(|error| {
            format!("done, but not kept for the next start: {}: {error}", path.display())
        });
        for reply in replies {
            let _ = reply.send(reported.clone());
        }
        if result.is_ok() {
            on_disk = Some(lines);
        }
    }
}

/// Takes what comes until `at` into `entry`, of which the newest counts, and what waits already;
/// the last one is not kept waiting.
async fn gather(
    orders: &mut mpsc::UnboundedReceiver<Entry>,
    entry: &mut Entry,
    replies: &mut Vec<Reply>,
    at: Instant,
) {
    while !entry.last {
        let mut next = tokio::select! {
            biased;
            Some(next) = orders.recv() => next,
            () = sleep_until(at) => return,
        };
        replies.extend(next.reply.take());
        *entry = next;
    }
}

/// Returns the first few items, and how many more there are: a file may hold any number.
pub(super) fn first_few(items: &[impl AsRef<str>]) -> String {
    const FEW: usize = 8;
    let named: Vec<&str> = items.iter().take(FEW).map(AsRef::as_ref).collect();
    let more = match items.len().saturating_sub(FEW) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    named.join(", ") + &more
}

async fn write(path: &Path, lines: &BTreeSet<String>) -> io::Result<()> {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let path = path.to_owned();
    let written = tokio::task::spawn_blocking(move || folder::keep(&path, text)).await;
    written.map_err(io::Error::other).and_then(|result| result)
}

/// Reads leniently: a worn card may leave anything there, and one bad line must not cost the
/// others. No file holds nothing.
pub(super) fn read(path: &Path) -> Stored {
    let bytes = match folder::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Stored::default(),
        Err(error) => {
            let damage = format!(
                "{} cannot be read: {error}; what was kept there is forgotten",
                path.display()
            );
            return Stored { damage: Some(damage), ..Stored::default() };
        }
    };
    let (mut lines, mut damaged) = (BTreeSet::new(), Vec::new());
    for (number, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        // One without an end was cut off, and what is left of a name may be another's.
        let text = line.strip_suffix(b"\n").and_then(|line| std::str::from_utf8(line).ok());
        match text.filter(|text| !text.chars().any(char::is_control)) {
            Some("") => {}
            Some(text) => {
                lines.insert(text.to_owned());
            }
            None => damaged.push((number + 1).to_string()),
        }
    }
    let damage = (!damaged.is_empty()).then(|| {
        let (path, kept) = (path.display(), lines.len());
        let damaged = first_few(&damaged);
        format!("{path}: line {damaged} is damaged and was left out; {kept} others are kept")
    });
    Stored { lines, damage }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn lines(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    async fn kept(keeper: &mut StateFile, names: &[&str]) -> Result<(), String> {
        let (reply, reported) = oneshot::channel();
        keeper.keep_for(&lines(names), reply);
        reported.await.unwrap()
    }

    #[tokio::test]
    async fn what_is_not_on_the_disk_is_reported_each_time_and_written_when_the_disk_takes_it() {
        let held = tempfile::tempdir().unwrap();
        let folder = held.path().to_owned();
        let state = folder.join("state");
        let file = state.join("drained");
        let (lost, mut reported) = mpsc::unbounded_channel();
        let mut keeper = StateFile::spawn(file.clone(), &Stored::default(), lost);
        for attempt in 1..=2 {
            let refused = kept(&mut keeper, &["rpi1"]).await.unwrap_err();
            assert!(refused.contains("not kept for the next start"), "{attempt}: {refused}");
        }
        keeper.keep(&lines(&["rpi2"]));
        assert!(reported.recv().await.unwrap().contains("cannot be written"));
        fs::create_dir(&state).unwrap();
        kept(&mut keeper, &["rpi2"]).await.unwrap();
        assert_eq!(read(&file), Stored { lines: lines(&["rpi2"]), damage: None });
        keeper.keep(&lines(&[]));
        keeper.finish().await;
        assert_eq!(fs::read_to_string(&file).unwrap(), "", "it was written before the end");
        assert_eq!(fs::read_dir(&state).unwrap().count(), 1, "nothing is left beside it");
    }

    /// One after the other for a while, each when the one before is answered. Returns how many were
    /// answered and the files that were seen.
    async fn alternate(keeper: &mut StateFile, file: &Path, time: Duration) -> (usize, usize) {
        use std::os::unix::fs::MetadataExt;
        let (begin, mut answers, mut files) = (Instant::now(), 0, BTreeSet::new());
        while begin.elapsed() < time {
            let names: &[&str] = if answers % 2 == 0 { &["rpi1"] } else { &[] };
            kept(keeper, names).await.unwrap();
            let meta = fs::metadata(file).unwrap();
            assert_eq!(
                meta.len(),
                names.iter().map(|name| name.len() as u64 + 1).sum::<u64>(),
                "it is on the disk"
            );
            files.insert((meta.ino(), meta.ctime_nsec()));
            answers += 1;
        }
        (answers, files.len())
    }

    #[tokio::test]
    async fn a_list_that_changes_without_end_wears_no_card_out() {
        let held = tempfile::tempdir().unwrap();
        let folder = held.path().to_owned();
        let file = folder.join("drained");
        let (lost, _reported) = mpsc::unbounded_channel();
        let mut keeper = StateFile::spawn(file.clone(), &Stored::default(), lost);
        let (answers, files) = alternate(&mut keeper, &file, INTERVAL * 2).await;
        assert!(
            (AT_ONCE as usize..AT_ONCE as usize + 5).contains(&answers),
            "{answers} answers, {files} files"
        );
        // Many together are one write, and each is answered.
        let begin = Instant::now();
        let mut answers = Vec::new();
        for number in 0..100 {
            let (reply, reported) = oneshot::channel();
            keeper.keep_for(&lines(&[&format!("rpi{number}")]), reply);
            answers.push(reported);
        }
        for answer in answers {
            answer.await.unwrap().unwrap();
        }
        assert!(begin.elapsed() < INTERVAL * 4, "{:?}", begin.elapsed());
        assert_eq!(read(&file).lines, lines(&["rpi99"]), "the newest counts");
        // The end waits for no turn.
        keeper.keep(&lines(&["rpi7"]));
        let begin = Instant::now();
        keeper.finish().await;
        assert!(begin.elapsed() < INTERVAL / 2, "{:?}", begin.elapsed());
        assert_eq!(read(&file).lines, lines(&["rpi7"]));
    }

    #[test]
    fn damage_costs_one_line_and_is_reported() {
        let held = tempfile::tempdir().unwrap();
        let folder = held.path().to_owned();
        let file = folder.join("acknowledged");
        assert_eq!(read(&file), Stored::default(), "a missing file is nothing");
        fs::write(&file, b"node-down rpi1 down\nnode-\xffown rpi2 down\nuplink-clash CLASH 192.168.50\nnode-down rp")
            .unwrap();
        let stored = read(&file);
        assert_eq!(stored.lines, lines(&["node-down rpi1 down", "uplink-clash CLASH 192.168.50"]));
        assert!(
            stored
                .damage
                .unwrap()
                .contains("line 2, 4 is damaged and was left out; 2 others are kept")
        );
        fs::write(&file, b"\xff\n".repeat(10_000)).unwrap();
        let damage = read(&file).damage.unwrap();
        assert!(damage.contains("line 1, 2, 3, 4, 5, 6, 7, 8 and 9992 more is"), "{damage:.200}");
        let unreadable = read(&folder);
        assert!(unreadable.damage.unwrap().contains("cannot be read"));
    }
}
