//! IPv6 for the nodes: addresses, names, NAT behind the uplink's address, and no access from
//! outside.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bramblegate_clat::Advertisement;
use bramblegate_lab::inside::HOME;
use bramblegate_lab::shell::{exec, feed, must, run, spawn, within};
use bramblegate_lab::wiring::WEB6;
use bramblegate_lab::{Result, World};
use socket2::{Domain, Protocol, Socket, Type};

use super::client::{Client, inside};
use super::scene::{
    STOP, alert, before_start, ensure, is, promptly, reload, reported, same, until,
};
use super::service::look_up;

/// A dual-stack venue.
const DUAL: &str = r#"
purpose = "A home router with IPv4 and IPv6"
[[network]]
address = "10.99.0.1/24"
ipv6 = "2001:db8:7::/64"
[network.dhcp]
address = "10.99.0.126"
"#;

const OFF: &str = "[cluster.dhcp]\n";
pub const ON: &str = "[cluster.dhcp]\n[cluster.ipv6]\nmode = \"auto\"\n";

/// A world whose gateway gives the nodes IPv6, and has it itself.
fn given(settings: &str, story: impl FnOnce(&mut World) -> Result<()>) -> Result<()> {
    before_start(DUAL, |world| {
        world.set_settings(settings);
        world.start_gateway()?;
        until("it serves", || is(world, "cluster.dhcp", "serving"))?;
        until("the head has IPv6 by the venue", || default_route("head").is_some())?;
        story(world)
    })
}

/// Returns the gateway of an IPv6 default route.
fn default_route(place: &str) -> Option<String> {
    let text = must(place, "ip -6 route show default").ok()?;
    text.split("via ").nth(1)?.split_whitespace().next().map(str::to_owned)
}

/// Waits until the kernel and the status have the uplink's own address, after duplicate address
/// detection; returns it with its prefix length.
fn held(world: &World) -> Result<String> {
    let mut held = String::new();
    until("the head's own address", || {
        let show = "ip -6 -o addr show dev eth1 scope global -tentative";
        let text = must("head", show).unwrap_or_default();
        held = text.split_whitespace().nth(3).unwrap_or_default().to_owned();
        let reports = |place| reported(world, &format!("uplinks.0.addresses.{place}")) == held;
        !held.is_empty() && (reports(0) || reports(1))
    })?;
    Ok(held)
}

/// Returns a node's own address in the cluster's network, after duplicate address detection.
pub fn made(node: &str) -> Option<String> {
    let text = must(node, "ip -6 -o addr show dev eth0 scope global -tentative").ok()?;
    let address = text.split_whitespace().find(|word| word.starts_with("fd"))?;
    address.split('/').next().map(str::to_owned)
}

/// Returns the IPv6 settings of the head's interfaces, and the routing rules of IPv6.
fn settings() -> Result<String> {
    must(
        "head",
        "cd /proc/sys/net/ipv6/conf; for f in */forwarding */force_forwarding */accept_ra \
         */use_oif_addrs_only; do echo $f $(cat $f); done; ip -6 rule; ip -6 route \
         show table 50980 2>/dev/null; true",
    )
}

/// Counts packets with the cluster's addresses at the venue.
fn count_leaks() -> Result<()> {
    feed(
        "ip",
        &["netns", "exec", "venue", "nft", "-f", "-"],
        "table netdev leaks {\nchain seen {\ntype filter hook ingress device lan0 priority 0\nip6 \
         saddr fd00::/8 counter\n}\n}\n",
    )
    .map(drop)
}

fn leaks() -> Result<String> {
    must("venue", "nft list chain netdev leaks seen | grep -o 'packets [0-9]*'")
        .map(|text| text.trim().to_owned())
}

/// Returns whether a TCP connection from a place is answered at all.
fn connects(place: &str, address: &str, port: u16) -> bool {
    exec(place, &format!("timeout 1 bash -c 'exec 3<>/dev/tcp/{address}/{port}'"))
        .is_ok_and(|(code, _)| code == 0)
}

pub fn nodes_have_addresses_names_and_a_way_out() -> Result<()> {
    given(ON, |world| {
        let took = until("an address", || made("rpi1").is_some() && made("rpi2").is_some())?;
        ensure(&format!("{took:?}, with its detection of doubles"), took < Duration::from_secs(4))?;
        let [one, two] = ["rpi1", "rpi2"].map(|node| made(node).unwrap_or_default());
        until("rpi2 has a name", || look_up("rpi1", "rpi2.bramble").contains(&two))?;
        let back = look_up("rpi1", &two);
        ensure(&format!("and back: {back}"), back.contains("rpi2.bramble"))?;
        let net = world
            .status()?
            .cluster
            .ipv6
            .and_then(|ipv6| ipv6.address)
            .map(|net| net.to_string())
            .unwrap_or_default();
        ensure(&format!("the status has the head's: {net}"), net.starts_with("fd"))?;
        ensure("and that it is forwarded", is(world, "gateway.ipv6_forwarding", "true"))?;
        until("the status has the node's", || {
            world.status().is_ok_and(|status| {
                let nodes = status.nodes.iter();
                nodes.flat_map(|node| &node.addresses).any(|address| address.to_string() == two)
            })
        })?;
        count_leaks()?;
        must("rpi1", &format!("ping -c 3 -i 0.2 -W 1 {WEB6}"))?;
        must("rpi1", &format!("ping -c 2 -i 0.2 -W 1 {two}"))?;
        ensure(&format!("{} leaks", leaks()?), leaks()? == "packets 0")?;
        the_head_says_that_it_is_a_router()?;
        a_deprecated_address_is_better_than_the_clusters(world)?;
        ensure("the head has its own", default_route("head").is_some())?;
        nothing_comes_in(world, &one)
    })
}

