//! Forwarded ports of the head.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use bramblegate_lab::inside::HOME;
use bramblegate_lab::shell::{exec, ip, must};
use bramblegate_lab::{Error, Result, World};

use super::client::inside;
use super::inventory::{SETTINGS, succeed};
use super::scene::{
    PLAIN, STOP, TWO, alert, before_start, ensure, is, online, reload, try_from, until, wait_online,
};

const FORWARD: &str = "[[forward]]\nlisten = 2201\nto = \"rpi1:22\"\n";

/// Returns what the laptop receives at a port of the head.
fn greeting(port: u16) -> Result<String> {
    let (_, text) = exec("laptop", &format!("sleep 0.4 | busybox nc -w 2 10.99.0.126 {port}"))?;
    Ok(text.trim().to_owned())
}

fn reaches_the_node() -> Result<()> {
    let text = greeting(2201)?;
    ensure(&format!("the node answers at the head's port: {text:?}"), text == "SSH-2.0-venue")
}

fn open_ports(world: &World, address: &str, ports: &[u16]) -> Vec<u16> {
    let open = |port: u16| try_from(world, "laptop", &format!("tcp {address}:{port}")).is_ok();
    // All at once, since each closed one takes the whole timeout.
    std::thread::scope(|scope| {
        let tried = ports.iter().map(|port| (*port, scope.spawn(move || open(*port))));
        let tried: Vec<_> = tried.collect();
        let open = tried.into_iter().filter_map(|(port, tried)| match tried.join() {
            Ok(true) => Some(port),
            _ => None,
        });
        open.collect()
    })
}

pub fn laptop_reaches_a_node_through_the_head() -> Result<()> {
    before_start(PLAIN, |world| {
        let _node = world.serve("rpi1", "banner", "[::]:22")?;
        let _more = world.serve("rpi1", "banner", "[::]:8080")?;
        let _other = world.serve("rpi2", "banner", "[::]:22")?;
        world.set_settings(FORWARD);
        world.start_gateway()?;
        wait_online(world)?;
        reaches_the_node()?;
        ensure("the head's own ssh too", try_from(world, "laptop", "tcp HEAD:22").is_ok())?;
        let open = open_ports(world, "10.99.0.126", &[22, 80, 2200, 2201, 2202, 8080, 9100]);
        ensure(&format!("and nothing else: {open:?}"), open == [22, 2201])?;
        must("laptop", "ip route add 192.168.50.0/24 via 10.99.0.126")?;
        for node in ["192.168.50.11", "192.168.50.12"] {
            let open = open_ports(world, node, &[22, 2201, 8080]);
            ensure(&format!("{node} itself stays closed: {open:?}"), open.is_empty())?;
        }
        // Only at an address of the head: a packet that passes through it is not for its port.
        must("laptop", "ip route add 172.17.0.0/16 via 10.99.0.126")?;
        ensure(
            "what passes is left alone",
            try_from(world, "laptop", "tcp 172.17.0.2:2201").is_err(),
        )?;
        ensure(
            "nor is the way out disturbed",
            try_from(world, "rpi1", "http http://www.example/").is_ok(),
        )?;
        until("nothing is to complain of", || is(world, "severity", "ok")).map(drop)
    })
}

pub fn forwarded_port_outlives_the_daemon() -> Result<()> {
    before_start(PLAIN, |world| {
        let _node = world.serve("rpi1", "banner", "[::]:22")?;
        world.set_settings(FORWARD);
        world.start_gateway()?;
        wait_online(world)?;
        reaches_the_node()?;
        world.stop_gateway("TERM", STOP)?;
        reaches_the_node()?;
        world.start_gateway()?;
        wait_online(world)?;
        reaches_the_node()
    })
}

