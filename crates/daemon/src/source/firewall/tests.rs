use litemap::LiteMap;
use proptest::prelude::*;

use super::disturbance::{Disturbance, Watcher};
use super::expression::{Expression, Verdict, What};
use super::foreign::{self, Chain, Element, Ruleset, Table};
use super::judge::{Way, blocker};
use crate::source::nfnetlink::{NFTABLES, Request, messages};

fn way() -> Way {
    Way {
        cluster: ("eth0".into(), Some(2)),
        uplink: ("eth1".into(), Some(3)),
        network: Some("192.168.50.1/24".parse().unwrap()),
    }
}

fn base(drops: bool, rules: Vec<Vec<Expression>>) -> Chain {
    Chain { forward: true, drops, rules }
}

fn plain(rules: Vec<Vec<Expression>>) -> Chain {
    Chain { forward: false, drops: false, rules }
}

fn filter(chains: Vec<(&str, Chain)>) -> Ruleset {
    filter_with(chains, LiteMap::new())
}

fn filter_with(chains: Vec<(&str, Chain)>, sets: LiteMap<String, Vec<Element>>) -> Ruleset {
    let chains = chains.into_iter().map(|(name, chain)| (name.to_owned(), chain)).collect();
    Ruleset { tables: LiteMap::from_iter([((2, "filter".to_owned()), Table { chains, sets })]) }
}

fn name(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(16, 0);
    bytes
}

fn test(what: What, data: &[u8]) -> [Expression; 2] {
    [Expression::Load { to: 0, what }, Expression::Compare { register: 0, operator: 0, data: data.to_vec() }]
}

fn when(tests: impl IntoIterator<Item = [Expression; 2]>, verdict: Verdict) -> Vec<Expression> {
    let mut rule: Vec<Expression> = tests.into_iter().flatten().collect();
    rule.push(Expression::Neutral);
    rule.push(Expression::Verdict(verdict));
    rule
}

fn input(text: &str) -> [Expression; 2] {
    test(What::Meta(6), &name(text))
}

fn output(text: &str) -> [Expression; 2] {
    test(What::Meta(7), &name(text))
}

/// `-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`
fn answers_accepted() -> Vec<Expression> {
    vec![Expression::States { mask: 6, inverted: false }, Expression::Verdict(Verdict::Accept)]
}

#[test]
fn an_empty_machine_blocks_nothing() {
    assert_eq!(blocker(&Ruleset::default(), &way()), None);
    assert_eq!(blocker(&filter(vec![("FORWARD", base(false, vec![]))]), &way()), None);
}

/// Docker: policy drop, its own bridges accepted, everything else not.
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
    let found = blocker(&docker(vec![vec![Expression::Verdict(Verdict::Return)]]), &way()).unwrap();
    assert_eq!(found.table.as_deref(), Some("ip filter"));
    assert_eq!(found.chain.as_deref(), Some("FORWARD"));
    assert!(found.remedy.starts_with("iptables -I DOCKER-USER -i eth0 -j ACCEPT"), "{}", found.remedy);
}

#[test]
fn the_remedy_for_docker_works_only_with_both_halves() {
    let out = when([input("eth0")], Verdict::Accept);
    let mut back: Vec<Expression> = output("eth0").into();
    back.extend(answers_accepted());
    assert!(blocker(&docker(vec![out.clone()]), &way()).is_some(), "answers are still dropped");
    assert_eq!(blocker(&docker(vec![out, back]), &way()), None);
}

#[test]
fn accepting_answers_does_not_let_new_connections_out() {
    let found = blocker(&filter(vec![("FORWARD", base(true, vec![answers_accepted()]))]), &way()).unwrap();
    assert!(found.remedy.starts_with("iptables -I FORWARD -i eth0"), "{}", found.remedy);
}

#[test]
fn ufw_is_told_in_its_own_words() {
    let chains = vec![
        ("FORWARD", base(true, vec![vec![Expression::Verdict(Verdict::Jump("ufw-before-forward".into()))]])),
        ("ufw-before-forward", plain(vec![answers_accepted()])),
    ];
    assert_eq!(blocker(&filter(chains), &way()).unwrap().remedy, "ufw route allow in on eth0 out on eth1");
}

#[test]
fn firewalld_that_rejects_at_the_end_is_found_also_with_sets_of_states() {
    let states = Expression::Lookup { register: 0, set: "__set0".into(), inverted: false, verdicts: false };
    let chain = base(
        false,
        vec![
            vec![Expression::Load { to: 0, what: What::Ct(0) }, states, Expression::Verdict(Verdict::Accept)],
            when([input("lo")], Verdict::Accept),
            vec![Expression::Verdict(Verdict::Drop)],
        ],
    );
    let state = |bits: u32| Element { key: Some(bits.to_ne_bytes().to_vec()), verdict: None };
    let table = Table {
        chains: LiteMap::from_iter([("filter_FORWARD".to_owned(), chain)]),
        sets: LiteMap::from_iter([("__set0".to_owned(), vec![state(2), state(4)])]),
    };
    let found =
        blocker(&Ruleset { tables: LiteMap::from_iter([((1, "firewalld".to_owned()), table)]) }, &way()).unwrap();
    assert_eq!(found.table.as_deref(), Some("inet firewalld"));
    assert!(found.remedy.contains("--add-interface=eth0"), "{}", found.remedy);
}

