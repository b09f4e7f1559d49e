//! The kernel's events, and whether they are parsed correctly.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use bramblegate::event::{Change, Dump, Event, Link, Netconf, Route};
use bramblegate::watch::link;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use crate::frame::Trial;
use crate::lab::{sh, trial};

pub fn tests() -> Vec<Trial> {
    vec![
        trial("netlink::a_listing_is_framed_and_changes_follow_it", framed),
        trial("netlink::a_storm_of_changes_ends_in_the_right_view", storm),
        trial("netlink::routes_that_go_unsaid_are_noticed", unsaid_routes),
        trial("netlink::routes_by_a_nexthop_that_go_unsaid_are_noticed", nexthop_routes),
        trial("netlink::a_bridge_port_and_a_rename_stay_one_link", bridge_and_rename),
        trial("netlink::forwarding_is_heard_by_proc_and_by_netlink", forwarding),
        trial("netlink::each_address_is_reported_by_itself_and_without_a_listing", each_address),
    ]
}

/// Runs `test` on a runtime of its own in this thread, so in this thread's namespace.
pub fn block_on<T>(test: impl Future<Output = T>) -> T {
    block_on_within(Duration::from_secs(60), test)
}

/// Does the same with a longer timeout.
pub fn block_on_within<T>(limit: Duration, test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { timeout(limit, test).await.expect("done in time") })
}

/// The state of a correct listener.
#[derive(Debug, Default)]
struct View {
    links: Vec<Link>,
    addresses: BTreeSet<(u32, String)>,
    routes: BTreeSet<Route>,
    forwarding: BTreeSet<u32>,
    listed: Option<Box<View>>,
    overruns: usize,
    listings: usize,
}

impl View {
    fn hear(&mut self, event: Event) {
        match event {
            Event::Dump(Dump::Begin) => self.listed = Some(Box::default()),
            Event::Dump(Dump::End) => {
                let listed = *self.listed.take().expect("an end has a beginning");
                let (overruns, listings) = (self.overruns, self.listings + 1);
                *self = View { overruns, listings, ..listed };
            }
            Event::Overrun => self.overruns += 1,
            other => match self.listed.as_deref_mut() {
                Some(listed) => listed.hear(other),
                None => self.note(other),
            },
        }
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::Link(Change::Present(link)) => {
                self.links.retain(|known| known.index != link.index);
                self.links.push(link);
            }
            Event::Link(Change::Gone(link)) => self.links.retain(|known| known.index != link.index),
            Event::Address(Change::Present(a)) => {
                self.addresses.insert((a.index, a.address.to_string()));
            }
            Event::Address(Change::Gone(a)) => {
                self.addresses.remove(&(a.index, a.address.to_string()));
            }
            Event::Route(Change::Present(route)) => {
                self.routes.insert(route);
            }
            Event::Route(Change::Gone(route)) => {
                self.routes.remove(&route);
            }
            Event::Netconf(Netconf { index, forwarding: Some(on), .. }) => {
                if on {
                    self.forwarding.insert(index)
                } else {
                    self.forwarding.remove(&index)
                };
            }
            _ => {}
        }
    }

    fn link(&self, name: &str) -> &Link {
        self.links
            .iter()
            .find(|link| link.name == name)
            .unwrap_or_else(|| panic!("no {name} in {:?}", self.links))
    }

    fn gateways(&self) -> Vec<String> {
        self.routes
            .iter()
            .filter_map(|route| route.gateway)
            .map(|gateway| gateway.to_string())
            .collect()
    }

    /// Listens until `enough`, for at most ten seconds.
    async fn until(&mut self, events: &mut mpsc::Receiver<Event>, enough: impl Fn(&Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(10);
        while self.listed.is_some() || !enough(self) {
            let event = tokio::time::timeout_at(end, events.recv()).await;
            match event {
                Ok(Some(event)) => self.hear(event),
                other => panic!("{other:?}; the view is {self:#?}"),
            }
        }
    }
}

fn listen(capacity: usize) -> mpsc::Receiver<Event> {
    let (sender, receiver) = mpsc::channel(capacity);
    tokio::spawn(link::run(sender));
    receiver
}

/// Listens to cables whose two ends are up, once the kernel has noticed their carriers, which may
/// be after the end of the command (linkwatch).
async fn started(capacity: usize) -> (View, mpsc::Receiver<Event>) {
    let mut events = listen(capacity);
    let mut view = View::default();
    view.until(&mut events, |view| view.listings == 1).await;
    let silent = |link: &Link| link.up && !link.loopback && !link.carrier;
    view.until(&mut events, |view| !view.links.iter().any(silent)).await;
    (view, events)
}