pub fn forwarded_port_follows_the_node() -> Result<()> {
    online(PLAIN, |world| {
        let _node = world.serve("rpi1", "banner", "[::]:22")?;
        ensure("closed before", open_ports(world, "10.99.0.126", &[2201]).is_empty())?;
        reload(world, FORWARD)?;
        until("open after a reload", || greeting(2201).is_ok_and(|text| text == "SSH-2.0-venue"))?;
        must(
            "rpi1",
            "ip addr del 192.168.50.11/24 dev eth0; ip addr add 192.168.50.21/24 dev eth0; ip \
             route add default via 192.168.50.1",
        )?;
        reload(
            world,
            &format!("{FORWARD}[[node]]\nname = \"rpi1\"\naddress = \"192.168.50.21\"\n"),
        )?;
        until("the same node at its new address", || {
            greeting(2201).is_ok_and(|text| text == "SSH-2.0-venue")
        })?;
        reload(world, "")?;
        until("closed again", || open_ports(world, "10.99.0.126", &[2201]).is_empty()).map(drop)
    })
}

/// Answers each datagram with its own name and the sender, until nothing has come for some seconds.
fn answers(node: &'static str) -> Result<()> {
    let (ready, is_ready) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        inside(node, move || {
            let socket = UdpSocket::bind("0.0.0.0:5005")?;
            socket.set_read_timeout(Some(Duration::from_secs(20)))?;
            let _ = ready.send(());
            let mut buffer = [0; 64];
            while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
                socket.send_to(format!("{node} hears {peer}").as_bytes(), peer)?;
            }
            Ok(())
        })
    });
    is_ready.recv().map_err(|_| Error(format!("{node} does not listen")))
}

/// Returns the answer to a datagram, from the same port of the laptop each time.
fn logged(from: &'static str, to: &'static str) -> Result<String> {
    inside(from, move || {
        let socket = UdpSocket::bind("0.0.0.0:40000")?;
        socket.set_read_timeout(Some(Duration::from_millis(300)))?;
        socket.connect(to)?;
        socket.send(b"who is there?")?;
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer).unwrap_or(0);
        Ok(String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned())
    })
}

/// To the kernel, a sender that never pauses is one connection for ever: it has to follow anyway.
pub fn datagrams_go_both_ways_and_follow_the_node() -> Result<()> {
    const HEAD: &str = "10.99.0.126:5000";
    let forward =
        |node: &str| format!("[[forward]]\nlisten = \"udp:5000\"\nto = \"{node}:5005\"\n");
    online(PLAIN, |world| {
        answers("rpi1")?;
        answers("rpi2")?;
        answers("laptop")?;
        ensure("closed before", logged("laptop", HEAD)?.is_empty())?;
        reload(world, &forward("rpi1"))?;
        // The node sees the sender, and its answer comes from the address that was used.
        until("the node answers", || {
            logged("laptop", HEAD).is_ok_and(|text| text == "rpi1 hears 10.99.0.20:40000")
        })?;
        ensure("not for TCP", open_ports(world, "10.99.0.126", &[5000, 5005]).is_empty())?;
        ensure("nor at the node's own number", logged("laptop", "10.99.0.126:5005")?.is_empty())?;
        let out = logged("rpi1", "10.99.0.20:5005")?;
        ensure(&format!("the other way as ever: {out}"), out == "laptop hears 10.99.0.126:40000")?;
        reload(world, &forward("rpi2"))?;
        until("the same sender reaches the other node", || {
            logged("laptop", HEAD).is_ok_and(|text| text == "rpi2 hears 10.99.0.20:40000")
        })?;
        reload(world, "")?;
        until("and no client once it is closed", || {
            logged("laptop", HEAD).is_ok_and(|text| text.is_empty())
        })
        .map(drop)
    })
}

/// With one subnet on both sides, a node looks for the venue's computers in the cluster: an alert
/// reports that.
pub fn forwarded_port_under_an_overlap_is_reported() -> Result<()> {
    let venue =
        PLAIN.replace("10.99.0.", "192.168.50.").replace("192.168.50.1/24", "192.168.50.254/24");
    before_start(&venue, |world| {
        let _node = world.serve("rpi1", "banner", "[::]:22")?;
        world.set_settings(FORWARD);
        world.start_gateway()?;
        wait_online(world)?;
        until("said", || alert(world, "node-forward-overlap").is_some())?;
        let open = open_ports(world, "192.168.50.126", &[22, 2201]);
        ensure(&format!("and so it is; the head itself is reached: {open:?}"), open == [22])?;
        // A sender from beyond the venue's router is not looked for in the cluster.
        must("internet", "ip route add 192.168.50.0/24 via 198.51.100.2")?;
        let path = "tcp 192.168.50.126:2201";
        try_from(world, "internet", path)
            .map_err(|error| Error(format!("from beyond the venue: {error}")))
    })
}

