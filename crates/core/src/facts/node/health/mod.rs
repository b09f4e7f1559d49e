//! Derives health from rounds of probes, with thresholds counted in rounds.
//!
//! Rounds are counted all the time; booting, maintenance, flapping, slow or lossy replies override
//! the result. The cost of a round does not depend on the number of nodes.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use super::{NodeHealth, NodeState, Nodes};
use crate::config::Health;
use crate::event::{Instant, NodeId, Round};
pub use crate::facts::transition::Trouble;

/// After this long without a further boot file, the probes determine a booting node's health.
pub const BOOTING_TIME: Duration = Duration::from_secs(180);
/// Number of first attempts that count for `degraded_loss`.
const WINDOW: u32 = u64::BITS;
/// Number of rounds before the smoothed round-trip time is used, as the first one includes address
/// resolution.
const SETTLED: u8 = 8;

/// Describes a change of a node's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthChange {
    pub from: NodeHealth,
    pub to: NodeHealth,
    /// The reason if it is degraded now.
    pub why: Option<Trouble>,
}

/// The result of the probes alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Seen {
    #[default]
    Nothing,
    /// No reply for `down_after` rounds, but it may still be booting.
    Unanswered,
    Up,
    Down,
}

/// The state of a node between rounds.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Watch {
    seen: Seen,
    slow: bool,
    lossy: bool,
    flapping: bool,
    maintenance: bool,
    /// It has replied at least once.
    answered: bool,
    /// It has not replied for `down_after` rounds.
    silent: bool,
    /// Rounds since it was last found up, at most [`SETTLED`].
    settled: u8,
    /// Consecutive rounds that contradict `seen`.
    streak: u32,
    /// Whether the first attempt was lost, for the last rounds; the newest in the lowest bit.
    lost: u64,
    /// Boxed, as few nodes need it.
    rare: Option<Box<Rare>>,
}

#[derive(Debug, Clone, PartialEq, Default)]
struct Rare {
    /// The last times at which it went down or up, at most `flap_changes`.
    changes: VecDeque<Instant>,
    boot: Option<Boot>,
}

#[derive(Debug, Clone, PartialEq)]
struct Boot {
    /// The file that it requested last.
    stage: String,
    until: Instant,
}

impl NodeState {
    /// Returns why it is degraded; `None` if it is not.
    pub fn trouble(&self) -> Option<Trouble> {
        (self.health == NodeHealth::Degraded).then(|| self.watch.trouble()).flatten()
    }

    /// Returns whether it has replied at least once.
    pub fn has_answered(&self) -> bool {
        self.watch.answered
    }

    /// Returns the share of lost first attempts in the last 64 rounds, in percent; `None` unless it
    /// replies.
    pub fn loss_percent(&self) -> Option<u8> {
        (self.watch.seen == Seen::Up)
            .then(|| u8::try_from(self.watch.lost.count_ones() * 100 / WINDOW).unwrap_or(100))
    }

    /// Returns whether it does not reply, whatever its health: it may also be booting, flapping, in
    /// maintenance, or not have replied since the start.
    pub fn is_silent(&self) -> bool {
        self.watch.silent
    }

    /// Returns whether it has not replied for `down_after` rounds, but may still be booting.
    pub(super) fn is_unanswered(&self) -> bool {
        self.watch.seen == Seen::Unanswered && self.watch.health() == NodeHealth::Unknown
    }

    /// Returns the file that a booting node requested last.
    pub fn stage(&self) -> Option<&str> {
        let boot = self.watch.boot().filter(|_| self.health == NodeHealth::Booting);
        boot.map(|boot| boot.stage.as_str())
    }
}

impl Nodes {
    /// Processes one round. Returns the change of health, if any.
    pub fn round(&mut self, round: &Round, health: &Health, now: Instant) -> Option<HealthChange> {
        let returns = round.rtt.is_some() && self.is_return(round.node);
        let node = self.get(round.node)?;
        let is_first = round.rtt.is_some() && !node.has_answered();
        let starting = node.watch.is_new() && now < self.awaited_until(node, health.boot_grace);
        let node = self.get_mut(round.node)?;
        if returns {
            node.watch.reset();
        }
        node.rtt = round.rtt.map(|rtt| smooth(node.rtt, rtt)).or(node.rtt);
        let boots = node.watch.boot().map(|boot| boot.until);
        node.watch.count_round(round, health, starting, now);
        let is_silent = node.watch.is_silent(health);
        let changed = std::mem::replace(&mut node.watch.silent, is_silent) != is_silent;
        node.watch.judge(node.rtt, health);
        if let Some(until) = boots.filter(|_| node.watch.boot().is_none()) {
            self.booting.remove(&(until, round.node));
        }
        self.silences += u64::from(changed);
        if is_first {
            self.first_answer(round.node, now);
        }
        if returns {
            return self.end_shutdown(round.node, now);
        }
        self.note_silence(round.node);
        self.update_health(round.node, now)
    }

