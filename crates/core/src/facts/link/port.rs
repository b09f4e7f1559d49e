//! Selects the interfaces for the cluster port and the uplinks.

use glob::Pattern;

use crate::api::clat;
use crate::config::{Clat, PortPattern, Settings};
use crate::event::{Link, LinkIndex};

use super::mirror::KernelFacts;

/// Returns whether a pattern of the settings matches this interface by its current or alternative
/// name, or its hardware address. Never the loopback interface.
pub fn matches(pattern: &PortPattern, link: &Link) -> bool {
    if link.loopback {
        return false;
    }
    match pattern {
        PortPattern::Mac(mac) => link.mac == Some(*mac),
        PortPattern::Glob(name) if !name.contains(['*', '?', '[']) => {
            link.name == *name || link.alternative_names.contains(name)
        }
        PortPattern::Glob(text) => Pattern::new(text).is_ok_and(|glob| {
            glob.matches(&link.name) || link.alternative_names.iter().any(|name| glob.matches(name))
        }),
    }
}

/// Returns whether the settings list this interface among the uplinks by its name or hardware
/// address, rather than by a glob.
fn is_uplink_by_name(settings: &Settings, link: &Link) -> bool {
    settings.uplink.interfaces.iter().any(|pattern| !is_glob(pattern) && matches(pattern, link))
}

/// Returns whether a pattern can match several interfaces.
pub fn is_glob(pattern: &PortPattern) -> bool {
    matches!(pattern, PortPattern::Glob(text) if text.contains(['*', '?', '[']))
}

/// Returns whether this interface may have a role.
pub fn is_named(settings: &Settings, link: &Link) -> bool {
    if link.name == clat::DEVICE {
        return true;
    }
    let patterns = std::iter::once(&settings.cluster.interface).chain(&settings.uplink.interfaces);
    patterns.into_iter().any(|pattern| matches(pattern, link))
}

/// The roles of interfaces, recomputed when an interface or the settings change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roles {
    /// The cluster port, even while it is enslaved.
    pub cluster: Option<LinkIndex>,
    /// Uplinks in order of preference.
    pub uplinks: Vec<LinkIndex>,
    /// Interfaces named in the settings that belong to a bridge or bond: (interface, master).
    pub enslaved: Vec<(LinkIndex, LinkIndex)>,
}

impl Roles {
    /// Returns whether it is the cluster port or an uplink.
    pub fn is_port(&self, index: LinkIndex) -> bool {
        self.cluster == Some(index) || self.uplinks.contains(&index)
    }

    /// Returns whether it belongs to a bridge or bond, so that the gateway does not configure it.
    pub fn is_enslaved(&self, index: LinkIndex) -> bool {
        self.enslaved.iter().any(|(port, _)| *port == index)
    }

    /// Assigns the roles.
    pub fn of(settings: &Settings, facts: &KernelFacts) -> Self {
        // A glob for the cluster port never matches a named uplink: its network would be served
        // addresses.
        let glob = is_glob(&settings.cluster.interface);
        let mut of_cluster =
            facts.links().filter(|link| matches(&settings.cluster.interface, link));
        let cluster = of_cluster.find(|link| !glob || !is_uplink_by_name(settings, link));
        let cluster_index = cluster.map(|link| link.index);
        let mut roles = Self { cluster: cluster_index, ..Self::default() };
        for pattern in &settings.uplink.interfaces {
            let found = facts
                .links()
                .filter(|link| Some(link.index) != cluster_index && matches(pattern, link));
            for link in found {
                match link.master {
                    Some(master) if !roles.enslaved.contains(&(link.index, master)) => {
                        roles.enslaved.push((link.index, master));
                    }
                    None if !roles.uplinks.contains(&link.index) => roles.uplinks.push(link.index),
                    _ => {}
                }
            }
        }
        // Our translator's device is an uplink too, while it exists.
        let translators = facts.links().find(|link| link.name == clat::DEVICE);
        let translators = translators.filter(|link| {
            let free = Some(link.index) != cluster_index && link.master.is_none();
            free && settings.uplink.clat != Clat::Off && !roles.uplinks.contains(&link.index)
        });
        roles.uplinks.extend(translators.map(|link| link.index));
        // Expected: a port of a bridge that is an uplink, or a port of the cluster's bridge that only
        // a glob matches.
        let (uplinks, is_named) = (&roles.uplinks, |index| {
            facts.link(index).is_some_and(|l| is_uplink_by_name(settings, l))
        });
        roles.enslaved.retain(|(index, master)| {
            !uplinks.contains(master) && (Some(*master) != cluster_index || is_named(*index))
        });
        if let Some((link, master)) =
            cluster.and_then(|link| link.master.map(|master| (link, master)))
        {
            roles.enslaved.push((link.index, master));
        }
        roles
    }
}
