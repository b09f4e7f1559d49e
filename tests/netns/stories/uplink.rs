//! Leases, cables, interfaces: events of the uplink.

use std::time::{Duration, Instant};

use bramblegate::api::status::{Line, Pattern, Severity};
use bramblegate_lab::inside::HOME;
use bramblegate_lab::shell::{must, spawn, within};
use bramblegate_lab::watch::Watch;
use bramblegate_lab::{Error, Result, Venue, World, wiring};

use super::scene::{
    PLAIN, TWO, alert, before_start, ensure, is, online, promptly, reload, reported, try_from,
    until,
};

const DROP: &str = "ip addr del 10.99.0.126/24 dev eth1";
const TAKE: &str = "ip addr add 10.99.0.126/24 brd + dev eth1 valid_lft 3600 preferred_lft 3600; \
                    ip route replace default via 10.99.0.1 dev eth1 metric 100";

/// Renews by `line` and follows the status for three seconds: severity, state, age, and the journal
/// do not change.
fn renew_unseen(world: &mut World, line: &str, row1: &[&str]) -> Result<()> {
    until("severity is ok", || is(world, "severity", "ok"))?;
    std::thread::sleep(Duration::from_millis(1100));
    let mut watch = Watch::open(&world.socket())?;
    watch.patience(Duration::from_millis(100));
    watch.next_line()?;
    let since: u64 = reported(world, "uplink.since_s").parse().unwrap_or(0);
    let journal = world.journal().lines().count();
    let start = Instant::now();
    must("head", line)?;
    while start.elapsed() < Duration::from_secs(3) {
        let Some(Line::Change(change)) = watch.next_line()? else { continue };
        println!("{change:?}");
        let severity = &change.severity;
        ensure(
            &format!("severity stays ok, not {severity:?}"),
            severity.as_ref().is_none_or(|s| *s == Severity::Ok),
        )?;
        let Some(panel) = &change.panel else { continue };
        if let Some(row) = panel.lcd.lines.iter().flatten().next() {
            ensure(
                &format!("row 1 is one of {row1:?}, not \"{row}\""),
                row1.contains(&row.trim_end()),
            )?;
        }
        let pattern = &panel.led.pattern;
        ensure(
            &format!("the LED breathes on, not {pattern:?}"),
            *pattern == Some(Pattern::Breathe.into()),
        )?;
    }
    ensure("online", is(world, "uplink.state", "online"))?;
    let after: u64 = reported(world, "uplink.since_s").parse().unwrap_or(0);
    ensure(
        &format!("online since before the renewal: {since} s, then {after} s"),
        after >= since + 3,
    )?;
    let reported: Vec<String> = world.journal().lines().skip(journal).map(str::to_owned).collect();
    ensure(&format!("the journal knows nothing of it: {reported:#?}"), reported.is_empty())
}

/// NetworkManager, networkd and udhcpc sometimes remove the address and add it again at once.
pub fn renewal_that_drops_and_re_adds_is_not_seen() -> Result<()> {
    online(PLAIN, |world| renew_unseen(world, &format!("{DROP}; {TAKE}"), &["10.99.0.126"]))
}

/// With a second in between, the address leaves row 1, which never shows one that is not on the
/// interface; the rest stays.
pub fn slow_renewal_is_still_one_renewal() -> Result<()> {
    online(PLAIN, |world| {
        let line = format!("{DROP}; (sleep 1; {TAKE}) </dev/null >/dev/null 2>&1 &");
        renew_unseen(world, &line, &["10.99.0.126", "SEARCHING"])?;
        ensure("the number is back", world.glass().concat().contains("10.99.0.126"))
    })
}

/// A removed address must not stay on the display.
pub fn lost_address_leaves_row_1() -> Result<()> {
    online(PLAIN, |world| {
        world.kill_client("eth1")?;
        until("the number stands there", || world.glass().concat().contains("10.99.0.126"))?;
        must("head", "ip addr flush dev eth1")?;
        let start = Instant::now();
        until("the number has left the glass", || !world.glass().concat().contains("10.99.0.126"))?;
        // 250 ms, and a margin for this test's own timing.
        promptly("it has left", start.elapsed(), Duration::from_millis(400))?;
        until("words stand there", || world.glass().concat().contains("SEARCHING")).map(drop)
    })
}

