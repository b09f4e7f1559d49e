//! The rule set in the kernel.

use bramblegate::config::Allow;
use bramblegate::policy::ruleset::{RulesetInput, build};
use libtest_mimic::Trial;

use crate::lab::{feed, trial};

pub fn tests() -> Vec<Trial> {
    vec![trial("firewall::nft_accepts_the_printed_rule_set", nft_accepts_the_printed_rule_set)]
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
