//! Schedules the requests to nodes and evaluates the replies. Has no socket and reads no clock.
//!
//! A round sends each of a node's probes, and up to two more tries if there is no reply; a reply to
//! any of the three counts until the round ends. Up to sixteen nodes are probed together, more are
//! spread evenly over the interval. The cost of a wake-up depends on the requests in flight, not on
//! the number of nodes.

mod ask;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use self::ask::{Ask, Stage, asks_of, micros};
use super::{Key, NodeProbePlan, NodeTarget, PROBES, Reply, Request};
use crate::event::{NodeId, Round};

/// Maximum number of tries of a probe per round.
pub const TRIES: u8 = 3;
/// Maximum number of nodes that are probed together: spreading so few would cost extra wake-ups.
const TOGETHER: usize = 16;
/// Minimum time between wake-ups with more nodes than that.
pub const TICK: Duration = Duration::from_millis(10);
/// Number of consecutive failed rounds after which a node is silent; a single one may be due to a
/// burst of loss.
const SILENT_ROUNDS: u8 = 2;
/// Maximum number of requests passed to one kind of probe at a time.
const BATCH: usize = 1024;

/// Holds the rounds of all nodes.
#[derive(Debug)]
pub struct ProbeScheduler {
    plan: NodeProbePlan,
    /// The probes of all nodes, in the order of the plan.
    asks: Vec<Ask>,
    /// Index of each node's first probe, and as last element the total.
    firsts: Vec<u32>,
    /// Index of a node in the plan, by the slot of its ID.
    positions: Vec<Option<u32>>,
    /// Probes whose round is in progress, oldest first.
    open: Vec<u32>,
    /// Queue of requests to send, for each kind of probe.
    due: Vec<VecDeque<u32>>,
    /// The next node to start in this pass over all nodes.
    cursor: usize,
    /// When this pass began.
    pass: Instant,
    last_tick: Instant,
    turn: u32,
    /// Addresses of nodes that have just become silent.
    silent: Vec<IpAddr>,
}

impl ProbeScheduler {
    pub fn new(now: Instant) -> Self {
        Self {
            plan: NodeProbePlan::default(),
            asks: Vec::new(),
            firsts: vec![0],
            positions: Vec::new(),
            open: Vec::new(),
            due: vec![VecDeque::new(); PROBES.len()],
            cursor: 0,
            pass: now,
            last_tick: now,
            turn: 0,
            silent: Vec::new(),
        }
    }

    pub fn plan(&self) -> &NodeProbePlan {
        &self.plan
    }

    /// Applies a new plan. Unchanged nodes continue their rounds; new ones, if few, start at once.
    pub fn replan(&mut self, plan: &NodeProbePlan, now: Instant) {
        let before = std::mem::replace(self, Self::new(now));
        let was_empty = before.plan.nodes.is_empty();
        (self.turn, self.last_tick) = (before.turn, before.last_tick);
        self.plan = plan.clone();
        let mut fresh = Vec::new();
        for (position, target) in (0_u32..).zip(plan.nodes.iter()) {
            match before.known(target) {
                Some(asks) => {
                    self.asks.extend(asks.iter().map(|ask| Ask { node: position, ..ask.clone() }))
                }
                None => {
                    fresh.push(position);
                    self.asks.extend(asks_of(position, target, now));
                }
            }
            self.firsts.push(u32::try_from(self.asks.len()).unwrap_or(u32::MAX));
            let slot = target.node.slot as usize;
            if self.positions.len() <= slot {
                self.positions.resize(slot + 1, None);
            }
            if let Some(known) = self.positions.get_mut(slot) {
                *known = Some(position);
            }
        }
        for (index, ask) in (0_u32..).zip(&self.asks) {
            if ask.stage == Stage::Due {
                enqueue(&mut self.due, ask.kind, index);
            }
            if ask.stage != Stage::Idle && ask.tries > 0 {
                self.open.push(index);
            }
        }
        if !was_empty {
            self.pass = before.pass;
            // Continue with the first remaining node from the old cursor on.
            let mut rest = before.plan.nodes.iter().skip(before.cursor);
            self.cursor =
                rest.find_map(|known| self.position(known.node)).unwrap_or(plan.nodes.len());
        }
        if fresh.len() <= TOGETHER {
            fresh.into_iter().for_each(|position| self.begin_node(position as usize, now));
            if was_empty {
                self.cursor = plan.nodes.len();
            }
        }
    }

    /// Returns the probes of a node whose target is unchanged.
    fn known(&self, target: &NodeTarget) -> Option<&[Ask]> {
        let position = self.position(target.node)?;
        self.plan.nodes.get(position).filter(|known| *known == target)?;
        self.asks.get(self.span(position))
    }

    /// Returns the index of a node in the plan.
    fn position(&self, node: NodeId) -> Option<usize> {
        let position = (*self.positions.get(node.slot as usize)?)? as usize;
        self.plan.nodes.get(position).filter(|known| known.node == node).map(|_| position)
    }

