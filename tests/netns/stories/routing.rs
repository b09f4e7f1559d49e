//! The route of an ordinary packet: other programs' routing rules, overlaps, and uplinks without
//! internet.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use bramblegate_lab::file::Internet;
use bramblegate_lab::shell::{exec, ip, must};
use bramblegate_lab::{Error, Result, World, wiring};

use super::client::inside;
use super::scene::{
    PLAIN, TWO, alert, before_start, ensure, is, online, try_from, until, wait_online,
};

/// A tunnel that drops everything.
const TUNNEL: &str = "ip link add tailscale0 type veth peer name nowhere && ip addr add \
                      100.64.0.1/32 dev tailscale0 && \
                      ip link set tailscale0 up arp off && ip link set nowhere up && \
                      ip route add default dev tailscale0 table 52";

/// What has to work in any case: head ↔ nodes, the laptop to the head, and answers beyond the
/// venue's router.
const PROMISED: [(&str, &str); 4] = [
    ("head", "ping 192.168.50.11"),
    ("rpi1", "ping 192.168.50.1"),
    ("laptop", "tcp 10.99.0.126:22"),
    ("laptop", "ping 10.99.0.126"),
];

fn all_promised(world: &World) -> Result<()> {
    PROMISED.iter().try_for_each(|(place, check)| try_from(world, place, check))?;
    beyond("10.99.0.0/24", "10.99.0.126")
}

/// A host beyond the venue's router, at the internet's address, connects to the head's ssh.
fn beyond(venue: &str, head: &str) -> Result<()> {
    let (_, _) = exec("internet", &format!("ip route replace {venue} via 198.51.100.2"))?;
    let (_, text) = exec("internet", &format!("sleep 0.3 | busybox nc -w 2 {head} 22"))?;
    ensure(&format!("ssh from beyond the venue's router: {text:?}"), text.trim() == "SSH-2.0-venue")
}

/// Rules of VPN programs, each added after the gateway's start: none of them cuts off any host.
pub fn rules_of_a_vpn_cut_no_node_off() -> Result<()> {
    online(PLAIN, |world| {
        all_promised(world)?;
        must("head", TUNNEL)?;
        for (name, rules, undo) in [
            ("tailscale", "ip rule add preference 5270 table 52", "ip rule del preference 5270"),
            (
                "wg-quick, started before us",
                "ip rule add preference 32765 not fwmark 51820 table 52; \
                 ip rule add preference 32764 table main suppress_prefixlength 0",
                "ip rule del preference 32765; ip rule del preference 32764",
            ),
        ] {
            must("head", rules)?;
            let exit = || alert(world, "uplink-exit-by").filter(|text| text.contains("tailscale0"));
            until("the exit is named", || exit().is_some())?;
            std::thread::sleep(Duration::from_millis(1500));
            all_promised(world).map_err(|error| Error(format!("{name}: {error}")))?;
            ensure("the nodes are up", is(world, "cluster.up", "3"))?;
            ensure("and nothing else is said", alert(world, "gateway-rule").is_none())?;
            // The alert's advice keeps the nodes off it.
            let advice = remedy(&exit().unwrap_or_default())?;
            must("head", &advice)?;
            until("the exit is an uplink again", || alert(world, "uplink-exit-by").is_none())?;
            try_from(world, "rpi1", "http http://203.0.113.80/")?;
            must("head", &advice.replace("rule add", "rule del"))?;
            until("or not", || exit().is_some())?;
            must("head", undo)?;
            until("it is without the VPN", || alert(world, "uplink-exit-by").is_none())?;
        }
        ensure(
            "the main table is as it was",
            !must("head", "ip route show table main")?.contains("proto 98"),
        )
    })
}

