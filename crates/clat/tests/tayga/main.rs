//! `make clat-test`: translates the same packets with tayga (Debian package tayga) and with this
//! crate, and compares them octet by octet. Runs in a network namespace of its own and needs root.
//! Not part of `cargo test`, since only this test needs the package.
//!
//! The translator counts as a hop here, as tayga does. [`packets::set_free_equal`] removes
//! legitimate differences before the comparison.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
// Servers end with the PID namespace of their trial.
#![allow(clippy::zombie_processes)]

mod packets;
mod quick;
mod roles;
mod tap;
mod venue;

use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use bramblegate_clat::{Offload, Prefix, Translator};
use libtest_mimic::{Arguments, Failed, Trial};

use packets::Case;
use tap::Tap;

/// An environment variable that is set in the process inside the namespace.
const INSIDE: &str = "BRAMBLEGATE_CLAT_INSIDE";
/// The TUN device of tayga.
const DEVICE: &str = "clat";

/// NAT64 prefixes, one of each length.
const PREFIXES: [&str; 7] = [
    "64:ff9b::/96",
    "2001:db8:1:2::/96",
    "2001:db8:1:2::/64",
    "2001:db8:1:200::/56",
    "2001:db8:1::/48",
    "2001:db8:100::/40",
    "2001:db8::/32",
];

fn main() -> ExitCode {
    if let Ok(inside) = std::env::var(INSIDE) {
        return play(&inside);
    }
    let arguments = Arguments::from_args();
    let mut names: Vec<String> = PREFIXES.iter().map(|prefix| format!("tayga {prefix}")).collect();
    names.extend(PREFIXES.iter().map(|prefix| format!("tcx {prefix}")));
    names.push(format!("clsact {}", PREFIXES[0]));
    names.extend(venue::NAMES.map(|name| format!("venue {name}")));
    let trials = names.into_iter().map(|name| Trial::test(name.clone(), move || outer(&name)));
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// Runs one trial, in namespaces of its own.
fn play(name: &str) -> ExitCode {
    let (kind, what) = name.split_once(' ').expect("two words");
    if kind != "role" {
        // The mounted one is the machine's; a new one shows this namespace.
        run("mount", &["-t", "sysfs", "sysfs", "/sys"]);
    }
    let wrong = match kind {
        "venue" => venue::play(what),
        "role" => roles::play(what),
        "tayga" => beside_tayga(&what.parse().expect("a prefix")),
        attach => quick::play(&what.parse().expect("a prefix"), attach),
    };
    if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs as the first process of new namespaces, so that everything it starts ends with it.
fn outer(name: &str) -> Result<(), Failed> {
    let mut command = Command::new("timeout");
    command.args(["240", "unshare", "--net", "--mount", "--pid", "--fork", "--kill-child"]);
    command.arg("--mount-proc").arg(std::env::current_exe()?).env(INSIDE, name);
    let output = command.stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    if !output.status.success() {
        return Err(text.into());
    }
    println!("{name}: {}", text.lines().last().unwrap_or_default());
    Ok(())
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().expect(program);
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
}

/// Starts tayga and returns a socket at its device.
fn start(translator: &Translator) -> Tap {
    let file: PathBuf = std::env::temp_dir().join(format!("clat-{}.conf", std::process::id()));
    run("mount", &["-t", "tmpfs", "tmpfs", std::env::temp_dir().to_str().unwrap()]);
    let text = format!(
        "tun-device {DEVICE}\nipv4-addr 192.0.0.2\nipv6-addr fd00::2\nprefix {}\nmap {} {}\n",
        translator.prefix, translator.clat4, translator.clat6
    );
    std::fs::write(&file, text).expect("its settings");
    let mut command = Command::new("tayga");
    command.arg("-n").arg("-c").arg(&file).stdin(Stdio::null()).stdout(Stdio::null());
    command.spawn().expect("tayga, of the package of that name");
    let patience = Instant::now() + Duration::from_secs(10);
    while !PathBuf::from("/proc/net/dev_snmp6").join(DEVICE).exists() {
        assert!(Instant::now() < patience, "tayga made no device");
        std::thread::sleep(Duration::from_millis(20));
    }
    // Without address and route, the namespace itself answers nothing.
    run("ip", &["link", "set", DEVICE, "addrgenmode", "none", "mtu", "1500", "up"]);
    Tap::open(DEVICE)
}

/// Compares the results with tayga's, and returns the number of different packets.
fn beside_tayga(prefix: &Prefix) -> usize {
    let translator = Translator {
        clat6: Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x464),
        prefix: *prefix,
        hop: true,
        ..Translator::default()
    };
    let tap = start(&translator);
    let cases = packets::all(&translator);
    let mut wrong = 0;
    for case in &cases {
        let mut ours = ours(&translator, case);
        tap.send(&case.packet);
        let mut theirs = tap.receive(ours.len(), case.packet[0] >> 4 == 4);
        packets::set_free_equal(&mut ours, &mut theirs);
        if ours != theirs {
            wrong += 1;
            println!("{}\n  in     {}", case.name, hex(&case.packet));
            ours.iter().for_each(|packet| println!("  ours   {}", hex(packet)));
            theirs.iter().for_each(|packet| println!("  tayga  {}", hex(packet)));
        }
    }
    println!("{} packets, {wrong} translated otherwise", cases.len());
    wrong
}

/// Returns the packets that this crate makes of a packet.
fn ours(translator: &Translator, case: &Case) -> Vec<Vec<u8>> {
    let mut head = Vec::new();
    let translated = if case.packet[0] >> 4 == 4 {
        translator.to_v6(&case.packet, Offload::default(), &mut head)
    } else {
        translator.to_v4(&case.packet, Offload::default(), 0, &mut head)
    };
    let Ok(translated) = translated else { return Vec::new() };
    translated.packets().expect("whole packets").into_iter().map(|(_, packet)| packet).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(160).map(|byte| format!("{byte:02x}")).collect()
}
