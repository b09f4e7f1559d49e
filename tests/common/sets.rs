//! A rule set with every kind of set and map, and every kind of lookup in them.

use bramblegate::decide::firewall::{
    Action, Base, Chain, ChainKind, Data, DataKind, Elements, Family, Field, Hook, Item, Key, Kind,
    Lookup, Match, Rule, Ruleset, Set, Side, Transport, Verdict,
};

/// Field types, with nft's short names.
pub const ADDRESS: Kind = Kind::Ipv4;
pub const ADDRESS_6: Kind = Kind::Ipv6;
pub const PORT: Kind = Kind::Port;

/// Fields of packets.
pub const FROM: Field = Field::Source(Family::Ipv4);
pub const TO: Field = Field::Destination(Family::Ipv4);
pub const FROM_6: Field = Field::Source(Family::Ipv6);
pub const TO_6: Field = Field::Destination(Family::Ipv6);
pub const TCP_PORT: Field = Field::Port(Transport::Tcp, Side::Destination);
pub const TCP_SOURCE: Field = Field::Port(Transport::Tcp, Side::Source);
pub const UDP_PORT: Field = Field::Port(Transport::Udp, Side::Destination);

/// Parameters of hashes.
const SEED: u32 = 0xb1;

/// Parses an item: an address, a network, a port, a range of ports, a protocol, else an interface's
/// name.
pub fn item(text: &str) -> Item {
    let ports =
        text.split_once('-').and_then(|(a, b)| Some(Item::Ports(a.parse().ok()?, b.parse().ok()?)));
    let net = || text.parse::<ipnet::IpNet>().ok().map(Item::from);
    let address = || text.parse::<std::net::IpAddr>().ok().map(Item::from);
    let port = || text.parse::<u16>().ok().map(Item::from);
    let found = ports.or_else(net).or_else(address).or_else(port);
    found.unwrap_or_else(|| match text {
        "tcp" => Item::Transport(Transport::Tcp),
        "udp" => Item::Transport(Transport::Udp),
        name => Item::Interface(name.into()),
    })
}

pub fn items(text: &str) -> Vec<Item> {
    text.split(" . ").map(item).collect()
}

/// Parses the data of a map.
pub fn data(text: &str) -> Data {
    match text.split_once(' ') {
        Some(("goto", chain)) => Data::Verdict(Verdict::Goto(chain.to_owned().into())),
        Some(("jump", chain)) => Data::Verdict(Verdict::Jump(chain.to_owned().into())),
        _ if text == "accept" => Data::Verdict(Verdict::Accept),
        _ if text == "drop" => Data::Verdict(Verdict::Drop),
        _ => Data::Values(items(text)),
    }
}

/// Returns the elements of a map of numbers: the data of 0, 1 …
pub fn numbered(leads_to: &[&str]) -> Elements {
    let element = |(number, text): (u32, &&str)| (vec![Item::Number(number)], Some(data(text)));
    (0..).zip(leads_to).map(element).collect()
}

/// Parses elements; those of a map as `KEY : DATA`.
pub fn elements(texts: &[&str]) -> Elements {
    let element = |text: &&str| match text.split_once(" : ") {
        Some((key, leads_to)) => (items(key), Some(data(leads_to))),
        None => (items(text), None),
    };
    texts.iter().map(element).collect()
}

pub fn set(name: &'static str, key: &[Kind], texts: &[&str]) -> Set {
    Set { name: name.into(), key: key.to_vec(), elements: elements(texts), ..Set::default() }
}

pub fn map(name: &'static str, key: &[Kind], data: DataKind, texts: &[&str]) -> Set {
    Set { data: Some(data), ..set(name, key, texts) }
}

/// Returns a map whose keys are the numbers from 0 on.
pub fn map_of_numbers(name: &'static str, data: DataKind, leads_to: &[&str]) -> Set {
    let key = [Kind::Number(leads_to.len() as u32)];
    Set { elements: numbered(leads_to), ..map(name, &key, data, &[]) }
}

pub fn values(kinds: &[Kind]) -> DataKind {
    DataKind::Values(kinds.to_vec())
}

pub fn lookup(fields: &[Field], set: &'static str) -> Lookup {
    Lookup { key: Key::Fields(fields.to_vec()), set: set.into() }
}

pub fn round_robin(modulus: u32, set: &'static str) -> Lookup {
    Lookup { key: Key::RoundRobin { modulus }, set: set.into() }
}

pub fn hashed(fields: &[Field], modulus: u32, set: &'static str) -> Lookup {
    let key = Key::Hash { fields: fields.to_vec(), modulus, seed: SEED };
    Lookup { key, set: set.into() }
}

