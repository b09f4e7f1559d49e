//! Health check of dnsmasq. It sends a DNS query at intervals, as a node would. Where dnsmasq
//! serves no names, it checks the process state and requests a signal now and then, to which
//! dnsmasq responds with a log line.

use std::convert::Infallible;
use std::fs;
use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime};

use rustix::process::Pid;
use tokio::sync::mpsc::{self, error::SendError};
use tokio::time::{Instant, sleep, sleep_until};

use super::child::Unread;
use super::clock_step::ClockStep;
use crate::supervise::Task;
use crate::sync::next_aligned;
use crate::watch::dhcp::name_server;
use crate::watch::dhcp::{Questions, Unheard};

/// Interval of the checks.
const INTERVAL: Duration = Duration::from_secs(5);
/// Queries per check.
const ATTEMPTS: u8 = 2;
/// Where no names are served, one of this many checks requests a signal.
const SIGNAL: u8 = 12;
/// A name that no node has: a negative reply is a reply.
const NAME: &str = "does-dnsmasq-answer";

/// Result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// A signal or a debugger has stopped the process.
    Stopped,
    /// It did not reply to a query.
    Silent,
    /// It cannot be queried: send it a signal.
    Unasked,
    /// It replies to queries.
    Answers,
    /// Whether DHCP requests of nodes reach it.
    Hears(bool),
    /// The system clock was set back by this much.
    ClockSetBack(Duration),
}

