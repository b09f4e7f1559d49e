//! Alerts of shared disks.

use crate::config::{Access, Settings, Share};
use crate::decide::alert::{Alert, AlertCode, Subject};
use crate::decide::share::networks;
use crate::event::{Disk, ShareSeen};
use crate::facts::Facts;

/// Raises what keeps nodes from a share, or soon will.
pub fn alerts(settings: &Settings, facts: &Facts, raised: &mut Vec<Alert>) {
    let Some(seen) = &facts.shares().seen else { return };
    for share in &settings.shares {
        let mut raise = |code: AlertCode, text: String| {
            raised.push(Alert::new(code, Subject::Share(share.name.clone()), text));
        };
        let Some(disk) = seen.disks.get(&share.path) else {
            raise(AlertCode::ShareMissing, missing(share, seen));
            continue;
        };
        if facts.shares().is_late(facts.now()) && !seen.exported.contains(&share.path) {
            raise(AlertCode::ShareNotExported, not_exported(share, seen, facts));
        }
        health(settings, facts, share, disk, &mut raise);
    }
}

/// Returns why a share's disk is missing, and the remedy. A disk that was unplugged leaves a stale
/// mount, which has to be unmounted first.
fn missing(share: &Share, seen: &ShareSeen) -> String {
    let (name, path) = (&share.name, share.path.display());
    if seen.pulled.contains(&share.path) {
        return format!(
            "the disk of the share {name} was pulled while it was mounted: it is shared no longer, \
             and what was written last may be lost. Plug it in, then: sudo umount -l {path} && sudo \
             mount {path}"
        );
    }
    format!(
        "the share {name} is not there: no disk is mounted at {path}, so the nodes cannot use it. \
         Plug it in, then: sudo mount {path}"
    )
}

/// Returns why the NFS server does not export a share, and the remedy.
fn not_exported(share: &Share, seen: &ShareSeen, facts: &Facts) -> String {
    let remedy = if !seen.installed {
        "install the package nfs-kernel-server"
    } else if networks(facts).is_empty() {
        "it waits for the head's address in the cluster"
    } else {
        "begin it again: sudo systemctl restart nfs-server"
    };
    format!("the share {} is not exported by an NFS server: {remedy}", share.name)
}

/// Raises what is wrong with a disk that is mounted.
fn health(
    settings: &Settings,
    facts: &Facts,
    share: &Share,
    disk: &Disk,
    raise: &mut impl FnMut(AlertCode, String),
) {
    let (name, path) = (&share.name, share.path.display());
    if disk.read_only && share.access == Access::ReadWrite {
        raise(
            AlertCode::ShareReadOnly,
            format!("the disk of the share {name} is read-only: nodes cannot write"),
        );
    }
    if disk.errors > 0 {
        raise(AlertCode::ShareErrors, format!("the disk of the share {name} has reported errors"));
    }
    if facts.shares().full.contains(&share.path) {
        let limit = settings.vitals.disk_free_below.unwrap_or(0);
        let text = format!(
            "less than {limit} % of the share {name} is free: see what fills it: sudo du -xh {path} \
             | sort -h | tail"
        );
        raise(AlertCode::ShareFull, text);
    }
}
