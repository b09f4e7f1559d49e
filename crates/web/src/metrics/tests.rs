use std::collections::{BTreeMap, BTreeSet};

use bramblegate_api::Word;
use bramblegate_api::status::{Alert, Cluster, Host, Node, Share, Uplink};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// One line of the answer, without comments.
#[derive(Debug, PartialEq)]
struct Series {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// An answer, parsed by the rules of its format, independently of the encoder: text 0.0.4
/// (Prometheus' "Exposition formats") or OpenMetrics 1.0.
#[derive(Debug, Default)]
struct Read {
    /// The type of each family.
    types: BTreeMap<String, String>,
    series: Vec<Series>,
}

impl Read {
    fn of(text: &str, openmetrics: bool) -> Self {
        assert!(text.ends_with('\n') && !text.contains('\r'), "{text}");
        let mut lines: Vec<&str> = text.lines().collect();
        if openmetrics {
            assert_eq!(lines.pop(), Some("# EOF"));
        }
        let mut read = Self::default();
        let mut family = String::new();
        for line in lines {
            assert!(!line.trim().is_empty(), "a blank line fails a whole scrape");
            match line.strip_prefix("# ") {
                Some(comment) => {
                    let (word, rest) = comment.split_once(' ').unwrap();
                    let (name, what) = rest.split_once(' ').unwrap();
                    match word {
                        "HELP" => assert!(what.ends_with('.') || what.contains(' '), "{line}"),
                        "TYPE" => {
                            let known = read.types.insert(name.to_owned(), what.to_owned());
                            assert_eq!(known, None, "{name} comes twice");
                            name.clone_into(&mut family);
                        }
                        _ => panic!("{line}"),
                    }
                }
                None => {
                    let series = series(line);
                    let counts = read.types.get(&family).is_some_and(|kind| kind == "counter");
                    let suffix = if counts && openmetrics { "_total" } else { "" };
                    assert_eq!(series.name, format!("{family}{suffix}"), "{line}");
                    assert_eq!(counts, series.name.ends_with("_total"), "{line}");
                    read.series.push(series);
                }
            }
        }
        read
    }

    /// Returns the series of this name.
    fn all(&self, name: &str) -> impl Iterator<Item = &Series> {
        self.series.iter().filter(move |series| series.name == name)
    }

    fn value(&self, name: &str) -> Option<f64> {
        self.all(name).next().map(|series| series.value)
    }
}

/// Parses `name{label="text",…} value`; only `\\`, `\"` and `\n` are escapes in a text.
fn series(line: &str) -> Series {
    let place = line.find(['{', ' ']).unwrap();
    let (name, mut rest) = line.split_at(place);
    assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{line}");
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"").unwrap();
            assert!(label.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{line}");
            let mut text = String::new();
            let mut letters = after.char_indices();
            let end = loop {
                match letters.next().unwrap() {
                    (place, '"') => break place + 1,
                    (_, '\\') => text.push(match letters.next().unwrap().1 {
                        'n' => '\n',
                        escaped @ ('\\' | '"') => escaped,
                        other => panic!("\\{other} in {line}"),
                    }),
                    (_, letter) => text.push(letter),
                }
            };
            assert_eq!(labels.insert(label.to_owned(), text), None, "{line}");
            rest = &after[end..];
            rest = rest.strip_prefix(',').unwrap_or(rest);
        }
        rest = &rest[1..];
    }
    let value = rest.strip_prefix(' ').unwrap().parse().unwrap();
    Series { name: name.to_owned(), labels, value }
}

fn known(snapshot: Snapshot) -> Known {
    Known { snapshot: Some(Arc::new(snapshot)), ..Known::default() }
}

fn read(snapshot: &Snapshot, nodes_max: usize, openmetrics: bool) -> Read {
    let text = encode(&known(snapshot.clone()), &Arc::default(), nodes_max, openmetrics).unwrap();
    Read::of(&text, openmetrics)
}

/// Generates few texts, so that some are equal, with characters that would break a line.
fn text() -> BoxedStrategy<bramblegate_api::Text> {
    prop_oneof![
        select(&["rpi1", "a\"b", "a\\b", "a\\", "\"", "{a=\"1\"} 2", "", "Küche ♥", "a\nb"][..])
            .prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ]
    .boxed()
}

fn node() -> BoxedStrategy<Node> {
    let words = (select(&NodeHealth::ALL[..]), text(), of(text()), of(text()));
    (words, any::<(u64, Option<u64>, Option<u8>, bool)>())
        .prop_map(|((health, name, mac, group), (since_s, rtt_us, loss_percent, newer))| Node {
            health: if newer { Word::Other("levitating".into()) } else { health.into() },
            name,
            mac,
            group,
            since_s,
            rtt_us,
            loss_percent,
            ..Node::default()
        })
        .boxed()
}

