//! Other programs and the firewall: which one changes the table, which one blocks forwarded
//! packets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bramblegate::decide::firewall::{
    COMMENT_FORWARDED, COMMENT_MASQUERADE, COMMENT_NOT_OURS, COMMENT_SPOOFED, COMMENT_STRAY,
    NOTED_DROPS, RulesetInput, TABLE, build,
};
use bramblegate::event::{Blocker, Dropped, Event, Firewall, RuleCount, Traffic};
use bramblegate::reconcile::firewall::FirewallReconciler;
use bramblegate::watch::firewall::{FirewallWatch, drops_now, run};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::firewall::{home, load};
use crate::frame::Trial;
use crate::lab::{sh, trial};
use crate::packets::{HEAD, Lab, NODE, VENUE};
use crate::roles::stray;

pub fn tests() -> Vec<Trial> {
    vec![
        trial(
            "disturbance::a_foreign_flush_is_reported_with_its_culprit",
            a_foreign_flush_is_reported_with_its_culprit,
        ),
        trial("disturbance::our_own_changes_are_none", our_own_changes_are_none),
        trial(
            "disturbance::a_rule_put_into_our_table_is_reported",
            a_rule_put_into_our_table_is_reported,
        ),
        trial(
            "disturbance::dockers_drop_is_named_and_its_remedy_helps",
            dockers_drop_is_named_and_its_remedy_helps,
        ),
        trial(
            "disturbance::a_reject_behind_a_map_of_states_is_named",
            a_reject_behind_a_map_of_states_is_named,
        ),
        trial(
            "disturbance::a_drop_at_input_is_reported_and_taken_back",
            a_drop_at_input_is_reported_and_taken_back,
        ),
        trial("disturbance::counters_are_read_back", counters_are_read_back),
        trial(
            "disturbance::each_rule_that_counts_is_read_back",
            each_rule_that_counts_is_read_back,
        ),
        trial(
            "disturbance::what_we_drop_is_reported_with_an_example",
            what_we_drop_is_reported_with_an_example,
        ),
        trial(
            "disturbance::what_is_dropped_at_postrouting_is_counted_soon",
            what_is_dropped_at_postrouting_is_counted_soon,
        ),
        trial(
            "disturbance::a_dropped_packet_is_counted_before_it_is",
            a_dropped_packet_is_counted_before_it_is,
        ),
    ]
}

/// A source that runs concurrently with the test.
pub struct Ear {
    runtime: tokio::runtime::Runtime,
    events: mpsc::Receiver<Event>,
    /// The last reported counters of each rule.
    rules: Arc<[RuleCount]>,
    _watch: watch::Sender<FirewallWatch>,
}

impl Ear {
    pub fn new(own_port: u32) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (sender, events) = mpsc::channel(64);
        let (watch, receiver) = watch::channel(FirewallWatch {
            table: TABLE,
            own_port,
            cluster_port: Some("eth0".into()),
            cluster_networks: vec!["192.168.50.1/24".parse().unwrap()],
            uplinks: vec!["eth1".into()],
            forwarded: COMMENT_FORWARDED,
            postrouted: COMMENT_MASQUERADE,
            drops: &NOTED_DROPS,
            traffic: vec![Traffic::Addresses, Traffic::Names],
            ..FirewallWatch::default()
        });
        runtime.spawn(async move {
            let Err(error) = run(sender, receiver).await;
            assert_eq!(error.to_string(), "the other end is gone");
        });
        let mut ear = Self { runtime, events, rules: [].into(), _watch: watch };
        // The source has started when its first counters come, or the time is up.
        let _ = ear.next(300);
        ear
    }

    /// Returns the next event that is not just a counter.
    pub fn next(&mut self, milliseconds: u64) -> Option<Firewall> {
        let deadline = Instant::now() + Duration::from_millis(milliseconds);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let waiting = async { timeout(left, self.events.recv()).await };
            match self.runtime.block_on(waiting) {
                Ok(Some(Event::Firewall(Firewall::Rules(rules)))) => self.rules = rules,
                Ok(Some(Event::Firewall(event))) => return Some(event),
                Ok(other) => panic!("{other:?}"),
                Err(_) => return None,
            }
        }
    }
}

