//! Unknown boards: how many of them are listed, and whether the port is flooded with
//! them.
//!
//! A hardware address costs its sender nothing, so the number of boards that were merely heard is
//! bounded: by the addresses of the subnet, by a number where the subnet is large, and by how many
//! come in a row. Nodes of the settings, those with a lease and those that answer are not counted
//! against anybody.

use std::time::Duration;

use super::super::{NodeHealth, NodeState, Nodes, Origin};
use crate::config::Settings;
use crate::event::{Instant, Mac, NodeId};

/// Bounds the boards that are listed with neither a lease nor an answer to show; each of them is
/// asked whether it lives.
const MOST_UNCONFIRMED: usize = 256;
/// Bounds the strangers that may come in a row, if the subnet has as many addresses, …
const MOST_AT_ONCE: usize = 1024;
/// … and one more in each interval after that.
const NEXT_AFTER: Duration = Duration::from_millis(500);
/// A flood is over when for so long no board had to be left out.
const FLOOD_TIME: Duration = Duration::from_secs(10);

/// A board that was merely heard is asked for so long whether it lives; one that does not answer is
/// asked again with each sweep, or when it is heard anew.
const ASKED: Duration = Duration::from_millis(1500);
/// But for so many rounds at least.
const ASKED_ROUNDS: u32 = 4;

/// What is known of those who are left out.
#[derive(Debug, Clone, Default)]
pub struct Crowd {
    /// When as many as possible may come in a row again.
    rested: Instant,
    left_out: u64,
    flood_until: Option<Instant>,
    /// When those that have never answered were last asked anew, and when they are let alone again.
    asked_at: Instant,
    pub(super) rest_at: Option<Instant>,
    /// A board that changes its name too often.
    restless: Option<(Mac, Instant)>,
}

/// Somebody makes more of boards, or of one's name, than a cluster does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flood {
    /// So many strangers were left out since it began, in round numbers.
    pub unknown_clients: Option<u64>,
    /// The board whose name changes all the time.
    pub restless: Option<Mac>,
}

impl Crowd {
    /// Takes one stranger in, if there have not been too many in a row.
    fn admit(&mut self, most: usize, now: Instant) -> bool {
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        if self.rested > now + NEXT_AFTER.saturating_mul(most.saturating_sub(1)) {
            return false;
        }
        self.rested = self.rested.max(now) + NEXT_AFTER;
        true
    }

    /// Notes that one that was taken in answers: it is no stranger's invention, and another may
    /// come in its place.
    pub fn confirm(&mut self) {
        self.rested = Instant::from_boot(self.rested.since_boot().saturating_sub(NEXT_AFTER));
    }

    /// Notes that a board was left out.
    pub fn leave_out(&mut self, now: Instant) {
        if self.flood_until.is_none_or(|until| until <= now) {
            self.left_out = 0;
        }
        self.left_out += 1;
        self.flood_until = Some(now + FLOOD_TIME);
    }

    /// Notes that a board changes its name too often.
    pub fn renames(&mut self, mac: Mac, now: Instant) {
        // The first is named as long as it goes on.
        let mac = self.restless.filter(|(_, until)| *until > now).map_or(mac, |(mac, _)| mac);
        self.restless = Some((mac, now + FLOOD_TIME));
    }

    fn flood(&self, now: Instant) -> Option<Flood> {
        let unknown_clients =
            self.flood_until.filter(|until| *until > now).map(|_| round(self.left_out));
        let restless = self.restless.filter(|(_, until)| *until > now).map(|(mac, _)| mac);
        (unknown_clients.is_some() || restless.is_some())
            .then_some(Flood { unknown_clients, restless })
    }

    fn deadlines(&self) -> impl Iterator<Item = Instant> {
        self.flood_until
            .into_iter()
            .chain(self.restless.map(|(_, until)| until))
            .chain(self.rest_at)
    }
}

/// Returns the greatest 1, 2 or 5 with noughts that is not above a count: an alert is not to be
/// another with each frame.
fn round(count: u64) -> u64 {
    let power = 10_u64.saturating_pow(count.checked_ilog10().unwrap_or(0));
    let step = match count / power {
        0 | 1 => 1,
        2..=4 => 2,
        _ => 5,
    };
    step * power
}

/// Returns how long a board that was merely heard is asked.
pub(super) fn asked_for(settings: &Settings) -> Duration {
    ASKED.max(settings.health.interval * ASKED_ROUNDS)
}

