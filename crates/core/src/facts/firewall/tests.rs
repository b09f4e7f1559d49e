use std::time::Duration;

use super::*;

fn at(milliseconds: u64) -> Instant {
    Instant::from_boot(Duration::from_millis(milliseconds))
}

#[test]
fn a_fight_is_slowed_down_and_ends() {
    let mut facts = FirewallFacts::default();
    let mut now = 1_000;
    let mut at_once = 0;
    while !facts.is_fight(Some("meddler (4711)"), at(now)) {
        at_once += 1;
        now += 20;
    }
    assert_eq!(at_once, FIGHT_ROUNDS);
    assert_eq!(
        facts.fight,
        Some(Some("meddler".into())),
        "the name without the PID, which changes"
    );
    assert!(!facts.repair_is_due(at(now + 999)));
    assert!(facts.repair_is_due(at(now + 1_000)));
    assert!(!facts.repair_is_due(at(now + 1_001)), "once");
    assert!(facts.is_fight(None, at(now + 1_020)), "it goes on, however slowly");
    assert_eq!(facts.fight, Some(Some("meddler".into())));
    assert!(facts.next_deadline(at(now + 1_020)) == Some(at(now + 2_020)));
    assert!(facts.repair_is_due(at(now + 31_020)));
    assert_eq!(facts.fight, None);
    assert_eq!(facts.next_deadline(at(now + 31_020)), None);
}

#[test]
fn occasional_flushes_are_no_fight() {
    let mut facts = FirewallFacts::default();
    assert!((0..500).all(|round| !facts.is_fight(Some("nft (1)"), at(1_000 + round * 300))));
}

#[test]
fn packets_that_pass_override_the_blocking_rules() {
    let blocker = Blocker { table: None, chain: None, remedy: String::new() };
    let mut facts = FirewallFacts { blocker: Some(blocker), ..FirewallFacts::default() };
    facts.count(10, 7);
    assert!(facts.blocker().is_some(), "the first reading is no proof");
    facts.count(12, 9);
    assert!(facts.blocker().is_some(), "two may have been the last before the rules");
    facts.count(13, 10);
    assert!(facts.blocker().is_none());
    facts.count(14, 10);
    assert!(facts.blocker().is_some(), "one was lost");
    facts.count(1, 1);
    assert!(facts.blocker().is_some(), "a new rule set begins at zero");
}

#[test]
fn swallowed_packets_are_detected_however_often_the_counters_are_read() {
    let mut facts = FirewallFacts::default();
    for (forwarded, postrouted, swallowed) in [
        (5, 5, false),
        (7, 5, false),
        (7, 5, false),
        (8, 5, true),
        (9, 6, false),
        (11, 6, false),
        (12, 6, true),
    ] {
        facts.count(forwarded, postrouted);
        assert_eq!(facts.swallowed, swallowed, "{forwarded} {postrouted}");
    }
}