/// A node probes its router repeatedly (RFC 4861 7.3), and drops one whose neighbour advertisement
/// lacks the router flag.
fn the_head_says_that_it_is_a_router() -> Result<()> {
    must(
        "rpi1",
        "cd /proc/sys/net/ipv6/neigh/eth0; echo 500 > base_reachable_time_ms; echo 1 > \
         delay_first_probe_time",
    )?;
    for time in 1..=6 {
        std::thread::sleep(Duration::from_millis(800));
        let (code, text) = exec("rpi1", &format!("ping -c 1 -W 1 {WEB6}"))?;
        ensure(&format!("time {time}: {text}"), code == 0)?;
    }
    ensure("the head is its router still", default_route("rpi1").is_some())
}

/// The venue deprecates its prefix, as before a new one.
fn a_deprecated_address_is_better_than_the_clusters(world: &World) -> Result<()> {
    let held = held(world)?;
    must("head", &format!("ip -6 addr change {held} dev eth1 valid_lft 900 preferred_lft 0"))?;
    must("rpi1", &format!("ping -c 3 -i 0.2 -W 1 {WEB6}"))?;
    ensure(&format!("{} leaks", leaks()?), leaks()? == "packets 0")?;
    must("head", &format!("ip -6 addr change {held} dev eth1 valid_lft 900 preferred_lft 800"))
        .map(drop)
}

/// The venue knows the cluster's network, and tries to reach it.
fn nothing_comes_in(world: &World, node: &str) -> Result<()> {
    let _listener = inside("rpi1", || TcpListener::bind("[::]:7000"))?;
    until("the server listens", || connects("rpi2", node, 7000))?;
    let head = held(world)?;
    let head = head.split('/').next().unwrap_or_default();
    let net = node.split(':').take(4).collect::<Vec<_>>().join(":");
    must("venue", &format!("ip -6 route add {net}::/64 via {head} dev lan0"))?;
    must("venue", &format!("ping -c 1 -W 1 {head}"))?;
    ensure("no ping", exec("venue", &format!("ping -c 2 -i 0.2 -W 1 {node}"))?.0 != 0)?;
    for port in [22, 80, 7000] {
        ensure(&format!("port {port}"), !connects("venue", node, port))?;
    }
    let forged = "ip -6 addr add fd00:bad::1/64 dev lo";
    must("venue", forged)?;
    let from = exec("venue", &format!("ping -c 2 -i 0.2 -W 1 -I fd00:bad::1 {node}"))?;
    ensure("not from another network either", from.0 != 0)
}

/// The delegated prefix, and its last network: that of the nodes.
const DELEGATED: &str = "2001:db8:100::/56";
const ROUTED: &str = "2001:db8:100:ff:";

/// Routes a prefix to the head, like the router of the first venue.
fn delegate(prefix: &str) -> Result<()> {
    let held = || {
        let text = must("head", "ip -6 -o addr show dev eth1 scope global -tentative").ok()?;
        let address = text.split_whitespace().find(|word| word.starts_with("2001:db8:7:"))?;
        address.split('/').next().map(str::to_owned)
    };
    until("the head's own address", || held().is_some())?;
    let head = held().unwrap_or_default();
    must("venue", &format!("ip -6 route replace {prefix} via {head} dev lan0"))?;
    must("internet", &format!("ip -6 route replace {prefix} via 2001:db8:f0::2"))?;
    // Like dhcpcd and systemd-networkd.
    let route = format!("ip -6 route add unreachable {prefix} dev lo proto dhcp metric 1024");
    must("head", &route).map(drop)
}

/// Returns a node's own address in the delegated network.
fn routed(node: &str, flag: &str) -> Option<String> {
    let text = must(node, &format!("ip -6 -o addr show dev eth0 scope global {flag}")).ok()?;
    let mut words = text.split_whitespace();
    let address = words.find(|word| word.starts_with(ROUTED))?;
    address.split('/').next().map(str::to_owned)
}

/// Returns whether a packet from the delegated prefix reaches the venue within half a second.
fn former_shows() -> Result<bool> {
    let _ = exec("venue", "nft delete table netdev former");
    let count = "table netdev former {\nchain seen {\ntype filter hook ingress device lan0 priority \
                 1\nip6 saddr 2001:db8:100::/56 counter\n}\n}\n";
    feed("ip", &["netns", "exec", "venue", "nft", "-f", "-"], count)?;
    std::thread::sleep(Duration::from_millis(500));
    Ok(!must("venue", "nft list chain netdev former seen")?.contains("packets 0 "))
}

/// Repeats until the answer is yes, for half a minute at most.
fn at_last(what: &str, mut answer: impl FnMut() -> bool) -> Result<()> {
    until(what, &mut answer)
        .or_else(|_| until(what, &mut answer))
        .or_else(|_| until(what, answer))
        .map(drop)
}

/// Addresses of the delegated network are the nodes' too. Names and files that last have only
/// those that last.
fn nodes_are_listed_with_it(world: &World) -> Result<()> {
    // A node that has sent nothing from there is asked.
    let addresses = [routed("rpi1", ""), routed("rpi2", "")].map(Option::unwrap_or_default);
    until("the status has them", || {
        world.status().is_ok_and(|status| {
            let held: Vec<String> = status
                .nodes
                .iter()
                .flat_map(|node| &node.addresses)
                .map(ToString::to_string)
                .collect();
            addresses.iter().all(|address| held.contains(address))
        })
    })?;
    let print = |verb: &str| {
        let (program, socket) = (crate::program(), format!("{HOME}/status.sock"));
        let settings = format!("{HOME}/bramblegate.toml");
        let line = format!("{} {verb} --socket {socket} -c {settings}", program.display());
        must("head", &line)
    };
    let lasting = made("rpi2").unwrap_or_default();
    let list = print("nodes list --json")?;
    let has_all = addresses.iter().chain([&lasting]).all(|address| list.contains(address));
    ensure(&format!("so does `nodes list`:\n{list}"), has_all)?;
    let hosts = print("nodes hosts")?;
    let lasts = hosts.contains(&lasting) && !hosts.contains(ROUTED);
    ensure(&format!("`nodes hosts`:\n{hosts}"), lasts)?;
    let ssh = print("ssh-config --direct")?;
    let lasts = ssh.contains("HostName 192.168.50.12\n") && !ssh.contains(ROUTED);
    ensure(&format!("`ssh-config`:\n{ssh}"), lasts)?;
    until("a name has the lasting one", || look_up("rpi1", "rpi2.bramble").contains(&lasting))?;
    let named = look_up("rpi1", "rpi2.bramble");
    ensure(&format!("alone: {named}"), !named.contains(ROUTED))
}

