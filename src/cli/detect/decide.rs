//! Derives settings from the hardware that was found, with reasons. Pure.

use ipnet::Ipv4Net;

use super::look::{Found, Port, PortKind};
use crate::board::Board;
use crate::panel::{Controller, Resolution, oled};

/// Values for a settings file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// (key, TOML value) of each decision.
    pub values: Vec<(&'static str, String)>,
    /// One line for each decision, for users.
    pub reasons: Vec<String>,
    /// Both ports are there and nothing was guessed.
    pub certain: bool,
}

impl Proposal {
    pub fn value(&self, key: &str) -> Option<&str> {
        self.values.iter().find(|(name, _)| *name == key).map(|(_, value)| value.as_str())
    }

    /// Sets a key, in place of an earlier value.
    pub fn set(&mut self, key: &'static str, value: String) {
        self.values.retain(|(name, _)| *name != key);
        self.values.push((key, value));
    }

    fn note(&mut self, reason: impl Into<String>) {
        self.reasons.push(reason.into());
    }
}

/// Returns the proposed settings for what was found.
pub fn decide(found: &Found, board: &Board) -> Proposal {
    let mut proposal = Proposal { values: Vec::new(), reasons: Vec::new(), certain: true };
    proposal.set("board", text("auto"));
    let how = if found.device_tree { "by the device tree" } else { "there is no device tree" };
    proposal.note(format!("board: {} ({}), {how}", board.name, board.description));
    ports(found, board, &mut proposal);
    subnet(found, &mut proposal);
    panel(found, board, &mut proposal);
    light(found, board, &mut proposal);
    proposal
}

/// Returns the text as a TOML value.
pub fn text(text: &str) -> String {
    crate::config::quote(text)
}

/// Returns the list as a TOML value.
pub fn list(names: &[String]) -> String {
    format!("[{}]", names.iter().map(|name| text(name)).collect::<Vec<_>>().join(", "))
}

/// Decides which port leads to the nodes, and which ones to the venue.
fn ports(found: &Found, board: &Board, proposal: &mut Proposal) {
    for port in &found.ports {
        let carrier = match port.carrier {
            Some(true) => "cable in or associated",
            Some(false) => "no cable",
            None => "switched off",
        };
        let way_out = if found.default_route.as_ref() == Some(&port.name) {
            ", the way to the internet now"
        } else {
            ""
        };
        proposal.note(format!(
            "interface {}: {}, {}, {carrier}{way_out}",
            port.name,
            port.kind.words(),
            port.mac
        ));
        if let Some(master) = &port.master {
            proposal.note(format!(
                "interface {} belongs to {master}: name {master} in its place, if you use it",
                port.name
            ));
        }
    }
    let cluster = cluster_port(found, board);
    let others: Vec<&Port> = found.ports.iter().filter(|port| Some(*port) != cluster).collect();
    let name = match cluster {
        Some(port) => {
            proposal.note(format!(
                "cluster: {}, {}",
                port.name,
                cluster_reason(port, found, board)
            ));
            port.name.clone()
        }
        None => {
            let taken = |name: &String| {
                found.ports.iter().any(|port| port.name == *name) || name.contains('*')
            };
            let name = board
                .ports
                .cluster
                .iter()
                .find(|name| !taken(name))
                .cloned()
                .unwrap_or_else(|| unused_name(&others));
            proposal.note(format!(
                "cluster: no wired interface is left for the nodes; {name} is written \
                 until you change it"
            ));
            proposal.certain = false;
            name
        }
    };
    let mut uplinks: Vec<&Port> = others;
    uplinks.sort_by_key(|port| {
        (found.default_route.as_ref() != Some(&port.name), port.kind, port.name.clone())
    });
    let mut names: Vec<String> = uplinks.iter().map(|port| port.name.clone()).collect();
    if names.is_empty() {
        proposal.certain = false;
        let usual: &[String] = &board.ports.uplinks;
        names = usual.iter().filter(|pattern| **pattern != name).cloned().collect();
        if names.is_empty() {
            names = ["usb*", "wl*"].map(str::to_owned).to_vec();
        }
        proposal.note(format!(
            "uplinks: no other interface is there now; {} would do once they come",
            names.join(", ")
        ));
    } else {
        proposal.note(format!("uplinks: {}, in this order", names.join(", ")));
    }
    proposal.set("uplink.interfaces", list(&names));
    proposal.set("cluster.interface", text(&name));
}