fn framed() {
    sh(
        "ip link add v0 type veth peer name v1; ip addr add 10.9.0.2/24 dev v0; ip link set v0 up; ip link set v1 up",
    );
    block_on(async {
        let mut events = listen(1024);
        assert_eq!(events.recv().await, Some(Event::Dump(Dump::Begin)));
        let mut view = View::default();
        view.hear(Event::Dump(Dump::Begin));
        view.until(&mut events, |view| view.listings == 1).await;
        assert!(view.link("lo").loopback);
        // See `started`.
        view.until(&mut events, |view| view.link("v0").carrier).await;
        assert_eq!(view.link("v0").kind.as_deref(), Some("veth"));
        let index = view.link("v0").index;
        assert!(view.addresses.contains(&(index, "10.9.0.2/24".into())));
        sh("ip addr add 10.9.1.3/16 dev v0; ip addr del 10.9.0.2/24 dev v0; ip link set v1 down");
        view.until(&mut events, |view| !view.link("v0").carrier).await;
        assert!(view.addresses.contains(&(index, "10.9.1.3/16".into())));
        assert!(!view.addresses.contains(&(index, "10.9.0.2/24".into())));
    });
    assert!(
        link::snapshot()
            .unwrap()
            .iter()
            .any(|event| matches!(event, Event::Link(Change::Present(_))))
    );
}

