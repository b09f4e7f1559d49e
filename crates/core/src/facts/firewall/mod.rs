//! Observations of the firewall: programs that change our rules, or block what they accept.

pub(crate) mod drops;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use super::context::Context;
use super::resync::Resyncs;
use super::transition::Transition;
use crate::event::{Blocker, Event, Firewall, Instant, Output, RuleCount, Traffic};
use drops::Drops;

/// Number of disturbances of our rules, each within [`FIGHT_GAP`] of the previous one, that are a
/// fight: from then on the rules are restored once per [`FIGHT_PACE`], until there was no
/// disturbance for [`FIGHT_END`].
const FIGHT_ROUNDS: u32 = 40;
const FIGHT_GAP: Duration = Duration::from_millis(250);
const FIGHT_PACE: Duration = Duration::from_secs(1);
const FIGHT_END: Duration = Duration::from_secs(30);

/// Holds the observations of the firewall.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FirewallFacts {
    /// Another program's chain that drops the forwarded traffic, according to its rules.
    blocker: Option<Blocker>,
    /// Consecutive new connections that passed despite `blocker`.
    passed: u64,
    /// Uplinks that carry no traffic of the nodes now, with the chain that would drop it there.
    pub spare: Vec<(String, Blocker)>,
    /// Other required traffic, with the chain that would drop it.
    pub traffic: Vec<(Traffic, Blocker)>,
    /// DHCP requests on the cluster port do not reach our server.
    pub unheard: bool,
    /// Packets that our forward chain accepts do not reach postrouting.
    pub swallowed: bool,
    /// Consecutive new connections that did not reach postrouting.
    lost: u64,
    /// Number of times the rules were restored.
    pub repaired: u64,
    /// Another program removes our rules as often as they are restored: its name, if known.
    pub fight: Option<Option<String>>,
    /// Drops by our own rules.
    pub drops: Drops,
    /// Counters of our rules, as last read.
    pub rules: Arc<[RuleCount]>,
    counters: Option<(u64, u64)>,
    /// Consecutive disturbances, each within [`FIGHT_GAP`].
    streak: u32,
    disturbed_at: Option<Instant>,
    repair_at: Option<Instant>,
    resyncs: Resyncs,
}

/// Number of consecutive connections whose outcome overrides what the rules suggest.
const PROOF: u64 = 3;

impl FirewallFacts {
    /// Processes an observation of the firewall.
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

    /// Processes the deadlines that have passed.
    pub(super) fn refresh(&mut self, now: Instant) {
        if self.repair_is_due(now) {
            self.resyncs.note(Output::Firewall);
        }
        self.drops.refresh(now);
    }

    /// Returns the next time after `now` at which the state changes without an event.
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
        if !context.repairs_drift() {
            return None;
        }
        self.repaired += 1;
        if self.is_fight(by, context.now) {
            return None;
        }
        self.resyncs.note(Output::Firewall);
        let what = "the rule set was changed or flushed".to_owned();
        Some(Transition::Disturbed { output: Output::Firewall, what, by: by.map(str::to_owned) })
    }

    pub(super) fn take_resyncs(&mut self) -> Resyncs {
        std::mem::take(&mut self.resyncs)
    }

    /// Returns another program's chain that drops the forwarded traffic, unless packets still pass.
    pub fn blocker(&self) -> Option<&Blocker> {
        self.blocker.as_ref().filter(|_| self.passed < PROOF)
    }

    /// Compares counters with the previous reading. A new rule set begins at zero.
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
        // Accumulated, as a single reading rarely contains enough connections to be a proof.
        self.lost = if through > 0 { 0 } else { self.lost.saturating_add(tried) };
        if through > 0 || self.lost >= PROOF {
            self.swallowed = through == 0;
        }
        self.passed = if through < tried { 0 } else { self.passed.saturating_add(through) };
    }

    /// Counts a disturbance. Returns whether it is part of a fight, so that the repair is delayed.
    pub(super) fn is_fight(&mut self, by: Option<&str>, now: Instant) -> bool {
        let quick = self.disturbed_at.is_some_and(|at| now.saturating_since(at) < FIGHT_GAP);
        self.streak = if quick { self.streak.saturating_add(1) } else { 0 };
        self.disturbed_at = Some(now);
        if self.fight.is_none() && self.streak < FIGHT_ROUNDS {
            return false;
        }
        // Without the PID, which may differ each time.
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
