//! A chain of namespaces: an IPv4-only node, the head with the program, an IPv6-only venue with
//! tayga as NAT64, an IPv4-only server, and a server behind the same prefix with native IPv6, so
//! that losses of the NAT64 do not interfere.

use std::fs;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use object::{Object, ObjectSection};

use crate::INSIDE;

/// Trials: the battery with each kind of translator, and the life cycle of the program.
pub const NAMES: [&str; 9] =
    ["tcx", "clsact", "tun", "refused", "shared", "orders", "killed", "duplicate", "routers"];

/// The commands of the setup, one a line; the first word is the namespace.
const SETUP: &str = "
node addr add 192.168.50.11/24 dev e0
node route add default via 192.168.50.1
head addr add 192.168.50.1/24 dev eth0
venue addr add 2001:db8:64::1/64 dev v0 nodad
venue addr add fe80::1/64 dev v0 nodad
venue addr add 45.45.45.1/24 dev v1
venue addr add 2001:db8:6::1/64 dev v2 nodad
venue tuntap add plat mode tun
venue link set plat mtu 1500 up
venue -6 route add 64:ff9b::/96 dev plat
venue -6 route add 64:ff9b::2d2d:2d51/128 via 2001:db8:6::2
venue route add 44.44.44.0/24 dev plat
inet addr add 45.45.45.80/24 dev i0
inet route add default via 45.45.45.1
six addr add 2001:db8:6::2/64 dev s0 nodad
six addr add 64:ff9b::2d2d:2d51/128 dev s0 nodad
six -6 route add default via 2001:db8:6::1
";

/// The head's address, in a /64 or alone.
const WIDE: &str = "2001:db8:64::2/64";
const ALONE: &str = "2001:db8:64::2/128";

/// The head's rules for an uplink.
const RULES: &str = "table ip head {
    chain post { type nat hook postrouting priority 100; oifname \"clat0\" masquerade; }
    chain forward {
        type filter hook forward priority 0;
        oifname \"clat0\" tcp flags syn tcp option maxseg size set rt mtu
    }
}";

/// Counts IPv4 that leaves the head untranslated.
const LEAK: &str = "table netdev leak {
    chain in { type filter hook ingress device v0 priority 0; ether type ip counter; }
}";

const PLAT: &str = "tun-device plat\nipv4-addr 100.64.0.1\nipv6-addr 2001:db8:64::6464\n\
                    prefix 64:ff9b::/96\ndynamic-pool 44.44.44.0/24\n";

/// The servers, through the NAT64 and without it.
const FAR: &str = "45.45.45.80";
const DIRECT: &str = "45.45.45.81";
const ORDERS: &str = "/run/clat.json";
const STATE: &str = "/run/state.json";
const LOG: &str = "/run/clat.log";

fn command(namespace: &str, line: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]).args(line.split(' '));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn output(namespace: &str, line: &str) -> Output {
    command(namespace, line).output().expect(line)
}

/// Runs a command; returns its output or the error.
fn tried(namespace: &str, line: &str) -> Result<String, String> {
    let output = output(namespace, line);
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    if output.status.success() { Ok(text) } else { Err(format!("{namespace}: {line}: {text}")) }
}

fn run(namespace: &str, line: &str) -> String {
    tried(namespace, line).unwrap_or_else(|error| panic!("{error}"))
}

