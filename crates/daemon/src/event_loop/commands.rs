//! Orders about nodes: given on the control socket, and kept through a restart.

use std::collections::BTreeSet;

use super::{Daemon, operator};
use crate::event::{Mac, Order};
use crate::facts::Facts;
use crate::facts::node::Origin;
use crate::watch::control::Request;

/// In the state directory: who was shut down and is not back, one a line, behind the number of the
/// machine's start in which it was ([`BOOT`]).
pub(super) const SHUT_DOWN: &str = "shut-down";
/// Another one at each start of the machine (`random(4)`).
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// In the state directory: who is worked on, one a line; the names of nodes of the settings, the
/// hardware addresses of others.
pub(super) const DRAINED: &str = "drained";

/// In the state directory: how long nodes usually take after the machine was started, one a line:
/// the number of that start ([`BOOT`]), seconds, and the node's name.
pub(super) const USUAL: &str = "usual-times";

impl Daemon {
    /// Carries an order out and answers when it is on disk.
    pub(super) async fn order(&mut self, request: Request) {
        let Request { order, reply } = request;
        if let Order::Forget(name) = &order {
            return match self.board_of(name) {
                Ok(mac) => self.outputs.forget(mac, reply),
                Err(refusal) => drop(reply.send(Err(refusal))),
            };
        }
        if let Order::Drain(name) | Order::Resume(name) = &order {
            let known = self.facts.nodes().by_name(name).is_some();
            // One that is not here can still be let go.
            let noted = self.facts.nodes().drained().contains(&name.to_ascii_lowercase());
            let resumes = matches!(order, Order::Resume(_));
            if !(known || noted && resumes) {
                let _ = reply.send(Err(format!("there is no node {name}")));
                return;
            }
        }
        if order == Order::NextPage {
            self.outputs.next_page();
            let _ = reply.send(Ok(()));
            return;
        }
        let acknowledges = order == Order::Acknowledge;
        let reports = matches!(order, Order::Shutdown(_));
        let mut transitions = Vec::new();
        self.take(&crate::event::Event::Order(order), &mut transitions).await;
        self.publish(&transitions).await;
        if acknowledges {
            self.known.keep_for(&operator::lines(&self.facts), reply);
        } else if reports {
            self.shut_down.keep_for(&shut_down_lines(&self.facts), reply);
        } else {
            self.drained.keep_for(self.facts.nodes().drained(), reply);
        }
    }

    /// Returns the board that is meant by the name of a found node, or by its own hardware address,
    /// also if it is not here.
    fn board_of(&self, name: &str) -> Result<Mac, String> {
        let nodes = self.facts.nodes();
        let node = nodes.by_name(name).or_else(|| nodes.by_mac(name.parse().ok()?));
        match node {
            Some(node) if node.origin == Origin::Settings => {
                Err(format!("{} is a node of the settings: take it out there", node.name))
            }
            Some(node) => node.mac.ok_or_else(|| {
                format!(
                    "the hardware address of {name} is not \
                known"
                )
            }),
            None => name.parse().map_err(|_| {
                format!(
                    "there is no node {name}; name a board that is away by its hardware address"
                )
            }),
        }
    }

    /// Keeps the orders of nodes beyond a reload: an order follows its node to another name, and
    /// ends with it.
    pub(super) fn keep_orders(&mut self) {
        self.drained.keep(self.facts.nodes().drained());
        self.shut_down.keep(&shut_down_lines(&self.facts));
        let learned = self.facts.nodes().usual_learned();
        if std::mem::replace(&mut self.learned, learned) != learned {
            self.usual.keep(&usual_lines(&self.facts));
        }
    }
}

/// Takes in how long nodes took before. The first run since the machine was started finds no line
/// of this start.
pub(super) fn restore_usual(facts: &mut Facts, lines: &BTreeSet<String>) {
    let boot = boot();
    let is_first = !lines.iter().any(|line| line.starts_with(&boot));
    let time = |line: &String| {
        let (seconds, key) = line.split_once(' ')?.1.split_once(' ')?;
        Some((key.to_owned(), seconds.parse().ok()?))
    };
    facts.restore_usual(lines.iter().filter_map(time).collect(), is_first);
}

fn usual_lines(facts: &Facts) -> BTreeSet<String> {
    let boot = boot();
    let times = facts.nodes().usual_times();
    times.iter().map(|(key, seconds)| format!("{boot} {seconds} {key}")).collect()
}

/// Takes in whom an earlier run had shut down. Where that was before the machine's start, they are
/// on their way back.
pub(super) fn restore_shut_down(facts: &mut Facts, lines: &BTreeSet<String>) {
    let boot = boot();
    let started = lines.iter().any(|line| !line.starts_with(&boot));
    let keys = lines.iter().filter_map(|line| line.split_once(' '));
    facts.restore_shut_down(keys.map(|(_, key)| key.to_owned()).collect(), started);
}

/// Returns who was shut down, as it is kept.
fn shut_down_lines(facts: &Facts) -> BTreeSet<String> {
    let keys = facts.nodes().shut_down();
    if keys.is_empty() {
        return keys;
    }
    let boot = boot();
    keys.iter().map(|key| format!("{boot} {key}")).collect()
}

fn boot() -> String {
    std::fs::read_to_string(BOOT).map_or_else(|_| "-".to_owned(), |text| text.trim().to_owned())
}
