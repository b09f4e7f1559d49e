//! Lists in the state directory, one entry a line, that outlive a restart and a power cut. Changes
//! in quick succession are written together, to limit wear on the SD card.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use crate::files::folder;
use crate::pace::Pace;

/// Timeout of the last write, when the daemon stops.
const LAST_WRITE: Duration = Duration::from_secs(1);

/// Resolves once the list is on disk, or with the write error.
pub(super) type Reply = oneshot::Sender<Result<(), String>>;

/// A list is written immediately this many times in a row, then once per interval.
const BURST: u32 = 16;
const INTERVAL: Duration = Duration::from_millis(200);

/// A write request.
#[derive(Debug)]
struct Entry {
    lines: BTreeSet<String>,
    reply: Option<Reply>,
    /// The daemon stops: write without delay.
    last: bool,
}

/// Writes a list in its own task, so that a slow SD card blocks nothing else.
#[derive(Debug)]
pub(super) struct StateFile {
    entries: mpsc::UnboundedSender<Entry>,
    /// The list as restored or last sent to the writer, which may not have written it yet.
    lines: BTreeSet<String>,
}

/// The content of a state file.
#[derive(Debug, Default, PartialEq, Eq)]
struct Stored {
    lines: BTreeSet<String>,
    /// A description of the damage, for users.
    damage: Option<String>,
}

impl StateFile {
    /// Reads the file and starts its writer. `errors` receives the damage found, and the write
    /// errors that no request waits for.
    pub fn open(path: PathBuf, errors: mpsc::UnboundedSender<String>) -> Self {
        let Stored { lines, damage } = read(&path);
        let on_disk = damage.is_none().then(|| lines.clone());
        if let Some(damage) = damage {
            let _ = errors.send(damage);
        }
        let (entries, requests) = mpsc::unbounded_channel();
        tokio::spawn(write_all(path, on_disk, requests, errors));
        Self { entries, lines }
    }

    /// Returns the list as restored or last saved.
    pub const fn lines(&self) -> &BTreeSet<String> {
        &self.lines
    }

    /// Saves a list unless it is the one saved last.
    pub fn save(&mut self, lines: &BTreeSet<String>) {
        if self.lines != *lines {
            self.lines.clone_from(lines);
            self.send(None, false);
        }
    }

    /// Saves a list; `reply` resolves once it is on disk.
    pub fn save_for(&mut self, lines: &BTreeSet<String>, reply: Reply) {
        self.lines.clone_from(lines);
        self.send(Some(reply), false);
    }

    fn send(&self, reply: Option<Reply>, last: bool) {
        let _ = self.entries.send(Entry { lines: self.lines.clone(), reply, last });
    }

    /// Waits until the list is on disk, or the disk takes too long.
    pub async fn finish(&mut self) {
        let (reply, written) = oneshot::channel();
        self.send(Some(reply), true);
        let _ = timeout(LAST_WRITE, written).await;
    }
}

