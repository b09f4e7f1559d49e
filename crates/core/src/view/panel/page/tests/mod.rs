mod properties;
mod story;
mod turns;

use std::collections::BTreeSet;
use std::time::Duration;

use crate::decide;
use crate::decide::alert::{AlertCode, AlertId, Severity, Subject};
use crate::event::{
    Acknowledgement, Applied, ApplyReport, Blocker, Button, Change, Event, Firewall, Head, Lease,
    Mac, Output, Probe, Reachability, Round, Vital,
};
use crate::panel::Pattern;
use crate::view::panel::led::lights;
use story::{ETH1, Story, WLAN0};

/// Compares the pages of a story at four sizes with `golden/NAME.txt`.
fn golden(name: &str, expected: &str, story: &Story) {
    let drawn: String = ["8x2", "16x2", "20x4", "40x2"].map(|size| story.drawn(size)).concat();
    let path =
        format!("{}/src/view/panel/page/tests/golden/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    assert!(drawn == expected, "{path} is not what is drawn; drawn is:\n{drawn}");
}

macro_rules! golden {
    ($name:literal, $story:expr) => {
        golden($name, include_str!(concat!("golden/", $name, ".txt")), &$story)
    };
}

#[test]
fn at_the_fair_all_is_well() {
    golden!("fair", Story::fair());
}

#[test]
fn a_node_dies_and_the_alert_pre_empts_the_pages() {
    golden!("node-down", Story::fair().node("rpi2", 3, false));
}

#[test]
fn behind_a_captive_portal_the_panel_reports_so() {
    golden!("portal", Story::fair().reached(ETH1, Reachability::Portal));
}

#[test]
fn without_a_carrier_a_text_replaces_the_address() {
    golden!("no-cable", Story::fair().port(ETH1, "eth1", false));
}

#[test]
fn a_second_uplink_has_a_page_with_its_name() {
    let story = Story::fair().port(WLAN0, "wlan0", true).address(WLAN0, "192.168.178.123/24");
    let story = story
        .default_route(WLAN0, "192.168.178.1", 600)
        .address(ETH1, "2001:db8:7::5054:ff:fe12:3456/64");
    let odd = Vital::Host { name: "bramble-head".into(), ssh_ports: vec![2222], announced: false };
    golden!("two-uplinks", story.handle(Event::Vital(odd)));
}

#[test]
fn an_ipv6_only_venue_has_row_1_too() {
    let story =
        Story::new().port(ETH1, "eth1", true).address(ETH1, "2001:db8:7::5054:ff:fe12:3456/64");
    golden!(
        "ipv6-only",
        story.default_route(ETH1, "fe80::1", 100).reached(ETH1, Reachability::Online)
    );
}

#[test]
fn the_venue_leases_our_own_address() {
    golden!("clash", Story::fair().address(ETH1, "192.168.50.1/24"));
}

#[test]
fn the_contracts_example_is_the_first_page() {
    let playlist = Story::fair().playlist("16x2");
    assert_eq!(playlist.pages[0].frame.lines(), ["10.99.0.126     ", "3/3 up  eth1    "]);
    assert_eq!(playlist.urgent_rows, 1);
}

#[test]
fn the_text_follows_carrier_and_dhcp() {
    let row1 =
        |story: &Story| story.playlist("16x2").pages[0].frame.lines()[0].trim_end().to_owned();
    let story = Story::new();
    assert_eq!(row1(&story), "NO UPLINK");
    let story = story.port(ETH1, "eth1", false);
    assert_eq!(row1(&story), "NO CABLE");
    let story = story.port(ETH1, "eth1", true);
    assert_eq!(row1(&story), "SEARCHING");
    let story = story.wait(Duration::from_secs(11));
    assert_eq!(row1(&story), "NO DHCP");
    assert_eq!(row1(&Story::new().port(WLAN0, "wlan0", false)), "NO WIFI");
}

#[test]
fn alerts_take_turns_and_pages_wait() {
    let blocker = Blocker {
        table: Some("ip filter".into()),
        chain: Some("FORWARD".into()),
        remedy: String::new(),
    };
    let story = Story::fair()
        .node("rpi2", 3, false)
        .handle(Event::Firewall(Firewall::Blocked(Some(blocker))));
    let rows: Vec<String> =
        story.playlist("16x2").pages.iter().map(|p| p.frame.lines()[1].trim().to_owned()).collect();
    assert_eq!(rows, ["BLOCKED FORWARD", "rpi2 down"]);
}

#[test]
fn row_1_is_not_repeated_below_it() {
    let story = Story::fair().port(ETH1, "eth1", false).wait(Duration::from_secs(61));
    let pages = story.playlist("16x2").pages;
    assert!(pages.iter().all(|page| page.frame.lines()[1].trim() != "NO CABLE"), "{pages:?}");
    assert_eq!(pages[0].frame.lines()[1].trim(), "3/3 up  eth1");
}

#[test]
fn a_running_lease_changes_nothing() {
    let story = Story::fair();
    let before = story.playlist("20x4");
    let later = story.wait(Duration::from_secs(30)).address(ETH1, "10.99.0.126/24");
    assert_eq!(before, later.playlist("20x4"));
}

#[test]
fn before_the_first_dump_the_panel_shows_starting() {
    let story = Story::fair();
    let settings = story.sized("16x2");
    let fresh = crate::facts::Facts::new(std::sync::Arc::new(settings.clone()), story.now);
    let shown = super::playlist(&settings, &fresh, &decide::decide(&settings, &fresh));
    assert_eq!(shown.pages[0].frame.lines()[0].trim(), "STARTING");
}

#[test]
fn the_leds_are_the_cluster_and_each_node() {
    let story = Story::fair().node("rpi2", 3, false);
    let desired = decide::decide(&story.settings, &story.facts);
    let patterns: Vec<Pattern> = lights(&story.facts, &desired).iter().map(|s| s.pattern).collect();
    assert_eq!(
        patterns,
        [Pattern::DoubleBlink, Pattern::Breathe, Pattern::FastBlink, Pattern::Breathe]
    );
    let fresh = Story::new();
    let desired = decide::decide(&fresh.settings, &fresh.facts);
    let patterns: Vec<Pattern> = lights(&fresh.facts, &desired).iter().map(|s| s.pattern).collect();
    assert_eq!(patterns, [Pattern::QuickBreathe; 4]);
}

#[test]
fn acknowledged_alerts_take_turns_with_the_pages() {
    let story = Story::fair().node("rpi2", 3, false);
    let known = decide::alert::acknowledge::all_standing(
        &story.facts,
        &decide::decide(&story.settings, &story.facts),
    );
    golden!("known", story.handle(Event::Acknowledgement(known)));
}

#[test]
fn a_warning_is_news_on_every_display_and_a_temperature_is_not() {
    let hot =
        |degrees| Event::Vital(Vital::Head(Head { temperature: Some(degrees), ..Head::default() }));
    for size in ["8x2", "16x2", "20x4", "40x2"] {
        let story = || Story::fair().node("rpi2", 3, false).handle(hot(48));
        let before = story().playlist(size);
        let warmer = story().handle(hot(52)).playlist(size);
        assert_eq!(before.news, warmer.news, "{size}");
        // The second alert is not on the first page.
        assert_ne!(
            before.news,
            story().reached(ETH1, Reachability::Nothing).playlist(size).news,
            "{size}"
        );
        let known = decide::alert::acknowledge::all_standing(
            &story().facts,
            &decide::decide(&story().settings, &story().facts),
        );
        assert_ne!(
            before.news,
            story().handle(Event::Acknowledgement(known)).playlist(size).news,
            "{size}: a button was pressed"
        );
        assert_eq!(Story::fair().playlist(size).news, Story::fair().playlist(size).news);
    }
}

#[test]
fn the_heads_own_vitals_have_a_page() {
    let head = Head {
        temperature: Some(48),
        load: Some(30),
        memory: Some(62),
        disk: Some(83),
        ..Head::default()
    };
    golden!("vitals", Story::fair().handle(Event::Vital(Vital::Head(head))));
}

#[test]
fn the_power_button_counts_down_on_every_display() {
    golden!(
        "power",
        Story::fair()
            .handle(Event::Button(Button::Power { held: true }))
            .wait(Duration::from_secs(2))
    );
}

const RACKS: &str = "\
uplink.interfaces = [\"eth1\"]
cluster.interface = \"eth0\"
cluster.address = \"10.21.0.1/16\"
[[group]]
name = \"rack\"
groups = \"1-67\"
nodes = \"1-150\"
node_address = \"10.21.{group}.{slot}\"
";

/// Adds this many probe rounds of the selected rack nodes.
fn rounds(mut story: Story, wanted: impl Fn(usize) -> bool, rtt: Option<Duration>) -> Story {
    let nodes: Vec<Round> = story
        .facts
        .nodes()
        .iter()
        .enumerate()
        .filter(|(place, _)| wanted(*place))
        .map(|(_, node)| Round { node: node.id, rtt, first_lost: rtt.is_none() })
        .collect();
    for _ in 0..3 {
        story = story.handle(Event::Probe(Probe::Nodes(nodes.clone())));
    }
    story
}

fn racks() -> Story {
    let story = Story::of(RACKS).port(ETH1, "eth1", true).address(ETH1, "10.99.0.126/24");
    let story =
        story.default_route(ETH1, "10.99.0.1", 100).reached(ETH1, Reachability::Online).loaded();
    rounds(story, |_| true, Some(Duration::from_micros(300)))
}

#[test]
fn ten_thousand_nodes_are_reported_by_rack() {
    let story = rounds(racks(), |place| place % 1001 == 7, None);
    let known = decide::alert::acknowledge::all_standing(
        &story.facts,
        &decide::decide(&story.settings, &story.facts),
    );
    golden!("ten-thousand", story.handle(Event::Acknowledgement(known)));
}

/// Returns the patterns of a stick with this many LEDs.
fn lit(story: Story, leds: u16) -> Vec<Pattern> {
    let held = Applied::Indicator { leds, name: "stick".into() };
    let story =
        story.handle(Event::Applied(ApplyReport { output: Output::Indicator, result: Ok(held) }));
    let desired = decide::decide(&story.settings, &story.facts);
    lights(&story.facts, &desired).iter().map(|signal| signal.pattern).collect()
}

#[test]
fn with_more_nodes_than_leds_each_shows_the_worst_of_its_share() {
    let (well, down, warned) = (Pattern::Breathe, Pattern::FastBlink, Pattern::DoubleBlink);
    // 67 racks on seven LEDs: nodes of racks 1 and 67 are down.
    let racks = || rounds(racks(), |place| place == 0 || place == 10_049, None);
    assert_eq!(lit(racks(), 8), [warned, down, well, well, well, well, well, down]);
    let each = lit(racks(), 80);
    assert_eq!((each.len(), each[1], each[2], each[67]), (68, down, well, down), "a rack each");
    // Three nodes without groups on two LEDs.
    let three = || Story::fair().node("rpi3", 3, false);
    assert_eq!(lit(three(), 3), [warned, well, down]);
    assert_eq!(lit(three(), 4), [warned, well, well, down], "a node each");
}

#[test]
fn an_acknowledged_fault_shows_as_a_warning_and_a_new_one_is_red() {
    let cluster = |story: &Story| {
        lights(&story.facts, &decide::decide(&story.settings, &story.facts))[0].pattern
    };
    let story = Story::fair().node("rpi1", 3, false).node("rpi2", 3, false);
    assert_eq!(cluster(&story), Pattern::FastBlink);
    let known = decide::alert::acknowledge::all_standing(
        &story.facts,
        &decide::decide(&story.settings, &story.facts),
    );
    let story = story.handle(Event::Acknowledgement(known));
    assert_eq!(cluster(&story), Pattern::DoubleBlink);
    assert_eq!(cluster(&story.node("rpi3", 3, false)), Pattern::FastBlink);
}

fn urgency(story: &Story) -> Severity {
    let desired = decide::decide(&story.settings, &story.facts);
    desired.alerts.iter().map(decide::alert::Alert::urgency).max().unwrap_or(Severity::Ok)
}

fn acknowledged(story: Story) -> Story {
    let known = decide::alert::acknowledge::all_standing(
        &story.facts,
        &decide::decide(&story.settings, &story.facts),
    );
    story.handle(Event::Acknowledgement(known))
}

/// Returns a story with fourteen nodes that are up.
fn shelf(settings: &str) -> Story {
    let text = format!("uplink.interfaces = [\"eth1\"]\ncluster.interface = \"eth0\"\n{settings}");
    let story = Story::of(&text).port(ETH1, "eth1", true).address(ETH1, "10.99.0.126/24");
    let story =
        story.default_route(ETH1, "10.99.0.1", 100).reached(ETH1, Reachability::Online).loaded();
    rounds(story, |_| true, Some(Duration::from_micros(300)))
}

#[test]
fn of_many_acknowledged_dead_nodes_a_recovery_is_no_news_and_another_failure_is() {
    let group =
        "[[group]]\nname = \"shelf\"\nnodes = \"1-14\"\nnode_address = \"192.168.50.1{slot}\"\n"
            .to_owned();
    let each =
        |last: u8| format!("[[node]]\nname = \"n{last}\"\naddress = \"192.168.50.1{last}\"\n");
    let answers = Some(Duration::from_micros(300));
    for settings in [group, (1..15).map(each).collect()] {
        let story = rounds(shelf(&settings), |place| place < 10, None);
        assert_eq!(urgency(&story), Severity::Fault);
        let story = acknowledged(story);
        assert_eq!(urgency(&story), Severity::Warning);
        let story = rounds(story, |place| place == 3, answers);
        assert_eq!(urgency(&story), Severity::Warning, "one has returned");
        // The state that is saved, and loaded at the next start.
        let mut again = shelf(&settings);
        let kept = story.facts.acknowledged().iter().map(|id| id.to_string().parse().unwrap());
        again = again.handle(Event::Acknowledgement(Acknowledgement::Restored(kept.collect())));
        let again = rounds(again, |place| place < 10 && place != 3, None);
        for story in [story, again] {
            assert_eq!(urgency(&story), Severity::Warning);
            assert_eq!(
                urgency(&rounds(story, |place| place == 12, None)),
                Severity::Fault,
                "one more died"
            );
        }
    }
}

fn known_down(names: &[&str]) -> BTreeSet<AlertId> {
    let id = |name: &&str| AlertId {
        code: AlertCode::NodeDown,
        subject: Subject::Node((*name).to_owned()),
    };
    names.iter().map(id).collect()
}

#[test]
fn after_a_restart_acknowledgements_wait_until_their_alerts_are_raised() {
    let settle = |story: Story| {
        let desired = decide::decide(&story.settings, &story.facts);
        let standing = decide::alert::acknowledge::still_standing(&story.facts, &desired);
        let settled = standing
            .into_iter()
            .fold(story, |story, standing| story.handle(Event::Acknowledgement(standing)));
        let again = decide::decide(&settled.settings, &settled.facts);
        assert_eq!(again, desired, "what is forgotten changes no decision");
        settled
    };
    let known = known_down(&["rpi1", "rpi2"]);
    let story = Story::fair().handle(Event::Acknowledgement(Acknowledgement::Restored(known)));
    let story = settle(story);
    assert_eq!(story.facts.acknowledged().len(), 2, "none has been raised yet");
    let story = settle(story.node("rpi1", 3, false));
    let story = settle(story.node("rpi1", 3, true));
    assert_eq!(*story.facts.acknowledged(), known_down(&["rpi2"]), "rpi1 has returned");
    let story = settle(story.node("rpi1", 3, false).node("rpi2", 3, false));
    let alerts = decide::decide(&story.settings, &story.facts).alerts;
    let news: Vec<&str> = alerts
        .iter()
        .filter(|alert| !alert.acknowledged)
        .map(|alert| alert.text.as_str())
        .collect();
    assert_eq!(news, ["rpi1 down"], "it went down again within the first minute");
    let story = settle(story.node("rpi2", 3, true).wait(Duration::from_secs(61)));
    assert!(story.facts.acknowledged().is_empty());
}

#[test]
fn an_alert_with_another_panel_text_stays_acknowledged() {
    let carrier = |up| Story::new().port(ETH1, "eth1", up);
    let panel =
        |story: &Story| decide::decide(&story.settings, &story.facts).alerts[0].panel.clone();
    let story = acknowledged(carrier(false).wait(Duration::from_secs(5)));
    let before = panel(&story);
    let story = story.port(ETH1, "eth1", true).wait(Duration::from_secs(30));
    let alert = decide::decide(&story.settings, &story.facts).alerts.remove(0);
    assert_eq!(
        (alert.code, before != alert.panel),
        (AlertCode::UplinkNone, true),
        "{before} {alert:?}"
    );
    assert!(alert.acknowledged, "{before} was acknowledged, {alert:?} was not");
}

#[test]
fn ungrouped_nodes_have_the_last_led_and_an_acknowledged_rack_is_amber() {
    let (well, down, warned) = (Pattern::Breathe, Pattern::FastBlink, Pattern::DoubleBlink);
    let found = |last: u8| {
        let mac = Mac([0xb8, 0x27, 0xeb, 0, 0, last]);
        let address = [10, 21, 200, last].into();
        let lease = Lease { mac, address, host_name: None, valid_for: None };
        Event::Lease(Change::Present(lease))
    };
    let racks = || rounds(racks(), |place| place == 0, None).handle(found(1));
    let each = lit(racks(), 80);
    assert_eq!(
        (each.len(), each[1], each[2], each[67]),
        (69, down, well, well),
        "a rack each, and one for the stranger"
    );
    assert_ne!(each[68], well, "it has not been heard yet");
    let each = lit(acknowledged(racks()), 80);
    assert_eq!((each[0], each[1], each[2]), (warned, warned, well), "people know of it");
    let each = lit(rounds(acknowledged(racks()), |place| place == 1, None), 80);
    assert_eq!(each[1], down, "one more in the same rack");
}
