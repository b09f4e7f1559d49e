//! An IPv6-only hall: the daemon, `bramblegate-clat`, which follows its orders, and tayga as the
//! hall's NAT64.

use std::fs;
use std::path::Path;
use std::time::Duration;

use bramblegate::api::clat::STATE;
use bramblegate_lab::file::Action;
use bramblegate_lab::inside::HOME;
use bramblegate_lab::shell::{Running, exec, feed, ip, must, spawn, within};
use bramblegate_lab::{Result, World};

use super::scene::{Pinger, STOP, before_start, ensure, is, same, try_from, until, wait_online};

/// The hall by cable; a phone with IPv4 may appear.
pub const HALL: &str = r#"
purpose = "A hall with IPv6 only and a NAT64, and a phone in a pocket"
[[network]]
ipv6 = "2001:db8:7::/64"
ra = "nat64=2001:db8:64::/96@1800 resolver=2001:db8:7::1"
[[network]]
port = "usb0"
address = "10.88.0.1/24"
plugged = false
[network.dhcp]
address = "10.88.0.7"
"#;

/// The NAT64 in the hall's router.
const PLAT: &str = "tun-device plat\nipv4-addr 100.64.0.1\nipv6-addr 2001:db8:7::6464\n\
                    prefix 2001:db8:64::/96\ndynamic-pool 44.44.44.0/24\n";
const PLAT_WAYS: &str = "tuntap add plat mode tun\nlink set plat mtu 1500 up\n\
                         route add 44.44.44.0/24 dev plat\nroute add 2001:db8:64::/96 dev plat\n";

/// Counts IPv4 that reaches the hall untranslated.
const LEAK: &str = "table netdev leak {\nchain seen {\ntype filter hook ingress device lan0 \
                    priority 0\nether type ip counter\n}\n}\n";

pub fn nat64() -> Result<Running> {
    ip("venue", PLAT_WAYS)?;
    feed("ip", &["netns", "exec", "venue", "nft", "-f", "-"], LEAK)?;
    let file = format!("{HOME}/tayga.conf");
    fs::write(&file, PLAT).map_err(|error| bramblegate_lab::Error(format!("{file}: {error}")))?;
    let log = format!("{HOME}/tayga.log");
    spawn(within("venue", "tayga").args(["-n", "-c", &file]), Path::new(&log))
}

/// A world in the hall, in which a node has reached the internet.
pub fn in_the_hall(story: impl FnOnce(&mut World) -> Result<()>) -> Result<()> {
    in_the_hall_with("", story)
}

/// The same, with more settings.
pub fn in_the_hall_with(
    settings: &str,
    story: impl FnOnce(&mut World) -> Result<()>,
) -> Result<()> {
    before_start(HALL, |world| {
        world.set_settings(settings);
        let _nat64 = nat64()?;
        world.start_gateway()?;
        world.start_clat()?;
        wait_online(world)?;
        until("it is translated", || is(world, "clat.state", "on"))?;
        until("a node reaches the internet", reaches)?;
        story(world)?;
        let leaked = must("venue", "nft list chain netdev leak seen")?;
        ensure(&format!("no IPv4 untranslated: {leaked}"), leaked.contains("packets 0"))
    })
}

pub fn reaches() -> bool {
    exec("rpi1", "ping -c 1 -W 1 203.0.113.80").is_ok_and(|(code, _)| code == 0)
}

/// Returns whether the translator's device exists.
pub fn translates() -> bool {
    exec("head", "ip link show clat0").is_ok_and(|(code, _)| code == 0)
}

