//! Use of the DHCP server's address range.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::super::{NodeHealth, Nodes, Origin};
use super::{host_part, is_offered};
use crate::config::Settings;
use crate::event::Mac;

/// Returns how many addresses of a range of `size` boards without a lease may occupy: half of them,
/// so that a flood of ARP with spoofed hardware addresses does not exhaust the range.
pub fn most_claims(size: usize) -> usize {
    size.div_ceil(2)
}

impl Nodes {
    pub fn has_lease(&self, mac: Mac) -> bool {
        self.inventory.sightings.lease(mac).is_some()
    }

    /// Returns the number of leases.
    pub fn leases(&self) -> usize {
        self.inventory.sightings.leased().len()
    }

    /// Returns the boards that replace the silent board of a node, with the node's configured
    /// address: the settings give no hardware address, and the new board has its host name, as its
    /// card was moved there.
    pub fn successors(&self) -> impl Iterator<Item = (IpAddr, Mac)> + '_ {
        self.inventory.unnamed.iter().filter_map(|(id, name)| {
            let node = self
                .by_name(name)
                .filter(|node| node.origin == Origin::Settings && node.configured_mac.is_none())?;
            let (home, before, spare) = (node.configured_address?, node.mac?, self.get(*id)?.mac?);
            let quiet = matches!(
                node.health,
                NodeHealth::Unknown | NodeHealth::Down | NodeHealth::Maintenance
            );
            (quiet && before != spare && !self.inventory.sightings.is_heard(before))
                .then_some((home, spare))
        })
    }

    /// Returns whether every address of the range is leased, configured, or used by a board without
    /// a lease. Iterates over all nodes.
    pub fn is_range_full(&self, settings: &Settings) -> bool {
        let Some(dhcp) = &settings.cluster.dhcp else { return false };
        let size = dhcp.size();
        let home = IpNet::V4(settings.cluster.address);
        // Host parts, which stay when the cluster moves.
        let host = |address: IpAddr| host_part(address, home);
        let offered = |address: &IpAddr| is_offered(*address, settings);
        let known = self
            .iter()
            .filter(|node| node.origin == Origin::Settings)
            .filter_map(|node| node.address);
        let given = self
            .inventory
            .sightings
            .leased()
            .chain(self.inventory.homes.keys().copied())
            .chain(known);
        let taken = BTreeSet::from_iter(given.filter(offered).filter_map(host));
        let claims = self.iter().filter_map(|node| node.address).filter(offered).filter_map(host);
        let claims = BTreeSet::from_iter(claims).difference(&taken).count();
        taken.len() + claims.min(most_claims(size)) >= size
    }
}
