//! Writes records to the journal by its native protocol if standard error is connected to it,
//! otherwise lines to standard error. Never blocks.

mod detail;
mod limit;
mod native;
#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use rustix::fs::fstat;

use crate::clock;
use crate::event::printable_line;
use crate::sync::lock;
use crate::view::journal::{Priority, Record, is_detail};
pub use detail::write_details;
use limit::Limit;

const SOCKET: &str = "/run/systemd/journal/socket";

/// Log options of the command line.
#[derive(Debug, Clone, Default)]
pub struct LogOptions {
    /// A filter as in `RUST_LOG`; `None`: use that variable.
    pub details: Option<String>,
    /// Write only warnings and errors.
    pub is_quiet: bool,
    /// `None`: if standard error is a terminal with colours.
    pub colours: Option<bool>,
}

/// The destination of records.
#[derive(Debug)]
pub struct Journal {
    target: Target,
    is_quiet: bool,
    /// Records dropped since the last one that was written.
    dropped: AtomicU64,
    limit: Mutex<Limit>,
    /// Number of nodes in the settings, by which the burst of each kind is larger.
    nodes: AtomicU32,
}

#[derive(Debug)]
enum Target {
    Native { socket: UnixDatagram, path: PathBuf },
    Lines { colours: bool },
}

impl Journal {
    /// Opens the journal if standard error is connected to it (`$JOURNAL_STREAM` holds the device
    /// and inode: systemd.exec(5)), otherwise standard error.
    pub fn open(options: &LogOptions) -> Self {
        let target = if is_journal_stream() { native_target(Path::new(SOCKET)) } else { None };
        let lines = || Target::Lines { colours: options.colours.unwrap_or_else(colours) };
        Self {
            target: target.unwrap_or_else(lines),
            is_quiet: options.is_quiet,
            dropped: AtomicU64::new(0),
            limit: Mutex::default(),
            nodes: AtomicU32::new(0),
        }
    }

    /// Increases the burst of each kind of record by the number of nodes in the settings.
    pub fn expect(&self, nodes: usize) {
        self.nodes.store(u32::try_from(nodes).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// Writes a record, or counts it as left out if its kind or subject exceeds the rate limit.
    pub fn write(&self, record: &Record) {
        if self.is_quiet && !is_warning(record.priority) {
            return;
        }
        let now = clock::now();
        let nodes = self.nodes.load(Ordering::Relaxed);
        let is_unlimited = record.priority == Priority::Debug && !is_detail(record);
        let passes = is_unlimited || lock(&self.limit).pass(record, nodes, now);
        self.report_left_out();
        if passes {
            self.put(record);
        }
    }

    /// Writes a record for each kind of which records were left out.
    pub fn report_left_out(&self) {
        let reports = lock(&self.limit).left_out(clock::now());
        reports.iter().for_each(|record| self.put(record));
    }

    /// Writes a record, or counts it as dropped if the socket is full.
    fn put(&self, record: &Record) {
        let dropped = self.dropped.load(Ordering::Relaxed);
        let result = match &self.target {
            Target::Native { socket, path } => {
                native::send(socket, path, &native::encode(record, dropped))
            }
            // A terminal shows events, but not debug records such as the rules.
            Target::Lines { .. } if record.priority == Priority::Debug && !is_detail(record) => {
                return;
            }
            Target::Lines { colours } => {
                io::stderr().lock().write_all(line(record, *colours).as_bytes())
            }
        };
        match result {
            Ok(()) => self.dropped.store(0, Ordering::Relaxed),
            Err(_) => self.dropped.store(dropped.saturating_add(1), Ordering::Relaxed),
        }
    }

    /// Returns the number of records dropped since the last one that was written.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

fn is_warning(priority: Priority) -> bool {
    matches!(priority, Priority::Warning | Priority::Error)
}

fn native_target(path: &Path) -> Option<Target> {
    let socket = UnixDatagram::unbound().ok()?;
    socket.set_nonblocking(true).ok()?;
    path.exists().then(|| Target::Native { socket, path: path.to_owned() })
}

/// Returns whether standard error is the stream in `$JOURNAL_STREAM`.
fn is_journal_stream() -> bool {
    let Some(named) = std::env::var_os("JOURNAL_STREAM") else { return false };
    fstat(io::stderr())
        .is_ok_and(|file| named.to_str() == Some(&format!("{}:{}", file.st_dev, file.st_ino)))
}

fn colours() -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    io::stderr().is_terminal() && !set("NO_COLOR") && !dumb
}

/// Formats a record as a line for a terminal or a file.
fn line(record: &Record, colours: bool) -> String {
    let colour = match record.priority {
        _ if !colours => "",
        Priority::Error => "\x1b[1;31m",
        Priority::Warning => "\x1b[33m",
        Priority::Notice => "\x1b[1m",
        Priority::Info | Priority::Debug => "",
    };
    let end = if colour.is_empty() { "" } else { "\x1b[0m" };
    format!("bramblegate: {colour}{}{end}\n", printable_line(&record.message))
}
