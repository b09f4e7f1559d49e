use proptest::prelude::*;
use std::collections::BTreeMap;

use super::disturbance::{Disturbance, Watcher};
use super::expression::{CT_STATE, Expression, META_IIFNAME, META_OIFNAME, Verdict, What};
use super::foreign::{self, Base, Chain, Element, Key, Ruleset, Table};
use super::packet::{self, Port, Topology};
use crate::event::{Blocker, Traffic};
use bramblegate_netlink::netfilter::NFTABLES;
use bramblegate_netlink::{Request, messages};

fn topology() -> Topology {
    let port = |name: &str, index| Port { name: name.into(), index: Some(index), bridge: false };
    let head = Some("192.168.50.1/24".parse().unwrap());
    Topology { cluster: port("eth0", 2), uplinks: vec![port("eth1", 3)], head }
}

/// Returns the blocker of forwarded traffic.
fn blocker(ruleset: &Ruleset) -> Option<Blocker> {
    blocker_of(ruleset, Traffic::Forwarding)
}

fn blocker_of(ruleset: &Ruleset, traffic: Traffic) -> Option<Blocker> {
    super::blocker(ruleset, &topology(), traffic, &packet::packets(&topology(), traffic))
}

const INPUT: u32 = 1;
const FORWARD: u32 = 2;

fn base(drops: bool, rules: Vec<Vec<Expression>>) -> Chain {
    base_at(FORWARD, drops, rules)
}

fn base_at(hook: u32, drops: bool, rules: Vec<Vec<Expression>>) -> Chain {
    Chain { base: Some(Base { hook, ..Base::default() }), drops, rules }
}

fn plain(rules: Vec<Vec<Expression>>) -> Chain {
    Chain { base: None, drops: false, rules }
}

fn filter(chains: Vec<(&str, Chain)>) -> Ruleset {
    filter_with(chains, BTreeMap::new())
}

fn filter_with(chains: Vec<(&str, Chain)>, sets: BTreeMap<String, Vec<Element>>) -> Ruleset {
    let chains = chains.into_iter().map(|(name, chain)| (name.to_owned(), chain)).collect();
    Ruleset {
        tables: BTreeMap::from_iter([(
            (2, "filter".to_owned()),
            Table { chains, sets, legacy: false },
        )]),
    }
}

fn name(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(16, 0);
    bytes
}

fn test(what: What, data: &[u8]) -> [Expression; 2] {
    [
        Expression::Load { to: 0, what },
        Expression::Compare { register: 0, operator: 0, data: data.to_vec() },
    ]
}

fn when(tests: impl IntoIterator<Item = [Expression; 2]>, verdict: Verdict) -> Vec<Expression> {
    let mut rule: Vec<Expression> = tests.into_iter().flatten().collect();
    rule.push(Expression::Neutral);
    rule.push(Expression::Verdict(verdict));
    rule
}

fn input(text: &str) -> [Expression; 2] {
    test(What::Meta(META_IIFNAME), &name(text))
}

fn output(text: &str) -> [Expression; 2] {
    test(What::Meta(META_OIFNAME), &name(text))
}

/// `-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`
fn answers_accepted() -> Vec<Expression> {
    vec![Expression::States { mask: 6, inverted: false }, Expression::Verdict(Verdict::Accept)]
}

#[test]
fn an_empty_machine_blocks_nothing() {
    assert_eq!(blocker(&Ruleset::default()), None);
    assert_eq!(blocker(&filter(vec![("FORWARD", base(false, vec![]))])), None);
}

/// Makes Docker's rules: policy drop, only its own bridges accepted.
fn docker(user: Vec<Vec<Expression>>) -> Ruleset {
    let forward = vec![
        vec![Expression::Neutral, Expression::Verdict(Verdict::Jump("DOCKER-USER".into()))],
        when([output("docker0")], Verdict::Accept),
        when([input("docker0")], Verdict::Accept),
    ];
    filter(vec![("FORWARD", base(true, forward)), ("DOCKER-USER", plain(user))])
}

#[test]
fn docker_blocks_and_the_remedy_is_its_user_chain() {
    let found = blocker(&docker(vec![vec![Expression::Verdict(Verdict::Return)]])).unwrap();
    assert_eq!(found.table.as_deref(), Some("ip filter"));
    assert_eq!(found.chain.as_deref(), Some("FORWARD"));
    assert!(
        found.remedy.starts_with("iptables -I DOCKER-USER -i eth0 -j ACCEPT"),
        "{}",
        found.remedy
    );
}