    /// Marks a silent node as down, as it is no longer expected to boot.
    pub(super) fn presume_down(&mut self, id: NodeId) {
        if let Some(node) = self.get_mut(id).filter(|node| node.is_silent()) {
            (node.watch.seen, node.watch.streak) = (Seen::Down, 0);
        }
    }

    /// Marks a node as booting for [`BOOTING_TIME`], since it requested `file`.
    pub fn boots(&mut self, id: NodeId, file: &str, now: Instant) -> Option<HealthChange> {
        let node = self.get_mut(id)?;
        let before = node.watch.boot().map(|boot| boot.until);
        let until = now + BOOTING_TIME;
        if before.is_none() {
            node.watch.reset();
        }
        node.watch.rare().boot = Some(Boot { stage: file.to_owned(), until });
        before.map(|before| self.booting.remove(&(before, id)));
        self.booting.insert((until, id));
        self.update_health(id, now)
    }

    /// Begins or ends maintenance, in which rounds are counted but raise no alarm.
    pub fn set_maintenance(&mut self, id: NodeId, on: bool, now: Instant) -> Option<HealthChange> {
        self.get_mut(id)?.watch.maintenance = on;
        self.update_health(id, now)
    }

    /// Returns the booting nodes, that with the oldest request first.
    pub fn booting(&self) -> impl Iterator<Item = &NodeState> {
        let nodes = self.booting.iter().filter_map(|(_, id)| self.get(*id));
        nodes.filter(|node| node.health == NodeHealth::Booting)
    }

    /// Returns a count of how often a node fell silent or replied again.
    pub fn silences(&self) -> u64 {
        self.silences
    }

    /// Notes carrier-up of the cluster port, from when on silent nodes may be booting.
    pub fn note_carrier(&mut self, now: Instant) {
        self.carrier_since = now;
    }

    /// Returns the nodes that have not replied yet but may still be booting, in the order of their
    /// IDs, and their number.
    pub fn unanswered(&self) -> (impl Iterator<Item = &NodeState>, usize) {
        (self.unanswered.iter().filter_map(|id| self.get(*id)), self.unanswered.len())
    }

    /// Returns whether silent nodes may still be booting.
    pub fn may_start(&self, health: &Health, now: Instant) -> bool {
        now < self.carrier_since + health.boot_grace || !self.unanswered.is_empty()
    }

    /// Returns the first timeout of a booting node.
    pub(super) fn boot_deadline(&self) -> Option<Instant> {
        self.booting.first().map(|(until, _)| *until)
    }

    /// Ends booting of the nodes whose timeout has passed.
    pub fn expire(&mut self, health: &Health, now: Instant) -> Vec<(NodeId, HealthChange)> {
        let mut transitions = Vec::new();
        while let Some((_, id)) = self.booting.first().copied().filter(|(until, _)| *until <= now) {
            self.booting.pop_first();
            let Some(node) = self.get_mut(id) else { continue };
            node.watch.end_boot();
            if node.watch.streak >= health.down_after {
                (node.watch.seen, node.watch.streak) = (Seen::Down, 0);
            }
            transitions.extend(self.update_health(id, now).map(|change| (id, change)));
        }
        transitions
    }

    /// Recomputes the health of a node. Returns its change, if any.
    fn update_health(&mut self, id: NodeId, now: Instant) -> Option<HealthChange> {
        let node = self.get_mut(id)?;
        if node.watch.seen != Seen::Up {
            node.rtt = None;
        }
        let (from, to, why, unanswered) =
            (node.health, node.watch.health(), node.watch.trouble(), node.is_unanswered());
        if unanswered {
            self.unanswered.insert(id);
        } else {
            self.unanswered.remove(&id);
        }
        let why = why.filter(|_| to == NodeHealth::Degraded);
        if to == NodeHealth::Degraded || from == NodeHealth::Degraded {
            self.troubled.set(id, why);
        }
        if from == to {
            return None;
        }
        self.set_health(id, to, now);
        Some(HealthChange { from, to, why })
    }

    fn get_mut(&mut self, id: NodeId) -> Option<&mut NodeState> {
        self.slots.get_mut(id.slot as usize)?.node.as_mut().filter(|node| node.id == id)
    }
}

