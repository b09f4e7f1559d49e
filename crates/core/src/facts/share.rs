//! How the shared disks are.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::context::Context;
use super::host::below;
use crate::event::{Disk, Event, Instant, ShareSeen};

/// A disk that is mounted is exported within this time, also where the NFS server starts with the
/// machine.
pub const EXPORT_GRACE: Duration = Duration::from_secs(60);

/// Holds what was seen of the shares.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ShareFacts {
    /// `None`: not looked at yet.
    pub seen: Option<ShareSeen>,
    /// Mount points of disks with little room, with hysteresis.
    pub full: BTreeSet<PathBuf>,
    /// Since when a disk is mounted and not exported.
    waits_since: Option<Instant>,
}

impl ShareFacts {
    /// Takes a look at the disks in.
    pub(super) fn handle(&mut self, event: &Event, context: Context<'_>) {
        let Event::Share(seen) = event else { return };
        let limit = context.settings.vitals.disk_free_below;
        let is_full =
            |(path, disk): &(&PathBuf, &Disk)| below(self.full.contains(*path), disk.free, limit);
        self.full = seen.disks.iter().filter(is_full).map(|(path, _)| path.clone()).collect();
        self.waits_since = seen
            .disks
            .keys()
            .any(|path| !seen.exported.contains(path))
            .then(|| self.waits_since.unwrap_or(context.now));
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

    /// Returns whether some disk is not exported for longer than that takes.
    pub fn is_late(&self, now: Instant) -> bool {
        self.waits_since.is_some_and(|since| now.saturating_since(since) >= EXPORT_GRACE)
    }

    /// Returns when a disk that is not exported is late.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.waits_since.map(|since| since + EXPORT_GRACE)
    }
}
