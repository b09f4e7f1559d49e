//! The rule set in the kernel.

use std::time::{Duration, Instant};

use bramblegate::config::Allow;
use bramblegate::decide::firewall::{
    Action, ClusterIpv6, ForwardedPort, HIDING, Ruleset, RulesetInput, Transport, build,
};
use bramblegate::event::{Applied, ApplyError, ApplyErrorKind};
use bramblegate::reconcile::error::OutputError;
use bramblegate::reconcile::firewall::FirewallReconciler;

use crate::frame::Trial;
use crate::lab::{feed, sh, start_helper, trial, try_sh};
pub use crate::listing::{assert_same, lines};

pub fn tests() -> Vec<Trial> {
    vec![
        trial("firewall::nft_accepts_the_printed_rule_set", nft_accepts_the_printed_rule_set),
        trial("firewall::the_listing_is_the_printed_text", the_listing_is_the_printed_text),
        trial(
            "firewall::a_protected_table_outlives_a_foreign_flush",
            a_protected_table_outlives_a_foreign_flush,
        ),
        trial(
            "firewall::an_unprotected_table_is_flushed_and_comes_back",
            an_unprotected_table_is_flushed_and_comes_back,
        ),
        trial(
            "firewall::a_guarded_table_comes_back_by_itself",
            a_guarded_table_comes_back_by_itself,
        ),
        trial("firewall::a_guard_lets_go_of_what_is_removed", a_guard_lets_go_of_what_is_removed),
        trial(
            "firewall::protection_can_be_switched_off_and_on",
            protection_can_be_switched_off_and_on,
        ),
        trial(
            "firewall::an_orphan_of_a_killed_daemon_is_adopted",
            an_orphan_of_a_killed_daemon_is_adopted,
        ),
        trial(
            "firewall::the_table_of_a_living_daemon_is_left_alone",
            the_table_of_a_living_daemon_is_left_alone,
        ),
        trial(
            "firewall::a_foreign_table_of_our_name_is_replaced",
            a_foreign_table_of_our_name_is_replaced,
        ),
        trial(
            "firewall::a_thousand_rules_go_in_one_transaction",
            a_thousand_rules_go_in_one_transaction,
        ),
        trial(
            "firewall::a_refused_rule_is_named_and_nothing_is_changed",
            a_refused_rule_is_named_and_nothing_is_changed,
        ),
        trial("firewall::a_missing_capability_is_named", a_missing_capability_is_named),
        trial(
            "firewall::a_flow_table_is_used_or_done_without",
            a_flow_table_is_used_or_done_without,
        ),
        trial("firewall::what_is_off_leaves_nothing", what_is_off_leaves_nothing),
    ]
}

/// A head with two uplinks.
pub fn home() -> RulesetInput {
    RulesetInput {
        cluster_port: Some("eth0".into()),
        cluster_networks: vec!["192.168.50.1/24".parse().unwrap()],
        cluster_addresses: vec![[192, 168, 50, 1].into()],
        dead: vec![
            ForwardedPort {
                transport: Transport::Tcp,
                listen: 2201,
                to: [192, 168, 50, 11].into(),
                port: 22,
            },
            ForwardedPort {
                transport: Transport::Udp,
                listen: 5000,
                to: [192, 168, 50, 12].into(),
                port: 5001,
            },
        ],
        uplinks: vec!["eth1".into(), "wlan0".into()],
        allow: vec![
            Allow::Ssh,
            Allow::Icmp,
            Allow::Mdns,
            Allow::Web,
            Allow::Tcp(8000, 8010),
            Allow::Udp(51820, 51820),
        ],
        ssh_ports: vec![2222],
        web_port: Some(80),
        forwards: vec![
            ForwardedPort {
                transport: Transport::Tcp,
                listen: 2201,
                to: [192, 168, 50, 11].into(),
                port: 22,
            },
            ForwardedPort {
                transport: Transport::Udp,
                listen: 5000,
                to: [192, 168, 50, 12].into(),
                port: 5001,
            },
        ],
        ..RulesetInput::default()
    }
}

fn nft_accepts_the_printed_rule_set() {
    for _ in 0..2 {
        let (ok, output) = feed("nft -f -", &build(&home()).to_string());
        assert!(ok, "{output}");
    }
}

/// Returns the kernel's own listing of the table, line by line, without counters and flags.
pub fn listing() -> Vec<String> {
    lines(&sh("nft list table inet bramblegate"))
}

pub fn load(reconciler: &mut FirewallReconciler, ruleset: &Ruleset, protect: bool) -> Applied {
    reconciler.load(ruleset, protect).unwrap_or_else(|error| panic!("{error}"))
}

