//! Fires on changes that the kernel signals and that may be over before the next poll: an alarm of
//! the supply voltage, a changed mount. Each file has a small task that waits with poll(2). Without
//! such a file only the polling interval applies.

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

/// Minimum time between two signals of one file: changes come in bursts.
const SETTLE: Duration = Duration::from_millis(200);
/// Timeout for opening the files: a driver may hang.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// The list of mounts (proc_pid_mountinfo(5)), which signals changes by POLLPRI.
const MOUNTS: &str = "/proc/self/mountinfo";

/// Fires when a watched file signals a change.
#[derive(Debug)]
pub struct Triggers {
    notify: Arc<Notify>,
    /// Aborted on drop.
    _tasks: JoinSet<()>,
}

impl Triggers {
    /// Watches mounts and, below `root`, the power supply's alarms.
    pub async fn new(root: &'static Path) -> Self {
        Self::of(move || files(root)).await
    }

    /// Watches mounts only.
    pub async fn of_mounts() -> Self {
        Self::of(|| reading::open(Path::new(MOUNTS)).into_iter().collect()).await
    }

    async fn of(files: impl FnOnce() -> Vec<File> + Send + 'static) -> Self {
        let notify = Arc::new(Notify::new());
        let mut tasks = JoinSet::new();
        // If a driver hangs on open, the vitals are still polled.
        let files = timeout(OPEN_TIMEOUT, spawn_blocking(files)).await;
        if files.is_err() {
            debug!("a file of a sensor does not open; its alarms are seen a minute late");
        }
        for file in files.ok().and_then(Result::ok).unwrap_or_default() {
            if let Some(file) = register(file) {
                tasks.spawn(forward(file, Arc::clone(&notify)));
            }
        }
        Self { notify, _tasks: tasks }
    }

    /// Waits for the next change. Cancel-safe.
    pub async fn fired(&self) {
        self.notify.notified().await;
    }
}

/// Opens the files that may signal changes.
fn files(root: &Path) -> Vec<File> {
    let alarms = [
        head::voltage_alarm(root),
        head::throttled_file(root),
        Some(root.join(MOUNTS.trim_start_matches('/'))),
    ];
    alarms.into_iter().flatten().filter_map(|path| reading::open(&path).ok()).collect()
}

/// Registers a file for POLLPRI; `None` if it does not support poll.
fn register(file: File) -> Option<AsyncFd<File>> {
    // SAFETY: the descriptor belongs to the file, which the `AsyncFd` keeps and only lends out.
    unsafe { AsyncFd::register_with_interest(file, Interest::PRIORITY) }.ok()
}

/// Notifies on each POLLPRI, at most once per [`SETTLE`].
async fn forward(file: AsyncFd<File>, notify: Arc<Notify>) {
    loop {
        // A sysfs file signals only changes since it was last read.
        let Ok(reader) = file.get_ref().try_clone() else { return };
        if spawn_blocking(move || reader.read_at(&mut [0; 64], 0)).await.is_err() {
            return;
        }
        let Ok(mut guard) = file.ready(Interest::PRIORITY).await else { return };
        guard.clear_ready();
        notify.notify_one();
        sleep(SETTLE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn mounts_are_watched_on_every_machine_and_plain_files_are_not() {
        let machine = Triggers::new(Path::new("/")).await;
        assert!(!machine._tasks.is_empty(), "none watched");
        let root = head::tests::tree();
        let emulated = Triggers::new(Box::leak(root.path().into())).await;
        assert!(emulated._tasks.is_empty(), "plain files cannot be polled");
    }
}
