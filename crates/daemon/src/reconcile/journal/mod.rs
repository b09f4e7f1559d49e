//! The journal: records by its own protocol when standard error is the journal's, else lines on
//! standard error. Never waits.

mod detail;
mod limit;
mod native;
#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::fstat;

use crate::clock;
use crate::event::printable_line;
use crate::view::journal::{Priority, Record, is_detail};
pub use detail::write_details;
use limit::Limit;

const SOCKET: &str = "/run/systemd/journal/socket";

/// How much is written, and how; by the command line.
#[derive(Debug, Clone, Default)]
pub struct LogOptions {
    /// which details, as in `RUST_LOG`; `None`: what that variable says
    pub details: Option<String>,
    /// only what is a warning or worse
    pub is_quiet: bool,
    /// `None`: where standard error is a terminal that can
    pub colours: Option<bool>,
}

/// Where records go.
#[derive(Debug)]
pub struct Journal {
    target: Target,
    is_quiet: bool,
    /// records that found no room since the last that did
    dropped: AtomicU64,
    limit: Mutex<Limit>,
    /// nodes that the settings name: so many more of a kind may come together
    nodes: AtomicU32,
}

#[derive(Debug)]
enum Target {
    Native { socket: UnixDatagram, path: PathBuf },
    Lines { colours: bool },
}

impl Journal {
    /// Opens the journal if standard error leads there (`$JOURNAL_STREAM` names the device and
    /// inode: systemd.exec(5)), else standard error itself.
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

    /// Lets as many more records of a kind come together as the settings name nodes.
    pub fn expect(&self, nodes: usize) {
        self.nodes.store(u32::try_from(nodes).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// Writes one record, unless there have been too many of its kind: those are counted, and
    /// reported together.
    pub fn write(&self, record: &Record) {
        if self.is_quiet && !is_warning(record.priority) {
            return;
        }
        let now = clock::now();
        let nodes = self.nodes.load(Ordering::Relaxed);
        let is_free = record.priority == Priority::Debug && !is_detail(record);
        let passes = is_free || self.limit().pass(record, nodes, now);
        self.report_left_out();
        if passes {
            self.put(record);
        }
    }

    /// Reports how many records were left out, of each kind.
    pub fn report_left_out(&self) {
        let reported = self.limit().left_out(clock::now());
        reported.iter().for_each(|record| self.put(record));
    }

    fn limit(&self) -> MutexGuard<'_, Limit> {
        self.limit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes one record, or counts it as dropped if there is no room.
    fn put(&self, record: &Record) {
        let dropped = self.dropped.load(Ordering::Relaxed);
        let result = match &self.target {
            Target::Native { socket, path } => {
                native::send(socket, path, &native::encode(record, dropped))
            }
            // People who look at a terminal want to know what happens, not each rule of it.
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

    /// Records lost since the last one that was written.
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

/// Returns whether standard error is the stream that `$JOURNAL_STREAM` names.
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

/// Returns one line for users.
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
