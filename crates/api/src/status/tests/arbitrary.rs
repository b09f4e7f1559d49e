//! Strategies for arbitrary lines.

use std::net::IpAddr;

use ipnet::IpNet;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

use super::super::*;

/// Untrusted texts: quotation marks, escapes, fragments of JSON.
fn text() -> BoxedStrategy<Text> {
    let tricky = r#","nodes":[]"#;
    prop_oneof![any::<String>(), Just(tricky.to_owned()), "[a-z0-9-]{1,12}"]
        .prop_map(Text::from)
        .boxed()
}

/// Mostly known words.
fn word<T: Copy + std::fmt::Debug + Send + Sync + 'static>(
    all: &'static [T],
) -> BoxedStrategy<Word<T>> {
    prop_oneof![9 => select(all).prop_map(Word::Known), 1 => "new-[a-z]{1,5}".prop_map(|word| Word::Other(word.into()))]
        .boxed()
}

fn net() -> BoxedStrategy<IpNet> {
    (any::<IpAddr>(), 0..=32u8)
        .prop_map(|(address, length)| IpNet::new(address, length).unwrap())
        .boxed()
}

fn list<S: Strategy + 'static>(item: S) -> BoxedStrategy<Vec<S::Value>> {
    prop::collection::vec(item, 0..4).boxed()
}

fn alert() -> BoxedStrategy<Alert> {
    (any::<bool>(), text(), word(&Severity::ALL), of(text()), text())
        .prop_map(|(acknowledged, code, severity, subject, text)| Alert {
            acknowledged,
            code,
            severity,
            subject,
            text,
        })
        .boxed()
}

fn uplink() -> BoxedStrategy<Uplink> {
    let addresses = (of(net()), of(list(net())), of(any::<IpAddr>()));
    let ages = (of(any::<u64>()), of(any::<u64>()), of(any::<u64>()));
    let words = (of(word(&DhcpProgress::ALL)), word(&UplinkState::ALL), of(text()), of(text()));
    let venue = (of(word(&VenueKind::ALL)), of(list(text())), of(text()));
    (addresses, ages, words, venue)
        .prop_map(|((address, addresses, gateway), (lease, late, since), words, venue)| {
            let (venue, venue_reasons, nat64_prefix) = venue;
            let (dhcp, state, interface, portal_url) = words;
            let (lease_left_s, not_renewed_s, since_s) = (lease, late, since);
            Uplink {
                address,
                addresses,
                dhcp,
                gateway,
                interface,
                lease_left_s,
                nat64_prefix,
                not_renewed_s,
                portal_url,
                since_s,
                state,
                venue,
                venue_reasons,
            }
        })
        .boxed()
}

fn gateway() -> BoxedStrategy<Gateway> {
    let blocker = (of(text()), text(), of(text()));
    let blocker = blocker.prop_map(|(chain, remedy, table)| Blocker { chain, remedy, table });
    (any::<(u64, bool, Option<bool>, Option<bool>, u64)>(), of(blocker), word(&Overlap::ALL))
        .prop_map(
            |(
                (applied, forwarding, ipv6_forwarding, masquerade, repaired),
                blocked_by,
                overlap,
            )| Gateway {
                applied,
                blocked_by,
                forwarding,
                ipv6_forwarding,
                masquerade,
                overlap,
                repaired,
            },
        )
        .boxed()
}

fn rule() -> BoxedStrategy<Rule> {
    (any::<(u64, u64)>(), text(), text())
        .prop_map(|((bytes, packets), chain, rule)| Rule { bytes, chain, packets, rule })
        .boxed()
}

fn cluster() -> BoxedStrategy<Cluster> {
    let counts = any::<(usize, Option<usize>, usize, usize)>();
    let ipv6 = (of(net()), of(net()), of(net()), word(&DhcpStatus::ALL)).prop_map(
        |(address, prefix, delegated, state)| ClusterIpv6 { address, prefix, delegated, state },
    );
    (net(), of(ipv6), word(&DhcpStatus::ALL), of(text()), counts)
        .prop_map(|(address, ipv6, dhcp, interface, (leases, range_size, total, up))| Cluster {
            address: Some(address),
            dhcp,
            interface,
            ipv6,
            leases,
            range_size,
            total,
            up,
        })
        .boxed()
}

fn host() -> BoxedStrategy<Host> {
    type Percent = Option<u8>;
    let percents = any::<(Percent, Percent, Percent, Percent, Percent, Percent)>();
    let facts =
        any::<(Option<bool>, Option<bool>, Option<i32>, Option<bool>, Option<bool>, Option<u32>)>();
    (percents, facts)
        .prop_map(
            |(
                (disk, inodes, memory, a, b, c),
                (clock_set, read_only, temperature_c, slow, low, load),
            )| Host {
                clock_set,
                disk_free_percent: disk,
                inodes_free_percent: inodes,
                load: load.map(|load| f64::from(load) / 100.0),
                memory_available_percent: memory,
                pressure_percent: Pressure { disk: a, memory: b, processor: c },
                read_only,
                temperature_c,
                throttled: slow,
                under_voltage: low,
            },
        )
        .boxed()
}