pub fn pulled_cable_is_shown_at_once() -> Result<()> {
    online(PLAIN, |world| {
        world.pull_cable("eth1")?;
        let start = Instant::now();
        until("NO CABLE on the glass", || world.glass().concat().contains("NO CABLE"))?;
        promptly("it is shown", start.elapsed(), Duration::from_millis(400))?;
        ensure("no stale number", !world.glass().concat().contains("10.99.0.126"))?;
        ensure("the status knows it", is(world, "uplink.state", "no-carrier"))?;
        world.plug_cable("eth1")?;
        until("the number is back", || world.glass().concat().contains("10.99.0.126"))?;
        until("a node reaches the internet", || {
            try_from(world, "rpi1", "http http://www.example/").is_ok()
        })
        .map(drop)
    })
}

pub fn another_venue_needs_no_other_rules() -> Result<()> {
    online(PLAIN, |world| {
        let rules = || must("head", "nft -s list table inet bramblegate");
        let before = rules()?;
        ensure("there are rules", before.contains("masquerade"))?;
        world.move_to(&Venue::parse("second", &PLAIN.replace("10.99.0.", "172.20.5."))?)?;
        until("row 1", || world.glass().concat().contains("172.20.5.126"))?;
        until("a node reaches the internet", || {
            try_from(world, "rpi1", "http http://www.example/").is_ok()
        })?;
        until("online", || is(world, "uplink.state", "online"))?;
        super::scene::same("the rule set", &before, &rules()?)?;
        ensure("applied once only", is(world, "gateway.applied", "1"))
    })
}

pub fn renamed_port_is_still_the_uplink() -> Result<()> {
    before_start(PLAIN, |world| {
        world.set_settings("[uplink]\ninterfaces = [\"eth1\", \"enx*\"]\n");
        world.start_gateway()?;
        super::scene::wait_online(world)?;
        must("head", "ip link set eth1 down && ip link set eth1 name enx1 && ip link set enx1 up")?;
        // Its old address has no route of its own, as DHCP clients configure it.
        must("head", "ip addr flush dev enx1 && ip addr add 10.99.0.126/24 dev enx1")?;
        must("head", "ip route replace default via 10.99.0.1 dev enx1")?;
        until("its new name is reported", || is(world, "uplink.interface", "enx1"))?;
        until("a node reaches the internet", || {
            try_from(world, "rpi1", "http http://203.0.113.80/").is_ok()
        })?;
        until("the venue is kept out", || {
            try_from(world, "laptop", "tcp 10.99.0.126:9100").is_err()
        })?;
        ensure("ssh works", try_from(world, "laptop", "tcp 10.99.0.126:22").is_ok())
    })
}

pub fn port_of_a_bridge_is_reported() -> Result<()> {
    online(PLAIN, |world| {
        must(
            "head",
            "ip link add br0 type bridge && ip link set eth1 master br0 && ip link set br0 up",
        )?;
        until("it is reported", || {
            alert(world, "uplink-enslaved").is_some_and(|text| text.contains("name br0"))
        })?;
        must("head", "ip link set eth1 nomaster")?;
        until("and taken back", || {
            !alert(world, "uplink-*").is_some_and(|text| text.contains("br0"))
        })?;
        must("head", "ip link set eth0 master br0")?;
        until("of the cluster port too", || alert(world, "gateway-port-enslaved").is_some())?;
        until("which is a fault", || is(world, "severity", "fault"))?;
        until("it has been let go", || is(world, "gateway.forwarding", "false"))?;
        must("head", "ip link set eth0 nomaster")?;
        until("a node reaches the internet", || {
            try_from(world, "rpi1", "ping 203.0.113.80").is_ok()
        })?;
        let reported = world.journal();
        ensure(
            "what we let go was not undone",
            !reported.contains("switched off on eth0") && !reported.contains("was removed from"),
        )
    })
}