/// The listener does not read while 6,000 addresses are added and 3,000 removed.
fn storm() {
    sh("ip link add v0 type veth peer name v1; ip link set v0 up; ip link set v1 up");
    block_on(async {
        let (mut view, mut events) = started(1).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        sh("for i in $(seq 0 2999); do echo addr add 10.$((i/250)).$((i%250)).1/24 dev v0; done | ip -batch -
            for i in $(seq 0 2998); do echo addr del 10.$((i/250)).$((i%250)).1/24 dev v0; done | ip -batch -
            for i in $(seq 0 2999); do echo addr add 11.$((i/250)).$((i%250)).1/24 dev v0; done | ip -batch -");
        view.until(&mut events, |view| {
            view.overruns > 0
                && view.addresses.iter().filter(|(_, a)| a.starts_with("1")).count() >= 3002
        })
        .await;
        let index = view.link("v0").index;
        let ours: Vec<_> =
            view.addresses.iter().filter(|(i, a)| *i == index && a.contains('.')).collect();
        assert_eq!(ours.len(), 3001);
        assert!(view.addresses.contains(&(index, "10.11.249.1/24".into())));
        assert!(!view.addresses.contains(&(index, "10.0.0.1/24".into())));
    });
}

fn unsaid_routes() {
    sh("ip link add v0 type veth peer name v1; ip link set v0 up; ip link set v1 up; ip addr add 10.9.0.2/24 dev v0
        ip addr add 10.8.0.2/24 dev v0; ip route add default via 10.9.0.1 src 10.8.0.2");
    block_on(async {
        let (mut view, mut events) = started(1024).await;
        assert_eq!(view.gateways(), ["10.9.0.1"]);
        sh("ip route replace default via 10.9.0.254 src 10.8.0.2");
        view.until(&mut events, |view| view.gateways() == ["10.9.0.254"]).await;
        sh("ip addr del 10.8.0.2/24 dev v0");
        view.until(&mut events, |view| view.gateways().is_empty()).await;
        sh("ip route add default via 10.9.0.1");
        view.until(&mut events, |view| view.gateways() == ["10.9.0.1"]).await;
        sh("ip link set v0 down");
        view.until(&mut events, |view| view.gateways().is_empty()).await;
    });
}

/// Like systemd-networkd 257's for IPv6: the route goes with the next hop object, without an event
/// if it is of IPv4.
fn nexthop_routes() {
    sh("ip link add v0 type veth peer name v1; ip link set v0 up addrgenmode none
        ip link set v1 up addrgenmode none
        ip addr add 10.9.0.2/24 dev v0
        ip link add u0 type veth peer name u1; ip link set u0 up addrgenmode none
        ip link set u1 up addrgenmode none
        ip addr add 10.8.0.2/24 dev u0");
    block_on(async {
        let (mut view, mut events) = started(1024).await;
        let by_nexthop = "ip nexthop add id 4 via 10.9.0.1 dev v0; ip route add default nhid 4";
        sh(by_nexthop);
        view.until(&mut events, |view| view.gateways() == ["10.9.0.1"]).await;
        let listings = view.listings;
        sh("ip link set u1 down");
        view.until(&mut events, |view| !view.link("u0").carrier).await;
        sh("ip link set u1 up");
        view.until(&mut events, |view| view.link("u0").carrier).await;
        assert_eq!(view.listings, listings, "no route by an object leads there");
        sh("ip nexthop replace id 4 via 10.9.0.3 dev v0");
        view.until(&mut events, |view| view.gateways() == ["10.9.0.3"]).await;
        sh("ip nexthop del id 4");
        view.until(&mut events, |view| view.gateways().is_empty()).await;
        sh(by_nexthop);
        view.until(&mut events, |view| view.gateways() == ["10.9.0.1"]).await;
        sh("ip link set v1 down");
        view.until(&mut events, |view| view.gateways().is_empty()).await;
        sh("ip link set v1 up");
        view.until(&mut events, |view| view.link("v0").carrier).await;
        sh("ip nexthop add id 4 via 10.9.0.1 dev v0; ip nexthop add id 5 via 10.8.0.1 dev u0
            ip nexthop add id 6 group 4/5; ip route add default nhid 6");
        view.until(&mut events, |view| view.gateways().len() == 2).await;
        sh("ip link set u1 down");
        view.until(&mut events, |view| view.gateways() == ["10.9.0.1"]).await;
    });
}

fn bridge_and_rename() {
    sh(
        "ip link add v0 type veth peer name v1; ip link add br0 type bridge; ip link set v0 master br0",
    );
    block_on(async {
        let (mut view, mut events) = started(1024).await;
        let (index, bridge) = (view.link("v0").index, view.link("br0").index);
        assert_eq!(view.link("v0").master, Some(bridge));
        sh(
            "ip link set v0 nomaster; ip link set v0 name usb0; ip link property add dev usb0 altname enx0011",
        );
        view.until(&mut events, |view| {
            view.links.iter().any(|link| !link.alternative_names.is_empty())
        })
        .await;
        let link = view.link("usb0");
        assert_eq!((link.index, link.master), (index, None));
        assert_eq!(link.alternative_names, ["enx0011"]);
        sh("ip link del usb0");
        view.until(&mut events, |view| view.links.len() == 2).await;
    });
}

fn forwarding() {
    sh("ip link add v0 type veth peer name v1; ip link set v0 up; ip link set v1 up");
    block_on(async {
        let (mut view, mut events) = started(1024).await;
        let index = view.link("v0").index;
        assert!(!view.forwarding.contains(&index));
        sh(
            "mount -t proc proc /proc 2>/dev/null || true; echo 1 > /proc/sys/net/ipv4/conf/v0/forwarding",
        );
        view.until(&mut events, |view| view.forwarding.contains(&index)).await;
        sh("echo 0 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv4/ip_forward
            echo 0 > /proc/sys/net/ipv4/ip_forward");
        view.until(&mut events, |view| view.forwarding.is_empty()).await;
    });
}

fn each_address() {
    sh("ip link add v0 type veth peer name v1; ip link set v0 up addrgenmode none
        ip link set v1 up addrgenmode none");
    block_on(async {
        let (mut view, mut events) = started(1024).await;
        let mut rtnl = bramblegate::reconcile::rtnl::Rtnl::default();
        let index = view.link("v0").index;
        for i in 0..100 {
            while let Ok(Some(event)) = timeout(Duration::from_millis(2), events.recv()).await {
                view.hear(event);
            }
            let message = rtnetlink::AddressMessageBuilder::<std::net::Ipv4Addr>::new()
                .index(index)
                .address([10, 1, i, 1].into(), 24)
                .build();
            rtnl.send(bramblegate::reconcile::rtnl::Request::NewAddress, &message, 0x600).unwrap();
            let reported =
                timeout(Duration::from_secs(10), events.recv()).await.expect("reported soon");
            let expected = format!("10.1.{i}.1/24");
            assert!(
                matches!(&reported, Some(Event::Address(Change::Present(a))) if a.address.to_string() == expected),
                "{expected}: {reported:?}"
            );
        }
        assert_eq!(view.listings, 1, "only the first");
    });
}
