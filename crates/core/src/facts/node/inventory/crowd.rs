//! Limits on unknown boards, and detection of floods.
//!
//! Hardware addresses can be spoofed freely, so the number of boards that are only known from
//! neighbour entries is limited: by the size of the subnet, by a constant, and by a rate. Nodes of
//! the settings, those with a lease and those that reply are exempt.

use std::time::Duration;

use super::super::{NodeHealth, NodeState, Nodes, Origin};
use crate::config::Settings;
use crate::event::{Instant, Mac, NodeId};

/// Limit on listed nodes with neither a lease nor a reply, each of which is probed.
const MOST_UNCONFIRMED: usize = 256;
/// Burst of new unknown boards, if the subnet has as many addresses.
const MOST_AT_ONCE: usize = 1024;
/// Interval of one further unknown board after the burst.
const NEXT_AFTER: Duration = Duration::from_millis(500);
/// A flood ends after this long without a rejected board.
const FLOOD_TIME: Duration = Duration::from_secs(10);

/// How long a board is probed that is only known from a neighbour entry; without a reply it is
/// probed again with each sweep, or when it is seen anew.
const ASKED: Duration = Duration::from_millis(1500);
/// Minimum number of rounds of these probes.
const ASKED_ROUNDS: u32 = 4;

/// Holds the state of the limits.
#[derive(Debug, Clone, Default)]
pub struct Crowd {
    /// When the full burst is available again.
    full_at: Instant,
    rejected: u64,
    flood_until: Option<Instant>,
    /// When nodes that have never replied were last probed again.
    probed_at: Instant,
    /// When their probing ends.
    pub(super) probing_until: Option<Instant>,
    /// A board that changes its name too often, and until when that is reported.
    restless: Option<(Mac, Instant)>,
}

/// Describes a flood of unknown boards, or of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flood {
    /// Number of boards rejected since it began, rounded down.
    pub unknown_clients: Option<u64>,
    /// The board that changes its name too often.
    pub restless: Option<Mac>,
}

impl Crowd {
    /// Admits one unknown board, unless the burst is exhausted.
    fn admit(&mut self, most: usize, now: Instant) -> bool {
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        if self.full_at > now + NEXT_AFTER.saturating_mul(most.saturating_sub(1)) {
            return false;
        }
        self.full_at = self.full_at.max(now) + NEXT_AFTER;
        true
    }

    /// Notes that an admitted board replies: it is real, so another one may be admitted.
    pub fn confirm(&mut self) {
        self.full_at = Instant::from_boot(self.full_at.since_boot().saturating_sub(NEXT_AFTER));
    }

    /// Notes that a board was rejected.
    pub fn reject(&mut self, now: Instant) {
        if self.flood_until.is_none_or(|until| until <= now) {
            self.rejected = 0;
        }
        self.rejected += 1;
        self.flood_until = Some(now + FLOOD_TIME);
    }

    /// Notes that a board changes its name too often.
    pub fn renames(&mut self, mac: Mac, now: Instant) {
        // Reports the first of several boards.
        let mac = self.restless.filter(|(_, until)| *until > now).map_or(mac, |(mac, _)| mac);
        self.restless = Some((mac, now + FLOOD_TIME));
    }

    fn flood(&self, now: Instant) -> Option<Flood> {
        let unknown_clients =
            self.flood_until.filter(|until| *until > now).map(|_| round(self.rejected));
        let restless = self.restless.filter(|(_, until)| *until > now).map(|(mac, _)| mac);
        (unknown_clients.is_some() || restless.is_some())
            .then_some(Flood { unknown_clients, restless })
    }

    fn deadlines(&self) -> impl Iterator<Item = Instant> {
        self.flood_until
            .into_iter()
            .chain(self.restless.map(|(_, until)| until))
            .chain(self.probing_until)
    }
}

/// Rounds a count down to 1, 2 or 5 times a power of ten, so that an alert does not change with
/// each frame.
fn round(count: u64) -> u64 {
    let power = 10_u64.saturating_pow(count.checked_ilog10().unwrap_or(0));
    let step = match count / power {
        0 | 1 => 1,
        2..=4 => 2,
        _ => 5,
    };
    step * power
}

/// Returns how long an unconfirmed board is probed.
pub(super) fn asked_for(settings: &Settings) -> Duration {
    ASKED.max(settings.health.interval * ASKED_ROUNDS)
}

impl Nodes {
    /// Returns the current flood, if any.
    pub fn flood(&self, now: Instant) -> Option<Flood> {
        self.inventory.crowd.flood(now)
    }

    /// Returns when a flood, or the probing of unconfirmed boards, ends.
    pub fn flood_deadlines(&self) -> impl Iterator<Item = Instant> {
        self.inventory.crowd.deadlines()
    }

    /// Returns whether a node is probed now: a found one that has never replied only for a while
    /// after each sweep or sighting.
    pub fn is_asked(&self, node: &NodeState, settings: &Settings, now: Instant) -> bool {
        let crowd = &self.inventory.crowd;
        node.origin != Origin::Found
            || node.has_answered()
            || node.mac.is_some_and(|mac| self.has_lease(mac))
            || now < node.heard.max(crowd.probed_at) + asked_for(settings)
    }

