//! Interface settings and addresses in the kernel.

use std::path::PathBuf;
use std::time::Duration;

use bramblegate::config::VitalLimits;
use bramblegate::decide::{InterfaceConf, LinkPlan, PortPlan, ROUTE_PROTOCOL};
use bramblegate::event::{Applied, ApplyErrorKind, Change, Delegated, Dump, Event, VitalsPlan};
use bramblegate::reconcile::Reconciler;
use bramblegate::reconcile::link::{LinkReconciler, record};
use bramblegate::reconcile::worker::{self, InFlight, Order, order};
use bramblegate::watch::{host, link};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::frame::Trial;
use crate::lab::{sh, trial};
use crate::netlink::block_on;

pub fn tests() -> Vec<Trial> {
    vec![
        trial("links::settings_and_addresses_are_set_and_put_back", set_and_restore),
        trial("links::addresses_of_others_stay", others_stay),
        trial("links::a_missing_port_is_absent_and_the_others_get_theirs", missing_port),
        trial("links::an_uplink_without_ipv4_is_named_and_the_others_get_theirs", odd_uplink),
        trial("links::a_port_that_leaves_the_plan_is_put_back", leaves_the_plan),
        trial("links::what_settings_of_an_earlier_run_changed_is_put_back", earlier_settings),
        trial("links::a_setting_that_leaves_the_plan_is_put_back_at_once", leaves_open),
        trial("links::forwarding_that_others_want_stays", forwarding_that_others_want_stays),
        trial("links::what_others_undid_is_put_back_when_the_reconciler_is_rung", given_back),
        trial("links::only_a_delegated_prefix_counts_as_one", delegated_prefixes),
        trial("links::a_route_whose_lifetime_has_ended_is_none", expired_route),
        trial("links::settings_that_the_kernel_does_not_report_are_read", settings_are_read),
    ]
}

