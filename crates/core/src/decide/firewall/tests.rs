use proptest::prelude::*;

use crate::event::Traffic;

use super::*;

fn home() -> RulesetInput {
    RulesetInput {
        ipv6: None,
        delegated: None,
        without_ipv6: Vec::new(),
        previous_delegations: Vec::new(),
        translated: false,
        left_over: Vec::new(),
        cluster_port: Some("eth0".into()),
        cluster_networks: vec!["192.168.50.1/24".parse().unwrap()],
        cluster_addresses: vec![[192, 168, 50, 1].into()],
        uplinks: vec!["eth1".into(), "wlan0".into()],
        allow: vec![Allow::Ssh, Allow::Icmp, Allow::Mdns],
        ssh_ports: vec![22, 2222],
        web_port: None,
        overlap_routed: false,
        forwards: Vec::new(),
        dead: Vec::new(),
        entrances: Vec::new(),
        flow_table_devices: vec!["eth1".into(), "eth0".into()],
        forwarded_for_us: vec!["eth1".into()],
        trusted: vec!["vlan7".into()],
        bridges: vec!["virbr0".into()],
        unknown: vec!["eth5".into()],
    }
}

fn chain<'a>(ruleset: &'a Ruleset, name: &str) -> &'a Chain {
    ruleset.chains.iter().find(|chain| chain.name == name).unwrap()
}

#[test]
fn the_portable_text_is_the_golden_one() {
    let text = build(&home()).to_string();
    assert_eq!(
        text,
        include_str!("golden/home.nft"),
        "expected: crates/core/src/decide/firewall/golden/home.nft; got:\n{text}"
    );
}

#[test]
fn the_kernel_form_has_flags_and_flow_table() {
    let text = build(&home()).kernel(true).to_string();
    assert_eq!(
        text,
        include_str!("golden/kernel.nft"),
        "expected: crates/core/src/decide/firewall/golden/kernel.nft; got:\n{text}"
    );
}

#[test]
fn without_its_flow_table_the_kernel_form_is_the_portable_one() {
    let portable = build(&home()).to_string();
    let kernel = build(&home()).without_flow_table().kernel(false).to_string();
    assert!(portable.ends_with(&kernel));
    let plain = build(&RulesetInput { flow_table_devices: vec![], ..home() });
    assert_eq!(plain, build(&home()).without_flow_table());
}

#[test]
fn one_device_makes_no_flow_table() {
    let lonely =
        build(&RulesetInput { flow_table_devices: vec!["eth0".into(), "eth0".into()], ..home() });
    assert_eq!(lonely.flow_table, None);
}

#[test]
fn every_rule_has_a_comment_that_fits_the_kernel() {
    let ruleset = build(&home());
    for rule in ruleset.chains.iter().flat_map(|chain| &chain.rules) {
        assert!(rule.comment.starts_with("bramblegate: "), "{rule}");
        assert!(rule.comment.len() <= 120, "{rule}");
    }
}

#[test]
fn host_bits_of_the_cluster_address_do_not_change_the_rules() {
    let other = build(&RulesetInput {
        cluster_networks: vec!["192.168.50.7/24".parse().unwrap()],
        ..home()
    });
    assert_eq!(other, build(&home()));
}

#[test]
fn a_routed_overlap_accepts_the_shared_sources_at_the_uplink() {
    let strange = |ruleset: &Ruleset| {
        let of_cluster = |rule: &&Rule| matches!(rule.matches.as_slice(), [Match::Source(_)]);
        let at_head = chain(ruleset, "from_uplink").rules.iter().filter(of_cluster).count();
        assert_eq!(
            at_head, 0,
            "the venue's other network may be ours: the head answers it as anybody"
        );
        chain(ruleset, "uplink_to_cluster").rules.iter().filter(of_cluster).count()
    };
    assert_eq!(strange(&build(&home())), 2, "an example, and the drop");
    assert_eq!(strange(&build(&RulesetInput { overlap_routed: true, ..home() })), 0);
}

#[test]
fn a_retired_network_is_masqueraded_beside_the_new_one() {
    let networks = vec!["10.213.50.1/24".parse().unwrap(), "192.168.50.1/24".parse().unwrap()];
    let moved = build(&RulesetInput { cluster_networks: networks, ..home() });
    assert_eq!(chain(&moved, "hide_cluster").rules.len(), 2);
    let egress = &chain(&moved, "cluster_to_uplink").rules;
    assert_eq!(egress.iter().filter(|rule| rule.comment == COMMENT_FORWARDED).count(), 2);
    assert_eq!(egress.last().unwrap().action, Action::Drop);
}

