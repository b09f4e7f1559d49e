//! A dnsmasq that lives and does nothing: noticed, named, ended by force.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Supervisor;
use crate::event::{Event, Firewall};
use crate::reconcile::dhcp::error::DnsmasqError;
use crate::reconcile::dhcp::log_parser;
use crate::reconcile::dhcp::pulse::{Pulse, Sign, Target};

/// It answers a signal with a line; who has not after this long does not hear it.
const SIGNALLED: Duration = Duration::from_secs(2);

impl Supervisor {
    /// Begins to ask the one that has started.
    pub(super) fn ask_for_its_pulse(&mut self) {
        let (Some(running), Some(given)) = (&self.running, &self.given) else { return };
        let Some(process) = running.id() else { return };
        // What was asked before it ran it cannot have heard.
        self.asked.heard();
        let names = self.without_names.is_none() && given.config != given.config_without_names;
        let names = names.then(|| given.address.addr());
        let whom = Target {
            process,
            names,
            domain: given.domain.clone(),
            asked: self.asked.clone(),
            log: running.unread(),
        };
        self.signs = mpsc::channel(4);
        self.pulse = Some(Pulse::start(whom, self.signs.0.clone()));
    }

    /// Reports whether what nodes ask on the wire reaches it, if that is another answer than
    /// before.
    pub(super) async fn hears(&mut self, hears: bool) {
        if std::mem::replace(&mut self.deaf, !hears) != self.deaf {
            let _ = self.events.send(Event::Firewall(Firewall::Unheard(!hears))).await;
        }
    }

    pub(super) async fn seen(&mut self, sign: Sign) {
        let Some(running) = &self.running else { return };
        match sign {
            Sign::Answers => (self.unanswered, self.blocked_reported) = (false, false),
            Sign::Hears(hears) => self.hears(hears).await,
            Sign::Stopped => self.hung("it stands still, stopped by a signal").await,
            // Our question may have been dropped on its way: a signal gets there.
            Sign::Silent | Sign::Unasked => {
                self.unanswered = sign == Sign::Silent;
                running.reload();
                self.signalled.get_or_insert(Instant::now() + SIGNALLED);
            }
        }
    }

    /// Takes a line for a sign of life. What was asked by its address did not get there, then.
    pub(super) fn answered_signal(&mut self) {
        if self.signalled.take().is_some() && self.unanswered && !self.blocked_reported {
            self.blocked_reported = true;
            let text = "dnsmasq runs, but does not answer a question for a name at the head's \
                        own address: the rules of another program drop it on the loopback interface \
                        (see `bramblegate doctor`)";
            self.emit(log_parser::trouble(text.to_owned()));
        }
    }

    /// Ends a dnsmasq that lives and does nothing, by force, and begins it again. The alert stands
    /// until the next one has answered for a while.
    pub(super) async fn hung(&mut self, why: &str) {
        self.signalled = None;
        self.pulse = None;
        let Some(running) = self.running.take() else { return };
        self.crashes.hung();
        self.report(Err(DnsmasqError::Hangs { why: why.to_owned() }.into())).await;
        running.kill().await;
        self.restart().await;
    }
}
