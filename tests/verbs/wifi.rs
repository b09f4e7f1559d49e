//! `wifi` without NetworkManager, on a machine of the test's own, with the real wpa_supplicant.

use std::process::{Command, Output};

use super::{complaint, verb};

/// Runs a script on a machine of its own; `$0` is the program.
fn on_a_machine(script: &str, argument: &str) -> Output {
    let root = rustix::process::geteuid().is_root();
    let begin =
        "mount -t sysfs none /sys && mount -t tmpfs none /etc && mount -t tmpfs none /run\n";
    Command::new("unshare")
        .args([if root { "-nm" } else { "-rnm" }, "sh", "-c", &format!("{begin}{script}")])
        .args([env!("CARGO_BIN_EXE_bramblegate"), argument])
        .output()
        .unwrap()
}

/// A machine without a wireless interface, and the name of a wired one.
#[test]
fn wifi_needs_an_interface_and_a_name() {
    let output = on_a_machine("exec \"$0\" wifi x", "");
    assert_eq!(output.status.code(), Some(69), "{}", complaint(&output));
    assert!(complaint(&output).contains("no wireless interface"), "{}", complaint(&output));
    let long = verb("wifi").arg("x".repeat(33)).output().unwrap();
    assert_eq!(long.status.code(), Some(64), "{}", complaint(&long));
}

/// The printed command is run, and wpa_supplicant knows the network; the wireless interface is a
/// cable with a wireless entry in sysfs.
#[test]
fn the_printed_command_makes_the_network_known_to_wpa_supplicant() {
    let script = r#"
        ip link add wlan0 type veth peer name far && ip link set wlan0 up
        mount -t tmpfs none /sys/class/net
        mkdir -p /sys/class/net/wlan0/phy80211 /etc/wpa_supplicant
        conf=/etc/wpa_supplicant/wpa_supplicant.conf
        echo ctrl_interface=/run/wpa_supplicant > $conf
        wpa_supplicant -P /run/wpa.pid -B -Dnone -iwlan0 -c$conf
        trap 'kill $(cat /run/wpa.pid)' EXIT
        line=$("$0" wifi "$1" 2>&1)
        echo "$line"
        command=$(printf '%s\n' "$line" | sed -n 's/sudo //g; s/.*help: run `\(.*\)`.*/\1/p')
        echo 'correct horse' | sh -c "$command"
        wpa_cli -i wlan0 list_networks
        cat $conf"#;
    let output = on_a_machine(script, "Bob's #1");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let all = format!("{text}{}", complaint(&output));
    assert!(text.contains("\nOK\n") && text.contains("\n0\tBob's #1\tany\t"), "{all}");
    assert!(text.contains("\tpsk=") && !text.contains("correct horse"), "{all}");
}
