//! Reads a venue file and collects all faults, with line and column.

use std::net::Ipv4Addr;
use std::str::FromStr;
use std::time::Duration;

use ipnet::{Ipv4Net, Ipv6Net};
use toml_span::Span;
use toml_span::value::{Table, Value, ValueInner};

use super::super::router::Advertised;
use super::{
    Action, Check, Client, Dhcp, DhcpServer, Expect, Internet, Moment, Network, Step, Venue,
    WordError,
};

/// `line:column: text`
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {text}")]
pub struct Fault {
    line: usize,
    column: usize,
    text: String,
}

struct Reader<'t> {
    text: &'t str,
    faults: Vec<Fault>,
}

/// A table from which known keys are taken; keys that are left at the end are unknown.
struct Keys<'de> {
    table: Table<'de>,
    span: Span,
    known: Vec<&'static str>,
}

type Found<T> = Option<(T, Span)>;

pub fn venue(text: &str) -> Result<Venue, Vec<Fault>> {
    let mut reader = Reader { text, faults: Vec::new() };
    let venue = match toml_span::parse(text) {
        Ok(mut value) => {
            let span = value.span;
            match value.take() {
                ValueInner::Table(table) => {
                    Some(reader.venue(Keys { table, span, known: Vec::new() }))
                }
                _ => None,
            }
        }
        Err(error) => {
            reader.fault(error.span, format!("this is no TOML: {error}"));
            None
        }
    };
    match venue {
        Some(venue) if reader.faults.is_empty() => Ok(venue),
        _ => {
            reader.faults.sort_by_key(|fault| (fault.line, fault.column));
            Err(reader.faults)
        }
    }
}

/// Returns the prefixes that a router advertises, the network's first.
fn ipv6_of(ipv6: Option<Ipv6Net>, ra: &Advertised) -> Vec<Ipv6Net> {
    ipv6.into_iter().chain(ra.prefixes.iter().copied()).collect()
}

