mod advice;
mod former;
mod groups;
mod ipv6;
mod mistakes;
mod properties;
mod refused;
mod web;

use super::*;
use crate::board::Board;

const PORTS: &str = "uplink.interfaces = [\"eth1\"]\ncluster.interface = \"eth0\"\n";

fn board() -> Board {
    Board::built_in("raspberry-pi-4").unwrap()
}

/// Settings of the two ports and `text`.
fn good(text: &str) -> Settings {
    load(&[("t.toml", format!("{PORTS}{text}"))], &board())
        .unwrap_or_else(|faults| panic!("{text}: {faults:?}"))
}

/// Returns the faults of `text` below two lines that name the ports: position, message, and the
/// remedy on a line of its own. The table of mistakes tests the whole format.
fn bad(text: &str) -> Vec<String> {
    let faults = load(&[("t.toml", format!("{PORTS}{text}"))], &board()).expect_err(text);
    faults.iter().map(|fault| format!("{}\n{}", fault.headline(), fault.remedy)).collect()
}

/// Asserts that there is exactly one fault, and how it begins.
fn fault(text: &str, beginning: &str) {
    let faults = bad(text);
    assert!(
        faults.len() == 1 && faults[0].starts_with(beginning),
        "wanted {beginning:?}, got {faults:#?}"
    );
}

#[test]
fn two_ports_are_enough() {
    let settings = good("");
    assert_eq!(settings.board, "raspberry-pi-4");
    assert_eq!(settings.uplink.interfaces, [PortPattern::Glob("eth1".to_owned())]);
    assert_eq!(settings.uplink.allow, [Allow::Ssh, Allow::Icmp, Allow::Mdns]);
    assert!(matches!(
        settings.uplink.probe,
        UplinkProbe::Http { port: 80, expect: HttpExpectation::Status(204), .. }
    ));
    assert_eq!(
        settings.gateway,
        Gateway { enabled: true, on_stop: OnStop::Keep, protect: true, trust: vec![] }
    );
    assert_eq!(settings.cluster.address.to_string(), "192.168.50.1/24");
    let alternatives: Vec<String> =
        settings.cluster.fallback_addresses.iter().map(ToString::to_string).collect();
    assert_eq!(alternatives, ["10.213.50.1/24", "172.30.50.1/24"]);
    assert_eq!(settings.cluster.dhcp, None);
    assert_eq!(settings.health.interval, Duration::from_millis(300));
    assert_eq!(settings.lcd.geometry, Geometry { columns: 16, rows: 2 });
    assert!(
        matches!(&settings.lcd.bus, LcdBus::I2c { device, address: 0x27, .. } if device.as_os_str() == "/dev/i2c-1")
    );
    assert_eq!(settings.led.device, LedDevice::Auto { fallback: Some("ACT".to_owned()) });
    assert!((settings.led.brightness - 0.3).abs() < 1e-6);
    assert_eq!(settings.sockets.status.as_os_str(), "/run/bramblegate/status.sock");
}

#[test]
fn the_alternatives_follow_the_clusters_address() {
    let alternatives = |address: &str| -> Vec<String> {
        let settings = good(&format!("cluster.address = \"{address}\""));
        settings.cluster.fallback_addresses.iter().map(ToString::to_string).collect()
    };
    assert_eq!(alternatives("10.9.8.7/20"), ["10.213.8.7/20", "172.30.8.7/20"]);
    assert_eq!(alternatives("10.213.8.7/16"), ["172.30.8.7/16"], "not over itself");
    assert_eq!(alternatives("10.0.0.1/8"), [""; 0]);
}

