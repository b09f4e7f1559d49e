//! Fires for what the kernel reports by itself and would be over before the next look: an alarm of
//! the supply, a mount that changed. Each by poll(2) in a small task; a machine that lacks one is
//! looked at by the clock alone.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

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
    _tasks: JoinSet<()>,
}

impl Triggers {
    /// Watches what there is below `root`.
    pub async fn new(root: &'static Path) -> Self {
        Self::of(move || files(root)).await
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
        Self { bell, _tasks: tasks }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn mounts_are_watched_on_every_machine_and_files_that_report_nothing_are_not() {
        let machine = Triggers::new(Path::new("/")).await;
        assert!(!machine._tasks.is_empty(), "none watched");
        let root = head::tests::tree("watch");
        let played = Triggers::new(Box::leak(root.clone().into_boxed_path())).await;
        std::fs::remove_dir_all(&root).unwrap();
        assert!(played._tasks.is_empty(), "plain files cannot be polled");
    }
}
