//! The cluster interface: removed, restored, renamed, with another hardware address, moved away
//! from a venue's subnet and back.

use std::time::Duration;

use bramblegate_lab::Result;
use bramblegate_lab::World;
use bramblegate_lab::shell::{ip, must};

use super::scene::{
    PLAIN, alert, before_start, ensure, is, online, reported, try_from, until, wait_online,
};

/// An interface eth0 at the switch; `far` names the other end of its cable.
fn plug_in(far: &str, mac: &str) -> Result<()> {
    ip(
        "",
        &format!("link add eth0 netns head address {mac} type veth peer name {far} netns switch\n"),
    )?;
    ip("switch", &format!("link set {far} master sw0 up\n"))
}

fn works(world: &World, when: &str) -> Result<()> {
    until(&format!("all nodes are up {when}"), || is(world, "cluster.up", "3"))?;
    until(&format!("a node reaches the internet {when}"), || {
        try_from(world, "rpi1", "ping 203.0.113.80").is_ok()
    })?;
    until(&format!("the head reaches its node {when}"), || {
        try_from(world, "head", "ping 192.168.50.12").is_ok()
    })?;
    let conf =
        must("head", "cd /proc/sys/net/ipv4/conf/eth0 && cat forwarding arp_ignore arp_announce")?;
    // In an overlap it answers for the uplink's address too.
    let arp_ignore = if is(world, "gateway.overlap", "routed") { "0" } else { "1" };
    ensure(
        &format!("its settings are there {when}: {conf}"),
        conf.split_whitespace().eq(["1", arp_ignore, "2"]),
    )?;
    until(&format!("no port is missed {when}"), || alert(world, "gateway-port-*").is_none())
        .map(drop)
}

/// The same at home and where the venue uses the cluster's subnet, with policy routing to be
/// restored.
pub fn port_comes_and_goes() -> Result<()> {
    port_comes_and_goes_at(PLAIN, "none")
}

/// See [`port_comes_and_goes`].
pub fn port_comes_and_goes_where_the_venue_overlaps() -> Result<()> {
    let venue =
        PLAIN.replace("10.99.0.1/24", "192.168.50.254/24").replace("10.99.0.", "192.168.50.");
    port_comes_and_goes_at(&venue, "routed")
}

fn port_comes_and_goes_at(venue: &str, overlap: &str) -> Result<()> {
    before_start(venue, |world| {
        world.set_settings("[[node]]\nname = \"rpi2\"\nprobe = \"arp\"\n");
        world.start_gateway()?;
        wait_online(world)?;
        ensure(&format!("overlap is {overlap}"), is(world, "gateway.overlap", overlap))?;
        for round in 0..3 {
            ip("head", "link del eth0\n")?;
            plug_in("head", "02:bb:00:00:c0:00")?;
            works(world, &format!("after coming back {round}"))?;
        }
        ip("head", "link del eth0\n")?;
        until("it is missed", || alert(world, "gateway-port-absent").is_some())?;
        ensure(
            "the venue still reaches the head",
            try_from(world, "laptop", "tcp HEAD:22").is_ok(),
        )?;
        plug_in("head", "02:bb:00:00:c0:00")?;
        works(world, "after a while")?;
        let journal = world.journal();
        ensure(
            &format!("an unplugged port was not switched off: {journal}"),
            !journal.contains("switched off"),
        )?;
        ensure("it is gone, and there", journal.contains("cluster interface eth0 is gone"))?;
        must("head", "ip link set eth0 name lan9")?;
        until("a renamed port is missed", || alert(world, "gateway-port-absent").is_some())?;
        until("it has nothing of ours", || {
            must("head", "ip -4 addr show dev lan9; cat /proc/sys/net/ipv4/conf/lan9/forwarding")
                .is_ok_and(|text| !text.contains("inet") && text.ends_with("0\n"))
        })?;
        must("head", "ip link set lan9 name eth0")?;
        works(world, "under its name again")?;
        // Real cards receive only their own address: the switch must not forward frames for the old
        // one there.
        must("head", "ip link set eth0 address 02:bb:00:00:c0:77")?;
        must(
            "switch",
            "bridge link set dev head flood off; ip link set sw0 type bridge fdb_flush",
        )?;
        std::thread::sleep(Duration::from_millis(1500));
        works(world, "with another hardware address")?;
        ensure(
            "nothing else was said of the venue",
            alert(world, "gateway-overlap").is_some() == (overlap == "routed"),
        )
    })
}

