//! The daemon's latest lines in the journal, from a child process `journalctl -f` (journalctl(1)).

use std::collections::VecDeque;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bramblegate_api::printable::printable_line;
use serde_json::Value;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;
use tokio::sync::watch;

/// The socket of journald; without it, there is no journal.
const JOURNALD: &str = "/run/systemd/journal/socket";
/// The number of lines that are kept.
const LINES: usize = 20;
/// The maximum size of an entry, in bytes; a longer one is skipped.
const LONGEST: u64 = 64 << 10;
/// The maximum length of an entry's text, in characters.
const SHOWN: usize = 300;
/// The pause before a restart of journalctl.
const PAUSE: Duration = Duration::from_secs(5);

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub at: SystemTime,
    /// The syslog priority: 0 emergency to 7 debug.
    pub priority: u8,
    pub text: String,
}

/// The latest lines, oldest first, and the generation.
type Latest = (VecDeque<Entry>, u64);

/// The latest lines, which clones share.
#[derive(Debug, Clone, Default)]
pub struct Logbook(Arc<watch::Sender<Latest>>);

impl Logbook {
    /// Returns the latest lines, oldest first.
    pub fn entries(&self) -> Vec<Entry> {
        self.0.borrow().0.iter().cloned().collect()
    }

    /// Returns a number that grows with every new line.
    pub fn generation(&self) -> u64 {
        self.0.borrow().1
    }

    /// Returns a receiver that wakes at every new line.
    pub fn changes(&self) -> watch::Receiver<Latest> {
        self.0.subscribe()
    }

    /// Follows the journal, if there is one, for as long as the process runs.
    pub async fn run(self) {
        while Path::new(JOURNALD).exists() {
            self.follow().await;
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn follow(&self) {
        let arguments = ["-u", "bramblegate", "-o", "json", "-f", "-n", "20", "--no-pager", "-q"];
        let mut command = Command::new("journalctl");
        command.args(arguments).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let Ok(mut child) = command.spawn() else { return };
        // No event: the lines come again at once.
        self.0.send_if_modified(|(entries, _)| {
            entries.clear();
            false
        });
        if let Some(lines) = child.stdout.take() {
            self.read(BufReader::new(lines)).await;
        }
        let _ = child.kill().await;
    }

    async fn read(&self, mut lines: impl AsyncBufRead + Unpin) {
        let mut line = Vec::new();
        let mut cut = false;
        loop {
            line.clear();
            match (&mut lines).take(LONGEST).read_until(b'\n', &mut line).await {
                Ok(length) if length > 0 => {}
                _ => return,
            }
            let ends = line.ends_with(b"\n");
            // Neither the beginning nor the rest of a longer entry counts.
            if let Some(entry) = entry(&line).filter(|_| ends && !cut) {
                self.add(entry);
            }
            cut = !ends;
        }
    }

    fn add(&self, entry: Entry) {
        self.0.send_modify(|(entries, generation)| {
            if entries.len() == LINES {
                entries.pop_front();
            }
            entries.push_back(entry);
            *generation += 1;
        });
    }
}

/// Parses an entry in the journal's JSON format (systemd.io/JOURNAL_EXPORT_FORMATS), in which text
/// that is not printable UTF-8 is an array of bytes.
fn entry(line: &[u8]) -> Option<Entry> {
    let fields: Value = serde_json::from_slice(line).ok()?;
    let text = match fields.get("MESSAGE")? {
        Value::String(text) => text.clone(),
        Value::Array(bytes) => {
            let bytes = bytes.iter().map(|byte| u8::try_from(byte.as_u64()?).ok());
            String::from_utf8_lossy(&bytes.collect::<Option<Vec<u8>>>()?).into_owned()
        }
        _ => return None,
    };
    let number = |name: &str| fields.get(name)?.as_str()?.parse::<u64>().ok();
    let at = UNIX_EPOCH.checked_add(Duration::from_micros(number("__REALTIME_TIMESTAMP")?))?;
    let priority = number("PRIORITY").and_then(|number| u8::try_from(number).ok()).unwrap_or(6);
    let text = printable_line(&text).to_string().chars().take(SHOWN).collect();
    Some(Entry { at, priority, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_and_made_printable() {
        let line = br#"{"MESSAGE":"rpi2 is \u001b[31mdown","PRIORITY":"4","__REALTIME_TIMESTAMP":"1700000000000000"}"#;
        let read = entry(line).unwrap();
        assert_eq!(read.priority, 4);
        assert!(
            !read.text.contains('\u{1b}') && read.text.starts_with("rpi2 is "),
            "{}",
            read.text
        );
        let bytes = br#"{"MESSAGE":[104,105,255],"__REALTIME_TIMESTAMP":"1"}"#;
        assert!(entry(bytes).unwrap().text.starts_with("hi"));
        for bad in [&b"{}"[..], b"rubbish", br#"{"MESSAGE":null,"__REALTIME_TIMESTAMP":"1"}"#] {
            assert_eq!(entry(bad), None);
        }
    }

    #[tokio::test]
    async fn the_latest_lines_are_kept_and_a_too_long_one_is_skipped() {
        let line =
            |text: &str| format!("{{\"MESSAGE\":\"{text}\",\"__REALTIME_TIMESTAMP\":\"1\"}}\n");
        let mut text: String = (0..30).map(|number| line(&number.to_string())).collect();
        text += &line(&"x".repeat(200_000));
        text += &line("last");
        let logbook = Logbook::default();
        logbook.read(text.as_bytes()).await;
        let texts: Vec<String> = logbook.entries().into_iter().map(|entry| entry.text).collect();
        assert_eq!(texts.len(), LINES);
        assert_eq!((texts[0].as_str(), texts[LINES - 1].as_str()), ("11", "last"));
    }
}
