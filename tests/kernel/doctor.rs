//! `bramblegate doctor` and `detect`, the real binary, on a network of its own.

use std::net::UdpSocket;
use std::process::Command;

use libtest_mimic::Trial;

use crate::lab::{sh, trial};

pub fn tests() -> Vec<Trial> {
    vec![
        trial("doctor::a_foreign_drop_blocks_until_it_is_gone", a_foreign_drop_blocks_until_it_is_gone),
        trial("doctor::who_has_port_53_is_named", who_has_port_53_is_named),
        trial("doctor::a_port_without_a_role_is_named", a_port_without_a_role_is_named),
        trial("detect::the_way_to_the_internet_stays_an_uplink", the_way_to_the_internet_stays_an_uplink),
    ]
}

const SETTINGS: &str =
    "uplink.interfaces = [\"up0\"]\ncluster.interface = \"down0\"\nlcd.bus = \"off\"\nled.device = \"off\"\n";

/// Runs the binary where `/sys` shows this network: exit code and both outputs.
fn run(arguments: &str) -> (i32, String) {
    let script = format!("mount -t sysfs sysfs /sys && exec {} {arguments}", env!("CARGO_BIN_EXE_bramblegate"));
    let output = Command::new("unshare").args(["--mount", "sh", "-c", &script]).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned())
}

/// The head's two ports, and a settings file that names them.
fn head(name: &str) -> String {
    sh("ip link add up0 type veth peer name up1 && ip link add down0 type veth peer name down1 && ip link set up0 up");
    let file = std::env::temp_dir().join(format!("bramblegate-{name}-{}.toml", std::process::id()));
    std::fs::write(&file, SETTINGS).unwrap();
    file.display().to_string()
}

fn a_foreign_drop_blocks_until_it_is_gone() {
    let file = head("drop");
    let (before, text) = run(&format!("doctor -c {file}"));
    assert!(before != 2 && !text.contains("gateway-blocked"), "{before}: {text}");
    sh(
        "nft add table ip filter; nft 'add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }'",
    );
    let (dropped, text) = run(&format!("doctor -c {file}"));
    assert_eq!(dropped, 2, "{text}");
    assert!(text.contains("table ip filter, chain FORWARD") && text.contains("iptables -I FORWARD -i down0"), "{text}");
    sh("nft insert rule ip filter FORWARD accept");
    let (after, text) = run(&format!("doctor -c {file}"));
    assert_eq!(after, before, "{text}");
    std::fs::remove_file(file).unwrap();
}

fn who_has_port_53_is_named() {
    let file = head("port");
    std::fs::write(&file, format!("{SETTINGS}[cluster.dhcp]\nenabled = true\n")).unwrap();
    let _socket = UdpSocket::bind("0.0.0.0:53").unwrap();
    let (code, text) = run(&format!("doctor -c {file}"));
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("host-port-53: kernel"), "{text}");
    std::fs::remove_file(file).unwrap();
}

fn the_way_to_the_internet_stays_an_uplink() {
    std::fs::remove_file(head("detect")).unwrap();
    sh("ip link set up1 up && ip addr add 192.168.50.77/24 dev up0 && ip route add default via 192.168.50.1");
    let (code, text) = run("detect");
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("interfaces = [\"up0\", "), "{text}");
    assert!(text.contains("interface = \"down0\"\n") && text.contains("address = \"10.213.50.1/24\""), "{text}");
}

fn a_port_without_a_role_is_named() {
    let file = head("roles");
    sh("ip link add up9 type veth peer name up8 && ip link set up9 up
        ip link add docker0 type bridge && ip addr add 172.17.0.1/16 dev docker0 && ip link set docker0 up");
    let (before, text) = run(&format!("doctor -c {file}"));
    assert!(!text.contains("gateway-unknown-port"), "without an address nothing comes of it: {text}");
    sh("ip addr add 172.22.0.1/24 dev up9");
    let (after, text) = run(&format!("doctor -c {file}"));
    assert!(text.contains("gateway-unknown-port: up9 has the address 172.22.0.1/24"), "{text}");
    assert!(after >= 1 && after >= before, "a finding: {text}");
    std::fs::write(&file, format!("{SETTINGS}gateway.trust = [\"up9\"]\n")).unwrap();
    let (_, text) = run(&format!("doctor -c {file}"));
    assert!(!text.contains("gateway-unknown-port"), "{text}");
    std::fs::remove_file(file).unwrap();
}