#[test]
fn the_remedy_for_docker_works_only_with_both_halves() {
    let out = when([input("eth0")], Verdict::Accept);
    let mut back: Vec<Expression> = output("eth0").into();
    back.extend(answers_accepted());
    assert!(blocker(&docker(vec![out.clone()])).is_some(), "answers are still dropped");
    assert_eq!(blocker(&docker(vec![out, back])), None);
}

#[test]
fn accepting_answers_does_not_let_new_connections_out() {
    let found = blocker(&filter(vec![("FORWARD", base(true, vec![answers_accepted()]))])).unwrap();
    assert!(found.remedy.starts_with("iptables -I FORWARD -i eth0"), "{}", found.remedy);
}

#[test]
fn the_remedy_for_ufw_is_a_ufw_command() {
    let chains = vec![
        (
            "FORWARD",
            base(true, vec![vec![Expression::Verdict(Verdict::Jump("ufw-before-forward".into()))]]),
        ),
        ("ufw-before-forward", plain(vec![answers_accepted()])),
    ];
    assert_eq!(blocker(&filter(chains)).unwrap().remedy, "ufw route allow in on eth0 out on eth1");
}

#[test]
fn a_final_reject_of_firewalld_is_found_after_sets_of_states() {
    let states =
        Expression::Lookup { register: 0, set: "__set0".into(), inverted: false, verdicts: false };
    let chain = base(
        false,
        vec![
            vec![
                Expression::Load { to: 0, what: What::Ct(CT_STATE) },
                states,
                Expression::Verdict(Verdict::Accept),
            ],
            when([input("lo")], Verdict::Accept),
            vec![Expression::Verdict(Verdict::Drop)],
        ],
    );
    let state = |bits: u32| Element { key: Key::At(bits.to_ne_bytes().to_vec()), verdict: None };
    let table = Table {
        chains: BTreeMap::from_iter([("filter_FORWARD".to_owned(), chain)]),
        sets: BTreeMap::from_iter([("__set0".to_owned(), vec![state(2), state(4)])]),
        legacy: false,
    };
    let found =
        blocker(&Ruleset { tables: BTreeMap::from_iter([((1, "firewalld".to_owned()), table)]) })
            .unwrap();
    assert_eq!(found.table.as_deref(), Some("inet firewalld"));
    assert!(found.remedy.contains("--add-interface=eth0"), "{}", found.remedy);
}

#[test]
fn a_verdict_map_is_evaluated() {
    let element =
        |port: &str, verdict| Element { key: Key::At(name(port)), verdict: Some(verdict) };
    let map = |verdict| {
        BTreeMap::from_iter([(
            "__map0".to_owned(),
            vec![element("eth9", Verdict::Drop), element("eth0", verdict)],
        )])
    };
    let rule = vec![
        Expression::Load { to: 0, what: What::Meta(META_IIFNAME) },
        Expression::Lookup { register: 0, set: "__map0".into(), inverted: false, verdicts: true },
    ];
    let with =
        |verdict| filter_with(vec![("FORWARD", base(false, vec![rule.clone()]))], map(verdict));
    assert!(blocker(&with(Verdict::Drop)).is_some());
    assert_eq!(blocker(&with(Verdict::Accept)), None);
}

#[test]
fn rules_for_another_network_or_that_may_not_match_are_no_blockers() {
    let source = |address: [u8; 4]| test(What::Payload(1, 12, 4), &address);
    let dropping = |address| {
        filter(vec![("FORWARD", base(false, vec![when([source(address)], Verdict::Drop)]))])
    };
    assert_eq!(blocker(&dropping([10, 0, 0, 5])), None);
    assert_eq!(blocker(&dropping([192, 168, 50, 11])), None, "one node only");
    let network = vec![
        Expression::Load { to: 0, what: What::Payload(1, 12, 4) },
        Expression::Bitwise { from: 0, to: 0, mask: vec![255, 255, 0, 0], xor: vec![0; 4] },
        Expression::Compare { register: 0, operator: 0, data: vec![192, 168, 0, 0] },
        Expression::Verdict(Verdict::Drop),
    ];
    assert!(blocker(&filter(vec![("FORWARD", base(false, vec![network]))])).is_some(), "all nodes");
}

