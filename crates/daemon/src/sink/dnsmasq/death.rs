//! How dnsmasq came to its end, for people.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// signal(7)
const KILL: i32 = 9;
const TERM: i32 = 15;

/// Who brought the end about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// itself
    Own,
    /// somebody who sent it a signal
    Killed,
    /// the kernel, which needed its memory
    NoMemory,
}

impl Death {
    /// `lacked_memory`: the kernel has killed some program for want of memory since this one was started.
    pub fn of(status: ExitStatus, lacked_memory: bool) -> Self {
        match status.signal() {
            Some(KILL) if lacked_memory => Self::NoMemory,
            Some(KILL | TERM) => Self::Killed,
            _ => Self::Own,
        }
    }

    /// For the journal; `how` with signal or exit code, `last` is what it said last.
    pub fn words(self, how: &str, last: &str) -> String {
        match self {
            Self::Own if last.is_empty() => format!("dnsmasq ended ({how}) and is started again"),
            Self::Own => format!("dnsmasq ended ({how}) and is started again; it said last: {last}"),
            Self::Killed => format!("dnsmasq was killed ({how}) and is started again"),
            Self::NoMemory => format!(
                "the kernel killed dnsmasq ({how}) for want of memory, and it is started again: see who takes the memory: ps aux --sort=-rss | head"
            ),
        }
    }
}

/// Programs that the kernel has killed for want of memory since the machine's start, by `/proc/vmstat`.
pub fn kills_for_memory(vmstat: &str) -> Option<u64> {
    vmstat.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_by_who_brought_it_about() {
        let killed = ExitStatus::from_raw(KILL);
        assert_eq!(Death::of(killed, false), Death::Killed);
        assert_eq!(Death::of(killed, true), Death::NoMemory);
        assert_eq!(Death::of(ExitStatus::from_raw(11), true), Death::Own, "a crash is its own");
        let words = Death::of(killed, true).words(&killed.to_string(), "");
        assert!(words.contains("signal: 9") && words.contains("want of memory"), "{words}");
        let failed = ExitStatus::from_raw(2 << 8);
        let words = Death::of(failed, false).words(&failed.to_string(), "failed to create inotify");
        assert!(words.contains("exit status: 2") && words.ends_with("failed to create inotify"), "{words}");
    }

    #[test]
    fn the_kernels_count_is_read() {
        assert_eq!(kills_for_memory("pgfault 7\noom_kill 3\ndrop_pagecache 0\n"), Some(3));
        assert_eq!(kills_for_memory("pgfault 7\n"), None);
    }
}