fn role(namespace: &str, role: &str) -> Command {
    let exe = std::env::current_exe().expect("ourselves");
    let mut command = command(namespace, exe.to_str().expect("a path"));
    command.env(INSIDE, format!("role {role}"));
    command
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(15);
    while !done() {
        assert!(Instant::now() < patience, "{what} did not happen; {}", log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn log() -> String {
    fs::read_to_string(LOG).unwrap_or_default()
}

fn start(arguments: &str) -> Child {
    let object = std::env::var("BRAMBLEGATE_CLAT_OBJECT").ok();
    start_with(arguments, object.as_deref())
}

/// Starts the program with only its two capabilities, like its unit.
fn start_with(arguments: &str, object: Option<&str>) -> Child {
    let rights = "-all,+net_admin,+bpf";
    let mut line = format!(
        "setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps={rights} \
         --ambient-caps={rights} --bounding-set={rights} --no-new-privs {} {arguments}",
        env!("CARGO_BIN_EXE_bramblegate-clat")
    );
    if let Some(object) = object {
        line.push_str(&format!(" --object {object}"));
    }
    let file = fs::OpenOptions::new().append(true).create(true).open(LOG).expect("a log");
    command("head", &line).stderr(file).spawn().expect("the program")
}

fn end(child: &mut Child, signal: &str) -> bool {
    let pid = child.id().to_string();
    crate::run("kill", &[signal, &pid]);
    child.wait().expect("a child").success()
}

fn reaches() -> bool {
    output("node", &format!("ping -c 1 -W 1 {FAR}")).status.success()
}

/// Sets up the namespaces, which end everything they start.
fn build(address: &str) {
    crate::run("mount", &["-t", "tmpfs", "tmpfs", "/run"]);
    crate::run("chmod", &["0777", "/run"]);
    for name in ["node", "head", "venue", "inet", "six"] {
        crate::run("ip", &["netns", "add", name]);
        let keys = "net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0";
        run(name, &format!("sysctl -qw {keys}"));
        run(name, "ip link set lo up");
    }
    for [one, port, other, peer] in [
        ["node", "e0", "head", "eth0"],
        ["head", "eth1", "venue", "v0"],
        ["venue", "v1", "inet", "i0"],
        ["venue", "v2", "six", "s0"],
    ] {
        let link = ["link", "add", port, "netns", one, "type", "veth", "peer", "name", peer];
        crate::run("ip", &[&link[..], &["netns", other]].concat());
        run(one, &format!("ip link set {port} up"));
        run(other, &format!("ip link set {peer} up"));
    }
    run("venue", "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
    run("head", "sysctl -qw net.ipv4.ip_forward=1");
    for line in SETUP.lines().filter(|line| !line.is_empty()) {
        let (namespace, rest) = line.split_once(' ').expect("two words");
        run(namespace, &format!("ip {rest}"));
    }
    run("head", &format!("ip addr add {address} dev eth1 nodad"));
    run("head", "ip -6 route add default via fe80::1 dev eth1");
    for (name, namespace, rules) in [("rules", "head", RULES), ("leak", "venue", LEAK)] {
        fs::write(format!("/run/{name}"), rules).expect("rules");
        run(namespace, &format!("nft -f /run/{name}"));
    }
    fs::write("/run/plat.conf", PLAT).expect("its settings");
    command("venue", "tayga -n -c /run/plat.conf").spawn().expect("tayga");
    for (namespace, what) in [
        ("inet", "echo 45.45.45.80"),
        ("six", "echo 64:ff9b::2d2d:2d51"),
        ("inet", "page"),
        ("six", "page"),
    ] {
        role(namespace, what).spawn().expect(what);
    }
    command("inet", "iperf3 -s").stdout(Stdio::null()).spawn().expect("iperf3");
}

/// Runs one trial in namespaces of its own, and returns the number of failures.
pub fn play(name: &str) -> usize {
    build(if name == "shared" { ALONE } else { WIDE });
    let fixed = "--uplink eth1 --prefix 64:ff9b::/96";
    match name {
        "tcx" | "clsact" => {
            let child = start(&format!("{fixed} --mode bpf --attach {name}"));
            battery(child, &format!("BPF ({name})"))
        }
        "tun" => battery(start(&format!("{fixed} --mode tun")), "a TUN device"),
        "refused" => refused_by_verifier(fixed),
        "shared" => battery(start(&format!("{fixed} --mode bpf")), "which the head uses too"),
        "orders" => by_orders(),
        "killed" => killed(fixed),
        "duplicate" => duplicate(fixed),
        "routers" => routers(fixed),
        _ => panic!("no trial {name}"),
    }
}

type Step = (&'static str, fn() -> Result<(), String>);

const STEPS: [Step; 17] = [
    ("a page through the NAT64", || done("node", &format!("get {FAR}"))),
    ("ping", || ping(FAR, 56)),
    ("ping of 1232 octets", || ping(FAR, 1232)),
    ("ping of 1432 octets", || ping(DIRECT, 1432)),
    ("traceroute", traceroute),
    ("refused at once", refused),
    ("UDP", || ask_all(&[0, 1, 1300, 1444, 1452])),
    ("UDP in fragments", || ask_all(&[1472, 3000, 8000])),
    ("UDP without DF", || without_df(&[1300, 1444, 1472, 3000])),
    ("UDP without checksum", || {
        done("node", &format!("bare {FAR} 100"))?;
        done("node", &format!("bare {DIRECT} 1400"))
    }),
    ("TCP up and down", || iperf("")),
    ("MSS", mss),
    ("TCP without offloads", without_offloads),
    ("the head's own NAT64", heads_own),
    ("a way of 1280 octets", narrow),
    ("an IPv4 default goes first", other_default),
    ("nothing untranslated", no_leak),
];

/// Runs every check of a working translation.
fn battery(mut child: Child, how: &str) -> usize {
    until("the first answer", reaches);
    assert!(log().contains(how), "not by {how}: {}", log());
    let mut wrong = 0;
    for (name, step) in STEPS {
        let begin = Instant::now();
        match step() {
            Ok(()) => println!("  {name}: {:.1} s", begin.elapsed().as_secs_f64()),
            Err(error) => {
                wrong += 1;
                println!("  {name}: FAILED: {error}");
            }
        }
    }
    let ended = end(&mut child, "-TERM");
    let links = run("head", "ip link");
    let addresses = run("head", "ip -6 addr show dev eth1");
    let clean = !links.contains("clat0") && addresses.matches("2001:db8").count() == 1;
    if !ended || !clean {
        wrong += 1;
        println!("  the end: FAILED: {ended} {links} {addresses}");
    }
    if wrong > 0 {
        println!("{}", log());
    }
    println!("{} steps, {wrong} failed", STEPS.len() + 1);
    wrong
}

/// Runs a role that has to succeed.
fn done(namespace: &str, what: &str) -> Result<(), String> {
    let output = role(namespace, what).output().expect(what);
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{what}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

fn ping(to: &str, size: usize) -> Result<(), String> {
    let text = tried("node", &format!("ping -c 3 -i 0.2 -W 2 -s {size} {to}"))?;
    if text.contains(" 0% packet loss") { Ok(()) } else { Err(text) }
}

/// Checks the hops: the head, the venue's router (which has no IPv4 address), the server. Without
/// BPF the kernel forwards each packet twice, so the head counts as two.
fn traceroute() -> Result<(), String> {
    let router = if log().contains("a TUN device") { 3 } else { 2 };
    let hops = [(1, "From 192.168.50.1"), (2, "From 192.0.0.8"), (router, "From 192.0.0.8")];
    for (hops, from) in hops.into_iter().chain([(router + 1, "from 45.45.45.81")]) {
        let output = output("node", &format!("ping -c 1 -W 2 -t {hops} {DIRECT}"));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !text.contains(from) {
            return Err(format!("{hops} hops: {text}"));
        }
    }
    Ok(())
}

/// Checks closed ports: TCP is reset, UDP gets an ICMP error.
fn refused() -> Result<(), String> {
    for kind in ["-z", "-uz"] {
        let begin = Instant::now();
        let text = tried("node", &format!("nc -v -w 4 {kind} {FAR} 81"));
        let refused = text.as_ref().is_err_and(|text| text.contains("refused"));
        // netcat sends several datagrams to a UDP port, one a second.
        let quick = begin.elapsed() < Duration::from_secs(3);
        if !quick || (kind == "-z" && !refused) || text.is_ok() {
            return Err(format!("{kind}: {text:?} after {:?}", begin.elapsed()));
        }
    }
    Ok(())
}

fn ask_all(sizes: &[usize]) -> Result<(), String> {
    for size in sizes {
        for to in [FAR, DIRECT] {
            done("node", &format!("ask {to} {size}"))?;
        }
    }
    Ok(())
}

fn without_df(sizes: &[usize]) -> Result<(), String> {
    run("node", "sysctl -qw net.ipv4.ip_no_pmtu_disc=1");
    let result = ask_all(sizes);
    run("node", "sysctl -qw net.ipv4.ip_no_pmtu_disc=0");
    result
}

fn iperf(more: &str) -> Result<(), String> {
    for way in ["", " -R"] {
        let text = tried("node", &format!("timeout 20 iperf3 -c {FAR} -n 20M{way}{more}"))?;
        if !text.contains("receiver") {
            return Err(text);
        }
    }
    Ok(())
}

/// 1500 octets of the uplink, minus the headers of IPv6 and TCP, and the timestamps.
fn mss() -> Result<(), String> {
    let text = tried("node", &format!("iperf3 -V -c {FAR} -n 1M"))?;
    let found = text.lines().find_map(|line| line.trim().strip_prefix("TCP MSS: "));
    let size = found.and_then(|rest| rest.split(' ').next()?.parse::<u32>().ok());
    if size.is_some_and(|size| (1428..=1440).contains(&size)) { Ok(()) } else { Err(text) }
}

fn offloads(on: &str) {
    for (namespace, port) in [
        ("node", "e0"),
        ("head", "eth0"),
        ("head", "eth1"),
        ("venue", "v0"),
        ("venue", "v1"),
        ("inet", "i0"),
    ] {
        run(namespace, &format!("ethtool -K {port} tx {on} tso {on} gso {on} gro {on}"));
    }
}

fn without_offloads() -> Result<(), String> {
    offloads("off");
    let result = iperf("").and_then(|()| ask_all(&[1300, 3000]));
    offloads("on");
    result
}

/// The head itself uses the NAT64, like its nodes.
fn heads_own() -> Result<(), String> {
    for address in ["64:ff9b::2d2d:2d50", "64:ff9b::2d2d:2d51"] {
        tried("head", &format!("ping -c 2 -i 0.2 -W 2 {address}"))?;
        tried("head", &format!("nc -6 -z -w 3 {address} 8080"))?;
    }
    // And by IPv4, like a node.
    tried("head", &format!("ping -c 2 -i 0.2 -W 2 {FAR}")).map(drop)
}

/// A router of the venue has the minimum MTU of IPv6.
fn narrow() -> Result<(), String> {
    let route = "64:ff9b::2d2d:2d51/128 via 2001:db8:6::2";
    run("venue", &format!("ip -6 route change {route} mtu 1280"));
    let result = (|| {
        for size in [1300, 1444, 3000] {
            done("node", &format!("ask {DIRECT} {size}"))?;
        }
        run("node", "sysctl -qw net.ipv4.ip_no_pmtu_disc=1");
        let bare = [1300, 1444, 3000]
            .iter()
            .try_for_each(|size| done("node", &format!("ask {DIRECT} {size}")));
        run("node", "sysctl -qw net.ipv4.ip_no_pmtu_disc=0");
        bare?;
        let text = tried("node", &format!("ip route get {DIRECT}"))?;
        if text.contains("mtu 1260") { Ok(()) } else { Err(text) }
    })();
    run("venue", &format!("ip -6 route change {route}"));
    run("node", "ip route flush cache");
    result
}

fn other_default() -> Result<(), String> {
    let of = |namespace| tried(namespace, "ip route get 8.8.8.8");
    if !of("head")?.contains("clat0") {
        return of("head").and_then(Err);
    }
    run("head", "ip route add default via 192.168.50.11 metric 4000");
    let text = of("head");
    run("head", "ip route del default via 192.168.50.11 metric 4000");
    if text.as_ref().is_ok_and(|text| text.contains("eth0")) { Ok(()) } else { text.and_then(Err) }
}

fn no_leak() -> Result<(), String> {
    let text = tried("venue", "nft list table netdev leak")?;
    if text.contains("counter packets 0 ") { Ok(()) } else { Err(text) }
}

/// Orders by the daemon's file: without the file nothing is translated, removing it ends
/// translation at once, and errors are reported.
fn by_orders() -> usize {
    let mut child = start(&format!("--orders {ORDERS} --state {STATE}"));
    let state = || fs::read_to_string(STATE).unwrap_or_default();
    let device = || run("head", "ip -o link").contains("clat0");
    let write = |text: &str| {
        fs::write("/run/clat.new", text).expect("an order");
        fs::rename("/run/clat.new", ORDERS).expect("an order");
    };
    until("a first state", || !state().is_empty());
    let keys = "all.forwarding eth1.accept_ra eth1.proxy_ndp";
    let keys: String = keys.split(' ').map(|key| format!(" net.ipv6.conf.{key}")).collect();
    let settings = || run("head", &format!("sysctl -n{keys} net.ipv6.neigh.eth1.proxy_delay"));
    let before = settings();
    assert!(!device(), "translated without an order: {}", state());
    write(r#"{"schema":1,"uplink":"eth1","prefix":"64:ff9b::/96","mode":"auto"}"#);
    until("the first answer", reaches);
    assert!(state().contains(r#""mode":"bpf""#), "{}", state());
    write(r#"{"schema":1,"uplink":"eth1","prefix":"64:ff9b::/96","mode":"tun"}"#);
    until("a TUN device", || state().contains(r#""mode":"tun""#) && reaches());
    write(r#"{"schema":1,"uplink":"eth9","prefix":"64:ff9b::/96"}"#);
    until("eth9's absence", || state().contains("eth9 is not there") && !device());
    write(r#"{"schema":1,"uplink":"eth1","prefix":"64:ff9b::/99"}"#);
    until("a refusal", || state().contains("32, 40, 48, 56, 64 or 96"));
    write(r#"{"schema":1,"uplink":"eth1","prefix":"64:ff9b::/96"}"#);
    until("another answer", reaches);
    let begin = Instant::now();
    fs::remove_file(ORDERS).expect("an order");
    until("the end of the device", || !device());
    let took = begin.elapsed();
    assert!(took < Duration::from_millis(500), "off after {took:?}");
    // An uplink whose addresses come later, and a different MTU.
    run("head", "ip addr del 2001:db8:64::2/64 dev eth1");
    write(r#"{"schema":1,"uplink":"eth1","prefix":"64:ff9b::/96","mtu":1280}"#);
    until("a missing address", || state().contains("no global IPv6 address"));
    run("head", "ip addr add 2001:db8:64::2/64 dev eth1 nodad");
    run("head", "ip -6 route replace default via fe80::1 dev eth1");
    until("an answer with the address", reaches);
    assert!(run("head", "ip route show default").contains("mtu 1260"));
    // The program is killed, and the order removed before it restarts.
    let address = own_address();
    assert!(!end(&mut child, "-KILL"));
    fs::remove_file(ORDERS).expect("an order");
    let mut child = start(&format!("--orders {ORDERS} --state {STATE}"));
    until("the end of its address", || !run("head", "ip -6 addr show dev eth1").contains(&address));
    assert!(end(&mut child, "-TERM"), "{}", log());
    assert!(!device());
    killed_without_bpf(&write, &settings);
    assert_eq!(settings(), before);
    println!("off {} ms after the order was gone", took.as_millis());
    0
}

/// The program is killed while the kernel forwards for it, and the order removed before it
/// restarts.
fn killed_without_bpf(write: &dyn Fn(&str), settings: &dyn Fn() -> String) {
    let before = settings();
    let mut child = start(&format!("--orders {ORDERS} --state {STATE}"));
    write(r#"{"uplink":"eth1","prefix":"64:ff9b::/96","mode":"tun"}"#);
    until("an answer without BPF", reaches);
    assert_ne!(settings(), before);
    assert!(!end(&mut child, "-KILL"));
    fs::remove_file(ORDERS).expect("an order");
    let mut child = start(&format!("--orders {ORDERS} --state {STATE}"));
    until("the settings of before", || settings() == before);
    assert!(end(&mut child, "-TERM"));
}

/// The kernel's verifier refuses a program: translation continues without BPF, and the verifier's
/// log is shown. Where the order demands BPF, or the address is shared, nothing is translated.
fn refused_by_verifier(fixed: &str) -> usize {
    let object = "/run/refused.o";
    fs::write(object, refused_object()).expect("an object");
    let found =
        "the kernel does not take clat_inward: Permission denied (os error 13): R9 !read_ok";
    let state = || fs::read_to_string(STATE).unwrap_or_default();
    let mut child = start_with(&format!("{fixed} --state {STATE}"), Some(object));
    until("the first answer", reaches);
    let text = log();
    assert!(text.contains("by a TUN device") && text.contains(found), "{text}");
    assert!(text.contains("the kernel's verifier: 0: (bf) r0 = r9"), "{text}");
    assert!(state().contains(r#""mode":"tun""#) && state().contains(found), "{}", state());
    assert!(end(&mut child, "-TERM"));
    let mut child = start_with(&format!("{fixed} --mode bpf --state {STATE}"), Some(object));
    until("a refusal", || state().contains(&format!("BPF: {found}")));
    assert!(!reaches());
    assert!(end(&mut child, "-TERM"));
    run("head", "ip addr del 2001:db8:64::2/64 dev eth1");
    run("head", &format!("ip addr add {ALONE} dev eth1 nodad"));
    run("head", "ip -6 route replace default via fe80::1 dev eth1");
    let mut child = start_with(&format!("{fixed} --state {STATE}"), Some(object));
    until("both reasons", || {
        state().contains("sharing it takes BPF") && state().contains(&format!("BPF: {found}"))
    });
    assert!(end(&mut child, "-TERM"));
    println!("refused, and translated all the same");
    0
}

/// Returns the object, except that one program begins by reading an uninitialized register, which
/// every verifier refuses.
fn refused_object() -> Vec<u8> {
    let mut octets = include_bytes!("../../bpf/clat.bpf.o").to_vec();
    let object = object::File::parse(&*octets).expect("an object");
    let section = object.section_by_name("classifier/inward").expect("a program");
    let place = section.file_range().expect("its instructions").0 as usize;
    // r0 = r9 (BPF_ALU64 | BPF_MOV | BPF_X).
    octets[place..place + 8].copy_from_slice(&[0xbf, 0x90, 0, 0, 0, 0, 0, 0]);
    octets
}

/// The program is killed and restarted, like by a service manager: nothing leaves untranslated, the
/// address stays, and little is lost.
fn killed(fixed: &str) -> usize {
    for attach in ["tcx", "clsact"] {
        let arguments = format!("{fixed} --mode bpf --attach {attach}");
        let mut child = start(&arguments);
        until("the first answer", reaches);
        let address = own_address();
        let pings = command("node", &format!("ping -i 0.02 -c 150 -W 1 {FAR}")).spawn();
        std::thread::sleep(Duration::from_millis(500));
        assert!(!end(&mut child, "-KILL"));
        std::thread::sleep(Duration::from_millis(100));
        let mut child = start(&arguments);
        let output = pings.expect("ping").wait_with_output().expect("ping");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let counts = text.lines().find(|line| line.contains("received")).unwrap_or_default();
        println!("killed, {attach}: {counts}");
        let words: Vec<&str> = counts.split(' ').collect();
        let received: usize = words.get(3).and_then(|word| word.parse().ok()).unwrap_or(0);
        assert!(received >= 110, "{text}");
        assert_eq!(own_address(), address, "{}", log());
        no_leak().unwrap_or_else(|error| panic!("{error}"));
        assert!(end(&mut child, "-TERM"));
        // Nothing remains that would translate or drop packets.
        assert!(!run("head", "ip -6 addr show dev eth1").contains(&address));
        assert!(!run("head", "tc filter show dev eth1 ingress").contains("clat"));
    }
    println!("killed and started again");
    0
}

/// Returns the address that was added to the uplink.
fn own_address() -> String {
    let text = run("head", "ip -6 -o addr show dev eth1 deprecated");
    let word = text.split_whitespace().find(|word| word.ends_with("/128"));
    word.unwrap_or_else(|| panic!("{text}")).to_owned()
}

/// Another host has the address already.
fn duplicate(fixed: &str) -> usize {
    run("head", "sysctl -qw net.ipv6.conf.all.accept_dad=1 net.ipv6.conf.eth1.accept_dad=1");
    let mut child = start(fixed);
    until("the first answer", reaches);
    let first = own_address();
    assert!(end(&mut child, "-TERM"));
    run("venue", &format!("ip addr add {first} dev v0 nodad"));
    let mut child = start(fixed);
    until("the first answer", reaches);
    assert_ne!(own_address(), first);
    assert!(end(&mut child, "-TERM"));
    println!("another address than the duplicate");
    0
}

/// The next hop follows the uplink's routes: regardless of another interface's better one, to a new
/// router at once, and by the kernel's choice between two.
fn routers(fixed: &str) -> usize {
    let mut child = start(&format!("{fixed} --mode bpf"));
    until("the first answer", reaches);
    let mut wrong = 0;
    let mut holds = |what: &str| {
        // Through the fast path and the slow one.
        let result = ping(FAR, 56).and_then(|()| done("node", &format!("bare {FAR} 100")));
        if let Err(error) = result {
            wrong += 1;
            println!("  {what}: FAILED: {error}");
        }
    };
    holds("one router");
    run("head", "ip -6 route add default via fe80::99 dev eth0 metric 10");
    std::thread::sleep(Duration::from_millis(300));
    holds("a better default by another port");
    run("head", "ip -6 route del default via fe80::99 dev eth0 metric 10");
    run("venue", "ip addr add fe80::2/64 dev v0 nodad");
    run("head", "ip -6 route replace default via fe80::2 dev eth1");
    run("venue", "ip addr del fe80::1/64 dev v0");
    run("head", "ip -6 neigh flush dev eth1");
    std::thread::sleep(Duration::from_millis(300));
    holds("another router");
    run("head", "ip -6 route append default via fe80::1 dev eth1");
    std::thread::sleep(Duration::from_millis(300));
    until("an answer by the one of two routers that is there", reaches);
    holds("two routers, of which one answers");
    if !end(&mut child, "-TERM") || wrong > 0 {
        println!("{}", log());
        wrong = wrong.max(1);
    }
    println!("4 steps, {wrong} failed");
    wrong
}
