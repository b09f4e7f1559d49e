//! The check for another DHCP server on the cluster interface, with real servers and real cables.

use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bramblegate::event::{Dhcp, Event, Mac};
use bramblegate::watch::dhcp::{DhcpWatchPlan, Questions, run};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::frame::Trial;
use crate::lab::{Namespace, sh, trial};
use crate::links::index_of;
use crate::netlink::{block_on, block_on_within};

pub fn tests() -> Vec<Trial> {
    vec![
        trial("dhcp::silence_is_an_answer_after_four_seconds_and_only_questions_leave", silence),
        trial("dhcp::a_server_that_answers_at_once_is_found_at_once", quick_dnsmasq),
        trial("dhcp::a_server_that_pings_first_is_waited_for", slow_dnsmasq),
        trial("dhcp::another_kind_of_server_is_found_too", udhcpd),
        trial("dhcp::our_own_servers_answers_are_ours", own_server),
        trial("dhcp::a_restart_on_the_same_plugging_makes_no_gap", restart),
        trial("dhcp::a_restart_finds_a_server_that_came_meanwhile", server_came_meanwhile),
        trial("dhcp::a_cable_moved_while_we_ask_is_asked_again", moved),
        trial("dhcp::a_port_made_anew_is_asked_anew", made_anew),
        trial("dhcp::a_server_that_comes_later_is_overheard", overheard),
        trial("dhcp::a_node_that_takes_anothers_offer_is_a_reason_to_ask", choice_overheard),
        trial("dhcp::a_forged_offer_is_a_reason_to_ask_and_no_more", forged),
        trial("dhcp::a_blocked_switch_is_waited_for_and_the_venue_hears_no_offer", spanning_tree),
        trial("dhcp::a_stranger_is_a_reason_to_ask", stranger),
        trial("dhcp::a_server_that_goes_is_forgotten_within_the_minute", goes),
        trial("dhcp::who_may_not_ask_reports_so", unasked),
        trial(
            "dhcp::what_is_logged_already_is_not_unheard_however_late_the_wire_is_read",
            read_late,
        ),
        trial("dhcp::the_talk_of_an_uplinks_client_is_overheard", uplink::talk_is_overheard),
        trial(
            "dhcp::an_uplinks_silence_is_no_client_or_one_that_waits",
            uplink::silence_is_no_client_or_one_that_waits,
        ),
        trial(
            "dhcp::an_uplinks_wish_for_ipv6_only_is_overheard",
            uplink::wish_for_ipv6_only_is_heeded_by_dhcpcd,
        ),
    ]
}

/// The cluster interface `cluster` here, and the other end of its cable in a namespace of its own.
struct Cable {
    far: Namespace,
    folder: PathBuf,
}

impl Cable {
    fn new() -> Self {
        let cable =
            Self { far: Namespace::new("far"), folder: PathBuf::from(sh("mktemp -d").trim()) };
        cable.plug();
        cable
    }