pub fn a_delegated_prefix_is_routed_until_it_is_withdrawn() -> Result<()> {
    given(ON, |world| {
        until("an address", || made("rpi1").is_some())?;
        delegate(DELEGATED)?;
        at_last("an address of the delegated network", || {
            routed("rpi1", "-tentative -deprecated").is_some()
        })?;
        let node = routed("rpi1", "-tentative").unwrap_or_default();
        ensure("the unique local one stays", made("rpi1").is_some())?;
        ensure("status", is(world, "cluster.ipv6.delegated", "2001:db8:100:ff::/64"))?;
        let way = must("rpi1", &format!("ip route get {WEB6}"))?;
        ensure(&format!("it leaves from it: {way}"), way.contains(&node))?;
        let count = "table netdev seen {\nchain seen {\ntype filter hook ingress device wan0 \
                     priority 0\nip6 saddr 2001:db8:100::/56 counter\n}\n}\n";
        feed("ip", &["netns", "exec", "internet", "nft", "-f", "-"], count)?;
        count_leaks()?;
        must("rpi1", &format!("ping -c 3 -i 0.2 -W 1 {WEB6}"))?;
        let seen = must("internet", "nft list chain netdev seen seen")?;
        ensure(&format!("with its own address: {seen}"), seen.contains("packets 3 "))?;
        must("rpi1", &format!("ping -c 1 -W 1 -I {} {WEB6}", made("rpi1").unwrap_or_default()))?;
        ensure(&format!("{} leaks", leaks()?), leaks()? == "packets 0")?;
        nothing_comes_in(world, &node)?;
        nodes_are_listed_with_it(world)?;
        let head = format!("{ROUTED}:1");
        must("venue", &format!("ping -c 1 -W 1 {head}"))?;
        for port in [53, 80, 111] {
            ensure(&format!("the head's port {port}"), !connects("venue", &head, port))?;
        }
        let log = PathBuf::from(format!("{HOME}/goes-on.log"));
        let mut goes_on = within("rpi1", "ping");
        let _ping = spawn(goes_on.args(["-n", "-i", "0.1", "-I", &node, WEB6]), &log)?;
        until("a connection that goes on", || {
            fs::read_to_string(&log).is_ok_and(|text| text.contains("time="))
        })?;
        must("head", &format!("ip -6 route del unreachable {DELEGATED} proto dhcp"))?;
        at_last("it is deprecated", || routed("rpi1", "deprecated").is_some())?;
        let head = must("head", "ip -6 addr show dev eth0")?;
        ensure(&format!("the head has none of it:\n{head}"), !head.contains(ROUTED))?;
        ensure("status", is(world, "cluster.ipv6.delegated", "null"))?;
        until("no node has an address of it", || {
            world.status().is_ok_and(|status| {
                let mut held = status.nodes.iter().flat_map(|node| &node.addresses);
                !held.any(|address| address.to_string().starts_with(ROUTED))
            })
        })?;
        until("what goes on does not leave any more", || former_shows().is_ok_and(|seen| !seen))?;
        let way = must("rpi1", &format!("ip route get {WEB6}"))?;
        ensure(&format!("it leaves from the other: {way}"), !way.contains(&node))?;
        must("rpi1", &format!("ping -c 3 -i 0.2 -W 1 {WEB6}"))?;
        let sent = format!("ping -c 2 -i 0.2 -W 1 -I {node} {WEB6}");
        ensure("nothing leaves from it", exec("rpi1", &sent)?.0 != 0)?;
        ensure(&format!("{} leaks", leaks()?), leaks()? == "packets 0")
    })
}

/// Two venues with IPv6.
const TWO: &str = r#"
purpose = "Two uplinks with IPv6, of which the first delegates a prefix"
[[network]]
address = "10.99.0.1/24"
ipv6 = "2001:db8:7::/64"
[network.dhcp]
address = "10.99.0.126"
[[network]]
port = "wlan0"
address = "172.20.5.1/24"
ipv6 = "2001:db8:9::/64"
[network.dhcp]
address = "172.20.5.77"
"#;

/// Has both venues drop what is not from a network of theirs (RFC 2827).
fn filter_sources() -> Result<()> {
    for (venue, own) in
        [("venue", "2001:db8:7::/48, 2001:db8:100::/56"), ("venue2", "2001:db8:9::/64")]
    {
        let table = format!(
            "table ip6 own {{\nchain out {{\ntype filter hook forward priority 0\niifname lan0 ip6 \
             saddr != {{ {own} }} drop\n}}\n}}\n"
        );
        feed("ip", &["netns", "exec", venue, "nft", "-f", "-"], &table)?;
    }
    Ok(())
}

fn leads(port: &str) -> bool {
    must("head", &format!("ip -6 route show default dev {port}")).is_ok_and(|it| it.contains("via"))
}