#[test]
fn the_dhcp_table_alone_serves_a_sensible_range() {
    let dhcp = |address: &str, inside: &str| {
        let text = format!(
            "[uplink]\ninterfaces = [\"eth1\"]\n[cluster]\ninterface = \"eth0\"\n\
             address = \"{address}\"\n[cluster.dhcp]\n{inside}"
        );
        load(&[("t", text)], &board()).unwrap().cluster.dhcp
    };
    for (address, range) in [
        ("192.168.50.1/24", "192.168.50.100-192.168.50.199"),
        ("192.168.50.150/24", "192.168.50.100-192.168.50.149"),
        ("192.168.50.120/24", "192.168.50.121-192.168.50.199"),
        ("10.0.0.1/28", "10.0.0.8-10.0.0.14"),
        ("10.0.0.1/30", "10.0.0.2-10.0.0.2"),
    ] {
        let dhcp = dhcp(address, "").unwrap();
        assert_eq!(format!("{}-{}", dhcp.first, dhcp.last), range, "{address}");
        assert_eq!(dhcp.lease_time, Duration::from_secs(3600));
    }
    assert_eq!(dhcp("192.168.50.1/24", "enabled = false"), None);
}

#[test]
fn later_files_win_by_key_and_nodes_merge_by_name() {
    let main = "[uplink]\ninterfaces = [\"eth1\", \"wlan0\"]\n[cluster]\ninterface = \"eth0\"\n\
                [health]\ninterval = \"1s\"\n\
                [[node]]\nname = \"a\"\naddress = \"192.168.50.11\"\nprobe = \"tcp:22\"\n\
                [[node]]\nname = \"b\"\naddress = \"192.168.50.12\"\n";
    let drop_in = "[uplink]\ninterfaces = [\"usb*\"]\n[health]\ndown_after = 9\n[[node]]\n\
                   name = \"A\"\nmac = \"b8:27:eb:00:00:01\"\n\
                   [[node]]\nname = \"c\"\naddress = \"192.168.50.13\"\n";
    let settings = load(&[("main", main), ("drop", drop_in)], &board()).unwrap();
    assert_eq!(
        settings.uplink.interfaces,
        [PortPattern::Glob("usb*".to_owned())],
        "a list replaces"
    );
    assert_eq!(
        (settings.health.interval, settings.health.down_after),
        (Duration::from_secs(1), 9),
        "tables merge"
    );
    let names: Vec<&str> = settings.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["A", "b", "c"]);
    assert_eq!(settings.nodes[0].address.unwrap().to_string(), "192.168.50.11");
    assert_eq!(settings.nodes[0].mac.unwrap().to_string(), "b8:27:eb:00:00:01");
    assert_eq!(*settings.nodes[0].probes, [NodeProbe::Tcp(22)]);
    assert_eq!(*settings.nodes[1].probes, [NodeProbe::Icmp]);
}

#[test]
fn a_fault_points_into_its_file() {
    let main = format!("{PORTS}[health]\ninterval = \"1s\"\n");
    let faults = load(
        &[("main", main.as_str()), ("drop", "# ä\n[cluster]\ninterface = \"eth1\"\n")],
        &board(),
    )
    .unwrap_err();
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert_eq!((faults[0].file.as_str(), faults[0].line, faults[0].column), ("main", 1, 22));
    let faults = load(
        &[("main", main.as_str()), ("drop", "led.quiet_hours = \"ä\"\nled.brightness = 2\n")],
        &board(),
    )
    .unwrap_err();
    let places: Vec<_> =
        faults.iter().map(|fault| (fault.file.as_str(), fault.line, fault.column)).collect();
    assert_eq!(places, [("drop", 1, 19), ("drop", 2, 18)]);
}

#[test]
fn one_wired_port_and_one_other_need_no_settings() {
    let ports = Ports { wired: vec!["eth0".to_owned()], other: vec!["wlan0".to_owned()] };
    let merged = read(&[("t", "")], &board(), Some(&ports)).unwrap();
    assert_eq!(merged.settings.cluster.interface, PortPattern::Glob("eth0".to_owned()));
    assert_eq!(merged.settings.uplink.interfaces, [PortPattern::Glob("wlan0".to_owned())]);
    let two = Ports { other: vec!["wlan0".to_owned(), "eth1".to_owned()], ..ports };
    assert_eq!(
        read(&[("t", "")], &board(), Some(&two)).unwrap_err().len(),
        2,
        "none of three is guessed"
    );
}