    fn plug(&self) {
        sh(&format!(
            "ip link add cluster address 02:00:00:00:00:01 type veth peer name far address 02:00:00:00:00:09 netns {}
             ip link set cluster up",
            self.far.name()
        ));
        self.far.sh("ip link set far up; ip addr add 10.77.0.1/24 dev far");
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Starts dnsmasq at the other end, with these options besides the range.
    fn dnsmasq(&self, more: &[&str]) -> Server {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.far.name()]);
        dnsmasq(&mut command, "far", "10.77.0.50,10.77.0.99,2m", &self.file("far.leases"), more)
    }

    fn asking(&self) -> Asking {
        self.asking_of(0)
    }

    fn asking_of(&self, generation: u64) -> Asking {
        let mac = "02:00:00:00:00:01".parse().unwrap();
        let (index, ours) = (index_of("cluster"), vec![Ipv4Addr::new(10, 77, 0, 2)]);
        let port = DhcpWatchPlan {
            index,
            name: "cluster".into(),
            mac,
            generation,
            ours,
            unknown_clients: 0,
        };
        let (plan, wanted) = watch::channel(Some(port));
        let (sender, events) = mpsc::channel(64);
        let asked = Questions::default();
        let task = tokio::spawn({
            let (folder, asked) = (self.folder.clone(), asked.clone());
            async move { run(wanted, sender, folder, asked).await.err() }
        });
        Asking { plan, events, task, asked, begin: Instant::now() }
    }

    /// Broadcasts a DHCP message from the other end so many times, of this type and with this
    /// option.
    fn broadcast(&self, kind: u8, option: &[u8], times: usize) {
        // A request (RFC 2131, figure 1), the cookie, the message type.
        let mut bytes = vec![1, 1, 6, 0];
        bytes.resize(236, 0);
        bytes.extend([99, 130, 83, 99, 53, 1, kind]);
        bytes.extend(option);
        bytes.push(255);
        self.far.sh("ip route replace 255.255.255.255 dev far");
        let sent = self.far.run(move || {
            let socket = UdpSocket::bind("0.0.0.0:68").unwrap();
            socket.set_broadcast(true).unwrap();
            for _ in 0..times {
                assert_eq!(socket.send_to(&bytes, "255.255.255.255:67").unwrap(), bytes.len());
            }
        });
        sent.join().unwrap();
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A server; dropping this ends it.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn dnsmasq(command: &mut Command, port: &str, range: &str, leases: &Path, more: &[&str]) -> Server {
    let log = leases.with_extension("log");
    command
        .args([
            "dnsmasq",
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--user=root",
            "--port=0",
            "--pid-file",
        ])
        .args([format!("--interface={port}"), format!("--dhcp-range={range}")])
        .args([
            format!("--dhcp-leasefile={}", leases.display()),
            format!("--log-facility={}", log.display()),
        ])
        .args(more)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let server = Server(command.spawn().unwrap());
    for _ in 0..200 {
        if std::fs::read_to_string(&log).is_ok_and(|text| text.contains("DHCP, IP range")) {
            return server;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("dnsmasq did not start: {:?}", std::fs::read_to_string(&log));
}

struct Asking {
    plan: watch::Sender<Option<DhcpWatchPlan>>,
    events: mpsc::Receiver<Event>,
    task: tokio::task::JoinHandle<Option<std::io::Error>>,
    asked: Questions,
    begin: Instant,
}

impl Asking {
    /// Waits for the next report. Returns it, and the seconds since the beginning.
    async fn next_report(&mut self, within: u64) -> Option<(Dhcp, f64)> {
        match timeout(Duration::from_secs(within), self.events.recv()).await {
            Ok(Some(Event::Dhcp(dhcp))) => {
                let after = self.begin.elapsed().as_secs_f64();
                println!("{dhcp:?} after {after:.3} s");
                Some((dhcp, after))
            }
            Ok(other) => panic!("{other:?}"),
            Err(_) => None,
        }
    }
}

fn alone() -> Dhcp {
    Dhcp::NoOtherServer { index: index_of("cluster") }
}

fn foreign() -> Dhcp {
    let mac: Mac = "02:00:00:00:00:09".parse().unwrap();
    Dhcp::OtherServer {
        index: index_of("cluster"),
        server: Ipv4Addr::new(10, 77, 0, 1),
        mac: Some(mac),
    }
}

/// Captures what leaves through a cable, without IPv6, which the kernel sends by itself.
struct Capture(Child, PathBuf);

impl Capture {
    fn at(far: &Namespace, port: &str, file: PathBuf) -> Self {
        let output = std::fs::File::create(&file).unwrap();
        let mut command = Command::new("ip");
        command.args([
            "netns",
            "exec",
            far.name(),
            "tcpdump",
            "-Z",
            "root",
            "-lennvvi",
            port,
            "-Q",
            "in",
            "not ip6",
        ]);
        let child = command.stdout(output.try_clone().unwrap()).stderr(output).spawn().unwrap();
        let capture = Self(child, file);
        for _ in 0..500 {
            if capture.text().contains("listening on") {
                return capture;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("tcpdump: {}", capture.text());
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.1).unwrap()
    }

    /// Returns one line per frame: source, destination, length.
    fn frames(&self) -> Vec<String> {
        self.text().lines().filter(|line| line.contains(" ethertype ")).map(str::to_owned).collect()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn silence() {
    let cable = Cable::new();
    sh(&format!(
        "ip link add uplink type veth peer name venue netns {}; ip link set uplink up",
        cable.far.name()
    ));
    cable.far.sh("ip link set venue up");
    let cluster = Capture::at(&cable.far, "far", cable.file("far.pcap"));
    let venue = Capture::at(&cable.far, "venue", cable.file("venue.pcap"));
    block_on(async {
        let mut asking = cable.asking();
        let (report, after) = asking.next_report(10).await.unwrap();
        assert_eq!(report, alone());
        assert!((3.9..4.5).contains(&after), "after {after} s");
        // tcpdump prints it a moment later.
        sleep(Duration::from_millis(300)).await;
        let frames = cluster.frames();
        assert_eq!(frames.len(), 3, "{frames:#?}");
        let text = cluster.text();
        assert_eq!(
            text.matches("0.0.0.0.68 > 255.255.255.255.67: [udp sum ok]").count(),
            3,
            "{text}"
        );
        assert_eq!(text.matches("Flags [Broadcast]").count(), 3, "{text}");
        assert_eq!(text.matches("DHCP-Message (53), length 1: Discover").count(), 3, "{text}");
        assert!(!text.contains("bad cksum"), "{text}");
        let cut = |text: &str| {
            text.split(" > ")
                .next()
                .unwrap_or_default()
                .rsplit(' ')
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        assert!(frames.iter().all(|frame| cut(frame) == "02:00:00:00:00:01"), "{frames:#?}");
        assert_eq!(venue.frames(), Vec::<String>::new(), "nothing into the venue");
    });
}

fn quick_dnsmasq() {
    let cable = Cable::new();
    let _server = cable.dnsmasq(&["--no-ping"]);
    block_on(async {
        let (report, after) = cable.asking().next_report(10).await.unwrap();
        assert_eq!(report, foreign());
        assert!(after < 0.5, "after {after} s");
    });
}

fn slow_dnsmasq() {
    let cable = Cable::new();
    let _server = cable.dnsmasq(&[]);
    block_on(async {
        let (report, after) = cable.asking().next_report(10).await.unwrap();
        assert_eq!(report, foreign(), "and not alone before");
        assert!((2.5..4.0).contains(&after), "after {after} s");
    });
}

fn udhcpd() {
    let cable = Cable::new();
    let (settings, leases) = (cable.file("udhcpd.conf"), cable.file("udhcpd.leases"));
    std::fs::write(&leases, "").unwrap();
    let text = format!(
        "start 10.77.0.50\nend 10.77.0.60\ninterface far\nlease_file {}\npidfile {}\n\
         option subnet 255.255.255.0\n",
        leases.display(),
        cable.file("udhcpd.pid").display()
    );
    std::fs::write(&settings, text).unwrap();
    let mut command = Command::new("ip");
    command.args(["netns", "exec", cable.far.name(), "busybox", "udhcpd", "-f"]).arg(&settings);
    let _server = Server(command.stderr(Stdio::null()).spawn().unwrap());
    block_on(async {
        let (report, _) = cable.asking().next_report(10).await.unwrap();
        assert_eq!(report, foreign());
    });
}

fn own_server() {
    let cable = Cable::new();
    sh("ip addr add 10.77.0.2/24 dev cluster");
    let mut here = Command::new("env");
    let _server = dnsmasq(
        &mut here,
        "cluster",
        "10.77.0.50,10.77.0.99,2m",
        &cable.file("own.leases"),
        &["--no-ping"],
    );
    block_on(async {
        let mut asking = cable.asking();
        let script = cable.file("script");
        std::fs::write(&script, "#!/bin/sh\ntrue\n").unwrap();
        sh(&format!("chmod +x {}", script.display()));
        let node = format!("busybox udhcpc -B -i far -n -q -t 3 -T 1 -s {} 2>&1", script.display());
        let logged = cable.far.sh(&node);
        assert!(logged.contains("lease of 10.77.0."), "the node has its lease of us: {logged}");
        assert_eq!(asking.next_report(10).await.unwrap().0, alone());
        cable.far.sh(&node);
        assert_eq!(asking.next_report(2).await, None);
    });
}

fn restart() {
    let cable = Cable::new();
    block_on(async {
        let mut first = cable.asking();
        assert_eq!(first.next_report(10).await.unwrap().0, alone());
        first.task.abort();
        let mut second = cable.asking();
        let (report, after) = second.next_report(1).await.expect("at once");
        assert_eq!(report, alone());
        assert!(after < 0.3, "after {after} s");
        assert_eq!(second.next_report(6).await, None, "asked all the same, and nothing new");
        second.task.abort();
        sh("ip link set cluster down; ip link set cluster up");
        let (report, after) = cable.asking().next_report(10).await.unwrap();
        assert_eq!(report, alone());
        assert!(after > 3.9, "another plugging is asked about first: after {after} s");
    });
}

fn server_came_meanwhile() {
    let cable = Cable::new();
    block_on(async {
        let mut first = cable.asking();
        assert_eq!(first.next_report(10).await.unwrap().0, alone());
        first.task.abort();
        let _server = cable.dnsmasq(&["--no-ping"]);
        let mut second = cable.asking();
        assert_eq!(second.next_report(1).await.unwrap().0, alone(), "as it was known");
        assert_eq!(second.next_report(2).await.unwrap().0, foreign(), "and then as it is");
        second.task.abort();
        let (report, _) = cable.asking().next_report(5).await.unwrap();
        assert_eq!(report, foreign(), "and that is what is remembered");
    });
}

/// The cable is moved from an empty switch to one with a server, faster than netlink reports it.
fn moved() {
    let cable = Cable::new();
    let mut server = None;
    block_on(async {
        let mut asking = cable.asking();
        assert_eq!(asking.next_report(3).await, None);
        cable
            .far
            .sh("ip link set far down; ip link set far up; ip addr replace 10.77.0.1/24 dev far");
        server = Some(cable.dnsmasq(&["--no-ping"]));
        assert_eq!(
            asking.next_report(3).await.unwrap().0,
            foreign(),
            "the silence before does not count"
        );
    });
}

fn made_anew() {
    let cable = Cable::new();
    block_on(async {
        let mut asking = cable.asking();
        assert_eq!(asking.next_report(10).await.unwrap().0, alone());
        sh("ip link del cluster");
        sleep(Duration::from_millis(700)).await;
        cable.plug();
        let _server = cable.dnsmasq(&["--no-ping"]);
        asking.plan.send_modify(|plan| {
            let port = plan.as_mut().unwrap();
            (port.index, port.generation) = (index_of("cluster"), 1);
        });
        assert_eq!(asking.next_report(5).await.unwrap().0, foreign());
        assert!(!asking.task.is_finished(), "a port that goes is no fault");
        asking.plan.send_replace(None);
        assert_eq!(asking.next_report(1).await, None);
    });
}

fn overheard() {
    let cable = Cable::new();
    // Two more hosts behind the interface: a server, and a node that sends it a request.
    let node = Namespace::new("node");
    cable.far.sh(
        "ip addr flush dev far; ip link add switch type bridge; ip link set switch up; ip link set far master switch",
    );
    cable.far.sh(&format!(
        "ip link add plug type veth peer name eth0 netns {}; ip link set plug up master switch",
        node.name()
    ));
    node.sh("ip link set eth0 up");
    block_on(async {
        let mut asking = cable.asking();
        assert_eq!(asking.next_report(10).await.unwrap().0, alone());
        cable.far.sh("ip addr add 10.77.0.1/24 dev switch");
        let mut command = Command::new("ip");
        command.args(["netns", "exec", cable.far.name()]);
        let leases = cable.file("switch.leases");
        let _server =
            dnsmasq(&mut command, "switch", "10.77.0.50,10.77.0.99,2m", &leases, &["--no-ping"]);
        assert_eq!(asking.next_report(1).await, None, "no request, no answer");
        node.try_sh("busybox udhcpc -B -i eth0 -n -q -t 1 -T 1 -s /bin/true 2>&1");
        match asking.next_report(2).await {
            Some((Dhcp::OtherServer { server, .. }, _)) => {
                assert_eq!(server, Ipv4Addr::new(10, 77, 0, 1))
            }
            other => panic!("{other:?}"),
        }
    });
}

/// Sends an OFFER by broadcast, like a server's answer to the transaction with this number.
fn forge(cable: &Cable, transaction: [u8; 4]) {
    let mut bytes = vec![2, 1, 6, 0];
    bytes.extend(transaction);
    bytes.resize(16, 0);
    bytes.extend([10, 77, 0, 66]);
    bytes.resize(28, 0);
    bytes.extend([2, 0, 0, 0, 0, 1]);
    bytes.resize(236, 0);
    bytes.extend([99, 130, 83, 99, 53, 1, 2, 54, 4, 10, 77, 0, 99, 255]);
    cable.far.sh("ip route replace 255.255.255.255 dev far");
    let sent = cable.far.run(move || {
        let socket = UdpSocket::bind("0.0.0.0:67").unwrap();
        socket.set_broadcast(true).unwrap();
        assert_eq!(socket.send_to(&bytes, "255.255.255.255:68").unwrap(), bytes.len());
    });
    sent.join().unwrap();
}

/// Forged messages do not stop the server.
fn forged() {
    let cable = Cable::new();
    block_on_within(Duration::from_secs(40), async {
        let mut asking = cable.asking();
        assert_eq!(asking.next_report(10).await.unwrap().0, alone());
        let wire = Capture::at(&cable.far, "far", cable.file("forged.pcap"));
        for number in 0..200_u32 {
            forge(&cable, number.to_be_bytes());
        }
        assert_eq!(asking.next_report(6).await, None, "no answer: no server is there");
        let asked = wire.text().matches("length 1: Discover").count();
        assert!((1..=4).contains(&asked), "asked, and not for each of them: {asked}");
    });
}

/// The cluster interface is plugged into a switch of the venue that does not forward at first,
/// because of the spanning tree; behind it is the venue's server.
fn spanning_tree() {
    let cable = Cable::new();
    // 2 × 4 s: the minimum of the standard; real switches take 2 × 15 s.
    cable.far.sh("ip addr flush dev far; ip link add switch type bridge stp_state 1 forward_delay 400 hello_time 100
        ip link set switch up; ip addr add 10.77.0.1/24 dev switch; ip link set far down");
    let mut command = Command::new("ip");
    command.args(["netns", "exec", cable.far.name()]);
    let server = dnsmasq(
        &mut command,
        "switch",
        "10.77.0.50,10.77.0.99,2m",
        &cable.file("stp.leases"),
        &["--no-ping"],
    );
    block_on_within(Duration::from_secs(60), async {
        let mut asking = cable.asking_of(0);
        cable.far.sh("ip link set far master switch; ip link set far up");
        let (report, after) = asking.next_report(4).await.unwrap();
        // The rest of the delay when the first BPDU is received; a busy machine receives a later
        // one.
        assert!(matches!(report, Dhcp::Held { seconds: 5..=10, .. }), "{report:?} after {after}");
        let (report, after) = asking.next_report(20).await.unwrap();
        let by = Ipv4Addr::new(10, 77, 0, 1);
        assert!(
            matches!(report, Dhcp::OtherServer { server, .. } if server == by),
            "{report:?} after {after} s, never alone before"
        );
        asking.task.abort();

        // The cluster's own switch, without a server behind it: served as soon as that is certain.
        drop(server);
        cable.far.sh("ip link set far down; ip link set far up");
        let mut asking = cable.asking_of(1);
        assert!(matches!(asking.next_report(4).await.unwrap().0, Dhcp::Held { .. }));
        let (report, after) = asking.next_report(20).await.unwrap();
        assert_eq!(report, alone());
        assert!((11.0..17.5).contains(&after), "after {after} s");
    });
}

/// A switch does not forward a server's answers to this port, but it forwards a node's broadcasts.
/// These may be forged.
fn choice_overheard() {
    let cable = Cable::new();
    // A request, and the server that it selects.
    let say = |server: [u8; 4]| cable.broadcast(3, &[&[54, 4], &server[..]].concat(), 1);
    block_on(async {
        let mut asking = cable.asking();
        assert_eq!(asking.next_report(10).await.unwrap().0, alone());
        say([10, 77, 0, 2]);
        assert_eq!(asking.next_report(1).await, None, "it took our own offer");
        say([10, 77, 0, 99]);
        assert_eq!(asking.next_report(6).await, None, "that server does not answer us");
        let _server = cable.dnsmasq(&["--no-ping"]);
        sleep(Duration::from_secs(5)).await;
        say([10, 77, 0, 1]);
        assert_eq!(
            asking.next_report(2).await.map(|(report, _)| report),
            Some(foreign()),
            "this reply counts"
        );
    });
}

/// Lets that much time pass at once, and then a moment for the answers.
async fn pass(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
    sleep(Duration::from_millis(100)).await;
}

/// After the first minute, the next check is in ten minutes, unless a new host appears.
fn stranger() {
    let cable = Cable::new();
    block_on_within(Duration::from_secs(90), async {
        let mut asking = cable.asking();
        assert_eq!(asking.next_report(10).await.unwrap().0, alone());
        // The checks after 15, 35 and 60 s.
        for seconds in [11, 20, 27] {
            pass(seconds).await;
        }
        let _server = cable.dnsmasq(&["--no-ping"]);
        assert_eq!(asking.next_report(2).await, None, "no request, no answer");
        asking.plan.send_modify(|plan| plan.as_mut().unwrap().unknown_clients += 1);
        assert_eq!(asking.next_report(1).await.map(|(report, _)| report), Some(foreign()));
    });
}

fn goes() {
    let cable = Cable::new();
    let server = cable.dnsmasq(&["--no-ping"]);
    block_on(async {
        let mut asking = cable.asking();
        assert_eq!(asking.next_report(5).await.unwrap().0, foreign());
        drop(server);
        pass(29).await;
        let (report, after) = asking.next_report(16).await.unwrap();
        assert_eq!(report, alone());
        assert!((33.0..38.0).contains(&after), "after {after} s");
    });
}

/// Three boards request addresses and get them. The server's log is read at once, the raw socket
/// only when this process runs again, on a busy machine.
fn read_late() {
    const DISCOVER: u8 = 1;
    let cable = Cable::new();
    cable.far.sh("ip addr flush dev far");
    block_on_within(Duration::from_secs(20), async {
        let mut asking = cable.asking();
        assert_eq!(asking.next_report(10).await.unwrap().0, alone());
        cable.broadcast(DISCOVER, &[], 6);
        asking.asked.heard();
        std::thread::sleep(Duration::from_millis(700));
        sleep(Duration::from_millis(300)).await;
        assert_eq!(asking.asked.unheard().questions, 0, "all of them were logged");
        for _ in 0..3 {
            cable.broadcast(DISCOVER, &[], 1);
            sleep(Duration::from_millis(200)).await;
        }
        assert_eq!(asking.asked.unheard().questions, 3, "and none of these");
    });
}

fn unasked() {
    let cable = Cable::new();
    block_on(async {
        let held = capabilities(None).unwrap();
        let mut fewer = held;
        fewer.effective.remove(CapabilitySet::NET_RAW);
        set_capabilities(None, fewer).unwrap();
        let mut asking = cable.asking();
        let report = asking.next_report(5).await.unwrap().0;
        set_capabilities(None, held).unwrap();
        assert!(
            matches!(&report, Dhcp::CheckFailed { why, .. } if why.contains("not permitted")),
            "{report:?}"
        );
        let error = asking.task.await.unwrap().unwrap();
        assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
    });
}

/// Observes the DHCP client of an uplink, with real clients and servers at both ends.
mod uplink {
    use bramblegate::event::{Acquisition, PortalSource, UplinkNews};
    use bramblegate::watch::uplink::lease::{ListeningPlan, run};

    use super::*;

    /// Listens on the interface `cluster`.
    fn listening() -> (watch::Sender<Vec<ListeningPlan>>, mpsc::Receiver<Event>) {
        let mac = "02:00:00:00:00:01".parse().unwrap();
        let port = ListeningPlan {
            index: index_of("cluster"),
            name: "cluster".into(),
            mac,
            generation: 1,
        };
        let (plan, wanted) = watch::channel(vec![port]);
        let (sender, events) = mpsc::channel(64);
        tokio::spawn(run(wanted, sender));
        (plan, events)
    }

    /// Returns the next progress of the client; keeps a portal in between.
    async fn heard(
        events: &mut mpsc::Receiver<Event>,
        portal: &mut Option<String>,
    ) -> Option<Acquisition> {
        loop {
            match timeout(Duration::from_secs(15), events.recv()).await {
                Ok(Some(Event::Uplink(UplinkNews::Acquisition { state, .. }))) => return state,
                Ok(Some(Event::Uplink(UplinkNews::Portal {
                    by: PortalSource::Lease,
                    url,
                    ..
                }))) => {
                    *portal = url.map(|url| url.to_string());
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// A client that only requests and accepts: its script does nothing.
    fn udhcpc(more: &[&str]) -> Server {
        let mut command = Command::new("busybox");
        command
            .args(["udhcpc", "-f", "-i", "cluster", "-s", "/bin/true", "-t", "20", "-T", "1"])
            .args(more);
        Server(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    pub fn talk_is_overheard() {
        let cable = Cable::new();
        let (server, mut portal) = (Ipv4Addr::new(10, 77, 0, 1), None);
        block_on(async {
            let (_plan, mut events) = listening();
            let _client = udhcpc(&["-O", "114"]);
            assert_eq!(heard(&mut events, &mut portal).await, Some(Acquisition::Unanswered));
            let _server =
                cable.dnsmasq(&["--no-ping", "--dhcp-option-force=114,http://login.hotel/"]);
            assert_eq!(
                heard(&mut events, &mut portal).await,
                Some(Acquisition::Offered { server })
            );
            assert_eq!(portal.as_deref(), Some("http://login.hotel/"));
        });
    }

    pub fn silence_is_no_client_or_one_that_waits() {
        let _cable = Cable::new();
        sh(
            "ip link add bare address 02:00:00:00:00:02 type veth peer name far-bare && ip link set bare up && ip link set far-bare up",
        );
        // Its socket looks like that of a client between two requests.
        let mut command = Command::new("tcpdump");
        command
            .args(["-i", "cluster", "-w", "/dev/null"])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let _waits = Server(command.spawn().unwrap());
        block_on(async {
            let (plan, mut events) = listening();
            let mac = "02:00:00:00:00:02".parse().unwrap();
            plan.send_modify(|ports| {
                ports.push(ListeningPlan {
                    index: index_of("bare"),
                    name: "bare".into(),
                    mac,
                    generation: 1,
                })
            });
            let mut known = Vec::new();
            while known.len() < 2 {
                match timeout(Duration::from_secs(15), events.recv()).await {
                    Ok(Some(Event::Uplink(UplinkNews::Acquisition { index, state }))) => {
                        known.push((index, state))
                    }
                    other => panic!("{other:?}"),
                }
            }
            known.sort_by_key(|(index, _)| *index != index_of("cluster"));
            let expected = [("cluster", Acquisition::Waiting), ("bare", Acquisition::NoClient)];
            assert_eq!(known, expected.map(|(name, state)| (index_of(name), Some(state))));
        });
    }

    pub fn wish_for_ipv6_only_is_heeded_by_dhcpcd() {
        let cable = Cable::new();
        let (server, mut portal) = (Ipv4Addr::new(10, 77, 0, 1), None);
        block_on(async {
            let (_plan, mut events) = listening();
            let _server = cable.dnsmasq(&["--no-ping", "--dhcp-option=108,300i"]);
            let configuration = cable.file("dhcpcd.conf");
            std::fs::write(
                &configuration,
                "option ipv6_only_preferred\nnohook resolv.conf\nnoipv6\nnoipv4ll\n",
            )
            .unwrap();
            let mut command = Command::new("unshare");
            let run = "mount -t tmpfs tmpfs /var/lib/dhcpcd; mount -t tmpfs tmpfs /run; exec dhcpcd -B -c /bin/true -f \"$0\" cluster";
            command.args(["--mount", "sh", "-c", run]).arg(&configuration);
            let _client =
                Server(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
            assert_eq!(heard(&mut events, &mut portal).await, Some(Acquisition::Unanswered));
            assert_eq!(
                heard(&mut events, &mut portal).await,
                Some(Acquisition::Ipv6Only { server })
            );
        });
    }
}
