//! The rules and their order.

use std::collections::BTreeSet;

use ipnet::{IpNet, Ipv6Net};

use super::{
    Action, COMMENT_ELSEWHERE, COMMENT_FORWARDED, COMMENT_MASQUERADE, COMMENT_NOT_OURS,
    COMMENT_ROUTER, COMMENT_SPOOFED, COMMENT_STRAY, Chain, ChainKind, Family, FlowTable, HIDING,
    Hook, Kind, Match, NOTED_DROPS, Rule, Ruleset, RulesetInput, SAMPLE_SECONDS, SAMPLE_SIZE, Set,
    Side, Transport, base, chain, forwarded, marks, rule,
};
use crate::api::clat::DEVICE;
use crate::config::Allow;
use crate::facts::link::mirror::TRANSLATORS;
use crate::facts::link::roleless::{OWN_CABLES, OWN_KINDS};

/// `filter`, the priority of other programs' rules (iptables, ufw, Docker at 0, firewalld at 10).
const FILTER: i32 = 0;
/// Ahead of other programs, so that our counters include what they drop, which is how such drops
/// are found.
const FORWARD: i32 = FILTER - 10;
/// `srcnat` - 10: ahead of other programs' masquerading, for the same reason.
const SRCNAT: i32 = 100 - 10;

/// After `srcnat` and other programs' translations.
const BEHIND_SRCNAT: i32 = 100 + 100;
/// IPv6 addresses that are valid on one link only (RFC 4291, 2.5.6).
const LINK_LOCAL: &str = "fe80::/10";

const FLOW_TABLE: &str = "established";
const POSTROUTING: &str = "postrouting";
const IGMP: u8 = 2;
const REDIRECT: u8 = 5;
const ECHO_REQUEST: u8 = 8;
const ECHO_REQUEST_6: u8 = 128;
const ROUTER_ADVERTISEMENT: u8 = 134;
const REDIRECT_6: u8 = 137;
/// Multicast listener discovery (RFC 2710, RFC 3810) and neighbour discovery with router
/// advertisements (RFC 4861), without redirects.
const NEIGHBOURHOOD_6: [u8; 8] = [130, 131, 132, 133, 134, 135, 136, 143];

/// Returns the rule set for `input`. Established connections come first, and unrelated packets take
/// only a comparison or two. A port that is not known to be the cluster's, trusted or the head's
/// own is treated like the venue, so that a new port is closed from its first packet.
pub fn build(input: &RulesetInput) -> Ruleset {
    let mut input = input.clone();
    let mut seen = BTreeSet::new();
    input.uplinks.retain(|name| {
        is_matchable(name) && Some(name) != input.cluster_port.as_ref() && seen.insert(name.clone())
    });
    let has_role =
        |name: &String| Some(name) == input.cluster_port.as_ref() || input.uplinks.contains(name);
    for names in [&mut input.trusted, &mut input.bridges, &mut input.unknown] {
        names.retain(|name| is_matchable(name) && !has_role(name));
    }
    input.forwarded_for_us.retain(|name| input.uplinks.contains(name));
    input.left_over.retain(|name| input.uplinks.contains(name));
    if input.cluster_port.is_some() && !input.forwards.is_empty() {
        input.entrances.retain(|(name, _)| input.uplinks.contains(name));
    } else {
        input.entrances.clear();
    }
    let flow_table = flow_table(&input);
    let mut chains = forwarded::chains(&input);
    chains.extend([
        forward(&input, flow_table.as_ref()),
        from_cluster(&input),
        to_cluster(&input),
        cluster_to_uplink(&input),
        uplink_to_cluster(&input),
        uplink_elsewhere(),
        base("input", ChainKind::Filter, Hook::Input, FILTER, input_rules(&input)),
        cluster_to_head(&input),
        from_uplink(&input),
        trusted(&input),
        base("output", ChainKind::Filter, Hook::Output, FILTER, output_rules(&input)),
        to_venue(),
        refusals(&input),
        base(POSTROUTING, ChainKind::Nat, Hook::Postrouting, SRCNAT, postrouting_rules(&input)),
        hide_cluster(&input),
    ]);
    chains.extend(leaking_ipv6(&input));
    chains.extend(left_over(&input));
    chains.extend(marks::chains(&input));
    Ruleset { flow_table, sets: sets(&input), chains }
}