#[test]
fn the_simulation_of_looping_chains_ends() {
    let jump = |to: &str| vec![vec![Expression::Verdict(Verdict::Jump(to.into())); 1]; 4];
    let chains =
        vec![("FORWARD", base(false, jump("a"))), ("a", plain(jump("b"))), ("b", plain(jump("a")))];
    assert_eq!(blocker(&filter(chains)), None);
}

/// Makes ufw's input chains: its default rules and policy.
fn ufw_input(user: Vec<Vec<Expression>>) -> Ruleset {
    let jump = |chain: &str| vec![Expression::Verdict(Verdict::Jump(chain.into()))];
    let kind = |mask: u16, verdict| {
        let kinds = Expression::AddressTypes { source: 0, destination: mask, inverted: [false; 2] };
        vec![kinds, Expression::Verdict(verdict)]
    };
    let not_local = vec![
        kind(1 << 2, Verdict::Return),
        kind(1 << 5, Verdict::Return),
        kind(1 << 3, Verdict::Return),
        vec![Expression::Verdict(Verdict::Drop)],
    ];
    let before = vec![
        when([input("lo")], Verdict::Accept),
        answers_accepted(),
        jump("ufw-not-local"),
        jump("ufw-user-input"),
    ];
    filter(vec![
        ("INPUT", base_at(INPUT, true, vec![jump("ufw-before-input")])),
        ("ufw-before-input", plain(before)),
        ("ufw-not-local", plain(not_local)),
        ("ufw-user-input", plain(user)),
    ])
}

#[test]
fn the_default_policy_of_ufw_blocks_nodes_until_the_remedy() {
    let all = [
        (Traffic::Addresses, "ufw allow in on eth0"),
        (Traffic::Names, "ufw allow in on eth0"),
        (Traffic::BootFiles, "ufw allow in on eth0"),
        (Traffic::Time, "ufw allow in on eth0"),
        (
            Traffic::Venue { protocol: crate::packet::TCP, port: 22 },
            "ufw allow in on eth1 to any port 22 proto tcp",
        ),
    ];
    for (traffic, remedy) in all {
        let found = blocker_of(&ufw_input(vec![]), traffic)
            .unwrap_or_else(|| panic!("{traffic:?} is dropped"));
        assert_eq!(
            (found.chain.as_deref(), found.remedy.as_str()),
            (Some("INPUT"), remedy),
            "{traffic:?}"
        );
        let opened = ufw_input(vec![
            when([input("eth0")], Verdict::Accept),
            when([input("eth1")], Verdict::Accept),
        ]);
        assert_eq!(blocker_of(&opened, traffic), None, "{traffic:?}");
    }
    assert_eq!(blocker_of(&ufw_input(vec![]), Traffic::Probes), None, "answers are let in");
    assert_eq!(blocker(&ufw_input(vec![])), None, "what is forwarded does not pass there");
}

/// Covers a rule that may accept part of the traffic, and one for another port.
#[test]
fn an_uncertain_drop_at_input_is_no_blocker() {
    let port = |number: u16| test(What::Payload(2, 2, 2), &number.to_be_bytes());
    let with = |rule: Vec<Expression>| filter(vec![("INPUT", base_at(INPUT, true, vec![rule]))]);
    assert!(
        blocker_of(&with(when([port(68)], Verdict::Accept)), Traffic::Names).is_some(),
        "another port is open"
    );
    assert_eq!(blocker_of(&with(when([port(53)], Verdict::Accept)), Traffic::Names), None);
    let limited = vec![Expression::Unknown, Expression::Verdict(Verdict::Accept)];
    assert_eq!(blocker_of(&with(limited), Traffic::Names), None, "some of it passes");
    let range = |first: u16, last: u16| {
        let (first, last) = (first.to_be_bytes().to_vec(), last.to_be_bytes().to_vec());
        let tests = [
            Expression::Load { to: 0, what: What::Payload(2, 2, 2) },
            Expression::Range { register: 0, inverted: false, first, last },
        ];
        tests.into_iter().chain([Expression::Verdict(Verdict::Accept)]).collect::<Vec<_>>()
    };
    assert_eq!(blocker_of(&with(range(50, 60)), Traffic::Names), None);
    assert!(blocker_of(&with(range(54, 60)), Traffic::Names).is_some());
}

