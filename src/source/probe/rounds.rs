//! Who is asked when, and what came of it. Knows no socket and reads no clock.
//!
//! A round asks each of a node's probes, and those that are not answered twice more; an answer to any of the three counts until
//! the round ends. Up to sixteen nodes are asked together, more are spread evenly over the interval. What happens at a moment
//! costs what is underway, not what there is.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::{Answer, Key, NodeProbePlan, NodeTarget, PROBES, Question};
use crate::event::{NodeId, Round};

/// A round asks at most so often.
pub const TRIES: u8 = 3;
/// The first try is given so many smoothed round trips before the second.
const PATIENCE: u32 = 4;
const SHORTEST_WAIT: Duration = Duration::from_millis(5);
/// So many nodes are asked together; a wake-up for each would cost more than it spreads.
const TOGETHER: usize = 16;
/// With more nodes: how long one wake-up's work is put together.
pub const TICK: Duration = Duration::from_millis(10);
/// Most questions that are put to one kind of probe at a time.
const AT_ONCE: usize = 1024;
/// Most probes of a node that are looked at.
const MOST_PROBES: usize = 32;

/// How far a question is in its round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// no round is underway
    Idle,
    /// to be sent
    Due,
    Waiting,
    Answered,
    Failed,
}

/// One probe of one node.
#[derive(Debug, Clone)]
struct Ask {
    /// place of the node
    node: u32,
    probe: u8,
    /// place in [`PROBES`]
    kind: u8,
    stage: Stage,
    tries: u8,
    first_lost: bool,
    /// rounds failed in a row
    failures: u8,
    turn: u32,
    begun: Instant,
    rtt: Duration,
    /// RFC 6298, 2.3
    smoothed: Option<Duration>,
}

/// See the module.
#[derive(Debug)]
pub struct Rounds {
    plan: NodeProbePlan,
    /// of all nodes, in their order
    asks: Vec<Ask>,
    /// where a node's begin; one more than there are nodes
    firsts: Vec<u32>,
    /// by the slot of a node's number, its place
    places: Vec<Option<u32>>,
    /// questions whose round is underway, oldest first
    open: Vec<u32>,
    /// questions to be sent, for each kind of probe
    due: Vec<VecDeque<u32>>,
    /// the next node to be asked in this pass over all nodes, and when the pass began
    cursor: usize,
    pass: Instant,
    last_tick: Instant,
    turn: u32,
}

impl Rounds {
    pub fn new(now: Instant) -> Self {
        Self {
            plan: NodeProbePlan::default(),
            asks: Vec::new(),
            firsts: vec![0],
            places: Vec::new(),
            open: Vec::new(),
            due: vec![VecDeque::new(); PROBES.len()],
            cursor: 0,
            pass: now,
            last_tick: now,
            turn: 0,
        }
    }

    pub fn plan(&self) -> &NodeProbePlan {
        &self.plan
    }

    /// Other nodes, or others' probes. Those that stay go on where they are; a handful of new ones is asked at once.
    pub fn replan(&mut self, plan: &NodeProbePlan, now: Instant) {
        let before = std::mem::replace(self, Self::new(now));
        let was_empty = before.plan.nodes.is_empty();
        (self.turn, self.last_tick) = (before.turn, before.last_tick);
        self.plan = plan.clone();
        let mut fresh = Vec::new();
        for (place, target) in (0_u32..).zip(plan.nodes.iter()) {
            match before.known(target) {
                Some(asks) => self.asks.extend(asks.iter().map(|ask| Ask { node: place, ..ask.clone() })),
                None => {
                    fresh.push(place);
                    self.asks.extend(asks_of(place, target, now));
                }
            }
            self.firsts.push(u32::try_from(self.asks.len()).unwrap_or(u32::MAX));
            let slot = target.node.slot as usize;
            if self.places.len() <= slot {
                self.places.resize(slot + 1, None);
            }
            self.places.get_mut(slot).into_iter().for_each(|known| *known = Some(place));
        }
        for (index, ask) in (0_u32..).zip(&self.asks) {
            if ask.stage == Stage::Due {
                self.due.get_mut(usize::from(ask.kind)).into_iter().for_each(|due| due.push_back(index));
            }
            if ask.stage != Stage::Idle && ask.tries > 0 {
                self.open.push(index);
            }
        }
        if !was_empty {
            self.pass = before.pass;
            // On with the one that would have been next, or the first behind it that is still there.
            let mut rest = before.plan.nodes.iter().skip(before.cursor);
            self.cursor = rest.find_map(|known| self.place(known.node)).unwrap_or(plan.nodes.len());
        }
        if fresh.len() <= TOGETHER {
            fresh.into_iter().for_each(|place| self.begin_node(place as usize, now));
            if was_empty {
                self.cursor = plan.nodes.len();
            }
        }
    }