#[test]
fn a_verdict_map_is_followed() {
    let element = |port: &str, verdict| Element { key: Some(name(port)), verdict: Some(verdict) };
    let map = |verdict| {
        LiteMap::from_iter([("__map0".to_owned(), vec![element("eth9", Verdict::Drop), element("eth0", verdict)])])
    };
    let rule = vec![
        Expression::Load { to: 0, what: What::Meta(6) },
        Expression::Lookup { register: 0, set: "__map0".into(), inverted: false, verdicts: true },
    ];
    let with = |verdict| filter_with(vec![("FORWARD", base(false, vec![rule.clone()]))], map(verdict));
    assert!(blocker(&with(Verdict::Drop), &way()).is_some());
    assert_eq!(blocker(&with(Verdict::Accept), &way()), None);
}

#[test]
fn a_rule_for_another_network_or_an_uncertain_one_is_no_culprit() {
    let source = |address: [u8; 4]| test(What::Payload(1, 12, 4), &address);
    let dropping = |address| filter(vec![("FORWARD", base(false, vec![when([source(address)], Verdict::Drop)]))]);
    assert_eq!(blocker(&dropping([10, 0, 0, 5]), &way()), None);
    assert_eq!(blocker(&dropping([192, 168, 50, 11]), &way()), None, "one node only");
    let network = vec![
        Expression::Load { to: 0, what: What::Payload(1, 12, 4) },
        Expression::Bitwise { from: 0, to: 0, mask: vec![255, 255, 0, 0], xor: vec![0; 4] },
        Expression::Compare { register: 0, operator: 0, data: vec![192, 168, 0, 0] },
        Expression::Verdict(Verdict::Drop),
    ];
    assert!(blocker(&filter(vec![("FORWARD", base(false, vec![network]))]), &way()).is_some(), "all nodes");
}

#[test]
fn chains_that_go_round_in_circles_end() {
    let jump = |to: &str| vec![vec![Expression::Verdict(Verdict::Jump(to.into())); 1]; 4];
    let chains = vec![("FORWARD", base(false, jump("a"))), ("a", plain(jump("b"))), ("b", plain(jump("a")))];
    assert_eq!(blocker(&filter(chains), &way()), None);
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
fn who_touched_our_table_is_named_by_the_end_of_the_transaction() {
    let mut watcher = Watcher::default();
    let ours = Request::new(NFTABLES, 0, 1).text(1, "bramblegate");
    let end = Request::new(NFTABLES, 0, 0).be32(1, 9).be32(2, 1234).text(3, "nft");
    assert_eq!(listen(&mut watcher, &message(2, 99, ours.clone())), Disturbance::None);
    let by = Some("nft (1234)".to_owned());
    assert_eq!(listen(&mut watcher, &message(15, 99, end.clone())), Disturbance::Ours { by });
    assert_eq!(listen(&mut watcher, &message(15, 99, end.clone())), Disturbance::Foreign, "the next one did not");
    listen(&mut watcher, &message(2, 4711, ours));
    assert_eq!(listen(&mut watcher, &message(15, 4711, end)), Disturbance::None, "our own change");
}

#[test]
fn a_table_of_our_name_in_another_family_is_not_ours() {
    let mut watcher = Watcher::default();
    listen(&mut watcher, &message(2, 99, Request::new(NFTABLES, 0, 2).text(1, "bramblegate")));
    assert_eq!(listen(&mut watcher, &message(15, 99, Request::new(NFTABLES, 0, 0))), Disturbance::Foreign);
}

proptest! {
    #[test]
    fn any_bytes_are_read_and_judged_without_harm(payload: Vec<u8>) {
        let bytes = Request::new(NFTABLES, 6, 2).attribute(0, &payload).bytes(1);
        let mut raw = Request::new(NFTABLES, 6, 2).bytes(1);
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
            let _ = (foreign::elements(&message), Watcher::default().take(&message, "bramblegate", 1));
            let _ = blocker(&ruleset, &way());
        }
    }

    #[test]
    fn any_expression_is_parsed_without_harm(payload: Vec<u8>, name in "(meta|ct|cmp|bitwise|lookup|immediate|match|target|payload)") {
        let bytes = Request::new(0, 0, 0).text(1, &name).attribute(2, &payload).bytes(0);
        let _ = Expression::parse(bytes.get(20..).unwrap());
    }
}
