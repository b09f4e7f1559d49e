//! Every key with its type, default and meaning.

use std::time::Duration;

use super::Preset::{Board, Required, Toml, Words};
use super::{Key, Kind, Preset};
use crate::config::fault::Complaint;
use crate::config::tree::Scalar;
use crate::config::{devices, grammar};

macro_rules! text {
    ($form:expr, $parse:path) => {
        Kind::Text($form, |value| match value {
            Scalar::Text(text) => $parse(text).map(drop),
            Scalar::Integer(number) => Err(Complaint::new(format!("{number} is not a text"), "put it in quotes")),
        })
    };
}

macro_rules! scalar {
    ($form:expr, $parse:path) => {
        Kind::Scalar($form, |value| $parse(value).map(drop))
    };
}

const fn key(path: &'static str, kind: Kind, default: Preset, doc: &'static str) -> Key {
    Key { path, kind, default, doc }
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const PORT: &str = "name, glob (* ? […]), or \"mac:aa:bb:cc:dd:ee:ff\"";
const PIN: Kind = Kind::Integer(0, 511);
const DAY: u64 = 86_400;

/// Every key, in the order of the man page.
pub static KEYS: &[Key] = &[
    key(
        "board",
        text!("\"auto\" or a board's name", devices::name),
        Toml("\"auto\""),
        "What the head node is: it decides the defaults of [lcd] and [led]. \"auto\" asks the device tree and falls back to \"generic-pc\". A name is that of a file in boards/, or in /etc/bramblegate/boards, without its .toml.",
    ),
    key(
        "uplink.interfaces",
        Kind::List {
            form: PORT,
            integers: false,
            lone: false,
            empty: false,
            check: |value| match value {
                Scalar::Text(text) => grammar::port_pattern(text).map(drop),
                Scalar::Integer(_) => Err(Complaint::new("a port has no number here", "write its name in quotes")),
            },
        },
        Required,
        "The ports that may lead to the venue, in order of preference. Globs match current and alternative names, never lo, the cluster's port or the gateway's own.",
    ),
    key(
        "uplink.probe",
        Kind::Choice(&["http", "ping", "off"]),
        Toml("\"http\""),
        "How to find out whether the internet is behind an uplink. \"http\" also sees captive portals; with \"off\" an address is enough.",
    ),
    key(
        "uplink.probe_url",
        text!("URL that begins with http://", grammar::http_url),
        Toml("\"http://connectivitycheck.gstatic.com/generate_204\""),
        "What \"http\" asks for, through the uplink and resolved by its own resolvers. The default is a public host of Google's: any host of yours that answers plain HTTP does as well. No https: the clock may be wrong before there is a network.",
    ),
    key(
        "uplink.probe_expect",
        scalar!("HTTP status 200 to 599, or a text", grammar::expectation),
        Toml("204"),
        "The answer that says that the internet is there: this status, or status 200 with this text in the body. Any other answer is a captive portal.",
    ),
    key("uplink.probe_host", text!("IP address", grammar::ip), Toml("\"1.1.1.1\""), "Whom \"ping\" asks."),
    key(
        "uplink.allow",
        Kind::List {
            form: "\"ssh\", \"icmp\", \"mdns\", a TCP port as 8080 or \"tcp:8000-8010\", \"udp:51820\"",
            integers: true,
            lone: false,
            empty: true,
            check: |value| grammar::allow(value).map(drop),
        },
        Toml("[\"ssh\", \"icmp\", \"mdns\"]"),
        "What the venue may reach on the head node itself. \"ssh\" is port 22 and what sshd listens on, \"icmp\" is for IPv4 and IPv6.",
    ),
    key("gateway.enabled", Kind::Bool, Toml("true"), "false: show the address, change nothing in the network."),
    key(
        "gateway.on_stop",
        Kind::Choice(&["keep", "remove"]),
        Toml("\"keep\""),
        "\"keep\": the nodes' way out outlives the daemon. \"remove\": everything is put back when it stops.",
    ),
    key(
        "gateway.protect",
        Kind::Bool,
        Toml("true"),
        "Own the nftables table, so that others cannot flush it (kernel 6.9 or newer; with older ones it is watched and put back). false for debugging.",
    ),
    key("cluster.interface", text!(PORT, grammar::port_pattern), Required, "The port that leads to the nodes."),
    key(
        "cluster.address",
        text!("IPv4 address with prefix length 8 to 30", grammar::cidr),
        Toml("\"192.168.50.1/24\""),
        "The head node's own address on the cluster's side, and with it the cluster's subnet.",
    ),
    key(
        "cluster.alternatives",
        Kind::List {
            form: "as cluster.address, same prefix length",
            integers: false,
            lone: false,
            empty: true,
            check: |value| match value {
                Scalar::Text(text) => grammar::cidr(text).map(drop),
                Scalar::Integer(_) => Err(Complaint::new("an address is a text", "write it as \"10.213.50.1/24\"")),
            },
        },
        Words(
            "10.213.x.y and 172.30.x.y, where x.y are the last two numbers of cluster.address; none if its prefix is shorter than 16",
        ),
        "Where the cluster moves if the venue leases the head node an address of the cluster. The nodes keep their host parts.",
    ),
    key(
        "cluster.domain",
        text!("domain name", grammar::domain),
        Toml("\"bramble\""),
        "The domain of the nodes' names.",
    ),
    key(
        "cluster.dhcp.enabled",
        Kind::Bool,
        Words("true where the table [cluster.dhcp] is there"),
        "Serve addresses to the nodes.",
    ),
    key(
        "cluster.dhcp.range",
        text!("\"FIRST-LAST\"", grammar::range),
        Words("hosts 100 to 199 of the subnet, in a small subnet its upper half"),
        "The addresses for nodes that have none of their own.",
    ),
    key(
        "cluster.dhcp.lease",
        Kind::Duration(seconds(120), seconds(365 * DAY)),
        Words("\"1h\""),
        "How long a node may keep an address.",
    ),
    key(
        "node.name",
        text!("host name", grammar::host_name),
        Required,
        "The node's name; unique. A later file that names it again changes the keys that it gives.",
    ),
    key(
        "node.mac",
        text!("hardware address", grammar::mac),
        Words("none"),
        "Gives the node the address below by DHCP.",
    ),
    key(
        "node.address",
        text!("IPv4 address in the cluster's subnet", grammar::ipv4),
        Words("none; then mac is needed"),
        "The node's address.",
    ),
    key(
        "node.probe",
        Kind::List {
            form: "\"icmp\", \"arp\", \"tcp:22\", \"http://:80/healthz\"",
            integers: false,
            lone: true,
            empty: true,
            check: |value| match value {
                Scalar::Text(text) => grammar::node_probe(text).map(drop),
                Scalar::Integer(_) => Err(Complaint::new("a number is no probe", "write \"tcp:22\"")),
            },
        },
        Words("\"icmp\""),
        "How to find out whether the node is well: all must be answered. [] does not ask.",
    ),
    key("group.name", text!("host name", grammar::host_name), Required, "The group's name; unique."),
    key(
        "health.interval",
        Kind::Duration(Duration::from_millis(50), seconds(3600)),
        Toml("\"300ms\""),
        "Time between two rounds of probes of a node.",
    ),
    key(
        "health.failure_threshold",
        Kind::Integer(1, 1000),
        Toml("3"),
        "So many rounds lost in a row make a node down.",
    ),
    key(
        "health.success_threshold",
        Kind::Integer(1, 1000),
        Toml("2"),
        "So many rounds answered in a row make it up again.",
    ),
    key(
        "health.fault_below",
        scalar!("count of nodes, or a share as \"80%\"", grammar::threshold),
        Toml("\"50%\""),
        "With fewer nodes up than this it is a fault (red); any node down before that is a warning (amber).",
    ),
    key(
        "lcd.bus",
        text!("\"/dev/i2c-N\", \"gpio\", \"emulator\", \"emulator:FILE\" or \"off\"", devices::bus),
        Board,
        "What the display hangs on. \"emulator:FILE\" also writes each transaction to FILE as \"ns T ADDR HEX\".",
    ),
    key(
        "lcd.address",
        scalar!("0x20 to 0x27 (PCF8574) or 0x38 to 0x3f (PCF8574A)", devices::expander),
        Board,
        "The backpack's I2C address.",
    ),
    key(
        "lcd.wiring",
        text!("name of a wiring", devices::wiring),
        Board,
        "How the backpack is wired to the display. bramblegate detect --try ADDRESS shows each wiring's name on the glass.",
    ),
    key(
        "lcd.size",
        text!("8x2 16x1 16x2 16x4 20x2 20x4 40x2, in quotes", devices::geometry),
        Board,
        "Columns and rows.",
    ),
    key(
        "lcd.charset",
        Kind::Choice(&["A00", "A02"]),
        Board,
        "The controller's character ROM: A00 has katakana, A02 has more European letters.",
    ),
    key(
        "lcd.backlight",
        text!("\"on\", \"off\" or a duration", devices::backlight),
        Toml("\"on\""),
        "A duration: dark after that long without news.",
    ),
    key("lcd.page_time", Kind::Duration(seconds(1), seconds(3600)), Toml("\"4s\""), "How long one page stands."),
    key("lcd.heartbeat", Kind::Bool, Toml("true"), "The beating heart in the last cell."),
    key(
        "lcd.gpio_chip",
        text!("label of a GPIO chip", devices::name),
        Board,
        "For bus = \"gpio\": the chip's label, as gpiodetect shows it.",
    ),
    key(
        "lcd.emulator_script",
        text!("path", devices::file),
        Words("none"),
        "Faults that the emulated display shows at times; for tests.",
    ),
    key("lcd.pins.rs", PIN, Board, "Line of the chip that drives RS."),
    key("lcd.pins.e", PIN, Board, "Line that drives E."),
    key("lcd.pins.d4", PIN, Board, "Line that drives D4."),
    key("lcd.pins.d5", PIN, Board, "Line that drives D5."),
    key("lcd.pins.d6", PIN, Board, "Line that drives D6."),
    key("lcd.pins.d7", PIN, Board, "Line that drives D7."),
    key("lcd.pins.backlight", PIN, Board, "Line that switches the backlight, where one does."),
    key(
        "led.device",
        text!(
            "\"auto\", \"blinkstick\", \"blinkstick:SERIAL\", \"sysfs:NAME\", \"emulator\", \"emulator:FILE\" or \"off\"",
            devices::light
        ),
        Board,
        "The status light. \"auto\" is the first BlinkStick, else led.kernel.",
    ),
    key(
        "led.kernel",
        text!("name in /sys/class/leds", devices::kernel_led),
        Board,
        "The kernel's LED that \"auto\" falls back to.",
    ),
    key("led.brightness", Kind::Number(0.0, 1.0), Toml("0.3"), "0.0 is dark, 1.0 as bright as it can be."),
    key(
        "led.dim_after",
        text!("duration, or \"off\"", devices::duration_or_off),
        Toml("\"off\""),
        "After so long while all is well: a fifth of the brightness.",
    ),
    key(
        "led.night",
        text!("\"22:00-07:00\", or \"off\"", grammar::night),
        Toml("\"off\""),
        "Dark at these hours while all is well; local time, only once the clock is set.",
    ),
    key("led.animate", Kind::Bool, Toml("true"), "false: colours stand still. For measurements."),
    key(
        "led.emulator_script",
        text!("path", devices::file),
        Words("none"),
        "Faults that the emulated LED shows at times; for tests.",
    ),
    key(
        "status.socket",
        text!("absolute path, at most 107 bytes", devices::socket),
        Toml("\"/run/bramblegate/status.sock\""),
        "Where the daemon tells its state.",
    ),
];