    /// Returns the range of a node's probes in `asks`.
    fn span(&self, position: usize) -> std::ops::Range<usize> {
        let at = |position: usize| self.firsts.get(position).map_or(0, |first| *first as usize);
        at(position)..at(position + 1)
    }

    /// Starts the rounds that are due.
    pub fn begin(&mut self, now: Instant) {
        let total = self.plan.nodes.len();
        self.last_tick = now;
        if total == 0 {
            return;
        }
        let interval = self.plan.interval;
        if self.cursor >= total {
            let next = self.pass + interval;
            if now < next {
                return;
            }
            // Rounds missed while suspended are not made up for.
            self.pass = if now > next + interval { now } else { next };
            self.cursor = 0;
        }
        let until = if total <= TOGETHER {
            total
        } else {
            let passed = (now - self.pass).as_nanos() * total as u128 / interval.as_nanos().max(1);
            let per_tick = TICK.as_nanos() * total as u128 / interval.as_nanos().max(1) + 1;
            // Catch up after a delay at twice the rate, not all at once.
            let limit = self.cursor as u128 + 2 * per_tick;
            usize::try_from((passed + 1).min(limit)).unwrap_or(total).min(total)
        };
        for position in self.cursor..until {
            self.begin_node(position, now);
        }
        self.cursor = self.cursor.max(until);
    }

    fn begin_node(&mut self, position: usize, now: Instant) {
        let span = self.span(position);
        let Some(asks) = self.asks.get_mut(span.clone()) else { return };
        if asks.iter().any(|ask| ask.stage != Stage::Idle) {
            // The previous round is not over: its requests are still queued.
            return;
        }
        self.turn = self.turn.wrapping_add(1);
        for (index, ask) in span.zip(asks) {
            (ask.stage, ask.tries, ask.turn, ask.first_lost, ask.begun) =
                (Stage::Due, 0, self.turn, false, now);
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            enqueue(&mut self.due, ask.kind, index);
        }
    }

    /// Processes a reply.
    pub fn answered(&mut self, reply: &Reply, now: Instant) {
        let Some(position) = self.position(reply.key.node) else { return };
        let Some(target) = self.plan.nodes.get(position) else { return };
        if reply.from.is_some_and(|from| from != target.address) {
            return;
        }
        let span = self.span(position);
        let mut asks = self.asks.get_mut(span).unwrap_or_default().iter_mut();
        let Some(ask) = asks.find(|ask| ask.probe == reply.key.probe) else { return };
        let passed = now.saturating_duration_since(ask.begun);
        let in_progress = ask.turn == reply.key.turn
            && matches!(ask.stage, Stage::Due | Stage::Waiting)
            && ask.tries > 0;
        if in_progress {
            // A longer round trip than the round is due to a change of the wall clock.
            ask.rtt = micros(reply.rtt.filter(|rtt| *rtt <= passed).unwrap_or(passed));
            ask.first_lost = reply.key.nth > 0;
            ask.stage = Stage::Answered;
        } else if let Some(rtt) = reply.rtt.filter(|_| ask.failures > 0) {
            // Too late for its round, but it determines the timeout of the next one.
            ask.smoothed = Some(micros(rtt).min(ask.longest(micros(self.plan.timeout))));
        }
    }

    /// Ends rounds and queues second and third tries. Appends the results of ended rounds.
    pub fn settle(&mut self, now: Instant, ended: &mut Vec<Round>) {
        let longest = self.longest();
        let mut open = std::mem::take(&mut self.open);
        open.retain(|index| {
            let Some(ask) = self.asks.get_mut(*index as usize) else { return false };
            let passed = now.saturating_duration_since(ask.begun);
            match ask.stage {
                Stage::Waiting if passed < ask.timeout(longest) => return true,
                Stage::Waiting if ask.tries < TRIES => {
                    ask.stage = Stage::Due;
                    enqueue(&mut self.due, ask.kind, *index);
                    return true;
                }
                Stage::Due => return true,
                Stage::Waiting => ask.stage = Stage::Failed,
                Stage::Answered | Stage::Failed | Stage::Denied | Stage::Idle => {}
            }
            let node = ask.node as usize;
            ended.extend(self.result(node));
            false
        });
        self.open = open;
    }

    /// Returns the result of a node's round, if all its probes have ended and at least one was
    /// permitted.
    fn result(&mut self, position: usize) -> Option<Round> {
        let NodeTarget { node, address, .. } = *self.plan.nodes.get(position)?;
        let span = self.span(position);
        let asks = self.asks.get_mut(span)?;
        if !asks
            .iter()
            .all(|ask| matches!(ask.stage, Stage::Answered | Stage::Failed | Stage::Denied))
        {
            return None;
        }
        let mut permitted = asks.iter().filter(|ask| ask.stage != Stage::Denied);
        let healthy = permitted.clone().all(|ask| ask.stage == Stage::Answered);
        let first_lost = permitted.clone().any(|ask| ask.first_lost || ask.stage == Stage::Failed);
        let round = permitted.next().map(|ask| Round {
            node,
            rtt: healthy.then(|| Duration::from_micros(ask.rtt.into())),
            first_lost,
        });
        // A denied probe is left out: its earlier failures were counted in their own rounds.
        let silent = asks.iter_mut().filter_map(|ask| ask.end().then_some(ask.failures));
        if silent.filter(|failures| *failures == SILENT_ROUNDS).count() > 0 {
            self.silent.push(address);
        }
        round
    }