#[test]
fn an_interval_set_is_evaluated() {
    let key = |port: u16, end: bool| {
        let bytes = port.to_be_bytes().to_vec();
        Element { key: if end { Key::End(bytes) } else { Key::At(bytes) }, verdict: None }
    };
    let rule = vec![
        Expression::Load { to: 0, what: What::Payload(2, 2, 2) },
        Expression::Lookup { register: 0, set: "ports".into(), inverted: false, verdicts: false },
        Expression::Verdict(Verdict::Accept),
    ];
    // 53 to 67, 1000 to 1999.
    let elements =
        vec![key(2000, true), key(0, true), key(1000, false), key(68, true), key(53, false)];
    let sets = BTreeMap::from_iter([("ports".to_owned(), elements)]);
    let ruleset = filter_with(vec![("INPUT", base_at(INPUT, true, vec![rule]))], sets);
    assert_eq!(blocker_of(&ruleset, Traffic::Names), None);
    assert!(blocker_of(&ruleset, Traffic::Time).is_some(), "123 lies between them");
}

/// Loads `ip saddr . udp dport` like nft: the port is in the register after the address.
fn address_and_port() -> [Expression; 2] {
    [
        Expression::Load { to: 0, what: What::Payload(1, 12, 4) },
        Expression::Load { to: 1, what: What::Payload(2, 2, 2) },
    ]
}

/// The simulated DNS query comes from an unknown address in 192.168.50.0/24.
#[test]
fn a_concatenation_is_evaluated() {
    let both = |address: [u8; 4], port: u8| [address.as_slice(), &[0, port, 0, 0]].concat();
    let element = |key: Key, verdict: Verdict| Element { key, verdict: Some(verdict) };
    let fields = |first: [u8; 4], last: [u8; 4], ports: [u8; 2]| {
        let [from, to] = ports.map(|port| vec![0, port]);
        Key::Fields(vec![(first.to_vec(), last.to_vec()), (from, to)])
    };
    let net = |third: u8| ([192, 168, third, 0], [192, 168, third, 255]);
    let lookup = |elements: Vec<Element>| {
        let lookup = Expression::Lookup {
            register: 0,
            set: "known".into(),
            inverted: false,
            verdicts: true,
        };
        let rule: Vec<Expression> = address_and_port().into_iter().chain([lookup]).collect();
        let sets = BTreeMap::from_iter([("known".to_owned(), elements)]);
        let ruleset = filter_with(vec![("INPUT", base_at(INPUT, false, vec![rule]))], sets);
        blocker_of(&ruleset, Traffic::Names).is_some()
    };
    let of_net = |third: u8, ports| fields(net(third).0, net(third).1, ports);
    assert!(lookup(vec![element(of_net(50, [53, 53]), Verdict::Drop)]), "all nodes' questions");
    assert!(lookup(vec![element(of_net(50, [1, 99]), Verdict::Drop)]), "among others");
    assert!(!lookup(vec![element(of_net(50, [54, 99]), Verdict::Drop)]), "another port");
    assert!(!lookup(vec![element(of_net(60, [53, 53]), Verdict::Drop)]), "another network");
    let half = fields([192, 168, 50, 0], [192, 168, 50, 127], [53, 53]);
    assert!(!lookup(vec![element(half, Verdict::Drop)]), "some nodes'");
    assert!(
        !lookup(vec![element(Key::At(both([192, 168, 50, 11], 53)), Verdict::Drop)]),
        "one node's"
    );
    let rest = |verdict| element(Key::All, verdict);
    assert!(
        lookup(vec![element(of_net(50, [54, 99]), Verdict::Accept), rest(Verdict::Drop)]),
        "the rest is dropped"
    );
    assert!(
        !lookup(vec![element(of_net(50, [53, 53]), Verdict::Accept), rest(Verdict::Drop)]),
        "and these are not"
    );
    assert!(!lookup(vec![element(Key::Unclear, Verdict::Drop)]), "what is not read is not certain");
}

/// Accepts a set of `iifname . udp dport` before a policy of drop.
#[test]
fn a_concatenation_of_interface_and_port_is_evaluated() {
    let key = |port: &str, number: u8| [name(port).as_slice(), &[0, number, 0, 0]].concat();
    let element = |key| Element { key: Key::At(key), verdict: None };
    let rule = vec![
        Expression::Load { to: 0, what: What::Meta(META_IIFNAME) },
        Expression::Load { to: 4, what: What::Payload(2, 2, 2) },
        Expression::Lookup { register: 0, set: "open".into(), inverted: false, verdicts: false },
        Expression::Verdict(Verdict::Accept),
    ];
    let elements = vec![element(key("eth0", 53)), element(key("eth1", 123))];
    let sets = BTreeMap::from_iter([("open".to_owned(), elements)]);
    let ruleset = filter_with(vec![("INPUT", base_at(INPUT, true, vec![rule]))], sets);
    assert_eq!(blocker_of(&ruleset, Traffic::Names), None);
    assert!(blocker_of(&ruleset, Traffic::Time).is_some(), "the rule accepts it at the other port");
}

