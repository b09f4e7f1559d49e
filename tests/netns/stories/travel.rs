//! The cluster travels: cables that were out for a moment, from a hall of IPv6 alone into a home
//! of IPv4 alone and back, and a hall that changes while the translator works without BPF.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bramblegate::api::clat::STATE;
use bramblegate_lab::file::Action;
use bramblegate_lab::shell::{exec, must};
use bramblegate_lab::wiring::WEB6;
use bramblegate_lab::{Error, Result, Venue, World};

use super::client::inside;
use super::hall::{HALL, in_the_hall, nat64, reaches, translates};
use super::ipv6::{ON, made, older_kernel};
use super::scene::{
    PLAIN, alert, before_start, ensure, is, reload, reported, try_from, until, wait_online,
};

/// Pulls the cable for a moment while the daemon gets no processor time, so that it reads both
/// changes at once.
fn cable_is_out_for_a_moment(world: &mut World) -> Result<()> {
    let gateway = |world: &mut World, signal: &str| {
        world.gateway().ok_or_else(|| Error("no gateway".into()))?.signal(signal)
    };
    gateway(world, "STOP")?;
    world.pull_cable("eth1")?;
    std::thread::sleep(Duration::from_millis(1200));
    must("venue", "ip link set p-eth1 up")?;
    std::thread::sleep(Duration::from_millis(1200));
    gateway(world, "CONT")
}

/// What was heard before the cable was out is forgotten, so it must be heard again, though the
/// router repeats itself.
pub fn a_cable_that_was_out_for_a_moment_loses_nothing() -> Result<()> {
    in_the_hall(|world| {
        for _ in 0..2 {
            cable_is_out_for_a_moment(world)?;
            until("the venue's NAT64", || is(world, "uplink.nat64_prefix", "2001:db8:64::/96"))?;
            until("the venue in one word", || is(world, "venue", "v6-only+nat64"))?;
            until("it is translated", || is(world, "clat.state", "on") && translates())?;
            until("a node reaches the internet", reaches)?;
        }
        Ok(())
    })
}

/// Sends a line to an echo server and reads it back; TCP has that long to get it there.
fn echoes(stream: &TcpStream, patience: Duration) -> bool {
    let mut heard = [0; 5];
    let exchange = stream
        .set_read_timeout(Some(patience))
        .and_then(|()| (&mut &*stream).write_all(b"hello"))
        .and_then(|()| (&mut &*stream).read_exact(&mut heard));
    exchange.is_ok() && heard == *b"hello"
}

/// A session of a node goes on after two seconds without the cable, as it does behind a router that
/// speaks IPv4.
pub fn a_nodes_session_outlives_the_cable() -> Result<()> {
    in_the_hall(|world| {
        let _echo = world.serve("internet", "echo", "203.0.113.80:7")?;
        let stream = inside("rpi1", || {
            let to = ([203, 0, 113, 80], 7).into();
            TcpStream::connect_timeout(&to, Duration::from_secs(5))
        })?;
        ensure("it talks", echoes(&stream, Duration::from_secs(3)))?;
        for _ in 0..2 {
            world.pull_cable("eth1")?;
            until("the cable is out", || is(world, "uplink.state", "no-carrier"))?;
            std::thread::sleep(Duration::from_secs(2));
            world.plug_cable("eth1")?;
            let talks = echoes(&stream, Duration::from_secs(15));
            ensure("it goes on", talks)?;
        }
        Ok(())
    })
}

/// `uplink.clat` takes effect at a reload, with and without probes.
pub fn settings_switch_the_translator() -> Result<()> {
    in_the_hall(|world| {
        for check in ["", "check.method = \"off\"\n"] {
            let set = |world: &mut World, clat: &str| {
                reload(world, &format!("[uplink]\n{check}clat = \"{clat}\"\n"))
            };
            set(world, "off")?;
            until("no translator", || !translates() && is(world, "clat", "null"))?;
            until("it is reported", || alert(world, "uplink-no-ipv4").is_some())?;
            let text = alert(world, "uplink-no-ipv4").unwrap_or_default();
            ensure(&format!("no promise: {text}"), !text.contains("bramblegate-clat"))?;
            set(world, "on")?;
            until("it is translated", || translates() && is(world, "clat.state", "on"))?;
            until("a node reaches the internet", reaches)?;
            until("the alert is over", || alert(world, "uplink-no-ipv4").is_none())?;
            set(world, "auto")?;
            std::thread::sleep(Duration::from_millis(500));
            ensure("it goes on", translates() && reaches())?;
        }
        Ok(())
    })
}

