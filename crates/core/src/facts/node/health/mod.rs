//! From rounds of probes to health, with thresholds counted in rounds.
//!
//! What the probes say is counted all the time; a node that boots, is worked on, flaps, or answers
//! slowly or with losses shows that instead. A round costs the same whatever the number of nodes.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use super::{NodeHealth, NodeState, Nodes};
use crate::config::Health;
use crate::event::{Instant, NodeId, Round};
pub use crate::facts::transition::Trouble;

/// A node that boots and has not been heard of for this long is as its probes say.
pub const BOOTING_TIME: Duration = Duration::from_secs(180);
/// First tries that count for `degraded_loss`.
const WINDOW: u32 = u64::BITS;
/// A smoothed round trip is believed after so many rounds: the first one has the address resolution
/// in it.
const SETTLED: u8 = 8;

/// A node's health is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthChange {
    pub from: NodeHealth,
    pub to: NodeHealth,
    /// Of one that is degraded now.
    pub why: Option<Trouble>,
}

/// What the probes alone say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Seen {
    #[default]
    Nothing,
    /// Nothing either, for as many rounds as make a node down; but it may be starting still.
    Unanswered,
    Up,
    Down,
}

/// What is remembered of a node between rounds.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Watch {
    seen: Seen,
    slow: bool,
    lossy: bool,
    flapping: bool,
    maintenance: bool,
    /// It has answered once.
    answered: bool,
    /// It was asked in vain for as many rounds as make a node down.
    silent: bool,
    /// Rounds since it was last found up, as far as [`SETTLED`].
    settled: u8,
    /// Rounds in a row that contradict what was seen.
    streak: u32,
    /// The last rounds, the newest in the lowest bit: was the first try lost?
    lost: u64,
    /// What hardly a node has.
    rare: Option<Box<Rare>>,
}

#[derive(Debug, Clone, PartialEq, Default)]
struct Rare {
    /// When it went down or came up, as many as count.
    changes: VecDeque<Instant>,
    boot: Option<Boot>,
}

#[derive(Debug, Clone, PartialEq)]
struct Boot {
    stage: String,
    until: Instant,
}

impl NodeState {
    /// Returns why it is degraded; `None` if it is not.
    pub fn trouble(&self) -> Option<Trouble> {
        (self.health == NodeHealth::Degraded).then(|| self.watch.trouble()).flatten()
    }

    /// Returns whether it has answered since it is known here.
    pub fn has_answered(&self) -> bool {
        self.watch.answered
    }

    /// Returns the share of the last 64 rounds whose first try was lost, in percent; `None` of one
    /// that does not answer.
    pub fn loss_percent(&self) -> Option<u8> {
        (self.watch.seen == Seen::Up)
            .then(|| u8::try_from(self.watch.lost.count_ones() * 100 / WINDOW).unwrap_or(100))
    }

    /// Returns whether it is asked in vain, also if it shows another health: it boots, flaps, is
    /// worked on, or has not answered since the start.
    pub fn is_silent(&self) -> bool {
        self.watch.silent
    }

    /// Returns whether it was asked often enough and has not answered yet.
    pub(super) fn is_unanswered(&self) -> bool {
        self.watch.seen == Seen::Unanswered && self.watch.health() == NodeHealth::Unknown
    }

    /// Returns how far a booting node has come: the file that it loaded last.
    pub fn stage(&self) -> Option<&str> {
        let boot = self.watch.boot().filter(|_| self.health == NodeHealth::Booting);
        boot.map(|boot| boot.stage.as_str())
    }
}

impl Nodes {
    /// Takes one round in; returns when the health changed by it.
    pub fn round(&mut self, round: &Round, health: &Health, now: Instant) -> Option<HealthChange> {
        let returns = round.rtt.is_some() && self.is_return(round.node);
        let node = self.get(round.node)?;
        let is_first = round.rtt.is_some() && !node.has_answered();
        let starting = node.watch.is_new() && now < self.awaited_until(node, health.boot_grace);
        let node = self.get_mut(round.node)?;
        if returns {
            node.watch.begin_anew();
        }
        node.rtt = round.rtt.map(|rtt| smooth(node.rtt, rtt)).or(node.rtt);
        let boots = node.watch.boot().map(|boot| boot.until);
        node.watch.take(round, health, starting, now);
        let is_silent = node.watch.is_silent(health);
        let another = std::mem::replace(&mut node.watch.silent, is_silent) != is_silent;
        node.watch.judge(node.rtt, health);
        if let Some(until) = boots.filter(|_| node.watch.boot().is_none()) {
            self.booting.remove(&(until, round.node));
        }
        self.silences += u64::from(another);
        if is_first {
            self.first_answer(round.node, now);
        }
        if returns {
            return self.returns(round.node, now);
        }
        self.note_silence(round.node);
        self.show(round.node, now)
    }

    /// Takes a silent node as down: it is not starting any more.
    pub(super) fn presume_down(&mut self, id: NodeId) {
        if let Some(node) = self.get_mut(id).filter(|node| node.is_silent()) {
            (node.watch.seen, node.watch.streak) = (Seen::Down, 0);
        }
    }