/// The address stays on the interface that lost the default route: its translated connections would
/// hang for ever.
pub fn failover_forgets_stale_connections() -> Result<()> {
    online(TWO, |world| {
        ensure("the cable is preferred", is(world, "uplink.interface", "eth1"))?;
        // Connections of the nodes through the cable that stay in the table.
        must(
            "rpi1",
            "for p in 1 2 3; do echo x | busybox nc -u -w 1 203.0.113.80 5000$p; done; true",
        )?;
        let entries = |address: &str| {
            must("head", "conntrack -L 2>/dev/null")
                .map(|text| text.lines().filter(|line| line.contains(address)).count())
        };
        ensure("there are entries of the cable", entries("dst=10.99.0.126")? > 0)?;
        world.kill_client("eth1")?;
        must("head", "ip route del default dev eth1")?;
        until("the radio is the way out", || is(world, "uplink.interface", "wlan0"))?;
        until("no entries of the cable are left", || {
            entries("src=192.168.50.11").is_ok_and(|_| {
                must("head", "conntrack -L 2>/dev/null").is_ok_and(|text| {
                    !text
                        .lines()
                        .any(|l| l.contains("src=192.168.50.") && l.contains("dst=10.99.0.126"))
                })
            })
        })?;
        until("a node reaches the internet", || {
            try_from(world, "rpi1", "http http://203.0.113.80/").is_ok()
        })
        .map(drop)
    })
}

/// A VPN's kill switch: the head itself is online, the nodes are refused.
pub fn refused_way_out_is_reported() -> Result<()> {
    online(PLAIN, |world| {
        ensure("nothing false at the start", !world.journal().contains("uplink-no-exit"))?;
        must("head", "ip rule add iif eth0 prohibit preference 100")?;
        until("it is reported", || {
            alert(world, "uplink-no-exit")
                .is_some_and(|text| text.contains("ip rule") && text.contains("eth0"))
        })?;
        ensure("and true", try_from(world, "rpi1", "ping 203.0.113.80").is_err())?;
        ensure("it is a fault", is(world, "severity", "fault"))?;
        must("head", "ip rule del iif eth0 prohibit preference 100")?;
        until("no longer", || alert(world, "uplink-no-exit").is_none())?;
        until("a node reaches the internet", || {
            try_from(world, "rpi1", "ping 203.0.113.80").is_ok()
        })?;
        ensure("said once", world.journal().matches("uplink-no-exit: eth1 has").count() == 1)
    })
}

/// A default route by a next hop object goes with the carrier, and with the object: the kernel
/// reports neither.
pub fn route_of_a_next_hop_object_goes_unsaid_and_is_seen() -> Result<()> {
    online(PLAIN, |world| {
        world.kill_client("eth1")?;
        let lead = |world: &World| {
            must(
                "head",
                "ip route flush default 2>/dev/null; ip route del default 2>/dev/null; ip nexthop \
                 flush; true",
            )?;
            must(
                "head",
                "ip nexthop add id 7 via 10.99.0.1 dev eth1 && ip route add default nhid 7",
            )?;
            until("it leads", || is(world, "uplink.gateway", "10.99.0.1"))?;
            until("all is well", || alert(world, "*").is_none()).map(drop)
        };
        let seen = |world: &World, what: &str| {
            until(what, || alert(world, "uplink-no-route").is_some())?;
            ensure("no rule is blamed", alert(world, "gateway-rule").is_none())?;
            ensure("nor a kill switch", alert(world, "uplink-no-exit").is_none())
        };
        lead(world)?;
        must("head", "ip nexthop del id 7")?;
        seen(world, "the object is gone")?;
        lead(world)?;
        wiring::pull("eth1", 0)?;
        until("no cable", || is(world, "uplink.state", "no-carrier"))?;
        wiring::plug("eth1", 0, 1500)?;
        seen(world, "the cable is back, its route is not")
    })
}