/// A shorter value replaces a longer one completely.
#[test]
fn registers_hold_the_last_value() {
    let rule = vec![
        Expression::Load { to: 0, what: What::Meta(META_IIFNAME) },
        Expression::Load { to: 1, what: What::Other },
        Expression::Compare { register: 0, operator: 0, data: name("eth0") },
        Expression::Verdict(Verdict::Drop),
    ];
    assert_eq!(blocker(&filter(vec![("FORWARD", base(false, vec![rule]))])), None);
}

fn message(command: u8, port: u32, request: Request) -> Vec<u8> {
    let mut bytes = request.bytes(1);
    bytes.splice(4..5, [command]);
    bytes.splice(12..16, port.to_ne_bytes());
    bytes
}

fn listen(watcher: &mut Watcher, bytes: &[u8]) -> Disturbance {
    watcher.take(&messages(bytes).next().unwrap(), "bramblegate", 4711)
}

#[test]
fn the_end_of_a_transaction_names_the_program_that_changed_our_table() {
    let mut watcher = Watcher::default();
    let ours = Request::netfilter(NFTABLES, 0, 1).text(1, "bramblegate");
    let end = Request::netfilter(NFTABLES, 0, 0).be32(1, 9).be32(2, 1234).text(3, "nft");
    assert_eq!(listen(&mut watcher, &message(2, 99, ours.clone())), Disturbance::None);
    let by = Some("nft (1234)".to_owned());
    assert_eq!(listen(&mut watcher, &message(15, 99, end.clone())), Disturbance::Ours { by });
    assert_eq!(
        listen(&mut watcher, &message(15, 99, end.clone())),
        Disturbance::Foreign,
        "the next one did not"
    );
    listen(&mut watcher, &message(2, 4711, ours));
    assert_eq!(listen(&mut watcher, &message(15, 4711, end)), Disturbance::None, "our own change");
}

#[test]
fn a_table_of_our_name_in_another_family_is_not_ours() {
    let mut watcher = Watcher::default();
    listen(
        &mut watcher,
        &message(2, 99, Request::netfilter(NFTABLES, 0, 2).text(1, "bramblegate")),
    );
    assert_eq!(
        listen(&mut watcher, &message(15, 99, Request::netfilter(NFTABLES, 0, 0))),
        Disturbance::Foreign
    );
}

proptest! {
    #[test]
    fn arbitrary_messages_never_panic(payload: Vec<u8>) {
        let bytes = Request::netfilter(NFTABLES, 6, 2).attribute(0, &payload).bytes(1);
        let mut raw = Request::netfilter(NFTABLES, 6, 2).bytes(1);
        raw.extend(&payload);
        let length = raw.len() as u32;
        raw.splice(0..4, length.to_ne_bytes());
        for message in messages(&bytes).chain(messages(&raw)) {
            let mut ruleset = filter(vec![("FORWARD", base(true, vec![]))]);
            if let Some((_, name, chain)) = foreign::chain(&message) {
                ruleset.tables.iter_mut().for_each(|(_, table)| { table.chains.insert(name.clone(), chain.clone()); });
            }
            if let Some((_, _, rule)) = foreign::rule(&message) {
                ruleset.tables.iter_mut().flat_map(|(_, table)| table.chains.iter_mut()).for_each(|(_, chain)| chain.rules.push(rule.clone()));
            }
            let _ = (foreign::elements(&message, &[4, 2]), Watcher::default().take(&message, "bramblegate", 1));
            let _ = (blocker(&ruleset), blocker_of(&ruleset, Traffic::Names));
        }
    }

    #[test]
    fn arbitrary_expressions_never_panic(payload: Vec<u8>, name in "(meta|ct|cmp|bitwise|lookup|immediate|match|target|payload)") {
        let bytes = Request::netfilter(0, 0, 0).text(1, &name).attribute(2, &payload).bytes(0);
        let _ = Expression::parse(bytes.get(20..).unwrap());
    }
}
