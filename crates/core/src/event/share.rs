//! Disks of the head that the nodes use by NFS.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// Holds what was seen of all shares at once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ShareSeen {
    /// By mount point; those that are mounted, and whose device is there.
    pub disks: BTreeMap<PathBuf, Disk>,
    /// Mount points whose disk is gone, and was not unmounted before.
    pub pulled: BTreeSet<PathBuf>,
    /// Mount points that the NFS server exports (its table, exports(5)).
    pub exported: BTreeSet<PathBuf>,
    /// Who is connected to the NFS server.
    pub clients: BTreeSet<Ipv4Addr>,
    /// There is an NFS server on this machine.
    pub installed: bool,
}

/// Holds what was seen of one disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Disk {
    /// Percent of it that is free to ordinary users; `None`: it may not be looked at.
    pub free: Option<u8>,
    /// The file system itself is read-only, whatever its mount.
    pub read_only: bool,
    /// Errors that its file system has on record, and those of the device since it was first seen.
    pub errors: u64,
}