impl Reader<'_> {
    fn fault(&mut self, span: Span, text: impl Into<String>) {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|scalar| *scalar != '\n').count() + 1;
        self.faults.push(Fault { line, column, text: text.into() });
    }

    fn take<'de>(&mut self, keys: &mut Keys<'de>, name: &'static str) -> Found<ValueInner<'de>> {
        keys.known.push(name);
        let mut value = keys.table.remove(name)?;
        Some((value.take(), value.span))
    }

    fn string(&mut self, keys: &mut Keys<'_>, name: &'static str) -> Found<String> {
        match self.take(keys, name)? {
            (ValueInner::String(text), span) => Some((text.into_owned(), span)),
            (other, span) => {
                self.fault(span, format!("{name} is a string, not {}", other.type_str()));
                None
            }
        }
    }

    fn text(&mut self, keys: &mut Keys<'_>, name: &'static str) -> Option<String> {
        self.string(keys, name).map(|(text, _)| text)
    }

    /// Parses a word whose own error lists the alternatives.
    fn word<T: FromStr<Err = WordError>>(
        &mut self,
        keys: &mut Keys<'_>,
        name: &'static str,
    ) -> Option<T> {
        let (text, span) = self.string(keys, name)?;
        text.parse().map_err(|error: WordError| self.fault(span, error.to_string())).ok()
    }

    fn parsed<T: FromStr>(
        &mut self,
        keys: &mut Keys<'_>,
        name: &'static str,
        what: &str,
    ) -> Option<T> {
        let (text, span) = self.string(keys, name)?;
        self.convert(&text, span, name, what)
    }

    fn convert<T: FromStr>(&mut self, text: &str, span: Span, name: &str, what: &str) -> Option<T> {
        let parsed = text.parse().ok();
        if parsed.is_none() {
            self.fault(span, format!("{name} = \"{text}\" is not {what}"));
        }
        parsed
    }

    fn boolean(&mut self, keys: &mut Keys<'_>, name: &'static str, default: bool) -> bool {
        match self.take(keys, name) {
            None => default,
            Some((ValueInner::Boolean(value), _)) => value,
            Some((_, span)) => {
                self.fault(span, format!("{name} is true or false"));
                default
            }
        }
    }

    fn duration(&mut self, keys: &mut Keys<'_>, name: &'static str, default: Duration) -> Duration {
        let Some((text, span)) = self.string(keys, name) else { return default };
        duration(&text).unwrap_or_else(|| {
            self.fault(
                span,
                format!(
                    "{name} = \"{text}\" is not a duration: an integer and ms, s, m, h or d, \
                     \"90s\""
                ),
            );
            default
        })
    }

    /// Reads a string or an array of strings.
    fn strings(&mut self, keys: &mut Keys<'_>, name: &'static str) -> Vec<(String, Span)> {
        let Some((value, span)) = self.take(keys, name) else { return Vec::new() };
        let values = match value {
            ValueInner::String(text) => return vec![(text.into_owned(), span)],
            ValueInner::Array(values) => values,
            _ => {
                self.fault(span, format!("{name} is a string or an array of strings"));
                return Vec::new();
            }
        };
        let mut strings = Vec::new();
        for mut value in values {
            match value.take() {
                ValueInner::String(text) => strings.push((text.into_owned(), value.span)),
                _ => self.fault(value.span, format!("{name} holds strings")),
            }
        }
        strings
    }

    fn tables<'de>(&mut self, keys: &mut Keys<'de>, name: &'static str) -> Vec<Keys<'de>> {
        let Some((value, span)) = self.take(keys, name) else { return Vec::new() };
        let values = match value {
            ValueInner::Array(values) => values,
            other => vec![Value::with_span(other, span)],
        };
        let mut tables = Vec::new();
        for mut value in values {
            match value.take() {
                ValueInner::Table(table) => {
                    tables.push(Keys { table, span: value.span, known: Vec::new() })
                }
                _ => self.fault(value.span, format!("{name} is a table: [[{name}]]")),
            }
        }
        tables
    }

    fn finish(&mut self, keys: Keys<'_>, place: &str) {
        for key in keys.table.keys() {
            self.fault(
                key.span,
                format!(
                    "unknown key {} in {place}; there are: {}",
                    key.name,
                    keys.known.join(", ")
                ),
            );
        }
    }

    fn venue(&mut self, mut keys: Keys<'_>) -> Venue {
        let purpose = self.text(&mut keys, "purpose");
        if purpose.is_none() {
            self.fault(
                keys.span,
                "purpose is missing: one sentence, what kind of network is this?",
            );
        }
        let settings = self.text(&mut keys, "settings").unwrap_or_default();
        let nodes_by_dhcp = self.boolean(&mut keys, "nodes_by_dhcp", false);
        let clat = self.boolean(&mut keys, "clat", false);
        let mut networks: Vec<Network> = Vec::new();
        for table in self.tables(&mut keys, "network") {
            let span = table.span;
            let network = self.network(table);
            if let Some(shared) = &network.shares {
                if !networks.iter().any(|other| other.port == *shared && other.shares.is_none()) {
                    self.fault(
                        span,
                        format!("shares = \"{shared}\": no network above has this port"),
                    );
                }
            }
            networks.push(network);
        }
        if networks.is_empty() {
            self.fault(keys.span, "a venue has at least one [[network]]");
        }
        let mut moments =
            vec![Moment { at: Duration::ZERO, steps: Vec::new(), expects: Vec::new() }];
        for table in self.tables(&mut keys, "step") {
            self.step(table, &mut moments);
        }
        for table in self.tables(&mut keys, "expect") {
            self.expect(table, &mut moments);
        }
        self.finish(keys, "the file");
        let purpose = purpose.unwrap_or_default();
        Venue { purpose, settings, nodes_by_dhcp, clat, networks, moments }
    }

    fn network(&mut self, mut keys: Keys<'_>) -> Network {
        let port =
            self.string(&mut keys, "port").map_or_else(|| "eth1".to_owned(), |(text, _)| text);
        if port.is_empty() || port.len() > 13 || port.contains([' ', '/']) {
            self.fault(
                keys.span,
                format!("port = \"{port}\" is no name of a port (at most 13 characters)"),
            );
        }
        let what = "an address with its prefix length, \"10.99.0.1/24\"";
        let nat = "a NAT64 prefix, \"2001:db8:64::/96\"";
        let shares = self.text(&mut keys, "shares");
        let mut address = Vec::new();
        for (text, span) in self.strings(&mut keys, "address") {
            address.extend(self.convert::<Ipv4Net>(&text, span, "address", what));
        }
        let laptop = self.parsed(&mut keys, "laptop", what);
        let ipv6 = self.parsed(&mut keys, "ipv6", "a prefix of 64 bits, \"2001:db8:7::/64\"");
        let network = Network {
            token: self.parsed(&mut keys, "token", "the end of an IPv6 address, \"::d6\""),
            nat64: self.parsed(&mut keys, "nat64", nat),
            dns64: self.parsed(&mut keys, "dns64", nat),
            ra: self
                .parsed(&mut keys, "ra", "what a router advertises, \"managed mtu=1280\"")
                .map(|ra: Advertised| Advertised { prefixes: ipv6_of(ipv6, &ra), ..ra }),
            second_ra: None,
            dhcpv6: self.parsed(&mut keys, "dhcpv6", "an IPv6 address"),
            client: self.word(&mut keys, "client").unwrap_or(Client::Udhcpc),
            mtu: self.mtu(&mut keys),
            internet: self.word(&mut keys, "internet").unwrap_or(Internet::Open),
            present: self.boolean(&mut keys, "present", true),
            plugged: self.boolean(&mut keys, "plugged", true),
            translator: self.parsed(
                &mut keys,
                "translator",
                "an address with its length, \"192.0.0.5/32\"",
            ),
            fallback: self.boolean(&mut keys, "fallback", false),
            dhcp: self
                .tables(&mut keys, "dhcp")
                .into_iter()
                .next()
                .and_then(|table| self.dhcp(table)),
            port,
            shares,
            address,
            ipv6,
            laptop,
        };
        if network.dhcp.is_some() && network.address.is_empty() && network.shares.is_none() {
            self.fault(keys.span, "a network with [network.dhcp] needs an address for its router");
        }
        self.finish(keys, "[[network]]");
        network
    }

    fn mtu(&mut self, keys: &mut Keys<'_>) -> u16 {
        match self.take(keys, "mtu") {
            None => 1500,
            Some((ValueInner::Integer(value), _)) if (576..=9000).contains(&value) => {
                u16::try_from(value).unwrap_or(1500)
            }
            Some((_, span)) => {
                self.fault(span, "mtu is a number of bytes from 576 to 9000");
                1500
            }
        }
    }

    fn dhcp(&mut self, mut keys: Keys<'_>) -> Option<Dhcp> {
        let server = self.word(&mut keys, "server").unwrap_or(DhcpServer::Dnsmasq);
        let span = keys.span;
        let before = self.faults.len();
        let address: Option<Ipv4Addr> = self.parsed(&mut keys, "address", "an IPv4 address");
        if address.is_none() && self.faults.len() == before {
            self.fault(span, "[network.dhcp] needs address: the one that the head gets");
        }
        let lease = self.duration(&mut keys, "lease", Duration::from_secs(3600));
        if server == DhcpServer::Dnsmasq && lease < Duration::from_secs(120) {
            self.fault(span, "dnsmasq leases for two minutes or more: add server = \"udhcpd\"");
        }
        let netmask = self.parsed(&mut keys, "netmask", "a netmask, \"255.255.255.0\"");
        let router = self.optional_address(&mut keys, "router");
        let resolver = self.optional_address(&mut keys, "resolver");
        let mut routes = Vec::new();
        for (text, span) in self.strings(&mut keys, "routes") {
            let route = text
                .split_once(" via ")
                .and_then(|(to, via)| Some((to.parse().ok()?, via.parse().ok()?)));
            match route {
                Some(route) => routes.push(route),
                None => self
                    .fault(span, format!("\"{text}\" is no route: \"10.0.0.0/8 via 10.99.0.1\"")),
            }
        }
        let portal = self.text(&mut keys, "portal");
        let ipv6_only = self.duration(&mut keys, "ipv6_only", Duration::ZERO);
        let ipv6_only = (!ipv6_only.is_zero()).then_some(ipv6_only);
        self.finish(keys, "[network.dhcp]");
        let address = address?;
        Some(Dhcp { server, address, lease, netmask, router, resolver, routes, portal, ipv6_only })
    }

    /// Reads `"none"` or an address.
    fn optional_address(
        &mut self,
        keys: &mut Keys<'_>,
        name: &'static str,
    ) -> Option<Option<Ipv4Addr>> {
        let (text, span) = self.string(keys, name)?;
        if text == "none" {
            return Some(None);
        }
        self.convert(&text, span, name, "an IPv4 address or \"none\"").map(Some)
    }

    fn step(&mut self, mut keys: Keys<'_>, moments: &mut Vec<Moment>) {
        let at = self.duration(&mut keys, "at", Duration::ZERO);
        let say = self.text(&mut keys, "say");
        let before = self.faults.len();
        match self.word::<Action>(&mut keys, "do") {
            Some(action) => {
                moment(moments, at, |moment| moment.steps.push(Step { action, say }));
            }
            None if self.faults.len() == before => {
                self.fault(keys.span, "[[step]] needs do: what happens?");
            }
            None => {}
        }
        self.finish(keys, "[[step]]");
    }

    fn expect(&mut self, mut keys: Keys<'_>, moments: &mut Vec<Moment>) {
        let at = self.duration(&mut keys, "at", Duration::ZERO);
        let mut expect = Expect {
            say: self.text(&mut keys, "say"),
            row1: self.text(&mut keys, "row1"),
            panel: self.text(&mut keys, "panel"),
            status: self.status(&mut keys),
            alerts: self.strings(&mut keys, "alerts").into_iter().map(|(text, _)| text).collect(),
            no_alerts: self
                .strings(&mut keys, "no_alerts")
                .into_iter()
                .map(|(text, _)| text)
                .collect(),
            checks: Vec::new(),
            within: self.duration(&mut keys, "within", Duration::from_secs(10)),
            hold: self.duration(&mut keys, "hold", Duration::ZERO),
        };
        for (key, place, works) in PLACES {
            for (text, span) in self.strings(&mut keys, key) {
                match text.parse::<Check>() {
                    Ok(check) => expect.checks.push((place.to_owned(), works, check)),
                    Err(error) => self.fault(span, error.to_string()),
                }
            }
        }
        self.finish(keys, "[[expect]]");
        moment(moments, at, |moment| moment.expects.push(expect));
    }

    fn status(&mut self, keys: &mut Keys<'_>) -> Vec<(String, String)> {
        let mut wanted = Vec::new();
        for table in self.tables(keys, "status") {
            flatten("", table.table, &mut wanted);
        }
        wanted
    }
}

