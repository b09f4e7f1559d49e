//! How many records of a kind the journal takes: a token bucket for each kind, and one for each
//! subject within it. What is left out is counted and reported in one line. Pure: moments are
//! arguments.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::Instant;
use crate::view::journal::{self, Kind, Record};

/// A kind is written so many times in a row, which is a room of boards that is switched on, or
/// loses its power, …
const OF_A_KIND: u32 = 256;
/// … and once in each interval after that.
const KIND_INTERVAL: Duration = Duration::from_secs(1);
/// As much for one subject: a node, an uplink, a board.
const OF_A_SUBJECT: u32 = 16;
const SUBJECT_INTERVAL: Duration = Duration::from_secs(10);
/// Bounds the subjects that are distinguished in each kind; more share the kind's bucket alone.
const SUBJECTS: usize = 512;
/// What was left out is reported after so long.
const TELL_AFTER: Duration = Duration::from_secs(10);
/// Fields that say whom a record is about, the closest first.
const ABOUT: [&str; 5] = ["NODE", "MAC", "UPLINK", "ALERT", "SERVER"];

/// What was written lately.
#[derive(Debug, Default)]
pub struct Limit {
    kinds: BTreeMap<&'static str, Window>,
}

#[derive(Debug)]
struct Window {
    kind: Kind,
    bucket: Bucket,
    subjects: BTreeMap<String, Bucket>,
    left_out: u64,
    /// the last of those, and when the first was
    last: String,
    since: Instant,
}

/// When all tokens will be there again.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket(Instant);

impl Bucket {
    fn has(self, most: u32, interval: Duration, now: Instant) -> bool {
        self.0 <= now + interval * (most - 1)
    }

    fn take(&mut self, interval: Duration, now: Instant) {
        self.0 = self.0.max(now) + interval;
    }

    fn is_full(self, now: Instant) -> bool {
        self.0 <= now
    }
}

impl Limit {
    /// Returns whether a record is to be written now; if not, it is counted. `more`: as many of its
    /// kind as a cluster of this size has good reason for.
    pub fn pass(&mut self, record: &Record, more: u32, now: Instant) -> bool {
        let kind = record.kind;
        let lately = self.kinds.entry(kind.id()).or_insert_with(|| Window::new(kind, now));
        let about = ABOUT.iter().find_map(|name| record.field(name));
        let subject =
            about.and_then(|about| lately.subjects.get(about).copied()).unwrap_or_default();
        let passes = lately.bucket.has(OF_A_KIND.saturating_add(more), KIND_INTERVAL, now)
            && subject.has(OF_A_SUBJECT, SUBJECT_INTERVAL, now);
        if passes {
            lately.bucket.take(KIND_INTERVAL, now);
            if let Some(about) = about {
                lately.note(about, subject, now);
            }
        } else {
            if lately.left_out == 0 {
                lately.since = now;
            }
            lately.left_out += 1;
            lately.last.clone_from(&record.message);
        }
        passes
    }

    /// Returns what is to be logged of those that were left out.
    pub fn left_out(&mut self, now: Instant) -> Vec<Record> {
        let due = |lately: &&mut Window| {
            lately.left_out > 0 && now.saturating_since(lately.since) >= TELL_AFTER
        };
        let reported = self.kinds.iter_mut().map(|(_, lately)| lately).filter(due).map(|lately| {
            let (count, last) =
                (std::mem::take(&mut lately.left_out), std::mem::take(&mut lately.last));
            journal::left_out(lately.kind, count, &last, now.saturating_since(lately.since))
        });
        reported.collect()
    }
}

impl Window {
    fn new(kind: Kind, since: Instant) -> Self {
        let (bucket, subjects) = (Bucket::default(), BTreeMap::new());
        Self { kind, bucket, subjects, left_out: 0, last: String::new(), since }
    }

    fn note(&mut self, about: &str, mut bucket: Bucket, now: Instant) {
        bucket.take(SUBJECT_INTERVAL, now);
        if !self.subjects.contains_key(about) && self.subjects.len() >= SUBJECTS {
            self.subjects.retain(|_, bucket| !bucket.is_full(now));
            if self.subjects.len() >= SUBJECTS {
                return;
            }
        }
        self.subjects.insert(about.to_owned(), bucket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::ApplyError;
    use crate::event::ApplyErrorKind;

    fn moment(second: u64) -> Instant {
        Instant::from_boot(Duration::from_secs(1000 + second))
    }

    fn record(text: &str, node: Option<&str>) -> Record {
        let error = ApplyError { kind: ApplyErrorKind::Failed, message: text.to_owned() };
        let record = journal::not_put_back(&error);
        Record {
            fields: node.map(|node| ("NODE", node.to_owned())).into_iter().collect(),
            ..record
        }
    }

    #[test]
    fn one_that_reports_the_same_all_the_time_leaves_room_for_the_others() {
        let mut limit = Limit::default();
        let mut written = |node: &str, second| {
            usize::from(limit.pass(&record("x", Some(node)), 0, moment(second)))
        };
        let loud: usize = (0..1000).map(|_| written("loud", 0)).sum();
        assert_eq!(loud, OF_A_SUBJECT as usize);
        assert_eq!(written("calm", 0), 1);
        assert_eq!(
            (0..60).map(|second| written("loud", second)).sum::<usize>(),
            5,
            "one in ten seconds"
        );
        let reported = limit.left_out(moment(60));
        assert_eq!(reported.len(), 1);
        assert!(reported[0].message.starts_with("1039 more"), "{}", reported[0].message);
        assert!(limit.left_out(moment(90)).is_empty(), "that is reported once");
    }

    #[test]
    fn however_many_subjects_there_are_a_kind_is_bounded_and_its_memory_too() {
        let mut limit = Limit::default();
        let mut written = 0;
        for number in 0..90_000_u64 {
            written += u64::from(limit.pass(
                &record("x", Some(&format!("n{number}"))),
                0,
                moment(number / 1000),
            ));
        }
        assert_eq!(written, u64::from(OF_A_KIND) + 89);
        let lately = limit.kinds.values().next().unwrap();
        assert!(lately.subjects.len() <= SUBJECTS);
        assert!(limit.pass(&record("x", None), 100, moment(90)), "a large cluster has more to say");
    }

    #[test]
    fn in_ordinary_use_nothing_is_left_out() {
        let mut limit = Limit::default();
        for day in 0..5_u64 {
            for change in 0..4 {
                for node in 0..100 {
                    let now = moment(day * 86_400 + change * 60);
                    assert!(limit.pass(&record("x", Some(&format!("rpi{node}"))), 0, now));
                }
            }
        }
        assert!(limit.left_out(moment(900_000)).is_empty());
    }
}
