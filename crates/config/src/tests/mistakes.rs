//! Common mistakes of new users, and the messages for them.

use super::*;

/// Asserts the whole output for settings below the two interfaces.
#[track_caller]
fn answered(text: &str, expected: &[&str]) {
    let faults = load(&[("t", format!("{PORTS}{text}"))], &board()).expect_err(text);
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(lines.join("\n"), expected.join("\n"), "{text}");
}

const NODE: &str = "[[node]]\nname = \"n\"\naddress = \"192.168.50.9\"\n";

/// Settings, and the lines that answer them.
const MISTAKES: &[(&str, [&str; 2])] = &[
    (
        "health.interval = 1",
        [
            "t:3:19: error: health.interval: 1 has no unit",
            "    help: write a duration from 50ms to 1h, such as \"300ms\"",
        ],
    ),
    (
        "health.interval = 500",
        [
            "t:3:19: error: health.interval: 500 has no unit",
            "    help: write the duration with its unit in quotes, such as \"500ms\"",
        ],
    ),
    (
        "[uplinks]\nallow = []",
        ["t:3:2: error: unknown table \"uplinks\"", "    help: did you mean [uplink]?"],
    ),
    ("[dhcp]", ["t:3:2: error: unknown table \"dhcp\"", "    help: did you mean [cluster.dhcp]?"]),
    ("[dns]", ["t:3:2: error: unknown table \"dns\"", "    help: did you mean [cluster.dns]?"]),
    (
        "lcd.address = 27",
        [
            "t:3:15: error: lcd.address: 27 (0x1b) is not the address of an expander",
            "    help: did you mean 0x27?",
        ],
    ),
    (
        "lcd.address = \"27\"",
        [
            "t:3:15: error: lcd.address: \"27\" is not the address of an expander",
            "    help: did you mean 0x27?",
        ],
    ),
    (
        "lcd.address = 0x50",
        [
            "t:3:15: error: lcd.address: 80 (0x50) is not the address of an expander",
            "    help: write an address from 0x20 to 0x27 (PCF8574) or from 0x38 to 0x3f \
                 (PCF8574A)",
        ],
    ),
    (
        "lcd.size = \"16x3\"",
        [
            "t:3:12: error: lcd.size: \"16x3\" is not the size of a display",
            "    help: write one of \"8x2\", \"16x1\", \"16x2\", \"16x4\", \"20x2\", \"20x4\", \"40x2\", \
                 \"128x32\", \"128x64\"",
        ],
    ),
    (
        "[node.rpi1]",
        [
            "t:3:7: error: [node.rpi1] is a table, nodes are an array of tables",
            "    help: write [[node]] with name = \"rpi1\" below it",
        ],
    ),
    (
        "cluster.dhcp.start = \"192.168.50.7\"\ncluster.dhcp.end = \"192.168.50.9\"",
        [
            "t:3:14: error: unknown key \"start\" in [cluster.dhcp]\n    help: write both as \
                 range = \"192.168.50.7-192.168.50.9\"",
            "t:4:14: error: unknown key \"end\" in [cluster.dhcp]\n    help: write both as range \
                 = \"192.168.50.7-192.168.50.9\"",
        ],
    ),
    (
        "cluster.domain = \"cluster.local\"",
        [
            "t:3:18: error: cluster.domain: \"cluster.local\" belongs to multicast DNS (RFC 6762)",
            "    help: choose another domain such as \"bramble\" or \"home.arpa\"",
        ],
    ),
    (
        "vitals.temperature_above = \"80C\"",
        [
            "t:3:28: error: vitals.temperature_above: this is a string",
            "    help: write a number of °C from 30 to 120",
        ],
    ),
    (
        "vitals.temperature_above = \"80\"",
        [
            "t:3:28: error: vitals.temperature_above: this is a string",
            "    help: write 80, without quotes",
        ],
    ),
    (
        "uplink.allow = [“ssh”]",
        ["t:3:17: error: “ is a typographic quote", "    help: use straight quotes (\")"],
    ),
    (
        "health.interval = 300ms",
        [
            "t:3:19: error: this is not a TOML number",
            "    help: put strings in quotes, such as \"300ms\"",
        ],
    ),
    (
        "gpio.chip = \"gpiochip0\"",
        [
            "t:3:13: error: gpio.chip: \"gpiochip0\" is a number that may change with the kernel",
            "    help: write \"auto\", or the label that gpiodetect shows in brackets such as \
                 \"pinctrl-bcm2711\"",
        ],
    ),
    (
        "lcd.enabled = true\nlcd.bus = \"off\"",
        [
            "t:3:15: error: lcd.enabled is true, but lcd.bus is \"off\"",
            "    help: write bus = \"/dev/i2c-1\" in [lcd], or enabled = false",
        ],
    ),
    (
        "gateway.enabled = \"yes\"",
        [
            "t:3:19: error: gateway.enabled: this is a string",
            "    help: write true, without quotes",
        ],
    ),
    (
        "health.down_after = 0",
        [
            "t:3:21: error: health.down_after: 0 is out of bounds",
            "    help: write an integer from 1 to 1000",
        ],
    ),
    (
        "uplink.allow = [true]",
        [
            "t:3:17: error: uplink.allow: a boolean in the array",
            "    help: write \"ssh\", \"icmp\", \"mdns\", \"web\", \"http\", \"https\", a TCP port such as 8080, \
                 or ports such as \"tcp:8000-8010\" and \"udp:51820\"",
        ],
    ),
];

