//! Why a child process exited.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::process::Signal;

/// Cause of a child's exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitCause {
    /// It exited or crashed.
    Own,
    /// Another process sent a signal.
    Killed,
    /// The kernel's OOM killer.
    NoMemory,
}

impl ExitCause {
    /// Classifies `status`. `oom_killed` is true if the kernel killed any process for lack of
    /// memory since the child started.
    pub fn of(status: ExitStatus, oom_killed: bool) -> Self {
        match status.signal().and_then(Signal::from_named_raw) {
            Some(Signal::KILL) if oom_killed => Self::NoMemory,
            Some(Signal::KILL | Signal::TERM) => Self::Killed,
            _ => Self::Own,
        }
    }

    /// Returns a sentence for the journal from the program's `name`, `how` it exited (signal or
    /// exit code) and the `last` line that it printed.
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

/// Parses the number of OOM kills since boot from `/proc/vmstat`.
pub fn oom_kills(vmstat: &str) -> Option<u64> {
    vmstat.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_is_classified_and_described() {
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
    fn the_oom_count_is_parsed() {
        assert_eq!(oom_kills("pgfault 7\noom_kill 3\ndrop_pagecache 0\n"), Some(3));
        assert_eq!(oom_kills("pgfault 7\n"), None);
    }
}