fn snapshot() -> BoxedStrategy<Snapshot> {
    let alert = (text(), of(text()), any::<bool>()).prop_map(|(code, subject, acknowledged)| {
        Alert { code, subject, acknowledged, ..Alert::default() }
    });
    let uplink = (of(text()), any::<(Option<u64>, Option<u64>)>()).prop_map(
        |(interface, (lease_left_s, not_renewed_s))| Uplink {
            interface,
            lease_left_s,
            not_renewed_s,
            ..Uplink::default()
        },
    );
    let rule = (text(), text(), any::<(u64, u64)>())
        .prop_map(|(chain, rule, (packets, bytes))| Rule { bytes, chain, packets, rule });
    let host = any::<(Option<i32>, Option<u8>, Option<bool>)>().prop_map(
        |(temperature_c, disk_free_percent, clock_set)| Host {
            temperature_c,
            disk_free_percent,
            clock_set,
            ..Host::default()
        },
    );
    let share = (text(), text(), vec(text(), 0..3), any::<(bool, Option<u8>, Option<u64>)>())
        .prop_map(|(name, path, clients, (mounted, free_percent, errors))| Share {
            name,
            path,
            clients,
            mounted,
            free_percent,
            errors,
            ..Share::default()
        });
    let lists =
        (vec(alert, 0..5), vec(uplink, 0..4), vec(rule, 0..6), vec(node(), 0..9), vec(share, 0..3));
    (text(), lists, of(host), any::<(u64, usize, Option<usize>)>())
        .prop_map(|(version, (alerts, uplinks, rules, nodes, shares), host, numbers)| Snapshot {
            version,
            alerts,
            uplinks,
            rules,
            nodes,
            shares,
            host,
            uptime_s: numbers.0,
            cluster: Cluster { leases: numbers.1, range_size: numbers.2, ..Cluster::default() },
            ..Snapshot::default()
        })
        .boxed()
}

proptest! {
    /// Prometheus silently drops a duplicate series, and refuses a whole scrape for a blank line.
    #[test]
    fn whatever_the_daemon_sends_is_read_whole(
        snapshot in snapshot(),
        openmetrics: bool,
    ) {
        let read = read(&snapshot, usize::MAX, openmetrics);
        let mut seen = BTreeSet::new();
        for series in &read.series {
            prop_assert!(seen.insert((&series.name, &series.labels)), "{series:?} comes twice");
        }
        let names: BTreeSet<&str> = snapshot.nodes.iter().map(|node| &*node.name).collect();
        let up = read.all("bramblegate_node_up").map(|series| series.labels["node"].as_str());
        prop_assert_eq!(up.collect::<BTreeSet<_>>(), names);
        let codes: BTreeSet<&str> = snapshot.alerts.iter().map(|alert| &*alert.code).collect();
        let alerts = read.all("bramblegate_alert").map(|series| series.labels["code"].as_str());
        prop_assert_eq!(alerts.collect::<BTreeSet<_>>(), codes);
        let rules: BTreeSet<(&str, &str)> =
            snapshot.rules.iter().map(|rule| (&*rule.chain, &*rule.rule)).collect();
        prop_assert_eq!(read.all("bramblegate_rule_bytes_total").count(), rules.len());
        let shares: BTreeSet<&str> = snapshot.shares.iter().map(|share| &*share.name).collect();
        let mounted = read.all("bramblegate_share_mounted");
        prop_assert_eq!(mounted.map(|series| series.labels["share"].as_str()).collect::<BTreeSet<_>>(), shares);
    }

    #[test]
    fn nodes_beyond_the_bound_are_listed_by_group_alone(
        snapshot in snapshot(),
        nodes_max in 0..9_usize,
    ) {
        let read = read(&snapshot, nodes_max, false);
        let one_by_one = read.series.iter().any(|series| series.labels.contains_key("node"));
        prop_assert_eq!(one_by_one, (1..=nodes_max).contains(&snapshot.nodes.len()));
        let listed = snapshot.nodes.iter().filter(|node| node.health.known().is_some()).count();
        let by_group: f64 = read.all("bramblegate_group_nodes").map(|series| series.value).sum();
        let by_health: f64 = read.all("bramblegate_nodes").map(|series| series.value).sum();
        prop_assert_eq!((by_group, by_health), (listed as f64, listed as f64));
    }
}