fn the_listing_is_the_printed_text() {
    let odd = RulesetInput {
        cluster_networks: vec!["10.1.2.3/32".parse().unwrap(), "172.16.0.0/12".parse().unwrap()],
        overlap_routed: true,
        ..home()
    };
    let network = "fd12:3456:789a:1::/64".parse().unwrap();
    let ipv6 =
        |for_us_alone| RulesetInput { ipv6: Some(ClusterIpv6 { network, for_us_alone }), ..home() };
    for (input, protect) in [
        (home(), true),
        (odd, false),
        (RulesetInput::default(), true),
        (ipv6(true), true),
        (ipv6(false), false),
        (RulesetInput { translated: true, ..home() }, true),
    ] {
        let ruleset = build(&input);
        let mut reconciler = FirewallReconciler::new();
        let applied = load(&mut reconciler, &ruleset, protect);
        assert!(matches!(applied, Applied::Firewall { flow_table: None, .. }));
        assert_same(&listing(), &lines(&ruleset.kernel(false).to_string()));
        reconciler.remove().unwrap();
        let (ok, output) = feed("nft -f -", &ruleset.to_string());
        assert!(ok, "{output}");
        assert_same(&listing(), &lines(&ruleset.kernel(false).to_string()));
    }
}

/// The task of a helper process of these tests.
pub fn help(name: &str) {
    let mut reconciler = FirewallReconciler::new();
    match reconciler.load(&build(&home()), true) {
        Ok(_) => println!("owned"),
        Err(error) => println!("{:?}: {error}", error.kind()),
    }
    if name == "own the table" {
        std::thread::sleep(Duration::from_secs(60));
    }
}

fn exists() -> bool {
    try_sh("nft list table inet bramblegate").0
}

fn a_protected_table_outlives_a_foreign_flush() {
    let mut reconciler = FirewallReconciler::new();
    let applied = load(&mut reconciler, &build(&home()), true);
    assert_eq!(
        applied,
        Applied::Firewall {
            masquerade: true,
            owned: true,
            flow_table: None,
            rejects: Some(true),
            adopted: false
        }
    );
    sh("nft add table ip other; nft flush ruleset");
    assert!(!sh("nft list tables").contains("other"));
    assert_same(&listing(), &lines(&build(&home()).kernel(false).to_string()));
    for attack in ["nft delete table inet bramblegate", "nft flush chain inet bramblegate forward"]
    {
        let (ok, output) = try_sh(attack);
        assert!(!ok && output.contains("not permitted"), "{attack}: {output}");
    }
}

fn an_unprotected_table_is_flushed_and_comes_back() {
    let mut reconciler = FirewallReconciler::new();
    let applied = load(&mut reconciler, &build(&home()), false);
    assert_eq!(
        applied,
        Applied::Firewall {
            masquerade: true,
            owned: false,
            flow_table: None,
            rejects: Some(true),
            adopted: false
        }
    );
    sh("nft flush ruleset");
    assert!(!exists());
    load(&mut reconciler, &build(&home()), false);
    assert_same(&listing(), &lines(&build(&home()).kernel(false).to_string()));
}

/// Returns whether the condition becomes true within a second.
fn soon(true_now: impl Fn() -> bool) -> bool {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(1) {
        if true_now() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    false
}

/// Returns whether this process has a thread of this name. Other tests run in processes of their
/// own.
fn is_guarded() -> bool {
    let threads = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let names =
        threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok());
    names.into_iter().any(|name| name.trim() == "nft-guard")
}

fn a_guarded_table_comes_back_by_itself() {
    let mut reconciler = FirewallReconciler::guarding();
    load(&mut reconciler, &build(&home()), false);
    let whole = lines(&build(&home()).kernel(false).to_string());
    for attack in [
        "flush ruleset",
        "delete table inet bramblegate",
        "insert rule inet bramblegate forward drop",
    ] {
        sh(&format!("nft {attack}"));
        soon(|| exists() && listing() == whole);
        assert_same(&listing(), &whole);
        // It answers twenty times a second, not more.
        std::thread::sleep(Duration::from_millis(60));
    }
}

fn a_guard_lets_go_of_what_is_removed() {
    let mut reconciler = FirewallReconciler::guarding();
    load(&mut reconciler, &build(&home()), false);
    assert!(soon(is_guarded));
    load(&mut reconciler, &build(&home()), true);
    assert!(soon(|| !is_guarded()), "the kernel does it now");
    load(&mut reconciler, &build(&home()), false);
    reconciler.remove().unwrap();
    assert!(soon(|| !is_guarded()));
    assert!(!exists(), "what we took away ourselves is not put back");
}

