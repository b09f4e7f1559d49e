//! The gateway's table as the nft of each release lists it: the printed form, with all names and
//! comments.

use bramblegate::config::Allow;
use bramblegate::decide::firewall::{
    ClusterIpv6, ForwardedPort, Ruleset, RulesetInput, Transport, build,
};
use bramblegate::reconcile::firewall::FirewallReconciler;

use crate::sets::every_kind;
use crate::stage::sh;
use crate::text::{assert_same, lines};

/// The releases, and the nft of each.
pub const RELEASES: &[(&str, &str)] =
    &[("bookworm", "nftables v1.0.6 "), ("trixie", "nftables v1.1.3 ")];

/// Loads the usual table and one with every kind of set and map, and has the release's nft list
/// them and check the text.
pub fn play(release: &str) {
    let (_, version) = RELEASES.iter().find(|(known, _)| *known == release).expect("a release");
    let root = crate::roots().join(release);
    assert!(root.is_dir(), "there is no {}: run `make clients-test`", root.display());
    let nft = |arguments: &str| sh(&format!("chroot {} nft {arguments}", root.display()));
    let found = nft("--version");
    assert!(found.starts_with(version), "{found}");
    for ruleset in [usual(), every_kind()] {
        let mut reconciler = FirewallReconciler::new();
        for protect in [true, false] {
            reconciler.load(&ruleset, protect).unwrap_or_else(|error| panic!("{error}"));
            let listed = nft("list table inet bramblegate");
            assert_same(&lines(&listed), &lines(&ruleset.kernel(false).to_string()));
            keeps_names(&listed, &ruleset);
        }
        nft(&format!("-c -f - <<'END'\n{ruleset}\nEND\n"));
    }
}

fn keeps_names(listed: &str, ruleset: &Ruleset) {
    for set in &ruleset.sets {
        let word = if set.data.is_some() { "map" } else { "set" };
        assert!(listed.contains(&format!("\t{word} {} {{\n", set.name)), "{listed}");
    }
    for chain in &ruleset.chains {
        assert!(listed.contains(&format!("\tchain {} {{\n", chain.name)), "{listed}");
        for rule in &chain.rules {
            assert!(
                listed.contains(&format!("comment \"{}\"\n", rule.comment.replace('"', "'"))),
                "{rule}"
            );
        }
    }
}

/// A head with two uplinks, and a port that is forwarded to a node.
fn usual() -> Ruleset {
    let ssh = ForwardedPort {
        transport: Transport::Tcp,
        listen: 2201,
        to: [192, 168, 50, 11].into(),
        port: 22,
    };
    build(&RulesetInput {
        cluster_port: Some("eth0".into()),
        cluster_networks: vec!["192.168.50.1/24".parse().unwrap()],
        cluster_addresses: vec![[192, 168, 50, 1].into()],
        ipv6: Some(ClusterIpv6 {
            network: "fd12:3456:789a:1::/64".parse().unwrap(),
            for_us_alone: true,
        }),
        uplinks: vec!["eth1".into(), "wlan0".into()],
        forwarded_for_us: vec!["eth1".into()],
        trusted: vec!["vlan7".into()],
        bridges: vec!["virbr0".into()],
        allow: vec![Allow::Ssh, Allow::Icmp, Allow::Mdns, Allow::Tcp(8000, 8010)],
        forwards: vec![ssh],
        dead: vec![ssh],
        ..RulesetInput::default()
    })
}
