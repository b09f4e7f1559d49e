//! Rate limit on journal records: a token bucket for each kind, and one for each subject within it.
//! Records that exceed it are counted and reported in one line. Pure: the current time is an
//! argument.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::Instant;
use crate::view::journal::{self, Kind, Record};

/// Burst of a kind, enough for a roomful of nodes that boot or lose power together, and its refill
/// interval.
const KIND_BURST: u32 = 256;
const KIND_INTERVAL: Duration = Duration::from_secs(1);
/// The same for a subject: a node, an uplink, a board.
const SUBJECT_BURST: u32 = 16;
const SUBJECT_INTERVAL: Duration = Duration::from_secs(10);
/// Limit on subjects with a bucket of their own in each kind.
const SUBJECTS: usize = 512;
/// Delay of the report on records that were left out.
const REPORT_DELAY: Duration = Duration::from_secs(10);
/// Fields that identify the subject of a record, the most specific first.
const SUBJECT_FIELDS: [&str; 5] = ["NODE", "MAC", "UPLINK", "ALERT", "SERVER"];

/// The state of all buckets.
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
    /// The text of the last record left out, and the time of the first.
    last: String,
    since: Instant,
}

/// A token bucket, represented by the time at which it is full again.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket(Instant);

impl Bucket {
    fn has_token(self, burst: u32, interval: Duration, now: Instant) -> bool {
        self.0 <= now + interval * (burst - 1)
    }

    fn take(&mut self, interval: Duration, now: Instant) {
        self.0 = self.0.max(now) + interval;
    }

    fn is_full(self, now: Instant) -> bool {
        self.0 <= now
    }
}

impl Limit {
    /// Returns whether to write a record now; if not, counts it. `extra` increases the burst of a
    /// kind, for large clusters.
    pub fn pass(&mut self, record: &Record, extra: u32, now: Instant) -> bool {
        let kind = record.kind;
        let window = self.kinds.entry(kind.id()).or_insert_with(|| Window::new(kind, now));
        let subject = SUBJECT_FIELDS.iter().find_map(|name| record.field(name));
        let bucket =
            subject.and_then(|subject| window.subjects.get(subject).copied()).unwrap_or_default();
        let passes = window.bucket.has_token(KIND_BURST.saturating_add(extra), KIND_INTERVAL, now)
            && bucket.has_token(SUBJECT_BURST, SUBJECT_INTERVAL, now);
        if passes {
            window.bucket.take(KIND_INTERVAL, now);
            if let Some(subject) = subject {
                window.take(subject, bucket, now);
            }
        } else {
            if window.left_out == 0 {
                window.since = now;
            }
            window.left_out += 1;
            window.last.clone_from(&record.message);
        }
        passes
    }

    /// Returns the reports that are due on records that were left out.
    pub fn left_out(&mut self, now: Instant) -> Vec<Record> {
        let is_due = |window: &&mut Window| {
            window.left_out > 0 && now.saturating_since(window.since) >= REPORT_DELAY
        };
        let reports = self.kinds.values_mut().filter(is_due).map(|window| {
            let (count, last) =
                (std::mem::take(&mut window.left_out), std::mem::take(&mut window.last));
            journal::left_out(window.kind, count, &last, now.saturating_since(window.since))
        });
        reports.collect()
    }
}

impl Window {
    fn new(kind: Kind, since: Instant) -> Self {
        let (bucket, subjects) = (Bucket::default(), BTreeMap::new());
        Self { kind, bucket, subjects, left_out: 0, last: String::new(), since }
    }

    /// Takes a token of a subject.
    fn take(&mut self, subject: &str, mut bucket: Bucket, now: Instant) {
        bucket.take(SUBJECT_INTERVAL, now);
        if !self.subjects.contains_key(subject) && self.subjects.len() >= SUBJECTS {
            self.subjects.retain(|_, bucket| !bucket.is_full(now));
            if self.subjects.len() >= SUBJECTS {
                return;
            }
        }
        self.subjects.insert(subject.to_owned(), bucket);
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
    fn a_flood_about_one_subject_does_not_suppress_others() {
        let mut limit = Limit::default();
        let mut written = |node: &str, second| {
            usize::from(limit.pass(&record("x", Some(node)), 0, moment(second)))
        };
        let loud: usize = (0..1000).map(|_| written("loud", 0)).sum();
        assert_eq!(loud, SUBJECT_BURST as usize);
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
    fn a_kind_and_its_memory_are_bounded_for_any_number_of_subjects() {
        let mut limit = Limit::default();
        let mut written = 0;
        for number in 0..90_000_u64 {
            written += u64::from(limit.pass(
                &record("x", Some(&format!("n{number}"))),
                0,
                moment(number / 1000),
            ));
        }
        assert_eq!(written, u64::from(KIND_BURST) + 89);
        let window = limit.kinds.values().next().unwrap();
        assert!(window.subjects.len() <= SUBJECTS);
        assert!(limit.pass(&record("x", None), 100, moment(90)), "a large cluster has more");
    }

    #[test]
    fn normal_operation_stays_below_the_limit() {
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