pub fn rule(matches: impl Into<Vec<Match>>, action: Action) -> Rule {
    Rule { matches: matches.into(), action, comment: "bramblegate: what this is for".into() }
}

pub fn chain(name: &'static str, base: Option<(ChainKind, Hook, i32)>, rules: Vec<Rule>) -> Chain {
    Chain { name, base: base.map(|(kind, hook, priority)| Base { kind, hook, priority }), rules }
}

/// Returns every kind of set and map.
fn sets() -> Vec<Set> {
    vec![
        set("nodes", &[ADDRESS], &["10.0.0.5", "10.0.0.1", "10.0.0.2"]),
        set("nodes6", &[ADDRESS_6], &["fd00::1", "fd00::2"]),
        set("none", &[ADDRESS], &[]),
        Set {
            interval: true,
            ..set("nets", &[ADDRESS], &["10.0.0.0/25", "10.0.0.128/25", "0.0.0.0/8", "240.0.0.0/4"])
        },
        Set {
            interval: true,
            ..set("nets6", &[ADDRESS_6], &["fd00::/64", "fd00:1::7", "ff00::/8"])
        },
        Set {
            constant: true,
            ..set("fixed", &[PORT], &["22", "80", "443", "8080", "8081", "8082"])
        },
        Set { interval: true, ..set("ports", &[PORT], &["22", "8000-8010", "65000-65535"]) },
        Set {
            size: Some(100),
            ..set("pairs", &[ADDRESS, PORT], &["10.0.0.1 . 80", "10.0.0.2 . 22"])
        },
        Set {
            interval: true,
            ..set("netpairs", &[ADDRESS, PORT], &["10.0.0.0/24 . 80-90", "10.0.1.2 . 22"])
        },
        set(
            "triple",
            &[Kind::Transport, ADDRESS_6, PORT],
            &["tcp . fd00::1 . 80", "udp . fd00::2 . 53"],
        ),
        set("names", &[Kind::Interface], &["eth0", "wlan0"]),
        set("named_pairs", &[Kind::Interface, ADDRESS], &["eth0 . 10.0.0.1", "br-lan . 10.0.0.2"]),
        Set { timeout: Some(5400), ..set("timed", &[ADDRESS], &["10.0.0.9"]) },
        Set {
            timeout: Some(86_400),
            constant: false,
            dynamic: true,
            size: Some(9),
            ..set("seen", &[ADDRESS], &[])
        },
        map(
            "verdicts",
            &[ADDRESS],
            DataKind::Verdict,
            &["10.0.0.1 : accept", "10.0.0.2 : drop", "10.0.0.3 : goto web"],
        ),
        map(
            "services",
            &[ADDRESS, PORT],
            DataKind::Verdict,
            &["10.0.0.1 . 80 : goto web", "10.0.0.1 . 443 : jump web"],
        ),
        Set {
            interval: true,
            ..map(
                "by_net",
                &[ADDRESS],
                DataKind::Verdict,
                &["10.0.0.0/24 : goto web", "10.0.1.0/24 : drop"],
            )
        },
        map("to_node", &[PORT], values(&[ADDRESS]), &["80 : 10.0.0.1", "443 : 10.0.0.2"]),
        map("to_node6", &[PORT], values(&[ADDRESS_6]), &["80 : fd00::1"]),
        map(
            "backends",
            &[ADDRESS, PORT],
            values(&[ADDRESS, PORT]),
            &["10.0.0.1 . 80 : 10.0.0.7 . 8080", "10.0.0.2 . 80 : 10.0.0.8 . 8080"],
        ),
        map(
            "backends6",
            &[ADDRESS_6, PORT],
            values(&[ADDRESS_6, PORT]),
            &["fd00::1 . 80 : fd00::7 . 8080"],
        ),
        map_of_numbers(
            "shares",
            values(&[ADDRESS, PORT]),
            &["10.0.0.7 . 8080", "10.0.0.8 . 8080", "10.0.0.9 . 80"],
        ),
        map_of_numbers("shares6", values(&[ADDRESS_6, PORT]), &["fd00::7 . 8080", "fd00::8 . 80"]),
        map_of_numbers("shared_address", values(&[ADDRESS]), &["10.0.0.7", "10.0.0.8"]),
        map_of_numbers("shared_verdicts", DataKind::Verdict, &["accept", "drop", "goto web"]),
        Set {
            elements: Elements::new(),
            ..map_of_numbers("shared_later", values(&[ADDRESS, PORT]), &["10.0.0.7 . 80"; 4])
        },
    ]
}