/// Walks from the hall into the home and back, twice.
pub fn from_the_hall_into_a_home_and_back() -> Result<()> {
    in_the_hall(|world| {
        for round in 0..2 {
            world.move_to(&Venue::parse("home", PLAIN)?)?;
            until("row 1 is the home's", || world.glass().concat().contains("10.99.0.126"))?;
            let took = until("the translator is gone", || !translates())?;
            ensure(&format!("at once: {took:?}"), took < Duration::from_secs(2))?;
            until("online", || is(world, "uplink.state", "online") && is(world, "venue", "v4"))?;
            ensure("nothing of the hall", is(world, "uplink.nat64_prefix", "null"))?;
            ensure("no translator", is(world, "clat", "null"))?;
            until("a node loads a page", || {
                try_from(world, "rpi1", "http http://203.0.113.80/").is_ok()
            })?;
            until("all is well", || is(world, "severity", "ok"))?;
            world.move_to(&Venue::parse("hall", HALL)?)?;
            let _nat64 = nat64()?;
            until("row 1 is the hall's", || world.glass().concat().contains("2001:db8:7:"))?;
            until("it is translated", || is(world, "clat.state", "on") && translates())?;
            until("the venue in one word", || is(world, "venue", "v6-only+nat64"))?;
            let addresses = reported(world, "uplink.addresses");
            ensure(&format!("nothing of the home: {addresses}"), !addresses.contains("10.99."))?;
            until("a node reaches the internet", reaches)?;
            until("all is well", || is(world, "severity", "ok|notice"))?;
            println!("round {round}: {}", reported(world, "alerts"));
        }
        Ok(())
    })
}

fn state() -> String {
    fs::read_to_string(STATE).unwrap_or_default()
}

