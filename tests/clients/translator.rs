//! NetworkManager's own translator of IPv4 to IPv6 (464XLAT, `ipv4.clat`) in a venue of IPv6 only:
//! used while it works, replaced at once when NetworkManager ends, and gone when IPv4 is available.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::stage::{Kind, Seen, Stage, sh};

/// 203.0.113.80 behind the venue's NAT64: the server holds the translated address itself.
const SERVER: &str = "2001:db8:64::cb00:7150";
const ADVERTISED: &str =
    "lifetime=1800 prefix=2001:db8:9::/64 nat64=2001:db8:64::/96@1800 resolver=2001:db8:9::1";
const PROBED: &str =
    "[uplink.check]\nmethod = \"http\"\nurl = \"http://203.0.113.80/generate_204\"\n";
/// Counts untranslated packets in the venue.
const SEEN: &str = "table netdev seen {\nchain ipv4 {\ntype filter hook ingress device lan0 \
                    priority 0\nip daddr 203.0.113.80 counter\n}\n}\n";
/// Limit on the time from the end of NetworkManager to the first reply to a node.
const REPLACED: Duration = Duration::from_secs(3);

pub fn translator(stage: &mut Stage) {
    hall(stage);
    stage.write("etc/bramblegate/bramblegate.toml.d/probe.toml", PROBED);
    stage.translates = true;
    stage.start_client(false, false);
    stage.start_gateway();
    stage.start_translator();
    works(stage);
    for cleanly in [false, true] {
        if cleanly {
            stage.terminate("nm");
        } else {
            stage.stop("nm");
        }
        is_replaced(stage);
        stage.start(Kind::NetworkManager, false, false);
        works(stage);
    }
    stage.dnsmasq("--dhcp-range=10.99.0.162,10.99.0.162,2m");
    let seen = stage
        .until("IPv4", 60, |seen| seen.row1() == "10.99.0.162" && seen.text("/clat") == "null");
    assert_eq!(seen.alert("uplink-translator"), None);
    assert!(!stage.run("ip link show clat0").0, "nothing is to be translated");
}

/// Sets up a venue of IPv6 only with a NAT64, and a server behind it.
fn hall(stage: &mut Stage) {
    sh(&format!(
        "ip -n venue addr add 2001:db8:9::1/64 dev lan0 nodad
         ip -n venue addr add {SERVER}/128 dev lo nodad; ip -n venue link set lo up
         ip -n nodes addr add 192.168.50.11/24 dev n0; ip -n nodes route add default via 192.168.50.1"
    ));
    std::fs::write("/run/seen.nft", SEEN).unwrap();
    stage.helper("router", &["venue-advertise", "lan0", ADVERTISED]);
    stage.helper("web", &["venue-serve", "web", &format!("[{SERVER}]:80")]);
}

/// Returns whether the server replies to a node.
fn is_answered() -> bool {
    let ping = "ip netns exec nodes ping -c 1 -W 1 203.0.113.80 >/dev/null && echo yes || true";
    sh(ping).contains("yes")
}

/// Waits until NetworkManager translates, for the nodes too, and ours does not.
fn works(stage: &Stage) {
    let is_used = |seen: &Seen| seen.text("/clat/by") == "eth1" && seen.text("/clat/state") == "on";
    let seen = stage.until("NetworkManager translates", 40, |seen| {
        is_used(seen)
            && seen.text("/venue") == "v6-only+nat64"
            && seen.alert("uplink-translator").is_none()
    });
    assert_eq!(seen.text("/clat/prefix"), "2001:db8:64::/96");
    assert!(seen.text("/uplink/address").starts_with("2001:db8:9:"), "{:#}", seen.0);
    assert!(!seen.glass().contains("192.0.0."), "{}", seen.glass());
    let gone = || sh("ip -br link").lines().all(|line| !line.starts_with("clat0"));
    let begin = Instant::now();
    while !gone() || !is_answered() {
        assert!(begin.elapsed() < Duration::from_secs(10), "{}", sh("ip -br link; ip route"));
        sleep(Duration::from_millis(100));
    }
    // Its route has an MTU below the interface's; so has the gateway's copy of the route.
    let way = sh("ip route get 203.0.113.80 from 192.0.0.5");
    assert!(way.contains(" table 51") && way.contains(" mtu 1472"), "{way}");
}

/// Waits until ours has taken over; no packet leaves untranslated.
fn is_replaced(stage: &Stage) {
    let begin = Instant::now();
    let held = "nft list chain inet bramblegate left_over >/dev/null 2>&1 && echo yes || true";
    while !sh(held).contains("yes") {
        assert!(begin.elapsed() < Duration::from_secs(1), "what it left is not held back");
        sleep(Duration::from_millis(10));
    }
    sh("ip netns exec venue nft -f /run/seen.nft");
    while !is_answered() {
        assert!(begin.elapsed() < REPLACED, "{}", stage.story());
    }
    println!("a node was answered {:.1} s later", begin.elapsed().as_secs_f32());
    let seen = stage.until("ours translates", 2, |seen| {
        seen.text("/clat/by") == "bramblegate" && seen.text("/clat/state") == "on"
    });
    let text = seen.alert("uplink-translator").unwrap();
    assert!(text.contains("192.0.0.5") && text.contains("NetworkManager"), "{text}");
    let way = sh("ip route get 203.0.113.80 from 192.168.50.11 iif eth0");
    assert!(way.contains(" dev clat0 ") && way.contains(" mtu 1480"), "{way}");
    let seen = sh(
        "ip netns exec venue nft list table netdev seen; ip netns exec venue nft delete table netdev seen",
    );
    assert!(seen.contains("packets 0 "), "{seen}");
}
