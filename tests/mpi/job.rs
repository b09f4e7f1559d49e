//! A job: `merge_sort.py` run by mpirun, and its result.

use std::fs;

use bramblegate_lab::shell::must;
use bramblegate_lab::{Error, Result};
use serde_json::Value;

use crate::stage::{Stage, job};

/// The number of sorted numbers.
const NUMBERS: usize = 500_000;

/// mpirun gets no network options. The computers share this machine's processors, so processes are
/// not bound to the first of them, and a waiting one yields.
const MPIRUN: &str = "mpirun --bind-to none --mca mpi_yield_when_idle 1";

/// The command, and the computer that runs it.
#[derive(Debug)]
pub struct Job<'j> {
    pub from: &'j str,
    /// The text of the host file.
    pub hosts: &'j str,
    pub processes: usize,
}

/// The report of `merge_sort.py`.
#[derive(Debug)]
pub struct Sorted {
    /// The computer of each process.
    pub hosts: Vec<String>,
    /// From the first part sent to the merged list.
    pub seconds: f64,
    /// Processor time of the process that sorted longest.
    sorting: f64,
    /// Processor time of merging, in the first process.
    merging: f64,
}

impl Sorted {
    fn read(report: &str) -> Result<Self> {
        let report: Value = serde_json::from_str(report).map_err(failed)?;
        let number = |key: &str| report[key].as_f64().ok_or_else(|| failed(&report));
        let hosts = report["hosts"].as_array().into_iter().flatten().filter_map(Value::as_str);
        Ok(Self {
            hosts: hosts.map(str::to_owned).collect(),
            seconds: number("seconds")?,
            sorting: number("sorting")?,
            merging: number("merging")?,
        })
    }

    /// Returns the speedup over `other`, if only processors took time.
    pub fn speed_up(&self, other: &Self) -> f64 {
        (other.sorting + other.merging) / (self.sorting + self.merging)
    }
}

impl Stage {
    /// Runs a job to its end. Checks that the result is sorted, and that each part crossed the
    /// network.
    ///
    /// # Errors
    /// It fails, or does not end.
    pub fn run(&self, wanted: &Job<'_>) -> Result<Sorted> {
        fs::write(format!("{}/hosts", job()), wanted.hosts).map_err(failed)?;
        for file in ["given", "sorted"] {
            let _ = fs::remove_file(format!("{}/{file}", job()));
        }
        let line = format!(
            "timeout 60 {MPIRUN} --hostfile /srv/job/hosts -np {} python3 /srv/job/merge_sort.py {NUMBERS} /srv/job",
            wanted.processes
        );
        let before = received()?;
        let text = self.machine(wanted.from).run(&line)?;
        let report = text.lines().find(|line| line.starts_with('{'));
        let report = report.ok_or_else(|| Error(format!("no report: {text}")))?;
        let sorted = Sorted::read(report)?;
        check(&sorted, &before, &received()?)?;
        Ok(sorted)
    }
}

/// Returns the octets that each node has received through its cable.
fn received() -> Result<Vec<(String, usize)>> {
    let read = |number| {
        let node = format!("rpi{number}");
        let text = must(&node, "cat /sys/class/net/eth0/statistics/rx_bytes")?;
        Ok((node, text.trim().parse().map_err(failed)?))
    };
    (1..=3).map(read).collect()
}

fn check(sorted: &Sorted, before: &[(String, usize)], after: &[(String, usize)]) -> Result<()> {
    let mut given = numbers("given")?;
    let result = numbers("sorted")?;
    assert_eq!(given.len(), NUMBERS);
    assert!(!given.is_sorted(), "there was something to sort");
    given.sort_unstable();
    assert!(result == given, "the result is not what was given, in order");
    for ((node, before), (_, after)) in before.iter().zip(after) {
        // The first process has its part already. A number takes four octets, pickled or not.
        let part = 4 * NUMBERS / sorted.hosts.len();
        let works = sorted.hosts.iter().skip(1).any(|host| host == node);
        assert!(!works || after - before > part, "{node} got {} octets", after - before);
    }
    Ok(())
}

fn numbers(name: &str) -> Result<Vec<u32>> {
    let bytes = fs::read(format!("{}/{name}", job())).map_err(failed)?;
    Ok(bytes.chunks_exact(4).map(|four| u32::from_ne_bytes(four.try_into().unwrap())).collect())
}

pub fn failed(error: impl std::fmt::Display) -> Error {
    Error(error.to_string())
}