/// Pulls a cable; like a DHCP client, removes the routes.
fn pull(world: &mut World, port: &str) -> Result<()> {
    world.pull_cable(port)?;
    must("head", &format!("ip -6 route flush default dev {port}")).map(drop)
}

/// Gives this uplink of the head the best IPv6 default route.
fn prefer(port: &str) -> Result<()> {
    let line = format!(
        "ip -6 route del default metric 50 2>/dev/null; via=$(ip -6 route show default dev \
         {port} | sed -n 's/.*via \\([^ ]*\\).*/\\1/p' | head -n 1); ip -6 route add default via \
         $via dev {port} metric 50"
    );
    must("head", &line).map(drop)
}

/// Pings the internet from both addresses of a node.
fn both_addresses_work(what: &str) -> Result<()> {
    for source in [routed("rpi1", "-tentative"), made("rpi1")].map(Option::unwrap_or_default) {
        let ping = format!("ping -c 2 -i 0.2 -W 1 -I {source} {WEB6}");
        until(&format!("{what}, from {source}"), || {
            exec("rpi1", &ping).is_ok_and(|(code, _)| code == 0)
        })?;
    }
    Ok(())
}

pub fn a_delegated_prefix_works_by_either_uplink() -> Result<()> {
    before_start(TWO, |world| {
        filter_sources()?;
        pull(world, "wlan0")?;
        world.set_settings(ON);
        world.start_gateway()?;
        until("the head has IPv6 by the first venue", || leads("eth1") && !leads("wlan0"))?;
        delegate(DELEGATED)?;
        at_last("an address of the delegated network", || {
            routed("rpi1", "-tentative -deprecated").is_some()
        })?;
        both_addresses_work("by the only one")?;
        world.plug_cable("wlan0")?;
        at_last("the head has IPv6 by the second venue", || leads("wlan0"))?;
        prefer("wlan0")?;
        both_addresses_work("by the second one")?;
        prefer("eth1")?;
        both_addresses_work("by the one that delegates")?;
        // Like dhcpcd 10.1, the client keeps the prefix.
        pull(world, "eth1")?;
        both_addresses_work("by the one that is left")?;
        ensure("status", is(world, "cluster.ipv6.delegated", "2001:db8:100:ff::/64"))
    })
}

/// Packets from the prefix would be dropped by the venue that did not delegate it.
pub fn a_prefix_that_either_of_two_venues_delegated_is_not_used() -> Result<()> {
    before_start(TWO, |world| {
        filter_sources()?;
        world.set_settings(ON);
        world.start_gateway()?;
        until("the head has IPv6 by both", || leads("eth1") && leads("wlan0"))?;
        until("an address", || made("rpi1").is_some())?;
        delegate(DELEGATED)?;
        std::thread::sleep(Duration::from_secs(1));
        ensure("it may be of either", is(world, "cluster.ipv6.delegated", "null"))?;
        // The client has not noticed yet.
        pull(world, "eth1")?;
        std::thread::sleep(Duration::from_secs(1));
        let is_unused = is(world, "cluster.ipv6.delegated", "null");
        ensure("that does not show whose it is", is_unused)?;
        let ping = format!("ping -c 2 -i 0.2 -W 1 {WEB6}");
        until("the nodes' way out", || exec("rpi1", &ping).is_ok_and(|(code, _)| code == 0))?;
        world.plug_cable("eth1")?;
        at_last("the first venue again", || leads("eth1"))?;
        must("head", &format!("ip -6 route del unreachable {DELEGATED} proto dhcp"))?;
        delegate("2001:db8:7:ff00::/56")?;
        let net = "2001:db8:7:ffff::/64";
        until("this can only be the first one's", || is(world, "cluster.ipv6.delegated", net))?;
        let held = || addresses("rpi1", net, "-tentative -deprecated");
        at_last("an address of the delegated network", || !held().is_empty())?;
        prefer("eth1")?;
        let way = must("rpi1", &format!("ip route get {WEB6}"))?;
        ensure(&format!("it is used: {way}"), way.contains("src 2001:db8:7:ffff:"))?;
        until("the nodes' way out", || exec("rpi1", &ping).is_ok_and(|(code, _)| code == 0))?;
        prefer("wlan0")?;
        until("the other way out", || exec("rpi1", &ping).is_ok_and(|(code, _)| code == 0))
            .map(drop)
    })
}

/// An IPv6-only hall with a NAT64.
const HALL: &str = r#"
purpose = "An IPv6-only hall with a NAT64"
[[network]]
ipv6 = "2001:db8:7::/64"
token = "::d6"
nat64 = "2001:db8:64::/96"
ra = "nat64=2001:db8:64::/96@1800 resolver=2001:db8:7::1"
"#;

/// The content of router advertisements: NAT64 prefixes with their lifetimes, and router lifetimes.
type Heard = (Vec<(String, u16)>, Vec<u16>);

/// Receives what is advertised to a node.
struct Listener(Socket);

impl Listener {
    /// What is sent from now on is received.
    fn open(node: &str) -> Result<Self> {
        let wire = inside(node, || Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6)))?;
        let failed = |error: std::io::Error| bramblegate_lab::Error(error.to_string());
        wire.set_read_timeout(Some(Duration::from_millis(100))).map_err(failed)?;
        Ok(Self(wire))
    }

    /// Returns what is advertised in that many seconds, or until this prefix is.
    fn hear(&self, seconds: u64, wanted: Option<&(String, u16)>) -> Heard {
        let (mut prefixes, mut lifetimes) = (Vec::new(), Vec::new());
        let end = std::time::Instant::now() + Duration::from_secs(seconds);
        let has = |prefixes: &[_]| wanted.is_some_and(|wanted| prefixes.contains(wanted));
        while std::time::Instant::now() < end && !has(&prefixes) {
            let mut buffer = [0; 1500];
            let Ok(length) = (&self.0).read(&mut buffer) else { continue };
            let router = std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
            let message = buffer.get(..length).unwrap_or_default();
            let Ok(read) = Advertisement::read(message, router, 255) else { continue };
            lifetimes.push(read.lifetime);
            prefixes
                .extend(read.nat_prefixes.iter().map(|nat| (nat.prefix.to_string(), nat.lifetime)));
        }
        (prefixes, lifetimes)
    }
}

