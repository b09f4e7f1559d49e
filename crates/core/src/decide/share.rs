//! Which disks the nodes may use over NFS, and from which networks.

use std::fmt::Write as _;
use std::path::PathBuf;

use ipnet::IpNet;

use crate::config::Settings;
use crate::facts::Facts;

/// Returns the mount points to watch.
pub fn watched(settings: &Settings) -> Vec<PathBuf> {
    settings.shares.iter().map(|share| share.path.clone()).collect()
}

/// Returns the networks that may use shares: those of the head's configured cluster addresses that
/// the cluster port holds. A retired address counts for as long as it stays.
pub fn networks(facts: &Facts) -> Vec<IpNet> {
    let Some(port) = facts.cluster_port() else { return Vec::new() };
    let held = facts.kernel().addresses(port.index);
    let is_there = |own: &IpNet| held.iter().any(|held| held.address == *own);
    let mut networks: Vec<IpNet> =
        facts.own_addresses().filter(is_there).map(|own| own.trunc()).collect();
    networks.sort();
    networks.dedup();
    networks
}

/// Returns what the exports depend on, one item a line; `None` while that is unknown. A changed
/// text only triggers the root unit, which reads settings and kernel itself and not this text.
pub fn order(settings: &Settings, facts: &Facts) -> Option<String> {
    let mut text = String::new();
    if settings.shares.is_empty() {
        return Some(text);
    }
    facts.shares().seen.as_ref()?;
    for share in &settings.shares {
        let is_there = facts.shares().disk(&share.path).is_some();
        let _ = writeln!(text, "{} {} {is_there}", share.path.display(), share.access.word());
    }
    for network in networks(facts) {
        let _ = writeln!(text, "{network}");
    }
    Some(text)
}