#[test]
fn each_mistake_gets_its_remedy() {
    for (text, expected) in MISTAKES {
        answered(text, expected);
    }
}

#[test]
fn a_misspelt_table_is_not_missing_as_well() {
    for (text, place) in [
        ("[uplinks]\ninterfaces = [\"eth1\"]\n[cluster]\ninterface = \"eth0\"\n", "t:1:2: "),
        ("[uplink]\ninterfacs = [\"eth1\"]\n[cluster]\ninterface = \"eth0\"\n", "t:2:1: "),
    ] {
        let faults = load(&[("t", text)], &board()).unwrap_err();
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].headline().starts_with(place), "{faults:?}");
    }
}

#[test]
fn a_board_is_recognized_by_its_common_names() {
    let answer = |name: &str| {
        let files = [("t", format!("{PORTS}board = \"{name}\"\n"))];
        let faults = resolve(&files, &crate::board::Boards::default(), None, None).unwrap_err();
        assert_eq!(faults.len(), 1, "{faults:?}");
        faults[0].remedy.clone()
    };
    for (name, board) in [
        ("pi4", "raspberry-pi-4"),
        ("rpi4", "raspberry-pi-4"),
        ("RPi 4B", "raspberry-pi-4"),
        ("raspberrypi5", "raspberry-pi-5"),
        ("Raspberry Pi 3 Model B", "raspberry-pi-3"),
        ("pi-zero-2w", "raspberry-pi-zero-2-w"),
        ("cm4", "compute-module-4"),
        ("generic", "generic-pc"),
    ] {
        assert_eq!(answer(name), format!("did you mean \"{board}\"?"), "{name}");
    }
    for name in ["raspberry-pie", "pi9", "beaglebone"] {
        assert!(
            answer(name).starts_with("write \"auto\" or one of \"compute-module-4\""),
            "{name}"
        );
    }
}

#[test]
fn a_button_takes_the_chip_of_the_boards_header() {
    let pi = good("buttons.next = 5").buttons.unwrap();
    assert_eq!(pi.chip, ButtonChip::Gpio("pinctrl-bcm2711".to_owned()));
    assert_eq!(good("gpio.chip = \"auto\"\nbuttons.next = 5").buttons.unwrap().chip, pi.chip);
    let pc = Board::built_in("generic-pc").unwrap();
    let faults = load(&[("t", format!("{PORTS}buttons.next = 5"))], &pc).unwrap_err();
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        ["t:3:16: error: buttons.next needs a GPIO chip, and the board has none\n    help: write \
          the label that gpiodetect shows in brackets, such as chip = \"pinctrl-bcm2711\" in [gpio]"]
    );
}