/// Without BPF, through everything that a venue and a crash do to it.
pub fn without_bpf_it_follows_the_hall_as_well() -> Result<()> {
    before_start(HALL, |world| {
        let _nat64 = nat64()?;
        world.start_gateway()?;
        world.start_clat_with(&["--object", "/dev/null"])?;
        wait_online(world)?;
        until("it is translated without BPF", || state().contains(r#""mode":"tun""#))?;
        until("a node reaches the internet", reaches)?;
        // The hall shrinks its packets.
        let shrunk = "lifetime=1800 mtu=1280 nat64=2001:db8:64::/96@1800 resolver=2001:db8:7::1";
        world.act(&Action::Advertise { ra: shrunk.parse()? })?;
        until("segments of 1280", || {
            must("head", "ip route show default dev clat0")
                .is_ok_and(|text| text.contains("mtu 1260"))
        })?;
        until("a node reaches the internet", reaches)?;
        try_from(world, "rpi1", "http http://www.example/big")?;
        // The hall renumbers.
        let renumbered = "lifetime=1800 deprecated=2001:db8:7::/64 prefix=2001:db8:9::/64 \
                          nat64=2001:db8:64::/96@1800 resolver=2001:db8:7::1";
        world.act(&Action::Advertise { ra: renumbered.parse()? })?;
        until("an address of the new network", || state().contains(r#""address":"2001:db8:9:"#))?;
        until("a node reaches the internet", reaches)?;
        // Killed, and started again as by systemd.
        for _ in 0..2 {
            world.clat().map(|clat| clat.signal("KILL")).transpose()?;
            until("its end", || !translates())?;
            world.start_clat_with(&["--object", "/dev/null"])?;
            until("it is translated again", || {
                translates() && state().contains(r#""mode":"tun""#) && reaches()
            })?;
        }
        try_from(world, "rpi1", "http http://www.example/big")?;
        world.clat().map(|clat| clat.signal("TERM")).transpose()?;
        until("its end", || !translates())?;
        until("the kernel forwards no more", || {
            must("head", "cat /proc/sys/net/ipv6/conf/all/forwarding")
                .is_ok_and(|it| it.trim() == "0")
        })
        .map(drop)
    })
}

/// Without BPF the kernel has to forward IPv6 for the translator, and on an older kernel there is
/// one setting for that and for the nodes' IPv6. Whichever began, the other goes on when it ends.
pub fn forwarding_is_shared_with_the_nodes_ipv6() -> Result<()> {
    let forwards =
        || must("head", "cat /proc/sys/net/ipv6/conf/all/forwarding").unwrap_or_default();
    let ipv6 = || exec("rpi1", &format!("ping -c 1 -W 1 {WEB6}")).is_ok_and(|(code, _)| code == 0);
    before_start(HALL, |world| {
        older_kernel()?;
        let _nat64 = nat64()?;
        world.set_settings("[cluster.dhcp]\n");
        world.start_gateway()?;
        world.start_clat_with(&["--object", "/dev/null"])?;
        wait_online(world)?;
        until("it is translated without BPF", || state().contains(r#""mode":"tun""#))?;
        until("a node reaches the internet", reaches)?;
        ensure("the kernel forwards for it", forwards().trim() == "1")?;
        reload(world, ON)?;
        until("the nodes have IPv6", || made("rpi1").is_some() && ipv6())?;
        ensure("and IPv4", reaches())?;
        for _ in 0..2 {
            world.clat().map(|clat| clat.signal("TERM")).transpose()?;
            until("the translator ends", || !translates())?;
            std::thread::sleep(Duration::from_millis(700));
            until("the nodes' IPv6 goes on", || forwards().trim() == "1" && ipv6())?;
            world.start_clat_with(&["--object", "/dev/null"])?;
            until("a node reaches the internet", || translates() && reaches())?;
        }
        reload(world, "[cluster.dhcp]\n")?;
        std::thread::sleep(Duration::from_secs(2));
        until("the translator goes on without the nodes' IPv6", || {
            forwards().trim() == "1" && translates() && reaches()
        })?;
        ensure("which is over", !ipv6())?;
        world.clat().map(|clat| clat.signal("TERM")).transpose()?;
        until("the kernel forwards no more", || forwards().trim() == "0").map(drop)
    })
}

/// dhcpcd keeps the MTU that a router advertises in its routes alone.
const NARROW: &str = r#"
purpose = "A hall of IPv6 alone and of 1280 octets, and dhcpcd on the head"
[[network]]
ipv6 = "2001:db8:7::/64"
client = "dhcpcd"
mtu = 1280
nat64 = "2001:db8:64::/96"
ra = "mtu=1280 nat64=2001:db8:64::/96@1800 resolver=2001:db8:7::1"
"#;

pub fn mtu_of_the_routes_alone_counts() -> Result<()> {
    before_start(NARROW, |world| {
        // Whole segments of TCP pass any cable.
        for place in ["head", "rpi1"] {
            must(
                place,
                "for port in eth0 eth1; do [ -e /sys/class/net/$port ] && ethtool -K $port tso off gso off; done; true",
            )?;
        }
        world.start_gateway()?;
        world.start_clat()?;
        wait_online(world)?;
        until("a node reaches the internet", || translates() && reaches())?;
        println!(
            "{}",
            must("head", "cat /proc/sys/net/ipv6/conf/eth1/mtu; ip -6 route; ip route")?
        );
        until("segments of 1280", || {
            must("head", "ip route show default dev clat0")
                .is_ok_and(|text| text.contains("mtu 1260"))
        })?;
        let long =
            "curl -s -m 5 -H \"X: $(head -c 6000 /dev/zero | tr '\\0' x)\" http://203.0.113.80/";
        let (code, text) = exec("rpi1", long)?;
        ensure(&format!("a long request: {code} {text}"), text.contains("hello"))?;
        try_from(world, "rpi1", "http http://www.example/big")
    })
}
