//! Sets and maps in the kernel: listed as printed, looked up by packets, changed without a new
//! table.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use bramblegate::decide::FirewallPlan;
use bramblegate::decide::firewall::{
    Action, ChainKind, Data, DataKind, Elements, Family, Hook, Item, Kind, Lookup, Match, Ruleset,
    Set, Side, Transport, build,
};
use bramblegate::event::Applied;
use bramblegate::reconcile::Reconciler;
use bramblegate::reconcile::firewall::FirewallReconciler;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::disturbance::Ear;
use crate::firewall::{assert_same, home, lines, listing, load};
use crate::frame::Trial;
use crate::lab::{Namespace, feed, sh, trial};
use crate::packets::{HEAD, Lab, NODE, ping};
use crate::sets::*;

pub fn tests() -> Vec<Trial> {
    vec![
        trial("maps::every_kind_is_listed_as_it_is_printed", every_kind_is_listed_as_it_is_printed),
        trial("maps::any_set_is_read_back_as_it_was_sent", any_set_is_read_back_as_it_was_sent),
        trial("maps::packets_take_the_verdict_of_a_map", packets_take_the_verdict_of_a_map),
        trial("maps::connections_go_where_a_map_leads_them", connections_go_where_a_map_leads_them),
        trial("maps::connections_take_turns", connections_take_turns),
        trial(
            "maps::a_changed_backend_leaves_the_turns_alone",
            a_changed_backend_leaves_the_turns_alone,
        ),
        trial("maps::a_client_keeps_its_backend", a_client_keeps_its_backend),
        trial(
            "maps::new_elements_leave_rules_and_packets_alone",
            new_elements_leave_rules_and_packets_alone,
        ),
        trial(
            "maps::any_change_of_elements_is_the_plan_after_it",
            any_change_of_elements_is_the_plan_after_it,
        ),
        trial(
            "maps::an_element_of_another_program_is_removed",
            an_element_of_another_program_is_removed,
        ),
        trial("maps::what_has_expired_is_not_removed_again", what_has_expired_is_not_removed_again),
        trial("maps::a_refused_set_is_named", a_refused_set_is_named),
        trial(
            "maps::one_element_of_thousands_is_changed_quickly",
            one_element_of_thousands_is_changed_quickly,
        ),
    ]
}

fn printed(ruleset: &Ruleset) -> Vec<String> {
    lines(&ruleset.kernel(false).to_string())
}

/// Applies like the daemon's loop.
fn apply(reconciler: &mut FirewallReconciler, ruleset: &Ruleset) -> Applied {
    let plan = FirewallPlan { ruleset: ruleset.clone(), protect: false };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(reconciler.apply(&plan)).unwrap_or_else(|error| panic!("{error}"))
}

/// Returns the kernel's handle of the table: a replaced table has a new one.
fn number() -> String {
    let listing = sh("nft -a list table inet bramblegate");
    listing
        .lines()
        .next()
        .and_then(|line| line.rsplit_once("# handle "))
        .unwrap_or_else(|| panic!("{listing}"))
        .1
        .into()
}

fn every_kind_is_listed_as_it_is_printed() {
    let ruleset = every_kind();
    let mut reconciler = FirewallReconciler::new();
    for protect in [true, false] {
        load(&mut reconciler, &ruleset, protect);
        assert_same(&listing(), &printed(&ruleset));
    }
    reconciler.remove().unwrap();
    let (ok, output) = feed("nft -f -", &ruleset.to_string());
    assert!(ok, "{output}");
    assert_same(&listing(), &printed(&ruleset));
}

/// Returns a rule set with one verdict map, by the node's address, at forward.
fn judged(texts: &[&str]) -> Ruleset {
    let by_node = map("by_node", &[ADDRESS], DataKind::Verdict, texts);
    let rules = vec![
        rule([Match::Protocol(Transport::Udp)], Action::Accept),
        rule([], Action::Decide(lookup(&[FROM], "by_node"))),
        rule([], Action::Accept),
    ];
    let counted = chain("counted", None, vec![rule([], Action::Accept)]);
    let forward = chain("forward", Some((ChainKind::Filter, Hook::Forward, 0)), rules);
    Ruleset { flow_table: None, sets: vec![by_node], chains: vec![counted, forward] }
}

