//! Which disks the nodes may use, and from where.

use std::fmt::Write as _;
use std::path::PathBuf;

use ipnet::IpNet;

use crate::config::Settings;
use crate::facts::Facts;

/// Returns the mount points that are looked at.
pub fn watched(settings: &Settings) -> Vec<PathBuf> {
    settings.shares.iter().map(|share| share.path.clone()).collect()
}

/// Returns the networks in which shares may be used: of the addresses that the settings give the
/// head in the cluster, those that its port has. A retiring one counts for as long as it stays.
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

/// Returns what the exports depend on, a line each; `None`: not known yet. Another text is the sign
/// for root's unit to work them out anew. That reads the settings and the kernel itself, and
/// nothing of this.
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
