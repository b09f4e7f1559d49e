//! Shared disks, in every state that keeps nodes from them.

use super::*;

/// Returns a head that shares a disk; its NFS server is installed, and exports the disk if
/// `exported`.
fn head(name: &str, mounts: &str, exported: bool) -> Head {
    let head = Head::new(&format!("share-{name}"));
    let settings = format!("{}[[share]]\npath = \"/mnt/usb\"\nname = \"usb\"\n", head.settings);
    let table = if exported { "/mnt/usb\t192.168.50.0/24(rw)\n" } else { "" };
    head.set(&settings)
        .with("/usr/sbin/exportfs", "")
        .with("/proc/self/mountinfo", mounts)
        .with("/sys/dev/block/8:1/dev", "8:1\n")
        .with("/var/lib/nfs/etab", table)
        .with("/etc/fstab", "UUID=1b0e /mnt/usb ext4 noatime,nofail 0 2\n")
}

const MOUNTED: &str = "61 24 8:1 / /mnt/usb rw - ext4 /dev/sda1 rw\n";

#[test]
fn an_exported_disk_is_no_finding() {
    assert_eq!(head("well", MOUNTED, true).findings(), []);
    let plain = Head::new("share-none");
    assert_eq!(plain.findings(), [], "nothing is shared");
}

#[test]
fn a_missing_disk_in_fstab_is_mounted_by_its_folder() {
    head("missing", "", false).has_finding(
        "share-missing",
        "no disk is mounted at /mnt/usb",
        "plug it in, then `sudo mount /mnt/usb`",
    );
    head("unwritten", "", false).with("/etc/fstab", "# /dev/sda1 /mnt/usb ext4\n").has_finding(
        "share-missing",
        "no disk is mounted",
        "add its line to /etc/fstab (shared-disk.md in the guide), then `sudo mount /mnt/usb`",
    );
}

#[test]
fn a_disk_that_was_pulled_is_unmounted_first() {
    head("pulled", &MOUNTED.replace("8:1", "8:17"), true).has_finding(
        "share-missing",
        "was pulled while it was mounted",
        "`sudo umount -l /mnt/usb && sudo mount /mnt/usb`",
    );
}

#[test]
fn a_read_only_or_unexported_disk_is_found() {
    let read_only = MOUNTED.replace("/dev/sda1 rw", "/dev/sda1 ro");
    head("read-only", &read_only, true).has_finding(
        "share-read-only",
        "nodes cannot write",
        "dmesg",
    );
    head("unexported", MOUNTED, false).has_finding(
        "share-not-exported",
        "does not export it",
        "sudo systemctl restart nfs-server",
    );
    let head = head("no-server", MOUNTED, false);
    fs::remove_file(head.root.join("usr/sbin/exportfs")).unwrap();
    head.has_finding(
        "share-not-exported",
        "there is no NFS server",
        "install the package nfs-kernel-server",
    );
}
