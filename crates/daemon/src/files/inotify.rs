//! Watches files and directories of other programs with inotify(7).

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;
use tracing::trace;

use crate::sync::readable;

/// Debounce time: programs write a file in several steps.
const SETTLE: Duration = Duration::from_millis(50);

/// A set of watched files and directories. Adding a path again is harmless, and picks up paths that
/// did not exist before.
#[derive(Debug)]
pub struct Files(AsyncFd<OwnedFd>);

impl Files {
    /// Opens an inotify instance without watches.
    ///
    /// # Errors
    /// As inotify_init1(2).
    pub fn new() -> io::Result<Self> {
        readable(inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?).map(Self)
    }

    /// Watches the entries of a directory. For one that may not exist yet, watch its parent too.
    pub fn folder(&self, path: &Path) {
        let flags = WatchFlags::CLOSE_WRITE
            | WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM;
        self.add(path, flags | WatchFlags::DELETE | WatchFlags::ONLYDIR);
    }

    /// Watches a file itself. If it is a symlink or a mount point, its directory sees no change.
    pub fn file(&self, path: &Path) {
        let flags = WatchFlags::CLOSE_WRITE | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
        self.add(path, flags);
    }

    fn add(&self, path: &Path, flags: WatchFlags) {
        if let Err(error) = inotify::add_watch(self.0.get_ref(), path, flags) {
            trace!(target: "files", path = %path.display(), %error, "not watched");
        }
    }

    /// Waits for a change, then for `SETTLE`.
    ///
    /// # Errors
    /// The runtime's poll failed.
    pub async fn changed(&self) -> io::Result<()> {
        let mut guard = self.0.readable().await?;
        sleep(SETTLE).await;
        let mut buffer = [0; 4096];
        while rustix::io::read(self.0.get_ref(), &mut buffer).is_ok_and(|length| length > 0) {}
        guard.clear_ready();
        Ok(())
    }
}