    /// The questions of a node that is asked the same as before.
    fn known(&self, target: &NodeTarget) -> Option<&[Ask]> {
        let place = self.place(target.node)?;
        self.plan.nodes.get(place).filter(|known| *known == target)?;
        self.asks.get(self.span(place))
    }

    fn place(&self, node: NodeId) -> Option<usize> {
        let place = (*self.places.get(node.slot as usize)?)? as usize;
        self.plan.nodes.get(place).filter(|known| known.node == node).map(|_| place)
    }

    fn span(&self, place: usize) -> std::ops::Range<usize> {
        let at = |place: usize| self.firsts.get(place).map_or(0, |first| *first as usize);
        at(place)..at(place + 1)
    }

    /// Begins the rounds whose time has come.
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
            // Rounds that were slept through are not made up for.
            self.pass = if now > next + interval { now } else { next };
            self.cursor = 0;
        }
        let until = if total <= TOGETHER {
            total
        } else {
            let passed = (now - self.pass).as_nanos() * total as u128 / interval.as_nanos().max(1);
            let in_a_tick = TICK.as_nanos() * total as u128 / interval.as_nanos().max(1) + 1;
            // After a delay faster, but not all at once.
            let most = self.cursor as u128 + 2 * in_a_tick;
            usize::try_from((passed + 1).min(most)).unwrap_or(total).min(total)
        };
        for place in self.cursor..until {
            self.begin_node(place, now);
        }
        self.cursor = self.cursor.max(until);
    }

    fn begin_node(&mut self, place: usize, now: Instant) {
        let span = self.span(place);
        let Some(asks) = self.asks.get_mut(span.clone()) else { return };
        if asks.iter().any(|ask| ask.stage != Stage::Idle) {
            // The round before is not over: there was no room for its questions.
            return;
        }
        self.turn = self.turn.wrapping_add(1);
        for (index, ask) in span.zip(asks) {
            (ask.stage, ask.tries, ask.turn, ask.first_lost, ask.begun) = (Stage::Due, 0, self.turn, false, now);
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            self.due.get_mut(usize::from(ask.kind)).into_iter().for_each(|due| due.push_back(index));
        }
    }

    /// Takes an answer in.
    pub fn answered(&mut self, answer: &Answer, now: Instant) {
        let Some(place) = self.place(answer.key.node) else { return };
        let Some(target) = self.plan.nodes.get(place) else { return };
        if answer.from.is_some_and(|from| from != target.address) {
            return;
        }
        let span = self.span(place);
        let mut asks = self.asks.get_mut(span).unwrap_or_default().iter_mut();
        let Some(ask) = asks.find(|ask| ask.probe == answer.key.probe) else { return };
        // No longer than since the round began: the wall clock may have been set in between.
        let passed = now.saturating_duration_since(ask.begun);
        let underway = ask.turn == answer.key.turn && matches!(ask.stage, Stage::Due | Stage::Waiting) && ask.tries > 0;
        if underway {
            ask.rtt = answer.rtt.filter(|rtt| *rtt <= passed).unwrap_or(passed);
            ask.first_lost = answer.key.nth > 0;
            ask.stage = Stage::Answered;
        } else if let Some(rtt) = answer.rtt.filter(|_| ask.failures > 0) {
            // Too late for its round, but it says how much patience the next one needs.
            ask.smoothed = Some(rtt.min(self.plan.timeout));
        }
    }

    /// Ends rounds and orders second and third tries; adds the results of the rounds that ended.
    pub fn settle(&mut self, now: Instant, ended: &mut Vec<Round>) {
        let longest = self.longest();
        let mut open = std::mem::take(&mut self.open);
        open.retain(|index| {
            let Some(ask) = self.asks.get_mut(*index as usize) else { return false };
            let passed = now.saturating_duration_since(ask.begun);
            match ask.stage {
                Stage::Waiting if passed < ask.patience(longest) => return true,
                Stage::Waiting if ask.tries < TRIES => {
                    ask.stage = Stage::Due;
                    self.due.get_mut(usize::from(ask.kind)).into_iter().for_each(|due| due.push_back(*index));
                    return true;
                }
                Stage::Due => return true,
                Stage::Waiting => ask.stage = Stage::Failed,
                Stage::Answered | Stage::Failed | Stage::Idle => {}
            }
            let node = ask.node as usize;
            ended.extend(self.result(node));
            false
        });
        self.open = open;
    }

    /// The result of a node's round, if all its questions have ended.
    fn result(&mut self, place: usize) -> Option<Round> {
        let node = self.plan.nodes.get(place)?.node;
        let span = self.span(place);
        let asks = self.asks.get_mut(span)?;
        if !asks.iter().all(|ask| matches!(ask.stage, Stage::Answered | Stage::Failed)) {
            return None;
        }
        let well = asks.iter().all(|ask| ask.stage == Stage::Answered);
        let first_lost = asks.iter().any(|ask| ask.first_lost || ask.stage == Stage::Failed);
        let rtt = asks.first().filter(|_| well).map(|ask| ask.rtt);
        asks.iter_mut().for_each(Ask::end);
        Some(Round { node, rtt, first_lost })
    }

    /// The questions to be put to this kind of probe now, and their places for [`Self::sent`].
    pub fn questions(&mut self, kind: usize) -> (Vec<u32>, Vec<Question<'_>>) {
        let longest = self.longest();
        let mut indices = Vec::new();
        while let Some(index) = self.due.get_mut(kind).filter(|_| indices.len() < AT_ONCE).and_then(VecDeque::pop_front)
        {
            // Answered in the meantime, to an earlier try.
            if self.asks.get(index as usize).is_some_and(|ask| ask.stage == Stage::Due) {
                indices.push(index);
            }
        }
        let question = |index: &u32| {
            let ask = self.asks.get(*index as usize)?;
            let target = self.plan.nodes.get(ask.node as usize)?;
            let key = Key { node: target.node, turn: ask.turn, probe: ask.probe, nth: ask.tries };
            let probe = target.probes.get(usize::from(ask.probe))?;
            Some(Question { key, address: target.address, probe, within: ask.steps(longest).2 })
        };
        let questions = indices.iter().filter_map(question).collect();
        (indices, questions)
    }

    /// The first `taken` of these were sent at `now`; the rest stays due.
    pub fn sent(&mut self, kind: usize, indices: &[u32], taken: usize, now: Instant) {
        for index in indices.iter().take(taken) {
            let Some(ask) = self.asks.get_mut(*index as usize) else { continue };
            if ask.tries == 0 {
                ask.begun = now;
                self.open.push(*index);
            }
            ask.tries += 1;
            ask.stage = Stage::Waiting;
        }
        let Some(due) = self.due.get_mut(kind) else { return };
        indices.iter().skip(taken).rev().for_each(|index| due.push_front(*index));
    }

    /// When there is something to do next; `None`: not before there is another plan.
    pub fn next(&self) -> Option<Instant> {
        let total = self.plan.nodes.len();
        if self.asks.is_empty() {
            return None;
        }
        let share = self.plan.interval.as_nanos() * self.cursor as u128 / total.max(1) as u128;
        let node = self.pass + if self.cursor >= total { self.plan.interval } else { nanos(share) };
        let longest = self.longest();
        let steps = self.open.iter().filter_map(|index| self.asks.get(*index as usize));
        let step = steps.map(|ask| ask.begun + ask.patience(longest)).min();
        let due = self.due.iter().any(|due| !due.is_empty()).then(|| self.last_tick + TICK);
        let next = step.into_iter().chain(due).fold(node, Instant::min);
        Some(if total > TOGETHER { next.max(self.last_tick + TICK) } else { next })
    }

    /// A round is over after this long.
    fn longest(&self) -> Duration {
        self.plan.timeout.min(self.plan.interval)
    }
}

