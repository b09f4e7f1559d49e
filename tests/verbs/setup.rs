//! `setup` on a terminal, on a machine of its own: interfaces, `/etc` and `/run` of a namespace.

use super::pty::Terminal;

/// Makes the machine, runs the program's setup in it, and prints the resulting files.
fn start(options: &str) -> Terminal {
    let program = env!("CARGO_BIN_EXE_bramblegate");
    let script = format!(
        "set -e
        mount -t sysfs none /sys && mount -t tmpfs none /etc && mount -t tmpfs none /run
        ip link add eth0 type veth peer name wlan0
        mkdir -p /etc/systemd/system/multi-user.target.wants
        echo hostname > /etc/dhcpcd.conf
        : > /etc/systemd/system/multi-user.target.wants/dhcpcd.service
        code=0; {program} setup {options} || code=$?
        grep -h -E '^(interfaces?|enabled) |^deny' /etc/bramblegate/bramblegate.toml /etc/dhcpcd.conf || true
        echo \"ended with $code\""
    );
    let root = rustix::process::geteuid().is_root();
    let namespaces = if root { "-nm" } else { "-rnm" };
    Terminal::start("unshare", &[namespaces, "sh", "-c", &script], &[("NO_COLOR", "1")])
}

/// A wrong name, an answer that is neither yes nor no, and a program that manages the cluster
/// interface.
#[test]
fn setup_asks_again_and_frees_the_clusters_interface() {
    let mut terminal = start("");
    terminal.until("Which interface leads to the nodes?");
    terminal.keys("eht0\n");
    terminal.until("error: there is no interface eht0 here");
    terminal.until("Which interface leads to the nodes?");
    terminal.keys("eth0\n");
    terminal.until("may lead to the venue");
    terminal.keys("eth0\n");
    terminal.until("error: eth0 leads to the nodes");
    terminal.keys("wlan0 usb*\n");
    terminal.until("addresses and names from here (DHCP)?");
    terminal.keys("perhaps\n");
    terminal.until("answer yes or no");
    terminal.keys("yes\n");
    terminal.until("dhcpcd manages eth0 and may take its address away. Let it leave eth0 alone?");
    // If snmpd or the status page is installed, there is one more question.
    terminal.keys("\n\n\n");
    terminal.until("/etc/bramblegate/bramblegate.toml is written.");
    terminal.until("/etc/dhcpcd.conf has a new line: denyinterfaces eth0");
    let (_, text) = terminal.end();
    for line in [
        "interfaces = [\"wlan0\", \"usb*\"]",
        "interface = \"eth0\"",
        "denyinterfaces eth0\n",
        "ended with 0",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    assert!(!text.contains("gateway-port-managed"), "doctor finds it no more: {text}");
}

#[test]
fn a_dry_run_writes_nothing() {
    let terminal = start("--dry-run --yes --uplink wlan0 --cluster eth0");
    let (_, text) = terminal.end();
    for line in [
        "write /etc/bramblegate/bramblegate.toml:\n",
        "    interface = \"eth0\"",
        "add to /etc/dhcpcd.conf:\n\n    denyinterfaces eth0\n",
        "Nothing was changed.\n",
        "ended with 0",
    ] {
        assert!(text.contains(line), "{line:?} is not in {text}");
    }
    assert!(!text.contains("\ninterface = ") && !text.contains("\ndeny"), "{text}");
}
