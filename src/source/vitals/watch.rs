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
use tokio::time::sleep;

use super::aside::{self, aside};
use super::head;

/// Tasks that waited for half a second within two: the shortest window that an ordinary user may ask for
/// (Documentation/accounting/psi.rst). Nobody is woken while nothing waits.
const TRIGGER: &[u8] = b"some 500000 2000000\0";
/// Pressure that stays is told again and again: not more often than this.
const BUSY_TIME: Duration = Duration::from_secs(10);
/// Several changes come at once.
const SETTLE: Duration = Duration::from_millis(200);

/// Rings when something of it changed.
pub struct Watch {
    bell: Arc<Notify>,
    /// end with it
    #[cfg_attr(not(test), expect(dead_code, reason = "held to be dropped"))]
    tasks: JoinSet<()>,
}

impl Watch {
    /// Watches what there is below `root`, with or without tasks that wait.
    ///
    /// # Errors
    /// There is no thread to open the files.
    pub async fn new(root: &'static Path, pressure: bool) -> io::Result<Self> {
        let bell = Arc::new(Notify::new());
        let mut tasks = JoinSet::new();
        for (file, pause) in aside(move || files(root, pressure)).await? {
            if let Some(file) = urgent(file) {
                tasks.spawn(ring(file, pause, Arc::clone(&bell)));
            }
        }
        if let Ok(clock) = clock() {
            tasks.spawn(ring_when_set(clock, Arc::clone(&bell)));
        }
        Ok(Self { bell, tasks })
    }

    /// Waits for the next change. May be dropped and called again.
    pub async fn rings(&self) {
        self.bell.notified().await;
    }
}

/// What may tell by itself, and how long it is left in peace when it has.
fn files(root: &Path, pressure: bool) -> Vec<(File, Duration)> {
    let alarms = [head::voltage_alarm(root), head::throttled_file(root), Some(root.join("proc/self/mountinfo"))];
    let alarms = alarms.into_iter().flatten().filter_map(|path| Some((aside::open(&path)?, SETTLE)));
    let waits = ["cpu", "memory", "io"].into_iter().filter(|_| pressure);
    let waits = waits.filter_map(|what| Some((trigger(&root.join("proc/pressure").join(what)).ok()?, BUSY_TIME)));
    alarms.chain(waits).collect()
}

/// `None` for a file that has nothing to tell by itself.
fn urgent(file: File) -> Option<AsyncFd<File>> {
    // SAFETY: the descriptor belongs to the file, which the `AsyncFd` keeps and only lends out.
    unsafe { AsyncFd::register_with_interest(file, Interest::PRIORITY) }.ok()
}

/// Rings for each POLLPRI, then waits for `pause`.
async fn ring(file: AsyncFd<File>, pause: Duration, bell: Arc<Notify>) {
    loop {
        // A file of sysfs tells only what has changed since it was read.
        let Ok(reader) = file.get_ref().try_clone() else { return };
        if aside(move || reader.read_at(&mut [0; 64], 0)).await.is_err() {
            return;
        }
        let Ok(mut guard) = file.ready(Interest::PRIORITY).await else { return };
        guard.clear_ready();
        bell.notify_one();
        sleep(pause).await;
    }
}

fn trigger(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    file.write_all(TRIGGER)?;
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
        let machine = Watch::new(Path::new("/"), false).await.unwrap();
        assert!(machine.tasks.len() >= 2, "{} watched", machine.tasks.len());
        let root = head::tests::tree("watch");
        let played = Watch::new(Box::leak(root.clone().into_boxed_path()), true).await.unwrap();
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!(played.tasks.len(), 1, "just the clock: plain files cannot be polled");
    }

    #[tokio::test]
    async fn tasks_that_wait_ring_where_the_kernel_counts_pressure() {
        let root = Path::new("/");
        let counted =
            std::fs::read_to_string("/proc/pressure/cpu").is_ok() && trigger(&root.join("proc/pressure/cpu")).is_ok();
        let without = Watch::new(root, false).await.unwrap().tasks.len();
        let with = Watch::new(root, true).await.unwrap().tasks.len();
        assert_eq!(with - without, if counted { 3 } else { 0 });
    }
}
