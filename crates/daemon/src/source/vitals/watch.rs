//! What the kernel tells by itself: a mount that changed, an alarm of the supply, tasks that wait, a clock that was set. Each
//! by poll(2) in a small task; a machine that lacks one is looked at by the clock alone.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::super::reading;
use super::aside::aside;
use super::head;

/// Microseconds in which waiting is counted, the most that there may be (Documentation/accounting/psi.rst). The kernel tells
/// of pressure that stays once in each.
const WINDOW: u32 = 10_000_000;
/// Several changes come at once.
const SETTLE: Duration = Duration::from_millis(200);
/// Files of the kernel open at once, or never.
const PATIENCE: Duration = Duration::from_secs(10);

/// Rings when something of it changed.
pub struct Watch {
    bell: Arc<Notify>,
    tells_pressure: bool,
    /// end with it
    #[cfg_attr(not(test), expect(dead_code, reason = "held to be dropped"))]
    tasks: JoinSet<()>,
}

impl Watch {
    /// Watches what there is below `root`, and tasks that wait for more than `pressure` percent of the time.
    ///
    /// # Errors
    /// There is no thread to open the files.
    pub async fn new(root: &'static Path, pressure: Option<u8>) -> io::Result<Self> {
        let bell = Arc::new(Notify::new());
        let mut tasks = JoinSet::new();
        let mut tells_pressure = false;
        // A driver that hangs when it is opened rings never; the clock does all the same.
        let files = timeout(PATIENCE, aside(move || files(root, pressure))).await.unwrap_or_else(|_| Ok(Vec::new()));
        for (file, pause) in files? {
            if let Some(file) = urgent(file) {
                tells_pressure |= pause.is_none();
                tasks.spawn(ring(file, pause, Arc::clone(&bell)));
            }
        }
        if let Ok(clock) = clock() {
            tasks.spawn(ring_when_set(clock, Arc::clone(&bell)));
        }
        Ok(Self { bell, tells_pressure, tasks })
    }

    /// Whether pressure beyond the limit rings, so that it need not be looked for.
    pub const fn tells_pressure(&self) -> bool {
        self.tells_pressure
    }

    /// Waits for the next change. May be dropped and called again.
    pub async fn rings(&self) {
        self.bell.notified().await;
    }
}

/// What may tell by itself, and how long it is left in peace when it has: pressure is told once in a window anyhow.
fn files(root: &Path, pressure: Option<u8>) -> Vec<(File, Option<Duration>)> {
    let alarms = [head::voltage_alarm(root), head::throttled_file(root), Some(root.join("proc/self/mountinfo"))];
    let alarms = alarms.into_iter().flatten().filter_map(|path| Some((reading::open(&path).ok()?, Some(SETTLE))));
    let waits = ["cpu", "memory", "io"].into_iter().filter_map(|what| Some((what, pressure?)));
    let waits =
        waits.filter_map(|(what, limit)| Some((trigger(&root.join("proc/pressure").join(what), limit).ok()?, None)));
    alarms.chain(waits).collect()
}

/// `None` for a file that has nothing to tell by itself.
fn urgent(file: File) -> Option<AsyncFd<File>> {
    // SAFETY: the descriptor belongs to the file, which the `AsyncFd` keeps and only lends out.
    unsafe { AsyncFd::register_with_interest(file, Interest::PRIORITY) }.ok()
}

/// Rings for each POLLPRI, then waits for `pause`.
async fn ring(file: AsyncFd<File>, pause: Option<Duration>, bell: Arc<Notify>) {
    loop {
        // A file of sysfs tells only what has changed since it was read.
        let Ok(reader) = file.get_ref().try_clone() else { return };
        if aside(move || reader.read_at(&mut [0; 64], 0)).await.is_err() {
            return;
        }
        let Ok(mut guard) = file.ready(Interest::PRIORITY).await else { return };
        guard.clear_ready();
        bell.notify_one();
        if let Some(pause) = pause {
            sleep(pause).await;
        }
    }
}

/// A share of the last minute cannot be above the limit unless it was in some window of that minute.
fn trigger(path: &Path, percent: u8) -> io::Result<File> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let limit = WINDOW / 100 * u32::from(percent);
    file.write_all(format!("some {limit} {WINDOW}\0").as_bytes())?;
    Ok(file)
}

/// A timer of the wall clock that never rings, but is cancelled when somebody sets it (timerfd_create(2)).
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
        timerfd_settime(&self.0, TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET, &never)?;
        Ok(())
    }
}

fn clock() -> io::Result<AsyncFd<Clock>> {
    let clock = Clock(timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?);
    clock.arm()?;
    crate::source::readable(clock)
}

async fn ring_when_set(clock: AsyncFd<Clock>, bell: Arc<Notify>) {
    while let Ok(mut guard) = clock.readable().await {
        // Answers ECANCELED, and is then to be armed anew.
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
    async fn mounts_and_clock_are_watched_on_every_machine_and_files_that_tell_nothing_are_not() {
        let machine = Watch::new(Path::new("/"), None).await.unwrap();
        assert!(machine.tasks.len() >= 2, "{} watched", machine.tasks.len());
        let root = head::tests::tree("watch");
        let played = Watch::new(Box::leak(root.clone().into_boxed_path()), Some(80)).await.unwrap();
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!(played.tasks.len(), 1, "just the clock: plain files cannot be polled");
        assert!(!played.tells_pressure());
    }

    #[tokio::test]
    async fn tasks_that_wait_ring_where_the_kernel_counts_pressure() {
        let root = Path::new("/");
        let counted = [1, 80, 100].map(|percent| trigger(&root.join("proc/pressure/cpu"), percent).is_ok());
        let without = Watch::new(root, None).await.unwrap().tasks.len();
        let with = Watch::new(root, Some(80)).await.unwrap();
        assert!(counted == [with.tells_pressure(); 3], "any limit can be asked for, or none: {counted:?}");
        assert_eq!(with.tasks.len() - without, if with.tells_pressure() { 3 } else { 0 });
    }
}
