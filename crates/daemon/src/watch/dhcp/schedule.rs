//! Schedules the DISCOVER messages, and decides when missing replies count. Pure: times are
//! arguments.

use std::time::Duration;

use tokio::time::Instant;

/// The steps of a round, from its start. Some servers check for three seconds whether an address is
/// free before they offer it (dnsmasq without `no-ping` takes 3.1 s). A switch may block a new link
/// for half a minute (spanning tree, IEEE 802.1D: twice 15 s), so requests are repeated after that.
const STEPS: [(Duration, Step); 7] = [
    (Duration::ZERO, Step::Ask),
    (Duration::from_secs(1), Step::Ask),
    (Duration::from_secs(2), Step::Ask),
    (Duration::from_secs(4), Step::Silence),
    (Duration::from_secs(15), Step::Ask),
    (Duration::from_secs(35), Step::Ask),
    (Duration::from_secs(60), Step::Ask),
];
/// Tolerance for the end of the blocking period, since a switch's timers may be a second late.
const MARGIN: Duration = Duration::from_secs(2);
/// Maximum blocking period according to IEEE 802.1D (table 17-1: twice 30 s), since any host can
/// forge BPDUs with a longer one. Missing replies therefore count at most this, [`MARGIN`] and four
/// seconds after the carrier has come up.
const MAX_BLOCKED: Duration = Duration::from_secs(60);
/// Minimum time between rounds caused by unverified signs of another server.
const HINT_INTERVAL: Duration = Duration::from_secs(10);
/// Interval of later requests: behind a switch a server can appear without a carrier change.
const INTERVAL: Duration = Duration::from_secs(600);
/// Delay of the next round while another server answers.
const REFUSED_INTERVAL: Duration = Duration::from_secs(30);

/// Lists the kinds of step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Ask,
    /// Missing replies mean that there is no other server.
    Silence,
}

/// Holds the progress of the check on one interface.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// When the carrier came up, as far as known.
    carrier: Instant,
    /// When the current round begins.
    begin: Instant,
    /// Number of steps done in this round.
    done: usize,
    /// A whole round on this carrier had no reply.
    silent: bool,
    /// When the last round caused by a hint began.
    hinted: Option<Instant>,
}

impl Schedule {
    /// Starts the first round at once.
    pub const fn new(now: Instant) -> Self {
        Self { carrier: now, begin: now, done: 0, silent: false, hinted: None }
    }

    /// Starts a round at `at`.
    const fn begin(&mut self, at: Instant) {
        (self.begin, self.done) = (at, 0);
    }

    /// Postpones the round, since the switch blocks the link for `blocked` after the carrier has
    /// come up (spanning tree). Returns the remaining time, or `None` if it is over, was already
    /// reported, or a whole round had no reply.
    pub fn hold(&mut self, blocked: Duration, now: Instant) -> Option<Duration> {
        let opens = self.carrier + blocked.min(MAX_BLOCKED) + MARGIN;
        if self.silent || opens <= now || self.begin >= opens {
            return None;
        }
        self.begin(opens);
        Some(opens.saturating_duration_since(now))
    }

    /// Starts a postponed round at once, since the switch forwards already.
    pub fn release(&mut self, now: Instant) {
        if !self.silent && self.begin > now {
            self.begin(now);
        }
    }

    /// Starts a round on an unverified sign of another server, at most once per [`HINT_INTERVAL`].
    pub fn hint(&mut self, now: Instant) {
        let recent =
            self.hinted.is_some_and(|at| now.saturating_duration_since(at) < HINT_INTERVAL);
        // Within its first steps a round goes on anyway, and a postponed one has to wait.
        if !recent && self.done > 3 {
            self.hinted = Some(now);
            self.begin(now);
        }
    }

    /// Schedules another round later, since another server answered.
    pub fn refused(&mut self, now: Instant) {
        self.begin(now + REFUSED_INTERVAL);
    }

    /// Starts a new round if the steps of the first minute are over, since a server may have missed
    /// the requests.
    pub fn doubt(&mut self, now: Instant) {
        if self.done >= STEPS.len() {
            self.begin(now);
        }
    }

    /// Returns when the next step is due.
    pub fn next(&self) -> Instant {
        self.begin + self.step().0
    }

    fn step(&self) -> (Duration, Step) {
        let more = u32::try_from((self.done + 1).saturating_sub(STEPS.len())).unwrap_or(u32::MAX);
        STEPS.get(self.done).copied().unwrap_or_else(|| (INTERVAL.saturating_mul(more), Step::Ask))
    }

    /// Returns the next step if it is due, and advances.
    pub fn due(&mut self, now: Instant) -> Option<Step> {
        (self.next() <= now).then(|| {
            let (_, step) = self.step();
            self.done += 1;
            self.silent |= step == Step::Silence;
            step
        })
    }

    /// Returns the time since the round began, for the field `secs` of a request.
    pub fn asking_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.begin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection;
    use proptest::prelude::*;

    /// Returns the steps due up to a second after `begin`.
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
    fn missing_replies_count_after_three_requests_which_are_repeated_later() {
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
    fn a_doubt_starts_a_round_at_most_once_a_minute() {
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
    fn missing_replies_count_only_after_the_switch_forwards() {
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
    fn hints_start_rounds_at_a_limited_rate() {
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
        /// Forged BPDUs delay the result by 66 s at most.
        #[test]
        fn bpdus_delay_the_result_for_a_limited_time(frames in collection::vec((0_u64..200, any::<bool>()), 100)) {
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
    fn another_server_is_checked_again_after_half_a_minute() {
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
