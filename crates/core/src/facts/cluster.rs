//! Addresses of ours that the cluster port still has after the cluster moved: each stays for as
//! long as a node uses its subnet.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};

use super::Facts;
use crate::event::{Instant, LinkIndex};

/// A subnet that no node has used for so long is used by none: more than twice what a lease lasts
/// while the cluster has moved, and than the kernel needs to notice that a neighbour whom it talks
/// to is gone.
pub const RETIREMENT_GRACE: Duration = Duration::from_secs(300);
/// While there is a former address, it is looked this often whether its subnet is used.
const LOOK: Duration = Duration::from_secs(30);

/// When each of our addresses on the cluster port was last of use.
#[derive(Debug, Clone, Default)]
pub(super) struct RetiringSubnets {
    /// the last use that was seen; in the future, where a lease was given until then
    used: BTreeMap<Ipv4Net, Instant>,
    look_at: Instant,
    /// there is more than one of them, and one is in use: time alone may end that
    waits: bool,
}

impl RetiringSubnets {
    /// A node is heard at an address: the kernel may call it old before anybody looks.
    pub fn heard(&mut self, address: Ipv4Addr, now: Instant) {
        for (_, used) in self.used.iter_mut().filter(|(net, _)| net.contains(&address)) {
            *used = now.max(*used);
        }
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.waits.then_some(self.look_at)
    }
}

impl Facts {
    /// A node may still use the subnet of this address of ours on the cluster port.
    pub fn is_in_use(&self, net: Ipv4Net) -> bool {
        let used = self.retiring.used.get(&net);
        used.is_some_and(|used| self.now.saturating_since(*used) < RETIREMENT_GRACE)
    }

    /// Notes what uses our addresses. `moved`: the cluster moves now, and leases of where it was
    /// are about to be taken back, though their nodes go on with them.
    pub(super) fn watch_former(&mut self, moved: bool) {
        let held = self.roles.cluster.map(|port| self.own_addresses_on(port)).unwrap_or_default();
        let now = self.now;
        self.retiring.used.retain(|net, _| held.contains(net));
        for net in &held {
            self.retiring.used.entry(*net).or_insert(now);
        }
        if moved || (held.len() > 1 && self.retiring.look_at <= now) {
            for (net, used) in &mut self.retiring.used {
                let until =
                    self.nodes.used_until(*net, now).into_iter().chain(moved.then_some(now)).max();
                *used = until.map_or(*used, |until| until.max(*used));
            }
            self.retiring.look_at = now + LOOK;
        }
        self.retiring.waits = held.len() > 1 && held.iter().any(|net| self.is_in_use(*net));
    }

    fn own_addresses_on(&self, port: LinkIndex) -> Vec<Ipv4Net> {
        let held = self.facts.addresses(port).iter().filter_map(|held| match held.address {
            IpNet::V4(net) => Some(net),
            IpNet::V6(_) => None,
        });
        held.filter(|net| self.own_addresses().any(|own| own == *net)).collect()
    }
}
