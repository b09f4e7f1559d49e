//! State of one probe of one node within a round, and its timeouts.

use std::time::Duration;

use tokio::time::Instant;

use crate::watch::probe::{NodeTarget, PROBES};

/// Timeout of the first try, in smoothed round trips.
const RTT_MULTIPLE: u32 = 4;
/// Minimum timeout of the first try, in microseconds.
const MIN_TIMEOUT: u32 = 5_000;
/// Maximum number of probes for a node; further ones are ignored.
const MAX_PROBES: usize = 32;

/// Lists the states of a probe within a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// No round is in progress.
    Idle,
    /// The next try is queued.
    Due,
    Waiting,
    Answered,
    Failed,
    /// Permission is missing, which says nothing about the node.
    Denied,
}

/// Holds one probe of one node. Durations are microseconds as `u32`, since every request of every
/// round computes with them.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Index of the node in the plan.
    pub node: u32,
    /// Index into the node's probes.
    pub probe: u8,
    /// Index into [`PROBES`].
    pub kind: u8,
    pub stage: Stage,
    pub tries: u8,
    pub first_lost: bool,
    /// Number of consecutive failed rounds.
    pub failures: u8,
    pub turn: u32,
    /// Maximum round length of this node ([`NodeTarget::timeout`]); 0 means the default.
    pub limit: u32,
    pub begun: Instant,
    pub rtt: u32,
    /// Smoothed round-trip time (RFC 6298, 2.3).
    pub smoothed: Option<u32>,
}

impl Ask {
    /// Returns the microseconds from the start of the round to the second try, to the third and to
    /// the end, if the default maximum is `longest`.
    pub fn steps(&self, longest: u32) -> (u32, u32, u32) {
        let longest = self.longest(longest);
        let first = match self.smoothed {
            Some(rtt) => rtt.saturating_mul(RTT_MULTIPLE).max(MIN_TIMEOUT).min(longest / 2),
            None => longest / 4,
        };
        let end = first.saturating_mul(7).min(longest);
        (first, first + (end - first) / 3, end)
    }

    /// Returns the maximum length of its round, if the default is `default`.
    pub fn longest(&self, default: u32) -> u32 {
        if self.limit == 0 { default } else { self.limit }
    }

    /// Returns the time from the start of the round to the next try or the end, without a reply.
    pub fn timeout(&self, longest: u32) -> Duration {
        let (second, third, end) = self.steps(longest);
        let step = match self.tries {
            0 | 1 => second,
            2 => third,
            _ => end,
        };
        Duration::from_micros(step.into())
    }

    /// Ends the round. Returns whether it failed.
    pub fn end(&mut self) -> bool {
        match self.stage {
            Stage::Answered => {
                let smoothed = self.smoothed.unwrap_or(self.rtt);
                self.smoothed = Some(smoothed - smoothed / 8 + self.rtt / 8);
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

/// Converts to microseconds; saturates after more than an hour.
pub fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

/// Returns the probes of the node at index `place` of the plan, without duplicates.
pub fn asks_of(position: u32, target: &NodeTarget, now: Instant) -> impl Iterator<Item = Ask> {
    target.probes.iter().take(MAX_PROBES).zip(0_u8..).filter_map(move |(probe, number)| {
        if target.probes.iter().take(usize::from(number)).any(|known| known == probe) {
            return None;
        }
        let kind = PROBES.iter().position(|kind| (kind.takes)(probe))?;
        Some(Ask {
            node: position,
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