/// The venue has a subnet of its own, and routes the cluster's elsewhere (option 121).
pub fn forwarded_port_where_the_venue_routes_our_subnet_works() -> Result<()> {
    let routes = "routes = [\"192.168.50.0/24 via 10.99.0.20\", \"0.0.0.0/0 via 10.99.0.1\"]\n";
    before_start(&format!("{PLAIN}{routes}"), |world| {
        let _node = world.serve("rpi1", "banner", "[::]:22")?;
        world.set_settings(FORWARD);
        world.start_gateway()?;
        wait_online(world)?;
        until("the overlap is seen", || is(world, "gateway.overlap", "routed"))?;
        reaches_the_node()
    })
}

pub fn forwarded_port_that_leads_nowhere_is_reported() -> Result<()> {
    online(PLAIN, |world| {
        let lost = "[[node]]\nname = \"rpi9\"\nmac = \"02:00:00:00:00:99\"\n[[forward]]\n\
                    listen = 2209\nto = \"rpi9:22\"\n";
        reload(world, lost)?;
        until("said", || alert(world, "node-forward-lost").is_some())?;
        ensure("and closed", open_ports(world, "10.99.0.126", &[2209]).is_empty())?;
        let _node = world.serve("rpi1", "banner", "[::]:22")?;
        reload(world, "[[forward]]\nlisten = 22\nto = \"rpi1:22\"\n")?;
        until("the first is over", || alert(world, "node-forward-lost").is_none())?;
        let text = alert(world, "node-forward-hides")
            .ok_or_else(|| Error("not said that ssh is hidden".into()))?;
        ensure(
            &format!("who wins: {text}"),
            text.contains("ssh") && text.contains("the forward wins"),
        )?;
        std::thread::sleep(Duration::from_millis(200));
        let text = greeting(22)?;
        ensure("and it does", text == "SSH-2.0-venue")
    })
}

/// Returns the text received from `place` at an address.
fn hears(place: &str, to: &str) -> Result<String> {
    let (_, text) = exec(place, &format!("sleep 0.4 | timeout 3 busybox nc -w 2 {to}"))?;
    Ok(text.trim().to_owned())
}

/// At the head's venue address: from the nodes (including the target) and from the head itself,
/// like from the laptop.
pub fn forwarded_port_works_from_within_too() -> Result<()> {
    before_start(PLAIN, |world| {
        let _node = world.serve("rpi1", "banner", "[::]:22")?;
        answers("rpi1")?;
        world.set_settings(&format!(
            "{FORWARD}[[forward]]\nlisten = \"udp:5000\"\nto = \"rpi1:5005\"\n"
        ));
        world.start_gateway()?;
        wait_online(world)?;
        // Connections through another interface of the head, such as a container's, are not
        // forwarded.
        ip("", "netns add box\nlink add docker0 netns head type veth peer name eth0 netns box\n")?;
        must("head", "ip addr add 172.17.0.1/16 dev docker0; ip link set docker0 up")?;
        must(
            "box",
            "ip addr add 172.17.0.2/16 dev eth0; ip link set eth0 up; ip route add default via \
             172.17.0.1",
        )?;
        for place in ["laptop", "rpi2", "head", "rpi1"] {
            let text = hears(place, "10.99.0.126 2201")?;
            ensure(&format!("from {place}: {text:?}"), text == "SSH-2.0-venue")?;
        }
        let text = logged("rpi2", "10.99.0.126:5000")?;
        ensure(
            &format!("the node sees the head: {text}"),
            text == "rpi1 hears 192.168.50.1:40000",
        )?;
        let text = logged("laptop", "10.99.0.126:5000")?;
        ensure(
            &format!("and a computer of the venue as it is: {text}"),
            text == "rpi1 hears 10.99.0.20:40000",
        )?;
        for (place, to) in
            [("rpi2", "192.168.50.1 2201"), ("head", "127.0.0.1 2201"), ("box", "10.99.0.126 2201")]
        {
            let text = hears(place, to)?;
            ensure(&format!("not from {place} at {to}: {text}"), !text.contains("SSH"))?;
        }
        // Repeatedly: no redirect of the head has taught the nodes a shorter path.
        let text = hears("rpi2", "10.99.0.126 2201")?;
        ensure(&format!("still so: {text}"), text == "SSH-2.0-venue")
    })
}

