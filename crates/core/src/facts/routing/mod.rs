//! Whether the nodes have a way out at all, and whether packets go the ways that have been
//! promised.

pub(crate) mod detour;
use std::time::Duration;

use ipnet::IpNet;

use super::State;
use crate::event::{Astray, Instant};

/// A refusal is told after this long: in between routes, rules and forwarding come and go one after
/// the other.
const REFUSED_TIME: Duration = Duration::from_secs(2);

impl State {
    /// The kernel refuses what the nodes send to the internet, though an uplink has a default route
    /// and all is set: since.
    pub(super) fn watch_exit(&mut self) {
        let refused = self.vitals.way_out == Some(None) && self.forwarding() && self.may_leave();
        self.refused_since = refused.then(|| self.refused_since.unwrap_or(self.now));
    }

    /// There is a port that nodes are behind, with its address, and an uplink with an IPv4 default
    /// route.
    fn may_leave(&self) -> bool {
        let is_v4 = |net: &IpNet| matches!(net, IpNet::V4(_));
        let cluster = self.cluster_port().filter(|port| port.up && port.carrier);
        let addressed = cluster
            .is_some_and(|port| self.facts.addresses(port.index).iter().any(|h| is_v4(&h.address)));
        let leads =
            |index| self.facts.default_route(index).is_some_and(|route| is_v4(&route.destination));
        let carrying = |index| self.facts.link(index).is_some_and(|link| link.up && link.carrier);
        addressed && self.roles.uplinks.iter().any(|index| carrying(*index) && leads(*index))
    }

    /// See `watch_exit`; for longer than a change of venue takes.
    pub fn is_without_exit(&self) -> bool {
        self.refused_since.is_some_and(|since| self.now.saturating_since(since) >= REFUSED_TIME)
    }

    /// Returns the ways that packets would not go as they have to, for longer than it takes to put
    /// our own rules there.
    pub fn astray(&self) -> &[Astray] {
        let since = self.vitals.astray_since;
        let settled = since.is_some_and(|since| self.now.saturating_since(since) >= REFUSED_TIME);
        if settled { &self.vitals.astray } else { &[] }
    }

    pub(super) fn exit_deadline(&self) -> Option<Instant> {
        let since = self
            .refused_since
            .into_iter()
            .chain(self.vitals.astray_since)
            .map(|since| since + REFUSED_TIME);
        since.filter(|at| *at > self.now).min()
    }
}
