//! Policy routing in the kernel, and the lookup of the path that it would take.

use bramblegate::decide::{
    MARK_CLUSTER, MARK_ELSEWHERE, ROUTE_PROTOCOL, RULE_PREFERENCE, RoutingPlan,
};
use bramblegate::decide::{TABLE_CLUSTER, TABLE_UPLINK};
use bramblegate::event::INTERNET;
use bramblegate::event::{
    Applied, ApplyErrorKind, Astray, Change, Event, Flow, LinkIndex, Route, Rule, Way,
};
use bramblegate::netlink::{Protocol, Socket};
use bramblegate::reconcile::Reconciler;
use bramblegate::reconcile::routing::{RoutingReconciler, restore};
use bramblegate::watch::link::snapshot;
use bramblegate::watch::routing::{astray, egress};

use crate::frame::Trial;
use crate::lab::{sh, trial};
use crate::links::index_of;
use crate::netlink::block_on;

pub fn tests() -> Vec<Trial> {
    vec![
        trial("routing::the_plan_comes_and_goes_and_entries_of_others_stay", comes_and_goes),
        trial("routing::a_new_gateway_takes_the_old_ones_place", new_gateway),
        trial("routing::a_gateway_that_is_our_own_address_elsewhere_is_accepted", own_gateway),
        trial("routing::an_uplink_that_has_gone_does_not_hold_up_the_rest", gone_uplink),
        trial("routing::a_route_whose_source_is_not_there_yet_waits_for_it", missing_source),
        trial("routing::the_way_out_is_the_kernels", which_way_out),
        trial("routing::rules_with_marks_and_limits_are_known_again", known_again),
        trial("routing::what_another_rule_takes_is_found", found_astray),
    ]
}

