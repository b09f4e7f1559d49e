//! Properties of the rule set's encoding, for any settings: the encoding is complete to the last
//! byte, and the kernel's reading of it, in nft's syntax, is what Bramblegate prints.

use bramblegate::config::Allow;
use bramblegate::decide::firewall::{
    ClusterIpv6, ForwardedPort, RulesetInput, TABLE, Transport, build,
};
use bramblegate::netlink::messages;
use bramblegate::reconcile::firewall::{Encoded, FirewallReconciler, Label, encode};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::firewall::{assert_same, lines, listing, load};
use crate::frame::Trial;
use crate::lab::trial;

pub fn tests() -> Vec<Trial> {
    vec![
        trial("ruleset::any_rule_set_is_encoded_whole", any_rule_set_is_encoded_whole),
        trial(
            "ruleset::any_rule_set_is_listed_as_it_is_printed",
            any_rule_set_is_listed_as_it_is_printed,
        ),
    ]
}

fn check(cases: u32, flow_table: bool, property: fn(RulesetInput)) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let property = |input: RulesetInput| {
        property(input);
        Ok(())
    };
    TestRunner::new(config)
        .run(&inputs(flow_table), property)
        .unwrap_or_else(|error| panic!("{error}"));
}

fn any_rule_set_is_encoded_whole() {
    check(300, true, |input| {
        for owned in [false, true] {
            whole_transaction(&input, &encode(&build(&input), owned));
        }
    });
}

fn any_rule_set_is_listed_as_it_is_printed() {
    check(40, false, |input| {
        let ruleset = build(&input);
        let mut reconciler = FirewallReconciler::new();
        load(&mut reconciler, &ruleset, false);
        let listed = listing();
        reconciler.remove().unwrap();
        assert_same(&listed, &lines(&ruleset.kernel(false).to_string()));
    });
}

/// The messages fill the transaction, the attributes fill each message, and each rule is in its
/// chain with its comment.
fn whole_transaction(input: &RulesetInput, encoded: &Encoded) {
    const NEW_RULE: u16 = 10 << 8 | 6;
    let ruleset = build(input);
    let read: Vec<_> = messages(&encoded.bytes).collect();
    assert_eq!(read.len(), encoded.labels.len());
    let length: usize =
        read.iter().map(|message| (16 + message.payload.len()).next_multiple_of(4)).sum();
    assert_eq!(length, encoded.bytes.len());
    let mut rules = 0;
    for (message, label) in read.iter().zip(&encoded.labels) {
        whole(&message.payload[4..]);
        let (Label::Rule(chain, rule), NEW_RULE) = (label, message.kind) else { continue };
        let (chain, reported) = (&ruleset.chains[*chain], message.attributes());
        assert_eq!(
            (reported.text(1).as_deref(), reported.text(2).as_deref()),
            (Some(TABLE), Some(chain.name))
        );
        let comment = [
            &[0, chain.rules[*rule].comment.len() as u8 + 1],
            chain.rules[*rule].comment.as_bytes(),
            &[0],
        ];
        assert_eq!(reported.value(7), Some(comment.concat().as_slice()));
        // The match, if any; the counter; the verdict.
        let least = 2 + usize::from(!chain.rules[*rule].matches.is_empty());
        assert!(reported.nest(4).count() >= least, "{}", chain.rules[*rule]);
        rules += 1;
    }
    assert_eq!(rules, ruleset.len(), "no rule is missing");
}

/// Attributes, and nested ones, end where their container ends.
fn whole(mut bytes: &[u8]) {
    const NESTED: u16 = 0x8000;
    while !bytes.is_empty() {
        let length = usize::from(u16::from_ne_bytes([bytes[0], bytes[1]]));
        let kind = u16::from_ne_bytes([bytes[2], bytes[3]]);
        assert!(length >= 4 && length <= bytes.len(), "{length} of {}", bytes.len());
        if kind & NESTED != 0 {
            whole(&bytes[4..length]);
        }
        bytes = &bytes[length.next_multiple_of(4).min(bytes.len())..];
    }
}