/// Waits for an advertisement to the nodes that was not asked for.
fn until_advertised(what: &str) -> Result<()> {
    let mut seconds = 0..30;
    let heard_one = seconds.any(|_| heard("rpi2", 1).is_ok_and(|(_, heard)| !heard.is_empty()));
    ensure(what, heard_one)
}

/// Returns what a node that requests option 108 gets: nothing, or the seconds.
fn option_108(node: &str) -> Result<String> {
    let client = Client::udhcpc_with(node, "asks", &["-O", "108"])?;
    client.wait()?;
    let line = client.lease().unwrap_or_default();
    let value = line.split("v6only=").nth(1).unwrap_or_default();
    Ok(value.split_whitespace().next().unwrap_or_default().to_owned())
}

pub fn nodes_hear_of_the_nat64_only_where_it_is_asked_for() -> Result<()> {
    const ASKED: &str =
        "[cluster.dhcp]\n[cluster.ipv6]\nmode = \"auto\"\npref64 = true\nonly_preferred = true\n";
    before_start(HALL, |world| {
        world.set_settings(ON);
        world.start_gateway()?;
        until("it serves", || is(world, "cluster.dhcp", "serving"))?;
        until("an address", || made("rpi1").is_some())?;
        at_last("the venue's NAT64", || is(world, "uplink.nat64_prefix", "2001:db8:64::/96"))?;
        let (silent, _) = Listener::open("rpi1")?.hear(4, None);
        ensure(&format!("nothing unasked: {silent:?}"), silent.is_empty())?;
        same("option 108", "", &option_108("rpi3")?)?;
        let advertised = ("2001:db8:64::/96".to_owned(), 600);
        // The first one is sent at once, the next one minutes later.
        let listener = Listener::open("rpi1")?;
        reload(world, ASKED)?;
        let (prefixes, lifetimes) = listener.hear(10, Some(&advertised));
        ensure(&format!("advertised: {prefixes:?}"), prefixes.contains(&advertised))?;
        ensure(&format!("as dnsmasq's: {lifetimes:?}"), lifetimes.iter().all(|time| *time == 600))?;
        must("rpi2", "ip link set eth0 down; sleep 3")?;
        let listener = Listener::open("rpi2")?;
        must("rpi2", "ip link set eth0 up")?;
        let (prefixes, _) = listener.hear(10, Some(&advertised));
        ensure(
            &format!("a node that asks hears it: {prefixes:?}"),
            prefixes.contains(&advertised),
        )?;
        same("option 108", "0000012c", &option_108("rpi3")?)?;
        ensure("the head is the router still", default_route("rpi1").is_some())?;
        must("rpi1", "ping -c 2 -i 0.2 -W 1 2001:db8:64::cb00:7150")?;
        let ended = ("2001:db8:64::/96".to_owned(), 0);
        let listener = Listener::open("rpi1")?;
        reload(world, ON)?;
        let (prefixes, lifetimes) = listener.hear(10, Some(&ended));
        let withdrawn = [ended];
        ensure(&format!("withdrawn: {prefixes:?} {lifetimes:?}"), prefixes == withdrawn)?;
        let (silent, _) = listener.hear(4, None);
        ensure(&format!("and no more of it: {silent:?}"), silent.is_empty())?;
        same("option 108", "", &option_108("rpi3")?)
    })
}