#[test]
fn without_a_cluster_port_nothing_is_forwarded_for_it() {
    let early = build(&RulesetInput { cluster_port: None, ..home() });
    let targets: Vec<Action> =
        chain(&early, "forward").rules.iter().map(|rule| rule.action.clone()).collect();
    let expected = [Action::Goto("to_cluster"), Action::Goto("uplink_elsewhere")];
    assert_eq!(
        targets, expected,
        "what is closed, and the one uplink that was not forwarded before"
    );
    assert_eq!(early.flow_table, None);
    assert_eq!(from_uplinks(&early), 2);
}

/// Counts the rules that send packets from an uplink to its chain.
fn from_uplinks(ruleset: &Ruleset) -> usize {
    let named =
        |rule: &&Rule| rule.action == Action::Goto("from_uplink") && !rule.matches.is_empty();
    chain(ruleset, "input").rules.iter().filter(named).count()
}

#[test]
fn every_chain_ends_closed_to_unknown_ports() {
    for input in [home(), RulesetInput::default()] {
        let ruleset = build(&input);
        for (name, target) in [("input", "from_uplink"), ("to_cluster", "uplink_to_cluster")] {
            let rules = &chain(&ruleset, name).rules;
            let [.., own, last] = rules.as_slice() else { panic!("{rules:#?}") };
            assert_eq!((own.matches.len(), &own.action), (0, &Action::Jump("trusted")));
            assert_eq!((last.matches.len(), &last.action), (0, &Action::Goto(target)));
        }
        for name in ["from_uplink", "uplink_to_cluster", "uplink_elsewhere", "refusals"] {
            let last = chain(&ruleset, name).rules.last().unwrap();
            assert_eq!((last.matches.len(), &last.action), (0, &Action::Drop), "{name}");
        }
    }
}

#[test]
fn a_role_outweighs_trust() {
    let names = || vec!["eth0".into(), "eth1".into()];
    let trust =
        build(&RulesetInput { trusted: names(), bridges: names(), unknown: names(), ..home() });
    assert_eq!(
        trust,
        build(&RulesetInput { trusted: vec![], bridges: vec![], unknown: vec![], ..home() })
    );
}

#[test]
fn the_cluster_port_is_no_uplink_and_an_uplink_is_one_once() {
    let uplinks = ["eth0", "eth1", "eth1"].map(String::from).to_vec();
    let confused = build(&RulesetInput { uplinks, ..home() });
    assert_eq!(from_uplinks(&confused), 1);
    assert_eq!(confused, build(&RulesetInput { uplinks: vec!["eth1".into()], ..home() }));
}

#[test]
fn duplicate_permissions_are_one_rule() {
    let twice = RulesetInput {
        allow: vec![Allow::Tcp(22, 22), Allow::Ssh, Allow::Tcp(8000, 8010)],
        ..home()
    };
    let text = chain(&build(&twice), "from_uplink").to_string();
    assert_eq!(text.matches("tcp dport 22 ").count(), 1, "{text}");
    assert!(text.contains("tcp dport 8000-8010 counter accept"), "{text}");
}

#[test]
fn the_status_page_is_open_at_its_port_only() {
    let venue = |web_port| {
        let input = RulesetInput { allow: vec![Allow::Web], web_port, ..home() };
        chain(&build(&input), "from_uplink").to_string()
    };
    assert!(venue(Some(8080)).contains("tcp dport 8080 counter accept"), "{}", venue(Some(8080)));
    assert!(!venue(None).contains("tcp dport"), "{}", venue(None));
    let not_allowed = build(&RulesetInput { web_port: Some(80), ..home() });
    assert!(!chain(&not_allowed, "from_uplink").to_string().contains("tcp dport 80 "));
}

#[test]
fn every_jump_target_exists_and_is_no_base_chain() {
    let ruleset = build(&home());
    for rule in ruleset.chains.iter().flat_map(|chain| &chain.rules) {
        if let Action::Goto(target) | Action::Jump(target) = rule.action {
            assert_eq!(chain(&ruleset, target).base, None, "{rule}");
        }
    }
}