#[test]
fn every_form_of_a_duration() {
    for (text, expected) in [("50ms", 50), ("2s", 2000), ("1m", 60_000), ("1h", 3_600_000)] {
        let settings = good(&format!("health.interval = \"{text}\""));
        assert_eq!(settings.health.interval, Duration::from_millis(expected));
    }
    for text in [
        "\"1h30m\"",
        "\"90\"",
        "\"s\"",
        "\"\"",
        "\"-1s\"",
        "\"1.5s\"",
        "\"1 s\"",
        "\"99999999999999999999d\"",
    ] {
        fault(&format!("health.interval = {text}"), "t.toml:3:19: health.interval: ");
    }
    fault(
        "health.interval = 300",
        "t.toml:3:19: health.interval: 300 has no unit\nwrite the duration with its unit in quotes, \
         such as \"300ms\"",
    );
    fault(
        "health.interval = \"49ms\"",
        "t.toml:3:19: health.interval: \"49ms\" is too short\nwrite a duration from 50ms to 1h, such \
         as \"300ms\"",
    );
}

#[test]
fn every_form_of_what_is_allowed() {
    let settings = good("uplink.allow = [22, \"tcp:8000-8010\", \"udp:51820\", \"mdns\"]");
    assert_eq!(
        settings.uplink.allow,
        [Allow::Tcp(22, 22), Allow::Tcp(8000, 8010), Allow::Udp(51820, 51820), Allow::Mdns]
    );
    assert!(good("uplink.allow = []").uplink.allow.is_empty());
    for text in [
        "0",
        "65536",
        "-1",
        "\"tcp:\"",
        "\"80/sctp\"",
        "\"tcp:0\"",
        "\"udp:9-8\"",
        "\"sctp:9\"",
        "\"tcp:+1\"",
        "true",
    ] {
        fault(&format!("uplink.allow = [{text}]"), "t.toml:3:17: uplink.allow: ");
    }
    fault("uplink.allow = [80, 80]", "t.toml:3:21: uplink.allow: this is in the array twice");
}

#[test]
fn every_form_of_a_port() {
    let settings = load(
        &[(
            "t",
            "uplink.interfaces = [\"usb*\", \"en[px]?\", \"MAC:AA:bb:cc:dd:ee:fe\"]\n\
                 cluster.interface = \"mac:02:00:00:00:00:01\"",
        )],
        &board(),
    )
    .unwrap();
    assert_eq!(
        settings.uplink.interfaces[2],
        PortPattern::Mac("aa:bb:cc:dd:ee:fe".parse().unwrap())
    );
    assert_eq!(settings.cluster.interface, PortPattern::Mac("02:00:00:00:00:01".parse().unwrap()));
    for text in [
        "lo",
        "",
        "a/b",
        "eth 1",
        "eth[",
        "eth[]",
        "mac:aa:bb",
        "mac:ff:ff:ff:ff:ff:ff",
        "mac:00:00:00:00:00:00",
        "192.168.1.1:80",
    ] {
        let files =
            [("t", format!("uplink.interfaces = [\"{text}\"]\ncluster.interface = \"eth0\""))];
        let faults = load(&files, &board()).expect_err(text);
        assert_eq!(faults.len(), 1, "{faults:?}");
    }
}

#[test]
fn every_form_of_a_probe() {
    let node = |probe: &str| {
        good(&format!("[[node]]\nname = \"n\"\naddress = \"192.168.50.9\"\nprobe = {probe}")).nodes
            [0]
        .probes
        .to_vec()
    };
    assert_eq!(node("\"icmp\""), [NodeProbe::Icmp]);
    assert_eq!(node("[\"arp\", \"tcp:22\"]"), [NodeProbe::Arp, NodeProbe::Tcp(22)]);
    let http = |port, path: &str, expect| NodeProbe::Http { port, path: path.to_owned(), expect };
    assert_eq!(node("\"http://:8080/healthz?x\""), [http(8080, "/healthz?x", None)]);
    assert_eq!(node("\"http:///\""), [http(80, "/", None)]);
    assert_eq!(
        node("\"http:///ready 204\""),
        [http(80, "/ready", Some(HttpExpectation::Status(204)))]
    );
    let body = HttpExpectation::Body("all is well".to_owned());
    assert_eq!(node("\"http:///ready all is well\""), [http(80, "/ready", Some(body))]);
    assert_eq!(node("[]"), []);
    for probe in [
        "\"pong\"",
        "[\"icmp\", \"off\"]",
        "\"tcp\"",
        "\"tcp:0\"",
        "\"http://host:80/\"",
        "\"https://:443/\"",
        "7",
        "[22]",
    ] {
        let faults =
            bad(&format!("[[node]]\nname = \"n\"\naddress = \"192.168.50.9\"\nprobe = {probe}"));
        assert!(faults.len() == 1 && faults[0].starts_with("t.toml:6:"), "{probe}: {faults:?}");
    }
}

