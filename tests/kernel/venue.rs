//! The advertisements of a venue's routers, received from the real kernel by a raw socket.

use std::net::{Ipv6Addr, SocketAddrV6};
use std::thread::spawn;
use std::time::Duration;

use crate::frame::Trial;
use bramblegate::event::{Event, RouterOffer, VenueNews, VenuePlan};
use bramblegate::watch::venue;
use bramblegate_lab::router::Advertised;
use rustix::net::{RecvFlags, recv};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::lab::{sh, trial};
use crate::links::index_of;
use crate::netlink::block_on;
use crate::probe::elsewhere;

pub fn tests() -> Vec<Trial> {
    vec![
        trial("venue::advertisements_are_heard_though_the_kernel_ignores_them", heard),
        trial("venue::a_flood_of_advertisements_is_read_at_its_pace", flood),
    ]
}

/// What the router at the other end has to send: the message, and its hop limit.
type Order = (String, u32);

/// Starts a router at fe80::1; returns where to order its advertisements, and where each router
/// solicitation is reported.
fn router(here: &str) -> (std::sync::mpsc::Sender<Order>, std::sync::mpsc::Receiver<()>) {
    let (order, orders) = std::sync::mpsc::channel::<Order>();
    let (asked, was_asked) = std::sync::mpsc::channel();
    elsewhere("hall", here, move || {
        sh("ip link set hall-peer up; ip addr add fe80::1/64 dev hall-peer nodad");
        let index = index_of("hall-peer");
        let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6)).unwrap();
        // The all-routers address, like a router's.
        socket.join_multicast_v6(&"ff02::2".parse().unwrap(), index).unwrap();
        let listening = socket.try_clone().unwrap();
        spawn(move || {
            let mut buffer = [0; 1500];
            while recv(&listening, &mut buffer[..], RecvFlags::empty()).is_ok() {
                if buffer[0] == 133 && asked.send(()).is_err() {
                    return;
                }
            }
        });
        spawn(move || {
            let all = SocketAddrV6::new(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), 0, 0, index);
            for (words, hops) in orders {
                let advertised: Advertised = words.parse().unwrap();
                socket.set_multicast_hops_v6(hops).unwrap();
                socket.send_to(&advertised.message(), &all.into()).unwrap();
            }
        });
    });
    (order, was_asked)
}

struct Hearing {
    events: mpsc::Receiver<Event>,
    _plan: watch::Sender<Vec<VenuePlan>>,
}

impl Hearing {
    fn begin() -> Self {
        let (index, name) = (index_of("eth1"), "eth1".to_owned());
        let port = VenuePlan { index, name, mac: None, generation: 1, resolvers: None };
        let (plan, seen) = watch::channel(vec![port]);
        let (report, events) = mpsc::channel(4096);
        tokio::spawn(venue::run(seen, report));
        Self { events, _plan: plan }
    }

    /// Returns the next offer within two seconds.
    async fn next(&mut self) -> Option<RouterOffer> {
        let heard = timeout(Duration::from_secs(2), self.events.recv());
        match heard.await.ok()?? {
            Event::Venue(VenueNews::Advertised { router, offer, .. }) => {
                assert_eq!(router, "fe80::1".parse::<Ipv6Addr>().unwrap());
                Some(offer)
            }
            other => panic!("{other:?}"),
        }
    }
}

fn heard() {
    let (order, was_asked) = router("eth1");
    // The settings by dhcpcd, networkd and NetworkManager, and those of a gateway.
    sh("echo 0 > /proc/sys/net/ipv6/conf/eth1/accept_ra; \
        echo 1 > /proc/sys/net/ipv6/conf/eth1/forwarding");
    block_on(async move {
        let mut hearing = Hearing::begin();
        tokio::task::spawn_blocking(move || {
            was_asked.recv_timeout(Duration::from_secs(8)).unwrap()
        })
        .await
        .unwrap();
        let send = |words: &str, hops| order.send((words.to_owned(), hops)).unwrap();
        let first = "lifetime=1800 mtu=1280 prefix=2001:db8:7::/64 nat64=64:ff9b::/96@600";
        send(first, 255);
        let offer = hearing.next().await.unwrap();
        assert_eq!((offer.lifetime, offer.mtu, offer.autonomous), (1800, Some(1280), true));
        assert_eq!(offer.nat64, [("64:ff9b::/96".parse().unwrap(), 600)]);
        // The kernel suppresses repetitions and forwarded packets.
        for _ in 0..50 {
            send(first, 255);
        }
        send("lifetime=9", 64);
        assert_eq!(hearing.next().await, None);
        // A single changed bit is reported at once.
        send("lifetime=1800 mtu=1280 prefix=2001:db8:7::/64 nat64=64:ff9b::/96@0", 255);
        let offer = hearing.next().await.unwrap();
        assert_eq!(offer.nat64, [("64:ff9b::/96".parse().unwrap(), 0)]);
    });
}

/// A flood causes a limited number of wake-ups, and what follows it is received anyway.
fn flood() {
    let (order, _was_asked) = router("eth1");
    block_on(async move {
        let mut hearing = Hearing::begin();
        for number in 0..3000_u32 {
            let words = format!("lifetime={} mtu={}", 1 + number % 1000, 1280 + number);
            order.send((words, 255)).unwrap();
        }
        let mut count = 0;
        while hearing.next().await.is_some() {
            count += 1;
        }
        assert!((1..=300).contains(&count), "{count} of 3000 were taken in");
    });
}
