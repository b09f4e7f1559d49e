//! The harness of test programs whose tests need namespaces of their own. Each test runs as the
//! first process of fresh network, mount and PID namespaces, so everything it starts ends with it,
//! also when the run is interrupted. A test that cannot run fails.
//!
//! The tests of a program share the machine: an ordinary test takes one slot, one that needs
//! processors takes several, and one that measures time takes all.

use std::cmp::Reverse;
use std::fmt::Display;
use std::fs::File;
use std::io::{Read, Seek};
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bramblegate_lab::inside;
use libtest_mimic::{Arguments, Failed};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// One test.
pub struct Trial {
    name: String,
    /// The number of slots it takes, limited to those that exist.
    pub places: usize,
    run: Box<dyn FnOnce() -> Result<(), String> + Send>,
}

impl Trial {
    /// Returns a test that takes one slot.
    pub fn new<T: Outcome>(
        name: impl Into<String>,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> Self {
        Self { name: name.into(), places: 1, run: Box::new(|| run().result()) }
    }
}

/// The result of a test: `()` for one that panics on failure, or a `Result`.
pub trait Outcome {
    /// Converts it to a `Result`.
    fn result(self) -> Result<(), String>;
}

impl Outcome for () {
    fn result(self) -> Result<(), String> {
        Ok(())
    }
}

impl<E: Display> Outcome for Result<(), E> {
    fn result(self) -> Result<(), String> {
        self.map_err(|error| error.to_string())
    }
}

/// Runs the tests that the command line selects, in `places` slots (`--test-threads` overrides),
/// each for at most `limit`; or, in a process that this function has started, the one test of the
/// process.
pub fn run(places: usize, limit: Duration, mut tests: Vec<Trial>) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--enter", name] => {
            eprintln!("{}", inside::enter(&["--inside", name]));
            return ExitCode::FAILURE;
        }
        ["--inside", name] => return play(tests, name),
        _ => {}
    }
    let mut arguments = Arguments::from_args();
    let room = Arc::new(Room {
        places: *arguments.test_threads.get_or_insert(places),
        limit,
        shown: arguments.nocapture,
        taken: Mutex::new(0),
        freed: Condvar::new(),
        took: Mutex::new(Vec::new()),
    });
    // The large ones first: a slot that waits for others to become free is wasted.
    tests.sort_by_key(|test| Reverse(test.places));
    let trials = tests.into_iter().map(|test| {
        let room = Arc::clone(&room);
        libtest_mimic::Trial::test(test.name.clone(), move || room.run(&test.name, test.places))
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    room.report();
    conclusion.exit_code()
}

/// Runs one test, as the first process of private namespaces.
fn play(tests: Vec<Trial>, name: &str) -> ExitCode {
    let test = tests.into_iter().find(|test| test.name == name);
    let result = test.map_or_else(|| Err(format!("there is no test {name}")), |test| (test.run)());
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("FAILED: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The state that the tests of a run share.
struct Room {
    places: usize,
    limit: Duration,
    /// Print the output even of a test that passed.
    shown: bool,
    taken: Mutex<usize>,
    freed: Condvar,
    /// The duration of each test.
    took: Mutex<Vec<(Duration, String)>>,
}

impl Room {
    /// Waits for slots and runs one test.
    fn run(&self, name: &str, places: usize) -> Result<(), Failed> {
        let places = places.min(self.places);
        let full = |taken: &mut usize| *taken + places > self.places;
        let waiting = self.freed.wait_while(locked(&self.taken), full);
        *waiting.unwrap_or_else(PoisonError::into_inner) += places;
        let start = Instant::now();
        let result = outer(name, self.limit);
        locked(&self.took).push((start.elapsed(), name.to_owned()));
        *locked(&self.taken) -= places;
        self.freed.notify_all();
        let text = result?;
        if self.shown {
            print!("{text}");
        }
        Ok(())
    }

    /// Prints the slowest tests.
    fn report(&self) {
        let mut took = locked(&self.took);
        if took.is_empty() {
            return;
        }
        took.sort_by_key(|(time, _)| Reverse(*time));
        let listed = if self.shown { took.len() } else { took.len().min(5) };
        let sum: Duration = took.iter().map(|(time, _)| time).sum();
        for (time, name) in took.iter().take(listed) {
            println!("{:7.2} s  {name}", time.as_secs_f32());
        }
        println!("{:7.2} s  all, {} at once", sum.as_secs_f32(), self.places);
    }
}

/// Ignores a poisoned lock: the numbers are consistent.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs one test as a process in namespaces of its own; returns its output.
fn outer(name: &str, limit: Duration) -> Result<String, Failed> {
    // An unnamed file, since a pipe would stay open as long as anything that a test started.
    let mut log = tempfile::tempfile()?;
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--enter", name])
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log.try_clone()?)
        .spawn()?;
    let ended = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
    let in_time = poll(&mut [PollFd::new(&ended, PollFlags::IN)], Some(&limit.try_into()?))? > 0;
    if !in_time {
        child.kill()?;
    }
    let status = child.wait()?;
    let text = text_of(&mut log)?;
    if status.success() {
        return Ok(text);
    }
    let how = if in_time { status.to_string() } else { format!("took longer than {limit:?}") };
    Err(format!("{how}\n{text}").into())
}

fn text_of(log: &mut File) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    log.rewind()?;
    log.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