/// A subnet router's peer connects to the head's address in the venue: the answer goes back through
/// the tunnel.
pub fn peer_of_a_tunnel_reaches_the_uplinks_address() -> Result<()> {
    online(PLAIN, |world| {
        ip(
            "",
            "netns add peer\nlink add tailscale0 netns head type veth peer name eth0 netns peer\n",
        )?;
        must(
            "peer",
            "ip addr add 100.64.0.5/10 dev eth0; ip link set eth0 up; ip route add default via \
             100.64.0.1",
        )?;
        must("head", "ip addr add 100.64.0.1/32 dev tailscale0; ip link set tailscale0 up")?;
        must(
            "head",
            "ip route add 100.64.0.0/10 dev tailscale0 table 52; ip rule add preference 5270 \
             table 52",
        )?;
        until("it answers", || {
            exec("peer", "busybox nc -w 2 10.99.0.126 9100 </dev/null")
                .is_ok_and(|(code, _)| code == 0)
        })?;
        try_from(world, "laptop", "tcp 10.99.0.126:22")
    })
}

/// Returns the commands in an alert's text.
fn remedy(text: &str) -> Result<String> {
    let commands = text.split_once("(sudo ").and_then(|(_, rest)| rest.split_once(')'));
    let (commands, _) = commands.ok_or_else(|| Error(format!("no remedy in {text:?}")))?;
    println!("{commands}");
    Ok(commands.replace("sudo ", ""))
}

/// A foreign rule before the gateway's is reported, and the alert's advice helps: the alert goes,
/// and the connection works.
pub fn rule_before_ours_is_reported_with_a_remedy_that_works() -> Result<()> {
    online(PLAIN, |world| {
        must("head", TUNNEL)?;
        must("head", "ip rule add preference 4000 table 52")?;
        until("it is reported", || alert(world, "gateway-rule").is_some())?;
        until("the nodes are down", || is(world, "cluster.up", "0"))?;
        let text = alert(world, "gateway-rule").unwrap_or_default();
        ensure(
            &format!("it names rule and table: {text}"),
            text.contains("4000") && text.contains("52"),
        )?;
        must("head", &remedy(&text)?)?;
        until("it helps", || alert(world, "gateway-rule").is_none())?;
        all_promised(world)?;
        until("the nodes are up", || is(world, "cluster.up", "3"))?;
        must("head", "ip rule del preference 4000")?;
        // A kill switch: packets leave only through the tunnel.
        must("head", "ip rule add preference 3000 to 192.168.50.0/24 prohibit")?;
        until("it is reported", || {
            alert(world, "gateway-rule").is_some_and(|text| text.contains("3000"))
        })?;
        let text = alert(world, "gateway-rule").unwrap_or_default();
        must("head", &remedy(&text)?)?;
        until("no longer", || alert(world, "gateway-rule").is_none())?;
        all_promised(world)
    })
}

/// A rule for TCP only, for one user's packets or for one node's is reported too.
pub fn rule_that_takes_a_part_is_reported_too() -> Result<()> {
    online(PLAIN, |world| {
        must("head", TUNNEL)?;
        // The head's ssh to a node, and its own answers to a host in the venue.
        let of_ports = ["ipproto tcp dport 22", "sport 1-1023"];
        for selector in of_ports.into_iter().chain([
            "ipproto tcp",
            "tos 0x10",
            "uidrange 1000-1000",
            "to 192.168.50.12",
            "from 192.168.50.0/24 prohibit",
        ]) {
            let rule = format!("preference 4000 {selector}");
            let lookup = if selector.ends_with("prohibit") { "" } else { "lookup 52" };
            must("head", &format!("ip rule add {rule} {lookup}"))?;
            until(selector, || alert(world, "gateway-rule").is_some())?;
            let text = alert(world, "gateway-rule").unwrap_or_default();
            ensure(&format!("it is named: {text}"), text.contains("rule 4000"))?;
            ensure(
                "once",
                world.status()?.alerts.iter().filter(|alert| alert.code == "gateway-rule").count()
                    == 1,
            )?;
            must("head", &remedy(&text)?)?;
            until("it helps", || alert(world, "gateway-rule").is_none())?;
            must(
                "head",
                "ip rule del preference 4000; while ip rule del preference 3999; do :; done \
                 2>/dev/null; true",
            )?;
        }
        // The head's own packets into a tunnel to the internet do not concern the cluster.
        must("head", "ip rule add preference 4000 iif lo ipproto udp dport 53 lookup 52")?;
        must("head", "ip rule add preference 4001 iif lo ipproto tcp dport 443 lookup 52")?;
        std::thread::sleep(Duration::from_millis(2500));
        ensure("nothing is said", alert(world, "*").is_none())?;
        must("head", "ip rule flush")?;
        until("the main table is missed", || {
            alert(world, "uplink-no-exit").is_some_and(|text| text.contains("lookup main"))
        })?;
        ensure("no rule is blamed", alert(world, "gateway-rule").is_none())?;
        must("head", &remedy(&alert(world, "uplink-no-exit").unwrap_or_default())?)?;
        until("all is well", || alert(world, "*").is_none())?;
        all_promised(world)
    })
}

