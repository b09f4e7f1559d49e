//! Reports the shared disks: whether they are mounted and healthy, whether the NFS server exports
//! them, and which clients are connected.
//!
//! Only the free space is read from the disk itself. Mounts come from `/proc/self/mountinfo`, which
//! also lists mount points that this user cannot enter, and whose super options are those of the
//! file system, not of our sandbox's mount. `/proc/fs/nfsd/clients` is readable by root alone, so
//! clients are taken from the TCP connections.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::sleep_until;

use crate::config::NFS_PORT;
use crate::event::{Disk, Event, ShareSeen};
use crate::files::reading;
use crate::sync::{Closed, next_aligned};
use crate::watch::emit;
use crate::watch::host::parse;
use crate::watch::host::triggers::Triggers;

/// Polling interval: a pulled disk stays mounted, so no event reports it.
const INTERVAL: Duration = Duration::from_secs(15);
/// Table of current exports (exportfs(8)).
const EXPORTED: &str = "var/lib/nfs/etab";
const EXPORTFS: [&str; 2] = ["usr/sbin/exportfs", "sbin/exportfs"];
/// `TCP_ESTABLISHED` in `/proc/net/tcp` (proc_pid_net(5)).
const ESTABLISHED: &str = "01";

/// Reports the state of the disks at the planned mount points, and each change.
///
/// # Errors
/// A channel is closed (`Closed`).
pub async fn run(
    mut paths: watch::Receiver<Vec<PathBuf>>,
    events: mpsc::Sender<Event>,
) -> io::Result<Infallible> {
    let mut reported = None;
    let mut devices = Devices::default();
    let mut triggers = None;
    loop {
        let wanted = paths.borrow_and_update().clone();
        if wanted.is_empty() {
            (reported, triggers) = (None, None);
            paths.changed().await.map_err(|_| Closed)?;
            continue;
        }
        let mounts: &Triggers = match &mut triggers {
            Some(triggers) => triggers,
            none => none.insert(Triggers::of_mounts().await),
        };
        let seen;
        (devices, seen) = spawn_blocking(move || {
            let seen = look(Path::new("/"), &wanted, &mut devices);
            (devices, seen)
        })
        .await?;
        if reported.as_ref() != Some(&seen) {
            emit(&events, Event::Share(seen.clone())).await?;
            reported = Some(seen);
        }
        tokio::select! {
            () = sleep_until(next_aligned(INTERVAL)) => {}
            () = mounts.fired() => {}
            changed = paths.changed() => changed.map_err(|_| Closed)?,
        }
    }
}

/// Maps a device to the error count at its first reading: many USB sticks reject a command when
/// they are plugged in, which must not count as a fault.
pub type Devices = BTreeMap<String, u64>;

/// Reads the current state of all shares.
pub fn look(root: &Path, paths: &[PathBuf], devices: &mut Devices) -> ShareSeen {
    let text = |path: &str| reading::text(&root.join(path)).unwrap_or_default();
    let mounts = text("proc/self/mountinfo");
    let (mut disks, mut pulled) = (BTreeMap::new(), BTreeSet::new());
    for path in paths {
        let Some(mount) = topmost(&mounts, path) else { continue };
        if mount.is_pulled(root) {
            pulled.insert(path.clone());
            continue;
        }
        let disk = Disk {
            free: free(&root.join(path.strip_prefix("/").unwrap_or(path))),
            read_only: mount.read_only,
            errors: errors(root, &mount.device, devices),
        };
        disks.insert(path.clone(), disk);
    }
    ShareSeen {
        disks,
        pulled,
        exported: exported(&text(EXPORTED), paths),
        clients: clients(&text("proc/net/tcp")),
        installed: EXPORTFS.iter().any(|path| root.join(path).exists()),
    }
}

/// Describes a mounted file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Device number `MAJOR:MINOR`, as in `/sys/dev/block`.
    device: String,
    /// Mount source as the file system reports it, such as "/dev/sda1".
    source: String,
    read_only: bool,
}

impl Mount {
    /// Returns whether its device is gone. The kernel keeps such a mount, but every access fails.
    fn is_pulled(&self, root: &Path) -> bool {
        if !self.device.starts_with("0:") {
            return !root.join("sys/dev/block").join(&self.device).exists();
        }
        // Major number 0: several block devices (btrfs), or none (network file systems).
        let name = self.source.strip_prefix("/dev/").filter(|name| !name.contains('/'));
        name.is_some_and(|name| !root.join("sys/class/block").join(name).exists())
    }
}

