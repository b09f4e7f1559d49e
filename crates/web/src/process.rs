//! The resource usage of this process, from the kernel.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// A sample; `None` where the kernel does not report a value.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Process {
    /// All threads, user and system.
    pub cpu_seconds: Option<f64>,
    pub resident_bytes: Option<f64>,
    pub virtual_bytes: Option<f64>,
    /// Unix time, in seconds.
    pub started: Option<f64>,
    pub open_fds: Option<f64>,
    pub max_fds: Option<f64>,
}

impl Process {
    /// Takes a sample.
    pub fn now() -> Self {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let memory = fs::read_to_string("/proc/self/statm").unwrap_or_default();
        // Pages (Documentation/filesystems/proc.rst, table 1-3): all, resident, …
        let mut pages = memory
            .split_whitespace()
            .map(|count| count.parse().ok().map(|count: f64| count * page_size() as f64));
        Self {
            cpu_seconds: Some(cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9),
            virtual_bytes: pages.next().flatten(),
            resident_bytes: pages.next().flatten(),
            started: started(),
            // Not counting the descriptor that lists the directory.
            open_fds: fs::read_dir("/proc/self/fd").ok().map(|fds| (fds.count() - 1) as f64),
            max_fds: getrlimit(Resource::Nofile).current.map(|most| most as f64),
        }
    }
}

/// Returns the start of the process as Unix time, in seconds: field 22 of `/proc/self/stat` is in
/// ticks since boot (Documentation/filesystems/proc.rst, table 1-4).
fn started() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The process name before it, in parentheses, may contain anything.
    let (_, after) = stat.rsplit_once(')')?;
    let ticks: f64 = after.split_whitespace().nth(19)?.parse().ok()?;
    let boot = clock_gettime(ClockId::Boottime);
    let up = boot.tv_sec as f64 + boot.tv_nsec as f64 / 1e9;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs_f64();
    Some(now - (up - ticks / clock_ticks_per_second() as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_are_those_of_this_process() {
        let before = Process::now();
        let file = fs::File::open("/proc/self/status").unwrap();
        // Twice what is asked for: other tests free memory meanwhile.
        let held = vec![1_u8; 128 << 20];
        let after = Process::now();
        assert!(after.open_fds >= before.open_fds.map(|fds| fds + 1.0), "{before:?} {after:?}");
        assert!(after.resident_bytes.unwrap() >= before.resident_bytes.unwrap() + 6e7, "{after:?}");
        assert!(after.virtual_bytes > after.resident_bytes);
        assert!(after.cpu_seconds > before.cpu_seconds);
        let age = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
            - after.started.unwrap();
        assert!((-1.0..3600.0).contains(&age), "{age}");
        drop((file, held));
    }
}