impl Nodes {
    /// Returns whether the cluster port is flooded.
    pub fn flood(&self, now: Instant) -> Option<Flood> {
        self.inventory.crowd.flood(now)
    }

    /// Returns when time alone ends a flood.
    pub fn flood_deadlines(&self) -> impl Iterator<Item = Instant> {
        self.inventory.crowd.deadlines()
    }

    /// Returns whether a node is to be probed: of those that were found and have never answered
    /// only now and then.
    pub fn is_asked(&self, node: &NodeState, settings: &Settings, now: Instant) -> bool {
        let crowd = &self.inventory.crowd;
        node.origin != Origin::Found
            || node.has_answered()
            || node.mac.is_some_and(|mac| self.has_lease(mac))
            || now < node.heard.max(crowd.asked_at) + asked_for(settings)
    }

    /// Lets those that have never answered be asked anew, for a while.
    pub(super) fn ask_again(&mut self, settings: &Settings, now: Instant) {
        if self.unconfirmed(NodeId::default()).next().is_some() {
            (self.inventory.crowd.asked_at, self.inventory.crowd.rest_at) =
                (now, Some(now + asked_for(settings)));
            self.topology_version += 1;
        }
    }

    /// Lets them alone again when it is time.
    pub(super) fn let_alone(&mut self, now: Instant) {
        if self.inventory.crowd.rest_at.is_some_and(|at| at <= now) {
            self.inventory.crowd.rest_at = None;
            self.topology_version += 1;
        }
    }

    /// Returns how many found nodes there are at most: as many as the cluster's subnet has
    /// addresses, but for the head's own.
    pub fn most_found(settings: &Settings) -> usize {
        usize::try_from(u32::from(settings.cluster.address.hostmask()).saturating_sub(2))
            .unwrap_or(usize::MAX)
            .max(1)
    }

    /// Returns whether a board may be listed that has no lease.
    pub(super) fn admit(&mut self, settings: &Settings, now: Instant) -> bool {
        let admitted =
            self.inventory.crowd.admit(Self::most_found(settings).min(MOST_AT_ONCE), now);
        if !admitted {
            self.inventory.crowd.leave_out(now);
        }
        admitted
    }

    /// Forgets those of the found nodes that are too many: first those whose address another board
    /// took, then those that have never answered, then those that answer no longer, the oldest
    /// first; none with a lease, and none that answers. `newest` stays.
    pub(super) fn make_room(&mut self, newest: NodeId, settings: &Settings, now: Instant) {
        let most = Self::most_found(settings);
        let found = self.order.len().saturating_sub(settings.nodes.len());
        if found <= most.min(MOST_UNCONFIRMED) {
            return;
        }
        // One that answered once goes last, even if its address was taken.
        let groups = [
            self.unconfirmed_with(newest, false, false),
            self.unconfirmed_with(newest, false, true),
            self.unconfirmed_with(newest, true, false),
            self.unconfirmed_with(newest, true, true),
        ]
        .concat();
        let unconfirmed = groups.len() + 1;
        let too_many = found.saturating_sub(most);
        if too_many > 0 {
            self.inventory.crowd.leave_out(now);
        }
        let too_many = too_many.max(unconfirmed.saturating_sub(MOST_UNCONFIRMED));
        for id in groups.into_iter().take(too_many) {
            let gone = self.forget(id);
            self.inventory.pushed_out.extend(gone);
        }
    }

    /// Returns found nodes without a lease that have answered or not, and have an address or not.
    fn unconfirmed_with(&self, newest: NodeId, answered: bool, placed: bool) -> Vec<NodeId> {
        let wanted = move |node: &&NodeState| {
            (node.has_answered(), node.address.is_some()) == (answered, placed)
        };
        self.unconfirmed(newest).filter(wanted).map(|node| node.id).collect::<Vec<_>>()
    }

    /// Returns found nodes with neither a lease nor an answer to show, the oldest first.
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

    /// Lists boards that were left out and are still there, as far as there is room.
    pub(super) fn admit_waiting(&mut self, settings: &Settings, now: Instant) {
        let known = |mac: &Mac| self.by_mac(*mac).is_some();
        let waiting: Vec<Mac> = self.inventory.sightings.here().filter(|mac| !known(mac)).collect();
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
    fn as_many_as_there_are_addresses_come_in_a_row_then_few_and_a_flood_ends() {
        let mut crowd = Crowd::default();
        let begin = Instant::from_boot(Duration::from_secs(100));
        let admitted = (0..1000)
            .filter(|_| {
                crowd.admit(253, begin) || {
                    crowd.leave_out(begin);
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
