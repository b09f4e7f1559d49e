//! The nodes' unique local IPv6 network (RFC 4193), if the settings give none. It is generated once
//! and saved in the state directory, so that the nodes keep their addresses.

use std::io;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};

use ipnet::Ipv6Net;

use crate::files::folder::{self, Folder};
use crate::watch::probe::unguessable;

use super::previous::STATE_MODE;

/// The prefix fc00::/7 with the L bit, for a locally assigned network (RFC 4193 3.1).
const UNIQUE_LOCAL: u128 = 0xfd << 120;

/// Returns the path of the file.
pub fn path(state_directory: &Path) -> PathBuf {
    state_directory.join("cluster.ipv6")
}

/// Reads the saved network; `None` if the file is missing or damaged.
pub fn read(state_directory: &Path) -> Option<Ipv6Net> {
    let bytes = folder::read(&path(state_directory)).ok()?;
    let net: Ipv6Net = std::str::from_utf8(&bytes).ok()?.trim().parse().ok()?;
    let [first, ..] = net.addr().octets();
    (net.prefix_len() == 64 && net.addr() == net.network() && first == 0xfd).then_some(net)
}

/// Returns the saved network. If there is none, saves `current` or a generated one.
///
/// # Errors
/// The network could not be saved; it is valid until the next start.
pub fn read_or_make(
    state_directory: &Path,
    current: Option<Ipv6Net>,
) -> Result<Ipv6Net, (Ipv6Net, io::Error)> {
    if let Some(net) = read(state_directory) {
        return Ok(net);
    }
    // A random global ID of 40 bits (RFC 4193 3.2), and subnet 0.
    let global = u128::from(unguessable() >> 24) << 80;
    let net =
        current.unwrap_or_else(|| Ipv6Net::new_assert(Ipv6Addr::from(UNIQUE_LOCAL | global), 64));
    let written = Folder::make(state_directory, STATE_MODE)
        .and_then(|_| folder::keep(&path(state_directory), format!("{net}\n")));
    written.map(|()| net).map_err(|error| (net, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_is_generated_once_and_differs_between_heads() {
        let [one, other] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let net = read_or_make(one.path(), None).unwrap();
        assert_eq!(net.prefix_len(), 64);
        assert!(net.to_string().starts_with("fd"), "{net}");
        assert_eq!(read_or_make(one.path(), None).unwrap(), net);
        assert_ne!(read_or_make(other.path(), None).unwrap(), net);
    }

    #[test]
    fn a_damaged_file_is_replaced() {
        let held = tempfile::tempdir().unwrap();
        for damaged in ["", "fd00::/48\n", "fd00::1/64\n", "2001:db8::/64\n", "\u{0}\u{0}"] {
            std::fs::write(path(held.path()), damaged).unwrap();
            assert_eq!(read(held.path()), None, "{damaged:?}");
        }
        let net = read_or_make(held.path(), None).unwrap();
        assert_eq!(read(held.path()), Some(net));
    }
}
