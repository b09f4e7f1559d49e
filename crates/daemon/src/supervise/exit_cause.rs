//! Names what brought a child's end about.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::process::Signal;

/// Names what brought a child's end about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitCause {
    /// itself: it left, or crashed
    Own,
    /// a signal from outside
    Killed,
    /// the kernel, which needed its memory
    NoMemory,
}

impl ExitCause {
    /// Returns the cause. `lacked_memory`: the kernel has killed some program for want of memory
    /// since this one started.
    pub fn of(status: ExitStatus, lacked_memory: bool) -> Self {
        match status.signal().and_then(Signal::from_named_raw) {
            Some(Signal::KILL) if lacked_memory => Self::NoMemory,
            Some(Signal::KILL | Signal::TERM) => Self::Killed,
            _ => Self::Own,
        }
    }

    /// Returns a sentence for the journal: `name` is the program's, `how` its signal or exit code,
    /// `last` its last line.
    pub fn sentence(self, name: &str, how: &str, last: &str) -> String {
        match self {
            Self::Own if last.is_empty() => format!("{name} ended ({how}) and is started again"),
            Self::Own => format!("{name} ended ({how}) and is started again; it said last: {last}"),
            Self::Killed => format!("{name} was killed ({how}) and is started again"),
            Self::NoMemory => format!(
                "the kernel killed {name} ({how}) for want of memory, and it is started again: see who takes the memory: ps aux --sort=-rss | head"
            ),
        }
    }
}

/// Returns how many programs the kernel has killed for want of memory since the machine's start, by
/// `/proc/vmstat`.
pub fn memory_kills(vmstat: &str) -> Option<u64> {
    vmstat.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_reported_by_who_brought_it_about() {
        let killed = ExitStatus::from_raw(9);
        assert_eq!(ExitCause::of(killed, false), ExitCause::Killed);
        assert_eq!(ExitCause::of(ExitStatus::from_raw(15), false), ExitCause::Killed);
        assert_eq!(ExitCause::of(killed, true), ExitCause::NoMemory);
        assert_eq!(
            ExitCause::of(ExitStatus::from_raw(11), true),
            ExitCause::Own,
            "a crash is its own"
        );
        let words = ExitCause::of(killed, true).sentence("dnsmasq", &killed.to_string(), "");
        assert!(words.contains("signal: 9") && words.contains("want of memory"), "{words}");
        let failed = ExitStatus::from_raw(2 << 8);
        let words = ExitCause::of(failed, false).sentence(
            "dnsmasq",
            &failed.to_string(),
            "failed to create inotify",
        );
        assert!(
            words.contains("exit status: 2") && words.ends_with("failed to create inotify"),
            "{words}"
        );
    }

    #[test]
    fn the_kernels_count_is_read() {
        assert_eq!(memory_kills("pgfault 7\noom_kill 3\ndrop_pagecache 0\n"), Some(3));
        assert_eq!(memory_kills("pgfault 7\n"), None);
    }
}