impl Watch {
    /// Counts a round. `starting`: a node that has not replied yet may still be booting.
    fn count_round(&mut self, round: &Round, health: &Health, starting: bool, now: Instant) {
        let answered = round.rtt.is_some();
        self.answered |= answered;
        if self.seen == Seen::Up {
            self.lost = self.lost << 1 | u64::from(round.first_lost || !answered);
            self.settled = self.settled.saturating_add(1).min(SETTLED);
        }
        if self.flapping {
            self.end_flapping_if_stable(health, now);
        }
        let target = if answered { Seen::Up } else { Seen::Down };
        if answered {
            self.end_boot();
        }
        if self.seen == target {
            self.streak = 0;
            return;
        }
        self.streak = self.streak.saturating_add(1);
        // The first reply of a new node is enough, so that the start takes no longer than needed.
        let never = self.is_new();
        let needed = match target {
            Seen::Up if never => 1,
            Seen::Up => health.up_after,
            _ => health.down_after,
        };
        // A booting node is expected to be silent.
        if self.streak < needed || (target == Seen::Down && self.boot().is_some()) {
            return;
        }
        if never && target == Seen::Down && starting {
            self.seen = Seen::Unanswered;
            return;
        }
        if !never {
            self.note_change(health, now);
        }
        (self.seen, self.streak, self.lost, self.settled) = (target, 0, 0, 0);
        (self.slow, self.lossy) = (false, false);
    }

    /// Returns whether it was found neither up nor down yet.
    fn is_new(&self) -> bool {
        matches!(self.seen, Seen::Nothing | Seen::Unanswered)
    }

    /// Resets the result of the probes, as the next reply comes from a freshly booted system.
    fn reset(&mut self) {
        (self.seen, self.streak, self.lost) = (Seen::Nothing, 0, 0);
    }

    /// Notes that it went down or up; `flap_changes` of that within the window are flapping.
    fn note_change(&mut self, health: &Health, now: Instant) {
        let most = health.flap_changes as usize;
        let changes = &mut self.rare().changes;
        changes.push_back(now);
        while changes.len() > most {
            changes.pop_front();
        }
        let begun =
            changes.front().is_some_and(|first| now.saturating_since(*first) <= health.flap_window);
        self.flapping |= begun && changes.len() == most;
    }

    /// Ends flapping after half of the window without a change.
    fn end_flapping_if_stable(&mut self, health: &Health, now: Instant) {
        let last = self.rare.as_ref().and_then(|rare| rare.changes.back().copied());
        if last.is_none_or(|last| now.saturating_since(last) >= health.flap_window / 2) {
            self.flapping = false;
            self.rare().changes.clear();
        }
    }

    /// Updates whether it is slow or lossy, each with hysteresis.
    fn judge(&mut self, rtt: Option<Duration>, health: &Health) {
        if self.settled >= SETTLED {
            let long = |limit: Duration| {
                rtt.is_some_and(|rtt| rtt > if self.slow { limit * 3 / 4 } else { limit })
            };
            self.slow = health.degraded_rtt.is_some_and(long);
        }
        let lost = self.lost.count_ones() * 100;
        let many = |share: u8| lost > u32::from(share) * WINDOW / if self.lossy { 2 } else { 1 };
        self.lossy = health.degraded_loss.is_some_and(many);
    }

    fn trouble(&self) -> Option<Trouble> {
        let troubles = [
            (self.flapping, Trouble::Flapping),
            (self.lossy, Trouble::Lossy),
            (self.slow, Trouble::Slow),
        ];
        troubles.into_iter().find_map(|(so, trouble)| so.then_some(trouble))
    }

    fn health(&self) -> NodeHealth {
        match self.seen {
            _ if self.maintenance => NodeHealth::Maintenance,
            _ if self.boot().is_some() => NodeHealth::Booting,
            _ if self.flapping => NodeHealth::Degraded,
            Seen::Nothing | Seen::Unanswered => NodeHealth::Unknown,
            Seen::Down => NodeHealth::Down,
            Seen::Up if self.slow || self.lossy => NodeHealth::Degraded,
            Seen::Up => NodeHealth::Up,
        }
    }

    /// Returns whether it has not replied for `down_after` rounds. Includes booting nodes, which do
    /// not count as down.
    fn is_silent(&self, health: &Health) -> bool {
        match self.seen {
            Seen::Unanswered | Seen::Down => true,
            Seen::Nothing => self.boot().is_some() && self.streak >= health.down_after,
            Seen::Up => false,
        }
    }

    fn boot(&self) -> Option<&Boot> {
        self.rare.as_ref()?.boot.as_ref()
    }

    fn end_boot(&mut self) {
        if let Some(rare) = &mut self.rare {
            rare.boot = None;
        }
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }
}

/// Smooths the round-trip time by RFC 6298, 2.3, with alpha = 1/8.
fn smooth(known: Option<Duration>, rtt: Duration) -> Duration {
    known.map_or(rtt, |known| (known * 7 + rtt) / 8)
}
