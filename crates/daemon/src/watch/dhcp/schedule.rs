//! When to ask, and when silence is an answer. Pure: moments are arguments.

use std::time::Duration;

use tokio::time::Instant;

/// Some servers look for three seconds whether an address is free before they offer it (dnsmasq
/// without `no-ping` takes 3.1 s). A switch that has just seen the cable may keep it blocked for
/// half a minute (spanning tree, IEEE 802.1D: twice 15 s), so silence is put to the test again
/// after that.
const STEPS: [(Duration, Step); 7] = [
    (Duration::ZERO, Step::Ask),
    (Duration::from_secs(1), Step::Ask),
    (Duration::from_secs(2), Step::Ask),
    (Duration::from_secs(4), Step::Silence),
    (Duration::from_secs(15), Step::Ask),
    (Duration::from_secs(35), Step::Ask),
    (Duration::from_secs(60), Step::Ask),
];
/// After a switch lets the port's frames through: it does so by its own clock, and some of its
/// timers are a second late.
const MARGIN: Duration = Duration::from_secs(2);
/// No switch that keeps to IEEE 802.1D blocks a port for longer (table 17-1: twice 30 s), whatever
/// its frames say; and anybody can send such frames. So silence counts at most this, [`MARGIN`] and
/// four seconds after the carrier has come.
const LONGEST_BLOCK: Duration = Duration::from_secs(60);
/// Signs of another server that cannot be checked are a reason to ask no more often than this.
const HINTS: Duration = Duration::from_secs(10);
/// Behind a switch a cable can be moved without a carrier to report it: asked again this often.
const AGAIN: Duration = Duration::from_secs(600);
/// Somebody else serves: looked at again this often.
const REFUSED: Duration = Duration::from_secs(30);

/// Names what is to be done at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Ask,
    /// no server has answered: we are alone
    Silence,
}

/// Holds where we are in the questions to one port.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// since when there is a carrier, as far as is known
    carrier: Instant,
    begin: Instant,
    done: usize,
    /// no server has answered in a whole round, on this carrier
    silent: bool,
    /// the last round that a hint began
    hinted: Option<Instant>,
}

impl Schedule {
    /// Begins at once.
    pub const fn new(now: Instant) -> Self {
        Self { carrier: now, begin: now, done: 0, silent: false, hinted: None }
    }

    /// Begins a round.
    const fn begin(&mut self, at: Instant) {
        (self.begin, self.done) = (at, 0);
    }

    /// Notes that the switch blocks the port for so long after the carrier has come (spanning
    /// tree): what is asked before is not heard, and silence says nothing. How long it is still to
    /// wait; `None`: no longer, or silence has counted already.
    pub fn hold(&mut self, blocked: Duration, now: Instant) -> Option<Duration> {
        let opens = self.carrier + blocked.min(LONGEST_BLOCK) + MARGIN;
        if self.silent || opens <= now || self.begin >= opens {
            return None;
        }
        self.begin(opens);
        Some(opens.saturating_duration_since(now))
    }

    /// Notes that the switch lets the port's frames through after all: asked now.
    pub fn release(&mut self, now: Instant) {
        if !self.silent && self.begin > now {
            self.begin(now);
        }
    }

    /// Notes that a server seems to be there, but did not answer us: asked at once, unless that was
    /// done just now.
    pub fn hint(&mut self, now: Instant) {
        let lately = self.hinted.is_some_and(|at| now.saturating_duration_since(at) < HINTS);
        // Who is asked anyway within a moment is asked then; a port that is blocked is not asked.
        if !lately && self.done > 3 {
            self.hinted = Some(now);
            self.begin(now);
        }
    }

    /// Notes that a server answered: begins again after a while.
    pub fn refused(&mut self, now: Instant) {
        self.begin(now + REFUSED);
    }

    /// Notes that there may be a server that was not asked: begins again, once the questions of
    /// the first minute are over.
    pub fn doubt(&mut self, now: Instant) {
        if self.done >= STEPS.len() {
            self.begin(now);
        }
    }

    /// Returns the next moment at which something is to be done.
    pub fn next(&self) -> Instant {
        self.begin + self.step().0
    }

    fn step(&self) -> (Duration, Step) {
        let more = u32::try_from((self.done + 1).saturating_sub(STEPS.len())).unwrap_or(u32::MAX);
        STEPS.get(self.done).copied().unwrap_or_else(|| (AGAIN.saturating_mul(more), Step::Ask))
    }

