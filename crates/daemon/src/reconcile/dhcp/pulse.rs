//! Does dnsmasq answer? It is asked for a name of its own now and then, as a node would ask it.
//! Where no names are served it cannot be asked from here: then its state is looked at, and now and
//! then it is given a signal that it answers with a line.

use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

use rustix::process::Pid;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::supervise::Task;
use crate::sync::next_aligned;
use crate::watch::dhcp::Questions;
use crate::watch::dhcp::name_server;

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
}

/// How many questions in a row it cannot have missed by chance.
const DEAF: u64 = 3;
/// Silence is looked at once more after this long. It serves one board after the other, and some
/// Raspberry Pis are answered a second late: of many at a time most have asked before their turn
/// has come.
const SECOND_LOOK: Duration = Duration::from_secs(3);

/// Whether it hears what is asked on the wire. Pure.
#[derive(Debug, Default)]
struct Hearing {
    deaf: bool,
    /// it was asked in vain at the last look; so many lines it had logged then
    silent_at: Option<u64>,
}

impl Hearing {
    /// Takes how many questions there were since it last logged one, and how many lines it has
    /// logged; returns what is new.
    fn compare(&mut self, questions: u64, lines: u64) -> Option<bool> {
        let before = std::mem::replace(&mut self.silent_at, (questions >= DEAF).then_some(lines));
        let deaf = self.silent_at.is_some() && (self.deaf || before == self.silent_at);
        (std::mem::replace(&mut self.deaf, deaf) != deaf).then_some(!deaf)
    }

    /// Returns whether the next look decides.
    const fn doubts(&self) -> bool {
        self.silent_at.is_some() && !self.deaf
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
                let unheard = whom.asked.unheard();
                if let Some(hears) = hearing.compare(unheard.questions, unheard.lines) {
                    if signs.send(Sign::Hears(hears)).await.is_err() {
                        return;
                    }
                }
                looks = (looks + 1) % SIGNAL;
                let next = if hearing.doubts() {
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

/// Returns whether the process stands still, by the state in `/proc/PID/stat` (proc_pid_stat(5)):
/// behind the name, which may hold anything.
fn stands_still(process: Pid) -> bool {
    let stat =
        fs::read_to_string(format!("/proc/{}/stat", process.as_raw_pid())).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with(['T', 't']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_hears_nothing_of_what_is_asked_is_deaf_until_it_does() {
        let mut hearing = Hearing::default();
        assert_eq!(hearing.compare(2, 0), None, "two may be lost");
        assert_eq!(hearing.compare(3, 0), None, "it may be about to log one");
        assert_eq!(hearing.compare(3, 0), Some(false));
        assert_eq!(hearing.compare(9, 0), None, "reported once");
        assert_eq!(hearing.compare(0, 1), Some(true));
    }

    /// 36 boards that start together are served one after the other, each with two questions.
    #[test]
    fn many_who_ask_at_once_are_no_reason_to_call_it_deaf() {
        let mut hearing = Hearing::default();
        for (questions, lines) in [(8, 1), (8, 3), (36, 4), (20, 90), (0, 144), (0, 144)] {
            assert_eq!(hearing.compare(questions, lines), None, "{questions} {lines}");
        }
    }
}