fn ports() -> (LinkIndex, LinkIndex) {
    sh("ip link add cluster type veth peer name c1; ip link add uplink type veth peer name u1
        for port in c1 u1 uplink cluster; do ip link set $port up; done
        ip addr add 192.168.50.77/24 dev uplink; ip addr add 192.168.50.1/24 dev cluster");
    (index_of("cluster"), index_of("uplink"))
}

fn route(table: u32, index: LinkIndex, destination: &str, gateway: Option<&str>) -> Route {
    Route {
        table,
        destination: destination.parse().unwrap(),
        gateway: gateway.map(|gateway| gateway.parse().unwrap()),
        index,
        metric: 0,
        protocol: ROUTE_PROTOCOL,
        onlink: false,
        preferred_source: None,
    }
}

fn rule(
    offset: u32,
    table: u32,
    source: Option<&str>,
    destination: Option<&str>,
    output: Option<&str>,
) -> Rule {
    Rule {
        preference: RULE_PREFERENCE + offset,
        ipv6: false,
        source: source.map(|net| net.parse().unwrap()),
        destination: destination.map(|net| net.parse().unwrap()),
        output: output.map(Into::into),
        input: None,
        mark: None,
        suppress: None,
        table,
        protocol: ROUTE_PROTOCOL,
        flow: Flow::default(),
    }
}

/// The overlap: venue and cluster both use 192.168.50.0/24.
fn overlap(cluster: LinkIndex, uplink: LinkIndex, gateway: &str) -> RoutingPlan {
    let table = TABLE_UPLINK + uplink;
    RoutingPlan {
        routes: [
            route(TABLE_CLUSTER, cluster, "192.168.50.0/24", None),
            route(table, uplink, "192.168.50.0/24", None),
            route(table, uplink, "0.0.0.0/0", Some(gateway)),
        ]
        .into(),
        rules: [
            rule(0, table, Some("192.168.50.77/32"), None, None),
            rule(1, table, None, None, Some("uplink")),
            rule(2, TABLE_CLUSTER, None, Some("192.168.50.0/24"), None),
        ]
        .into(),
    }
}

fn ours() -> String {
    sh("ip rule | grep 'proto 98' || true; ip route show table all proto 98")
}

fn comes_and_goes() {
    let (cluster, uplink) = ports();
    sh(
        "ip rule add pref 5105 from 10.0.0.0/8 lookup 77; ip route add 10.7.0.0/16 via 192.168.50.9 table 77",
    );
    block_on(async {
        let plan = overlap(cluster, uplink, "192.168.50.254");
        assert_eq!(
            RoutingReconciler::default().apply(&plan).await,
            Ok(Applied::Routing { drifted: false })
        );
        let first = ours();
        assert_eq!(first.lines().count(), 6, "{first}");
        assert_eq!(
            RoutingReconciler::default().apply(&plan).await,
            Ok(Applied::Routing { drifted: false })
        );
        assert_eq!(ours(), first, "the second time there is nothing to do");
        let mut reconciler = RoutingReconciler::default();
        for (done, drifted) in [
            ("true", false),
            ("ip rule del pref 5101", true),
            ("ip route flush table 50980", false),
        ] {
            sh(done);
            assert_eq!(reconciler.apply(&plan).await, Ok(Applied::Routing { drifted }), "{done}");
            assert_eq!(ours(), first, "{done}");
        }
        reconciler.apply(&RoutingPlan::default()).await.unwrap();
        assert_eq!(
            reconciler.apply(&plan).await,
            Ok(Applied::Routing { drifted: false }),
            "no other program took them away"
        );
        assert!(sh("ip route get 192.168.50.11").contains("dev cluster"));
        assert!(sh("ip route get 192.168.50.30 from 192.168.50.77").contains("dev uplink"));
        assert!(
            sh("ip route get 198.41.0.4 from 192.168.50.77")
                .contains("via 192.168.50.254 dev uplink")
        );
        assert_eq!(restore().await.unwrap().len(), 6);
        assert_eq!(ours(), "");
        assert!(sh("ip rule; ip route show table 77").contains("10.7.0.0/16 via 192.168.50.9"));
        assert!(sh("ip rule").contains("5105:"));
    });
}

fn new_gateway() {
    let (cluster, uplink) = ports();
    block_on(async {
        let mut reconciler = RoutingReconciler::default();
        reconciler.apply(&overlap(cluster, uplink, "192.168.50.254")).await.unwrap();
        reconciler.apply(&overlap(cluster, uplink, "192.168.50.253")).await.unwrap();
        assert!(!ours().contains("192.168.50.254"), "{}", ours());
        assert!(ours().contains("default via 192.168.50.253"), "{}", ours());
    });
}

/// The venue's gateway has the head's own cluster address: without `onlink` the kernel accepts it.
fn own_gateway() {
    let (cluster, uplink) = ports();
    block_on(async {
        RoutingReconciler::default()
            .apply(&overlap(cluster, uplink, "192.168.50.1"))
            .await
            .unwrap();
        assert!(ours().contains("default via 192.168.50.1"), "{}", ours());
        // A gateway without a route to it is accepted too, by `onlink`.
        RoutingReconciler::default().apply(&overlap(cluster, uplink, "203.0.113.1")).await.unwrap();
        assert!(ours().contains("default via 203.0.113.1"), "{}", ours());
    });
}

fn gone_uplink() {
    let (cluster, uplink) = ports();
    let mut plan = overlap(cluster, uplink, "192.168.50.254");
    plan.routes.insert(route(TABLE_UPLINK + 4711, 4711, "0.0.0.0/0", None));
    block_on(async {
        let error = RoutingReconciler::default().apply(&plan).await.unwrap_err();
        assert_eq!(error.kind, ApplyErrorKind::Absent, "{error}");
        assert_eq!(ours().lines().count(), 6, "{}", ours());
    });
}

/// `ip addr flush` on the cluster interface: another reconciler restores the address, a moment
/// earlier or later.
fn missing_source() {
    let (cluster, uplink) = ports();
    let mut plan = overlap(cluster, uplink, "192.168.50.254");
    let from = |source: &str| Route {
        preferred_source: Some(source.parse().unwrap()),
        ..route(TABLE_CLUSTER, cluster, "192.168.50.0/24", None)
    };
    plan.routes.retain(|route| route.table != TABLE_CLUSTER);
    plan.routes.insert(from("192.168.50.1"));
    sh("ip addr flush dev cluster");
    block_on(async {
        let mut reconciler = RoutingReconciler::default();
        let error = reconciler.apply(&plan).await.unwrap_err();
        assert_eq!(error.kind, ApplyErrorKind::Waiting, "{error}");
        assert_eq!(ours().lines().count(), 5, "the rest is there: {}", ours());
        sh("ip addr add 192.168.50.1/24 dev cluster");
        assert_eq!(reconciler.apply(&plan).await, Ok(Applied::Routing { drifted: false }));
        assert!(
            ours().contains("192.168.50.0/24 dev cluster table 50980 scope link src 192.168.50.1"),
            "{}",
            ours()
        );
        plan.routes.insert(route(TABLE_CLUSTER, 4711, "10.0.0.0/8", None));
        sh("ip addr flush dev cluster");
        let error = reconciler.apply(&plan).await.unwrap_err();
        assert_eq!(
            error.kind,
            ApplyErrorKind::Absent,
            "what has another cause is reported: {error}"
        );
    });
}

fn which_way_out() {
    sh("ip link add cluster type veth peer name c1; ip link add uplink type veth peer name u1
        ip link add wg0 type veth peer name w1
        for port in c1 u1 w1 uplink cluster wg0; do ip link set $port up; done
        ip addr add 10.9.0.2/24 dev uplink; ip addr add 192.168.50.1/24 dev cluster; ip addr add 10.8.0.2/24 dev wg0
        echo 1 > /proc/sys/net/ipv4/conf/cluster/forwarding");
    let (cluster, uplink, vpn) = (index_of("cluster"), index_of("uplink"), index_of("wg0"));
    let mut requests = Socket::open(Protocol::Route, &[]).unwrap();
    let mut ask = || egress(&mut requests, cluster, [192, 168, 50, 2].into(), INTERNET.into());
    assert_eq!(ask(), None);
    sh("ip route add default via 10.9.0.1");
    assert_eq!(ask(), Some(uplink));
    // Like wg-quick.
    sh("ip route add default dev wg0 table 51820; ip rule add not fwmark 51820 table 51820");
    assert_eq!(ask(), Some(vpn));
    sh(
        "ip rule del table 51820; ip route add unreachable default metric 0 table 9; ip rule add pref 1 table 9",
    );
    assert_eq!(ask(), None);
}

/// A rule that the kernel reports differently from the request would be removed and restored for
/// ever.
fn known_again() {
    let (cluster, uplink) = ports();
    let mut plan = overlap(cluster, uplink, "192.168.50.254");
    let table = TABLE_UPLINK + uplink;
    for (place, mark, suppress, input) in [
        (3, Some((0, MARK_ELSEWHERE)), Some(1), None),
        (4, Some((MARK_CLUSTER, MARK_CLUSTER)), None, None),
        (5, Some((0, MARK_ELSEWHERE)), None, Some("cluster".to_owned())),
        (6, None, Some(0), None),
    ] {
        plan.rules.insert(Rule {
            mark,
            suppress,
            input,
            ..rule(place, table, Some("192.168.50.77/32"), None, None)
        });
    }
    let monitor = || sh("ip -d rule show | grep 'proto 98'");
    block_on(async {
        let mut reconciler = RoutingReconciler::default();
        reconciler.apply(&plan).await.unwrap();
        let first = monitor();
        assert_eq!(first.lines().count(), plan.rules.len(), "{first}");
        assert_eq!(
            reconciler.apply(&plan).await,
            Ok(Applied::Routing { drifted: false }),
            "all are known again"
        );
        assert_eq!(monitor(), first);
        assert_eq!(restore().await.unwrap().len(), plan.rules.len() + plan.routes.len());
        assert_eq!(ours(), "");
    });
}

/// The lookup is that of an ordinary packet, and returns the deciding table.
fn found_astray() {
    let (cluster, uplink) = ports();
    sh(
        "ip addr flush dev uplink; ip addr add 10.9.0.2/24 dev uplink; ip route add default via 10.9.0.1",
    );
    let mut requests = Socket::open(Protocol::Route, &[]).unwrap();
    let way = |from: Option<[u8; 4]>, to: [u8; 4], leaves| Way {
        enters: None,
        from: from.map(Into::into),
        to: to.into(),
        leaves,
        uid: 0,
        ip_protocol: None,
        ports: [None; 2],
        tos: 0,
    };
    let ways = [
        way(None, [192, 168, 50, 11], cluster),
        way(Some([10, 9, 0, 2]), [10, 9, 0, 1], uplink),
        way(Some([10, 9, 0, 2]), [198, 41, 0, 4], uplink),
    ];
    let mut ask = || astray(&mut requests, &ways);
    assert_eq!(ask(), []);
    sh("ip link add tun0 type veth peer name t1; ip link set tun0 up; ip link set t1 up
        ip route add default dev tun0 table 52; ip rule add pref 5270 table 52");
    let tunnel = index_of("tun0");
    let found = ask();
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(
        found.iter().all(|astray| (astray.by, astray.table) == (Some(tunnel), Some(52))),
        "{found:?}"
    );
    sh("ip rule del pref 5270; ip rule add pref 7 to 192.168.50.0/24 prohibit");
    assert_eq!(ask(), [Astray { way: ways[0], by: None, table: None }]);
    // A rule for one user or one protocol applies only to those packets.
    sh(
        "ip rule del pref 7; ip rule add pref 7 uidrange 1000-1999 lookup 52; ip rule add pref 8 ipproto tcp lookup 52",
    );
    assert_eq!(ask(), []);
    let narrow = [
        Way { uid: 1000, ..ways[0] },
        Way { uid: 2000, ..ways[0] },
        Way { ip_protocol: Some(6), ..ways[0] },
        Way { ip_protocol: Some(17), ..ways[0] },
    ];
    let found: Vec<Way> = astray(&mut requests, &narrow).iter().map(|astray| astray.way).collect();
    assert_eq!(found, [narrow[0], narrow[2]]);
    // Or for one type of service.
    sh("ip rule add pref 9 tos 0x10 lookup 52");
    let narrow = [Way { tos: 0x10, ..ways[0] }, Way { tos: 0x08, ..ways[0] }];
    let found: Vec<Way> = astray(&mut requests, &narrow).iter().map(|astray| astray.way).collect();
    assert_eq!(found, [narrow[0]]);
    let flows = snapshot().unwrap().into_iter().filter_map(|event| match event {
        Event::Rule(Change::Present(rule)) => {
            Some(rule.flow).filter(|flow| *flow != Flow::default())
        }
        _ => None,
    });
    let of_user = Flow { uids: Some((1000, 1999)), ..Flow::default() };
    let of_tcp = Flow { ip_protocol: Some(6), ..Flow::default() };
    let of_tos = Flow { tos: Some(0x10), ..Flow::default() };
    assert_eq!(flows.collect::<Vec<_>>(), [of_user, of_tcp, of_tos]);
}