/// So is a rule for a part of the nodes' packets to the internet, whatever its priority; the
/// alert's advice sends the nodes' packets through the uplink again.
pub fn rule_that_takes_a_part_of_the_nodes_way_out_is_reported() -> Result<()> {
    online(PLAIN, |world| {
        must("head", TUNNEL)?;
        let of_node = |selector: &str| {
            let fields = "ip -4 route get 203.0.113.80 iif eth0 from";
            match selector.split_once("from ") {
                Some((_, source)) => format!("{fields} {source}"),
                None => format!("{fields} 192.168.50.11 {}", selector.replace("iif eth0", "")),
            }
        };
        for (preference, selector, target) in [
            (4000, "ipproto tcp dport 80", "lookup 52"),
            (5300, "iif eth0 ipproto udp dport 53", "lookup 52"),
            (5300, "iif eth0 ipproto tcp sport 1024-65000 dport 80", "prohibit"),
            (4000, "iif eth0 tos 0x10", "lookup 52"),
            (5300, "ipproto icmp", "blackhole"),
            (5300, "from 192.168.50.12", "lookup 52"),
        ] {
            must("head", &format!("ip rule add preference {preference} {selector} {target}"))?;
            until(selector, || alert(world, "gateway-rule").is_some())?;
            let text = alert(world, "gateway-rule").unwrap_or_default();
            let named = format!("rule {preference}");
            ensure(&format!("it is named, with its part: {text}"), text.contains(&named))?;
            let asked = of_node(selector).replace("1024-65000", "1024");
            let goes = |wanted: bool| {
                let (code, text) = exec("head", &format!("{asked} 2>&1"))?;
                let by_uplink = code == 0 && text.contains("dev eth1");
                ensure(&format!("{asked}: {text}"), by_uplink == wanted)
            };
            goes(false)?;
            must("head", &remedy(&text)?)?;
            until("it helps", || alert(world, "*").is_none())?;
            goes(true)?;
            let before = preference - 1;
            must(
                "head",
                &format!("ip rule del preference {preference}; ip rule del preference {before}"),
            )?;
        }
        // Through an uplink, or for packets that no node sends: not reported.
        must("head", "ip route add default via 10.99.0.1 dev eth1 table 77")?;
        must("head", "ip rule add preference 5300 ipproto tcp dport 80 lookup 77")?;
        must("head", "ip rule add preference 5301 iif lo ipproto tcp dport 80 lookup 52")?;
        must("head", "ip rule add preference 5302 fwmark 0x1 ipproto tcp lookup 52")?;
        std::thread::sleep(Duration::from_millis(2500));
        ensure("nothing is said", alert(world, "*").is_none())
    })
}

