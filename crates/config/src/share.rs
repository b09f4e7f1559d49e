//! `[[share]]`: disks that the nodes may use.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::fault::Origin;
use super::keys;
use super::validate::Check;
use super::{Allow, Gateway, NFS_PORT, Share, Uplink};

impl Check<'_> {
    /// Returns the shares, after checking that the venue cannot reach them.
    pub fn shares(&mut self, uplink: Option<&Uplink>, gateway: Option<&Gateway>) -> Vec<Share> {
        let tree = self.tree;
        let mut seen: BTreeMap<PathBuf, Origin> = BTreeMap::new();
        let mut shares = Vec::new();
        for table in tree.tables("share") {
            let Some(name) = keys::SHARE_NAME.of(table) else { continue };
            if table.get("path").is_none() {
                let remedy = "add the mount point of its disk, such as path = \"/mnt/usb\"";
                self.report(table.at, format!("the share \"{name}\" has no path"), remedy);
            }
            let (Some(path), Some(access)) =
                (keys::SHARE_PATH.of(table), keys::SHARE_ACCESS.of(table))
            else {
                continue;
            };
            let at = keys::SHARE_PATH.place(table);
            if let Some(first) = seen.insert(path.clone(), at) {
                let message = format!("{} is shared twice", path.display());
                let remedy = format!("keep one; the first is at {}", self.sources.place(first));
                self.report(at, message, remedy);
            }
            shares.push(Share { name, path, access });
        }
        if let Some(first) = tree.tables("share").first() {
            let at = first.at;
            if gateway.is_some_and(|gateway| !gateway.enabled) {
                let message = "a share needs the gateway: its rules keep the venue out";
                let remedy = "take [[share]] out, or gateway.enabled = false";
                self.report(at, message, remedy);
            }
            let is_nfs = |allow: &Allow| matches!(allow, Allow::Tcp(first, last) if (*first..=*last).contains(&NFS_PORT));
            if uplink.is_some_and(|uplink| uplink.allow.iter().any(is_nfs)) {
                let message =
                    format!("uplink.allow has port {NFS_PORT}: the venue would reach the shares");
                let remedy = format!("take {NFS_PORT} out of uplink.allow, or take [[share]] out");
                self.report(self.place(&keys::UPLINK_ALLOW), message, remedy);
            }
        }
        shares
    }
}
