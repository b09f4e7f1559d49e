//! One question of a node: how far it is in its round, and how long it waits.

use std::time::Duration;

use tokio::time::Instant;

use crate::watch::probe::{NodeTarget, PROBES};

/// The first try is given so many smoothed round trips before the second.
const PATIENCE: u32 = 4;
/// Microseconds.
const SHORTEST_WAIT: u32 = 5_000;
/// Most probes of a node that are looked at.
const MOST_PROBES: usize = 32;

/// Names how far a question is in its round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// no round is underway
    Idle,
    /// to be sent
    Due,
    Waiting,
    Answered,
    Failed,
    /// it may not be sent: that says nothing of the node
    Denied,
}

/// Holds one probe of one node. Lengths of time are in microseconds: they are worked with for every
/// question in every round.
#[derive(Debug, Clone)]
pub struct Ask {
    /// place of the node
    pub node: u32,
    pub probe: u8,
    /// place in [`PROBES`]
    pub kind: u8,
    pub stage: Stage,
    pub tries: u8,
    pub first_lost: bool,
    /// rounds failed in a row
    pub failures: u8,
    pub turn: u32,
    /// its own longest wait ([`NodeTarget::timeout`]); 0 = as others
    pub limit: u32,
    pub begun: Instant,
    pub rtt: u32,
    /// RFC 6298, 2.3
    pub smoothed: Option<u32>,
}

impl Ask {
    /// Returns the microseconds from the beginning of the round to the second try, to the third,
    /// and to the end.
    pub fn steps(&self, longest: u32) -> (u32, u32, u32) {
        let longest = self.longest(longest);
        let first = match self.smoothed {
            Some(rtt) => rtt.saturating_mul(PATIENCE).max(SHORTEST_WAIT).min(longest / 2),
            None => longest / 4,
        };
        let end = first.saturating_mul(7).min(longest);
        (first, first + (end - first) / 3, end)
    }

    /// Returns how long its round may take, if others' may take so long.
    pub fn longest(&self, others: u32) -> u32 {
        if self.limit == 0 { others } else { self.limit }
    }

    /// Returns how long after its round's beginning something happens, if it is not answered.
    pub fn patience(&self, longest: u32) -> Duration {
        let (second, third, end) = self.steps(longest);
        let step = match self.tries {
            0 | 1 => second,
            2 => third,
            _ => end,
        };
        Duration::from_micros(step.into())
    }

    /// Ends the round; returns whether it failed.
    pub fn end(&mut self) -> bool {
        match self.stage {
            Stage::Answered => {
                let known = self.smoothed.unwrap_or(self.rtt);
                self.smoothed = Some(known - known / 8 + self.rtt / 8);
                self.failures = 0;
            }
            Stage::Denied => {}
            _ => self.failures = self.failures.saturating_add(1),
        }
        let failed = !matches!(self.stage, Stage::Answered | Stage::Denied);
        self.stage = Stage::Idle;
        failed
    }
}

/// Counts the microseconds, as far as they can be counted: more than an hour.
pub fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

/// Returns a node's questions; one that is asked twice is asked once.
pub fn asks_of(place: u32, target: &NodeTarget, now: Instant) -> impl Iterator<Item = Ask> {
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
            limit: target.timeout.saturating_mul(1000),
            begun: now,
            rtt: 0,
            smoothed: None,
        })
    })
}
