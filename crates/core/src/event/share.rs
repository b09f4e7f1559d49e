//! Disks of the head that the nodes use by NFS.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// Holds one snapshot of all shares.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ShareSeen {
    /// Mounted disks whose device is present, by mount point.
    pub disks: BTreeMap<PathBuf, Disk>,
    /// Mount points whose disk was removed without being unmounted.
    pub pulled: BTreeSet<PathBuf>,
    /// Mount points that the NFS server exports (exports(5)).
    pub exported: BTreeSet<PathBuf>,
    /// Connected NFS clients.
    pub clients: BTreeSet<Ipv4Addr>,
    /// An NFS server is installed.
    pub installed: bool,
}

/// Holds the state of one disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Disk {
    /// Space free to ordinary users, in percent; `None`: not permitted to read it.
    pub free: Option<u8>,
    /// The file system itself is read-only, whatever its mount options.
    pub read_only: bool,
    /// Errors recorded in the file system, plus those of the device since it was first seen.
    pub errors: u64,
}