/// Keys of `[[expect]]` with checks: key, namespace, whether they must succeed.
const PLACES: [(&str, &str, bool); 8] = [
    ("from_node", "rpi1", true),
    ("not_from_node", "rpi1", false),
    ("from_laptop", "laptop", true),
    ("not_from_laptop", "laptop", false),
    ("from_venue", "venue", true),
    ("not_from_venue", "venue", false),
    ("from_head", "head", true),
    ("not_from_head", "head", false),
];

fn moment(moments: &mut Vec<Moment>, at: Duration, add: impl FnOnce(&mut Moment)) {
    let place = moments.partition_point(|moment| moment.at < at);
    if moments.get(place).is_none_or(|moment| moment.at != at) {
        moments.insert(place, Moment { at, steps: Vec::new(), expects: Vec::new() });
    }
    if let Some(moment) = moments.get_mut(place) {
        add(moment);
    }
}

/// Normalises `uplink.state = "x"`, `"uplink.state" = "x"` and `[expect.status.uplink]`.
fn flatten(prefix: &str, table: Table<'_>, wanted: &mut Vec<(String, String)>) {
    for (key, mut value) in table {
        let path =
            if prefix.is_empty() { key.name.to_string() } else { format!("{prefix}.{}", key.name) };
        match value.take() {
            ValueInner::Table(table) => flatten(&path, table, wanted),
            ValueInner::String(text) => wanted.push((path, text.into_owned())),
            ValueInner::Integer(number) => wanted.push((path, number.to_string())),
            ValueInner::Float(number) => wanted.push((path, number.to_string())),
            ValueInner::Boolean(flag) => wanted.push((path, flag.to_string())),
            ValueInner::Array(_) => wanted.push((path, "[…]".to_owned())),
        }
    }
}

/// Parses a duration: an integer and one of ms, s, m, h, d.
pub fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|scalar: char| !scalar.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(milliseconds).map(Duration::from_millis)
}
