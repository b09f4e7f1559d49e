//! Former names of keys, which stay valid.

use super::*;

/// The settings of INTERFACE.md, by which outside checks go, and every other former name.
const FORMER: &str = r#"
[uplink]
interfaces = ["eth1", "wlan0", "usb*"]
probe = "http"
probe_url = "http://example.org/generate_204"
probe_expect = 200
probe_host = "9.9.9.9"

[cluster]
interface = "eth0"
address = "192.168.50.1/24"
alternatives = ["10.213.50.1/24", "172.30.50.1/24"]

[cluster.dhcp]
lease = "2h"

[cluster.dns]
fallback = ["9.9.9.9"]

[[group]]
name = "rack"
numbers = "1-2"
slots = "1-3"
address = "192.168.50.2{group}{slot}"
node = "s{group}n{slot}"
fault_below = 1

[health]
failure_threshold = 4
success_threshold = 5
start_period = "90s"
fault_below = 2

[vitals]
temperature = 75
memory = "20%"
disk = "5%"

[buttons]
chip = "pinctrl-rp1"
next = 5

[lcd]
gpio_chip = "pinctrl-rp1"

[led]
night = "22:00-07:00"

[status]
socket = "/run/a.sock"

[control]
socket = "/run/b.sock"
"#;

const NEW: &str = r#"
[uplink]
interfaces = ["eth1", "wlan0", "usb*"]

[uplink.check]
method = "http"
url = "http://example.org/generate_204"
expect = 200
host = "9.9.9.9"

[cluster]
interface = "eth0"
address = "192.168.50.1/24"
fallback_addresses = ["10.213.50.1/24", "172.30.50.1/24"]

[cluster.dhcp]
lease_time = "2h"

[cluster.dns]
fallback_servers = ["9.9.9.9"]

[[group]]
name = "rack"
groups = "1-2"
nodes = "1-3"
node_address = "192.168.50.2{group}{slot}"
node_name = "s{group}n{slot}"
red_below = 1

[health]
down_after = 4
up_after = 5
boot_grace = "90s"
red_below = 2

[vitals]
temperature_above = 75
memory_free_below = "20%"
disk_free_below = "5%"

[buttons]
next = 5

[gpio]
chip = "pinctrl-rp1"

[led]
quiet_hours = "22:00-07:00"

[sockets]
status = "/run/a.sock"
control = "/run/b.sock"
"#;

#[test]
fn a_former_name_means_what_the_new_one_means() {
    let former = read(&[("t", FORMER)], &board(), None).unwrap();
    let new = read(&[("t", NEW)], &board(), None).unwrap();
    assert_eq!(former.settings, new.settings);
    assert_eq!(new.notes(), []);
    // uplink.interface is the only one that the text has no place for beside interfaces.
    let names: usize = keys::all().map(|key| key.was.len()).sum();
    let (noted, doubled) = (former.notes().len(), 1);
    assert_eq!(noted + doubled, names - 1, "{:#?}", former.notes());
    let printed = former.to_toml();
    for line in ["lease_time = \"2h\"", "(written as lease)", "(written as status.socket)"] {
        assert!(printed.contains(line), "{line} is not in {printed}");
    }
    let again = read(&[("again", printed.as_str())], &board(), None).unwrap();
    assert_eq!(
        (again.settings, again.tree.get("health.down_after").unwrap().at.was),
        (new.settings, None)
    );
}

#[test]
fn a_note_shows_the_new_name() {
    let merged = read(&[("t", format!("{PORTS}cluster.dhcp.lease = \"2h\""))], &board(), None);
    let notes: Vec<String> = merged.unwrap().notes().iter().map(Fault::as_note).collect();
    assert_eq!(
        notes,
        [
            "t:3:22: note: cluster.dhcp.lease is now called cluster.dhcp.lease_time\n    help: write \
          lease_time in [cluster.dhcp]; the former name stays valid"
        ]
    );
}

#[test]
fn both_names_at_once_are_an_error() {
    for (text, wrong) in [
        (
            "[cluster.dhcp]\nlease = \"1h\"\nlease_time = \"1h\"",
            "t.toml:4:9: cluster.dhcp.lease is set, and cluster.dhcp.lease_time as well\nkeep \
             cluster.dhcp.lease_time only: ",
        ),
        (
            "[cluster.dhcp]\nlease_time = \"1h\"\nlease = \"2h\"",
            "t.toml:5:9: cluster.dhcp.lease is set, and cluster.dhcp.lease_time as well",
        ),
        (
            "sockets.status = \"/a\"\nstatus.socket = \"/b\"",
            "t.toml:4:17: status.socket is set, and sockets.status as well",
        ),
        (
            "lcd.gpio_chip = \"a\"\nbuttons.chip = \"b\"\nbuttons.next = 1",
            "t.toml:4:16: buttons.chip is set, and lcd.gpio_chip as well",
        ),
    ] {
        fault(text, wrong);
    }
}

/// A drop-in wins, with either name.
#[test]
fn a_later_file_wins_by_either_name() {
    let lease = |first: &str, second: &str| {
        let main = format!("{PORTS}[cluster.dhcp]\n{first} = \"1h\"\n");
        let drop_in = format!("[cluster.dhcp]\n{second} = \"2h\"\n");
        load(&[("main", main), ("drop", drop_in)], &board())
            .unwrap()
            .cluster
            .dhcp
            .unwrap()
            .lease_time
    };
    for (first, second) in [("lease", "lease_time"), ("lease_time", "lease")] {
        assert_eq!(lease(first, second), Duration::from_secs(7200), "{first}, {second}");
    }
}

/// Switching the buttons off keeps the chip for a display.
#[test]
fn buttons_that_are_off_leave_the_chip_alone() {
    let settings = good("lcd.bus = \"gpio\"\n[buttons]\nchip = \"off\"\nnext = 5\n");
    assert!(matches!(settings.lcd.bus, LcdBus::Gpio { chip, .. } if chip == "pinctrl-bcm2711"));
    assert_eq!(settings.buttons, None);
}

#[test]
fn an_error_names_the_key_as_the_file_does() {
    fault("cluster.dhcp.lease = \"1s\"", "t.toml:3:22: cluster.dhcp.lease: \"1s\" is too short");
}
