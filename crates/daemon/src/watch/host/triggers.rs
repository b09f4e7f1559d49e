//! Fires for what the kernel reports by itself: a mount that changed, an alarm of the supply, a
//! clock that was set. Each by poll(2) in a small task; a machine that lacks one is looked at by
//! the clock alone.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::head;
use crate::files::reading;

/// Several changes come at once.
const SETTLE: Duration = Duration::from_millis(200);
/// Files of the kernel open at once, or never.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is mounted (proc_pid_mountinfo(5)); reports changes by POLLPRI.
const MOUNTS: &str = "/proc/self/mountinfo";

/// Fires when something of it changed.
#[derive(Debug)]
pub struct Triggers {
    bell: Arc<Notify>,
    /// end with it
    tasks: JoinSet<()>,
}

impl Triggers {
    /// Watches what there is below `root`.
    pub async fn new(root: &'static Path) -> Self {
        let mut triggers = Self::of(move || files(root)).await;
        if let Ok(clock) = clock() {
            triggers.tasks.spawn(ring_when_set(clock, Arc::clone(&triggers.bell)));
        }
        triggers
    }

    /// Watches what is mounted, and nothing else.
    pub async fn of_mounts() -> Self {
        Self::of(|| reading::open(Path::new(MOUNTS)).into_iter().collect()).await
    }

    async fn of(files: impl FnOnce() -> Vec<File> + Send + 'static) -> Self {
        let bell = Arc::new(Notify::new());
        let mut tasks = JoinSet::new();
        // A driver that hangs when it is opened never fires; the vitals are looked at all the same.
        let files = timeout(PATIENCE, spawn_blocking(files)).await;
        if files.is_err() {
            debug!("a file of a sensor does not open; its alarms are seen a minute late");
        }
        for file in files.ok().and_then(Result::ok).unwrap_or_default() {
            if let Some(file) = urgent(file) {
                tasks.spawn(ring(file, Arc::clone(&bell)));
            }
        }
        Self { bell, tasks }
    }

    /// Waits for the next change. May be dropped and called again.
    pub async fn fired(&self) {
        self.bell.notified().await;
    }
}

/// Opens what may report by itself.
fn files(root: &Path) -> Vec<File> {
    let alarms = [
        head::voltage_alarm(root),
        head::throttled_file(root),
        Some(root.join("proc/self/mountinfo")),
    ];
    alarms.into_iter().flatten().filter_map(|path| reading::open(&path).ok()).collect()
}

/// Registers a file for urgent data (POLLPRI); `None` for a file that has nothing to report by
/// itself.
fn urgent(file: File) -> Option<AsyncFd<File>> {
    // SAFETY: the descriptor belongs to the file, which the `AsyncFd` keeps and only lends out.
    unsafe { AsyncFd::register_with_interest(file, Interest::PRIORITY) }.ok()
}

/// Fires for each POLLPRI, then waits a moment.
async fn ring(file: AsyncFd<File>, bell: Arc<Notify>) {
    loop {
        // A file of sysfs reports only what has changed since it was read.
        let Ok(reader) = file.get_ref().try_clone() else { return };
        if spawn_blocking(move || reader.read_at(&mut [0; 64], 0)).await.is_err() {
            return;
        }
        let Ok(mut guard) = file.ready(Interest::PRIORITY).await else { return };
        guard.clear_ready();
        bell.notify_one();
        sleep(SETTLE).await;
    }
}

/// Holds a timer of the wall clock that never fires, but is cancelled when the clock is set
/// (`TFD_TIMER_CANCEL_ON_SET`, timerfd_create(2)). The runtime's timers follow `CLOCK_MONOTONIC`,
/// which cannot be set: this is the one place that needs a timerfd.
struct Clock(OwnedFd);

impl AsFd for Clock {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Clock {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.0.as_raw_fd()
    }
}

impl Clock {
    fn arm(&self) -> io::Result<()> {
        // The year 2100; any moment that is far away will do.
        let value = Timespec { tv_sec: 4_102_444_800, tv_nsec: 0 };
        let never = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        timerfd_settime(
            &self.0,
            TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET,
            &never,
        )?;
        Ok(())
    }
}

fn clock() -> io::Result<AsyncFd<Clock>> {
    let clock = Clock(timerfd_create(
        TimerfdClockId::Realtime,
        TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
    )?);
    clock.arm()?;
    crate::sync::readable(clock)
}

async fn ring_when_set(clock: AsyncFd<Clock>, bell: Arc<Notify>) {
    while let Ok(mut guard) = clock.readable().await {
        // Fails with ECANCELED, always: that is the news, and it is armed anew below.
        let _ = rustix::io::read(clock.get_ref(), &mut [0; 8]);
        guard.clear_ready();
        // The one who set it leaves its mark a moment later.
        sleep(Duration::from_secs(1)).await;
        bell.notify_one();
        if clock.get_ref().arm().is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn mounts_and_clock_are_watched_on_every_machine_and_files_that_report_nothing_are_not() {
        let machine = Triggers::new(Path::new("/")).await;
        assert!(machine.tasks.len() >= 2, "{} watched", machine.tasks.len());
        let root = head::tests::tree("watch");
        let played = Triggers::new(Box::leak(root.clone().into_boxed_path())).await;
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!(played.tasks.len(), 1, "just the clock: plain files cannot be polled");
    }
}