#[test]
fn every_form_of_the_probe_url() {
    let probe = |url: &str| match good(&format!("uplink.check.url = \"{url}\"")).uplink.probe {
        UplinkProbe::Http { host, port, path, .. } => (host, port, path),
        other => panic!("{other:?}"),
    };
    assert_eq!(probe("http://example.org"), ("example.org".to_owned(), 80, "/".to_owned()));
    assert_eq!(
        probe("http://[2001:db8::1]:8080/a?b"),
        ("2001:db8::1".to_owned(), 8080, "/a?b".to_owned())
    );
    assert_eq!(
        probe("http://198.51.100.7:81?x"),
        ("198.51.100.7".to_owned(), 81, "/?x".to_owned())
    );
    for url in [
        "ftp://a/",
        "http://",
        "http:///x",
        "http://a:0/",
        "http://a:b/",
        "http://u:p@a/",
        "http://a b/",
        "http://a/ä",
        "http://[::1/",
    ] {
        fault(&format!("uplink.check.url = \"{url}\""), "t.toml:3:20: uplink.check.url: ");
    }
    let https = bad("uplink.check.url = \"HTTPS://example.org/\"");
    assert!(https[0].contains("the clock may be wrong"), "{https:?}");
}

#[test]
fn every_form_of_panel_and_light() {
    let wiring = Wiring::named("usual").unwrap();
    let emulator = LcdBus::Emulator { address: 0x27, wiring, log: Some("/tmp/bus.log".into()) };
    assert_eq!(good("lcd.bus = \"emulator:/tmp/bus.log\"").lcd.bus, emulator);
    assert_eq!(good("lcd.bus = \"off\"").lcd.bus, LcdBus::Off);
    assert_eq!(
        good("lcd.backlight = \"90s\"").lcd.backlight,
        Backlight::After(Duration::from_secs(90))
    );
    assert!(
        matches!(good("lcd.bus = \"gpio\"").lcd.bus, LcdBus::Gpio { chip, .. } if chip == "pinctrl-bcm2711")
    );
    assert_eq!(good("led.device = \"emulator\"").led.device, LedDevice::Emulator { log: None });
    assert_eq!(
        good("led.device = \"blinkstick:BS1-3.0\"").led.device,
        LedDevice::BlinkStick { serial: Some("BS1-3.0".to_owned()) }
    );
    assert_eq!(good("led.quiet_hours = \"22:00-07:30\"").led.quiet_hours, Some((1320, 450)));
    assert_eq!(good("led.dim_after = \"10m\"").led.dim_after, Some(Duration::from_secs(600)));
    assert_eq!(good("led.dim_after = \"off\"").led.dim_after, None);
    for (text, column) in [
        ("lcd.bus = \"emulator:\"", 11),
        ("lcd.bus = \"i2c-x\"", 11),
        ("lcd.address = 0x28", 15),
        ("lcd.address = \"0x28\"", 15),
        ("lcd.size = \"16x3\"", 12),
        ("lcd.wiring = \"odd\"", 14),
        ("lcd.charset = \"a00\"", 15),
        ("lcd.backlight = \"0s\"", 17),
        ("led.device = \"sysfs:../x\"", 14),
        ("led.quiet_hours = \"24:00-07:00\"", 19),
        ("led.brightness = nan", 18),
    ] {
        fault(text, &format!("t.toml:3:{column}: "));
    }
    fault("lcd.pins.rs = 24\nlcd.bus = \"gpio\"", "t.toml:");
}