impl Ask {
    /// From the beginning of the round to the second try, to the third, and to the end.
    fn steps(&self, longest: Duration) -> (Duration, Duration, Duration) {
        let first = match self.smoothed {
            Some(rtt) => (rtt * PATIENCE).max(SHORTEST_WAIT).min(longest / 2),
            None => longest / 4,
        };
        let end = (first * 7).min(longest);
        (first, first + (end - first) / 3, end)
    }

    /// How long after its round's beginning something happens, if it is not answered.
    fn patience(&self, longest: Duration) -> Duration {
        let (second, third, end) = self.steps(longest);
        match self.tries {
            0 | 1 => second,
            2 => third,
            _ => end,
        }
    }

    fn end(&mut self) {
        if self.stage == Stage::Answered {
            self.smoothed = Some(self.smoothed.map_or(self.rtt, |known| (known * 7 + self.rtt) / 8));
            self.failures = 0;
        } else {
            self.failures = self.failures.saturating_add(1);
        }
        self.stage = Stage::Idle;
    }
}

/// A node's questions; one that is asked twice is asked once.
fn asks_of(place: u32, target: &NodeTarget, now: Instant) -> impl Iterator<Item = Ask> {
    target.probes.iter().take(MOST_PROBES).zip(0_u8..).filter_map(move |(probe, number)| {
        if target.probes.iter().take(usize::from(number)).any(|known| known == probe) {
            return None;
        }
        let kind = PROBES.iter().position(|kind| (kind.takes)(probe))?;
        Some(Ask {
            node: place,
            probe: number,
            kind: u8::try_from(kind).unwrap_or(u8::MAX),
            stage: Stage::Idle,
            tries: 0,
            first_lost: false,
            failures: 0,
            turn: 0,
            begun: now,
            rtt: Duration::ZERO,
            smoothed: None,
        })
    })
}

fn nanos(count: u128) -> Duration {
    Duration::from_nanos(u64::try_from(count).unwrap_or(u64::MAX))
}
