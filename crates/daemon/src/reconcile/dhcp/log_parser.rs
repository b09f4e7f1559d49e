//! Converts dnsmasq's log lines to records and facts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use tokio::time::Instant;

use super::log_limit::LogRateLimiter;
use crate::event::{Dhcp, Event, Mac, ServerLog, ServerLogKind};
use crate::watch::dhcp::leases::file::{Entry, Leases};

/// Words that mark a complaint, since dnsmasq's lines have no priority.
const COMPLAINTS: [&str; 13] = [
    "failed",
    "cannot",
    "could not",
    "error",
    "no address",
    "not giving",
    "duplicate",
    "Maximum number",
    "ignoring",
    "bad ",
    "inconsistent",
    "out of",
    "reached",
];
/// Words that mark a harmless line, caused by normal behaviour of nodes.
const COMMONPLACE: [&str; 4] = ["not found", "aborted", "Early terminate", "ignoring query"];

/// State of the parser across restarts of dnsmasq.
#[derive(Debug, Default)]
pub struct LogParser {
    /// The current leases, which were reported: a renewal is no news.
    reported: BTreeMap<Mac, Ipv4Addr>,
    /// Names that dnsmasq did not assign, which it logs for each lease at each reload.
    not_given: BTreeSet<String>,
    limiter: LogRateLimiter,
}

/// Limit on `not_given`; above it they are reported again.
const NOT_GIVEN: usize = 1000;

impl LogParser {
    /// Adds leases that need no report.
    pub fn remember(&mut self, leases: &Leases) {
        for entry in &leases.entries {
            self.reported.insert(entry.mac, entry.address);
        }
    }

    /// Returns a record for each lease that is new. Taken from the lease file, since dnsmasq also
    /// logs each renewal, and nodes can cause any number of those.
    pub fn new_leases(&mut self, leases: &Leases) -> Vec<Event> {
        let news = leases
            .entries
            .iter()
            .filter(|entry| self.reported.get(&entry.mac) != Some(&entry.address));
        let logged = news.map(|Entry { mac, address, host_name, .. }| {
            let name = host_name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
            let text = format!("{mac}{name} has the address {address}");
            let logged = ServerLog {
                what: ServerLogKind::Leased,
                text,
                mac: Some(*mac),
                address: Some(*address),
            };
            Event::Dhcp(Dhcp::ServerLog(logged))
        });
        let logged = logged.collect();
        let mut now: Vec<(Mac, Ipv4Addr)> =
            leases.entries.iter().map(|entry| (entry.mac, entry.address)).collect();
        now.sort_by_key(|(mac, _)| *mac);
        self.reported = BTreeMap::from_iter(now);
        logged
    }

    /// Returns the event of a line, if it has one and the rate limit permits it.
    pub fn event(&mut self, line: &str) -> Option<Event> {
        match self.parse(line)? {
            Event::Dhcp(Dhcp::ServerLog(logged)) => self
                .limiter
                .pass(logged, Instant::now())
                .map(|logged| Event::Dhcp(Dhcp::ServerLog(logged))),
            other => Some(other),
        }
    }

    fn parse(&mut self, line: &str) -> Option<Event> {
        let (part, text) = split(line)?;
        let dhcp = match part {
            "dhcp" => self.address(text),
            "tftp" => file(text),
            _ => None,
        };
        match dhcp {
            Some(event) => event,
            None => self.complaint(text),
        }
    }

    /// Returns a record if the line is a complaint that was not reported before.
    fn complaint(&mut self, text: &str) -> Option<Event> {
        let complains = COMPLAINTS.iter().any(|word| text.contains(word));
        let commonplace = COMMONPLACE.iter().any(|word| text.contains(word));
        (complains && !commonplace && !self.was_reported(text))
            .then(|| trouble(format!("dnsmasq: {text}")))
    }

    /// Records a line about a name that was not assigned. Returns whether it was reported before.
    fn was_reported(&mut self, text: &str) -> bool {
        if !text.starts_with("not giving") {
            return false;
        }
        if self.not_given.len() >= NOT_GIVEN {
            self.not_given.clear();
        }
        !self.not_given.insert(text.to_owned())
    }

    /// Parses a line about an address. Returns `Some(None)` for a line of routine.
    fn address(&self, text: &str) -> Option<Option<Event>> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (verb, rest) = words.split_first()?;
        let verb = verb.split('(').next().unwrap_or_default();
        let address = rest.iter().find_map(|word| word.parse::<Ipv4Addr>().ok());
        let mac = rest.iter().find_map(|word| word.parse::<Mac>().ok());
        let logged = |what, text: String| {
            Some(Event::Dhcp(Dhcp::ServerLog(ServerLog { what, text, mac, address })))
        };
        match (verb, mac, address) {
            ("DHCPNAK" | "DHCPDECLINE", Some(mac), Some(address)) => {
                let why = rest.get(2..).unwrap_or_default().join(" ");
                let text = match verb {
                    "DHCPNAK" => format!("{mac} may not have {address}: {why}"),
                    _ => format!("{mac} does not take {address}: another device uses it already"),
                };
                Some(logged(ServerLogKind::Refused, text))
            }
            ("DHCPDISCOVER" | "DHCPREQUEST", Some(mac), _) if text.contains("no address") => {
                // The address in the line is a requested one, so the record has none.
                let text = format!("there is no address left for {mac}: widen cluster.dhcp.range");
                let logged = ServerLog {
                    what: ServerLogKind::Exhausted,
                    text,
                    mac: Some(mac),
                    address: None,
                };
                Some(Some(Event::Dhcp(Dhcp::ServerLog(logged))))
            }
            (
                "DHCPDISCOVER" | "DHCPOFFER" | "DHCPREQUEST" | "DHCPACK" | "DHCPRELEASE"
                | "DHCPINFORM",
                _,
                _,
            ) => Some(None),
            _ => None,
        }
    }
}

