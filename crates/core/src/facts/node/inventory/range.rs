//! Whose the addresses are that our server gives away.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::super::{NodeHealth, Nodes, Origin};
use super::{host_part, is_offered};
use crate::config::Settings;
use crate::event::Mac;

/// Boards that have no lease keep at most so many addresses of a range of `size` to themselves:
/// half of them. A computer that sends ARP with ever other hardware addresses must not leave none
/// for those who ask.
pub fn most_claims(size: usize) -> usize {
    size.div_ceil(2)
}

impl Nodes {
    /// Returns whether our server has given this board an address.
    pub fn has_lease(&self, mac: Mac) -> bool {
        self.inventory.sightings.lease(mac).is_some()
    }

    /// Returns how many addresses our server has given away.
    pub fn leases(&self) -> usize {
        self.inventory.sightings.leased().len()
    }

    /// Returns the boards that call themselves as a node which the settings know by its name alone,
    /// and the address that they give it, where the board that was this node is silent: its card
    /// was put into another board.
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

    /// Returns whether every address that our server gives away is taken: given, the settings', or
    /// kept for one who is there without a lease. Looks at all nodes.
    pub fn is_range_full(&self, settings: &Settings) -> bool {
        let Some(dhcp) = &settings.cluster.dhcp else { return false };
        let size = dhcp.size();
        let home = IpNet::V4(settings.cluster.address);
        // Host parts: they stay when the cluster moves.
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
