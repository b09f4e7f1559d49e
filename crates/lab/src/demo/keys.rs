//! The demo's keys: the action of each, and the proof of its effect.

use std::time::Duration;

use bramblegate::decide::firewall::TABLE;
use bramblegate_api::status::{Severity, UplinkState};

use crate::file::{Check, Expect};
use crate::play::unmet;
use crate::shell::must;
use crate::watch;
use crate::world::World;

/// The action of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    Cable,
    Node,
    Venue,
    Overlap,
    Flush,
    Forwarding,
    Portal,
    Renew,
    Acknowledge,
    NextPage,
    Quit,
}

/// The keys, each with its letter in brackets.
pub const KEYS: [(&str, Deed); 11] = [
    ("[c]able", Deed::Cable),
    ("[n]ode", Deed::Node),
    ("[v]enue", Deed::Venue),
    ("[o]verlap", Deed::Overlap),
    ("[f]lush rules", Deed::Flush),
    ("[s]witch forwarding off", Deed::Forwarding),
    ("[p]ortal", Deed::Portal),
    ("[r]enew lease", Deed::Renew),
    ("[a]cknowledge", Deed::Acknowledge),
    ("[b]utton: next page", Deed::NextPage),
    ("[q]uit", Deed::Quit),
];

/// Returns the action of a key. Control-C and Control-D quit, as the terminal is in raw mode.
pub fn deed(key: char) -> Option<Deed> {
    match key {
        '\u{3}' | '\u{4}' => Some(Deed::Quit),
        _ => KEYS
            .into_iter()
            .find(|(words, _)| words.chars().nth(1) == Some(key))
            .map(|(_, deed)| deed),
    }
}

/// Returns the line of keys, separated by two spaces.
pub fn key_line() -> String {
    KEYS.map(|(words, _)| words).join("  ")
}

/// The state of the world before a key was pressed.
#[derive(Debug, Default)]
pub struct Before {
    leases: usize,
    rows: Vec<String>,
    /// The internet was reachable, so that a node's page must load again.
    online: bool,
    /// An unacknowledged alert is raised.
    pub alarm: bool,
    /// The only unacknowledged warning or fault, which the LCD then shows on its only page.
    only: Option<String>,
    /// The head's address in the next venue.
    pub lease: Option<String>,
}

impl Before {
    pub fn of(world: &World, port: &str) -> Self {
        let Ok(status) = world.status() else { return Self::default() };
        let mut wrong = status.alerts.iter().filter(|alert| {
            !alert.acknowledged && alert.severity.known() >= Some(Severity::Warning)
        });
        let only = wrong.next().map(|alert| alert.text.to_string());
        Self {
            leases: world.leases(port),
            only: only.filter(|_| wrong.next().is_none()),
            rows: watch::lcd(&status),
            online: status.uplink.state == UplinkState::Online,
            alarm: status.alerts.iter().any(|alert| !alert.acknowledged),
            lease: None,
        }
    }
}

/// A query of the world.
type Ask<T> = Box<dyn Fn(&World) -> T>;

/// Checks the effect of a key.
pub struct Proof {
    /// Describes what is still missing; `None` once the effect is visible.
    pub unmet: Ask<Option<String>>,
    /// Describes the effect for users.
    pub words: Ask<String>,
}

/// Timeout for the effect of a key: a node is found down after a second, DHCP may need three.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Returns the proof of an action. `on`: the new state of a toggling key (pulled, dead, closed).
/// `port`: the uplink.
pub fn proof(deed: Deed, on: bool, port: &str, before: Before) -> Proof {
    match (deed, on) {
        (Deed::Cable, true) => seen(row("NO CABLE"), "The address has left the LCD: NO CABLE"),
        (Deed::Cable | Deed::Venue, _) => {
            let row = row(before.lease.as_deref().unwrap_or("*.*.*.*"));
            let expect = Expect { row1: row.row1, ..state("online|portal") };
            Proof {
                unmet: Box::new(move |world| unmet(world, &expect)),
                words: Box::new(|world| format!("The LCD shows {}: ssh to it", first_row(world))),
            }
        }
        (Deed::Overlap, _) => {
            let expect = Expect { row1: before.lease, ..with_page(overlap("routed"), true) };
            seen(expect, "Both networks are 192.168.50.0/24, and a node's page loads")
        }
        (Deed::Node, true) => {
            let expect = Expect { alerts: vec!["node-down".to_owned()], ..health("down") };
            seen(expect, "Noticed: the LED blinks amber, the LCD names rpi2")
        }
        (Deed::Node, false) => seen(health("up"), "rpi2 answers again"),
        (Deed::Flush, _) => rules_are_back(before),
        (Deed::Forwarding, _) => forwarding_is_back(port.to_owned(), before),
        (Deed::Portal, true) => {
            let expect = Expect { panel: Some("*PORTAL*".to_owned()), ..state("portal") };
            seen(expect, "The portal is recognised and named on the LCD")
        }
        (Deed::Portal, false) => {
            seen(with_page(state("online"), true), "The internet is there: a node's page loads")
        }
        (Deed::Renew, _) => renewed(port.to_owned(), before),
        (Deed::Acknowledge, _) => Proof {
            unmet: Box::new(|world| {
                let status = world.status().ok()?;
                let open = status.alerts.iter().find(|alert| !alert.acknowledged)?;
                Some(format!("{} is not acknowledged", open.code))
            }),
            words: Box::new(|_| "Acknowledged: it stays listed and alarms no more".to_owned()),
        },
        (Deed::NextPage | Deed::Quit, _) => next_page(before),
    }
}

