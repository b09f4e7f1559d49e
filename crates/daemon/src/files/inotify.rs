//! Files and folders that others write, watched by inotify: nothing is polled.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;
use tracing::trace;

use crate::sync::readable;

/// Files are written in several steps.
const SETTLE: Duration = Duration::from_millis(50);

/// Watches files and folders. To watch a thing again is no second watch: it is done each time, for
/// things that were not there before.
#[derive(Debug)]
pub struct Files(AsyncFd<OwnedFd>);

impl Files {
    /// Watches nothing yet.
    ///
    /// # Errors
    /// No inotify to be had.
    pub fn new() -> io::Result<Self> {
        readable(inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?).map(Self)
    }

    /// Watches the files of this folder. One that is not there yet appears in one that is.
    pub fn folder(&self, path: &Path) {
        let flags = WatchFlags::CLOSE_WRITE
            | WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM;
        self.add(path, flags | WatchFlags::DELETE | WatchFlags::ONLYDIR);
    }

    /// Watches a file: one that is a link, or mounted over, changes without its folder's knowing.
    pub fn file(&self, path: &Path) {
        let flags = WatchFlags::CLOSE_WRITE | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
        self.add(path, flags);
    }

    /// Adds a watch; what is not there is watched when it is.
    fn add(&self, path: &Path, flags: WatchFlags) {
        if let Err(error) = inotify::add_watch(self.0.get_ref(), path, flags) {
            trace!(target: "files", path = %path.display(), %error, "not watched");
        }
    }

    /// Waits until something changed, and a moment longer.
    ///
    /// # Errors
    /// inotify does not work any more.
    pub async fn changed(&self) -> io::Result<()> {
        let mut guard = self.0.readable().await?;
        sleep(SETTLE).await;
        let mut buffer = [0; 4096];
        while rustix::io::read(self.0.get_ref(), &mut buffer).is_ok_and(|length| length > 0) {}
        guard.clear_ready();
        Ok(())
    }
}