#[test]
fn common_forms_are_accepted() {
    for address in ["0x27", "\"0x27\"", "\"0X27\"", "39"] {
        let settings = good(&format!("lcd.address = {address}"));
        assert!(matches!(settings.lcd.bus, LcdBus::I2c { address: 0x27, .. }), "{address}");
    }
    for size in ["\"1602\"", "\"16X2\"", "\"16*2\"", "\"16 x 2\"", "\"16×2\"", "1602"] {
        let geometry = good(&format!("lcd.size = {size}")).lcd.geometry;
        assert_eq!(geometry, Geometry { columns: 16, rows: 2 }, "{size}");
    }
    assert_eq!(good("lcd.size = \"0802\"").lcd.geometry, Geometry { columns: 8, rows: 2 });
    assert_eq!(good("lcd.bus = \"i2c-1\"").lcd.bus, good("lcd.bus = \"/dev/i2c-1\"").lcd.bus);
    for mac in ["b8:27:eb:00:00:01", "b8-27-eb-00-00-01", "B827EB000001"] {
        let settings = good(&format!("{NODE}mac = \"{mac}\""));
        assert_eq!(settings.nodes[0].mac.unwrap().to_string(), "b8:27:eb:00:00:01", "{mac}");
        assert_eq!(
            good(&format!("gateway.trust = \"mac:{mac}\"")).gateway.trust,
            [PortPattern::Mac("b8:27:eb:00:00:01".parse().unwrap())]
        );
    }
    for (allow, wanted) in [
        ("\"22\"", Allow::Tcp(22, 22)),
        ("\"8080/tcp\"", Allow::Tcp(8080, 8080)),
        ("\"tcp/8080\"", Allow::Tcp(8080, 8080)),
        ("\"51820/udp\"", Allow::Udp(51820, 51820)),
        ("\"8000-8010/tcp\"", Allow::Tcp(8000, 8010)),
        ("\"http\"", Allow::Tcp(80, 80)),
        ("\"https\"", Allow::Tcp(443, 443)),
        ("\"ping\"", Allow::Icmp),
        ("22", Allow::Tcp(22, 22)),
    ] {
        for text in [format!("uplink.allow = [{allow}]"), format!("uplink.allow = {allow}")] {
            assert_eq!(good(&text).uplink.allow, std::slice::from_ref(&wanted), "{text}");
        }
    }
    let probes = |probe: &str| good(&format!("{NODE}probe = {probe}")).nodes[0].probes.to_vec();
    assert_eq!(probes("\"ping\""), [NodeProbe::Icmp]);
    assert_eq!(probes("\"off\""), []);
    let range = |range: &str| {
        let dhcp = good(&format!("cluster.dhcp.range = {range}")).cluster.dhcp.unwrap();
        format!("{}-{}", dhcp.first, dhcp.last)
    };
    for text in ["\"192.168.50.7-192.168.50.9\"", "[\"192.168.50.7\", \"192.168.50.9\"]"] {
        assert_eq!(range(text), "192.168.50.7-192.168.50.9");
    }
    assert_eq!(
        good("uplink.check.method = \"icmp\"").uplink.probe,
        good("uplink.check.method = \"ping\"").uplink.probe
    );
    assert_eq!(good(&ROOM.replace("\"1-5\"", "[1, 5]")).groups.len(), 5);
    for uplink in ["uplink.interfaces = \"eth1\"", "uplink.interface = \"eth1\""] {
        let settings = load(&[("t", format!("{uplink}\ncluster.interface = \"eth0\""))], &board());
        assert_eq!(settings.unwrap().uplink.interfaces, [PortPattern::Glob("eth1".to_owned())]);
    }
}

#[test]
fn a_table_is_switched_by_one_word() {
    assert!(good("cluster.dhcp = true").cluster.dhcp.is_some());
    assert_eq!(good("cluster.dhcp = false").cluster.dhcp, None);
    assert_eq!(good("cluster.dhcp = true\ncluster.dns = false").cluster.dns, None);
    assert!(!good("gateway = false").gateway.enabled);
    for text in ["lcd.enabled = false", "lcd = false", "lcd.bus = \"off\""] {
        assert_eq!(good(text).lcd.bus, LcdBus::Off, "{text}");
    }
    for text in ["led.enabled = false", "led = false", "led.device = \"off\""] {
        assert_eq!(good(text).led.device, LedDevice::Off, "{text}");
    }
    for text in ["enabled = false", "chip = \"off\""] {
        assert_eq!(good(&format!("[buttons]\nnext = 5\n{text}")).buttons, None, "{text}");
    }
    assert_eq!(good("[buttons]\nnext = 5\n[gpio]\nchip = \"off\"").buttons, None);
    for text in ["check = false", "check.enabled = false", "check.method = \"off\""] {
        assert_eq!(good(&format!("uplink.{text}")).uplink.probe, UplinkProbe::Off, "{text}");
    }
}

/// A file may hold anything, and no part of it breaks out of its line.
#[test]
fn an_error_is_two_lines() {
    for text in ["\"a\\nb\" = 1", "led.device = \"a\\nb\"", "[\"x\\ny\"]"] {
        let faults = load(&[("t", format!("{PORTS}{text}"))], &board()).unwrap_err();
        assert_eq!(faults[0].to_string().lines().count(), 2, "{faults:?}");
    }
}