#[test]
fn an_oled_by_its_size_or_its_driver() {
    let oled = |text: &str| good(text).lcd;
    let shape = |lcd: &Lcd| (lcd.oled, lcd.geometry.to_string(), lcd.charset);
    let kind = |controller, resolution| Some(LcdOled { controller, resolution });
    let small = kind(None, Resolution::P128x32);
    assert_eq!(
        shape(&oled("lcd.size = \"128x32\"")),
        (small, "16x2".to_owned(), bramblegate_panel::Charset::A02)
    );
    // The board's size is that of another display.
    let driven = oled("lcd.driver = \"sh1106\"");
    let large = kind(Some(Controller::Sh1106), Resolution::P128x64);
    assert_eq!(shape(&driven), (large, "16x4".to_owned(), bramblegate_panel::Charset::A02));
    assert!(matches!(driven.bus, LcdBus::I2c { address: 0x3c, .. }), "{driven:?}");
    let written = oled("lcd.size = \"128x64\"\nlcd.address = 0x3d\nlcd.charset = \"A00\"");
    assert!(matches!(written.bus, LcdBus::I2c { address: 0x3d, .. }), "{written:?}");
    assert_eq!(written.charset, bramblegate_panel::Charset::A00);
    assert_eq!(oled("lcd.driver = \"hd44780\"\nlcd.size = \"20x4\"").oled, None);
    assert_eq!(oled("").oled, None);
}

#[test]
fn an_impossible_oled_is_reported_with_its_remedy() {
    for (text, place, right) in [
        ("lcd.driver = \"hd44780\"\nlcd.size = \"128x64\"", "t.toml:4:12: lcd.size", "\"16x2\""),
        ("lcd.driver = \"sh1106\"\nlcd.size = \"16x2\"", "t.toml:4:12: lcd.size", "\"128x64\""),
        ("lcd.size = \"128x64\"\nlcd.address = 0x27", "t.toml:4:15: lcd.address", "0x3c or 0x3d"),
        ("lcd.size = \"128x64\"\nlcd.bus = \"gpio\"", "t.toml:4:11: lcd.bus", "/dev/i2c-1"),
        ("lcd.driver = \"sh1107\"", "t.toml:3:14: lcd.driver", "sh1106"),
    ] {
        let faults = bad(text);
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].starts_with(place) && faults[0].contains(right), "{faults:?}");
    }
}

#[test]
fn a_pc_has_no_pins() {
    let pc = Board::built_in("generic-pc").unwrap();
    let faults = load(&[("t.toml", format!("{PORTS}lcd.bus = \"gpio\"\nlcd.pins.rs = 1"))], &pc)
        .unwrap_err();
    assert_eq!(faults.len(), 2, "{faults:?}");
    for (fault, message) in faults.iter().zip([
        "t.toml:3:11: lcd.bus = \"gpio\" lacks pins.e, pins.d4",
        "t.toml:3:11: lcd.bus = \"gpio\" needs the label of a GPIO chip",
    ]) {
        assert!(fault.headline().starts_with(message), "{faults:?}");
    }
}

#[test]
fn inconsistent_addresses_are_reported() {
    let node = |address: &str| format!("[[node]]\nname = \"n\"\naddress = \"{address}\"\n");
    for address in ["192.168.51.9", "192.168.50.1", "192.168.50.0", "192.168.50.255"] {
        fault(&node(address), "t.toml:5:11: node \"n\": ");
    }
    fault(
        "cluster.fallback_addresses = [\"10.0.0.9/24\"]\n[[node]]\nname = \"n\"\n\
         address = \"192.168.50.9\"",
        "t.toml:6:11: node \"n\": ",
    );
    for range in [
        "192.168.50.0-192.168.50.9",
        "192.168.50.200-192.168.50.255",
        "10.0.0.1-10.0.0.9",
        "192.168.50.1-192.168.50.9",
        "192.168.50.9-192.168.50.8",
        "x",
    ] {
        fault(&format!("cluster.dhcp.range = \"{range}\""), "t.toml:3:22: cluster.dhcp.range: ");
    }
    for address in [
        "192.168.50.0/24",
        "192.168.50.255/24",
        "192.168.50.1",
        "192.168.50.1/31",
        "10.0.0.1/7",
        "127.0.0.1/8",
        "224.0.0.1/24",
        "169.254.1.1/16",
        "250.0.0.1/24",
    ] {
        fault(&format!("cluster.address = \"{address}\""), "t.toml:3:19: cluster.address: ");
    }
}

