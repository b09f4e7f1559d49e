//! Facts from a short story made of real events.

use std::sync::Arc;
use std::time::Duration;

use crate::config::board::Board;
use crate::config::{self, Settings};
use crate::decide;
use crate::event::{
    Address, Applied, ApplyReport, Change, Dump, Event, Instant, Link, LinkIndex, Output, Probe,
    Reachability, Round, Route, Vital,
};
use crate::facts::Facts;
use crate::panel::Playlist;
use crate::view::panel::page::playlist;

pub const CLUSTER: LinkIndex = 2;
pub const ETH1: LinkIndex = 3;
pub const WLAN0: LinkIndex = 4;

const SETTINGS: &str = "\
uplink.interfaces = [\"eth1\", \"wlan0\"]
cluster.interface = \"eth0\"
[[node]]
name = \"rpi1\"
address = \"192.168.50.11\"
[[node]]
name = \"rpi2\"
address = \"192.168.50.12\"
[[node]]
name = \"rpi3\"
address = \"192.168.50.13\"
";

pub fn settings(text: &str) -> Settings {
    let board = Board::built_in("emulated").unwrap();
    config::load(&[("story", text)], &board).unwrap_or_else(|faults| panic!("{faults:?}"))
}

pub struct Story {
    pub settings: Settings,
    pub facts: Facts,
    pub now: Instant,
}

impl Story {
    /// Starts with a cluster port that the kernel has reported.
    pub fn new() -> Self {
        Self::of(SETTINGS)
    }

    /// Starts with other settings.
    pub fn of(text: &str) -> Self {
        let settings = settings(text);
        let now = Instant::from_boot(Duration::from_secs(100));
        let facts = Facts::new(Arc::new(settings.clone()), now);
        let story = Self { settings, facts, now };
        story
            .handle(Event::Dump(Dump::Begin))
            .port(CLUSTER, "eth0", true)
            .handle(Event::Dump(Dump::End))
            .handle(Event::Vital(Vital::Host {
                name: "bramble-head".into(),
                ssh_ports: vec![22],
                announced: false,
            }))
    }

    pub fn handle(mut self, event: Event) -> Self {
        self.facts.apply(&event, self.now);
        self
    }

    pub fn wait(mut self, time: Duration) -> Self {
        self.now = self.now + time;
        self.handle(Event::Tick)
    }

    pub fn port(self, index: LinkIndex, name: &str, carrier: bool) -> Self {
        self.handle(Event::Link(Change::Present(Link {
            carrier,
            wireless: name.starts_with("wl"),
            ..Link::wired(index, name)
        })))
    }

    pub fn address(self, index: LinkIndex, text: &str) -> Self {
        let address: ipnet::IpNet = text.parse().unwrap();
        let valid_for = matches!(address, ipnet::IpNet::V4(_)).then_some(Duration::from_secs(120));
        self.handle(Event::Address(Change::Present(Address {
            valid_for,
            ..Address::lasting(index, address)
        })))
    }

    pub fn default_route(self, index: LinkIndex, gateway: &str, metric: u32) -> Self {
        let gateway: std::net::IpAddr = gateway.parse().unwrap();
        let all = if gateway.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
        self.handle(Event::Route(Change::Present(Route {
            table: 254,
            destination: all.parse().unwrap(),
            gateway: Some(gateway),
            index,
            metric,
            protocol: 16,
            onlink: false,
            preferred_source: None,
            mtu: None,
        })))
    }

    pub fn reached(self, index: LinkIndex, reachability: Reachability) -> Self {
        self.handle(Event::Probe(Probe::Uplink { index, reachability }))
    }

    /// Adds this many probe rounds of one node, with or without a reply.
    pub fn node(mut self, name: &str, rounds: u32, answered: bool) -> Self {
        for _ in 0..rounds {
            let rtt = answered.then(|| Duration::from_micros(300));
            let node = self.facts.nodes().by_name(name).unwrap().id;
            let round = Round { node, rtt, first_lost: !answered };
            self = self.handle(Event::Probe(Probe::Nodes(vec![round])));
        }
        self
    }

    pub fn loaded(self) -> Self {
        let applied = Applied::Firewall {
            masquerade: true,
            owned: true,
            flow_table: None,
            rejects: None,
            adopted: false,
        };
        self.handle(Event::Applied(ApplyReport { output: Output::Firewall, result: Ok(applied) }))
    }

    /// Returns a head at a trade fair: an address by DHCP, internet, all nodes up.
    pub fn fair() -> Self {
        let fair = Self::new().port(ETH1, "eth1", true).address(ETH1, "10.99.0.126/24");
        let fair =
            fair.default_route(ETH1, "10.99.0.1", 100).reached(ETH1, Reachability::Online).loaded();
        fair.node("rpi1", 1, true).node("rpi2", 1, true).node("rpi3", 1, true)
    }

    /// Returns the settings with a display of this size.
    pub fn sized(&self, size: &str) -> Settings {
        let mut settings = self.settings.clone();
        settings.lcd.geometry = size.parse().unwrap();
        settings
    }

    pub fn playlist(&self, size: &str) -> Playlist {
        let settings = self.sized(size);
        playlist(&settings, &self.facts, &decide::decide(&settings, &self.facts))
    }

    /// Returns all pages as text: each with its duration, rows between bars, and the heartbeat in
    /// its cell.
    pub fn drawn(&self, size: &str) -> String {
        let mut text = format!("== {size}\n");
        for page in self.playlist(size).pages {
            let geometry = page.frame.geometry();
            let mut frame = page.frame;
            assert_eq!(
                frame.get(usize::from(geometry.rows) - 1, usize::from(geometry.columns) - 1),
                ' ',
                "{text}"
            );
            frame.set(usize::from(geometry.rows) - 1, usize::from(geometry.columns) - 1, '♥');
            let time = if page.dwell == Duration::MAX {
                "still".into()
            } else {
                format!("{} s", page.dwell.as_secs())
            };
            text.push_str(&format!("{time}\n"));
            for line in frame.lines() {
                text.push_str(&format!("|{line}|\n"));
            }
        }
        text
    }
}
