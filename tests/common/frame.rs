//! The frame of the test programs whose tests need namespaces of their own. Each test runs as the
//! first process of fresh network, mount and PID namespaces: all that it starts ends with it, also
//! when the run is interrupted. A test that cannot run fails.
//!
//! The tests of a program share the machine: a usual one takes one place of those that there are,
//! one that needs the processors takes several, and one whose times are measured takes all.

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
    /// How many places it takes; as many as there are, if there are fewer.
    pub places: usize,
    run: Box<dyn FnOnce() -> Result<(), String> + Send>,
}

impl Trial {
    /// Returns a test that takes one place.
    pub fn new<T: Outcome>(
        name: impl Into<String>,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> Self {
        Self { name: name.into(), places: 1, run: Box::new(|| run().result()) }
    }
}

/// What a test returns: nothing, where it panics if something is not as it should be, or a result.
pub trait Outcome {
    /// Returns it as a result.
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

/// Runs the tests that the command line asks for, in `places` places (`--test-threads` overrides),
/// each for at most `limit`; in a process that this function has started, the one test that it is
/// for.
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
    // The large ones first: a place that waits for the others to be free is lost.
    tests.sort_by_key(|test| Reverse(test.places));
    let trials = tests.into_iter().map(|test| {
        let room = Arc::clone(&room);
        libtest_mimic::Trial::test(test.name.clone(), move || room.run(&test.name, test.places))
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    room.report();
    conclusion.exit_code()
}

/// Plays one test; this is the first process of private namespaces.
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

/// What the tests of a run share.
struct Room {
    places: usize,
    limit: Duration,
    /// Output is printed even of a test that passed.
    shown: bool,
    taken: Mutex<usize>,
    freed: Condvar,
    /// How long each test took.
    took: Mutex<Vec<(Duration, String)>>,
}

impl Room {
    /// Waits for places and runs one test in them.
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

    /// Prints which tests took longest: what is to be looked at when a run takes too long.
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

/// A poisoned lock is as good as any here: the numbers are whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs one test as a process in namespaces of its own; what it printed.
fn outer(name: &str, limit: Duration) -> Result<String, Failed> {
    // A file without a name: pipes stay open as long as anything that a test started.
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