#[test]
fn a_syntax_error_is_reported_alone() {
    let faults = load(&[("a", "[uplink\n"), ("b", "x = 1\n")], &board()).unwrap_err();
    let texts: Vec<String> = faults.iter().map(Fault::headline).collect();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(
        texts[0].starts_with("a:1:8: this is not TOML")
            && texts[1].starts_with("b:1:1: unknown key \"x\""),
        "{texts:?}"
    );
    fault(
        "led.quiet_hours = \"off\"\nled.quiet_hours = \"off\"\n",
        "t.toml:4:5: \"quiet_hours\" is set a second time\nkeep one of them, the first is on line 3",
    );
    fault(
        "led.device = blinkstick\n",
        "t.toml:3:14: this is not a TOML value\nput strings in quotes, such as \"blinkstick\"",
    );
}

#[test]
fn tables_and_values_are_not_mixed_up() {
    fault("vitals = true", "t.toml:3:10: vitals is a table, this is a boolean\nwrite [vitals]");
    fault(
        "[node]\nname = \"n\"",
        "t.toml:3:1: this is a table, nodes are an array of tables\nwrite [[node]] with two brackets",
    );
    fault("board = 4", "t.toml:3:9: board: this is an integer");
    fault("\"led.device\" = \"off\"", "t.toml:3:2: unknown key \"led.device\"");
}

#[test]
fn every_default_and_every_board_pass_their_own_checks() {
    for name in crate::board::Boards::default().names() {
        let board = Board::built_in(&name).unwrap();
        let settings =
            load(&[("t", PORTS)], &board).unwrap_or_else(|faults| panic!("{name}: {faults:?}"));
        assert_eq!(settings.board, name);
    }
}

/// Five modules of 150 boards, as in a machine room: ten lines.
const ROOM: &str = "cluster.address = \"10.21.0.1/16\"\n[[group]]\nname = \"module\"\n\
                    groups = \"1-5\"\nnodes = \"1-150\"\n\
                    node_address = \"10.21.{group}.{slot}\"\nprobe = \"tcp:22\"\n\
                    red_below = \"90%\"\n";

#[test]
fn ports_lead_to_nodes_that_exist() {
    let node = "[[node]]\nname = \"rpi1\"\naddress = \"192.168.50.11\"\n";
    let settings = good(&format!(
        "{node}[[forward]]\nlisten = 2201\nto = \"RPI1:22\"\n[[forward]]\nlisten = \"udp:5000\"\n\
         to = \"192.168.50.12:5000\"\n"
    ));
    assert_eq!(settings.forwards[0].to, ForwardTarget::Node("RPI1".to_owned()));
    assert_eq!((settings.forwards[1].transport, settings.forwards[1].port), (Transport::Udp, 5000));
    let faults = bad(&format!(
        "{node}[[forward]]\nlisten = 2201\nto = \"rpi9:22\"\n[[forward]]\nto = \"rpi1:22\"\n"
    ));
    assert!(faults.iter().any(|fault| fault.contains("there is no node \"rpi9\"")), "{faults:?}");
    assert!(faults.iter().any(|fault| fault.contains("this forward has no listen")), "{faults:?}");
}