/// The task that checks; it ends when this is dropped.
#[derive(Debug)]
pub struct Pulse(#[expect(dead_code, reason = "held to be dropped")] Task);

/// The process to check.
#[derive(Debug, Clone)]
pub struct Target {
    pub process: Pid,
    /// The address on which it serves names, if any.
    pub names: Option<Ipv4Addr>,
    pub domain: String,
    /// It sends router advertisements.
    pub advertises: bool,
    /// DHCP requests on the wire since it last logged one.
    pub questions: Questions,
    pub log: Unread,
}

/// Number of requests in a row that are not lost by chance.
const DEAF: u64 = 3;
/// Pause before a suspicion is checked again. dnsmasq serves one request at a time, and some
/// Raspberry Pis get the reply a second late, so that most of many nodes wait for their turn.
const RECHECK: Duration = Duration::from_secs(3);
/// How often the process state is polled, and the poll interval: our own query may keep the process
/// busy.
const POLLS: u8 = 5;
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Whether DHCP requests reach dnsmasq. Pure.
#[derive(Debug, Default)]
struct Hearing {
    deaf: bool,
    /// At the last check there were requests that it had not logged.
    suspect: bool,
    /// Lines logged when it was last idle despite such requests.
    silent_at: Option<u64>,
}

impl Hearing {
    /// Updates the state from the requests that were not logged. `idle`: the process waits for
    /// input; a busy one may not have had its turn. Returns whether requests reach it, if that
    /// changed.
    fn update(&mut self, unheard: Unheard, idle: bool) -> Option<bool> {
        let asked = unheard.questions >= DEAF;
        let mut deaf = self.deaf && asked;
        if idle || !asked {
            let silent = asked.then_some(unheard.lines);
            let before = std::mem::replace(&mut self.silent_at, silent);
            deaf |= silent.is_some() && before == silent;
        }
        self.suspect = asked && !deaf;
        (std::mem::replace(&mut self.deaf, deaf) != deaf).then_some(!deaf)
    }
}

impl Pulse {
    /// Spawns the checks; the first is made immediately.
    pub fn start(target: Target, signs: mpsc::Sender<Sign>) -> Self {
        Self(Task::spawn(async move {
            // An error of `check_repeatedly` means that the receiver is gone.
            let _ = check_repeatedly(&target, &signs).await;
        }))
    }
}

async fn check_repeatedly(
    target: &Target,
    signs: &mpsc::Sender<Sign>,
) -> Result<Infallible, SendError<Sign>> {
    let mut checks: u8 = 0;
    let mut reported = None;
    let mut hearing = Hearing::default();
    let mut clock = ClockStep::new(SystemTime::now(), Instant::now());
    loop {
        let step = clock.update(SystemTime::now(), Instant::now());
        if let Some(step) = step.filter(|_| target.advertises) {
            signs.send(Sign::ClockSetBack(step)).await?;
        }
        let sign = check(target, checks).await;
        // `Answers` is not repeated.
        let news = sign.filter(|sign| *sign != Sign::Answers || reported != Some(Sign::Answers));
        if let Some(sign) = news {
            reported = Some(sign);
            signs.send(sign).await?;
        }
        let answers = sign != Some(Sign::Silent);
        let in_doubt = answers && target.questions.unheard().questions >= DEAF;
        let idle = in_doubt && is_idle(target).await;
        if let Some(hears) = hearing.update(target.questions.unheard(), idle) {
            signs.send(Sign::Hears(hears)).await?;
        }
        checks = (checks + 1) % SIGNAL;
        let next = if hearing.suspect { Instant::now() + RECHECK } else { next_aligned(INTERVAL) };
        sleep_until(next).await;
    }
}

async fn check(target: &Target, checks: u8) -> Option<Sign> {
    if is_in_state(target.process, &['T', 't']) {
        return Some(Sign::Stopped);
    }
    let Some(address) = target.names else {
        return (checks == SIGNAL - 1).then_some(Sign::Unasked);
    };
    let name = format!("{NAME}.{}", target.domain);
    let mut asked = false;
    for _ in 0..ATTEMPTS {
        match name_server::answers(address, &name).await {
            Some(true) => return Some(Sign::Answers),
            Some(false) => asked = true,
            None => {}
        }
    }
    asked.then_some(Sign::Silent)
}

/// Returns whether the process waits for input (state S) and its log was read to the end. One that
/// waits for the processor is in state R, one that waits for a disk in state D.
async fn is_idle(target: &Target) -> bool {
    for _ in 0..POLLS {
        if is_in_state(target.process, &['S']) {
            return target.log.is_empty();
        }
        sleep(POLL_INTERVAL).await;
    }
    false
}

/// Returns whether the process is in one of these states (proc_pid_stat(5)). The state follows the
/// last parenthesis, since the name before it may contain any character.
fn is_in_state(process: Pid, states: &[char]) -> bool {
    let stat =
        fs::read_to_string(format!("/proc/{}/stat", process.as_raw_pid())).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with(states))
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::process::{Child, Command, Stdio};

    use super::*;

    fn target(process: &Child) -> Target {
        Target {
            process: Pid::from_child(process),
            names: None,
            domain: String::new(),
            advertises: false,
            questions: Questions::default(),
            log: Unread::default(),
        }
    }

    #[tokio::test]
    async fn a_sleeping_process_is_idle_and_a_busy_one_is_not() {
        let mut idle = Command::new("sleep").arg("20").spawn().unwrap();
        let begin = Instant::now();
        while !is_idle(&target(&idle)).await {
            assert!(begin.elapsed() < Duration::from_secs(10), "it waits");
        }
        let work = "ulimit -t 5; echo begins; while :; do :; done";
        let mut busy =
            Command::new("sh").args(["-c", work]).stdout(Stdio::piped()).spawn().unwrap();
        busy.stdout.as_mut().unwrap().read_exact(&mut [0; 6]).unwrap();
        assert!(!is_idle(&target(&busy)).await, "it has work");
        for process in [&mut idle, &mut busy] {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    const fn unheard(questions: u64, lines: u64) -> Unheard {
        Unheard { questions, lines }
    }

    #[test]
    fn an_idle_process_that_logs_no_request_is_deaf_until_it_does() {
        let mut hearing = Hearing::default();
        assert_eq!(hearing.update(unheard(2, 0), true), None, "two may be lost");
        assert_eq!(hearing.update(unheard(3, 0), true), None, "it may be about to log one");
        assert!(hearing.suspect);
        assert_eq!(hearing.update(unheard(3, 0), true), Some(false));
        assert_eq!(hearing.update(unheard(9, 0), true), None, "reported once");
        assert_eq!(hearing.update(unheard(9, 0), false), None, "and still deaf");
        assert_eq!(hearing.update(unheard(0, 1), false), Some(true));
    }

    #[test]
    fn a_busy_process_is_not_deaf() {
        let mut hearing = Hearing::default();
        for _ in 0..9 {
            assert_eq!(hearing.update(unheard(6, 4), false), None);
            assert!(hearing.suspect, "it is checked again soon");
        }
        assert_eq!(hearing.update(unheard(6, 4), true), None);
        assert_eq!(hearing.update(unheard(6, 4), false), None);
        assert_eq!(hearing.update(unheard(6, 4), true), Some(false), "it had its turn");
    }

    /// 36 nodes that boot together are served one after the other, each with two requests.
    #[test]
    fn a_process_that_serves_many_nodes_in_turn_is_not_deaf() {
        let mut hearing = Hearing::default();
        for (questions, lines) in [(8, 1), (8, 3), (36, 4), (20, 90), (0, 144), (0, 144)] {
            let change = hearing.update(unheard(questions, lines), true);
            assert_eq!(change, None, "{questions} {lines}");
        }
    }
}