/// Two routers of one make lease the head the same address: neither is reported as another
/// program's rule.
pub fn the_same_address_on_two_uplinks_is_reported() -> Result<()> {
    let venue = TWO.replace("172.20.5.1/24", "10.99.0.1/24").replace("172.20.5.77", "10.99.0.126");
    before_start(&venue, |world| {
        world.start_gateway()?;
        until("it is reported", || {
            alert(world, "uplink-address-taken")
                .is_some_and(|text| text.contains("eth1 and wlan0 have the same"))
        })?;
        ensure("no rule is blamed", alert(world, "gateway-rule").is_none())?;
        try_from(world, "laptop", "tcp 10.99.0.126:22")
    })
}

/// A default route with two gateways behind one interface, where the venue uses the cluster's
/// subnet.
pub fn several_next_hops_in_an_overlap_are_one() -> Result<()> {
    let venue =
        PLAIN.replace("10.99.0.1/24", "192.168.50.254/24").replace("10.99.0.", "192.168.50.");
    online(&venue, |world| {
        world.kill_client("eth1")?;
        must("venue", "ip addr add 192.168.50.253/24 dev lan0")?;
        must("head", "ip route del default")?;
        must(
            "head",
            "ip route replace default metric 100 nexthop via 192.168.50.254 dev eth1 nexthop via \
             192.168.50.253 dev eth1",
        )?;
        let ours = || must("head", "ip route show table all proto 98").unwrap_or_default();
        until("one of them is in our table", || {
            ours().contains("default via 192.168.50.253 dev eth1")
        })?;
        ensure(
            &format!(
                "and only one:
{}",
                ours()
            ),
            ours().matches("default").count() == 1,
        )?;
        until("the head reaches the internet", || {
            try_from(world, "head", "ping 203.0.113.80").is_ok()
        })?;
        until("a node does", || try_from(world, "rpi1", "ping 203.0.113.80").is_ok())?;
        ensure("all routes were taken", alert(world, "gateway-routing").is_none())?;
        ensure("nothing was said", !world.journal().contains("cannot add the route"))
    })
}

/// The kernel deprecates an address that is not renewed; it works until its lease ends.
pub fn address_that_is_not_renewed_still_counts() -> Result<()> {
    online(PLAIN, |world| {
        must(
            "head",
            "ip addr change 10.99.0.126/24 dev eth1 valid_lft 600 preferred_lft 2 noprefixroute",
        )?;
        until("it is reported", || {
            alert(world, "uplink-lease-not-renewed")
                .is_some_and(|text| text.contains("10.99.0.126"))
        })?;
        ensure(
            "the kernel calls it deprecated",
            must("head", "ip addr show dev eth1")?.contains("deprecated"),
        )?;
        ensure(
            "the status says since when",
            reported(world, "uplink.not_renewed_s").parse::<u64>().is_ok(),
        )?;
        ensure("row 1 is the address", world.glass().concat().contains("10.99.0.126"))?;
        ensure("it is a warning", is(world, "severity", "warning"))?;
        try_from(world, "laptop", "tcp 10.99.0.126:22")?;
        try_from(world, "rpi1", "ping 203.0.113.80")?;
        must(
            "head",
            "ip addr change 10.99.0.126/24 dev eth1 valid_lft 600 preferred_lft 500 noprefixroute",
        )?;
        until("and taken back", || alert(world, "uplink-lease-not-renewed").is_none())?;
        ensure("nothing was lost", is(world, "severity", "ok"))
    })
}