/// Returns the node's addresses in this network that are, or are not, deprecated.
fn addresses(node: &str, net: &str, flag: &str) -> Vec<String> {
    let command = format!("ip -6 -o addr show dev eth0 scope global to {net} {flag}");
    must(node, &command).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// A network that the settings do not want any more: nodes would keep it for ever, and the head as
/// router for ten minutes (RFC 4861 6.2.5, RFC 7084 L-13).
pub fn a_network_of_before_is_withdrawn() -> Result<()> {
    const OTHER: &str = "fd12:3456:789a:1::/64";
    let other = format!("[cluster.dhcp]\n[cluster.ipv6]\nmode = \"auto\"\nprefix = \"{OTHER}\"\n");
    given(ON, |world| {
        until("an address", || made("rpi1").is_some() && default_route("rpi1").is_some())?;
        let before = made("rpi1").unwrap_or_default();
        let is = |flag| !addresses("rpi1", &before, flag).is_empty();
        let lasting = addresses("rpi1", &before, "-deprecated").concat();
        ensure(&format!("for ever: {lasting}"), lasting.contains("valid_lft forever"))?;
        reload(world, OFF)?;
        let took = until("no router, no address to begin with", || {
            default_route("rpi1").is_none() && is("deprecated")
        })?;
        ensure(&format!("{took:?} after it is off"), took < Duration::from_secs(5))?;
        let ending = addresses("rpi1", &before, "deprecated").concat();
        ensure(&format!("it ends: {ending}"), !ending.contains("valid_lft forever"))?;
        reload(world, ON)?;
        until("on again", || default_route("rpi1").is_some() && is("-deprecated"))?;
        // The last advertisements of before are over.
        std::thread::sleep(Duration::from_secs(7));
        ensure("it stays", default_route("rpi1").is_some() && is("-deprecated"))?;
        reload(world, &other)?;
        let new = || !addresses("rpi1", OTHER, "-deprecated -tentative").is_empty();
        until("the new network alone", || new() && is("deprecated"))?;
        let way = must("rpi1", &format!("ip route get {WEB6}"))?;
        ensure(&format!("it leaves from the new one: {way}"), way.contains("src fd12:"))?;
        std::thread::sleep(Duration::from_secs(7));
        ensure("still", new() && is("deprecated") && default_route("rpi1").is_some())?;
        must("rpi1", &format!("ping -c 2 -i 0.2 -W 1 {WEB6}"))?;
        world.stop_gateway("TERM", STOP)?;
        world.set_settings(OFF);
        world.start_gateway()?;
        until("no router after a restart without it", || default_route("rpi1").is_none() && !new())
            .map(drop)
    })
}

/// A gateway that is removed, by `on_stop = "remove"` or by `off`, sends a last advertisement. One
/// that only stops sends none: the next one goes on.
/// Returns the environment of programs whose system clock is in the file `clock`, relative to that of
/// the machine, and puts a dnsmasq of that kind into `PATH`: the daemon clears its environment.
fn own_clock(clock: &str) -> Result<Vec<(String, String)>> {
    let failed = |error: std::io::Error| bramblegate_lab::Error(error.to_string());
    let library = run("sh", &["-c", "ls /usr/lib/*/faketime/libfaketimeMT.so.1"])?;
    let names =
        ["LD_PRELOAD", "FAKETIME_TIMESTAMP_FILE", "FAKETIME_NO_CACHE", "DONT_FAKE_MONOTONIC"];
    let values = [library.trim(), clock, "1", "1"].map(str::to_owned);
    let environment = names.map(str::to_owned).into_iter().zip(values);
    let mut environment: Vec<(String, String)> = environment.collect();
    let exports = environment.iter().map(|(name, value)| format!("export {name}={value}\n"));
    let dnsmasq = run("sh", &["-c", "command -v dnsmasq || echo /usr/sbin/dnsmasq"])?;
    let script =
        format!("#!/bin/sh\n{}exec {} \"$@\"\n", exports.collect::<String>(), dnsmasq.trim());
    let folder = format!("{HOME}/bin");
    fs::create_dir_all(&folder).map_err(failed)?;
    fs::write(format!("{folder}/dnsmasq"), script).map_err(failed)?;
    run("chmod", &["+x", &format!("{folder}/dnsmasq")])?;
    let path = std::env::var("PATH").unwrap_or_default();
    environment.push(("PATH".to_owned(), format!("{folder}:{path}")));
    Ok(environment)
}

/// dnsmasq plans its advertisements by the system clock: where that is set back it would send none.
pub fn a_clock_that_is_set_back_ends_no_advertisements() -> Result<()> {
    before_start(DUAL, |world| {
        let clock = format!("{HOME}/clock");
        let set = |offset: &str| {
            fs::write(&clock, offset).map_err(|error| bramblegate_lab::Error(error.to_string()))
        };
        set("+0")?;
        let environment = own_clock(&clock)?;
        let environment: Vec<_> =
            environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        world.set_settings(ON);
        world.start_gateway_by(&[], &environment)?;
        until("it serves", || is(world, "cluster.dhcp", "serving"))?;
        until("an address", || made("rpi1").is_some())?;
        // In its first minute a dnsmasq advertises every few seconds.
        until_advertised("it advertises by itself")?;
        set("-1h")?;
        until("it is reported", || world.journal().contains("the clock was set back by 3"))?;
        until_advertised("it advertises on")?;
        set("+1d")?;
        until_advertised("it advertises on")?;
        std::thread::sleep(Duration::from_secs(5));
        let reports = world.journal().matches("the clock was set back").count();
        ensure("it is reported once, a clock that is set forward is not", reports == 1)
    })
}

pub fn a_removed_gateway_is_no_router() -> Result<()> {
    let ended = |net: &str| {
        until("no router, no address to begin with", || {
            default_route("rpi1").is_none() && !addresses("rpi1", net, "deprecated").is_empty()
        })
    };
    given(&format!("{ON}[gateway]\non_stop = \"remove\"\n"), |world| {
        until("an address", || made("rpi1").is_some() && default_route("rpi1").is_some())?;
        let net = made("rpi1").unwrap_or_default();
        world.stop_gateway("TERM", STOP)?;
        ended(&net)?;
        world.set_settings(ON);
        world.start_gateway()?;
        until("again", || {
            default_route("rpi1").is_some() && !addresses("rpi1", &net, "-deprecated").is_empty()
        })?;
        world.stop_gateway("TERM", STOP)?;
        std::thread::sleep(Duration::from_secs(1));
        ensure("the nodes keep their way while it stops", default_route("rpi1").is_some())?;
        switch_off()?;
        ended(&net).map(drop)
    })
}

/// What announces the network is switched off, or leaves the nodes' interface: the nodes are
/// informed there.
pub fn a_network_goes_with_what_announces_it() -> Result<()> {
    let elsewhere = format!("[cluster]\ninterface = \"spare0\"\n{ON}");
    let ways = [
        ("the gateway is disabled", format!("{ON}[gateway]\nenabled = false\n")),
        ("no address is served", String::new()),
        ("the cluster interface is another", elsewhere.clone()),
        ("and this one an uplink", format!("{elsewhere}[uplink]\ninterfaces = [\"eth*\"]\n")),
    ];
    given(ON, |world| {
        must(
            "head",
            "ip link add spare0 type veth peer name spare1; ip link set spare0 up; ip link set \
             spare1 up",
        )?;
        let mut net = String::new();
        let is = |net: &str, flag| !addresses("rpi1", net, flag).is_empty();
        for (what, settings) in &ways {
            at_last("a router and an address", || {
                net = made("rpi1").unwrap_or_default();
                default_route("rpi1").is_some() && !net.is_empty() && is(&net, "-deprecated")
            })?;
            reload(world, settings)?;
            let took = until(&format!("{what}: no router, no address to begin with"), || {
                default_route("rpi1").is_none() && is(&net, "deprecated")
            })?;
            promptly(what, took, Duration::from_secs(3))?;
            std::thread::sleep(Duration::from_secs(4));
            ensure(
                &format!("{what}: it stays so"),
                default_route("rpi1").is_none() && !is(&net, "-deprecated"),
            )?;
            reload(world, ON)?;
        }
        Ok(())
    })
}

pub fn switched_off_all_is_as_it_was() -> Result<()> {
    given(OFF, |world| {
        let before = settings()?;
        let log = PathBuf::from(format!("{HOME}/routes.log"));
        let _monitor = spawn(within("head", "ip").args(["-6", "monitor", "route"]), &log)?;
        reload(world, ON)?;
        until("an address of nodes that are there already", || made("rpi1").is_some())?;
        let routes = fs::read_to_string(&log).unwrap_or_default();
        let lost = routes.contains("Deleted default");
        ensure(&format!("the head never loses its own way:\n{routes}"), !lost)?;
        let held = fs::read_to_string(format!("{HOME}/state/cluster.ipv6")).unwrap_or_default();
        ensure("it is on", settings()? != before)?;
        reload(world, OFF)?;
        until("it is off", || settings().is_ok_and(|now| now == before))?;
        let gone = || must("head", "ip -6 addr show dev eth0").is_ok_and(|it| !it.contains(" fd"));
        until("its address is gone", gone)?;
        ensure("no way out", exec("rpi1", &format!("ping -c 1 -W 1 {WEB6}"))?.0 != 0)?;
        reload(world, ON)?;
        until("it is on again", || settings().is_ok_and(|now| now != before))?;
        let again = fs::read_to_string(format!("{HOME}/state/cluster.ipv6")).unwrap_or_default();
        same("the network", &held, &again)?;
        world.stop_gateway("TERM", STOP)?;
        switch_off()?;
        same("what `off` leaves", &before, &settings()?)
    })
}

/// Takes the uplink's global address away and keeps its default route. The venue advertises no more:
/// an advertisement would restore the address. Returns the address.
fn lose_address(world: &World) -> Result<String> {
    let held = held(world)?;
    let silent = "table ip6 silent {\nchain out {\ntype filter hook output priority 0\nicmpv6 type \
                  nd-router-advert drop\n}\n}\n";
    feed("ip", &["netns", "exec", "venue", "nft", "-f", "-"], silent)?;
    must("head", &format!("ip -6 addr del {held} dev eth1"))?;
    until("the rules know", || held_back().is_some())?;
    ensure("the route is there", default_route("head").is_some())?;
    Ok(held)
}

/// Returns the number of packets that wait for an address of the uplink; `None` if it has one.
fn held_back() -> Option<u64> {
    let text = must("head", "nft list chain inet bramblegate from_cluster").ok()?;
    let rule = text.lines().find(|line| line.contains("the uplink has no IPv6 address yet"))?;
    rule.split("packets ").nth(1)?.split(' ').next()?.parse().ok()
}

/// Gives the uplink its address again, and waits until the ping that writes this log is answered.
fn goes_on_with(held: &str, log: &Path) -> Result<()> {
    let answers = || fs::read_to_string(log).unwrap_or_default().matches("time=").count();
    let before = answers();
    must("head", &format!("ip -6 addr add {held} dev eth1 valid_lft 900 preferred_lft 800"))?;
    until("it goes on", || answers() > before).map(drop)
}

/// The uplink has a default route, and no address but the link-local one yet, as before a DHCPv6
/// server has answered. What a node sends must not bind its connection to that for good.
pub fn a_connection_from_before_the_uplinks_address_goes_on() -> Result<()> {
    given(ON, |world| {
        until("an address", || made("rpi1").is_some())?;
        let held = lose_address(world)?;
        let log = PathBuf::from(format!("{HOME}/goes-on.log"));
        let _ping = spawn(within("rpi1", "ping").args(["-n", "-i", "0.02", WEB6]), &log)?;
        until("it has begun", || held_back().is_some_and(|packets| packets >= 10))?;
        goes_on_with(&held, &log)
    })
}

/// The kernel forgets a connection with the address behind which it was hidden. The next packet may
/// come before the rules know, and binds nothing to the link-local address either.
pub fn a_connection_that_outlasts_the_uplinks_address_goes_on() -> Result<()> {
    given(ON, |world| {
        until("an address", || made("rpi1").is_some())?;
        let log = PathBuf::from(format!("{HOME}/outlasts.log"));
        let _ping = spawn(within("rpi1", "ping").args(["-n", "-i", "0.002", WEB6]), &log)?;
        until("it is answered", || fs::read_to_string(&log).is_ok_and(|it| it.contains("time=")))?;
        let held = lose_address(world)?;
        let bound = "conntrack -L -f ipv6 -p icmpv6 2>/dev/null | grep 'dst=fe80:'";
        let (_, bound) = exec("head", bound)?;
        ensure(&format!("nothing is bound to the link-local address: {bound}"), bound.is_empty())?;
        goes_on_with(&held, &log)
    })
}

/// Hides from the programs of this world that the kernel can forward on a single interface.
pub fn older_kernel() -> Result<()> {
    let empty = format!("{HOME}/empty");
    fs::write(&empty, "").map_err(|error| bramblegate_lab::Error(error.to_string()))?;
    let file = "/proc/sys/net/ipv6/conf/all/force_forwarding";
    if !fs::exists(file).unwrap_or(false) {
        return Ok(());
    }
    run("nsenter", &["--net=/run/netns/head", "mount", "--bind", &empty, file]).map(drop)
}

pub fn on_an_older_kernel_the_head_keeps_its_own_way() -> Result<()> {
    before_start(DUAL, |world| {
        older_kernel()?;
        world.set_settings(OFF);
        world.start_gateway()?;
        until("it serves", || is(world, "cluster.dhcp", "serving"))?;
        until("the head has IPv6 by the venue", || default_route("head").is_some())?;
        let read = "cd /proc/sys/net/ipv6/conf; for f in all eth0 eth1; do echo $f $(cat \
                    $f/forwarding $f/accept_ra); done";
        let before = must("head", read)?;
        reload(world, ON)?;
        until("an address", || made("rpi1").is_some())?;
        let now = must("head", read)?;
        ensure(&format!("all ports forward:\n{now}"), now.contains("all 1"))?;
        ensure(&format!("the uplink listens all the same:\n{now}"), now.contains("eth1 1 2"))?;
        ensure("the head keeps its route", default_route("head").is_some())?;
        // A node configures its address before the rules of the new settings are loaded.
        let ping = format!("ping -c 1 -W 1 {WEB6}");
        until("a node's way out", || exec("rpi1", &ping).is_ok_and(|(code, _)| code == 0))?;
        // The learned state of the venue is dropped, and returns with the next advertisement.
        must("head", "ip -6 route del default")?;
        must("head", "ip link set eth1 down; ip link set eth1 up")?;
        until("it hears the venue's router", || default_route("head").is_some())?;
        reload(world, OFF)?;
        until("it is as it was", || must("head", read).is_ok_and(|now| now == before))?;
        ensure("the head keeps its route", default_route("head").is_some())
    })
}

/// A DHCP client of the head begins to hear routers itself, so that the kernel must not: neither
/// what is applied again nor what is given back may change that.
pub fn a_clients_choice_about_routers_stays() -> Result<()> {
    let conf = "/proc/sys/net/ipv6/conf/eth1";
    let of = |name: &str| must("head", &format!("cat {conf}/{name}"));
    let held = || of("accept_ra").map(|text| text.trim().to_owned());
    let is = |value: &str| held().is_ok_and(|held| held == value);
    let set = |value: &str| must("head", &format!("echo {value} > {conf}/accept_ra")).map(drop);
    let other = format!("{ON}prefix = \"fd12:3456:789a:1::/64\"\n");
    let head_is_in = |net: &str| {
        let shown = format!("ip -6 -o addr show dev eth0 to {net}");
        must("head", &shown).is_ok_and(|text| !text.is_empty())
    };
    given(ON, |world| {
        until("the kernel hears routers though ports forward", || is("2"))?;
        set("0")?;
        reload(world, &other)?;
        until("applied again", || head_is_in("fd12:3456:789a:1::/64"))?;
        same("what the client chose", "0", &held()?)?;
        reload(world, OFF)?;
        let last = || of("use_oif_addrs_only").is_ok_and(|text| text.trim() == "0");
        until("given back", || !head_is_in("fd12:3456:789a:1::/64") && last())?;
        same("what the client chose", "0", &held()?)?;
        set("1")?;
        reload(world, ON)?;
        until("the kernel hears routers once more", || is("2"))?;
        world.stop_gateway("TERM", STOP)?;
        set("0")?;
        switch_off()?;
        same("what the client chose", "0", &held()?)
    })
}

/// Takes everything away by `bramblegate off`.
fn switch_off() -> Result<()> {
    let off = format!(
        "STATE_DIRECTORY={HOME}/state {} off -c {HOME}/bramblegate.toml",
        crate::program().display()
    );
    must("head", &off).map(drop)
}

pub fn a_router_among_the_nodes_is_refused_and_reported() -> Result<()> {
    given(ON, |world| {
        until("an address", || made("rpi2").is_some())?;
        ensure("the head's own are none of a stranger", alert(world, "gateway-drops").is_none())?;
        must("rpi3", "ip -6 addr add 2001:db8:bad::1/64 dev eth0 nodad")?;
        let log = PathBuf::from(format!("{HOME}/router.log"));
        let mut command = within("rpi3", "dnsmasq");
        command.args(["-d", "-C", "/dev/null", "--port=0", "--interface=eth0", "--log-dhcp"]);
        let leases = format!("--dhcp-leasefile={HOME}/router.leases");
        let _router = spawn(command.args(["--dhcp-range=2001:db8:bad::,ra-only", &leases]), &log)?;
        until("the other router", || {
            fs::read_to_string(&log).is_ok_and(|text| text.contains("RTR-ADVERT"))
        })?;
        let start = std::time::Instant::now();
        while alert(world, "gateway-drops").is_none() && start.elapsed() < Duration::from_secs(80) {
            std::thread::sleep(Duration::from_millis(200));
        }
        let text = alert(world, "gateway-drops").unwrap_or_default();
        println!("{:?}: {text}", start.elapsed());
        ensure(&format!("it is reported: {text}"), text.contains("IPv6 router"))?;
        ensure(&format!("with its address: {text}"), text.contains("fe80::ba27:ebff:fe00:3"))?;
        // The head's own advertisements are visible too.
        let looks =
            text.split('`').nth(1).unwrap_or_default().replace("sudo tcpdump", "tcpdump -l");
        let looks = format!("timeout 40 {looks} 2>/dev/null | grep -m 1 -o b8:27:eb:00:00:03");
        let (_, seen) = exec("head", &looks)?;
        ensure(&format!("the command shows who it is: {seen}"), seen.contains("00:00:03"))?;
        let addresses = must("head", "ip -6 addr show dev eth0")?;
        ensure(
            &format!("the head makes no address of it:\n{addresses}"),
            !addresses.contains("2001:db8:bad"),
        )?;
        let routes = must("head", "ip -6 route show default dev eth0")?;
        ensure(&format!("and no route:\n{routes}"), routes.trim().is_empty())
    })
}