/// Returns an interface name that is not in use.
fn unused_name(ports: &[&Port]) -> String {
    let free = (0..)
        .map(|number| format!("eth{number}"))
        .find(|name| ports.iter().all(|port| port.name != *name));
    free.unwrap_or_else(|| "eth0".to_owned())
}

/// Returns the port for the nodes: the board's own, else a wired one without the default route.
fn cluster_port<'a>(found: &'a Found, board: &Board) -> Option<&'a Port> {
    let cabled = || found.ports.iter().filter(|port| port.kind != PortKind::Wireless);
    let way_out = |port: &&Port| found.default_route.as_ref() == Some(&port.name);
    let free: Vec<&Port> = cabled().filter(|port| !way_out(port)).collect();
    if free.is_empty() {
        // The only cabled port has the default route: Wi-Fi can be the uplink, or the board names
        // the port.
        let radio = found.ports.iter().any(|port| port.kind == PortKind::Wireless);
        let known = |port: &&Port| board.ports.cluster.contains(&port.name);
        return cabled().find(|port| radio || known(port));
    }
    let named =
        board.ports.cluster.iter().find_map(|name| free.iter().find(|port| port.name == *name));
    named
        .or_else(|| free.iter().find(|port| port.kind == PortKind::Wired))
        .or_else(|| free.first())
        .copied()
}

fn cluster_reason(port: &Port, found: &Found, board: &Board) -> String {
    if found.default_route.as_ref() == Some(&port.name) {
        return "the only interface for a cable. It is the way to the internet now, so move that \
                cable first"
            .to_owned();
    }
    if board.ports.cluster.contains(&port.name) {
        return format!("the built-in interface of a {}", board.description);
    }
    "an interface for a cable that is not the way to the internet".to_owned()
}

/// Proposes the default subnet, or another if a port uses that already.
fn subnet(found: &Found, proposal: &mut Proposal) {
    let candidates = ["192.168.50.1/24", "10.213.50.1/24", "172.30.50.1/24"];
    let taken = candidates
        .iter()
        .copied()
        .find_map(|candidate| overlapping_subnet(found, proposal, candidate));
    let free = candidates
        .iter()
        .copied()
        .find(|candidate| overlapping_subnet(found, proposal, candidate).is_none());
    let chosen = free.unwrap_or("192.168.50.1/24");
    if let Some((net, port)) = taken.filter(|_| free != Some("192.168.50.1/24")) {
        proposal.note(format!("cluster: {port} uses {net}, so the cluster is {chosen}"));
    }
    proposal.set("cluster.address", text(chosen));
}

/// Returns a subnet of another port that overlaps the candidate.
fn overlapping_subnet(
    found: &Found,
    proposal: &Proposal,
    candidate: &str,
) -> Option<(Ipv4Net, String)> {
    let net: Ipv4Net = candidate.parse().ok()?;
    let cluster = proposal.value("cluster.interface").map(str::to_owned);
    let overlaps =
        |other: &Ipv4Net| other.contains(&net.network()) || net.contains(&other.network());
    found
        .subnets
        .iter()
        .find(|(other, port)| overlaps(other) && Some(text(port)) != cluster)
        .cloned()
}