/// A VPN on the head takes the default route.
pub fn exit_by_a_tunnel_is_reported() -> Result<()> {
    online(PLAIN, |world| {
        must(
            "head",
            "ip tuntap add wg0 mode tun && ip addr add 10.8.0.2/24 dev wg0 && ip link set wg0 up",
        )?;
        must("head", "ip route add 0.0.0.0/1 dev wg0 && ip route add 128.0.0.0/1 dev wg0")?;
        until("it is reported", || {
            alert(world, "uplink-exit-by*").is_some_and(|text| text.contains("wg0"))
        })?;
        must("head", "ip link del wg0")?;
        until("and taken back", || alert(world, "uplink-exit-by*").is_none()).map(drop)
    })
}

/// A tunnel listed as an uplink is one: masqueraded, and no alert.
pub fn tunnel_named_as_an_uplink_is_masqueraded() -> Result<()> {
    online(PLAIN, |world| {
        // It has no route back to the cluster.
        bramblegate_lab::shell::ip(
            "",
            "netns add provider\nlink add wg0 netns head type veth peer name eth0 netns provider\n",
        )?;
        must(
            "provider",
            "ip link set lo up; ip addr add 10.8.0.1/24 dev eth0; ip link set eth0 up; ip addr \
             add 203.0.113.99/32 dev lo",
        )?;
        must("head", "ip addr add 10.8.0.2/24 dev wg0; ip link set wg0 up")?;
        must("head", "ip route add 0.0.0.0/1 via 10.8.0.1; ip route add 128.0.0.0/1 via 10.8.0.1")?;
        until("it is reported", || {
            alert(world, "uplink-exit-by*").is_some_and(|text| text.contains("wg0"))
        })?;
        ensure("nothing comes back", try_from(world, "rpi1", "ping 203.0.113.99").is_err())?;
        reload(world, "[uplink]\ninterfaces = [\"wg0\", \"eth1\"]\n")?;
        until("no longer", || alert(world, "uplink-exit-by*").is_none())?;
        until("the node's packets come back", || {
            try_from(world, "rpi1", "ping 203.0.113.99").is_ok()
        })
        .map(drop)
    })
}

/// The venue uses the cluster's subnet and leases the head rpi2's address: the cluster moves,
/// reports which nodes are left behind, and returns.
pub fn lease_of_a_nodes_address_moves_the_cluster() -> Result<()> {
    let venue =
        PLAIN.replace("10.99.0.1/24", "192.168.50.254/24").replace("10.99.0.126", "192.168.50.12");
    let venue = venue.replace("10.99.0.", "192.168.50.");
    before_start(&venue, |world| {
        world.start_gateway()?;
        until("the cluster has moved", || is(world, "cluster.address", "10.213.50.1/24"))?;
        until("it is reported", || is(world, "gateway.overlap", "renumbered"))?;
        until("row 1 is the lease", || world.glass().concat().contains("192.168.50.12"))?;
        until("the nodes left behind are named", || {
            alert(world, "gateway-renumbered")
                .is_some_and(|text| text.contains("rpi1") && text.contains("rpi3"))
        })?;
        until("the laptop reaches the head", || {
            try_from(world, "laptop", "tcp 192.168.50.12:22").is_ok()
        })?;
        // A node that follows works.
        must(
            "rpi1",
            "ip addr add 10.213.50.11/24 dev eth0; ip route replace default via 10.213.50.1",
        )?;
        until("such a node reaches the internet", || {
            try_from(world, "rpi1", "http http://203.0.113.80/").is_ok()
        })?;
        world.change_dhcp("eth1", |dhcp| {
            dhcp.address = "192.168.50.126".parse().unwrap_or(dhcp.address)
        })?;
        world.pull_cable("eth1")?;
        world.plug_cable("eth1")?;
        until("the cluster is back", || is(world, "cluster.address", "192.168.50.1/24"))?;
        until("by other routes", || is(world, "gateway.overlap", "routed"))?;
        try_from(world, "rpi1", "http http://203.0.113.80/").map_err(|error| {
            Error(format!("who is still where the cluster was is cut off: {error}"))
        })?;
        must(
            "rpi1",
            "ip addr del 10.213.50.11/24 dev eth0; ip route replace default via 192.168.50.1",
        )?;
        until("the nodes are up", || is(world, "cluster.up", "3"))?;
        until("a node reaches the internet", || {
            try_from(world, "rpi1", "http http://www.example/").is_ok()
        })?;
        until("the laptop reaches the head", || {
            try_from(world, "laptop", "tcp 192.168.50.126:22").is_ok()
        })?;
        until("nothing of it is left", || alert(world, "gateway-renumbered").is_none()).map(drop)
    })
}