    /// Returns what is to be done now, each thing once.
    pub fn due(&mut self, now: Instant) -> Option<Step> {
        (self.next() <= now).then(|| {
            let (_, step) = self.step();
            self.done += 1;
            self.silent |= step == Step::Silence;
            step
        })
    }

    /// Returns how long the question has been asked.
    pub fn asking_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.begin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection;
    use proptest::prelude::*;

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
        assert_eq!(
            done,
            [(0, ask), (1, ask), (2, ask), (4, silence), (15, ask), (35, ask), (60, ask)]
        );
        assert_eq!(seconds(&mut schedule, begin, 2000), [(600, ask), (1200, ask), (1800, ask)]);
    }

    #[test]
    fn a_doubt_is_a_reason_to_ask_at_once_but_not_more_than_once_a_minute() {
        let begin = Instant::now();
        let mut schedule = Schedule::new(begin);
        assert_eq!(seconds(&mut schedule, begin, 20).len(), 5);
        schedule.doubt(begin + Duration::from_secs(20));
        assert_eq!(
            schedule.next(),
            begin + Duration::from_secs(35),
            "it will be asked in any case"
        );
        assert_eq!(seconds(&mut schedule, begin, 99), [(35, Step::Ask), (60, Step::Ask)]);
        schedule.doubt(begin + Duration::from_secs(100));
        assert_eq!(seconds(&mut schedule, begin, 102).len(), 3, "at once");
        schedule.doubt(begin + Duration::from_secs(103));
        assert_eq!(
            seconds(&mut schedule, begin, 110),
            [(104, Step::Silence)],
            "and not again for the next one"
        );
        schedule.refused(begin + Duration::from_secs(110));
        schedule.doubt(begin + Duration::from_secs(111));
        assert_eq!(schedule.next(), begin + Duration::from_secs(140), "we know already");
    }

    #[test]
    fn silence_counts_only_once_the_switch_lets_us_be_heard() {
        let begin = Instant::now();
        let second = |second| begin + Duration::from_secs(second);
        let mut schedule = Schedule::new(begin);
        assert_eq!(seconds(&mut schedule, begin, 2).len(), 3);
        assert_eq!(
            schedule.hold(Duration::from_secs(30), second(2)),
            Some(Duration::from_secs(30)),
            "2 s of margin"
        );
        assert_eq!(schedule.hold(Duration::from_secs(30), second(4)), None, "reported once");
        assert_eq!(seconds(&mut schedule, begin, 31), []);
        let (ask, silence) = (Step::Ask, Step::Silence);
        let done = seconds(&mut schedule, begin, 40);
        assert_eq!(done, [(32, ask), (33, ask), (34, ask), (36, silence)]);
        assert_eq!(schedule.hold(Duration::from_secs(30), second(41)), None, "it is known");
        let mut quick = Schedule::new(begin);
        quick.hold(Duration::from_secs(30), second(1));
        quick.release(second(3));
        assert_eq!(seconds(&mut quick, begin, 7), [(3, ask), (4, ask), (5, ask), (7, silence)]);
    }

    #[test]
    fn a_hint_is_a_reason_to_ask_but_not_often() {
        let begin = Instant::now();
        let mut schedule = Schedule::new(begin);
        schedule.hint(begin);
        assert_eq!(seconds(&mut schedule, begin, 8).len(), 4, "asked anyway");
        for second in 9..=28 {
            schedule.hint(begin + Duration::from_secs(second));
        }
        let asked = seconds(&mut schedule, begin, 28);
        assert!(asked.len() <= 8, "{asked:?}");
        assert_eq!(asked.first(), Some(&(9, Step::Ask)));
    }

    proptest! {
        /// Frames that anybody sends, as often as they like: whether there is another server is
        /// known after 66 s.
        #[test]
        fn no_frames_hold_silence_back_for_longer(frames in collection::vec((0_u64..200, any::<bool>()), 100)) {
            let begin = Instant::now();
            let mut schedule = Schedule::new(begin);
            for (second, (delay, forwards)) in (0..=66).zip(frames) {
                let now = begin + Duration::from_secs(second);
                if forwards {
                    schedule.release(now);
                } else {
                    schedule.hold(Duration::from_secs(delay), now);
                }
                while schedule.due(now).is_some() {}
            }
            prop_assert!(schedule.silent);
        }
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
            [33, 34, 35, 37]
                .into_iter()
                .zip([Step::Ask, Step::Ask, Step::Ask, Step::Silence])
                .collect::<Vec<_>>()
        );
    }
}