    /// Returns the addresses of nodes that have become silent since the last call.
    pub fn take_silent(&mut self) -> Vec<IpAddr> {
        std::mem::take(&mut self.silent)
    }

    /// Takes requests from the queue of this kind of probe. Returns their indices, for
    /// [`Self::sent`], as well.
    pub fn requests(&mut self, kind: usize) -> (Vec<u32>, Vec<Request<'_>>) {
        let longest = self.longest();
        let queued = self.due.get(kind).map_or(0, VecDeque::len);
        let mut indices = Vec::with_capacity(queued.min(BATCH));
        while let Some(index) =
            self.due.get_mut(kind).filter(|_| indices.len() < BATCH).and_then(VecDeque::pop_front)
        {
            // Skip those answered in the meantime, to an earlier try.
            if self.asks.get(index as usize).is_some_and(|ask| ask.stage == Stage::Due) {
                indices.push(index);
            }
        }
        let mut requests = Vec::with_capacity(indices.len());
        requests.extend(indices.iter().filter_map(|index| self.request(longest, *index)));
        (indices, requests)
    }

    /// Returns the request of a probe.
    fn request(&self, longest: u32, index: u32) -> Option<Request<'_>> {
        let ask = self.asks.get(index as usize)?;
        let target = self.plan.nodes.get(ask.node as usize)?;
        let key = Key { node: target.node, turn: ask.turn, probe: ask.probe, nth: ask.tries };
        let probe = target.probes.get(usize::from(ask.probe))?;
        let within = Duration::from_micros(ask.steps(longest).2.into());
        Some(Request { key, address: target.address, mac: target.mac, probe, within })
    }

    /// Records that the first `taken` of these were sent at `now`, and queues the rest again.
    pub fn sent(&mut self, kind: usize, indices: &[u32], taken: usize, now: Instant) {
        for index in indices.iter().take(taken) {
            let Some(ask) = self.open_round(*index, now) else { continue };
            ask.tries += 1;
            ask.stage = Stage::Waiting;
        }
        let Some(due) = self.due.get_mut(kind) else { return };
        indices.iter().skip(taken).rev().for_each(|index| due.push_front(*index));
    }

    /// Records that none of these could be sent at `now` for lack of permission. They end for this
    /// round.
    pub fn denied(&mut self, indices: &[u32], now: Instant) {
        for index in indices {
            let Some(ask) = self.open_round(*index, now) else { continue };
            ask.tries = TRIES;
            ask.stage = Stage::Denied;
        }
    }

    /// Returns a probe; its round begins at `now` if this is the first try.
    fn open_round(&mut self, index: u32, now: Instant) -> Option<&mut Ask> {
        let ask = self.asks.get_mut(index as usize)?;
        if ask.tries == 0 {
            ask.begun = now;
            self.open.push(index);
        }
        Some(ask)
    }

    /// Returns whether any node has this kind of probe.
    pub fn asks(&self, kind: usize) -> bool {
        self.asks.iter().any(|ask| usize::from(ask.kind) == kind)
    }

    /// Returns the next deadline; `None` without probes.
    pub fn next(&self) -> Option<Instant> {
        let total = self.plan.nodes.len();
        if self.asks.is_empty() {
            return None;
        }
        let share = self.plan.interval.as_nanos() * self.cursor as u128 / total.max(1) as u128;
        let node = self.pass + if self.cursor >= total { self.plan.interval } else { nanos(share) };
        let longest = self.longest();
        let steps = self.open.iter().filter_map(|index| self.asks.get(*index as usize));
        let step = steps.map(|ask| ask.begun + ask.timeout(longest)).min();
        let due = self.due.iter().any(|due| !due.is_empty()).then(|| self.last_tick + TICK);
        let next = step.into_iter().chain(due).fold(node, Instant::min);
        Some(if total > TOGETHER { next.max(self.last_tick + TICK) } else { next })
    }

    /// Returns the default maximum length of a round, in microseconds.
    fn longest(&self) -> u32 {
        micros(self.plan.timeout.min(self.plan.interval))
    }
}

/// Appends a request to the queue of its kind of probe.
fn enqueue(due: &mut [VecDeque<u32>], kind: u8, index: u32) {
    if let Some(queue) = due.get_mut(usize::from(kind)) {
        queue.push_back(index);
    }
}

fn nanos(count: u128) -> Duration {
    Duration::from_nanos(u64::try_from(count).unwrap_or(u64::MAX))
}