/// Returns how a connection ends, and after how long.
fn attempt_to_connect(place: &'static str, to: &'static str) -> Result<(String, Duration)> {
    inside(place, move || {
        let start = Instant::now();
        let to = to.parse().map_err(|_| std::io::ErrorKind::InvalidInput)?;
        let result = TcpStream::connect_timeout(&to, Duration::from_secs(5));
        Ok((
            result.map_or_else(|error| error.kind().to_string(), |_| "open".to_owned()),
            start.elapsed(),
        ))
    })
}

/// Returns how a datagram from a port of its own is refused, and after how long.
fn refusal_of_a_datagram(place: &'static str, to: &'static str) -> Result<(String, Duration)> {
    inside(place, move || {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        socket.connect(to)?;
        let start = Instant::now();
        // The head's own packets are refused when they are sent.
        let result = socket.send(b"who is there?").and_then(|_| socket.recv(&mut [0; 64]));
        Ok((
            result.map_or_else(|error| error.kind().to_string(), |_| "an answer".to_owned()),
            start.elapsed(),
        ))
    })
}

/// The port that is forwarded to a dead node refuses TCP and UDP within half a second, from each of
/// these places.
fn refuses_at_once(places: &[&'static str], head: (&'static str, &'static str)) -> Result<()> {
    for place in places {
        let (end, took) = attempt_to_connect(place, head.0)?;
        println!("{place}: {end} after {took:?}");
        let at_once = took < Duration::from_millis(500);
        ensure(
            &format!("refused from {place}: {end} after {took:?}"),
            end == "connection refused" && at_once,
        )?;
        let (end, took) = refusal_of_a_datagram(place, head.1)?;
        println!("{place}: a datagram: {end} after {took:?}");
        let refused =
            matches!(end.as_str(), "host unreachable" | "connection refused" | "permission denied");
        ensure(
            &format!("a datagram from {place}: {end} after {took:?}"),
            refused && took < Duration::from_millis(500),
        )?;
    }
    Ok(())
}

/// The two uplinks of [`TWO`], reachable from the internet: behind a router each, so that only the
/// right one leads back.
const BEYOND: &str = "ip route replace 10.99.0.0/24 via 198.51.100.2; ip route replace \
                      172.20.5.0/24 via 198.51.100.6";

/// A client at either uplink is answered through that one, whichever the nodes use, and even if it
/// is a tunnel; while the node is down, the refusal goes the same way.
pub fn forwarded_port_answers_by_the_uplink_that_was_asked() -> Result<()> {
    before_start(TWO, |world| {
        let _node = world.serve("rpi1", "banner", "[::]:22")?;
        answers("rpi1")?;
        world.set_settings(&format!(
            "{FORWARD}[[forward]]\nlisten = \"udp:5000\"\nto = \"rpi1:5005\"\n"
        ));
        world.start_gateway()?;
        wait_online(world)?;
        until("both have a way out", || {
            is(world, "uplinks.0.gateway", "10.99.0.1")
                && is(world, "uplinks.1.gateway", "172.20.5.1")
        })?;
        must("internet", BEYOND)?;
        let by_both = |when: &str| {
            for (stream, datagram) in
                [("10.99.0.126 2201", "10.99.0.126:5000"), ("172.20.5.77 2201", "172.20.5.77:5000")]
            {
                let text = hears("internet", stream)?;
                ensure(&format!("{stream}, {when}: {text:?}"), text == "SSH-2.0-venue")?;
                let text = logged("internet", datagram)?;
                let asker = text.strip_prefix("rpi1 hears 198.51.100.");
                ensure(&format!("{datagram}, {when}: {text:?}"), asker.is_some())?;
            }
            Ok(())
        };
        by_both("as it is")?;
        ensure("the head itself is reached by both", {
            let banner = |to: &str| hears("internet", to).is_ok_and(|text| text == "SSH-2.0-venue");
            banner("10.99.0.126 22") && banner("172.20.5.77 22")
        })?;
        must(
            "head",
            "ip link add tun9 type veth peer name nowhere && ip addr add 100.64.0.1/32 dev tun9 && \
             ip link set tun9 up arp off && ip link set nowhere up && ip route add default dev \
             tun9 table 52 && \
             ip rule add preference 5270 table 52",
        )?;
        until("the nodes leave by a tunnel", || alert(world, "uplink-exit-by").is_some())?;
        by_both("with a tunnel")?;
        must("switch", "ip link set rpi1 down")?;
        until("the node is known to be down", || is(world, "nodes.0.health", "down"))?;
        std::thread::sleep(Duration::from_millis(100));
        refuses_at_once(&["internet"], ("10.99.0.126:2201", "10.99.0.126:5000"))?;
        refuses_at_once(&["internet"], ("172.20.5.77:2201", "172.20.5.77:5000"))
    })
}

/// Refused at once, from everywhere, while the node is down; an open session survives a short loss.
pub fn forward_to_a_dead_node_is_refused_at_once() -> Result<()> {
    const HEAD: &str = "10.99.0.126:2201";
    before_start(PLAIN, |world| {
        let _node = world.serve("rpi1", "echo", "[::]:22")?;
        let orders = SETTINGS.replace("HOME", HOME);
        world.set_settings(&format!(
            "{orders}{FORWARD}[[forward]]\nlisten = \"udp:5000\"\nto = \"rpi1:5005\"\n"
        ));
        world.start_gateway()?;
        wait_online(world)?;
        answers("rpi1")?;
        until("it answers", || {
            logged("laptop", "10.99.0.126:5000").is_ok_and(|text| text.starts_with("rpi1"))
        })?;
        let mut session = inside("laptop", || TcpStream::connect(HEAD))?;
        let mut echo = |word: &str| -> std::io::Result<String> {
            session.set_read_timeout(Some(Duration::from_secs(5)))?;
            session.write_all(format!("{word}\n").as_bytes())?;
            let mut buffer = [0; 64];
            let length = session.read(&mut buffer)?;
            Ok(String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).trim().to_owned())
        };
        ensure("a session is open", echo("one").is_ok_and(|text| text.contains("one")))?;
        must("switch", "ip link set rpi1 down")?;
        // Sent before the failure is detected: the first retransmission is answered.
        let early = std::thread::spawn(|| attempt_to_connect("laptop", HEAD));
        until("the node is known to be down", || is(world, "nodes.0.health", "down"))?;
        std::thread::sleep(Duration::from_millis(100));
        refuses_at_once(&["laptop", "rpi2", "head"], (HEAD, "10.99.0.126:5000"))?;
        let (end, took) = early.join().map_err(|_| Error("the early client".into()))??;
        println!("the early one: {end} after {took:?}");
        ensure(
            &format!("{end} after {took:?}"),
            end == "connection refused" && took < Duration::from_millis(3500),
        )?;
        let tracked = must("head", "conntrack -L 2>/dev/null")?;
        ensure(
            &format!("no datagram's entry is left:\n{tracked}"),
            !tracked.contains("dport=5000"),
        )?;
        // In maintenance, and as dead as before.
        succeed(world, &["nodes", "drain", "rpi1"])?;
        until("it is worked on", || is(world, "nodes.0.health", "maintenance"))?;
        std::thread::sleep(Duration::from_millis(100));
        refuses_at_once(&["laptop"], (HEAD, "10.99.0.126:5000"))?;
        must("switch", "ip link set rpi1 up")?;
        until("the port leads there while it is worked on", || {
            attempt_to_connect("laptop", HEAD).is_ok_and(|(end, _)| end == "open")
        })?;
        succeed(world, &["nodes", "resume", "rpi1"])?;
        until("the node is back", || is(world, "nodes.0.health", "up"))?;
        until("the port leads there again", || {
            attempt_to_connect("laptop", HEAD).is_ok_and(|(end, _)| end == "open")
        })?;
        ensure("and the session lives", echo("two").is_ok_and(|text| text.contains("two")))?;
        until("datagrams too", || {
            logged("laptop", "10.99.0.126:5000").is_ok_and(|text| text.starts_with("rpi1"))
        })
        .map(drop)
    })
}