/// Writes each requested list. `on_disk` is the content of the file, `None` if it is unknown.
async fn write_all(
    path: PathBuf,
    mut on_disk: Option<BTreeSet<String>>,
    mut requests: mpsc::UnboundedReceiver<Entry>,
    errors: mpsc::UnboundedSender<String>,
) {
    let mut pace = Pace::new(BURST, INTERVAL, Instant::now());
    while let Some(mut entry) = requests.recv().await {
        let mut replies = Vec::from_iter(entry.reply.take());
        if on_disk.as_ref() != Some(&entry.lines) {
            let deadline = pace.next(Instant::now());
            gather(&mut requests, &mut entry, &mut replies, deadline).await;
        }
        let lines = entry.lines;
        let result =
            if on_disk.as_ref() == Some(&lines) { Ok(()) } else { write(&path, &lines).await };
        match &result {
            Err(error) if replies.is_empty() => {
                let _ = errors.send(format!(
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

/// Merges the requests that are queued or arrive before `deadline` into `entry`: the newest list
/// wins. The last request of the daemon ends the wait.
async fn gather(
    requests: &mut mpsc::UnboundedReceiver<Entry>,
    entry: &mut Entry,
    replies: &mut Vec<Reply>,
    deadline: Instant,
) {
    while !entry.last {
        let mut next = tokio::select! {
            biased;
            Some(next) = requests.recv() => next,
            () = sleep_until(deadline) => return,
        };
        replies.extend(next.reply.take());
        *entry = next;
    }
}

/// Formats the first few items and the number of the rest.
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

/// Reads a state file and skips damaged lines: a worn SD card may return anything. A missing file
/// is empty.
fn read(path: &Path) -> Stored {
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
        // A line without a newline is truncated, and may look like the name of another node.
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

    async fn save(state: &mut StateFile, names: &[&str]) -> Result<(), String> {
        let (reply, result) = oneshot::channel();
        state.save_for(&lines(names), reply);
        result.await.unwrap()
    }

    #[tokio::test]
    async fn write_errors_are_reported_each_time_and_retried() {
        let held = tempfile::tempdir().unwrap();
        let directory = held.path().join("state");
        let file = directory.join("drained");
        let (errors, mut reported) = mpsc::unbounded_channel();
        let mut state = StateFile::open(file.clone(), errors);
        for attempt in 1..=2 {
            let error = save(&mut state, &["rpi1"]).await.unwrap_err();
            assert!(error.contains("not kept for the next start"), "{attempt}: {error}");
        }
        state.save(&lines(&["rpi2"]));
        assert!(reported.recv().await.unwrap().contains("cannot be written"));
        fs::create_dir(&directory).unwrap();
        save(&mut state, &["rpi2"]).await.unwrap();
        assert_eq!(read(&file), Stored { lines: lines(&["rpi2"]), damage: None });
        state.save(&lines(&[]));
        state.finish().await;
        assert_eq!(fs::read_to_string(&file).unwrap(), "", "it was written before the end");
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "nothing is left beside it");
    }

    /// Saves alternating lists for a while, each after the previous reply. Returns the numbers of
    /// replies and of files seen.
    async fn alternate(state: &mut StateFile, file: &Path, time: Duration) -> (usize, usize) {
        use std::os::unix::fs::MetadataExt;
        let (begin, mut replies, mut files) = (Instant::now(), 0, BTreeSet::new());
        while begin.elapsed() < time {
            let names: &[&str] = if replies % 2 == 0 { &["rpi1"] } else { &[] };
            save(state, names).await.unwrap();
            let meta = fs::metadata(file).unwrap();
            assert_eq!(
                meta.len(),
                names.iter().map(|name| name.len() as u64 + 1).sum::<u64>(),
                "it is on the disk"
            );
            files.insert((meta.ino(), meta.ctime_nsec()));
            replies += 1;
        }
        (replies, files.len())
    }

    #[tokio::test]
    async fn writes_are_rate_limited_except_the_last() {
        let held = tempfile::tempdir().unwrap();
        let file = held.path().join("drained");
        let (errors, _reported) = mpsc::unbounded_channel();
        let mut state = StateFile::open(file.clone(), errors);
        let (replies, files) = alternate(&mut state, &file, INTERVAL * 2).await;
        assert!(
            (BURST as usize..BURST as usize + 5).contains(&replies),
            "{replies} replies, {files} files"
        );
        // Many requests together are one write, and each gets its reply.
        let begin = Instant::now();
        let mut replies = Vec::new();
        for number in 0..100 {
            let (reply, result) = oneshot::channel();
            state.save_for(&lines(&[&format!("rpi{number}")]), reply);
            replies.push(result);
        }
        for reply in replies {
            reply.await.unwrap().unwrap();
        }
        assert!(begin.elapsed() < INTERVAL * 4, "{:?}", begin.elapsed());
        assert_eq!(read(&file).lines, lines(&["rpi99"]), "the newest counts");
        state.save(&lines(&["rpi7"]));
        let begin = Instant::now();
        state.finish().await;
        assert!(begin.elapsed() < INTERVAL / 2, "{:?}", begin.elapsed());
        assert_eq!(read(&file).lines, lines(&["rpi7"]));
    }

    #[test]
    fn a_damaged_line_is_skipped_and_reported() {
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