fn seen(expect: Expect, words: &'static str) -> Proof {
    Proof {
        unmet: Box::new(move |world| unmet(world, &expect)),
        words: Box::new(move |_| words.to_owned()),
    }
}

fn row(pattern: &str) -> Expect {
    Expect { row1: Some(pattern.to_owned()), ..Expect::default() }
}

fn state(pattern: &str) -> Expect {
    let status = vec![("uplink.state".to_owned(), pattern.to_owned())];
    Expect { status, ..Expect::default() }
}

fn overlap(pattern: &str) -> Expect {
    let status = vec![("gateway.overlap".to_owned(), pattern.to_owned())];
    Expect { status, ..Expect::default() }
}

fn health(health: &str) -> Expect {
    let status = vec![("nodes.rpi2.health".to_owned(), health.to_owned())];
    Expect { status, ..Expect::default() }
}

/// Adds the check that a node loads a page of the internet, if `online`.
fn with_page(expect: Expect, online: bool) -> Expect {
    let page = Check::Http("http://www.example/".to_owned(), 200);
    let checks = if online { vec![("rpi1".to_owned(), true, page)] } else { Vec::new() };
    Expect { checks, ..expect }
}

/// Proves by `nft`, independently of the daemon, that the rules are loaded. Does not wait for a
/// repair: from Linux 5.12 on the daemon owns the table (`flags owner`), and a flush spares it.
fn rules_are_back(before: Before) -> Proof {
    let page = with_page(Expect::default(), before.online);
    Proof {
        unmet: Box::new(move |world| {
            if rules() == 0 {
                return Some(format!("nft lists no table {TABLE}"));
            }
            unmet(world, &page)
        }),
        words: Box::new(move |_| {
            let page = if before.online { "; a node's page loads" } else { "" };
            format!("The rules are in the kernel, checked: nft lists {} rules{page}", rules())
        }),
    }
}

/// Counts our rules in the head's kernel.
fn rules() -> usize {
    let text = must("head", "nft -a list ruleset").unwrap_or_default();
    let ours = text.split("\ntable ").filter(|table| {
        let name = table.trim_start_matches("table ").split_whitespace().nth(1);
        name == Some(TABLE)
    });
    // `-a` appends a handle to each rule, and to each line that opens a block.
    let is_rule =
        |line: &&str| line.split_once(" # handle ").is_some_and(|(rule, _)| !rule.ends_with('{'));
    ours.flat_map(str::lines).filter(is_rule).count()
}

fn forwarding_is_back(port: String, before: Before) -> Proof {
    let page = with_page(Expect::default(), before.online);
    Proof {
        unmet: Box::new(move |world| {
            let off = [&*port, "eth0"].into_iter().find(|port| !forwards(port));
            off.map(|port| format!("forwarding of {port} is off")).or_else(|| unmet(world, &page))
        }),
        words: Box::new(move |_| {
            let page = if before.online { ", and a node's page loads" } else { "" };
            format!("Forwarding is on again in the kernel{page}")
        }),
    }
}

fn forwards(port: &str) -> bool {
    must("head", &format!("cat /proc/sys/net/ipv4/conf/{port}/forwarding"))
        .is_ok_and(|text| text.trim() == "1")
}

fn renewed(port: String, before: Before) -> Proof {
    Proof {
        unmet: Box::new(move |world| {
            (world.leases(&port) <= before.leases).then(|| "no answer of the server".to_owned())
        }),
        words: Box::new(|world| {
            let uplink = world.status().map(|status| status.uplink).unwrap_or_default();
            let address =
                uplink.address.map_or(String::new(), |address| address.addr().to_string());
            let left = uplink.lease_left_s.map_or(String::new(), |left| format!(" for {left} s"));
            format!("The DHCP server has renewed the lease: {address}{left}")
        }),
    }
}

fn next_page(before: Before) -> Proof {
    if let Some(only) = before.only {
        return Proof {
            unmet: Box::new(|_| None),
            words: Box::new(move |_| format!("The LCD stays with what is wrong: {only}")),
        };
    }
    Proof {
        unmet: Box::new(move |world| {
            let rows = world.lcd().unwrap_or_default();
            (without_heart(&rows) == without_heart(&before.rows)).then(|| "the same page".into())
        }),
        words: Box::new(|world| {
            let rows = world.lcd().unwrap_or_default();
            let row = rows.last().map_or("", |row| row.trim_end_matches([' ', '♥']));
            format!("The LCD shows: {row}")
        }),
    }
}

fn first_row(world: &World) -> String {
    world.glass().first().map(|row| row.trim_end().to_owned()).unwrap_or_default()
}

/// Returns the text without the heart, which beats on every page.
fn without_heart(rows: &[String]) -> Vec<String> {
    rows.iter().map(|row| row.replace('♥', " ")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_key_has_its_action_and_no_other_key_has_one() {
        let line = key_line();
        let offered: Vec<char> =
            line.split('[').skip(1).filter_map(|words| words.chars().next()).collect();
        let deeds: Vec<Deed> = offered.iter().filter_map(|key| deed(*key)).collect();
        assert_eq!(
            deeds,
            KEYS.map(|(_, deed)| deed),
            "a key that is offered twice, or is dead: {line}"
        );
        assert_eq!((deed('a'), deed('b')), (Some(Deed::Acknowledge), Some(Deed::NextPage)));
        assert!(('\0'..='\u{7f}').filter(|key| deed(*key).is_some()).count() == offered.len() + 2);
    }
}