#[test]
fn unusual_interface_names_are_quoted() {
    let odd = build(&RulesetInput { uplinks: vec!["usb*".into(), "a\"b".into()], ..home() });
    let text = chain(&odd, "input").to_string();
    assert!(text.contains("iifname \"usb\\*\" "), "{text}");
    assert!(text.contains("iifname \"a?b\" "), "{text}");
}

fn forwarding() -> RulesetInput {
    let ssh = ForwardedPort {
        transport: Transport::Tcp,
        listen: 2201,
        to: [192, 168, 50, 11].into(),
        port: 22,
    };
    let game = ForwardedPort {
        transport: Transport::Udp,
        listen: 5000,
        to: [192, 168, 50, 12].into(),
        port: 5001,
    };
    RulesetInput { forwards: vec![ssh, game], ..home() }
}

#[test]
fn forwarded_ports_are_the_golden_text() {
    let text = build(&forwarding()).to_string();
    let golden = include_str!("golden/forward.nft");
    assert_eq!(
        text, golden,
        "expected: crates/core/src/decide/firewall/golden/forward.nft; got:\n{text}"
    );
}

#[test]
fn a_forwarded_port_only_adds_rules() {
    let (plain, more) = (build(&home()), build(&forwarding()));
    let known = |rule: &&Rule| plain.chains.iter().any(|chain| chain.rules.contains(rule));
    let new: Vec<_> =
        more.chains.iter().flat_map(|chain| &chain.rules).filter(|rule| !known(rule)).collect();
    // entering by two uplinks and the cluster port, but for the head's own address there; the
    // head's own, but for two kinds of addresses; two translations; two ways back into the cluster;
    // two permissions
    assert_eq!(new.len(), 4 + 3 + 2 + 2 + 2, "{new:#?}");
    assert_eq!(
        chain(&plain, "from_uplink"),
        chain(&more, "from_uplink"),
        "the head itself is as open as before"
    );
    let permitted: Vec<_> =
        chain(&more, "uplink_to_cluster").rules.iter().filter(|rule| new.contains(rule)).collect();
    assert!(
        permitted.iter().all(|rule| rule.matches.contains(&Match::Redirected)),
        "{permitted:#?}"
    );
}

/// The first packet sets the mark, and replies are matched by it.
#[test]
fn replies_to_forwarded_connections_leave_by_their_uplink() {
    let entrances = vec![("eth1".to_owned(), 0x8800_0000), ("wlan0".to_owned(), 0x8900_0000)];
    let (plain, marked) =
        (build(&forwarding()), build(&RulesetInput { entrances, ..forwarding() }));
    assert_eq!(
        marked.len(),
        plain.len() + 2 + 2 + 2 + 2,
        "ports, uplinks, answers of nodes, and refusals"
    );
    let remembered = chain(&marked, "entrances").to_string();
    assert!(
        remembered.contains("iifname \"wlan0\" counter ct mark set ct mark | 0x89000000"),
        "{remembered}"
    );
    let led = &chain(&marked, "dstnat").rules;
    assert_eq!((&led[0].action, &led[0].matches), (&Action::Jump("entrances"), &led[1].matches));
    let of_nodes = chain(&marked, "opened_by_cluster").rules[1].to_string();
    let test = "ct mark & 0xed000000 == 0x89000000 ct direction reply counter meta mark set meta mark | 0x89000000";
    assert!(of_nodes.starts_with(test), "{of_nodes}");
    assert_eq!(marked.forwarded(true).count(), plain.forwarded(true).count());
    let alone = RulesetInput { entrances: vec![("eth1".into(), 0x8800_0000)], ..home() };
    assert_eq!(build(&alone), build(&home()), "no port, no mark");
}

#[test]
fn without_a_cluster_port_nothing_is_translated() {
    let early = build(&RulesetInput { cluster_port: None, ..forwarding() });
    assert!(early.chains.iter().all(|chain| chain.name != "dstnat" && chain.name != "prerouting"));
}