fn rules() -> RulesetInput {
    RulesetInput { uplinks: vec!["eth1".into()], ..home() }
}

fn a_foreign_flush_is_reported_with_its_culprit() {
    let mut reconciler = FirewallReconciler::new();
    load(&mut reconciler, &build(&rules()), false);
    let mut ear = Ear::new(reconciler.port().unwrap());
    sh("nft flush ruleset");
    let Some(Firewall::Disturbed { by: Some(by) }) = ear.next(1000) else { panic!("not reported") };
    assert!(by.starts_with("nft ("), "{by}");
    load(&mut reconciler, &build(&rules()), false);
    assert_eq!(ear.next(500), None, "repairing is no disturbance");
}

fn our_own_changes_are_none() {
    let mut reconciler = FirewallReconciler::new();
    let mut ear = Ear::new(reconciler.port().unwrap());
    for protect in [false, true, true] {
        load(&mut reconciler, &build(&rules()), protect);
    }
    sh("nft add table ip other; nft delete table ip other; nft flush ruleset");
    assert_eq!(ear.next(700), None);
}

fn a_rule_put_into_our_table_is_reported() {
    let mut reconciler = FirewallReconciler::new();
    load(&mut reconciler, &build(&rules()), false);
    let mut ear = Ear::new(reconciler.port().unwrap());
    sh("nft insert rule inet bramblegate forward drop");
    assert!(matches!(ear.next(1000), Some(Firewall::Disturbed { by: Some(_) })));
}

fn blocked(ear: &mut Ear) -> Blocker {
    match ear.next(3000) {
        Some(Firewall::Blocked(Some(blocker))) => blocker,
        other => panic!("{other:?}"),
    }
}

