//! Does dnsmasq answer? It is asked for a name of its own now and then, as a node would ask it. Where no names are served nobody
//! can ask from here: then its state is looked at, and now and then it is given a signal that it answers with a line.

use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::source::alarm::{self, beat};
use crate::source::dhcp::Questions;
use crate::source::nameserver;

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
    /// nobody can ask it: a signal is to show whether it lives
    Unasked,
    /// it answers
    Answers,
    /// nodes ask for addresses on the wire; whether it hears any of that
    Hears(bool),
}

/// The task that asks; it ends with the value.
#[derive(Debug)]
pub struct Pulse(JoinHandle<()>);

/// Whom to ask.
#[derive(Debug, Clone)]
pub struct Target {
    pub process: u32,
    /// where it serves names; `None`: nowhere
    pub names: Option<Ipv4Addr>,
    pub domain: String,
    /// what nodes ask for on the wire, and whether it logs any of that
    pub questions: Questions,
}

/// So many questions in a row are none that it could have missed by chance.
const DEAF: u64 = 3;

/// Whether it hears what is asked on the wire.
#[derive(Debug, Default)]
struct Hearing {
    deaf: bool,
}

impl Hearing {
    /// Takes how many questions in a row it did not log; returns what is new.
    fn judge(&mut self, unheard: u64) -> Option<bool> {
        let deaf = unheard >= DEAF;
        (std::mem::replace(&mut self.deaf, deaf) != deaf).then_some(!deaf)
    }
}

impl Pulse {
    /// Begins at once, and goes on until the value goes.
    pub fn start(whom: Target, signs: mpsc::Sender<Sign>) -> Self {
        Self(tokio::spawn(async move {
            let mut looks: u8 = 0;
            let mut reported = None;
            let mut hearing = Hearing::default();
            loop {
                let sign = look(&whom, looks).await;
                // That it answers is news only after it did not.
                let news = sign.filter(|sign| *sign != Sign::Answers || reported != Some(Sign::Answers));
                if let Some(sign) = news {
                    reported = Some(sign);
                    if signs.send(sign).await.is_err() {
                        return;
                    }
                }
                if let Some(hears) = hearing.judge(whom.questions.unheard()) {
                    if signs.send(Sign::Hears(hears)).await.is_err() {
                        return;
                    }
                }
                looks = (looks + 1) % SIGNAL;
                alarm::until(beat(INTERVAL)).await;
            }
        }))
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.0.abort();
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
        match nameserver::answers(address, &name).await {
            Some(true) => return Some(Sign::Answers),
            Some(false) => asked = true,
            None => {}
        }
    }
    asked.then_some(Sign::Silent)
}

/// By the state in `/proc/PID/stat` (proc_pid_stat(5)): behind the name, which may hold anything.
fn stands_still(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with(['T', 't']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_hears_nothing_of_what_is_asked_is_deaf_until_it_does() {
        let mut hearing = Hearing::default();
        assert_eq!(hearing.judge(2), None, "two may be lost");
        assert_eq!(hearing.judge(3), Some(false));
        assert_eq!(hearing.judge(9), None, "reported once");
        assert_eq!(hearing.judge(0), Some(true));
        assert_eq!(hearing.judge(2), None);
        assert_eq!(hearing.judge(3), Some(false));
    }
}