pub fn nodes_of_ipv4_alone_load_their_page() -> Result<()> {
    in_the_hall(|world| {
        for check in ["http http://203.0.113.80/", "http http://www.example/"] {
            try_from(world, "rpi1", check)?;
        }
        until("the venue in one word", || is(world, "venue", "v6-only+nat64"))?;
        ensure("by whom", is(world, "clat.by", "bramblegate"))?;
        ensure("by which prefix", is(world, "clat.prefix", "2001:db8:64::/96"))?;
        ensure("the address is the uplink's", is(world, "uplink.address", "2001:db8:7:*"))?;
        let mut rows = Vec::new();
        for _ in 0..50 {
            rows.extend(world.glass());
            std::thread::sleep(Duration::from_millis(100));
        }
        ensure("so it is on the LCD", rows.iter().any(|row| row.starts_with("2001:db8:7:")))?;
        ensure("and no translator's", !rows.iter().any(|row| row.contains("192.0.0.")))?;
        // TCP segments of the maximum length. (tayga fragments longer ICMP, which no translator
        // translates: RFC 7915, section 1.2.)
        try_from(world, "rpi1", "http http://www.example/big")
    })
}

pub fn translator_is_off_at_once_when_it_is_not_wanted() -> Result<()> {
    in_the_hall(|world| {
        world.act(&Action::Advertise { ra: "lifetime=1800 resolver=2001:db8:7::1".parse()? })?;
        let took = until("withdrawn with its prefix", || !translates())?;
        ensure(&format!("at once: {took:?}"), took < Duration::from_secs(1))?;
        let back = "lifetime=1800 nat64=2001:db8:64::/96@1800 resolver=2001:db8:7::1";
        world.act(&Action::Advertise { ra: back.parse()? })?;
        until("there with its prefix", || translates() && reaches())?;
        world.plug_cable("usb0")?;
        until("IPv4 comes", || {
            must("head", "ip -4 route show default dev usb0").is_ok_and(|text| !text.is_empty())
        })?;
        let took = until("its end with IPv4", || !translates())?;
        ensure(&format!("at once: {took:?}"), took < Duration::from_secs(1))?;
        until("the node goes by the phone", reaches)?;
        world.pull_cable("usb0")?;
        must("head", "ip -4 addr flush dev usb0")?;
        until("back in the hall", || translates() && reaches()).map(drop)
    })
}

pub fn daemon_dies_and_no_packet_is_lost() -> Result<()> {
    in_the_hall(|world| {
        let device = must("head", "cat /sys/class/net/clat0/ifindex")?;
        let pinger = Pinger::start()?;
        for _ in 0..2 {
            let code = world.stop_gateway("KILL", STOP)?;
            ensure("it was killed", code == 137)?;
            std::thread::sleep(Duration::from_millis(300));
            world.start_gateway()?;
            until("it is there again", || is(world, "venue", "v6-only+nat64"))?;
            ensure("the translator too", is(world, "clat.state", "on"))?;
            // Time for what the new daemon decides after it has found this.
            std::thread::sleep(Duration::from_millis(900));
        }
        let (sent, lost) = pinger.finish()?;
        ensure(&format!("{lost} of {sent} lost"), lost == 0 && sent >= 100)?;
        let same = must("head", "cat /sys/class/net/clat0/ifindex")? == device;
        ensure("it is the same translator", same)
    })
}

