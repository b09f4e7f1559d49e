//! Requests from the control socket, and the state of nodes that outlives a restart.

use std::collections::BTreeSet;

use super::{Daemon, operator};
use crate::event::{Event, Mac, Order};
use crate::facts::Facts;
use crate::facts::node::Origin;
use crate::watch::control::Request;

/// State file: nodes that were shut down and have not come back, each line a boot ID ([`BOOT_ID`])
/// and the node's key.
pub(super) const SHUT_DOWN: &str = "shut-down";
/// Differs at each boot of the head (`random(4)`).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Stands for the boot ID where it cannot be read.
const UNKNOWN_BOOT: &str = "-";

/// State file: nodes in maintenance, one a line: by name if they are in the settings, else by MAC
/// address.
pub(super) const DRAINED: &str = "drained";

/// State file: how long nodes usually take to come up after the head's boot. Each line holds the
/// boot ID ([`BOOT_ID`]), seconds, and the node's name; one has the ID of the last boot alone.
pub(super) const USUAL_TIMES: &str = "usual-times";

impl Daemon {
    /// Carries out a request and replies once its effect is on disk.
    pub(super) async fn handle_request(&mut self, request: Request) {
        let Request { order, reply } = request;
        if let Order::Forget(name) = &order {
            return match self.mac_to_forget(name) {
                Ok(mac) => self.outputs.forget(mac, reply),
                Err(refusal) => drop(reply.send(Err(refusal))),
            };
        }
        if let Order::Drain(name) | Order::Resume(name) = &order {
            let exists = self.facts.nodes().by_name(name).is_some();
            // Maintenance can end for a node that has left.
            let is_drained = self.facts.nodes().drained().contains(&name.to_ascii_lowercase());
            let resumes = matches!(order, Order::Resume(_));
            if !(exists || is_drained && resumes) {
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
        let shuts_down = matches!(order, Order::Shutdown(_));
        let mut transitions = Vec::new();
        self.apply(&Event::Order(order), &mut transitions);
        self.publish(&transitions).await;
        if acknowledges {
            self.state.acknowledged.save_for(&operator::lines(&self.facts), reply);
        } else if shuts_down {
            self.state.shut_down.save_for(&shut_down_lines(&self.facts), reply);
        } else {
            self.state.drained.save_for(self.facts.nodes().drained(), reply);
        }
    }

    /// Resolves the name of a discovered node, or a MAC address, also one that is not present.
    fn mac_to_forget(&self, name: &str) -> Result<Mac, String> {
        let nodes = self.facts.nodes();
        let node = nodes.by_name(name).or_else(|| nodes.by_mac(name.parse().ok()?));
        match node {
            Some(node) if node.origin == Origin::Settings => {
                Err(format!("{} is a node of the settings: take it out there", node.name))
            }
            Some(node) => {
                node.mac.ok_or_else(|| format!("the hardware address of {name} is not known"))
            }
            None => name.parse().map_err(|_| {
                format!(
                    "there is no node {name}; name a board that is away by its hardware address"
                )
            }),
        }
    }

    /// Saves the state of nodes where it changed: a reload may have renamed or removed some.
    pub(super) fn save_node_orders(&mut self) {
        let state = &mut self.state;
        state.drained.save(self.facts.nodes().drained());
        state.shut_down.save(&shut_down_lines(&self.facts));
        let samples = self.facts.nodes().usual_learned();
        if std::mem::replace(&mut state.saved_samples, samples) != samples {
            state.usual_times.save(&usual_time_lines(&self.facts));
        }
    }
}

/// Restores the usual boot times. A file without a line of this boot shows that this is the first
/// run since the head's boot.
pub(super) fn restore_usual_times(facts: &mut Facts, lines: &BTreeSet<String>) {
    let boot = boot_id();
    let is_first = is_first_run(lines, &boot);
    let time = |line: &String| {
        let (seconds, key) = line.split_once(' ')?.1.split_once(' ')?;
        Some((key.to_owned(), seconds.parse().ok()?))
    };
    facts.restore_usual(lines.iter().filter_map(time).collect(), is_first);
}

fn is_first_run(lines: &BTreeSet<String>, boot: &str) -> bool {
    !lines.iter().any(|line| line.starts_with(boot))
}

/// Returns the list of usual boot times as restored, with a line for this boot: a run that is
/// restarted before it has learned any time is not taken for the first one.
pub(super) fn marked_usual_times(lines: &BTreeSet<String>) -> BTreeSet<String> {
    marked(lines, boot_id())
}

fn marked(lines: &BTreeSet<String>, boot: String) -> BTreeSet<String> {
    let times = lines.iter().filter(|line| line.contains(' ')).cloned();
    times.chain([boot]).collect()
}

fn usual_time_lines(facts: &Facts) -> BTreeSet<String> {
    let boot = boot_id();
    let times = facts.nodes().usual_times();
    let times = times.iter().map(|(key, seconds)| format!("{boot} {seconds} {key}")).collect();
    marked(&times, boot)
}

/// Restores the nodes that an earlier run had shut down. If the head has rebooted since, they are
/// booting too.
pub(super) fn restore_shut_down(facts: &mut Facts, lines: &BTreeSet<String>) {
    let (keys, rebooted) = shut_down_before(lines, &boot_id());
    facts.restore_shut_down(keys, rebooted);
}

/// Returns the keys of the nodes in the state file, and whether the head has rebooted since. Ignores
/// lines that have no boot ID: they are damaged.
fn shut_down_before(lines: &BTreeSet<String>, boot: &str) -> (BTreeSet<String>, bool) {
    let entries = lines.iter().filter_map(|line| line.split_once(' '));
    let entries: Vec<_> = entries.filter(|(id, _)| is_boot_id(id)).collect();
    let rebooted = entries.iter().any(|(id, _)| *id != boot);
    (entries.into_iter().map(|(_, key)| key.to_owned()).collect(), rebooted)
}

fn shut_down_lines(facts: &Facts) -> BTreeSet<String> {
    let keys = facts.nodes().shut_down();
    if keys.is_empty() {
        return keys;
    }
    let boot = boot_id();
    keys.iter().map(|key| format!("{boot} {key}")).collect()
}

/// Returns the ID of this boot; `-` if the kernel does not show it.
fn boot_id() -> String {
    std::fs::read_to_string(BOOT_ID)
        .map_or_else(|_| UNKNOWN_BOOT.to_owned(), |text| text.trim().to_owned())
}

/// Returns whether a text is a UUID, or [`UNKNOWN_BOOT`].
fn is_boot_id(text: &str) -> bool {
    let groups = text
        .split('-')
        .map(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(group.len()));
    text == UNKNOWN_BOOT || groups.eq([8, 4, 4, 4, 12].map(Some))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_is_not_the_first_run_of_a_boot_though_no_time_was_learned() {
        let former = BTreeSet::from(["former".to_owned(), "former 12 rpi1".to_owned()]);
        for lines in [BTreeSet::new(), former] {
            assert!(is_first_run(&lines, "this"));
            let restored = marked(&lines, "this".to_owned());
            assert!(!is_first_run(&restored, "this") && is_first_run(&restored, "next"));
            assert_eq!(restored.contains("former 12 rpi1"), !lines.is_empty(), "times stay");
            assert!(!restored.contains("former"), "one boot alone is marked");
        }
    }

    #[test]
    fn a_damaged_line_of_the_nodes_that_were_shut_down_is_no_reboot() {
        let (boot, former) =
            ("2f1a6c1e-7d0b-4c55-9f0e-6a3f0b9d1c22", "00000000-7d0b-4c55-9f0e-6a3f0b9d1c22");
        assert!(is_boot_id(&boot_id()));
        let read = |lines: &[String]| shut_down_before(&lines.iter().cloned().collect(), boot);
        let keys =
            |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<BTreeSet<_>>();
        let fine = format!("{boot} rpi1");
        for damaged in ["rpi2", "2f1a6c1e-7d0b rpi2", "", "x y z", "--- rpi2"] {
            let read = read(&[fine.clone(), damaged.to_owned()]);
            assert_eq!(read, (keys(&["rpi1"]), false), "{damaged:?}");
        }
        assert_eq!(
            read(&[fine.clone(), format!("{former} rpi2")]),
            (keys(&["rpi1", "rpi2"]), true)
        );
        assert_eq!(read(&[fine, "- rpi2".to_owned()]), (keys(&["rpi1", "rpi2"]), true));
    }
}