/// Returns the sets that rules fill: sources of dropped packets, and addresses seen in the cluster
/// ([`Action::Sample`]).
fn sets(input: &RulesetInput) -> Vec<Set> {
    let (timeout, size) = (Some(SAMPLE_SECONDS), Some(SAMPLE_SIZE));
    let all = NOTED_DROPS.iter().filter(|(comment, _)| {
        // Without IPv6 from the head, the cluster may have an IPv6 router of its own.
        input.ipv6.is_some() || *comment != COMMENT_ROUTER
    });
    all.map(|(comment, set)| {
        let key = vec![match sampled_family(comment) {
            Family::Ipv4 => Kind::Ipv4,
            Family::Ipv6 => Kind::Ipv6,
        }];
        Set { name: (*set).into(), key, dynamic: true, timeout, size, ..Set::default() }
    })
    .chain(marks::heard(input))
    .collect()
}

/// Returns the address family of a drop's sampled sources.
fn sampled_family(comment: &str) -> Family {
    if comment == COMMENT_ROUTER { Family::Ipv6 } else { Family::Ipv4 }
}

/// Returns a match on the only family that is forwarded for the nodes; `None` if both are.
fn forwarded_family(input: &RulesetInput) -> Option<Match> {
    input.ipv6.is_none().then_some(Match::Family(Family::Ipv4))
}

/// Returns the networks of the cluster, of both families.
fn networks(input: &RulesetInput) -> Vec<IpNet> {
    let ipv6 = ipv6_networks(input).map(IpNet::V6);
    input.cluster_networks.iter().map(IpNet::trunc).chain(ipv6).collect()
}

/// Returns the nodes' IPv6 networks.
fn ipv6_networks(input: &RulesetInput) -> impl Iterator<Item = Ipv6Net> + '_ {
    let delegated = input.delegated.iter().map(|(network, _)| *network);
    input.ipv6.iter().flat_map(move |ipv6| std::iter::once(ipv6.network).chain(delegated.clone()))
}

/// Returns whether rules can match this port name. Alternative names may exceed `IFNAMSIZ` - 1, and
/// truncated could be another port's name.
const fn is_matchable(name: &str) -> bool {
    name.len() < 16
}

/// Returns the flow table of the forwarding ports; `None` if there are fewer than two.
fn flow_table(input: &RulesetInput) -> Option<FlowTable> {
    let mut devices = input.flow_table_devices.clone();
    devices.sort();
    devices.dedup();
    (devices.len() > 1 && input.cluster_port.is_some())
        .then_some(FlowTable { name: FLOW_TABLE, devices })
}

/// Returns the chain for forwarded packets, which dispatches by input and output port.
fn forward(input: &RulesetInput, flow_table: Option<&FlowTable>) -> Chain {
    let mut rules = Vec::new();
    let ipv4 = Match::Family(Family::Ipv4);
    rules.extend(delegated_elsewhere(input, flow_table.is_some()));
    if let Some(port) = &input.cluster_port {
        let forwarded = forwarded_family(input);
        for match_port in [Match::Input(port.clone()), Match::Output(port.clone())] {
            if let Some(table) = flow_table {
                let matches = [match_port].into_iter().chain(forwarded.clone());
                rules.push(rule(
                    matches.chain([Match::Assured]).collect::<Vec<_>>(),
                    Action::Offload(table.name),
                    "established connections take the short way",
                ));
            }
        }
        rules.push(rule(
            forwarded.into_iter().chain([Match::Assured]).collect::<Vec<_>>(),
            Action::Accept,
            "established connections, of whatever port",
        ));
        rules.push(rule(
            [Match::Input(port.clone())],
            Action::Goto("from_cluster"),
            "what enters by the cluster port",
        ));
        rules.push(rule(
            [Match::Output(port.clone())],
            Action::Goto("to_cluster"),
            "what leaves by the cluster port",
        ));
    }
    rules.extend(to_nodes_elsewhere(input));
    // IPv4 forwarding is a setting of the input port: enabled for the nodes, it would apply to
    // every output port.
    rules.extend(input.forwarded_for_us.iter().map(|name| {
        rule(
            [ipv4.clone(), Match::Input(name.clone())],
            Action::Goto("uplink_elsewhere"),
            "the uplink past the nodes",
        )
    }));
    rules.extend(to_translator(input));
    // Forwarding was enabled for the nodes; older kernels only have a setting for all ports.
    let alone = input.ipv6.filter(|ipv6| ipv6.for_us_alone && input.cluster_port.is_some());
    rules.extend(alone.map(|_| {
        rule(
            [Match::Family(Family::Ipv6)],
            Action::Goto("uplink_elsewhere"),
            "IPv6 is forwarded for the nodes alone",
        )
    }));
    base("forward", ChainKind::Filter, Hook::Forward, FORWARD, rules)
}