/// Returns the CLAT's address.
fn address() -> Option<String> {
    let state = fs::read_to_string(STATE).ok()?;
    let (_, rest) = state.split_once(r#""address":""#)?;
    rest.split_once('"').map(|(address, _)| address.to_owned())
}

/// The address works before duplicate address detection has ended. After a conflict, the next
/// address is used.
pub fn address_of_another_host_is_left_to_it() -> Result<()> {
    in_the_hall(|world| {
        let taken = address().unwrap_or_default();
        let held = |state: &str| {
            must("head", &format!("ip -6 -o addr show dev eth1 to {taken} {state}"))
                .is_ok_and(|text| text.contains(&taken))
        };
        until("no other host has it", || held("-tentative"))?;
        world.clat().map(|clat| clat.signal("TERM")).transpose()?;
        until("it is taken away", || !translates() && !held(""))?;
        must("venue", &format!("ip addr add {taken}/64 dev lan0 nodad"))?;
        world.start_clat()?;
        let another = || address().is_some_and(|address| address != taken);
        until("another address is taken", || another() && translates())?;
        ensure("and the first one is given back", !held(""))?;
        until("a node reaches the internet", reaches)?;
        let setting = must("head", "cat /proc/sys/net/ipv6/conf/eth1/optimistic_dad")?;
        ensure("the kernel's setting is as it was", setting.trim() == "0")
    })
}

/// A hall that gives each host one address, by DHCPv6 only (M flag).
const SINGLE: &str = r#"
purpose = "A hall with IPv6 only that gives each host one address"
[[network]]
ipv6 = "2001:db8:7::/64"
client = "dhcpcd"
dhcpv6 = "2001:db8:7::d6"
nat64 = "2001:db8:64::/96"
ra = "managed no-slaac nat64=2001:db8:64::/96@1800"
"#;

/// Without BPF the translator makes the kernel forward IPv6. A daemon that starts meanwhile
/// recognizes that: the venue's packets stay out.
pub fn forwarding_of_the_translator_is_not_taken_for_the_owners() -> Result<()> {
    let guarded = || {
        must("head", "nft list table inet bramblegate")
            .is_ok_and(|rules| rules.contains("IPv6 is forwarded for the translator alone"))
    };
    let forwards =
        || must("head", "cat /proc/sys/net/ipv6/conf/all/forwarding").unwrap_or_default();
    before_start(HALL, |world| {
        let _nat64 = nat64()?;
        ensure("it is off before", forwards().trim() == "0")?;
        world.start_gateway()?;
        world.start_clat_with(&["--object", "/dev/null"])?;
        wait_online(world)?;
        until("it is translated without BPF", || {
            fs::read_to_string(STATE).is_ok_and(|state| state.contains(r#""mode":"tun""#))
        })?;
        until("the kernel forwards", || forwards().trim() == "1")?;
        until("the rules keep the venue out", guarded)?;
        for _ in 0..2 {
            world.stop_gateway("KILL", STOP)?;
            world.start_gateway()?;
            until("it is there again", || is(world, "clat.state", "on"))?;
            until("the rules keep the venue out all the same", guarded)?;
            std::thread::sleep(Duration::from_millis(500));
            ensure("and go on to", guarded())?;
        }
        // A DHCP client begins to process router advertisements itself.
        let accept_ra = "/proc/sys/net/ipv6/conf/eth1/accept_ra";
        same("the kernel hears routers", "2\n", &must("head", &format!("cat {accept_ra}"))?)?;
        must("head", &format!("echo 0 > {accept_ra}"))?;
        world.clat().map(|clat| clat.signal("TERM")).transpose()?;
        until("it is as before", || forwards().trim() == "0")?;
        until("it has ended", || world.clat().is_some_and(|clat| clat.ended().is_some()))?;
        same("what the client chose", "0\n", &must("head", &format!("cat {accept_ra}"))?)
    })
}

pub fn single_address_is_shared_by_head_and_nodes() -> Result<()> {
    before_start(SINGLE, |world| {
        let held = || must("head", "ip -6 -o addr show dev eth1 scope global").unwrap_or_default();
        until("a single address", || held().contains("2001:db8:7::d6/128"))?;
        world.start_gateway()?;
        world.start_clat()?;
        wait_online(world)?;
        until("it is translated", || is(world, "clat.state", "on"))?;
        until("a node reaches the internet", reaches)?;
        until("the venue in one word", || is(world, "venue", "v6-only+nat64"))?;
        let why = is(world, "uplink.venue_reasons", "*addresses by DHCPv6 alone*");
        ensure("and why", why)?;
        let state = fs::read_to_string(STATE).unwrap_or_default();
        ensure(&format!("it is shared: {state}"), state.contains(r#""shared":true"#))?;
        ensure(&format!("no other was taken: {}", held()), held().lines().count() == 1)?;
        must("head", "ping -c 2 -i 0.2 -W 1 2001:db8:80::80")?;
        must("head", "ping -c 2 -i 0.2 -W 1 2001:db8:64::cb00:7150")?;
        must("venue", "ping -c 2 -i 0.2 -W 1 2001:db8:7::d6")?;
        try_from(world, "rpi1", "http http://www.example/")
    })
}