fn dockers_drop_is_named_and_its_remedy_helps() {
    let mut reconciler = FirewallReconciler::new();
    load(&mut reconciler, &build(&rules()), true);
    let mut ear = Ear::new(reconciler.port().unwrap());
    sh("iptables-nft -N DOCKER-USER; iptables-nft -A DOCKER-USER -j RETURN; iptables-nft -P FORWARD DROP
        iptables-nft -A FORWARD -j DOCKER-USER
        iptables-nft -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
        iptables-nft -A FORWARD -i docker0 ! -o docker0 -j ACCEPT");
    let blocker = blocked(&mut ear);
    assert_eq!(
        (blocker.table.as_deref(), blocker.chain.as_deref()),
        (Some("ip filter"), Some("FORWARD"))
    );
    assert!(blocker.remedy.contains("DOCKER-USER -i eth0 -j ACCEPT"), "{}", blocker.remedy);
    sh(&blocker.remedy.replace("iptables ", "iptables-nft "));
    assert_eq!(ear.next(3000), Some(Firewall::Blocked(None)));
}

fn a_reject_behind_a_map_of_states_is_named() {
    sh("nft -f - <<'END'
        table inet strict {
            set ports { type ifname; elements = { \"lo\", \"wg0\" } }
            chain judge {
                iifname @ports accept
                tcp dport 80 counter drop
                reject with icmpx type admin-prohibited
            }
            chain onward {
                type filter hook forward priority 10; policy accept;
                ct state vmap { established : accept, related : accept, invalid : drop }
                icmp type echo-request accept
                jump judge
            }
        }
END");
    let mut ear = Ear::new(0);
    let blocker = match ear.next(10) {
        Some(Firewall::Blocked(Some(blocker))) => blocker,
        // `Ear::new` waited for the first event and may have consumed it: change something to
        // trigger another check.
        _ => {
            sh("nft flush chain inet strict judge");
            assert_eq!(ear.next(3000), Some(Firewall::Blocked(None)));
            sh("nft add rule inet strict judge reject");
            blocked(&mut ear)
        }
    };
    assert_eq!(
        (blocker.table.as_deref(), blocker.chain.as_deref()),
        (Some("inet strict"), Some("judge"))
    );
    sh(&blocker.remedy);
    assert_eq!(ear.next(3000), Some(Firewall::Blocked(None)), "{}", blocker.remedy);
}

fn a_drop_at_input_is_reported_and_taken_back() {
    let mut ear = Ear::new(0);
    sh(
        "nft 'add table ip t; add chain ip t i { type filter hook input priority 0; }; add rule ip t i udp dport 53 drop'",
    );
    match ear.next(3000) {
        Some(Firewall::BlockedTraffic(blocked)) => {
            let [(Traffic::Names, blocker)] = blocked.as_slice() else { panic!("{blocked:?}") };
            assert_eq!(
                (blocker.table.as_deref(), blocker.chain.as_deref()),
                (Some("ip t"), Some("i"))
            );
            sh(&blocker.remedy);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(ear.next(3000), Some(Firewall::BlockedTraffic(vec![])));
}

fn forwarded(ear: &mut Ear) -> (u64, u64) {
    loop {
        match ear.next(5000) {
            Some(Firewall::Counters { forwarded, postrouted }) => return (forwarded, postrouted),
            Some(_) => {}
            None => panic!("no counters"),
        }
    }
}

/// Boards of a second subnet on the cluster interface, a host in the venue with an address of the
/// cluster, and ordinary noise.
fn what_we_drop_is_reported_with_an_example() {
    let lab = Lab::new();
    let mut reconciler = FirewallReconciler::new();
    load(&mut reconciler, &build(&rules()), true);
    let mut ear = Ear::new(reconciler.port().unwrap());
    sh("ip addr add 192.168.60.1/24 dev eth0");
    lab.node.sh("ip addr add 192.168.60.7/24 dev eth0");
    lab.venue.sh(&format!(
        "ip route add 192.168.50.0/24 via {HEAD}; ip addr add 192.168.50.77/32 dev lo"
    ));
    let _ = lab.node.try_sh(&format!("ping -n -c 3 -i 0.1 -W 1 -I 192.168.60.7 {VENUE}"));
    let _ = lab.venue.try_sh(&format!(
        "ping -n -c 2 -i 0.1 -W 1 -I 192.168.50.77 {NODE} || nc -z -w 1 {HEAD} 3306"
    ));
    // A node answers a host that reached it another way, and ends connections that were over long
    // ago, as happens every day.
    lab.node
        .run(|| [0x12, 0x11, 0x04].map(|flags| stray(NODE, VENUE, 5000, flags)))
        .join()
        .unwrap();
    // A change by another program causes an early read of the counters.
    sh("nft add table ip other");
    let reported = (0..10).find_map(|_| match ear.next(5000) {
        Some(Firewall::Dropped(dropped)) => Some(dropped),
        _ => None,
    });
    let dropped = |purpose: &str, packets, example: Option<&str>| Dropped {
        purpose: purpose.into(),
        packets,
        example: example.map(|address| address.parse().unwrap()),
    };
    let mut reported = reported.unwrap();
    reported.retain(|rule| rule.packets > 0);
    assert_eq!(
        reported,
        [
            dropped(COMMENT_NOT_OURS, 3, Some("192.168.60.7")),
            dropped(COMMENT_SPOOFED, 2, Some("192.168.50.77")),
            dropped(COMMENT_STRAY, 1, Some(NODE)),
        ]
    );
    let all = drops_now(TABLE).unwrap();
    assert!(all.contains(&(COMMENT_NOT_OURS.into(), 3)), "{all:?}");
    let noise =
        |(comment, packets): &(String, u64)| comment.ends_with("rest of the head") && *packets > 0;
    assert!(all.iter().any(noise), "{all:?}");
}

fn counters_are_read_back() {
    let lab = Lab::new();
    let mut reconciler = FirewallReconciler::new();
    load(&mut reconciler, &build(&rules()), true);
    lab.node.sh(&format!("ping -n -c 3 -i 0.2 -W 1 {VENUE}"));
    let mut ear = Ear::new(reconciler.port().unwrap());
    // `new` took the first reading; a blocker makes the next ones frequent.
    sh("iptables-nft -P FORWARD DROP");
    lab.node.sh(&format!("ping -n -c 2 -i 0.2 -W 1 {VENUE} || true"));
    let (forwarded, postrouted) = forwarded(&mut ear);
    assert_eq!(
        (forwarded, postrouted),
        (3, 1),
        "one echo session that got through, two packets that did not"
    );
}

/// Returns the rules as nft lists them, with those of one chain and comment together.
fn each_rule_that_counts_is_read_back() {
    let lab = Lab::new();
    let mut reconciler = FirewallReconciler::new();
    load(&mut reconciler, &build(&rules()), true);
    let mut ear = Ear::new(reconciler.port().unwrap());
    lab.node.sh(&format!("ping -n -c 3 -i 0.1 -W 1 -s 100 {VENUE}"));
    // A change by another program causes an early read of the counters.
    sh("nft add table ip other");
    let forwarded = |ear: &Ear| {
        let mut of = ear.rules.iter().filter(|rule| rule.purpose == COMMENT_FORWARDED);
        of.next().map(|rule| (rule.chain.clone(), rule.packets, rule.bytes))
    };
    let wanted = Some(("cluster_to_uplink".to_owned(), 1, 128));
    let _ = (0..20).find(|_| {
        let _ = ear.next(500);
        forwarded(&ear) == wanted
    });
    assert_eq!(forwarded(&ear), wanted, "one packet of a session, of 20 + 8 + 100 bytes");
    let mut listed = Vec::new();
    let mut chain = String::new();
    for line in sh("nft list table inet bramblegate").lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("chain ") {
            name.trim_end_matches(" {").clone_into(&mut chain);
        }
        let comment = line.rsplit_once(" comment \"").map(|(_, text)| text.trim_end_matches('"'));
        if let Some(comment) = comment.filter(|_| line.contains("counter packets")) {
            listed.push((chain.clone(), comment.to_owned()));
        }
    }
    let mut reported: Vec<(String, String)> =
        ear.rules.iter().map(|rule| (rule.chain.clone(), rule.purpose.clone())).collect();
    listed.sort();
    listed.dedup();
    reported.sort();
    assert_eq!(reported, listed);
}

/// A drop by unknown means, after the routing decision: the counters reveal it soon.
fn what_is_dropped_at_postrouting_is_counted_soon() {
    let lab = Lab::new();
    let mut reconciler = FirewallReconciler::new();
    load(&mut reconciler, &build(&rules()), true);
    let mut ear = Ear::new(reconciler.port().unwrap());
    sh("nft add table ip other; nft add chain ip other p '{ type filter hook postrouting priority 0; }'
        nft add rule ip other p meta mark 0 drop");
    // The first reading follows after a quiet moment.
    assert_eq!(ear.next(700), None);
    lab.node.sh(&format!("ping -n -c 3 -i 0.2 -W 1 {VENUE} || true"));
    let (forwarded, postrouted) = forwarded(&mut ear);
    assert_eq!((forwarded, postrouted), (3, 0));
}

fn a_dropped_packet_is_counted_before_it_is() {
    let lab = Lab::new();
    sh(
        "nft add table ip other; nft add chain ip other f '{ type filter hook forward priority 0; policy drop; }'",
    );
    let mut reconciler = FirewallReconciler::new();
    load(&mut reconciler, &build(&rules()), true);
    lab.node.sh(&format!("ping -n -c 2 -i 0.2 -W 1 {VENUE} || true"));
    let listing = sh("nft list chain inet bramblegate cluster_to_uplink");
    assert!(
        listing.lines().any(|line| line.contains(COMMENT_FORWARDED) && line.contains("packets 2 ")),
        "{listing}"
    );
}