/// Like a DHCP client, in one step.
fn lease(address: &str, router: &str) -> Result<()> {
    let line = format!(
        "ip addr flush dev eth1; ip addr add {address}/24 brd + dev eth1; \
         ip route replace default via {router} dev eth1 metric 100"
    );
    must("head", &line).map(drop)
}

/// The lease is the head's own .1, and a different one later, without a carrier change: the cluster
/// moves away at once, and back at once.
pub fn lease_of_our_own_address_goes_again() -> Result<()> {
    online(PLAIN, |world| {
        let addresses = || must("head", "ip -4 -o addr show dev eth0");
        world.kill_client("eth1")?;
        ip("venue", "addr add 192.168.50.254/24 dev lan0\n")?;
        for round in 0..3 {
            lease("192.168.50.1", "192.168.50.254")?;
            until("the cluster makes room", || is(world, "cluster.address", "10.213.50.1/24"))?;
            until("its address is nowhere but at the uplink", || {
                addresses().is_ok_and(|text| {
                    text.contains("10.213.50.1/24") && !text.contains("192.168.50.1/24")
                })
            })?;
            until("it is a fault", || {
                is(world, "severity", "fault") && alert(world, "uplink-clash").is_some()
            })?;
            until("the laptop's way to the head", || {
                try_from(world, "laptop", "tcp 10.99.0.126:22").is_err()
            })?;
            lease("10.99.0.126", "10.99.0.1")?;
            until("the cluster is home", || is(world, "cluster.address", "192.168.50.1/24"))?;
            until("a node works as before", || {
                try_from(world, "rpi1", "http http://203.0.113.80/").is_ok()
            })?;
            // Except that the nodes go down and come back: they really are unreachable while the
            // cluster is elsewhere.
            let count = |text: &str| reported(world, "alerts").matches(text).count();
            until("nothing else is left to say", || count("\"code\"") == count("\"node-"))?;
            until("nor on the glass", || !world.glass().concat().contains("CLASH"))?;
            let held = addresses()?;
            let both = held.contains("192.168.50.1/24") && held.contains("10.213.50.1/24");
            ensure(&format!("nodes that followed are still served for a while: {held}"), both)?;
            let moves = world.journal().matches("bramblegate: the cluster moved from").count();
            ensure(&format!("each move is reported: {moves}"), moves == 2 * (round + 1))?;
        }
        ensure("alerts that went are reported", world.journal().contains("uplink-clash: over"))
    })
}

/// A node with a static address gets another board, which sends nothing by itself: the head does
/// not keep asking for the one that it remembers.
pub fn replaced_board_is_found_at_once() -> Result<()> {
    online(PLAIN, |world| {
        let health = |wanted: &str| is(world, "nodes.1.health", wanted);
        let neighbour =
            || must("head", "ip -4 neigh show 192.168.50.12 dev eth0").unwrap_or_default();
        until("it is up", || health("up"))?;
        must("switch", "ip link set rpi2 down")?;
        until("the old one is down", || health("down"))?;
        let mac = "02:00:00:00:12:34";
        must(
            "rpi2",
            &format!("ip link set eth0 down; ip link set eth0 address {mac}; ip link set eth0 up"),
        )?;
        must("switch", "ip link set rpi2 up")?;
        let took = until("the new one is up", || health("up"))?;
        ensure(&format!("found after {took:?}: {}", neighbour()), took < Duration::from_secs(3))?;
        ensure("by its own address", neighbour().contains(mac))?;
        try_from(world, "head", "ping 192.168.50.12")
    })
}