/// Returns the rules that keep open connections of delegated addresses, which are not translated,
/// from another venue. They come before the rule for established connections and the flow table,
/// which would let them pass.
fn delegated_elsewhere(input: &RulesetInput, has_flow_table: bool) -> Vec<Rule> {
    if input.ipv6.is_none() || input.cluster_port.is_none() {
        return Vec::new();
    }
    let leaves = |name: &String, network: Ipv6Net| {
        vec![Match::Output(name.clone()), Match::Source(IpNet::V6(network))]
    };
    let previous = input.previous_delegations.iter().flat_map(|network| {
        input.uplinks.iter().map(move |name| {
            rule(leaves(name, *network), Action::Drop, "an address of a former venue")
        })
    });
    // A connection that is translated there enters the flow table by its replies.
    let current = input.delegated.iter().filter(|_| has_flow_table);
    let current = current.flat_map(|(network, own)| {
        let others = input.uplinks.iter().filter(move |name| *name != own);
        others.map(move |name| {
            let purpose = "an address of another venue, past the flow table";
            rule(leaves(name, *network), Action::Goto("cluster_to_uplink"), purpose)
        })
    });
    previous.chain(current).collect()
}

/// Returns the rules that accept IPv6 between the translator and the venue, and keep other IPv6
/// from the venue closed as before.
fn to_translator(input: &RulesetInput) -> Vec<Rule> {
    let alone = input.ipv6.is_some_and(|ipv6| ipv6.for_us_alone);
    let is_uplink = || input.uplinks.iter().any(|name| name == DEVICE);
    if !(input.translated || alone && is_uplink()) {
        return Vec::new();
    }
    let ipv6 = |port: Match| vec![Match::Family(Family::Ipv6), port];
    let device = || DEVICE.to_owned();
    let mut rules = vec![
        rule(ipv6(Match::Input(device())), Action::Accept, "what the translator sends"),
        rule(ipv6(Match::Output(device())), Action::Accept, "the venue to the translator"),
    ];
    let venue = input.uplinks.iter().filter(|name| input.translated && *name != DEVICE);
    rules.extend(venue.map(|name| {
        let purpose = "IPv6 is forwarded for the translator alone";
        rule(ipv6(Match::Input(name.clone())), Action::Goto("uplink_elsewhere"), purpose)
    }));
    rules
}

/// Returns the rules for packets to the nodes through another port than the cluster's: that one may
/// have been renamed, or its address be on another port. They must not pass as traffic to another
/// network.
fn to_nodes_elsewhere(input: &RulesetInput) -> Vec<Rule> {
    let to_cluster = |matches: Vec<Match>| {
        rule(matches, Action::Goto("to_cluster"), "to the nodes by another port")
    };
    if !input.overlap_routed {
        let networks = networks(input).into_iter().map(Match::Towards);
        return networks.map(|network| to_cluster(vec![network])).collect();
    }
    let networks = input.cluster_networks.iter().map(|net| Match::Towards(net.trunc()));
    let by_ports = |network: Match| {
        let ports = input.unknown.iter().cloned().map(Match::Output);
        ports.map(move |port| to_cluster(vec![network.clone(), port]))
    };
    // The subnets overlap in IPv4 only.
    let ipv6 = ipv6_networks(input).map(|network| Match::Towards(IpNet::V6(network)));
    networks.flat_map(by_ports).chain(ipv6.map(|network| to_cluster(vec![network]))).collect()
}

/// Returns the rule that drops IPv6; none if the nodes have it.
fn no_ipv6(input: &RulesetInput, purpose: &str) -> Vec<Rule> {
    let drop = || rule([Match::Family(Family::Ipv6)], Action::Drop, purpose);
    input.ipv6.is_none().then(drop).into_iter().collect()
}