/// Returns whether a disk is mounted at `path` according to `mountinfo`, and was not pulled.
pub fn is_mounted(root: &Path, mountinfo: &str, path: &Path) -> bool {
    topmost(mountinfo, path).is_some_and(|mount| !mount.is_pulled(root))
}

/// Returns the topmost mount at `path` (proc_pid_mountinfo(5)), even if its disk was pulled.
/// Returns `None` for an autofs mount, which still waits for its disk.
fn topmost(mountinfo: &str, path: &Path) -> Option<Mount> {
    let is_at_path =
        |line: &&str| line.split(' ').nth(4).is_some_and(|point| unescaped(point) == path);
    let line = mountinfo.lines().rev().find(is_at_path)?;
    let device = line.split(' ').nth(2)?.to_owned();
    let mut rest = line.split_once(" - ")?.1.splitn(3, ' ');
    let (kind, source, options) = (rest.next()?, rest.next()?.to_owned(), rest.next()?);
    let mount = Mount { device, source, read_only: parse::says_read_only(options) };
    (kind != "autofs").then_some(mount)
}

/// Decodes a path with `\ooo` escapes, as in the kernel's mount lists and the NFS export table.
pub fn unescaped(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let code = behind.get(..3).filter(|_| *first == b'\\');
        let code =
            code.and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 8).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { behind.get(3..).unwrap_or_default() } else { behind };
    }
    PathBuf::from(OsString::from_vec(bytes))
}

/// Returns the space of a disk that is free to ordinary users, in percent.
fn free(path: &Path) -> Option<u8> {
    let space = rustix::fs::statvfs(path).ok()?;
    parse::share(space.f_bavail, space.f_blocks)
}

/// Returns the error count of a disk: errors recorded by the file system (ext4,
/// Documentation/ABI/testing/sysfs-fs-ext4) plus failed commands (SCSI, which includes USB) since
/// the first reading.
fn errors(root: &Path, device: &str, devices: &mut Devices) -> u64 {
    let Ok(folder) = fs::canonicalize(root.join("sys/dev/block").join(device)) else { return 0 };
    let name = folder.file_name().unwrap_or_default();
    let on_record = counter(&root.join("sys/fs/ext4").join(name).join("errors_count")).unwrap_or(0);
    // For a partition the counter belongs to the whole disk, one folder above.
    let failed =
        folder.ancestors().take(2).find_map(|disk| counter(&disk.join("device/ioerr_cnt")));
    let failed = failed.unwrap_or(0);
    // A lower count than before means another disk with the same device number.
    let first = devices.entry(device.to_owned()).or_insert(failed);
    *first = failed.min(*first);
    on_record.saturating_add(failed - *first)
}