    /// Begins to probe nodes again that have never replied.
    pub(super) fn probe_again(&mut self, settings: &Settings, now: Instant) {
        if self.unconfirmed(NodeId::default()).next().is_some() {
            (self.inventory.crowd.probed_at, self.inventory.crowd.probing_until) =
                (now, Some(now + asked_for(settings)));
            self.topology_version += 1;
        }
    }

    /// Ends the probing of [`Self::probe_again`] when it is due.
    pub(super) fn end_probing(&mut self, now: Instant) {
        if self.inventory.crowd.probing_until.is_some_and(|at| at <= now) {
            self.inventory.crowd.probing_until = None;
            self.topology_version += 1;
        }
    }

    /// Returns the limit on found nodes: the number of host addresses in the cluster's subnet,
    /// without the head's own.
    pub fn most_found(settings: &Settings) -> usize {
        usize::try_from(u32::from(settings.cluster.address.hostmask()).saturating_sub(2))
            .unwrap_or(usize::MAX)
            .max(1)
    }

    /// Returns whether a board without a lease may be listed; counts a rejection.
    pub(super) fn admit(&mut self, settings: &Settings, now: Instant) -> bool {
        let admitted =
            self.inventory.crowd.admit(Self::most_found(settings).min(MOST_AT_ONCE), now);
        if !admitted {
            self.inventory.crowd.reject(now);
        }
        admitted
    }

    /// Removes surplus found nodes, but none that has a lease or replies. Those that have never
    /// replied go first, among them those whose address another board took, the oldest first.
    /// `newest` stays.
    pub(super) fn evict_surplus(&mut self, newest: NodeId, settings: &Settings, now: Instant) {
        let most = Self::most_found(settings);
        let found = self.order.len().saturating_sub(settings.nodes.len());
        if found <= most.min(MOST_UNCONFIRMED) {
            return;
        }
        let groups = [
            self.unconfirmed_where(newest, false, false),
            self.unconfirmed_where(newest, false, true),
            self.unconfirmed_where(newest, true, false),
            self.unconfirmed_where(newest, true, true),
        ]
        .concat();
        let unconfirmed = groups.len() + 1;
        let too_many = found.saturating_sub(most);
        if too_many > 0 {
            self.inventory.crowd.reject(now);
        }
        let too_many = too_many.max(unconfirmed.saturating_sub(MOST_UNCONFIRMED));
        for id in groups.into_iter().take(too_many) {
            let gone = self.forget(id);
            self.inventory.evicted.extend(gone);
        }
    }

    /// Returns the unconfirmed nodes that have ever replied or not, and have an address or not.
    fn unconfirmed_where(&self, newest: NodeId, answered: bool, placed: bool) -> Vec<NodeId> {
        let wanted = move |node: &&NodeState| {
            (node.has_answered(), node.address.is_some()) == (answered, placed)
        };
        self.unconfirmed(newest).filter(wanted).map(|node| node.id).collect::<Vec<_>>()
    }

    /// Returns found nodes that have no lease and do not reply, the oldest first.
    fn unconfirmed(&self, but: NodeId) -> impl Iterator<Item = &NodeState> {
        self.iter().filter(move |node| {
            let answers = node.address.is_some()
                && !matches!(node.health, NodeHealth::Unknown | NodeHealth::Down);
            let leased = node.mac.is_some_and(|mac| self.has_lease(mac));
            node.origin == Origin::Found
                && node.id != but
                && !leased
                && !answers
                && !self.is_at_rest(node)
        })
    }

    /// Lists rejected boards that are still seen, within the limit.
    pub(super) fn admit_waiting(&mut self, settings: &Settings, now: Instant) {
        let known = |mac: &Mac| self.by_mac(*mac).is_some();
        let waiting: Vec<Mac> =
            self.inventory.sightings.present().filter(|mac| !known(mac)).collect();
        let room = MOST_UNCONFIRMED.saturating_sub(self.unconfirmed(NodeId::default()).count());
        for mac in waiting.into_iter().take(room) {
            self.settle(mac, settings, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_reported_in_steps() {
        let reported: Vec<u64> =
            [1, 9, 10, 19, 20, 49, 50, 99, 100, 4321].into_iter().map(round).collect();
        assert_eq!(reported, [1, 5, 10, 10, 20, 20, 50, 50, 100, 2000]);
    }

    #[test]
    fn a_burst_is_admitted_then_one_per_interval_and_a_flood_ends() {
        let mut crowd = Crowd::default();
        let begin = Instant::from_boot(Duration::from_secs(100));
        let admitted = (0..1000)
            .filter(|_| {
                crowd.admit(253, begin) || {
                    crowd.reject(begin);
                    false
                }
            })
            .count();
        assert_eq!(admitted, 253);
        let unknown_clients =
            |crowd: &Crowd, now| crowd.flood(now).and_then(|flood| flood.unknown_clients);
        assert_eq!(unknown_clients(&crowd, begin), Some(500));
        let later = begin + Duration::from_secs(1);
        assert_eq!((0..1000).filter(|_| crowd.admit(253, later)).count(), 2);
        crowd.confirm();
        assert!(crowd.admit(253, later) && !crowd.admit(253, later));
        assert_eq!(unknown_clients(&crowd, begin + FLOOD_TIME), None);
    }
}