/// Among unreachable routes, only that of a DHCPv6 client, for global addresses in which a node can
/// configure its own.
fn delegated_prefixes() {
    sh("ip link set lo up; cd /proc/sys/net/ipv6/conf; echo 0 > all/disable_ipv6
        for route in '2001:db8:100::/56 proto dhcp' '2001:db8:200::/64 proto dhcp metric 7' \
            '2001:db8:300::/56 proto static' '2001:db8:400::/65 proto dhcp' \
            'fd00:5::/56 proto dhcp' 'default proto dhcp'; do
            ip -6 route add unreachable $route
        done
        ip -6 route add blackhole 2001:db8:600::/56 proto dhcp
        ip route add unreachable 10.7.0.0/16 proto dhcp");
    let events = link::snapshot().unwrap();
    let mut prefixes: Vec<String> = events
        .into_iter()
        .filter_map(|event| match event {
            Event::Delegated(Change::Present(Delegated(prefix))) => Some(prefix.to_string()),
            _ => None,
        })
        .collect();
    prefixes.sort();
    assert_eq!(prefixes, ["2001:db8:100::/56", "2001:db8:200::/64"]);
}

/// The kernel lists an expired route for up to half a minute more, and an advertisement may renew
/// or revive it without a notification.
fn expired_route() {
    ports();
    sh("cd /proc/sys/net/ipv6/conf; echo 0 > all/disable_ipv6; echo 0 > uplink/accept_dad
        ip -6 addr add 2001:db8:7::2/64 dev uplink nodad");
    let index = index_of("uplink");
    block_on(async {
        let (sender, mut events) = mpsc::channel(4096);
        let watching = tokio::spawn(link::run(sender));
        let mut present = false;
        let mut follow = async |seconds: u64, until: bool| {
            let end = tokio::time::Instant::now() + Duration::from_secs(seconds);
            let mut listed: Option<bool> = None;
            while present != until {
                let event = tokio::time::timeout_at(end, events.recv()).await.ok()??;
                match event {
                    Event::Dump(Dump::Begin) => listed = Some(false),
                    Event::Dump(Dump::End) => present = listed.take().unwrap_or(present),
                    Event::Route(change) => {
                        let (Change::Present(route) | Change::Gone(route)) = &change;
                        let default = route.index == index
                            && route.destination.prefix_len() == 0
                            && route.destination.addr().is_ipv6();
                        let held = matches!(change, Change::Present(_));
                        if default && listed.is_some() {
                            listed = Some(held);
                        } else if default {
                            present = held;
                        }
                    }
                    _ => {}
                }
            }
            Some(())
        };
        sh("ip -6 route add default via fe80::1 dev uplink proto ra expires 3");
        assert!(follow(2, true).await.is_some(), "it is there");
        assert!(follow(2, false).await.is_none(), "until its end");
        assert!(follow(3, false).await.is_some(), "and no longer");
        let listed = sh("ip -6 route show default");
        assert!(listed.contains("expires -"), "the kernel still lists it: {listed}");
        watching.abort();
    });
}

struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        Self(PathBuf::from(sh("mktemp -d").trim()))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn ports() {
    sh("ip link add cluster type veth peer name c1; ip link add uplink type veth peer name u1
        ip link set c1 up; ip link set u1 up; ip link set uplink up; ip addr add 10.9.0.2/24 dev uplink");
}

pub fn index_of(name: &str) -> u32 {
    let events = link::snapshot().unwrap();
    let found = events.into_iter().find_map(|event| match event {
        Event::Link(Change::Present(link)) if link.name == name => Some(link.index),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("no {name}"))
}

fn port(name: &str, addresses: &[&str]) -> PortPlan {
    PortPlan {
        index: index_of(name),
        name: name.into(),
        up: true,
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        ipv6: None,
        conf: InterfaceConf {
            forwarding: Some(true),
            arp_ignore: Some(1),
            arp_announce: Some(2),
            rp_filter: Some(2),
            accept_local: None,
            ignore_routes_with_linkdown: Some(true),
            accept_redirects: Some(0),
            send_redirects: Some(0),
            accept_source_route: Some(0),
        },
    }
}

fn plan(ports: Vec<PortPlan>) -> LinkPlan {
    LinkPlan { ports }
}

/// Returns the IPv4 addresses of an interface, sorted as text.
fn addresses(name: &str) -> String {
    sh(&format!("ip -o -4 addr show dev {name} | awk '{{print $4}}' | sort | xargs"))
        .trim()
        .to_owned()
}

/// Returns forwarding, arp_ignore, arp_announce, rp_filter, accept_redirects, send_redirects,
/// accept_source_route.
fn conf(name: &str) -> String {
    let read = format!(
        "cd /proc/sys/net/ipv4/conf/{name} && cat forwarding arp_ignore arp_announce rp_filter \
         accept_redirects send_redirects accept_source_route | xargs"
    );
    sh(&read).trim().to_owned()
}

fn set_and_restore() {
    ports();
    let directory = Directory::new();
    sh(
        "cd /proc/sys/net/ipv4/conf/uplink; echo 1 | tee rp_filter accept_redirects send_redirects accept_source_route",
    );
    let before = (conf("uplink"), conf("cluster"));
    block_on(async {
        let wanted = plan(vec![port("cluster", &["192.168.50.1/24"]), port("uplink", &[])]);
        assert_eq!(
            LinkReconciler::new(&directory.0).apply(&wanted).await,
            Ok(Applied::Link { unkept: None })
        );
        // The record of an earlier run is kept by the next: the values before the first run count.
        assert_eq!(
            LinkReconciler::new(&directory.0).apply(&wanted).await,
            Ok(Applied::Link { unkept: None })
        );
        assert_eq!(sh("cat /proc/sys/net/ipv4/ip_forward").trim(), "0");
        assert_eq!(
            (conf("uplink"), conf("cluster")),
            ("1 1 2 2 0 0 0".into(), "1 1 2 2 0 0 0".into())
        );
        assert_eq!(addresses("cluster"), "192.168.50.1/24");
        assert!(sh("ip -o link show cluster").contains("state UP"));
        let marked = link::snapshot().unwrap().into_iter().any(|event| match event {
            Event::Address(Change::Present(reported)) => {
                reported.protocol == ROUTE_PROTOCOL && reported.index == index_of("cluster")
            }
            _ => false,
        });
        assert!(marked, "the source knows it as ours");
        assert!(record(&directory.0).exists());
        let done = LinkReconciler::new(&directory.0).put_back().unwrap();
        assert!(done.iter().any(|line| line.contains("192.168.50.1/24")), "{done:?}");
    });
    assert_eq!((conf("uplink"), conf("cluster")), before);
    assert_eq!((addresses("cluster"), addresses("uplink")), (String::new(), "10.9.0.2/24".into()));
    assert!(!record(&directory.0).exists());
}

fn others_stay() {
    ports();
    sh("ip addr add 192.168.50.1/24 dev cluster; ip addr add 192.168.50.9/24 dev cluster");
    let directory = Directory::new();
    block_on(async {
        let mut reconciler = LinkReconciler::new(&directory.0);
        reconciler
            .apply(&plan(vec![port("cluster", &["192.168.50.1/24", "10.213.50.1/24"])]))
            .await
            .unwrap();
        sh("ip addr add 10.213.50.7/24 dev cluster");
        reconciler.apply(&plan(vec![port("cluster", &["172.30.50.1/24"])])).await.unwrap();
        // .1 existed before the gateway, and .7 of the removed subnet was never the gateway's.
        assert_eq!(
            addresses("cluster"),
            "10.213.50.7/24 172.30.50.1/24 192.168.50.1/24 192.168.50.9/24"
        );
        LinkReconciler::new(&directory.0).put_back().unwrap();
        assert_eq!(addresses("cluster"), "10.213.50.7/24 192.168.50.1/24 192.168.50.9/24");
    });
}

fn missing_port() {
    ports();
    let directory = Directory::new();
    block_on(async {
        let gone =
            PortPlan { index: 4711, name: "usb0".into(), ..port("uplink", &["10.1.1.1/24"]) };
        let mut reconciler = LinkReconciler::new(&directory.0);
        let error = reconciler
            .apply(&plan(vec![gone, port("cluster", &["192.168.50.1/24"])]))
            .await
            .unwrap_err();
        assert_eq!(error.kind, ApplyErrorKind::Absent);
        assert!(error.message.contains("usb0"), "{error}");
        assert_eq!(addresses("cluster"), "192.168.50.1/24");
    });
}

/// The kernel removes IPv4 from an interface whose MTU falls below 68: it has no IPv4 settings
/// then, and does not answer ARP. Here `lo` is such an uplink, as most drivers refuse such an MTU.
fn odd_uplink() {
    ports();
    sh("ip link set lo mtu 60");
    let directory = Directory::new();
    block_on(async {
        let mut reconciler = LinkReconciler::new(&directory.0);
        let wanted =
            plan(vec![port("lo", &[]), port("uplink", &[]), port("cluster", &["192.168.50.1/24"])]);
        let error = reconciler.apply(&wanted).await.unwrap_err();
        assert_eq!(error.kind, ApplyErrorKind::Absent, "{error}");
        assert!(error.message.contains("lo: "), "{error}");
        assert_eq!(
            (conf("uplink"), conf("cluster")),
            ("1 1 2 2 0 0 0".into(), "1 1 2 2 0 0 0".into())
        );
        assert_eq!(addresses("cluster"), "192.168.50.1/24");
        sh("ip link set lo mtu 1500");
        assert_eq!(reconciler.apply(&wanted).await, Ok(Applied::Link { unkept: None }));
        assert_eq!(conf("lo"), "1 1 2 2 0 0 0");
    });
}

fn leaves_the_plan() {
    ports();
    let directory = Directory::new();
    let before = conf("uplink");
    block_on(async {
        let mut reconciler = LinkReconciler::new(&directory.0);
        let (cluster, uplink) = (port("cluster", &["192.168.50.1/24"]), port("uplink", &[]));
        reconciler.apply(&plan(vec![cluster.clone(), uplink])).await.unwrap();
        reconciler.apply(&plan(vec![cluster])).await.unwrap();
        assert_eq!((conf("uplink"), conf("cluster")), (before, "1 1 2 2 0 0 0".into()));
    });
}

/// Docker and other programs set `net.ipv4.ip_forward` later: their networks need forwarding on
/// every interface.
fn forwarding_that_others_want_stays() {
    ports();
    let directory = Directory::new();
    block_on(async {
        let mut reconciler = LinkReconciler::new(&directory.0);
        let (cluster, uplink) = (port("cluster", &["192.168.50.1/24"]), port("uplink", &[]));
        reconciler.apply(&plan(vec![cluster.clone(), uplink])).await.unwrap();
        sh("echo 1 > /proc/sys/net/ipv4/ip_forward");
        reconciler.apply(&plan(vec![cluster])).await.unwrap();
        assert_eq!(conf("uplink"), "1 0 0 0 1 1 1", "it has left the plan");
        LinkReconciler::new(&directory.0).put_back().unwrap();
        assert_eq!(
            (conf("uplink"), conf("cluster")),
            ("1 0 0 0 1 1 1".into(), "1 0 0 0 1 1 1".into())
        );
    });
}

fn earlier_settings() {
    ports();
    sh("ip link add other type veth peer name o1; ip addr add 10.8.0.2/24 dev cluster");
    let directory = Directory::new();
    let before = conf("cluster");
    block_on(async {
        let mut earlier = LinkReconciler::new(&directory.0);
        earlier
            .apply(&plan(vec![
                port("uplink", &["172.30.50.1/24"]),
                port("cluster", &["192.168.50.1/24"]),
            ]))
            .await
            .unwrap();
        let mut now = LinkReconciler::new(&directory.0);
        now.apply(&plan(vec![port("uplink", &[]), port("other", &["192.168.50.1/24"])]))
            .await
            .unwrap();
    });
    assert_eq!(
        (addresses("cluster"), conf("cluster")),
        ("10.8.0.2/24".into(), before),
        "no longer one of our ports"
    );
    assert_eq!(addresses("uplink"), "10.9.0.2/24", "another role");
    assert_eq!(addresses("other"), "192.168.50.1/24");
    // The venue leases the earlier uplink an address that the gateway once had there.
    sh("ip addr add 172.30.50.1/24 dev uplink");
    block_on(async {
        let mut now = LinkReconciler::new(&directory.0);
        now.apply(&plan(vec![port("uplink", &[]), port("other", &["192.168.50.1/24"])]))
            .await
            .unwrap();
        LinkReconciler::new(&directory.0).put_back().unwrap();
    });
    assert_eq!(addresses("uplink"), "10.9.0.2/24 172.30.50.1/24");
}

/// When an overlap ends, or the cluster interface was an uplink before.
fn leaves_open() {
    ports();
    sh("echo 1 > /proc/sys/net/ipv4/conf/cluster/rp_filter");
    let directory = Directory::new();
    let read = || {
        sh("cd /proc/sys/net/ipv4/conf/cluster; cat rp_filter ignore_routes_with_linkdown | xargs")
            .trim()
            .to_owned()
    };
    let mut open = port("cluster", &["192.168.50.1/24"]);
    open.conf = InterfaceConf { rp_filter: None, ignore_routes_with_linkdown: None, ..open.conf };
    let open = plan(vec![open]);
    block_on(async {
        let mut reconciler = LinkReconciler::new(&directory.0);
        reconciler.apply(&plan(vec![port("cluster", &["192.168.50.1/24"])])).await.unwrap();
        assert_eq!(read(), "2 1");
        reconciler.apply(&open).await.unwrap();
        assert_eq!(read(), "1 0");
        assert_eq!(conf("cluster"), "1 1 2 1 0 0 0", "the rest stays");
        // From now on another program may own it.
        sh("echo 0 > /proc/sys/net/ipv4/conf/cluster/rp_filter");
        reconciler.apply(&open).await.unwrap();
        assert_eq!(read(), "0 0");
        reconciler.apply(&plan(vec![port("cluster", &["192.168.50.1/24"])])).await.unwrap();
        // A restart in between.
        LinkReconciler::new(&directory.0).apply(&open).await.unwrap();
        assert_eq!(read(), "0 0");
    });
}

/// The kernel sends no event about `arp_ignore`: the watch reads it, whatever its target value.
fn settings_are_read() {
    ports();
    let number = index_of("cluster");
    let limits = VitalLimits {
        temperature_above: 80,
        memory_free_below: None,
        disk_free_below: None,
        pressure: None,
    };
    let plan = VitalsPlan { ports: vec![number], limits: Some(limits), ..VitalsPlan::default() };
    block_on(async {
        let (plan, wanted) = watch::channel(plan);
        let (sender, mut events) = mpsc::channel(64);
        let task = tokio::spawn(host::run(sender, wanted));
        for value in [1, 0] {
            sh(&format!("echo {value} > /proc/sys/net/ipv4/conf/cluster/arp_ignore"));
            // A new plan triggers a check, like a minute without one.
            plan.send_modify(|plan| plan.tables = !plan.tables);
            loop {
                let Some(event) = events.recv().await else { panic!("the watch ended") };
                let Event::Netconf(conf) = event else { continue };
                assert_eq!((conf.index, conf.forwarding), (number, Some(false)));
                if conf.arp_ignore == Some(value) {
                    break;
                }
            }
        }
        task.abort();
    });
}

fn given_back() {
    ports();
    let directory = Directory::new();
    block_on(async {
        let wanted = plan(vec![port("cluster", &["192.168.50.1/24"])]);
        let (desired, orders) = watch::channel(Order::default());
        let (sender, mut events) = mpsc::channel(4);
        let path = directory.0.clone();
        let anew = move || LinkReconciler::new(&path);
        let task = tokio::spawn(worker::run(anew(), anew, orders, sender, InFlight::default()));
        order(&desired, &wanted, false);
        assert!(matches!(events.recv().await, Some(Event::Applied(_))));
        sh("ip addr flush dev cluster; echo 0 > /proc/sys/net/ipv4/conf/cluster/forwarding");
        order(&desired, &wanted, false);
        let looks = timeout(Duration::from_millis(50), events.recv()).await;
        assert!(looks.is_err(), "an equal plan is no work: {looks:?}");
        assert_eq!(addresses("cluster"), "");
        order(&desired, &wanted, true);
        assert!(matches!(events.recv().await, Some(Event::Applied(_))));
        assert_eq!(
            (addresses("cluster"), conf("cluster")),
            ("192.168.50.1/24".into(), "1 1 2 2 0 0 0".into())
        );
        drop(desired);
        task.await.unwrap();
    });
}