/// From the first moment, with or without a lease: an ARP answer for the venue's gateway .1 would
/// break a hall's network.
pub fn never_answers_arp_for_the_cluster() -> Result<()> {
    let venue = PLAIN.replace("10.99.0.1/24", "192.168.50.1/24").replace("10.99.0.", "192.168.50.");
    before_start(&venue, |world| {
        let log = std::path::PathBuf::from(format!("{HOME}/arp.log"));
        let mut tcpdump = within("venue", "tcpdump");
        let mut listener = spawn(tcpdump.args(["-l", "-n", "-e", "-i", "lan0", "arp"]), &log)?;
        until("tcpdump listens", || {
            std::fs::read_to_string(&log).is_ok_and(|text| text.contains("listening"))
        })?;
        world.dhcp_server("eth1", false)?;
        world.start_gateway()?;
        let ask = "busybox arping -c 3 -w 2 -I eth0 192.168.50.1; busybox arping -c 2 -w 1 -I \
                   eth0 192.168.50.11; true";
        must("laptop", ask)?;
        until("the cluster's address is there", || {
            must("head", "ip addr show dev eth0").is_ok_and(|text| text.contains("192.168.50.1/24"))
        })?;
        must("laptop", ask)?;
        world.dhcp_server("eth1", true)?;
        world.plug_cable("eth1")?;
        until("a lease", || is(world, "uplink.address", "192.168.50.126/24"))?;
        must("laptop", ask)?;
        must("head", "ping -c 1 -W 1 192.168.50.12 || busybox ping -c 1 -W 1 192.168.50.12")?;
        listener.kill();
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let of_head: Vec<&str> =
            text.lines().filter(|line| line.contains(" 02:bb:00:00:e1:01 >")).collect();
        ensure("tcpdump saw the head at all", !of_head.is_empty())?;
        for line in of_head {
            let leaks = line.contains("is-at") && !line.contains("192.168.50.126 is-at");
            ensure(&format!("no answer for the cluster: {line}"), !leaks)?;
            ensure(
                &format!("no question in the cluster's name: {line}"),
                !line.contains("tell 192.168.50.1,"),
            )?;
        }
        Ok(())
    })
}

/// Identified by its hardware address, in upper or lower case: whatever its name, and no other
/// interface.
pub fn uplink_by_its_hardware_address() -> Result<()> {
    before_start(TWO, |world| {
        let mac = must("head", "cat /sys/class/net/eth1/address")?.trim().to_uppercase();
        world.set_settings(&format!("[uplink]\ninterfaces = [\"mac:{mac}\"]\n"));
        world.start_gateway()?;
        super::scene::wait_online(world)?;
        ensure("it is the cable", is(world, "uplink.interface", "eth1"))?;
        ensure("the radio is none", is(world, "uplinks.1", "(missing)"))?;
        let rules = must("head", "nft list table inet bramblegate")?;
        let as_uplink = |line: &str| line.contains("wlan0") && !line.contains("goto to_venue");
        ensure("nor in the rules", !rules.lines().any(as_uplink))?;
        until("it has no role", || {
            alert(world, "gateway-unknown-port").is_some_and(|text| text.contains("wlan0"))
        })?;
        must("head", "ip link set eth1 down && ip link set eth1 name usb7 && ip link set usb7 up")?;
        until("by its new name", || is(world, "uplink.interface", "usb7"))?;
        until("in the rules too", || {
            must("head", "nft list table inet bramblegate")
                .is_ok_and(|text| text.contains("\"usb7\"") && !text.contains("\"eth1\""))
        })
        .map(drop)
    })
}