fn protection_can_be_switched_off_and_on() {
    let mut reconciler = FirewallReconciler::new();
    for protect in [true, false, true] {
        let applied = load(&mut reconciler, &build(&home()), protect);
        assert!(
            matches!(applied, Applied::Firewall { owned, .. } if owned == protect),
            "{applied:?}"
        );
    }
}

fn an_orphan_of_a_killed_daemon_is_adopted() {
    let (mut daemon, line) = start_helper("own the table", &[]);
    assert_eq!(line, "owned\n");
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    assert!(exists(), "NAT outlives the daemon");
    let mut reconciler = FirewallReconciler::new();
    for _ in 0..2 {
        let applied = load(&mut reconciler, &build(&home()), true);
        assert_eq!(
            applied,
            Applied::Firewall {
                masquerade: true,
                owned: true,
                flow_table: None,
                rejects: Some(true),
                adopted: true
            }
        );
    }
}

fn the_table_of_a_living_daemon_is_left_alone() {
    let (mut daemon, line) = start_helper("own the table", &[]);
    assert_eq!(line, "owned\n");
    let mut reconciler = FirewallReconciler::new();
    for error in
        [reconciler.load(&build(&home()), true).unwrap_err(), reconciler.remove().unwrap_err()]
    {
        let error = ApplyError::from(error);
        assert_eq!(error.kind, ApplyErrorKind::Failed);
        assert!(
            error.message.contains("belongs to another process")
                && error.message.ends_with("; stop it"),
            "{error}"
        );
    }
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    load(&mut reconciler, &build(&home()), true);
}

fn a_foreign_table_of_our_name_is_replaced() {
    sh("nft add table inet bramblegate; nft add chain inet bramblegate theirs");
    let mut reconciler = FirewallReconciler::new();
    let applied = load(&mut reconciler, &build(&home()), true);
    assert!(
        matches!(applied, Applied::Firewall { adopted: false, owned: true, .. }),
        "{applied:?}"
    );
    assert_same(&listing(), &lines(&build(&home()).kernel(false).to_string()));
}

fn a_thousand_rules_go_in_one_transaction() {
    let allow: Vec<Allow> = (10_000..11_000).map(|port| Allow::Tcp(port, port)).collect();
    let many = build(&RulesetInput { allow, ..home() });
    assert!(many.len() > 1000);
    let mut reconciler = FirewallReconciler::new();
    for _ in 0..5 {
        load(&mut reconciler, &many, true);
    }
    assert_same(&listing(), &lines(&many.kernel(false).to_string()));
    load(&mut reconciler, &build(&home()), true);
    assert_same(&listing(), &lines(&build(&home()).kernel(false).to_string()));
}

fn a_refused_rule_is_named_and_nothing_is_changed() {
    let mut reconciler = FirewallReconciler::new();
    load(&mut reconciler, &build(&home()), true);
    let mut broken = build(&RulesetInput { uplinks: vec!["usb0".into()], ..home() });
    let hiding = broken.chains.iter_mut().find(|chain| chain.name == HIDING).unwrap();
    hiding.rules.last_mut().unwrap().action = Action::Goto("nowhere");
    let error = reconciler.load(&broken, true).unwrap_err();
    assert!(error.to_string().contains("ip saddr 192.168.50.0/24 counter goto nowhere"), "{error}");
    assert_same(&listing(), &lines(&build(&home()).kernel(false).to_string()));
}

fn a_missing_capability_is_named() {
    let (mut daemon, line) =
        start_helper("try", &["setpriv", "--bounding-set=-net_admin", "--inh-caps=-all"]);
    daemon.wait().unwrap();
    assert!(line.starts_with("Denied: ") && line.contains("CAP_NET_ADMIN"), "{line}");
    assert!(!exists());
}

fn a_flow_table_is_used_or_done_without() {
    sh("ip link add eth0 type veth peer name a; ip link add eth1 type veth peer name b");
    let fast =
        build(&RulesetInput { flow_table_devices: vec!["eth0".into(), "eth1".into()], ..home() });
    let mut reconciler = FirewallReconciler::new();
    for _ in 0..2 {
        let Applied::Firewall { flow_table, masquerade: true, .. } =
            load(&mut reconciler, &fast, true)
        else {
            panic!()
        };
        let loaded = if flow_table.expect("one was wanted") {
            fast.clone()
        } else {
            fast.without_flow_table()
        };
        assert_same(&listing(), &lines(&loaded.kernel(false).to_string()));
    }
}

fn what_is_off_leaves_nothing() {
    let mut reconciler = FirewallReconciler::new();
    load(&mut reconciler, &build(&home()), true);
    reconciler.remove().unwrap();
    assert!(!exists());
    reconciler.remove().expect("nothing there is no fault");
}
