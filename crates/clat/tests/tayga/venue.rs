//! A node that speaks only IPv4, the program at a TUN device, a venue of IPv6 only whose NAT64 is
//! tayga, and a server that speaks only IPv4: namespaces in a row.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What is set up, a line a command; the first word is the namespace.
const SETUP: &str = "
node addr add 192.168.50.11/24 dev e0
node route add default via 192.168.50.1
head addr add 192.168.50.1/24 dev eth0
head addr add 2001:db8:64::2/64 dev eth1 nodad
head -6 route add default via 2001:db8:64::1
head tuntap add clat0 mode tun vnet_hdr
head link set clat0 mtu 1500 up
head addr add 192.0.0.1/32 dev clat0
head route add default dev clat0 src 192.0.0.1 mtu 1472
head -6 route add 2001:db8:64::464/128 dev clat0
head neigh add proxy 2001:db8:64::464 dev eth1
venue addr add 2001:db8:64::1/64 dev v0 nodad
venue addr add 45.45.45.1/24 dev v1
venue tuntap add plat mode tun
venue link set plat mtu 1500 up
venue -6 route add 64:ff9b::/96 dev plat
venue route add 44.44.44.0/24 dev plat
inet addr add 45.45.45.80/24 dev i0
inet route add default via 45.45.45.1
";

const NAT: &str = "table ip n { chain p { type nat hook postrouting priority 100; \
                   oifname \"clat0\" masquerade; }; }";

const PLAT: &str = "tun-device plat\nipv4-addr 100.64.0.1\nipv6-addr 2001:db8:64::6464\n\
                    prefix 64:ff9b::/96\ndynamic-pool 44.44.44.0/24\n";

fn inside(namespace: &str, program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace, program]).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(namespace: &str, program: &str, arguments: &[&str]) -> String {
    let output = inside(namespace, program, arguments).output().expect(program);
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{namespace}: {program} {arguments:?}: {text}");
    text
}

/// Plays in namespaces of its own; what it starts ends with them.
pub fn play() {
    super::run("mount", &["-t", "tmpfs", "tmpfs", "/run"]);
    for name in ["node", "head", "venue", "inet"] {
        super::run("ip", &["netns", "add", name]);
        let keys = ["net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0"];
        run(name, "sysctl", &["-qw", keys[0], keys[1]]);
    }
    for [one, port, other, peer] in [
        ["node", "e0", "head", "eth0"],
        ["head", "eth1", "venue", "v0"],
        ["venue", "v1", "inet", "i0"],
    ] {
        let link = ["link", "add", port, "netns", one, "type", "veth", "peer", "name", peer];
        super::run("ip", &[&link[..], &["netns", other]].concat());
        run(one, "ip", &["link", "set", port, "up"]);
        run(other, "ip", &["link", "set", peer, "up"]);
    }
    for name in ["head", "venue"] {
        let keys = ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"];
        run(name, "sysctl", &["-qw", keys[0], keys[1]]);
    }
    for line in SETUP.lines().filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split(' ').collect();
        run(words[0], "ip", &words[1..]);
    }
    run("head", "sysctl", &["-qw", "net.ipv6.conf.eth1.proxy_ndp=1"]);
    run("head", "nft", &[NAT]);
    std::fs::write("/run/plat.conf", PLAT).expect("its settings");
    let ours = env!("CARGO_BIN_EXE_bramblegate-clat");
    let mut clat = inside("head", ours, &["--clat6", "2001:db8:64::464"]).spawn().expect("ours");
    let mut plat =
        inside("venue", "tayga", &["-n", "-c", "/run/plat.conf"]).spawn().expect("tayga");

    let ping = ["-c", "1", "-W", "1", "45.45.45.80"];
    let patience = Instant::now() + Duration::from_secs(15);
    while !inside("node", "ping", &ping).output().expect("ping").status.success() {
        assert!(Instant::now() < patience, "no answer through the venue");
    }
    let large = ["-c", "3", "-i", "0.2", "-W", "2", "-s", "1200", "45.45.45.80"];
    assert!(run("node", "ping", &large).contains(" 0% packet loss"));
    let mut server = inside("inet", "iperf3", &["-s", "-1"]).spawn().expect("iperf3");
    std::thread::sleep(Duration::from_millis(300));
    let text = run("node", "iperf3", &["-c", "45.45.45.80", "-n", "20M"]);
    assert!(text.contains("receiver"), "{text}");
    // a port that is closed is refused at once: errors come through
    let begin = Instant::now();
    let closed =
        inside("node", "nc", &["-w", "5", "-z", "45.45.45.80", "81"]).output().expect("nc");
    assert!(!closed.status.success() && begin.elapsed() < Duration::from_secs(2));
    for child in [&mut clat, &mut plat, &mut server] {
        let _ = child.kill();
        let _ = child.wait();
    }
    println!("ping, 20 MB and a refused connection through the venue");
}