#[test]
fn a_forward_to_a_dead_node_refuses_only_new_connections() {
    let alive = build(&forwarding());
    let dead = build(&RulesetInput { dead: forwarding().forwards, ..forwarding() });
    let refusals = &chain(&dead, "forwards_of_head_down").rules;
    let entering = &chain(&dead, "forwards_down").rules;
    let (unanswered, refused) = entering.split_at(entering.len() - refusals.len());
    assert_eq!(refused, refusals);
    let spared: Vec<_> = unanswered.iter().map(|rule| (&*rule.matches, &rule.action)).collect();
    let of = |port: &str| {
        let net = Match::Source("192.168.50.0/24".parse().unwrap());
        vec![Match::Input(port.to_owned()), net]
    };
    let (eth1, wlan0) = (of("eth1"), of("wlan0"));
    assert_eq!(spared, [(&*eth1, &Action::Accept), (&*wlan0, &Action::Accept)]);
    let overlap =
        RulesetInput { overlap_routed: true, dead: forwarding().forwards, ..forwarding() };
    assert_eq!(&chain(&build(&overlap), "forwards_down").rules, refusals, "they are the venue's");
    let actions: Vec<Action> = refusals.iter().map(|rule| rule.action.clone()).collect();
    assert_eq!(actions, [Action::Reset, Action::Unreachable]);
    assert!(refusals.iter().all(|rule| rule.matches.contains(&Match::Redirected)), "{refusals:#?}");
    assert!(
        refusals[0].matches.contains(&Match::TcpOpening),
        "open sessions may outlive a short loss"
    );
    assert_eq!(dead.chains.len(), alive.chains.len() + 2);
    assert_eq!(alive.forwarded(false).count(), 2);
    assert_eq!((dead.forwarded(true).count(), dead.forwarded(false).count()), (2, 0));
}

#[test]
fn masqueraded_networks_are_reported_with_their_ports() {
    let rules = build(&home());
    let (networks, ports) = rules.hidden();
    assert_eq!(networks.into_iter().collect::<Vec<_>>(), ["192.168.50.0/24".parse().unwrap()]);
    assert_eq!(ports.into_iter().collect::<Vec<_>>(), ["eth1", "wlan0"]);
}

#[test]
fn replies_are_marked_only_if_their_source_is_ambiguous() {
    let rules = build(&home());
    let opened = chain(&rules, "opened").to_string();
    for port in ["eth1", "wlan0", "lo"] {
        assert!(opened.contains(&format!("iifname \"{port}\" counter accept")), "{opened}");
    }
    let by_cluster = &chain(&rules, "opened_by_cluster").rules;
    assert_eq!(by_cluster[0].matches, [Match::Destination([192, 168, 50, 1].into())]);
    assert_eq!(by_cluster[1].action, Action::Remember(crate::decide::MARK_CLUSTER));
    // Bits that Tailscale, Kubernetes and mwan3 do not use, and that are not set in Mullvad's and
    // wg-quick's marks.
    let known = 0x00ff_0000 | 0xc000 | 0x3f00 | 0x6d6f_6c65 | 51820;
    assert_eq!((crate::decide::MARK_CLUSTER | crate::decide::MARK_ELSEWHERE) & known, 0);
}

/// The first packet of a connection that nothing allows, as the rules see it.
#[derive(Debug, Clone)]
struct Knock {
    input: String,
    /// `IFLA_INFO_KIND`
    kind: Option<&'static str>,
    output: Option<String>,
    family: Family,
}

impl Knock {
    /// Returns whether a rule matches. Conditions beyond ports and family do not, except for a SYN.
    fn meets(&self, test: &Match) -> bool {
        match test {
            Match::Input(name) => *name == self.input,
            Match::Output(name) => Some(name) == self.output.as_ref(),
            Match::Family(family) => *family == self.family,
            Match::InputKind(kind) => self.kind == Some(*kind),
            Match::InputBegins(beginning) => self.input.starts_with(beginning),
            Match::TcpOpening | Match::Unconfirmed => true,
            _ => false,
        }
    }

    /// Returns what happens to the packet in a chain; `None`: the chain ends.
    fn walk(&self, ruleset: &Ruleset, name: &str) -> Option<Action> {
        let rules = chain(ruleset, name).rules.iter();
        for rule in rules.filter(|rule| rule.matches.iter().all(|test| self.meets(test))) {
            match rule.action {
                Action::Accept | Action::Drop => return Some(rule.action.clone()),
                Action::Goto(target) => return self.walk(ruleset, target),
                Action::Jump(target) => match self.walk(ruleset, target) {
                    None => {}
                    decided => return decided,
                },
                _ => {}
            }
        }
        None
    }
}