fn panel(found: &Found, board: &Board, proposal: &mut Proposal) {
    let mut first = None;
    for bus in &found.buses {
        for (address, text, remedy) in &bus.held {
            proposal.note(format!("{text}: {remedy}"));
            first.get_or_insert((bus.device.clone(), *address, None));
        }
        match &bus.answers {
            Err(error) => {
                proposal.note(format!("{} ({}): cannot be read: {error}", bus.device, bus.name))
            }
            Ok(answers) if answers.is_empty() => {
                proposal.note(format!("{} ({}): no expander answers", bus.device, bus.name));
            }
            Ok(answers) => {
                for (address, byte) in answers {
                    proposal.note(format!(
                        "{} ({}): {address:#04x} answers {byte:#04x}: {}",
                        bus.device,
                        bus.name,
                        chip_description(*address, *byte)
                    ));
                    first.get_or_insert((bus.device.clone(), *address, oled(*address, *byte)));
                }
            }
        }
    }
    if let Some((device, address, Some((controller, resolution)))) = first {
        proposal.note(format!(
            "lcd: {device} {address:#04x}, an OLED of {} with an {}, going by its answer. If two \
             columns are missing at an edge or rows are mixed up: `bramblegate detect --try \
             {address:#04x}` finds out",
            resolution.name(),
            controller.name().to_uppercase()
        ));
        proposal.set("lcd.bus", text(&device));
        proposal.set("lcd.address", format!("{address:#04x}"));
        proposal.set("lcd.size", text(resolution.name()));
    } else if let Some((device, address, None)) = first {
        proposal.note(format!(
            "lcd: {device} {address:#04x}, wiring \"{}\" as most have it; \
             `bramblegate detect --try {address:#04x}` finds \
             out",
            board.lcd.wiring
        ));
        proposal.set("lcd.bus", text(&device));
        proposal.set("lcd.address", format!("{address:#04x}"));
    } else {
        let remedy = if found.buses.is_empty() && board.lcd.bus.starts_with("/dev/") {
            "; I2C is switched off: add dtparam=i2c_arm=on to /boot/firmware/config.txt, or use \
             raspi-config"
        } else {
            ""
        };
        proposal.note(format!(
            "lcd: no display was found, the board's own value stands: {}{remedy}",
            board.lcd.bus
        ));
    }
}

/// Describes the chips that may give this answer.
fn chip_description(address: u8, answer: u8) -> String {
    let may_be_oled = oled::ADDRESSES.contains(&address);
    match oled(address, answer) {
        Some((controller, _)) => format!(
            "an OLED with an {}, or a PCF8574A whose pins happen to stand so",
            controller.name().to_uppercase()
        ),
        None if may_be_oled => "a PCF8574A, or an OLED that does not say which".to_owned(),
        None if address >= 0x38 => "a PCF8574A".to_owned(),
        None => "a PCF8574, or an MCP23008 or MCP23017".to_owned(),
    }
}

/// Returns the OLED that this answer indicates, if it does.
fn oled(address: u8, answer: u8) -> Option<(Controller, Resolution)> {
    let controller =
        Controller::by_status(answer).filter(|_| oled::ADDRESSES.contains(&address))?;
    Some((controller, Resolution::by_status(answer)))
}

fn light(found: &Found, board: &Board, proposal: &mut Proposal) {
    match found.sticks.as_slice() {
        [] if !found.detached.is_empty() => {
            for stick in &found.detached {
                let (text, remedy) = stick.explain();
                proposal.note(format!("led: {text}: {remedy}"));
            }
        }
        [] => proposal.note("led: no BlinkStick is plugged in"),
        [one] => proposal.note(format!("led: BlinkStick {one}")),
        [first, ..] => {
            proposal
                .note(format!("led: BlinkSticks {}; the first is taken", found.sticks.join(", ")));
            proposal.set("led.device", text(&format!("blinkstick:{first}")));
        }
    }
    match &board.led.kernel {
        Some(kernel) if found.leds.contains(kernel) => {
            proposal.note(format!("led: the board's own LED {kernel} without one"))
        }
        Some(kernel) => {
            proposal.note(format!(
                "led: the board should have a LED {kernel}, and has: {}",
                found.leds.join(", ")
            ));
        }
        None => {}
    }
}
