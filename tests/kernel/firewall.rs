//! The rule set in the kernel.

use bramblegate::config::Allow;
use bramblegate::event::Applied;
use bramblegate::policy::ruleset::{Ruleset, RulesetInput, build};
use bramblegate::sink::firewall::FirewallSink;
use libtest_mimic::Trial;

use crate::lab::{feed, sh, trial};

pub fn tests() -> Vec<Trial> {
    vec![
        trial("firewall::nft_accepts_the_printed_rule_set", nft_accepts_the_printed_rule_set),
        trial("firewall::the_listing_is_the_printed_text", the_listing_is_the_printed_text),
    ]
}

/// A head with two uplinks.
fn home() -> RulesetInput {
    RulesetInput {
        cluster_port: Some("eth0".into()),
        cluster_networks: vec!["192.168.50.1/24".parse().unwrap()],
        uplinks: vec!["eth1".into(), "wlan0".into()],
        allow: vec![Allow::Ssh, Allow::Icmp, Allow::Mdns, Allow::Tcp(8000, 8010), Allow::Udp(51820, 51820)],
        ssh_ports: vec![2222],
        ..RulesetInput::default()
    }
}

fn nft_accepts_the_printed_rule_set() {
    for _ in 0..2 {
        let (ok, output) = feed("nft -f -", &build(&home()).to_string());
        assert!(ok, "{output}");
    }
}

/// The kernel's own listing of our table, line by line, without counter values and without the table's flags.
fn listing() -> Vec<String> {
    lines(&sh("nft list table inet bramblegate"))
}

fn lines(text: &str) -> Vec<String> {
    let without_counts = |line: &str| match line.split_once("counter packets ") {
        Some((before, after)) => format!("{before}counter {}", after.splitn(4, ' ').last().unwrap()),
        None => line.to_owned(),
    };
    // Newer kernels and nft say which program owns a table.
    let without_owner =
        |line: &str| line.split_once(" # progname").map_or(line.to_owned(), |(line, _)| line.to_owned());
    let all = text.lines().map(without_counts).map(|line| without_owner(&line));
    all.filter(|line| !line.is_empty() && !line.starts_with('#') && !line.trim_start().starts_with("flags ")).collect()
}

/// Compares two listings so that only what differs is shown.
fn assert_same(left: &[String], right: &[String]) {
    let missing: Vec<_> = right.iter().filter(|line| !left.contains(line)).collect();
    let more: Vec<_> = left.iter().filter(|line| !right.contains(line)).collect();
    assert!(missing.is_empty() && more.is_empty(), "missing: {missing:#?}\ntoo much: {more:#?}");
    assert!(left == right, "the order differs: {left:#?}");
}

fn load(sink: &mut FirewallSink, ruleset: &Ruleset, protect: bool) -> Applied {
    sink.load(ruleset, protect).unwrap_or_else(|error| panic!("{error}"))
}

fn the_listing_is_the_printed_text() {
    let odd = RulesetInput {
        cluster_networks: vec!["10.1.2.3/32".parse().unwrap(), "172.16.0.0/12".parse().unwrap()],
        overlap_routed: true,
        ..home()
    };
    for (input, protect) in [(home(), true), (odd, false), (RulesetInput::default(), true)] {
        let ruleset = build(&input);
        let mut sink = FirewallSink::new();
        let applied = load(&mut sink, &ruleset, protect);
        assert!(matches!(applied, Applied::Firewall { flow_table: false, .. }));
        assert_same(&listing(), &lines(&ruleset.kernel(false).to_string()));
        sink.remove().unwrap();
        let (ok, output) = feed("nft -f -", &ruleset.to_string());
        assert!(ok, "{output}");
        assert_same(&listing(), &lines(&ruleset.kernel(false).to_string()));
    }
}