/// Nothing is reported where the main table has no default route and other tables lead out through
/// the uplink.
pub fn way_out_by_other_routes_is_no_missing_router() -> Result<()> {
    online(PLAIN, |world| {
        world.kill_client("eth1")?;
        for (route, undo) in [
            (
                "ip route add 0.0.0.0/1 via 10.99.0.1 && ip route add 128.0.0.0/1 via 10.99.0.1",
                "ip route del 0.0.0.0/1; ip route del 128.0.0.0/1",
            ),
            (
                "ip route add default via 10.99.0.1 table 100 && ip rule add preference 30000 \
                 lookup 100",
                "ip rule del preference 30000",
            ),
        ] {
            must(
                "head",
                &format!("{route} && while ip route del default; do :; done 2>/dev/null; true"),
            )?;
            std::thread::sleep(Duration::from_millis(2500));
            try_from(world, "rpi1", "http http://203.0.113.80/")?;
            ensure(&format!("nothing is said: {route}"), alert(world, "*").is_none())?;
            must("head", undo)?;
            until("now there is none", || alert(world, "uplink-no-route").is_some())?;
        }
        Ok(())
    })
}

/// The preferred uplink has an address and no internet, the other has both: the nodes use the
/// other, row 1 stays.
pub fn nodes_leave_by_the_uplink_that_has_internet() -> Result<()> {
    online(TWO, |world| {
        until("both are online", || {
            is(world, "uplinks.0.state", "online") && is(world, "uplinks.1.state", "online")
        })?;
        must("head", "ip -4 route show table main > /tmp/main.before")?;
        must("rpi1", "echo x | busybox nc -u -w 1 203.0.113.80 50001; true")?;
        world.internet("eth1", Internet::Dead)?;
        // Probe again at once: the probe of a quiet uplink may wait a minute.
        must("head", "ip route replace default via 10.99.0.1 dev eth1 metric 100 mtu 1500")?;
        must("head", "ip addr change 10.99.0.126/24 dev eth1 valid_lft 900 preferred_lft 900")?;
        world.renew("eth1")?;
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(30)
            && try_from(world, "rpi1", "http http://203.0.113.80/").is_err()
        {
            std::thread::sleep(Duration::from_millis(100));
        }
        println!("the nodes have internet again after {:?}", start.elapsed());
        try_from(world, "rpi1", "http http://203.0.113.80/")?;
        until("it is reported", || {
            alert(world, "uplink-failover").is_some_and(|text| text.contains("wlan0"))
        })?;
        ensure(
            "row 1 stays",
            world.glass().concat().contains("10.99.0.126") && is(world, "uplink.interface", "eth1"),
        )?;
        ensure("ssh too", try_from(world, "laptop", "tcp 10.99.0.126:22").is_ok())?;
        let tracked = must("head", "conntrack -L 2>/dev/null")?;
        let stale = tracked
            .lines()
            .any(|line| line.contains("src=192.168.50.") && line.contains("dst=10.99.0.126"));
        ensure(&format!("no entry of the other uplink is left:\n{tracked}"), !stale)?;
        ensure(
            "main is left alone",
            !must("head", "ip -4 route show table main")?.contains("proto 98"),
        )
    })
}

/// Sends "hello" on a port of `place` until the world ends.
fn greets(place: &'static str, port: u16) -> Result<()> {
    let (ready, is_ready) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        inside(place, move || {
            let listener = TcpListener::bind(("0.0.0.0", port))?;
            let _ = ready.send(());
            listener
                .incoming()
                .flatten()
                .take(8)
                .for_each(|mut stream| drop(stream.write_all(b"hello")));
            Ok(())
        })
    });
    is_ready.recv().map_err(|_| Error(format!("{place} does not listen")))
}

/// Returns what a port sends.
fn heard(from: &'static str, to: &'static str) -> Result<String> {
    inside(from, move || {
        let address: SocketAddr = to.parse().map_err(|_| std::io::ErrorKind::InvalidInput)?;
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    })
}