/// Returns the chain for packets that enter by the cluster port.
fn from_cluster(input: &RulesetInput) -> Chain {
    let mut rules = no_ipv6(input, "IPv6 is not forwarded from the cluster");
    // The kernel would hide the connection behind a link-local or a translator's address until it
    // ends. Nothing is remembered of a first packet that is dropped, so the next one may pass.
    rules.extend(input.ipv6.iter().flat_map(|ipv6| {
        let waiting = input.uplinks.iter().filter(|name| input.without_ipv6.contains(name));
        waiting.map(|name| {
            let source = Match::Source(IpNet::V6(ipv6.network));
            let matches = [Match::Output(name.clone()), source, Match::Unconfirmed];
            rule(matches, Action::Drop, "the uplink has no IPv6 address yet")
        })
    }));
    for uplink in &input.uplinks {
        rules.push(rule(
            [Match::Output(uplink.clone())],
            Action::Goto("cluster_to_uplink"),
            "nodes to the uplink",
        ));
    }
    rules.push(rule([], Action::Accept, "nodes to the head's other networks"));
    chain("from_cluster", rules)
}

/// Returns the chain for packets that leave by the cluster port.
fn to_cluster(input: &RulesetInput) -> Chain {
    let mut rules = no_ipv6(input, "IPv6 is not forwarded to the cluster");
    for uplink in &input.uplinks {
        rules.push(rule(
            [Match::Input(uplink.clone())],
            Action::Goto("uplink_to_cluster"),
            "the uplink to nodes",
        ));
    }
    rules.push(rule([], Action::Jump("trusted"), "the head's other networks to nodes"));
    rules.push(rule([], Action::Goto("uplink_to_cluster"), "a port without a role to nodes"));
    chain("to_cluster", rules)
}

/// Returns the chain from the nodes to the venue.
fn cluster_to_uplink(input: &RulesetInput) -> Chain {
    let mut rules = vec![clamp_mss(), established()];
    rules.extend(reported_drop([Match::Invalid, Match::TcpAnswer], COMMENT_STRAY));
    // Out-of-window segments and late FINs are normal.
    rules.push(rule([Match::Invalid], Action::Drop, "belongs to no connection"));
    for network in networks(input) {
        let source = Match::Source(network);
        rules.push(rule([source.clone(), Match::Unconfirmed], Action::Accept, COMMENT_FORWARDED));
        rules.push(rule([source], Action::Accept, "more packets before the first answer"));
    }
    rules.extend(reported_drop([], COMMENT_NOT_OURS));
    chain("cluster_to_uplink", rules)
}

/// Returns the chain from the venue to the nodes.
fn uplink_to_cluster(input: &RulesetInput) -> Chain {
    let mut rules = vec![
        clamp_mss(),
        established(),
        rule([Match::Invalid], Action::Drop, "belongs to no connection"),
    ];
    rules.extend(spoofed(input));
    rules.extend(forwarded::accepted(input));
    rules.push(rule([], Action::Drop, "nothing new from the uplink to the nodes"));
    chain("uplink_to_cluster", rules)
}

/// Returns the chain from the venue to the head's other networks.
fn uplink_elsewhere() -> Chain {
    let mut rules = vec![established()];
    rules.extend(reported_drop([], COMMENT_ELSEWHERE));
    chain("uplink_elsewhere", rules)
}

/// Returns the rule that clamps the MSS to the path MTU.
fn clamp_mss() -> Rule {
    rule([Match::TcpOpening], Action::ClampMss, "no segment larger than the path takes")
}

/// Returns the rule that accepts established connections.
fn established() -> Rule {
    rule([Match::Established], Action::Accept, "replies, and errors that belong to a connection")
}

/// Returns a drop that is reported to the user, with a sample of its sources.
fn reported_drop<const N: usize>(matches: [Match; N], comment: &str) -> [Rule; 2] {
    let set = NOTED_DROPS.iter().find(|(known, _)| *known == comment).map_or("", |(_, set)| *set);
    [
        rule(matches.clone(), Action::Sample(sampled_family(comment), set), "who is dropped next"),
        rule(matches, Action::Drop, comment),
    ]
}

