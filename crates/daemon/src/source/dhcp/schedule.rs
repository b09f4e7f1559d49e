//! When to ask, and when silence is an answer. Pure: moments are arguments.

use std::time::Duration;

use tokio::time::Instant;

/// Some servers look for three seconds whether an address is free before they offer it (dnsmasq without `no-ping` takes
/// 3.1 s). A switch that has just seen the cable may keep it blocked for half a minute (spanning tree, IEEE 802.1D: twice
/// 15 s), so silence is put to the test again after that.
const STEPS: [(Duration, Step); 7] = [
    (Duration::ZERO, Step::Ask),
    (Duration::from_secs(1), Step::Ask),
    (Duration::from_secs(2), Step::Ask),
    (Duration::from_secs(4), Step::Silence),
    (Duration::from_secs(15), Step::Ask),
    (Duration::from_secs(35), Step::Ask),
    (Duration::from_secs(60), Step::Ask),
];
/// Behind a switch a cable can be moved without a carrier to tell of it: asked again this often.
const AGAIN: Duration = Duration::from_secs(600);
/// Somebody else serves: looked at again this often.
const REFUSED: Duration = Duration::from_secs(30);

/// What is to be done at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Ask,
    /// nobody has answered: we are alone
    Silence,
}

/// Where we are in the questions to one port.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    begin: Instant,
    done: usize,
}

impl Schedule {
    /// Begins at once.
    pub const fn new(now: Instant) -> Self {
        Self { begin: now, done: 0 }
    }

    /// Somebody answered: begins again after a while.
    pub fn refused(&mut self, now: Instant) {
        *self = Self::new(now + REFUSED);
    }

    /// There may be somebody whom we have not asked: begins again, once the questions of the first minute are over.
    pub fn doubt(&mut self, now: Instant) {
        if self.done >= STEPS.len() {
            *self = Self::new(now);
        }
    }

    /// The next moment at which something is to be done.
    pub fn next(&self) -> Instant {
        self.begin + self.step().0
    }

    fn step(&self) -> (Duration, Step) {
        let more = u32::try_from((self.done + 1).saturating_sub(STEPS.len())).unwrap_or(u32::MAX);
        STEPS.get(self.done).copied().unwrap_or_else(|| (AGAIN.saturating_mul(more), Step::Ask))
    }

    /// What is to be done now, each thing once.
    pub fn due(&mut self, now: Instant) -> Option<Step> {
        (self.next() <= now).then(|| {
            let (_, step) = self.step();
            self.done += 1;
            step
        })
    }

    /// How long the question has been asked.
    pub fn asking_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.begin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(schedule: &mut Schedule, begin: Instant, until: u64) -> Vec<(u64, Step)> {
        let mut done = Vec::new();
        for second in 0..=until {
            let now = begin + Duration::from_secs(second);
            while let Some(step) = schedule.due(now) {
                done.push((second, step));
            }
        }
        done
    }

    #[test]
    fn three_questions_then_silence_counts_and_is_tried_again_now_and_then() {
        let begin = Instant::now();
        let mut schedule = Schedule::new(begin);
        assert_eq!(schedule.next(), begin);
        let done = seconds(&mut schedule, begin, 100);
        let (ask, silence) = (Step::Ask, Step::Silence);
        assert_eq!(done, [(0, ask), (1, ask), (2, ask), (4, silence), (15, ask), (35, ask), (60, ask)]);
        assert_eq!(seconds(&mut schedule, begin, 2000), [(600, ask), (1200, ask), (1800, ask)]);
    }

    #[test]
    fn a_doubt_is_a_reason_to_ask_at_once_but_not_more_than_once_a_minute() {
        let begin = Instant::now();
        let mut schedule = Schedule::new(begin);
        assert_eq!(seconds(&mut schedule, begin, 20).len(), 5);
        schedule.doubt(begin + Duration::from_secs(20));
        assert_eq!(schedule.next(), begin + Duration::from_secs(35), "it will be asked in any case");
        assert_eq!(seconds(&mut schedule, begin, 99), [(35, Step::Ask), (60, Step::Ask)]);
        schedule.doubt(begin + Duration::from_secs(100));
        assert_eq!(seconds(&mut schedule, begin, 102).len(), 3, "at once");
        schedule.doubt(begin + Duration::from_secs(103));
        assert_eq!(seconds(&mut schedule, begin, 110), [(104, Step::Silence)], "and not again for the next one");
        schedule.refused(begin + Duration::from_secs(110));
        schedule.doubt(begin + Duration::from_secs(111));
        assert_eq!(schedule.next(), begin + Duration::from_secs(140), "we know already");
    }

    #[test]
    fn a_refusal_is_looked_at_again_after_half_a_minute() {
        let begin = Instant::now();
        let mut schedule = Schedule::new(begin);
        assert_eq!(schedule.due(begin), Some(Step::Ask));
        schedule.refused(begin + Duration::from_secs(3));
        assert_eq!(seconds(&mut schedule, begin, 32), []);
        assert_eq!(
            seconds(&mut schedule, begin, 37),
            [33, 34, 35, 37].into_iter().zip([Step::Ask, Step::Ask, Step::Ask, Step::Silence]).collect::<Vec<_>>()
        );
    }
}