fn with_way_back(lab: &Lab) {
    lab.venue.sh(&format!("ip route add 192.168.50.0/24 via {HEAD}"));
}

fn packets_take_the_verdict_of_a_map() {
    let lab = Lab::new();
    with_way_back(&lab);
    let mut reconciler = FirewallReconciler::new();
    for (leads_to, through, counts) in
        [("accept", true, 0), ("drop", false, 0), ("goto counted", true, 2)]
    {
        let ruleset = judged(&[&format!("{NODE} : {leads_to}")]);
        apply(&mut reconciler, &ruleset);
        assert_eq!(ping(&lab.node, crate::packets::VENUE), through, "{leads_to}");
        let chain = sh("nft list chain inet bramblegate counted");
        assert!(chain.contains(&format!("packets {counts} ")), "{leads_to}: {chain}");
    }
}

/// Returns what the server behind `address` sends about itself.
fn greeting(from: &Namespace, address: SocketAddr) -> Option<String> {
    let client = from.run(move || {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text)
    });
    client.join().unwrap()
}

/// Starts a server that sends its own address to its first 64 clients.
fn greeter(node: &Namespace, address: &str, port: u16) {
    let address: SocketAddr = SocketAddr::new(address.parse().unwrap(), port);
    let (ready, is_ready) = std::sync::mpsc::channel();
    node.run(move || {
        let listener = TcpListener::bind(address).unwrap();
        ready.send(()).unwrap();
        for stream in listener.incoming().take(64) {
            use std::io::Write;
            let _ = stream.and_then(|mut stream| stream.write_all(address.to_string().as_bytes()));
        }
    });
    is_ready.recv().unwrap();
}

