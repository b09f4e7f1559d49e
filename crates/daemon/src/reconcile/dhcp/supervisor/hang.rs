//! Detects a dnsmasq that hangs, or stops advertising, reports and restarts it.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Supervisor;
use crate::event::{Event, Firewall};
use crate::reconcile::dhcp::error::DnsmasqError;
use crate::reconcile::dhcp::log_parser;
use crate::reconcile::dhcp::pulse::{Pulse, Sign, Target};

/// Timeout for the line that dnsmasq logs in response to a signal.
const SIGNAL_TIMEOUT: Duration = Duration::from_secs(2);

impl Supervisor {
    /// Starts the health check of the running process.
    pub(super) fn start_pulse(&mut self) {
        let (Some(running), Some(applied)) = (&self.running, &self.applied) else { return };
        let Some(process) = running.id() else { return };
        // Requests from before the start do not count.
        self.questions.heard();
        let names = self.without_names.is_none() && applied.config != applied.config_without_names;
        let target = Target {
            process,
            names: names.then(|| applied.address.addr()),
            domain: applied.domain.clone(),
            advertises: applied.advertises,
            questions: self.questions.clone(),
            log: running.unread(),
        };
        self.signs = mpsc::channel(4);
        self.pulse = Some(Pulse::start(target, self.signs.0.clone()));
    }

    /// Records whether requests of nodes reach the process, and reports a change.
    pub(super) async fn set_deaf(&mut self, deaf: bool) {
        if std::mem::replace(&mut self.deaf, deaf) != deaf {
            let _ = self.events.send(Event::Firewall(Firewall::Unheard(deaf))).await;
        }
    }

    pub(super) async fn on_sign(&mut self, sign: Sign) {
        let Some(running) = &self.running else { return };
        match sign {
            Sign::Answers => (self.unanswered, self.blocked_reported) = (false, false),
            Sign::Hears(hears) => self.set_deaf(!hears).await,
            Sign::Stopped => self.on_hang("it stands still, stopped by a signal").await,
            Sign::ClockSetBack(step) => {
                let text = format!(
                    "the clock was set back by {} s, and dnsmasq would send no router \
                     advertisement for that time: it is started again",
                    step.as_secs()
                );
                self.emit(log_parser::trouble(text));
                self.restart().await;
            }
            // The firewall may have dropped our query, but it cannot drop a signal.
            Sign::Silent | Sign::Unasked => {
                self.unanswered = sign == Sign::Silent;
                running.reload();
                self.signal_deadline.get_or_insert(Instant::now() + SIGNAL_TIMEOUT);
            }
        }
    }

    /// Takes a logged line as the response to a signal. If it was sent because of a lost query, the
    /// query was dropped on its way, which is reported.
    pub(super) fn on_response(&mut self) {
        if self.signal_deadline.take().is_some() && self.unanswered && !self.blocked_reported {
            self.blocked_reported = true;
            let text = "dnsmasq runs, but does not answer a question for a name at the head's \
                        own address: the rules of another program drop it on the loopback interface \
                        (see `bramblegate doctor`)";
            self.emit(log_parser::trouble(text.to_owned()));
        }
    }

    /// Kills and restarts a hanging process. The alert lasts until the next one is stable.
    pub(super) async fn on_hang(&mut self, why: &str) {
        self.signal_deadline = None;
        self.pulse = None;
        let Some(running) = self.running.take() else { return };
        self.crashes.hung();
        self.report(Err(DnsmasqError::Hangs { why: why.to_owned() }.into())).await;
        running.kill().await;
        self.restart().await;
    }
}
