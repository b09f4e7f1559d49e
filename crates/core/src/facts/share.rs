//! State of the shared disks.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::context::Context;
use super::host::below;
use crate::event::{Disk, Event, Instant, ShareSeen};

/// Time within which a mounted disk should be exported; enough for an NFS server that starts with
/// the machine.
pub const EXPORT_GRACE: Duration = Duration::from_secs(60);

/// Holds the state of the shares.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ShareFacts {
    /// The last snapshot; `None` before the first.
    pub seen: Option<ShareSeen>,
    /// Mount points of disks with little free space, with hysteresis.
    pub full: BTreeSet<PathBuf>,
    /// Since when some disk is mounted and not exported.
    unexported_since: Option<Instant>,
}

impl ShareFacts {
    /// Processes a snapshot of the disks.
    pub(super) fn handle(&mut self, event: &Event, context: Context<'_>) {
        let Event::Share(seen) = event else { return };
        let limit = context.settings.vitals.disk_free_below;
        let is_full =
            |(path, disk): &(&PathBuf, &Disk)| below(self.full.contains(*path), disk.free, limit);
        self.full = seen.disks.iter().filter(is_full).map(|(path, _)| path.clone()).collect();
        self.unexported_since = seen
            .disks
            .keys()
            .any(|path| !seen.exported.contains(path))
            .then(|| self.unexported_since.unwrap_or(context.now));
        self.seen = Some(seen.clone());
    }

    /// Returns the disk that is mounted there.
    pub fn disk(&self, path: &Path) -> Option<&Disk> {
        self.seen.as_ref()?.disks.get(path)
    }

    /// Returns whether the NFS server exports it.
    pub fn is_exported(&self, path: &Path) -> bool {
        self.seen.as_ref().is_some_and(|seen| seen.exported.contains(path))
    }

    /// Returns whether some disk was not exported within [`EXPORT_GRACE`].
    pub fn is_late(&self, now: Instant) -> bool {
        self.unexported_since.is_some_and(|since| now.saturating_since(since) >= EXPORT_GRACE)
    }

    /// Returns when [`Self::is_late`] becomes true.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.unexported_since.map(|since| since + EXPORT_GRACE)
    }
}