/// Returns the drops of packets from the venue with a source in the cluster; none for IPv4 if the
/// venue uses the same subnet.
fn spoofed(input: &RulesetInput) -> impl Iterator<Item = Rule> {
    let networks = if input.overlap_routed { &[][..] } else { input.cluster_networks.as_slice() };
    let ipv6 = ipv6_networks(input)
        .map(|network| rule([Match::Source(IpNet::V6(network))], Action::Drop, COMMENT_SPOOFED));
    networks
        .iter()
        .flat_map(|net| reported_drop([Match::Source(net.trunc())], COMMENT_SPOOFED))
        .chain(ipv6)
}

/// Returns the rules for packets to the head, by input port.
fn input_rules(input: &RulesetInput) -> Vec<Rule> {
    let mut rules = vec![rule([Match::Input("lo".into())], Action::Accept, "the head to itself")];
    rules.extend(input.cluster_port.iter().map(|name| {
        rule([Match::Input(name.clone())], Action::Goto("cluster_to_head"), "the nodes to the head")
    }));
    rules.extend(input.uplinks.iter().map(|name| {
        rule([Match::Input(name.clone())], Action::Goto("from_uplink"), "the venue to the head")
    }));
    rules.push(rule([], Action::Jump("trusted"), "the head's other networks to the head"));
    rules.push(rule([], Action::Goto("from_uplink"), "a port without a role to the head"));
    rules
}

/// Returns the chain from the nodes to the head. A node is no router: the head must not accept a
/// default route or a redirect from the cluster.
fn cluster_to_head(input: &RulesetInput) -> Chain {
    let misleading = vec![ROUTER_ADVERTISEMENT, REDIRECT_6];
    let drop = |matches: Vec<Match>, purpose| rule(matches, Action::Drop, purpose);
    let mut rules =
        vec![drop(vec![Match::Icmp(REDIRECT)], "a node gives the head no routes (IPv4)")];
    if input.ipv6.is_some() {
        let advertisement = || Match::Icmp6(vec![ROUTER_ADVERTISEMENT]);
        rules.push(drop(
            vec![advertisement(), Match::FromThisMachine],
            "the head's own router advertisement comes back",
        ));
        rules.extend(reported_drop([advertisement()], COMMENT_ROUTER));
    }
    rules.push(drop(vec![Match::Icmp6(misleading)], "a node gives the head no routes (IPv6)"));
    chain("cluster_to_head", rules)
}

/// Returns the chain that accepts ports which are neither the cluster's nor the venue's: those that
/// the settings trust, and the head's own.
fn trusted(input: &RulesetInput) -> Chain {
    let mut rules = Vec::new();
    let named =
        |name: &String, purpose| rule([Match::Input(name.clone())], Action::Accept, purpose);
    rules.extend(input.trusted.iter().map(|name| named(name, "gateway.trust")));
    // Bridges go by name: one may contain a physical port, so the kind proves nothing.
    rules.extend(input.bridges.iter().map(|name| named(name, "a bridge of the head's own")));
    rules.extend(
        OWN_KINDS.map(|kind| {
            rule([Match::InputKind(kind)], Action::Accept, "a tunnel of the head's own")
        }),
    );
    rules.extend(OWN_CABLES.map(|name| {
        rule(
            [Match::InputKind("veth"), Match::InputBegins(name)],
            Action::Accept,
            "a container of the head's own",
        )
    }));
    chain("trusted", rules)
}