proptest! {
    /// Whatever ports the machine has, only the cluster, trusted ports and the head's own get
    /// through.
    #[test]
    fn a_port_without_a_role_opens_no_connection(
        roles in proptest::collection::vec(0_usize..6, 8),
        at in 0_usize..9,
        kind in proptest::option::of(proptest::sample::select(vec!["tun", "wireguard", "veth", "bridge", "vlan", "macvlan", "bond", "ppp", "sit"])),
        family in proptest::sample::select(vec![Family::Ipv4, Family::Ipv6]),
        overlap_routed: bool,
    ) {
        const NAMES: [&str; 9] = ["eth0", "eth1", "wlan0", "veth5a", "docker0", "br0", "wg0", "usb0", "late"];
        let of = |role: usize| -> Vec<String> {
            NAMES.iter().zip(&roles).filter(|(_, known)| **known == role).map(|(name, _)| (*name).to_owned()).collect()
        };
        let input = RulesetInput {
            cluster_port: of(0).into_iter().next(),
            uplinks: of(1),
            forwarded_for_us: of(1),
            trusted: of(2),
            bridges: of(3),
            unknown: of(4),
            overlap_routed,
            ..home()
        };
        let ruleset = build(&input);
        let name = NAMES[at].to_owned();
        let of_cluster = input.cluster_port.as_ref() == Some(&name);
        let uplink = input.uplinks.contains(&name);
        let listed = input.trusted.contains(&name) || input.bridges.contains(&name);
        let own = match kind {
            Some("veth") => crate::facts::link::roleless::OWN_CABLES.iter().any(|own| name.starts_with(own)),
            Some(kind) => crate::facts::link::roleless::OWN_KINDS.contains(&kind),
            None => false,
        };
        let open = !uplink && (of_cluster || listed || own);
        let knock = Knock { input: name.clone(), kind, output: None, family };
        let at_head = knock.walk(&ruleset, "input");
        prop_assert_eq!(at_head != Some(Action::Drop), open, "{:?}: {:?} at the head", &knock, at_head);
        let Some(cluster) = input.cluster_port.clone().filter(|_| !of_cluster) else { return Ok(()) };
        let to_node = Knock { output: Some(cluster), ..knock.clone() }.walk(&ruleset, "forward");
        let open = open && family == Family::Ipv4;
        prop_assert_eq!(to_node != Some(Action::Drop), open, "{:?}: {:?} to a node", &knock, to_node);
        let elsewhere = Knock { output: Some("elsewhere".into()), ..knock.clone() }.walk(&ruleset, "forward");
        let closed = uplink && family == Family::Ipv4;
        prop_assert_eq!(elsewhere == Some(Action::Drop), closed, "{:?}: {:?} elsewhere", &knock, elsewhere);
    }
}

/// Alternative names may be longer than a port's own name, which is what rules match: truncated,
/// one could be another port's name.
#[test]
fn over_long_port_names_are_in_no_rule() {
    let long = "enp0s20f0u1u2u3i1".to_owned();
    let input = RulesetInput {
        cluster_port: Some("eth0".into()),
        uplinks: vec!["eth1".into(), long.clone()],
        forwarded_for_us: vec![long.clone()],
        trusted: vec![long.clone()],
        ..RulesetInput::default()
    };
    let text = build(&input).to_string();
    assert!(text.contains("eth1") && !text.contains(&long), "{text}");
}

/// Returns a rule set with one set of ports.
fn with_ports(set: Set, ports: &[u16]) -> Ruleset {
    let elements = ports.iter().map(|port| (vec![Item::from(*port)], None)).collect();
    let set = Set { name: "ports".into(), key: vec![Kind::Port], elements, ..set };
    Ruleset { sets: vec![set], ..Ruleset::default() }
}

#[test]
fn a_change_of_elements_is_a_set_update() {
    let keys = |ports: &[u16]| ports.iter().map(|port| vec![Item::from(*port)]).collect::<Vec<_>>();
    let before = with_ports(Set::default(), &[22, 80]);
    let updates = with_ports(Set::default(), &[80, 443]).updates_from(&before).unwrap();
    let [SetUpdate { set, remove, add, .. }] = updates.as_slice() else { panic!("{updates:?}") };
    assert_eq!(set, "ports");
    assert_eq!(
        (remove.iter().cloned().collect(), add.keys().cloned().collect()),
        (keys(&[22]), keys(&[443]))
    );
    assert_eq!(before.updates_from(&before), Some(vec![]));
}