/// An MPI job over head and nodes, where the venue uses the cluster's subnet: each chooses any
/// address of the other.
fn mpi(cluster_port_last: bool) -> Result<()> {
    let venue =
        PLAIN.replace("10.99.0.1/24", "192.168.50.254/24").replace("10.99.0.", "192.168.50.");
    before_start(&venue, |world| {
        if cluster_port_last {
            wiring::renew_cluster_port()?;
        }
        let index = |port: &str| must("head", &format!("cat /sys/class/net/{port}/ifindex"));
        let (cluster, uplink): (String, String) = (index("eth0")?, index("eth1")?);
        let later = cluster.trim().parse::<u32>().ok() > uplink.trim().parse().ok();
        ensure("the order of the ports", later == cluster_port_last)?;
        greets("head", 5000)?;
        greets("rpi1", 5000)?;
        world.start_gateway()?;
        wait_online(world)?;
        until("the overlap is seen", || is(world, "gateway.overlap", "routed"))?;
        until("a node finds the address on the LCD", || {
            heard("rpi1", "192.168.50.126:5000").is_ok_and(|text| text == "hello")
        })?;
        ensure("and the head's own", heard("rpi1", "192.168.50.1:5000")? == "hello")?;
        ensure("the head finds the node", heard("head", "192.168.50.11:5000")? == "hello")?;
        // Open MPI binds to one of the head's addresses: that of the interface with the lower
        // index.
        for own in ["192.168.50.126", "192.168.50.1"] {
            let line = format!("nc -w 3 -s {own} 192.168.50.11 5000 </dev/null");
            ensure(&format!("from {own}"), must("head", &line)? == "hello")?;
        }
        try_from(world, "rpi1", "ping 192.168.50.126")?;
        try_from(world, "laptop", "tcp 192.168.50.126:22")?;
        try_from(world, "laptop", "ping 192.168.50.126")?;
        beyond("192.168.50.0/24", "192.168.50.126")?;
        try_from(world, "rpi1", "http http://203.0.113.80/")
    })
}

pub fn overlap_with_the_cluster_port_first_lets_nodes_find_the_uplinks_address() -> Result<()> {
    mpi(false)
}

pub fn overlap_with_the_cluster_port_last_lets_nodes_find_the_uplinks_address() -> Result<()> {
    mpi(true)
}

/// A node that has sent datagrams ten times a second since before the rules were loaded: they are
/// translated like all others.
pub fn datagrams_older_than_the_rules_are_translated() -> Result<()> {
    before_start(PLAIN, |world| {
        let _echo = world.serve("internet", "udp-echo", "203.0.113.80:5005")?;
        must(
            "head",
            "echo 1 > /proc/sys/net/ipv4/ip_forward; ip addr add 192.168.50.1/24 dev eth0; ip \
             link set eth0 up",
        )?;
        must(
            "head",
            "nft 'add table ip track; add chain ip track f { type filter hook forward priority 0; \
             }; \
                      add rule ip track f ct state new counter'",
        )?;
        super::scene::leased()?;
        let answers = std::thread::spawn(|| {
            inside("rpi1", || {
                let socket = UdpSocket::bind("0.0.0.0:40000")?;
                socket.connect("203.0.113.80:5005")?;
                socket.set_read_timeout(Some(Duration::from_millis(100)))?;
                let mut buffer = [0; 16];
                let mut answered_at = Vec::new();
                for number in 0..100 {
                    socket.send(b"x")?;
                    if socket.recv(&mut buffer).is_ok() {
                        answered_at.push(number);
                        std::thread::sleep(Duration::from_millis(100));
                    }
                }
                Ok(answered_at)
            })
        });
        let tracked = || must("head", "conntrack -L -p udp --dport 5005 2>/dev/null");
        until("the flow is tracked as it is", || {
            tracked().is_ok_and(|text| text.contains("dst=192.168.50.11"))
        })?;
        world.start_gateway()?;
        until("it is translated", || tracked().is_ok_and(|text| text.contains("dst=10.99.0.126")))?;
        let answered = answers.join().map_err(|_| Error("the node's sender".into()))??;
        ensure(&format!("and answered: {answered:?}"), answered.len() > 20)
    })
}