/// Returns the chain from the venue to the head.
fn from_uplink(input: &RulesetInput) -> Chain {
    // Ahead of established connections, to which redirects may be related. The ports' settings
    // ignore IPv4 redirects too.
    let mut rules = vec![
        rule([Match::Icmp(REDIRECT)], Action::Drop, "a stranger gives the head no routes (IPv4)"),
        rule(
            [Match::Icmp6(vec![REDIRECT_6])],
            Action::Drop,
            "a stranger gives the head no routes (IPv6)",
        ),
        established(),
        rule(
            [Match::Family(Family::Ipv4), udp(Side::Source, 67), udp(Side::Destination, 68)],
            Action::Accept,
            "DHCP answers",
        ),
    ];
    // RFC 8415 fixes neither address nor port of the server, so only the client's are matched.
    let link_local = LINK_LOCAL.parse().map(Match::Towards);
    let dhcp6: Vec<Match> = link_local.into_iter().chain([udp(Side::Destination, 546)]).collect();
    rules.push(rule(dhcp6, Action::Accept, "DHCPv6 answers"));
    rules.push(rule(
        [Match::Icmp6(NEIGHBOURHOOD_6.to_vec())],
        Action::Accept,
        "neighbour and router discovery, multicast listeners (IPv6)",
    ));
    rules.push(rule([Match::Protocol4(IGMP)], Action::Accept, "multicast listeners (IPv4)"));
    rules.extend(allowed(input));
    rules.push(rule([Match::Invalid], Action::Drop, "belongs to no connection"));
    rules.push(rule(
        [Match::TcpOngoing, Match::SocketBound],
        Action::Accept,
        "sessions that were open before these rules",
    ));
    rules.push(rule([], Action::Drop, "the venue may not reach the rest of the head"));
    chain("from_uplink", rules)
}

/// Returns the rules for packets from the head.
fn output_rules(input: &RulesetInput) -> Vec<Rule> {
    let of_cluster = input.cluster_port.iter().map(|name| {
        let matches = [Match::Output(name.clone()), Match::Icmp(REDIRECT)];
        rule(matches, Action::Drop, "the head sends no redirects")
    });
    let to_venue = input.uplinks.iter().chain(&input.unknown).map(|name| {
        rule([Match::Output(name.clone())], Action::Goto("to_venue"), "the head to the venue")
    });
    of_cluster.chain(to_venue).collect()
}

/// Returns the chain from the head to the venue.
fn to_venue() -> Chain {
    chain(
        "to_venue",
        vec![
            rule([Match::Icmp(REDIRECT)], Action::Drop, "the head sends no redirects"),
            rule(
                [Match::TcpRefusal],
                Action::Goto("refusals"),
                "what was sent to no session of the head",
            ),
        ],
    )
}

/// Returns the chain for TCP resets of the head. The kernel resets a segment of a stale session
/// that meets only a listening socket, which would reveal the open port to a scanner.
fn refusals(input: &RulesetInput) -> Chain {
    let mut rules =
        vec![rule([Match::Opener], Action::Accept, "in a connection of the head's own")];
    for allow in allowed(input) {
        if let [Match::Port(Transport::Tcp, Side::Destination, first, last)] =
            *allow.matches.as_slice()
        {
            let port = Match::Port(Transport::Tcp, Side::Source, first, last);
            rules.push(Rule { matches: vec![port], ..allow });
        }
    }
    rules.push(rule([], Action::Drop, "no sign of what listens here"));
    chain("refusals", rules)
}

/// Returns the rules of `uplink.allow`, without duplicates.
fn allowed(input: &RulesetInput) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    let mut add = |rule: Rule| {
        if !rules.iter().any(|known| known.matches == rule.matches) {
            rules.push(rule);
        }
    };
    let tcp = |first, last| Match::Port(Transport::Tcp, Side::Destination, first, last);
    for allow in &input.allow {
        match *allow {
            Allow::Ssh => {
                let mut ports = input.ssh_ports.clone();
                ports.sort();
                for port in std::iter::once(22).chain(ports) {
                    add(rule([tcp(port, port)], Action::Accept, "uplink.allow: ssh"));
                }
            }
            Allow::Icmp => {
                add(rule([Match::Icmp(ECHO_REQUEST)], Action::Accept, "uplink.allow: icmp"));
                add(rule(
                    [Match::Icmp6(vec![ECHO_REQUEST_6])],
                    Action::Accept,
                    "uplink.allow: icmp",
                ));
            }
            Allow::Web => {
                if let Some(port) = input.web_port {
                    add(rule([tcp(port, port)], Action::Accept, "uplink.allow: web"));
                }
            }
            Allow::Mdns => {
                add(rule([udp(Side::Destination, 5353)], Action::Accept, "uplink.allow: mdns"))
            }
            Allow::Tcp(first, last) => {
                add(rule([tcp(first, last)], Action::Accept, "uplink.allow"))
            }
            Allow::Udp(first, last) => add(rule(
                [Match::Port(Transport::Udp, Side::Destination, first, last)],
                Action::Accept,
                "uplink.allow",
            )),
        }
    }
    rules
}