/// Returns a record of trouble.
pub fn trouble(text: String) -> Event {
    Event::Dhcp(Dhcp::ServerLog(ServerLog {
        what: ServerLogKind::Trouble,
        text,
        mac: None,
        address: None,
    }))
}

/// Parses `sent FILE to ADDRESS`, which shows that a node boots.
fn file(text: &str) -> Option<Option<Event>> {
    let (file, address) = text.strip_prefix("sent ")?.rsplit_once(" to ")?;
    let address = address.parse().ok()?;
    Some(Some(Event::Dhcp(Dhcp::Boots { address, file: file.to_owned() })))
}

/// Splits `… dnsmasq-dhcp[123]: text`, with or without date and PID, into (`dhcp`, text). The first
/// part is empty for DNS and general messages.
pub fn split(line: &str) -> Option<(&str, &str)> {
    let (_, rest) = line.split_once("dnsmasq")?;
    let (head, text) = rest.split_once(": ")?;
    let part = head.split('[').next().unwrap_or_default();
    Some((part.trim_start_matches('-'), text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::dhcp::leases::file;

    fn logged(parser: &mut LogParser, line: &str) -> Option<(ServerLogKind, String)> {
        match parser.event(line)? {
            Event::Dhcp(Dhcp::ServerLog(logged)) => Some((logged.what, logged.text)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_address_is_reported_once_and_its_renewals_are_not() {
        let mut parser = LogParser::default();
        let mut given = |lines: &str| -> Vec<String> {
            let reported = parser.new_leases(&file::parse(lines.as_bytes()));
            let text = |event| match event {
                Event::Dhcp(Dhcp::ServerLog(ServerLog {
                    what: ServerLogKind::Leased,
                    text,
                    ..
                })) => text,
                other => panic!("{other:?}"),
            };
            reported.into_iter().map(text).collect()
        };
        let line = "1000 b8:27:eb:00:00:01 192.168.50.101 rpi1 *\n";
        assert_eq!(given(line), ["b8:27:eb:00:00:01 (rpi1) has the address 192.168.50.101"]);
        assert!(
            given(&line.replace("1000", "4600").replace("rpi1", "rpi9")).is_empty(),
            "a renewal, with another name"
        );
        assert_eq!(given(&line.replace(".101", ".102")).len(), 1, "another address is news");
        assert!(given("").is_empty());
        assert_eq!(given(&line.replace(".101", ".102")).len(), 1, "so is one that was given back");
        assert_eq!(parser.reported.len(), 1, "an ended lease is forgotten");
    }

    #[test]
    fn refusals_and_exhaustion_are_reported_with_their_reason() {
        let mut parser = LogParser::default();
        let line = "dnsmasq-dhcp[1]: DHCPNAK(eth0) 192.168.50.101 b8:27:eb:00:00:01 wrong network";
        let (what, text) = logged(&mut parser, line).unwrap();
        assert_eq!(what, ServerLogKind::Refused);
        assert!(text.ends_with("may not have 192.168.50.101: wrong network"), "{text}");
        let line = "dnsmasq-dhcp[1]: DHCPDISCOVER(eth0) 192.168.50.7 b8:27:eb:00:00:01 no address available";
        let Some(Event::Dhcp(Dhcp::ServerLog(want))) = parser.event(line) else {
            panic!("it is not reported")
        };
        assert_eq!(
            (want.what, want.mac.is_some(), want.address),
            (ServerLogKind::Exhausted, true, None)
        );
        assert!(want.text.contains("cluster.dhcp.range"), "{}", want.text);
    }

    #[test]
    fn a_node_does_not_fill_the_journal() {
        let mut parser = LogParser::default();
        let line = "dnsmasq-dhcp[1]: DHCPNAK(eth0) 192.168.50.101 b8:27:eb:00:00:01 wrong network";
        assert_eq!((0..300).filter_map(|_| parser.event(line)).count(), 1);
    }

    #[test]
    fn a_sent_file_is_a_fact() {
        let mut parser = LogParser::default();
        let reported =
            parser.event("dnsmasq-tftp[1]: sent /srv/tftp/boot code.bin to 192.168.50.101");
        let file = "/srv/tftp/boot code.bin".to_owned();
        assert_eq!(
            reported,
            Some(Event::Dhcp(Dhcp::Boots { address: "192.168.50.101".parse().unwrap(), file }))
        );
        assert_eq!(
            parser
                .event("dnsmasq-tftp[1]: file /srv/tftp/bootsig.bin not found for 192.168.50.101"),
            None
        );
    }

    #[test]
    fn routine_is_not_reported_and_complaints_are() {
        let mut parser = LogParser::default();
        for line in [
            "dnsmasq[1]: started, version 2.90 cachesize 150",
            "dnsmasq-dhcp[1]: DHCPDISCOVER(eth0) b8:27:eb:00:00:01",
            "dnsmasq[1]: using nameserver 10.99.0.1#53",
            "dnsmasq[1]: read /run/bramblegate/dnsmasq/names - 3 names",
            "",
        ] {
            assert_eq!(parser.event(line), None, "{line}");
        }
        let line =
            "dnsmasq-dhcp[1]: not giving name rpi1 to the DHCP lease of 192.168.50.101 because …";
        assert_eq!(logged(&mut parser, line).unwrap().0, ServerLogKind::Trouble);
        assert_eq!(
            logged(&mut parser, line),
            None,
            "it is logged each time dnsmasq reads its files"
        );
    }
}