/// Returns every kind of lookup, and addresses of both families.
pub fn every_kind() -> Ruleset {
    let accepted = |lookup: Lookup| rule([Match::In(lookup)], Action::Accept);
    let ipv4_tcp = [Match::Family(Family::Ipv4), Match::Protocol(Transport::Tcp)];
    let to_port = |port| Match::Port(Transport::Tcp, Side::Destination, port, port);
    let filter = vec![
        accepted(lookup(&[FROM], "nodes")),
        accepted(lookup(&[FROM_6], "nodes6")),
        rule([Match::NotIn(lookup(&[FROM], "nets"))], Action::Drop),
        rule([Match::Input("eth0".into()), Match::NotIn(lookup(&[TO_6], "nets6"))], Action::Drop),
        accepted(lookup(&[TCP_PORT], "fixed")),
        accepted(lookup(&[UDP_PORT], "ports")),
        accepted(lookup(&[FROM, TCP_PORT], "pairs")),
        accepted(lookup(&[TO, UDP_PORT], "netpairs")),
        accepted(lookup(&[Field::Transport, TO_6, TCP_PORT], "triple")),
        accepted(lookup(&[Field::Input], "names")),
        accepted(lookup(&[Field::Output, FROM], "named_pairs")),
        accepted(lookup(&[FROM], "timed")),
        rule([], Action::Sample(Family::Ipv4, "seen")),
        rule([], Action::Decide(lookup(&[TO], "verdicts"))),
        rule(ipv4_tcp, Action::Decide(lookup(&[TO, TCP_PORT], "services"))),
        rule([to_port(80)], Action::Decide(lookup(&[TO], "by_net"))),
        rule([], Action::Decide(round_robin(3, "shared_verdicts"))),
        rule([to_port(81)], Action::Decide(hashed(&[FROM], 3, "shared_verdicts"))),
        rule([], Action::Decide(hashed(&[FROM_6, TO_6], 3, "shared_verdicts"))),
        rule([], Action::Decide(hashed(&[FROM, TCP_PORT], 3, "shared_verdicts"))),
        rule([], Action::Decide(hashed(&[UDP_PORT], 3, "shared_verdicts"))),
        rule(
            [Match::Source(net("fd00::/64")), Match::Destination("fd00::7".parse().unwrap())],
            Action::Accept,
        ),
        rule(
            [Match::Source(net("10.0.0.0/24")), Match::Towards(net("10.1.0.0/16"))],
            Action::Accept,
        ),
    ];
    let nat = vec![
        rule([], Action::RedirectBy(Family::Ipv4, lookup(&[TO, TCP_PORT], "backends"))),
        rule([], Action::RedirectBy(Family::Ipv6, lookup(&[TO_6, TCP_PORT], "backends6"))),
        rule(
            [Match::Family(Family::Ipv4)],
            Action::RedirectBy(Family::Ipv4, lookup(&[TCP_PORT], "to_node")),
        ),
        rule(
            [Match::Family(Family::Ipv6)],
            Action::RedirectBy(Family::Ipv6, lookup(&[UDP_PORT], "to_node6")),
        ),
        rule(
            [Match::Family(Family::Ipv6), to_port(2222)],
            Action::Redirect("fd00::7".parse().unwrap(), 22),
        ),
        rule(
            [Match::Family(Family::Ipv4), to_port(82)],
            Action::RedirectBy(Family::Ipv4, round_robin(3, "shares")),
        ),
        rule(
            [Match::Family(Family::Ipv4), to_port(83)],
            Action::RedirectBy(Family::Ipv4, hashed(&[FROM], 3, "shares")),
        ),
        rule(
            [Match::Family(Family::Ipv4), to_port(84)],
            Action::RedirectBy(Family::Ipv4, hashed(&[FROM, TCP_SOURCE], 2, "shared_address")),
        ),
        rule(
            [Match::Family(Family::Ipv6), to_port(85)],
            Action::RedirectBy(Family::Ipv6, round_robin(2, "shares6")),
        ),
        rule(
            [Match::Family(Family::Ipv6), to_port(86)],
            Action::RedirectBy(Family::Ipv6, hashed(&[FROM_6, TCP_SOURCE], 2, "shares6")),
        ),
        rule(
            [Match::Family(Family::Ipv4), to_port(87)],
            Action::RedirectBy(Family::Ipv4, round_robin(4, "shared_later")),
        ),
    ];
    let chains = vec![
        chain("web", None, vec![]),
        chain("filtered", Some((ChainKind::Filter, Hook::Forward, 0)), filter),
        chain("turned", Some((ChainKind::Nat, Hook::Prerouting, -100)), nat),
    ];
    Ruleset { flow_table: None, sets: sets(), chains }
}

fn net(text: &str) -> ipnet::IpNet {
    text.parse().unwrap()
}
