//! Configuration files of the NFS server: exports(5) and nfs.conf(5).

use std::fmt::Write as _;
use std::path::Path;

use ipnet::IpNet;

use crate::config::Share;

const HEADER: &str =
    "# Written by Bramblegate from its settings ([[share]]): changes here are lost.\n";

/// NFS 4 only: the nodes need a single TCP port. After a server restart, clients wait for the grace
/// period, in which locks are reclaimed (RFC 7530, 9.6.2); its default is 90 s. The lease time is
/// equal: clients renew within it.
const SERVER: &str = "[nfsd]\nvers3=n\nvers4=y\ntcp=y\nudp=n\ngrace-time=15\nlease-time=15\n";

/// Returns the text of `/etc/nfs.conf.d/bramblegate.conf`.
pub fn server() -> String {
    format!("{HEADER}{SERVER}")
}

/// Returns the text of `/etc/exports.d/bramblegate.exports`; `None` if nothing is exported. With
/// `mountpoint` the server itself refuses a directory whose disk is not mounted.
pub fn exports(shares: &[&Share], networks: &[IpNet]) -> Option<String> {
    if shares.is_empty() || networks.is_empty() {
        return None;
    }
    let mut text = HEADER.to_owned();
    for share in shares {
        text += &escaped(&share.path);
        for network in networks {
            let access = share.access.word();
            let _ = write!(
                text,
                " {network}({access},sync,no_subtree_check,root_squash,mountpoint,sec=sys)"
            );
        }
        text += "\n";
    }
    Some(text)
}

/// Returns a path as one word of exports(5): special characters as a backslash and three octal
/// digits.
fn escaped(path: &Path) -> String {
    let mut word = String::new();
    for byte in path.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-".contains(byte) {
            word.push(char::from(*byte));
        } else {
            let _ = write!(word, "\\{byte:03o}");
        }
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Access;

    #[test]
    fn each_disk_is_exported_to_the_cluster_only() {
        let share = |path: &str, access| Share { name: "s".to_owned(), path: path.into(), access };
        let usb = share("/mnt/usb", Access::ReadWrite);
        let odd = share("/media/my \"disk\"#1", Access::ReadOnly);
        let networks: Vec<IpNet> =
            ["10.213.50.0/24", "192.168.50.0/24"].map(|net| net.parse().unwrap()).into();
        let options = "sync,no_subtree_check,root_squash,mountpoint,sec=sys";
        assert_eq!(
            exports(&[&usb, &odd], &networks).unwrap().strip_prefix(HEADER).unwrap(),
            format!(
                "/mnt/usb 10.213.50.0/24(rw,{options}) 192.168.50.0/24(rw,{options})\n\
                 /media/my\\040\\042disk\\042\\0431 10.213.50.0/24(ro,{options}) \
                 192.168.50.0/24(ro,{options})\n"
            )
        );
        assert_eq!(exports(&[], &networks), None);
        assert_eq!(exports(&[&usb], &[]), None, "to no one, and not to everyone");
    }
}