#[test]
fn netboot_and_names_need_dhcp() {
    let settings = good("[cluster.dhcp]\n[cluster.netboot]\nuefi_x86 = \"grubx64.efi\"\n");
    assert_eq!(settings.cluster.dns.unwrap().fallback_servers.len(), 2);
    assert_eq!(settings.cluster.netboot.unwrap().root, std::path::PathBuf::from("/srv/tftp"));
    assert_eq!(good("").cluster.dns, None, "no service is asked for");
    assert!(bad("[cluster.netboot]\n")[0].contains("needs cluster.dhcp"));
    assert!(
        bad("[cluster.dhcp]\n[cluster.netboot]\nbios = \"../shadow\"\n")[0]
            .contains("cannot be loaded")
    );
    assert!(bad("[buttons]\nchip = \"pinctrl-bcm2711\"\n")[0].contains("none has a line"));
}

#[test]
fn a_node_with_the_heads_own_name_is_reported_at_its_position() {
    let text = format!("{PORTS}[[node]]\nname = \"Bramble\"\naddress = \"192.168.50.9\"\n");
    let rack = "[[group]]\nname = \"rack\"\ngroups = \"1-2\"\nnodes = \"1-2\"\n\
                node_address = \"192.168.50.{group}{slot}\"\n";
    let merged = read(&[("t", format!("{text}{rack}"))], &board(), None).unwrap();
    let line = |part: &str| {
        u32::try_from(format!("{text}{rack}").lines().position(|l| l == part).unwrap() + 1).unwrap()
    };
    let fault = merged.head_fault("bramble.example.org").unwrap();
    assert_eq!((fault.line, fault.column), (line("name = \"Bramble\""), 8));
    assert_eq!(merged.head_fault("rack2-1").unwrap().line, line("[[group]]"));
    assert_eq!(merged.head_fault("head"), None);
}

/// The group that makes the node is reported, not one whose name is the beginning of its name.
#[test]
fn the_head_s_name_is_reported_at_the_group_that_makes_the_node() {
    let group = |name: &str, numbers: &str, host: u8| {
        format!(
            "[[group]]\nname = \"{name}\"\n{numbers}nodes = \"1-2\"\nnode_address = \
             \"192.168.50.{host}{{slot}}\"\n"
        )
    };
    let groups =
        [group("r", "", 1), group("rack", "groups = \"11-12\"\n", 2), group("rack1", "", 3)];
    let text = format!("{PORTS}{}", groups.concat().replace(".2{slot}", ".{group}{slot}"));
    let merged = read(&[("t", &text)], &board(), None).unwrap();
    for (head, index) in [("r-1", 0), ("RACK12-1", 1), ("rack1-2", 2)] {
        let (before, _) = text.match_indices("[[group]]").nth(index).unwrap();
        let line = u32::try_from(text[..before].lines().count() + 1).unwrap();
        assert_eq!(merged.head_fault(head).map(|fault| fault.line), Some(line), "{head}");
    }
}

#[test]
fn a_folder_of_boot_files_that_dnsmasq_would_read_as_another_is_refused() {
    let root = |root: &str| format!("[cluster.dhcp]\n[cluster.netboot]\nroot = {root}\n");
    for fine in ["'/srv/tftp'", "'/srv/boot files/übung#1'"] {
        good(&root(fine));
    }
    for (bad, why) in [
        (r#"'/srv/"tftp"'"#, "holds '\"', with which dnsmasq"),
        (r#""/srv/tf,tp""#, "holds ',', with which dnsmasq"),
        (r#""/srv/tftp\nserver=6.6.6.6""#, r"holds '\n', with which dnsmasq"),
        (r#""/srv/tftp #1""#, "has a blank at its end or before a '#'"),
        (r#""/srv/tftp ""#, "has a blank at its end or before a '#'"),
        (r#""tftp""#, "is not an absolute path"),
    ] {
        let faults = self::bad(&root(bad));
        assert!(
            faults.len() == 1 && faults[0].starts_with("t.toml:5:8: cluster.netboot.root: "),
            "{faults:?}"
        );
        assert!(
            faults[0].contains(why) && faults[0].contains("write a path such as \"/srv/tftp\""),
            "{faults:?}"
        );
    }
}
