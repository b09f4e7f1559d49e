//! What is seen of the firewall: who disturbs our rules, who blocks what they accept.

pub(crate) mod drops;
use std::sync::Arc;
use std::time::Duration;

use super::context::Context;
use super::resync::Resyncs;
use super::transition::Transition;
use crate::event::{Blocker, Event, Firewall, Instant, Output, RuleCount, Traffic};
use drops::Drops;

/// How many disturbances of our rules, each within [`FIGHT_GAP`] of the one before, are a fight:
/// from then on they are put back once in [`FIGHT_PACE`], until there was none for [`FIGHT_END`].
const FIGHT_ROUNDS: u32 = 40;
const FIGHT_GAP: Duration = Duration::from_millis(250);
const FIGHT_PACE: Duration = Duration::from_secs(1);
const FIGHT_END: Duration = Duration::from_secs(30);

/// Holds what was seen of the firewall.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FirewallFacts {
    /// another tool's chain that drops our traffic, as its rules read
    blocker: Option<Blocker>,
    /// new connections that got through in spite of it, none of them lost
    passed: u64,
    /// uplinks that carry none of it now, and what would drop it there
    pub spare: Vec<(String, Blocker)>,
    /// of what is promised beside that: what would drop it
    pub traffic: Vec<(Traffic, Blocker)>,
    /// what nodes ask for on the cluster port does not reach our server, though nothing is seen to
    /// drop it
    pub unheard: bool,
    /// what our forward chain accepts does not arrive at postrouting
    pub swallowed: bool,
    /// new connections in a row of which none arrived there
    lost: u64,
    /// times the rules were put back
    pub repaired: u64,
    /// another program takes our rules away as often as we put them back: its name, if known
    pub fight: Option<Option<String>>,
    /// what our own rules drop
    pub drops: Drops,
    /// what each of our rules has counted, as last read
    pub rules: Arc<[RuleCount]>,
    counters: Option<(u64, u64)>,
    /// disturbances in a row, and the last of them
    streak: u32,
    disturbed_at: Option<Instant>,
    repair_at: Option<Instant>,
    /// our rules are to be put back
    resyncs: Resyncs,
}

/// How many new connections that get through, one after the other, are believed more than what the
/// rules read like.
const PROOF: u64 = 3;

impl FirewallFacts {
    /// Takes in what is seen of the firewall.
    pub(super) fn handle(&mut self, event: &Event, context: Context<'_>) -> Option<Transition> {
        let Event::Firewall(firewall) = event else { return None };
        match firewall {
            Firewall::Disturbed { by } => {
                return self.handle_disturbance(by.as_deref(), context);
            }
            Firewall::Blocked(blocker) => self.handle_blocker(blocker.as_ref()),
            Firewall::BlockedSpare(spare) => self.spare.clone_from(spare),
            Firewall::BlockedTraffic(traffic) => self.traffic.clone_from(traffic),
            Firewall::Unheard(unheard) => self.unheard = *unheard,
            Firewall::Counters { forwarded, postrouted } => self.count(*forwarded, *postrouted),
            Firewall::Rules(rules) => self.rules = Arc::clone(rules),
            Firewall::Dropped(dropped) => self.drops.count(dropped, context.now),
        }
        None
    }

    /// Lets time pass.
    pub(super) fn refresh(&mut self, now: Instant) {
        if self.repair_is_due(now) {
            self.resyncs.note(Output::Firewall);
        }
        self.drops.refresh(now);
    }

    /// Returns the next moment after `now` at which time alone changes something.
    pub(super) fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let end = self.disturbed_at.filter(|_| self.fight.is_some()).map(|at| at + FIGHT_END);
        let repair = self.repair_at.into_iter().chain(end);
        repair.chain(self.drops.next_deadline()).filter(|at| *at > now).min()
    }

    fn handle_blocker(&mut self, blocker: Option<&Blocker>) {
        // What was lost up to now was lost to the chain before.
        if self.blocker.is_some() && self.blocker.as_ref() != blocker {
            (self.counters, self.lost, self.swallowed) = (None, 0, false);
        }
        self.blocker = blocker.cloned();
        self.passed = 0;
    }

    fn handle_disturbance(&mut self, by: Option<&str>, context: Context<'_>) -> Option<Transition> {
        if !context.puts_back() {
            return None;
        }
        self.repaired += 1;
        if self.fights(by, context.now) {
            return None;
        }
        self.resyncs.note(Output::Firewall);
        let what = "the rule set was changed or flushed".to_owned();
        Some(Transition::Disturbed { output: Output::Firewall, what, by: by.map(str::to_owned) })
    }

    /// Returns once whether our rules are to be put back.
    pub(super) fn take_resyncs(&mut self) -> Resyncs {
        std::mem::take(&mut self.resyncs)
    }

    /// Returns another tool's chain that drops our traffic, unless packets do get through.
    pub fn blocker(&self) -> Option<&Blocker> {
        self.blocker.as_ref().filter(|_| self.passed < PROOF)
    }

    /// Counters, read back. A new rule set begins at zero.
    fn count(&mut self, forwarded: u64, postrouted: u64) {
        let Some((forwarded_before, postrouted_before)) =
            self.counters.replace((forwarded, postrouted))
        else {
            return;
        };
        let (tried, through) = (
            forwarded.saturating_sub(forwarded_before),
            postrouted.saturating_sub(postrouted_before),
        );
        // Readings may follow one another closely: few of them hold as many attempts as prove
        // anything.
        self.lost = if through > 0 { 0 } else { self.lost.saturating_add(tried) };
        if through > 0 || self.lost >= PROOF {
            self.swallowed = through == 0;
        }
        self.passed = if through < tried { 0 } else { self.passed.saturating_add(through) };
    }

    /// Takes one disturbance in. True while it is a fight, in which our next move waits.
    pub(super) fn fights(&mut self, by: Option<&str>, now: Instant) -> bool {
        let quick = self.disturbed_at.is_some_and(|at| now.saturating_since(at) < FIGHT_GAP);
        self.streak = if quick { self.streak.saturating_add(1) } else { 0 };
        self.disturbed_at = Some(now);
        if self.fight.is_none() && self.streak < FIGHT_ROUNDS {
            return false;
        }
        // Without the number of the process, which may be another one each time.
        let name = by.and_then(|by| by.split(' ').next()).map(str::to_owned);
        self.fight = Some(name.or(self.fight.take().flatten()));
        self.repair_at.get_or_insert(now + FIGHT_PACE);
        true
    }

    pub(super) fn repair_is_due(&mut self, now: Instant) -> bool {
        if self.disturbed_at.is_some_and(|at| now.saturating_since(at) >= FIGHT_END) {
            self.fight = None;
        }
        self.repair_at.take_if(|at| *at <= now).is_some()
    }
}

#[cfg(test)]
mod tests;
