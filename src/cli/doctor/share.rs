//! Shared disks: whether they are mounted, and whether an NFS server exports them to the nodes. A
//! running daemon raises alerts for the same.

use std::path::Path;

use super::{CheckContext, Finding};
use crate::config::{Access, Share};
use crate::event::{AlertCode, Disk, ShareSeen};
use crate::watch::share::{Devices, look, unescaped};

/// Finds what keeps nodes from a disk.
pub fn disks(context: &CheckContext<'_>) -> Vec<Finding> {
    let shares = &context.settings.shares;
    if shares.is_empty() {
        return Vec::new();
    }
    let paths: Vec<_> = shares.iter().map(|share| share.path.clone()).collect();
    let seen = look(&context.machine.path("/"), &paths, &mut Devices::default());
    let server = (!seen.installed).then(|| {
        let text = "the settings have a shared disk, and there is no NFS server";
        Finding::new(AlertCode::ShareNotExported, text, "install the package nfs-kernel-server")
    });
    let of_each = shares.iter().filter_map(|share| match seen.disks.get(&share.path) {
        Some(disk) => mounted_disk(context, share, disk, &seen),
        None => Some(missing_disk(context, share, &seen)),
    });
    server.into_iter().chain(of_each).collect()
}

/// Describes a share whose disk is not mounted. Without a line in `/etc/fstab` it cannot be mounted
/// by its folder alone.
fn missing_disk(context: &CheckContext<'_>, share: &Share, seen: &ShareSeen) -> Finding {
    let (name, path) = (&share.name, share.path.display());
    let (text, command) = if seen.pulled.contains(&share.path) {
        let text =
            format!("the disk of the share {name} was pulled while it was mounted at {path}");
        (text, format!("`sudo umount -l {path} && sudo mount {path}`"))
    } else {
        let text = format!("the share {name}: no disk is mounted at {path}");
        (text, format!("`sudo mount {path}`"))
    };
    let first = if has_line(context, &share.path) {
        "plug it in"
    } else {
        "plug it in, and add its line to /etc/fstab (shared-disk.md in the guide)"
    };
    Finding::new(AlertCode::ShareMissing, text, format!("{first}, then {command}"))
}

/// Returns whether `/etc/fstab` has a line for a mount point (fstab(5)).
fn has_line(context: &CheckContext<'_>, path: &Path) -> bool {
    let table = context.machine.read("/etc/fstab").unwrap_or_default();
    let lines = table.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let mut places = lines.filter_map(|line| line.split_whitespace().nth(1));
    places.any(|place| unescaped(place) == path)
}

/// Returns the worst problem of a mounted disk.
fn mounted_disk(
    context: &CheckContext<'_>,
    share: &Share,
    disk: &Disk,
    seen: &ShareSeen,
) -> Option<Finding> {
    let (name, path) = (&share.name, share.path.display());
    if disk.read_only && share.access == Access::ReadWrite {
        let text = format!("the disk of the share {name} is read-only: nodes cannot write");
        return Some(Finding::of(AlertCode::ShareReadOnly, text));
    }
    let limit = context.settings.vitals.disk_free_below;
    let lack = disk.free.zip(limit).filter(|(free, limit)| free < limit);
    if let Some((free, limit)) = lack {
        let text = format!("{free} % of the share {name} is free, less than {limit} %");
        let remedy = format!("see what fills it: `sudo du -xh {path} | sort -h | tail`");
        return Some(Finding::new(AlertCode::ShareFull, text, remedy));
    }
    let is_given = seen.exported.contains(&share.path);
    (seen.installed && !is_given).then(|| {
        let text = format!("the share {name} is mounted, and the NFS server does not export it");
        Finding::new(AlertCode::ShareNotExported, text, "`sudo systemctl restart nfs-server`")
    })
}