    /// Takes in that the node loads `file`: it boots, and has news for a while.
    pub fn boots(&mut self, id: NodeId, file: &str, now: Instant) -> Option<HealthChange> {
        let node = self.get_mut(id)?;
        let before = node.watch.boot().map(|boot| boot.until);
        let until = now + BOOTING_TIME;
        if before.is_none() {
            node.watch.begin_anew();
        }
        node.watch.rare().boot = Some(Boot { stage: file.to_owned(), until });
        before.map(|before| self.booting.remove(&(before, id)));
        self.booting.insert((until, id));
        self.show(id, now)
    }

    /// Puts the node into maintenance, or out of it: its rounds are counted, but it raises no
    /// alarm.
    pub fn set_maintenance(&mut self, id: NodeId, on: bool, now: Instant) -> Option<HealthChange> {
        self.get_mut(id)?.watch.maintenance = on;
        self.show(id, now)
    }

    /// Returns those that boot, the one that has been silent for longest first.
    pub fn booting(&self) -> impl Iterator<Item = &NodeState> {
        let nodes = self.booting.iter().filter_map(|(_, id)| self.get(*id));
        nodes.filter(|node| node.health == NodeHealth::Booting)
    }

    /// Returns a count that goes up whenever a node falls silent or answers again.
    pub fn silences(&self) -> u64 {
        self.silences
    }

    /// Notes that from now on the nodes can be heard: those that have not answered yet may be
    /// starting.
    pub fn cable_comes(&mut self, now: Instant) {
        self.cable_since = now;
    }

    /// Returns those that were asked often enough and have not answered yet, oldest number first,
    /// and how many they are: they may be starting.
    pub fn unanswered(&self) -> (impl Iterator<Item = &NodeState>, usize) {
        (self.unanswered.iter().filter_map(|id| self.get(*id)), self.unanswered.len())
    }

    /// Returns whether some that are silent may be starting.
    pub fn may_start(&self, health: &Health, now: Instant) -> bool {
        now < self.cable_since + health.boot_grace || !self.unanswered.is_empty()
    }

    /// Returns the next moment at which time alone changes a node's health.
    pub(super) fn boot_deadline(&self) -> Option<Instant> {
        self.booting.first().map(|(until, _)| *until)
    }

    /// Nodes that have booted for too long are as their probes say.
    pub fn expire(&mut self, health: &Health, now: Instant) -> Vec<(NodeId, HealthChange)> {
        let mut transitions = Vec::new();
        while let Some((_, id)) = self.booting.first().copied().filter(|(until, _)| *until <= now) {
            self.booting.pop_first();
            let Some(node) = self.get_mut(id) else { continue };
            node.watch.end_boot();
            if node.watch.streak >= health.down_after {
                (node.watch.seen, node.watch.streak) = (Seen::Down, 0);
            }
            transitions.extend(self.show(id, now).map(|change| (id, change)));
        }
        transitions
    }

    /// Brings the health that is shown in line with what is known.
    fn show(&mut self, id: NodeId, now: Instant) -> Option<HealthChange> {
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
    /// Counts a round. `starting`: who has not answered yet cannot be expected to.
    fn take(&mut self, round: &Round, health: &Health, starting: bool, now: Instant) {
        let answered = round.rtt.is_some();
        self.answered |= answered;
        if self.seen == Seen::Up {
            self.lost = self.lost << 1 | u64::from(round.first_lost || !answered);
            self.settled = self.settled.saturating_add(1).min(SETTLED);
        }
        if self.flapping {
            self.calm(health, now);
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
        // A node that was never seen is up with its first answer: there is no reason to wait at the
        // start.
        let never = self.is_new();
        let needed = match target {
            Seen::Up if never => 1,
            Seen::Up => health.up_after,
            _ => health.down_after,
        };
        // One that boots is silent.
        if self.streak < needed || (target == Seen::Down && self.boot().is_some()) {
            return;
        }
        if never && target == Seen::Down && starting {
            self.seen = Seen::Unanswered;
            return;
        }
        if !never {
            self.changed(health, now);
        }
        (self.seen, self.streak, self.lost, self.settled) = (target, 0, 0, 0);
        (self.slow, self.lossy) = (false, false);
    }

    /// Returns whether it was neither found up nor down yet.
    fn is_new(&self) -> bool {
        matches!(self.seen, Seen::Nothing | Seen::Unanswered)
    }

    /// Begins the measurement again: its next answer is that of a system that has just begun.
    fn begin_anew(&mut self) {
        (self.seen, self.streak, self.lost) = (Seen::Nothing, 0, 0);
    }

    /// Counts that it went down or came up: so often within the window is flapping.
    fn changed(&mut self, health: &Health, now: Instant) {
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

    /// Ends the flapping once it has kept still for half of the window.
    fn calm(&mut self, health: &Health, now: Instant) {
        let last = self.rare.as_ref().and_then(|rare| rare.changes.back().copied());
        if last.is_none_or(|last| now.saturating_since(last) >= health.flap_window / 2) {
            self.flapping = false;
            self.rare().changes.clear();
        }
    }

    /// Judges whether it is slow or lossy, each with a lower bound at which it ends.
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

    /// Returns whether it is down by silence: one that boots is silent by its nature, and so not
    /// down.
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

/// Smooths the round trip by RFC 6298, 2.3, with alpha = 1/8.
fn smooth(known: Option<Duration>, rtt: Duration) -> Duration {
    known.map_or(rtt, |known| (known * 7 + rtt) / 8)
}