/// The rule sets that settings and facts may produce.
fn inputs(flow_table: bool) -> impl Strategy<Value = RulesetInput> {
    let name = "[a-z][a-z0-9.@_-]{0,14}";
    let ports = (
        prop::option::of(name),
        prop::collection::vec(name, 0..5),
        prop::collection::vec(name, if flow_table { 0..4 } else { 0..1 }),
    );
    let networks = prop::collection::vec((any::<u32>(), 8_u8..=32), 0..3);
    let networks = (networks, prop::option::of((any::<u128>(), any::<bool>())));
    let more =
        (prop::collection::vec(allow(), 0..6), prop::collection::vec(port(), 0..3), any::<bool>());
    let names = || prop::collection::vec(name, 0..3);
    let without_role = (names(), names(), names(), names());
    let forwards = prop::collection::vec(forward(), 0..4);
    (ports, networks, more, forwards, without_role).prop_map(
        |(ports, networks, more, forwards, without_role)| {
            let (allow, ssh_ports, overlap_routed) = more;
            let (forwarded_for_us, trusted, bridges, unknown) = without_role;
            let network =
                |(bits, prefix): (u32, u8)| ipnet::IpNet::new(ipv4(bits), prefix).unwrap();
            let (networks, ipv6) = networks;
            let ipv6 = ipv6.map(|(bits, for_us_alone)| {
                let network = ipnet::Ipv6Net::new(bits.into(), 64).unwrap().trunc();
                ClusterIpv6 { network, for_us_alone }
            });
            let (cluster_port, uplinks, flow_table_devices) = ports;
            let cluster_networks: Vec<ipnet::IpNet> = networks.into_iter().map(network).collect();
            let marks = [0x8000_0000, 0x8100_0000, 0xa900_0000, 0xed00_0000, 0xc400_0000];
            RulesetInput {
                entrances: uplinks
                    .iter()
                    .skip(usize::from(overlap_routed))
                    .cloned()
                    .zip(marks)
                    .collect(),
                left_over: uplinks.iter().take(usize::from(overlap_routed)).cloned().collect(),
                cluster_addresses: cluster_networks.iter().map(ipnet::IpNet::addr).collect(),
                dead: forwards.iter().step_by(2).copied().collect(),
                cluster_port,
                cluster_networks,
                without_ipv6: uplinks.iter().take(1).cloned().collect(),
                previous_delegations: vec!["2001:db8:2::/56".parse().unwrap()],
                delegated: ipv6.and_then(|_| {
                    Some(("2001:db8:1::/64".parse().ok()?, uplinks.first()?.clone()))
                }),
                ipv6,
                uplinks,
                allow,
                ssh_ports,
                web_port: Some(8080),
                overlap_routed,
                translated: overlap_routed,
                forwards,
                flow_table_devices,
                forwarded_for_us,
                trusted,
                bridges,
                unknown,
            }
        },
    )
}

fn port() -> impl Strategy<Value = u16> {
    1_u16..=u16::MAX
}

fn allow() -> impl Strategy<Value = Allow> {
    let range = || (port(), port()).prop_map(|(a, b)| (a.min(b), a.max(b)));
    prop_oneof![
        Just(Allow::Ssh),
        Just(Allow::Icmp),
        Just(Allow::Mdns),
        range().prop_map(|(first, last)| Allow::Tcp(first, last)),
        range().prop_map(|(first, last)| Allow::Udp(first, last)),
    ]
}

fn forward() -> impl Strategy<Value = ForwardedPort> {
    let transport = prop_oneof![Just(Transport::Tcp), Just(Transport::Udp)];
    (transport, port(), any::<u32>(), port()).prop_map(|(transport, listen, to, port)| {
        ForwardedPort { transport, listen, to: ipv4(to), port }
    })
}

fn ipv4(bits: u32) -> std::net::IpAddr {
    std::net::Ipv4Addr::from(bits).into()
}