/// Reads a counter from sysfs, decimal or with `0x`.
fn counter(path: &Path) -> Option<u64> {
    let text = reading::text(path).ok()?;
    let text = text.trim();
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Returns the mount points of `paths` that the export table lists.
fn exported(table: &str, paths: &[PathBuf]) -> BTreeSet<PathBuf> {
    let held = table.lines().filter_map(|line| line.split_whitespace().next()).map(unescaped);
    held.filter(|path| paths.contains(path)).collect()
}

/// Returns the peers connected to the NFS server, from `/proc/net/tcp`: shares are exported over
/// IPv4 only.
fn clients(table: &str) -> BTreeSet<Ipv4Addr> {
    let connected = table.lines().skip(1).filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, local, remote, ESTABLISHED, ..] = words.as_slice() else { return None };
        let (_, port) = local.split_once(':')?;
        let (address, _) = remote.split_once(':')?;
        let is_server = u16::from_str_radix(port, 16) == Ok(NFS_PORT);
        let address = u32::from_str_radix(address, 16).ok().filter(|_| is_server)?;
        Some(Ipv4Addr::from(address.to_ne_bytes()))
    });
    connected.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
        24 1 179:2 / / rw,noatime shared:1 - ext4 /dev/root rw\n\
        60 24 0:50 / /mnt/usb rw - autofs systemd-1 rw,fd=60\n\
        61 60 8:1 / /mnt/usb ro,nosuid master:1 - ext4 /dev/sda1 rw,errors=remount-ro\n\
        62 24 8:17 / /media/my\\040disk rw - exfat /dev/sdb1 ro\n\
        63 24 8:33 / /mnt/pulled rw - ext4 /dev/sdc1 rw\n\
        64 24 0:51 / /mnt/waits rw - autofs systemd-1 rw,fd=61\n\
        65 24 0:52 / /mnt/pool rw - btrfs /dev/sdd rw\n";

    fn put(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn a_disk_is_there_where_it_is_mounted_and_was_not_pulled() {
        let root = tempfile::tempdir().unwrap();
        for device in ["sys/dev/block/8:1", "sys/dev/block/8:17", "sys/class/block/sdd"] {
            fs::create_dir_all(root.path().join(device)).unwrap();
        }
        put(root.path(), "proc/self/mountinfo", MOUNTS);
        let places = ["/mnt/usb", "/media/my disk", "/mnt/pulled", "/mnt/waits", "/mnt/pool"];
        let seen = || look(root.path(), &places.map(PathBuf::from), &mut Devices::default());
        let read_only = |path: &str| {
            let disk = seen().disks.get(Path::new(path)).map(|disk| disk.read_only);
            assert_eq!(disk.is_some(), is_mounted(root.path(), MOUNTS, Path::new(path)));
            disk
        };
        assert_eq!(read_only("/mnt/usb"), Some(false), "our sandbox's flag does not count");
        assert_eq!(read_only("/media/my disk"), Some(true));
        assert_eq!(read_only("/mnt/pulled"), None, "its device is gone");
        assert_eq!(read_only("/mnt/waits"), None, "it waits for its disk");
        assert_eq!(read_only("/mnt/pool"), Some(false), "it has no block device of its own");
        assert_eq!(read_only("/mnt"), None);
        assert_eq!(read_only("/mnt/usb/folder"), None);
        assert_eq!(seen().pulled, [PathBuf::from("/mnt/pulled")].into());
        fs::remove_dir(root.path().join("sys/class/block/sdd")).unwrap();
        assert_eq!(seen().pulled, ["/mnt/pool", "/mnt/pulled"].map(PathBuf::from).into());
        assert_eq!(read_only("/mnt/pool"), None, "one of its devices is gone");
    }

    #[test]
    fn errors_are_those_recorded_plus_failed_commands_since_the_first_reading() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        put(root, "sys/devices/usb/block/sda/device/ioerr_cnt", "0x2\n");
        put(root, "sys/devices/usb/block/sda/sda1/partition", "1\n");
        fs::create_dir_all(root.join("sys/dev/block")).unwrap();
        std::os::unix::fs::symlink(
            "../../devices/usb/block/sda/sda1",
            root.join("sys/dev/block/8:1"),
        )
        .unwrap();
        let mut devices = Devices::default();
        assert_eq!(errors(root, "8:1", &mut devices), 0, "as it was plugged in");
        put(root, "sys/devices/usb/block/sda/device/ioerr_cnt", "0x13\n");
        assert_eq!(errors(root, "8:1", &mut devices), 17);
        put(root, "sys/fs/ext4/sda1/errors_count", "3\n");
        assert_eq!(errors(root, "8:1", &mut devices), 20);
        put(root, "sys/devices/usb/block/sda/device/ioerr_cnt", "0x1\n");
        assert_eq!(errors(root, "8:1", &mut devices), 3, "another disk");
        assert_eq!(errors(root, "8:9", &mut devices), 0, "none is known");
    }

    #[test]
    fn exports_and_connected_clients_are_parsed() {
        let table = "/mnt/usb\t192.168.50.0/24(rw,sync)\n/media/my\\040disk\t10.0.0.0/8(ro)\n\
                     /srv\t*(ro)\n";
        let paths = ["/mnt/usb", "/media/my disk", "/mnt/other"].map(PathBuf::from);
        assert_eq!(exported(table, &paths), paths[..2].iter().cloned().collect());
        let address = |text: &str| {
            format!("{:08X}", u32::from_ne_bytes(text.parse::<Ipv4Addr>().unwrap().octets()))
        };
        let (head, node) = (address("192.168.50.1"), address("192.168.50.11"));
        let sockets = format!(
            "  sl  local_address rem_address   st\n\
             0: 00000000:0801 00000000:0000 0A 0 0\n\
             1: {head}:0801 {node}:02BC 01 0 0\n\
             2: {head}:0016 {head}:E1F2 01 0 0\n\
             3: {head}:0801 {head}:E1F2 06 0 0\n"
        );
        assert_eq!(clients(&sockets), [Ipv4Addr::new(192, 168, 50, 11)].into());
    }

    #[test]
    fn arbitrary_text_never_panics() {
        for text in ["", "\\", "\\04", "\\999", "a - b", "1 2 3 4 /mnt/usb - ", "\u{fffd} : \n:"] {
            let _ = is_mounted(Path::new("/"), text, Path::new("/mnt/usb"));
            let _ = (unescaped(text), exported(text, &[]), clients(text));
        }
        assert_eq!(unescaped("a\\040b\\134"), PathBuf::from("a b\\"));
    }
}