fn connections_go_where_a_map_leads_them() {
    const SERVICE_6: &str = "fd00:99::126";
    let lab = Lab::new();
    with_way_back(&lab);
    sh("sysctl -qw net.ipv6.conf.all.forwarding=1
        ip addr add fd00:50::1/64 dev eth0 nodad; ip addr add fd00:99::126/64 dev eth1 nodad");
    lab.node.sh("ip addr add 192.168.50.12/24 dev eth0; ip addr add fd00:50::11/64 dev eth0 nodad
        ip route add default via fd00:50::1");
    lab.venue.sh("ip addr add fd00:99::1/64 dev eth0 nodad; ip route add default via fd00:99::126");
    for (address, port) in [(NODE, 8080), ("192.168.50.12", 8081), ("fd00:50::11", 8082)] {
        greeter(&lab.node, address, port);
    }
    let led = |backend: &str| {
        let both = [ADDRESS, PORT];
        let backends =
            map("backends", &both, values(&both), &[&format!("{HEAD} . 80 : {backend}")]);
        let both = [ADDRESS_6, PORT];
        let texts = format!("{SERVICE_6} . 80 : fd00:50::11 . 8082");
        let backends_6 = map("backends6", &both, values(&both), &[&texts]);
        let to_node = map("to_node", &[PORT], values(&[ADDRESS]), &["8081 : 192.168.50.12"]);
        let rules = vec![
            rule([], Action::RedirectBy(Family::Ipv4, lookup(&[TO, TCP_PORT], "backends"))),
            rule([], Action::RedirectBy(Family::Ipv6, lookup(&[TO_6, TCP_PORT], "backends6"))),
            rule(
                [Match::Family(Family::Ipv4)],
                Action::RedirectBy(Family::Ipv4, lookup(&[TCP_PORT], "to_node")),
            ),
        ];
        let nat = chain("turned", Some((ChainKind::Nat, Hook::Prerouting, -100)), rules);
        Ruleset { flow_table: None, sets: vec![backends, backends_6, to_node], chains: vec![nat] }
    };
    let mut reconciler = FirewallReconciler::new();
    let service = SocketAddr::new(HEAD.parse().unwrap(), 80);
    assert_eq!(greeting(&lab.venue, service), None, "no process listens there");
    for backend in [(NODE, 8080), ("192.168.50.12", 8081)] {
        apply(&mut reconciler, &led(&format!("{} . {}", backend.0, backend.1)));
        assert_eq!(greeting(&lab.venue, service), Some(format!("{}:{}", backend.0, backend.1)));
    }
    let by_port = SocketAddr::new(HEAD.parse().unwrap(), 8081);
    assert_eq!(
        greeting(&lab.venue, by_port).as_deref(),
        Some("192.168.50.12:8081"),
        "an address, the port stays"
    );
    let by_ipv6 = SocketAddr::new(SERVICE_6.parse().unwrap(), 80);
    // The first packets may be lost to neighbour discovery.
    let answer = (0..5).find_map(|_| greeting(&lab.venue, by_ipv6));
    assert_eq!(answer.as_deref(), Some("[fd00:50::11]:8082"));
}

/// Returns a port of the head whose connections are distributed by the key among these backends.
fn shared(key: Lookup, backends: &[&str]) -> Ruleset {
    let map = map_of_numbers("shares", values(&[ADDRESS, PORT]), backends);
    let matches = [
        Match::Destination(HEAD.parse().unwrap()),
        Match::Port(Transport::Tcp, Side::Destination, 80, 80),
    ];
    let rules = vec![rule(matches, Action::RedirectBy(Family::Ipv4, key))];
    let nat = chain("turned", Some((ChainKind::Nat, Hook::Prerouting, -100)), rules);
    Ruleset { flow_table: None, sets: vec![map], chains: vec![nat] }
}

const BACKENDS: [&str; 3] =
    ["192.168.50.11 . 8080", "192.168.50.12 . 8081", "192.168.50.13 . 8082"];

/// A node that answers as each of [`BACKENDS`], and the head's service.
fn with_backends() -> (Lab, SocketAddr) {
    let lab = Lab::new();
    with_way_back(&lab);
    lab.node.sh("ip addr add 192.168.50.12/24 dev eth0; ip addr add 192.168.50.13/24 dev eth0");
    for backend in BACKENDS {
        let (address, port) = backend.split_once(" . ").unwrap();
        greeter(&lab.node, address, port.parse().unwrap());
    }
    (lab, SocketAddr::new(HEAD.parse().unwrap(), 80))
}

/// Returns the backend that answered, from [`BACKENDS`].
fn answered(lab: &Lab, service: SocketAddr) -> String {
    greeting(&lab.venue, service).unwrap_or_default().replace(':', " . ")
}

fn connections_take_turns() {
    let (lab, service) = with_backends();
    let mut reconciler = FirewallReconciler::new();
    apply(&mut reconciler, &shared(round_robin(3, "shares"), &BACKENDS));
    let answers: Vec<String> = (0..9).map(|_| answered(&lab, service)).collect();
    assert_eq!(answers, BACKENDS.repeat(3));
}

/// If the rule were replaced, the first backend would come first again.
fn a_changed_backend_leaves_the_turns_alone() {
    let (lab, service) = with_backends();
    let mut reconciler = FirewallReconciler::new();
    let key = || round_robin(3, "shares");
    apply(&mut reconciler, &shared(key(), &BACKENDS));
    let before = number();
    assert_eq!(answered(&lab, service), BACKENDS[0]);
    let [first, _, third] = BACKENDS;
    let without_second = shared(key(), &[first, third, third]);
    apply(&mut reconciler, &without_second);
    assert_eq!(number(), before, "the table is the same");
    assert_same(&listing(), &printed(&without_second));
    let answers: Vec<String> = (0..3).map(|_| answered(&lab, service)).collect();
    assert_eq!(answers, [third, third, first]);
}

/// Also when the table is reloaded: the seed is part of the plan.
fn a_client_keeps_its_backend() {
    let (lab, service) = with_backends();
    let clients: Vec<String> = (100..112).map(|last| format!("192.168.99.{last}")).collect();
    let mut reconciler = FirewallReconciler::new();
    let ruleset = shared(hashed(&[FROM], 3, "shares"), &BACKENDS);
    let mut answers = || -> Vec<String> {
        reconciler.resync();
        apply(&mut reconciler, &ruleset);
        let from = |client: &String| {
            lab.venue.sh(&format!(
                "ip addr add {client}/32 dev eth0
                ip route replace {HEAD} dev eth0 src {client}"
            ));
            let answer = answered(&lab, service);
            lab.venue.sh(&format!("ip addr del {client}/32 dev eth0"));
            answer
        };
        clients.iter().map(from).collect()
    };
    let first = answers();
    assert!(
        BACKENDS.iter().all(|backend| first.iter().any(|answer| answer == backend)),
        "{first:?}"
    );
    assert_eq!(answers(), first);
}

fn new_elements_leave_rules_and_packets_alone() {
    let lab = Lab::new();
    with_way_back(&lab);
    let mut reconciler = FirewallReconciler::new();
    let node = format!("{NODE} : goto counted");
    apply(&mut reconciler, &judged(&[&node]));
    let before = number();
    let name = lab.node.name().to_owned();
    let venue = crate::packets::VENUE;
    let echo = std::thread::spawn(move || {
        sh(&format!("ip netns exec {name} ping -n -q -i 0.002 -c 500 {venue}"))
    });
    let mut changes = 0;
    while !echo.is_finished() {
        let others = [
            format!("10.0.0.{} : drop", changes % 200),
            format!("10.1.0.{} : goto counted", changes % 7),
        ];
        let ruleset = judged(&[&node, &others[0], &others[1]]);
        apply(&mut reconciler, &ruleset);
        changes += 1;
        std::thread::sleep(Duration::from_millis(2));
    }
    let result = echo.join().unwrap();
    assert!(changes > 50, "{changes}");
    assert!(result.contains(" 0% packet loss"), "{result}");
    assert_eq!(number(), before, "the table is the same");
    let chain = sh("nft list chain inet bramblegate counted");
    assert!(chain.contains("packets 500 "), "no counter was reset: {chain}");
    apply(&mut reconciler, &judged(&[&node]));
    assert_same(&listing(), &printed(&judged(&[&node])));
    assert_eq!(number(), before);
    reconciler.resync();
    apply(&mut reconciler, &judged(&[&node]));
    assert_ne!(number(), before, "another program changed the table: it is replaced as a whole");
}

fn an_element_of_another_program_is_removed() {
    let mut reconciler = FirewallReconciler::new();
    let (first, second) = (judged(&["10.0.0.1 : drop"]), judged(&["10.0.0.2 : drop"]));
    apply(&mut reconciler, &first);
    let mut ear = Ear::new(reconciler.port().unwrap());
    apply(&mut reconciler, &second);
    assert_eq!(ear.next(300), None, "our own change is not a disturbance");
    sh("nft add element inet bramblegate by_node '{ 10.0.0.9 : accept }'");
    let Some(bramblegate::event::Firewall::Disturbed { by: Some(by) }) = ear.next(1000) else {
        panic!("not noticed")
    };
    assert!(by.starts_with("nft ("), "{by}");
    reconciler.resync();
    apply(&mut reconciler, &second);
    assert_same(&listing(), &printed(&second));
    // Not noticed yet when the next change comes: the kernel refuses it, or the read-back differs
    // from the plan.
    for theirs in [
        "delete element inet bramblegate by_node '{ 10.0.0.2 : drop }'",
        "add element inet bramblegate by_node '{ 10.0.0.9 : drop }'",
    ] {
        sh(&format!("nft {theirs}"));
        apply(&mut reconciler, &first);
        assert_same(&listing(), &printed(&first));
        apply(&mut reconciler, &second);
    }
}

fn what_has_expired_is_not_removed_again() {
    let timed = |texts: &[&str]| {
        let set = Set { timeout: Some(1), ..set("timed", &[ADDRESS], texts) };
        let rules = vec![rule([Match::In(lookup(&[FROM], "timed"))], Action::Drop)];
        let forward = chain("forward", Some((ChainKind::Filter, Hook::Forward, 0)), rules);
        Ruleset { flow_table: None, sets: vec![set], chains: vec![forward] }
    };
    let mut reconciler = FirewallReconciler::new();
    apply(&mut reconciler, &timed(&["10.0.0.1", "10.0.0.2"]));
    assert!(listing().join("\n").contains("{ 10.0.0.1, 10.0.0.2 }"));
    let before = number();
    std::thread::sleep(Duration::from_millis(1300));
    apply(&mut reconciler, &timed(&["10.0.0.3"]));
    assert_eq!(number(), before, "the table is the same");
    assert_same(&listing(), &printed(&timed(&["10.0.0.3"])));
}

fn a_refused_set_is_named() {
    let mut reconciler = FirewallReconciler::new();
    load(&mut reconciler, &build(&home()), false);
    let faults = [
        set("ranges", &[PORT], &["80-90"]),
        set("mixed", &[ADDRESS], &["fd00::1"]),
        map("nowhere", &[ADDRESS], DataKind::Verdict, &["10.0.0.1 : goto nowhere"]),
    ];
    for fault in faults {
        let name = format!("set {}", fault.name);
        let error =
            reconciler.load(&Ruleset { sets: vec![fault], ..judged(&[]) }, false).unwrap_err();
        assert!(error.to_string().contains(&name), "{error}");
        assert_same(&listing(), &printed(&build(&home())));
    }
}

fn one_element_of_thousands_is_changed_quickly() {
    let many = |last: u16| {
        let keys = (0..10_000_u32).map(|number| std::net::Ipv4Addr::from(0x0a00_0000 + number));
        let element = |address: std::net::Ipv4Addr| {
            let backend = vec![Item::from(std::net::IpAddr::from(address)), Item::from(8080)];
            (
                vec![Item::from(std::net::IpAddr::from(address)), Item::from(80)],
                Some(Data::Values(backend)),
            )
        };
        let mut elements: Elements = keys.map(element).collect();
        elements.insert(items("10.9.9.9 . 80"), Some(data(&format!("10.9.9.9 . {last}"))));
        let both = [ADDRESS, PORT];
        let mut ruleset = judged(&[]);
        ruleset.sets.push(Set { elements, ..map("backends", &both, values(&both), &[]) });
        ruleset
    };
    let mut reconciler = FirewallReconciler::new();
    apply(&mut reconciler, &many(0));
    let (mut updated, mut replaced) = (Vec::new(), Vec::new());
    for round in 1..8 {
        let ruleset = many(round);
        let begin = Instant::now();
        apply(&mut reconciler, &ruleset);
        updated.push(begin.elapsed());
        let begin = Instant::now();
        reconciler.resync();
        apply(&mut reconciler, &ruleset);
        replaced.push(begin.elapsed());
    }
    [&mut updated, &mut replaced].into_iter().for_each(|times| times.sort());
    println!("one element of 10,000 {:?}, all anew {:?}", updated[3], replaced[3]);
    assert!(updated[3] < replaced[3], "{updated:?} against {replaced:?}");
}

/// Generates a set or map of any type, and a second list of elements for it.
fn any_set() -> impl Strategy<Value = (Set, Elements)> {
    let kind = prop::sample::select(vec![
        Kind::Ipv4,
        Kind::Ipv6,
        Kind::Port,
        Kind::Transport,
        Kind::Interface,
    ]);
    let address = prop::sample::select(vec![Kind::Ipv4, Kind::Ipv6]);
    let leads_to = prop_oneof![
        Just(None),
        Just(Some(DataKind::Verdict)),
        address.clone().prop_map(|kind| Some(DataKind::Values(vec![kind]))),
        address.prop_map(|kind| Some(DataKind::Values(vec![kind, Kind::Port]))),
    ];
    let key = prop_oneof![
        4 => prop::collection::vec(kind, 1..4),
        1 => (1_u32..300).prop_map(|modulus| vec![Kind::Number(modulus)]),
    ];
    let shape = (key, leads_to, any::<bool>());
    shape.prop_flat_map(|(key, leads_to, interval)| {
        // Names of interfaces are not numbers: nft prints ranges of them in its own format.
        let in_order = |kind: &Kind| matches!(kind, Kind::Ipv4 | Kind::Ipv6 | Kind::Port);
        let interval = interval && key.iter().all(in_order);
        let empty = Set { name: "any".into(), key, data: leads_to, interval, ..Set::default() };
        let some = || any_elements(&empty);
        let (now, later) = (some(), some());
        (now, later).prop_map(move |(elements, later)| (Set { elements, ..empty.clone() }, later))
    })
}

fn any_elements(set: &Set) -> impl Strategy<Value = Elements> + use<> {
    let key: Vec<_> = set.key.iter().map(|kind| any_item(*kind, set.interval)).collect();
    let leads_to = match &set.data {
        None => Just(None).boxed(),
        Some(DataKind::Verdict) => {
            prop::sample::select(vec!["accept", "drop", "goto counted", "jump counted"])
                .prop_map(|text| Some(data(text)))
                .boxed()
        }
        Some(DataKind::Values(kinds)) => {
            let values: Vec<_> = kinds.iter().map(|kind| any_item(*kind, false)).collect();
            values.prop_map(|items| Some(Data::Values(items))).boxed()
        }
    };
    prop::collection::vec((key, leads_to), 0..9).prop_map(|all| {
        let mut elements = Elements::new();
        for (key, leads_to) in all {
            if !elements.keys().any(|known| overlap(known, &key)) {
                elements.insert(key, leads_to);
            }
        }
        elements
    })
}

fn overlap(left: &[Item], right: &[Item]) -> bool {
    left.iter().zip(right).all(|(left, right)| match (left, right) {
        (Item::Addresses(left), Item::Addresses(right)) => {
            left.contains(right) || right.contains(left)
        }
        (Item::Ports(a, b), Item::Ports(c, d)) => a <= d && c <= b,
        (left, right) => left == right,
    })
}

fn any_item(kind: Kind, interval: bool) -> BoxedStrategy<Item> {
    let prefix = move |bits: u8| if interval { 8..=bits } else { bits..=bits };
    match kind {
        Kind::Ipv4 => (any::<u32>(), prefix(32))
            .prop_map(|(bits, prefix)| {
                Item::from(
                    ipnet::IpNet::new(std::net::Ipv4Addr::from(bits).into(), prefix).unwrap(),
                )
            })
            .boxed(),
        Kind::Ipv6 => (any::<u128>(), prefix(128))
            .prop_map(|(bits, prefix)| {
                Item::from(
                    ipnet::IpNet::new(std::net::Ipv6Addr::from(bits).into(), prefix).unwrap(),
                )
            })
            .boxed(),
        Kind::Port => (any::<u16>(), any::<u16>())
            .prop_map(
                move |(a, b)| {
                    if interval { Item::Ports(a.min(b), a.max(b)) } else { Item::from(a) }
                },
            )
            .boxed(),
        Kind::Transport => prop::sample::select(vec![Transport::Tcp, Transport::Udp])
            .prop_map(Item::Transport)
            .boxed(),
        Kind::Interface => "[a-z][a-z0-9.@_-]{0,14}".prop_map(Item::Interface).boxed(),
        Kind::Number(modulus) => (0..modulus).prop_map(Item::Number).boxed(),
    }
}

/// Returns a table with this set, and a rule that looks it up if it is a set of addresses or a
/// verdict map by them.
fn around(set: Set) -> Ruleset {
    let mut ruleset = judged(&[]);
    ruleset.sets = vec![set];
    ruleset.chains[1].rules.clear();
    ruleset
}

fn check(cases: u32, property: impl Fn(Set, Elements)) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let property = |(set, later): (Set, Elements)| {
        property(set, later);
        Ok(())
    };
    TestRunner::new(config).run(&any_set(), property).unwrap_or_else(|error| panic!("{error}"));
}

fn any_set_is_read_back_as_it_was_sent() {
    check(40, |set, _| {
        let ruleset = around(set);
        let mut reconciler = FirewallReconciler::new();
        // It compares the kernel's elements with those sent.
        load(&mut reconciler, &ruleset, false);
        assert_same(&listing(), &printed(&ruleset));
        let (ok, output) = feed("nft -c -f -", &ruleset.to_string());
        assert!(ok, "{output}");
        reconciler.remove().unwrap();
    });
}

fn any_change_of_elements_is_the_plan_after_it() {
    check(40, |set, later| {
        let mut reconciler = FirewallReconciler::new();
        let after = around(Set { elements: later, ..set.clone() });
        let first = around(set);
        apply(&mut reconciler, &first);
        let before = number();
        apply(&mut reconciler, &after);
        assert_eq!(number() == before, after != first, "an equal plan is applied again as a whole");
        assert_same(&listing(), &printed(&after));
        reconciler.remove().unwrap();
    });
}
