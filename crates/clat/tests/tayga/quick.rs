//! The program with its BPF programs, compared with the library packet by packet: the packets of
//! the list, and the same with random octets changed. One namespace holds both ends of a cable, the
//! uplink `eth1` and the venue's end `v0`.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bramblegate_clat::{Offload, Prefix, Translator};

use crate::packets::{self, Case};
use crate::tap::Tap;
use crate::{hex, run};

/// The CLAT's address.
const OWN: &str = "2001:db8:64::464";
/// The number of random variants of each packet.
const CHANGED: usize = 12;
/// A port that no packet of the list has: the datagram to it marks the end of a case.
const LAST: u16 = 54321;

/// Ends the program with SIGTERM, like a service manager.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn play(prefix: &Prefix, attach: &str) -> usize {
    // The head's own errors about incomplete fragments would appear in between.
    run("sysctl", &["-qw", "net.ipv4.ipfrag_time=600"]);
    for line in [
        "link add eth1 type veth peer name v0",
        "link set v0 addrgenmode none up",
        "link set eth1 up",
        "addr add 2001:db8:64::2/64 dev eth1 nodad",
        "-6 route add default via fe80::1 dev eth1",
    ] {
        run("ip", &line.split(' ').collect::<Vec<_>>());
    }
    let mac = std::fs::read_to_string("/sys/class/net/v0/address").expect("v0");
    let neighbour = ["neigh", "add", "fe80::1", "lladdr", mac.trim(), "dev", "eth1"];
    run("ip", &neighbour);
    let mut command = Command::new(env!("CARGO_BIN_EXE_bramblegate-clat"));
    command.args(["--uplink", "eth1", "--prefix", &prefix.to_string(), "--address", OWN]);
    command.args(["--mode", "bpf", "--attach", attach]);
    if let Some(object) = std::env::var_os("BRAMBLEGATE_CLAT_OBJECT") {
        command.arg("--object").arg(object);
    }
    let _program = Program(command.stdin(Stdio::null()).spawn().expect("the program"));
    let patience = Instant::now() + Duration::from_secs(10);
    let routed = || {
        let routes = Command::new("ip").args(["route", "show", "default"]).output();
        String::from_utf8_lossy(&routes.expect("ip").stdout).contains("clat0")
    };
    while !routed() {
        assert!(Instant::now() < patience, "the program made no route");
        std::thread::sleep(Duration::from_millis(20));
    }
    let translator =
        Translator { clat6: OWN.parse().unwrap(), prefix: *prefix, ..Translator::default() };
    let (inner, outer) = (Tap::open("clat0"), Tap::towards("v0", "eth1"));
    let mut cases = packets::all(&translator);
    cases.extend(packets::of_ours(&translator));
    let mut random = 0x2545_f491_4f6c_dd1d;
    let changed: Vec<Case> = cases
        .iter()
        .flat_map(|case| std::iter::repeat_n(case, CHANGED))
        .map(|case| packets::change(case, &mut random))
        .collect();
    cases.extend(changed);
    let mut wrong = 0;
    for case in &cases {
        wrong += usize::from(!is_equal(&translator, &inner, &outer, case));
    }
    println!("{attach}: {} packets, {wrong} translated otherwise", cases.len());
    wrong
}

/// Sends a packet to the right side, and compares the result with the library's.
fn is_equal(translator: &Translator, inner: &Tap, outer: &Tap, case: &Case) -> bool {
    let four = case.packet[0] >> 4 == 4;
    let (from, to) = if four { (inner, outer) } else { (outer, inner) };
    let mut ours = ours(translator, &case.packet);
    // ICMP errors of the program are not translations of the packets that follow.
    to.discard();
    from.send(&case.packet);
    // It takes the slow path, so that everything before it has arrived when it does.
    let last = packets::last(translator, four, LAST);
    from.send(&last);
    let is_last = |packet: &[u8]| {
        let at = if packet[0] >> 4 == 4 { 20 } else { 40 };
        packet.len() > at + 8 && packet[at + 2..at + 4] == LAST.to_be_bytes()
    };
    // The head's own packets are not translations either.
    let translated = |packet: &Vec<u8>| match packet[0] >> 4 {
        6 => four && packet[8..24] == translator.clat6.octets(),
        _ => !four,
    };
    let mut seen = to.receive_until(is_last);
    seen.retain(translated);
    for packet in ours.iter_mut().chain(&mut seen).filter(|packet| packet[0] >> 4 == 4) {
        packets::set_identification_equal(packet);
    }
    if ours == seen {
        return true;
    }
    println!("{}\n  in     {}", case.name, hex(&case.packet));
    ours.iter().for_each(|packet| println!("  core   {}", hex(packet)));
    seen.iter().for_each(|packet| println!("  bpf    {}", hex(packet)));
    false
}

fn ours(translator: &Translator, packet: &[u8]) -> Vec<Vec<u8>> {
    let mut head = Vec::new();
    let translated = if packet[0] >> 4 == 4 {
        translator.to_v6(packet, Offload::default(), &mut head)
    } else {
        translator.to_v4(packet, Offload::default(), 0, &mut head)
    };
    let Ok(translated) = translated else { return Vec::new() };
    translated.packets().expect("whole packets").into_iter().map(|(_, packet)| packet).collect()
}