#[test]
fn any_other_change_replaces_the_table() {
    let before = with_ports(Set::default(), &[22]);
    let flag = Set { interval: true, ..Set::default() };
    assert_eq!(with_ports(flag, &[22]).updates_from(&before), None);
    let chain = Chain { name: "new", base: None, rules: vec![] };
    assert_eq!(Ruleset { chains: vec![chain], ..before.clone() }.updates_from(&before), None);
    assert_eq!(Ruleset::default().updates_from(&before), None);
    let constant = || Set { constant: true, ..Set::default() };
    assert_eq!(
        with_ports(constant(), &[23]).updates_from(&with_ports(constant(), &[22])),
        None,
        "the kernel refuses"
    );
}

#[test]
fn an_element_with_new_data_is_removed_and_added() {
    let leading = |to: &'static str| {
        let data = Some(Data::Verdict(Verdict::Goto(to.into())));
        let elements = Elements::from([(vec![Item::from(80)], data)]);
        let map = Set {
            name: "map".into(),
            key: vec![Kind::Port],
            data: Some(DataKind::Verdict),
            elements,
            ..Set::default()
        };
        Ruleset { sets: vec![map], ..Ruleset::default() }
    };
    let updates = leading("b").updates_from(&leading("a")).unwrap();
    assert_eq!((updates[0].remove.len(), updates[0].add.len()), (1, 1));
}

/// All that the rules accept from the venue is looked for in other programs' rules.
#[test]
fn all_open_ports_are_promised_traffic() {
    let board = crate::config::board::Board::built_in("emulated").unwrap();
    let text = "board = \"emulated\"\ncluster.interface = \"eth0\"\n[uplink]\ninterfaces = [\"eth1\"]\nallow = [\"ssh\", \"icmp\", \"mdns\", 8080, \"udp:51820\"]\n";
    let settings = crate::config::load(&[("t.toml", text.to_owned())], &board).unwrap();
    let promised =
        traffic::promised(&settings, "192.168.50.1/24".parse().unwrap(), false, &[], None, &[]);
    let of_venue: Vec<(u8, u16)> = promised
        .iter()
        .filter_map(|traffic| match *traffic {
            Traffic::Venue { protocol, port } => Some((protocol, port)),
            _ => None,
        })
        .collect();
    assert_eq!(of_venue, [(6, 22), (1, 0), (17, 5353), (6, 8080), (17, 51820)]);
}

/// The cluster port's configured name may be an alternative name.
#[test]
fn the_nodes_ipv6_is_protected_on_every_port_also_in_an_overlap() {
    let network = "fd12:3456:789a:1::/64".parse().unwrap();
    let ipv6 = Some(ClusterIpv6 { network, for_us_alone: false });
    for overlap_routed in [false, true] {
        let rules = build(&RulesetInput { ipv6, overlap_routed, ..home() });
        let guarded = chain(&rules, "forward").rules.iter().any(|rule| {
            rule.matches == [Match::Towards(IpNet::V6(network))]
                && rule.action == Action::Goto("to_cluster")
        });
        assert!(guarded, "overlap: {overlap_routed}");
    }
}

/// A delegated network is routed through the uplink that delegated it, translated through any
/// other, and nothing new comes in.
#[test]
fn a_delegated_network_is_untranslated_on_its_own_uplink_only() {
    let [own, delegated] =
        ["fd12:3456:789a:1::/64", "2001:db8:100:ff::/64"].map(|net| net.parse().unwrap());
    let ipv6 = Some(ClusterIpv6 { network: own, for_us_alone: true });
    let rules =
        build(&RulesetInput { ipv6, delegated: Some((delegated, "eth1".into())), ..home() });
    let source = |net: Ipv6Net| Match::Source(IpNet::V6(net));
    let first = &chain(&rules, "postrouting").rules[0];
    assert_eq!(first.matches, [Match::Output("eth1".into()), source(delegated)]);
    assert_eq!(first.action, Action::Accept);
    let hides = |net| {
        let rules = &chain(&rules, "hide_cluster").rules;
        rules.iter().any(|r| r.matches == [source(net)] && r.action == Action::Masquerade)
    };
    assert!(hides(own) && hides(delegated));
    let stays = |port: &str, net| {
        let matches = [Match::Output(port.into()), source(net)];
        let rules = &chain(&rules, "hidden").rules;
        rules.iter().any(|r| r.matches == matches && r.action == Action::Drop)
    };
    assert!(stays("eth1", own) && stays("wlan0", own) && stays("wlan0", delegated));
    assert!(!stays("eth1", delegated));
    let inward = &chain(&rules, "uplink_to_cluster").rules;
    assert!(inward.iter().any(|r| r.matches == [source(delegated)] && r.action == Action::Drop));
    assert_eq!(inward.last().unwrap().action, Action::Drop);
    let without =
        build(&RulesetInput { ipv6: None, delegated: Some((delegated, "eth1".into())), ..home() });
    assert!(!without.chains.iter().any(|chain| chain.name == "hidden"));
}