/// Returns the rules that send packets to an uplink through the masquerading chain.
fn postrouting_rules(input: &RulesetInput) -> Vec<Rule> {
    let routed = input.delegated.iter().map(|(network, uplink)| {
        let matches = [Match::Output(uplink.clone()), Match::Source(IpNet::V6(*network))];
        rule(matches, Action::Accept, "the venue delegated this network")
    });
    let uplinks = input.uplinks.iter().map(|name| {
        rule([Match::Output(name.clone())], Action::Goto(HIDING), "leaves by an uplink")
    });
    routed.chain(uplinks).collect()
}

impl Ruleset {
    /// Returns the masqueraded networks and the ports through which they are.
    pub fn hidden(&self) -> (BTreeSet<IpNet>, BTreeSet<&str>) {
        let sources = self.rules_of(HIDING).flat_map(|rule| &rule.matches);
        let networks = sources.filter_map(|condition| match condition {
            Match::Source(net) => Some(*net),
            _ => None,
        });
        let outputs = self.rules_of(POSTROUTING).flat_map(|rule| &rule.matches);
        let ports = outputs.filter_map(|condition| match condition {
            Match::Output(name) => Some(name.as_str()),
            _ => None,
        });
        (networks.collect(), ports.collect())
    }
}

/// Returns the chain that masquerades the cluster's addresses.
fn hide_cluster(input: &RulesetInput) -> Chain {
    let networks = networks(input).into_iter();
    let rules =
        networks.map(|net| rule([Match::Source(net)], Action::Masquerade, COMMENT_MASQUERADE));
    chain(HIDING, rules.collect())
}

/// Returns the chain, after all translation, that drops IPv6 packets to an uplink with a cluster
/// source: those left untranslated because the uplink has no address, and those translated to
/// another port's address. A node's packet that the kernel translated to the link-local address is
/// dropped too: the uplink lost its address, and the rules do not yet show it. No connection is
/// bound to it, since the kernel remembers one only when its first packet has left.
fn leaking_ipv6(input: &RulesetInput) -> Option<Chain> {
    input.ipv6?;
    let ways = ipv6_networks(input)
        .flat_map(|network| input.uplinks.iter().map(move |name| (network, name)));
    let is_routed = |way: &(Ipv6Net, &String)| {
        let delegated = input.delegated.as_ref();
        delegated.is_some_and(|(network, uplink)| (*network, uplink) == *way)
    };
    let untranslated = ways.filter(|way| !is_routed(way)).map(|(network, name)| {
        rule(
            [Match::Output(name.clone()), Match::Source(IpNet::V6(network))],
            Action::Drop,
            "no IPv6 address of the cluster leaves by an uplink",
        )
    });
    let ports = input.cluster_port.iter().zip(LINK_LOCAL.parse().ok());
    let to_link_local = ports.flat_map(|(port, link_local)| {
        input.uplinks.iter().map(move |name| {
            let ways = [Match::Input(port.clone()), Match::Output(name.clone())];
            let matches: Vec<Match> = ways.into_iter().chain([Match::Source(link_local)]).collect();
            rule(matches, Action::Drop, "the uplink has lost its IPv6 address")
        })
    });
    let rules = untranslated.chain(to_link_local).collect();
    Some(base("hidden", ChainKind::Filter, Hook::Postrouting, BEHIND_SRCNAT, rules))
}

/// Returns the chain, after all translation, that drops IPv4 with the address of a translator that
/// has ended; cluster addresses do not leak either. A packet dropped there confirms no connection,
/// so that a retry may take another route.
fn left_over(input: &RulesetInput) -> Option<Chain> {
    let rules = input.left_over.iter().map(|name| {
        rule(
            [Match::Output(name.clone()), Match::Source(TRANSLATORS.into())],
            Action::Drop,
            "IPv4 that its translator left behind",
        )
    });
    let rules: Vec<Rule> = rules.collect();
    (!rules.is_empty())
        .then(|| base("left_over", ChainKind::Filter, Hook::Postrouting, BEHIND_SRCNAT, rules))
}

/// Returns a match on one UDP port.
fn udp(side: Side, port: u16) -> Match {
    Match::Port(Transport::Udp, side, port, port)
}