fn node() -> BoxedStrategy<Node> {
    let words = (word(&NodeHealth::ALL), word(&Origin::ALL));
    let texts = (text(), of(text()), of(text()), of(text()));
    let addresses = list(any::<IpAddr>());
    (texts, words, addresses, any::<(Option<IpAddr>, Option<u64>, Option<u8>, u64)>())
        .prop_map(|((name, mac, stage, group), (health, origin), addresses, numbers)| {
            let (address, rtt_us, loss_percent, since_s) = numbers;
            Node {
                name,
                mac,
                address,
                addresses,
                health,
                stage,
                rtt_us,
                loss_percent,
                since_s,
                origin,
                group,
            }
        })
        .boxed()
}

fn panel() -> BoxedStrategy<Panel> {
    let signal =
        (text(), word(&Pattern::ALL)).prop_map(|(colour, pattern)| Signal { colour, pattern });
    let counts = any::<(u64, u64, u64, Option<bool>)>();
    let lcd = (counts, of(list(text())), word(&DeviceState::ALL));
    let lcd = lcd.prop_map(|((bytes, errors, bus_time_us, backlight), lines, state)| Lcd {
        backlight,
        bus_time_us,
        bytes,
        errors,
        lines,
        state,
    });
    let led = (of(text()), of(list(signal)), of(word(&Pattern::ALL)), word(&DeviceState::ALL));
    let led = led.prop_map(|(colour, leds, pattern, state)| Led { colour, leds, pattern, state });
    (lcd, led).prop_map(|(lcd, led)| Panel { lcd, led }).boxed()
}

fn web() -> BoxedStrategy<Option<Web>> {
    of(any::<u16>().prop_map(|port| Web { port })).boxed()
}

fn venue() -> BoxedStrategy<Option<Word<VenueKind>>> {
    of(word(&VenueKind::ALL)).boxed()
}

fn clat() -> BoxedStrategy<Option<Clat>> {
    let clat = (text(), of(text()), word(&ClatState::ALL));
    of(clat.prop_map(|(by, prefix, state)| Clat { by, prefix, state })).boxed()
}

fn shutdown() -> BoxedStrategy<Option<Shutdown>> {
    let report = (any::<(bool, u64, usize)>(), list(text()));
    of(report.prop_map(|((head, left_s, waiting_total), waiting)| Shutdown {
        head,
        left_s,
        waiting,
        waiting_total,
    }))
    .boxed()
}

fn share() -> BoxedStrategy<Share> {
    let numbers = any::<(Option<u64>, Option<u8>, Option<bool>, bool, bool)>();
    (text(), text(), text(), list(text()), numbers)
        .prop_map(|(access, name, path, clients, numbers)| {
            let (errors, free_percent, read_only, exported, mounted) = numbers;
            Share {
                access,
                clients,
                errors,
                exported,
                free_percent,
                mounted,
                name,
                path,
                read_only,
            }
        })
        .boxed()
}

pub fn snapshot() -> BoxedStrategy<Snapshot> {
    let head = (text(), any::<u64>(), word(&Severity::ALL), list(alert()));
    let middle = (uplink(), list(uplink()), gateway(), list(rule()), cluster());
    (
        head,
        middle,
        of(host()),
        list(node()),
        (panel(), list(share()), web(), venue(), clat(), shutdown()),
    )
        .prop_map(|(head, middle, host, nodes, (panel, shares, web, venue, clat, shutdown))| {
            let (version, uptime_s, severity, alerts) = head;
            let (uplink, uplinks, gateway, rules, cluster) = middle;
            Snapshot {
                version,
                uptime_s,
                severity,
                alerts,
                uplink,
                uplinks,
                gateway,
                rules,
                cluster,
                host,
                nodes,
                panel,
                shares,
                web,
                venue,
                clat,
                shutdown,
                ..Snapshot::default()
            }
        })
        .boxed()
}

fn change() -> BoxedStrategy<Change> {
    let head = (1..u64::MAX, of(word(&Severity::ALL)), of(list(alert())));
    let middle = (of(uplink()), of(list(uplink())), of(gateway()), of(list(rule())), of(cluster()));
    let tail =
        (of(of(host())), (of(panel()), of(list(share())), of(web())), list(node()), list(text()));
    let last = (of(venue()), of(clat()), of(shutdown()));
    (head, middle, tail, last)
        .prop_map(|((seq, severity, alerts), middle, tail, (venue, clat, shutdown))| {
            let (uplink, uplinks, gateway, rules, cluster) = middle;
            let (host, (panel, shares, web), nodes, nodes_removed) = tail;
            Change {
                seq,
                severity,
                alerts,
                uplink,
                uplinks,
                gateway,
                rules,
                cluster,
                host,
                panel,
                shares,
                web,
                venue,
                clat,
                shutdown,
                nodes,
                nodes_removed,
                ..Change::default()
            }
        })
        .boxed()
}

pub fn line() -> BoxedStrategy<Line> {
    prop_oneof![
        snapshot().prop_map(|snapshot| Line::Snapshot(Box::new(snapshot))),
        change().prop_map(|change| Line::Change(Box::new(change))),
        text().prop_map(|reason| Line::Refused(Refused { reason, ..Refused::default() })),
    ]
    .boxed()
}