/// The documented names and labels.
#[test]
fn the_promised_names_are_there() {
    let mut snapshot = Snapshot { version: "0.1.0".into(), ..Snapshot::default() };
    snapshot.severity = Severity::Warning.into();
    snapshot.nodes = vec![Node {
        name: "rpi1".into(),
        health: NodeHealth::Up.into(),
        rtt_us: Some(310),
        loss_percent: Some(3),
        ..Node::default()
    }];
    snapshot.uplinks = vec![Uplink {
        interface: Some("eth1".into()),
        address: Some("10.99.0.126/24".parse().unwrap()),
        ..Uplink::default()
    }];
    snapshot.shares = vec![Share {
        name: "usb".into(),
        path: "/mnt/usb".into(),
        access: "rw".into(),
        clients: vec!["rpi1".into(), "rpi2".into()],
        errors: Some(3),
        exported: true,
        free_percent: Some(42),
        mounted: true,
        read_only: Some(false),
    }];
    snapshot.alerts = vec![Alert { code: "node-down".into(), ..Alert::default() }];
    (snapshot.panel.lcd.bytes, snapshot.panel.lcd.bus_time_us) = (140, 12_600);
    for openmetrics in [false, true] {
        let read = read(&snapshot, 1000, openmetrics);
        for (name, labels, value) in [
            ("bramblegate_up", &[][..], 1.0),
            ("bramblegate_node_up", &[("node", "rpi1")], 1.0),
            ("bramblegate_node_rtt_seconds", &[("node", "rpi1")], 0.00031),
            ("bramblegate_node_loss_ratio", &[("node", "rpi1")], 0.03),
            ("bramblegate_node_health_changes_total", &[("node", "rpi1")], 0.0),
            ("bramblegate_group_health_changes_total", &[("group", "")], 0.0),
            ("bramblegate_nodes", &[("health", "up")], 1.0),
            (
                "bramblegate_uplink_info",
                &[("interface", "eth1"), ("address", "10.99.0.126/24")],
                1.0,
            ),
            ("bramblegate_severity", &[], 2.0),
            ("bramblegate_alert", &[("code", "node-down"), ("subject", "")], 1.0),
            ("bramblegate_lcd_sent_bytes_total", &[], 140.0),
            ("bramblegate_lcd_bus_seconds_total", &[], 0.0126),
            ("bramblegate_lcd_errors_total", &[], 0.0),
            (
                "bramblegate_share_info",
                &[("share", "usb"), ("path", "/mnt/usb"), ("access", "rw")],
                1.0,
            ),
            ("bramblegate_share_mounted", &[("share", "usb")], 1.0),
            ("bramblegate_share_exported", &[("share", "usb")], 1.0),
            ("bramblegate_share_read_only", &[("share", "usb")], 0.0),
            ("bramblegate_share_free_ratio", &[("share", "usb")], 0.42),
            ("bramblegate_share_errors_total", &[("share", "usb")], 3.0),
            ("bramblegate_share_clients", &[("share", "usb")], 2.0),
            ("bramblegate_build_info", &[("version", "0.1.0")], 1.0),
        ] {
            let found = read
                .all(name)
                .find(|series| labels.iter().all(|(label, text)| series.labels[*label] == *text));
            let found = found.unwrap_or_else(|| panic!("no {name} {labels:?} in {read:#?}"));
            assert!((found.value - value).abs() < 1e-9, "{found:?}");
        }
        assert!(read.value("process_cpu_seconds_total").unwrap() > 0.0);
        assert!(read.value("process_start_time_seconds").unwrap() > 1e9);
    }
}

/// Rules must detect the daemon's end, not see its last values for ever.
#[test]
fn of_a_daemon_that_is_lost_only_that_is_reported() {
    let mut known = known(Snapshot { nodes: vec![Node::default()], ..Snapshot::default() });
    known.lost = Some(("gone".to_owned(), std::time::SystemTime::UNIX_EPOCH));
    for known in [known, Known::default()] {
        let read = Read::of(&encode(&known, &Arc::default(), 1000, true).unwrap(), true);
        assert_eq!(read.value("bramblegate_up"), Some(0.0));
        let rest = |series: &&Series| {
            series.name.starts_with("bramblegate_") && series.name != "bramblegate_up"
        };
        assert_eq!(read.series.iter().find(rest), None);
        assert!(read.value("process_resident_memory_bytes").unwrap() > 0.0);
    }
}

#[test]
fn the_format_is_the_one_asked_for() {
    // As Prometheus 2.42 asks, then a browser, curl, and a client that prefers text.
    let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;\
                      version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    assert!(wants_openmetrics(prometheus));
    assert!(!wants_openmetrics("text/html,application/xhtml+xml,*/*;q=0.8"));
    assert!(!wants_openmetrics("*/*"));
    assert!(!wants_openmetrics("text/plain;version=0.0.4,application/openmetrics-text;q=0.5"));
}
