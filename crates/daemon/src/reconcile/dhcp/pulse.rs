//! Does dnsmasq answer? It is asked for a name of its own now and then, as a node would ask it.
//! Where no names are served it cannot be asked from here: then its state is looked at, and now and
//! then it is given a signal that it answers with a line.

use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

use rustix::process::Pid;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::child::Unread;
use crate::supervise::Task;
use crate::sync::next_aligned;
use crate::watch::dhcp::name_server;
use crate::watch::dhcp::{Questions, Unheard};

/// How often.
const INTERVAL: Duration = Duration::from_secs(5);
/// So often is it asked at a time.
const TRIES: u8 = 2;
/// Of so many looks, one gives it a signal, where no names are served.
const SIGNAL: u8 = 12;
/// No node is called so: it is not there, and that is an answer.
const NAME: &str = "does-dnsmasq-answer";

/// What was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// it stands still: a signal or a debugger has stopped it
    Stopped,
    /// it was asked, and gave no answer
    Silent,
    /// it cannot be asked: a signal is to show whether it lives
    Unasked,
    /// it answers
    Answers,
    /// nodes ask for addresses on the wire; whether it hears any of that
    Hears(bool),
}

/// The task that asks; it ends with the value.
#[derive(Debug)]
pub struct Pulse(#[expect(dead_code, reason = "held to be dropped")] Task);

/// Names the server to ask.
#[derive(Debug, Clone)]
pub struct Target {
    pub process: Pid,
    /// where it serves names; `None`: nowhere
    pub names: Option<Ipv4Addr>,
    pub domain: String,
    /// what nodes ask for on the wire, and it has logged nothing of
    pub asked: Questions,
    pub log: Unread,
}

/// How many questions in a row it cannot have missed by chance.
const DEAF: u64 = 3;
/// Silence is looked at once more after this long. It serves one board after the other, and some
/// Raspberry Pis are answered a second late: of many at a time most have asked before their turn
/// has come.
const SECOND_LOOK: Duration = Duration::from_secs(3);
/// Whether it waits is looked at so often, in such steps: it may be at work for our own question.
const GLANCES: u8 = 5;
const GLANCE: Duration = Duration::from_millis(10);

/// Whether it hears what is asked on the wire. Pure.
#[derive(Debug, Default)]
struct Hearing {
    deaf: bool,
    /// it was asked in vain at the last look
    doubts: bool,
    /// so many lines it had logged when it was last seen to wait although it was asked
    silent_at: Option<u64>,
}

impl Hearing {
    /// Takes what it has logged nothing of, and whether it waits for something to do: silence of
    /// one that has not had its turn on a busy machine says nothing. Returns what is new.
    fn compare(&mut self, unheard: Unheard, waits: bool) -> Option<bool> {
        let asked = unheard.questions >= DEAF;
        let mut deaf = self.deaf && asked;
        if waits || !asked {
            let silent = asked.then_some(unheard.lines);
            let before = std::mem::replace(&mut self.silent_at, silent);
            deaf |= silent.is_some() && before == silent;
        }
        self.doubts = asked && !deaf;
        (std::mem::replace(&mut self.deaf, deaf) != deaf).then_some(!deaf)
    }
}

impl Pulse {
    /// Begins at once, and goes on until the value goes.
    pub fn start(whom: Target, signs: mpsc::Sender<Sign>) -> Self {
        Self(Task::spawn(async move {
            let mut looks: u8 = 0;
            let mut reported = None;
            let mut hearing = Hearing::default();
            loop {
                let sign = look(&whom, looks).await;
                // That it answers is news only after it did not.
                let news =
                    sign.filter(|sign| *sign != Sign::Answers || reported != Some(Sign::Answers));
                if let Some(sign) = news {
                    reported = Some(sign);
                    if signs.send(sign).await.is_err() {
                        return;
                    }
                }
                let answers = sign != Some(Sign::Silent);
                let in_doubt = answers && whom.asked.unheard().questions >= DEAF;
                let waits = in_doubt && is_waiting(&whom).await;
                if let Some(hears) = hearing.compare(whom.asked.unheard(), waits) {
                    if signs.send(Sign::Hears(hears)).await.is_err() {
                        return;
                    }
                }
                looks = (looks + 1) % SIGNAL;
                let next = if hearing.doubts {
                    Instant::now() + SECOND_LOOK
                } else {
                    next_aligned(INTERVAL)
                };
                sleep_until(next).await;
            }
        }))
    }
}

async fn look(whom: &Target, looks: u8) -> Option<Sign> {
    if stands_still(whom.process) {
        return Some(Sign::Stopped);
    }
    let Some(address) = whom.names else {
        return (looks == SIGNAL - 1).then_some(Sign::Unasked);
    };
    let name = format!("{NAME}.{}", whom.domain);
    let mut asked = false;
    for _ in 0..TRIES {
        match name_server::answers(address, &name).await {
            Some(true) => return Some(Sign::Answers),
            Some(false) => asked = true,
            None => {}
        }
    }
    asked.then_some(Sign::Silent)
}

/// Returns whether it has done all that it was to do, and all that it has logged was read: it
/// sleeps until something comes. One that has not had its turn yet is ready to run; one that waits
/// for a disk sleeps without being disturbed.
async fn is_waiting(whom: &Target) -> bool {
    for _ in 0..GLANCES {
        if is_in_state(whom.process, &['S']) {
            return whom.log.is_empty();
        }
        sleep(GLANCE).await;
    }
    false
}

/// Returns whether the process stands still.
fn stands_still(process: Pid) -> bool {
    is_in_state(process, &['T', 't'])
}

/// Returns whether the process is in one of these states, by `/proc/PID/stat` (proc_pid_stat(5)): it
/// stands behind the name, which may hold anything.
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
            asked: Questions::default(),
            log: Unread::default(),
        }
    }

    #[tokio::test]
    async fn one_with_nothing_to_do_waits_and_one_that_is_at_work_does_not() {
        let mut idle = Command::new("sleep").arg("20").spawn().unwrap();
        let begin = Instant::now();
        while !is_waiting(&target(&idle)).await {
            assert!(begin.elapsed() < Duration::from_secs(10), "it waits");
        }
        let work = "ulimit -t 5; echo begins; while :; do :; done";
        let mut busy =
            Command::new("sh").args(["-c", work]).stdout(Stdio::piped()).spawn().unwrap();
        busy.stdout.as_mut().unwrap().read_exact(&mut [0; 6]).unwrap();
        assert!(!is_waiting(&target(&busy)).await, "it has work");
        for process in [&mut idle, &mut busy] {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    const fn unheard(questions: u64, lines: u64) -> Unheard {
        Unheard { questions, lines }
    }

    #[test]
    fn who_hears_nothing_of_what_is_asked_is_deaf_until_it_does() {
        let mut hearing = Hearing::default();
        assert_eq!(hearing.compare(unheard(2, 0), true), None, "two may be lost");
        assert_eq!(hearing.compare(unheard(3, 0), true), None, "it may be about to log one");
        assert!(hearing.doubts);
        assert_eq!(hearing.compare(unheard(3, 0), true), Some(false));
        assert_eq!(hearing.compare(unheard(9, 0), true), None, "reported once");
        assert_eq!(hearing.compare(unheard(9, 0), false), None, "and still deaf");
        assert_eq!(hearing.compare(unheard(0, 1), false), Some(true));
    }

    #[test]
    fn who_has_not_had_its_turn_is_not_deaf() {
        let mut hearing = Hearing::default();
        for _ in 0..9 {
            assert_eq!(hearing.compare(unheard(6, 4), false), None);
            assert!(hearing.doubts, "it is looked at again soon");
        }
        assert_eq!(hearing.compare(unheard(6, 4), true), None);
        assert_eq!(hearing.compare(unheard(6, 4), false), None);
        assert_eq!(hearing.compare(unheard(6, 4), true), Some(false), "it had its turn");
    }

    /// 36 boards that start together are served one after the other, each with two questions.
    #[test]
    fn many_who_ask_at_once_are_no_reason_to_call_it_deaf() {
        let mut hearing = Hearing::default();
        for (questions, lines) in [(8, 1), (8, 3), (36, 4), (20, 90), (0, 144), (0, 144)] {
            let seen = hearing.compare(unheard(questions, lines), true);
            assert_eq!(seen, None, "{questions} {lines}");
        }
    }
}