/// An open connection of a delegated address is not translated, so in another venue it is held back
/// before it counts as established or enters the flow table.
#[test]
fn open_connections_of_a_former_venue_do_not_show_in_the_next() {
    let [own, delegated, previous] =
        ["fd12:3456:789a:1::/64", "2001:db8:100:ff::/64", "2001:db8:200::/56"]
            .map(|net| net.parse().unwrap());
    let input = RulesetInput {
        ipv6: Some(ClusterIpv6 { network: own, for_us_alone: true }),
        delegated: Some((delegated, "eth1".into())),
        previous_delegations: vec![previous],
        flow_table_devices: vec!["eth0".into(), "eth1".into(), "wlan0".into()],
        ..home()
    };
    let rules = build(&input);
    let forward = &chain(&rules, "forward").rules;
    let open = |rule: &Rule| rule.matches.contains(&Match::Assured);
    let first = &forward[..forward.iter().position(open).unwrap()];
    let action = |port: &str, net: Ipv6Net| {
        let matches = [Match::Output(port.into()), Match::Source(IpNet::V6(net))];
        first.iter().find(|rule| rule.matches == matches).map(|rule| rule.action.clone())
    };
    assert_eq!(action("eth1", previous), Some(Action::Drop));
    assert_eq!(action("wlan0", previous), Some(Action::Drop));
    assert_eq!(action("wlan0", delegated), Some(Action::Goto("cluster_to_uplink")));
    assert_eq!(action("eth1", delegated), None);
    let without = build(&RulesetInput { ipv6: None, ..input });
    assert!(chain(&without, "forward").rules.iter().all(|rule| {
        rule.matches.iter().all(|condition| *condition != Match::Source(IpNet::V6(previous)))
    }));
}

/// The kernel masquerades to a link-local address if the uplink has no other, and no answer comes
/// back to it.
#[test]
fn no_connection_begins_by_an_uplink_without_an_ipv6_address() {
    let network = "fd12:3456:789a:1::/64".parse().unwrap();
    let ipv6 = Some(ClusterIpv6 { network, for_us_alone: true });
    let without_ipv6 = vec!["eth1".to_owned()];
    let input = RulesetInput { ipv6, without_ipv6, ..home() };
    let held_back = |input: &RulesetInput, port: &str| {
        let matches =
            [Match::Output(port.into()), Match::Source(IpNet::V6(network)), Match::Unconfirmed];
        let rules = build(input);
        let rules = &chain(&rules, "from_cluster").rules;
        let leaves = rules.iter().position(|rule| rule.action == Action::Goto("cluster_to_uplink"));
        let drops = rules.iter().position(|r| r.matches == matches && r.action == Action::Drop);
        drops.is_some_and(|drops| leaves.is_some_and(|leaves| drops < leaves))
    };
    assert!(held_back(&input, "eth1") && !held_back(&input, "wlan0"));
    // What comes before the rules know is dropped once it is translated; the head's own is not.
    let rules = build(&input);
    for port in ["eth1", "wlan0"] {
        let link_local = Match::Source("fe80::/10".parse().unwrap());
        let matches = [Match::Input("eth0".into()), Match::Output(port.into()), link_local];
        let drops = |rule: &Rule| rule.matches == matches && rule.action == Action::Drop;
        assert!(chain(&rules, "hidden").rules.iter().any(drops), "{port}");
    }
    assert!(!held_back(&RulesetInput { ipv6: None, ..input }, "eth1"));
}
