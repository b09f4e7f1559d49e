use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use toml_span::value::ValueInner;

use super::decide::{Proposal, decide};
use super::look::{Bus, Found, Port, PortKind, buses, ports};
use super::write::write;
use crate::board::Board;
use crate::cli::machine::Machine;
use crate::config;

fn port(name: &str, kind: PortKind) -> Port {
    Port {
        name: name.to_owned(),
        kind,
        mac: "b8:27:eb:00:00:01".to_owned(),
        carrier: Some(true),
        master: None,
    }
}

fn proposal(board: &str, ports: &[Port], default_route: Option<&str>) -> Proposal {
    let found = Found {
        ports: ports.to_vec(),
        default_route: default_route.map(str::to_owned),
        ..Found::default()
    };
    decide(&found, &Board::built_in(board).unwrap())
}

/// The example that is shipped: what `detect` writes on a Raspberry Pi with a USB adapter, each key
/// with its text. `UPDATE=1` writes it.
#[test]
fn the_shipped_example_has_every_key() {
    let ports = [
        port("eth0", PortKind::Wired),
        port("eth1", PortKind::Usb),
        port("wlan0", PortKind::Wireless),
    ];
    let board = Board::built_in("raspberry-pi-4").unwrap();
    let text = write(&proposal("raspberry-pi-4", &ports, Some("eth1")), &board);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/bramblegate.toml");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let shipped = fs::read_to_string(&path).unwrap_or_default();
    assert!(shipped == text, "UPDATE=1 cargo test --lib the_shipped_example writes {path:?}");
}

/// (uplinks, cluster) as TOML.
fn pair(proposal: &Proposal) -> (&str, &str) {
    (proposal.value("uplink.interfaces").unwrap(), proposal.value("cluster.interface").unwrap())
}

#[test]
fn on_a_pi_ethernet_is_the_cluster_and_wifi_the_uplink() {
    let ports = [port("eth0", PortKind::Wired), port("wlan0", PortKind::Wireless)];
    let seen = proposal("raspberry-pi-4", &ports, Some("wlan0"));
    assert_eq!(pair(&seen), ("[\"wlan0\"]", "\"eth0\""));
    assert!(seen.certain);
}

#[test]
fn the_port_of_the_default_route_stays_an_uplink() {
    let ports = [
        port("enp1s0", PortKind::Wired),
        port("enp2s0", PortKind::Wired),
        port("wlp3s0", PortKind::Wireless),
    ];
    assert_eq!(
        pair(&proposal("generic-pc", &ports, Some("enp1s0"))),
        ("[\"enp1s0\", \"wlp3s0\"]", "\"enp2s0\"")
    );
    let ports = [port("eth0", PortKind::Wired), port("eth1", PortKind::Usb)];
    assert_eq!(pair(&proposal("raspberry-pi-4", &ports, Some("eth0"))), ("[\"eth0\"]", "\"eth1\""));
    assert_eq!(pair(&proposal("raspberry-pi-4", &ports, Some("eth1"))), ("[\"eth1\"]", "\"eth0\""));
}

#[test]
fn missing_ports_are_filled_in_and_reported() {
    for (board, ports) in [
        ("generic-pc", vec![]),
        ("generic-pc", vec![port("enp1s0", PortKind::Wired)]),
        ("raspberry-pi-4", vec![port("eth0", PortKind::Wired)]),
        ("raspberry-pi-zero-2-w", vec![port("wlan0", PortKind::Wireless)]),
    ] {
        let seen = proposal(board, &ports, None);
        assert!(!seen.certain, "{board}: {seen:?}");
    }
}

/// What is written passes `check`, also when every `#` before a key is taken away.
#[test]
fn written_settings_are_valid_on_every_board() {
    let kinds = [PortKind::Wired, PortKind::Usb, PortKind::Wireless];
    for name in crate::board::Boards::default().names() {
        let board = Board::built_in(&name).unwrap();
        for which in 0..8 {
            let ports: Vec<Port> = (0..3)
                .filter(|bit| which & (1 << bit) != 0)
                .map(|bit| port(&format!("eth{bit}"), kinds[bit]))
                .collect();
            let text = write(
                &proposal(&name, &ports, ports.first().map(|port| port.name.as_str())),
                &board,
            );
            config::load(&[("detected", text.as_str())], &board)
                .unwrap_or_else(|faults| panic!("{name} {ports:?}: {faults:?}\n{text}"));
            let all = uncommented(&text);
            config::load(&[("all", all.as_str())], &board)
                .unwrap_or_else(|faults| panic!("{name} {ports:?}: {faults:?}\n{all}"));
        }
    }
}

/// As the file's header recommends.
#[test]
fn every_key_is_written_with_its_default_or_an_example() {
    let ports = [port("eth0", PortKind::Wired), port("wlan0", PortKind::Wireless)];
    let text = write(
        &proposal("raspberry-pi-4", &ports, Some("wlan0")),
        &Board::built_in("raspberry-pi-4").unwrap(),
    );
    let mut table = String::new();
    let mut shown = Vec::new();
    for line in text.lines() {
        let line = line.strip_prefix('#').unwrap_or(line);
        if let Some(header) = line.strip_prefix('[') {
            table = header.trim_matches(['[', ']']).to_owned() + ".";
        } else if let Some((name, _)) = line.split_once(" = ").filter(|_| !line.starts_with(' ')) {
            shown.push(format!("{table}{name}"));
        }
    }
    let missing: Vec<&str> = config::keys::all()
        .map(|key| key.path)
        .filter(|path| !shown.iter().any(|s| s == path))
        .collect();
    assert_eq!(missing, Vec::<&str>::new(), "have a comment and no line");
    assert!(
        text.contains("\n#enabled = false\n"),
        "names are not resolved where no addresses are served"
    );
}

fn uncommented(text: &str) -> String {
    let lines = text.lines().map(|line| match line.strip_prefix('#') {
        Some(rest) if !rest.starts_with(' ') => rest,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_subnet_in_use_is_not_proposed() {
    let found = Found {
        ports: vec![port("eth0", PortKind::Wired), port("wlan0", PortKind::Wireless)],
        subnets: vec![("192.168.0.0/16".parse().unwrap(), "wlan0".to_owned())],
        ..Found::default()
    };
    let seen = decide(&found, &Board::built_in("raspberry-pi-4").unwrap());
    assert_eq!(seen.value("cluster.address"), Some("\"10.213.50.1/24\""));
    assert!(
        seen.reasons.iter().any(|line| line.contains("wlan0 uses 192.168.0.0/16")),
        "{:?}",
        seen.reasons
    );
}

#[test]
fn an_expander_that_answers_becomes_the_display() {
    let bus = Bus {
        device: "/dev/i2c-1".to_owned(),
        name: "bcm2835 I2C".to_owned(),
        answers: Ok(vec![(0x3f, 0xff)]),
        held: Vec::new(),
    };
    let found = Found { buses: vec![bus], ..Found::default() };
    let seen = decide(&found, &Board::built_in("generic-pc").unwrap());
    assert_eq!(
        (seen.value("lcd.bus"), seen.value("lcd.address")),
        (Some("\"/dev/i2c-1\""), Some("0x3f"))
    );
    let seen = decide(&Found::default(), &Board::built_in("raspberry-pi-4").unwrap());
    assert_eq!(seen.value("lcd.bus"), None);
    assert!(
        seen.reasons.iter().any(|line| line.contains("dtparam=i2c_arm=on")),
        "{:?}",
        seen.reasons
    );
}

#[test]
fn an_oled_that_answers_becomes_the_display_in_valid_settings() {
    for (answer, size, controller) in
        [(0x46, "128x64", "SSD1306"), (0x03, "128x32", "SSD1306"), (0x48, "128x64", "SH1106")]
    {
        let bus = Bus {
            device: "/dev/i2c-1".to_owned(),
            name: "bcm2835 I2C".to_owned(),
            answers: Ok(vec![(0x3c, answer)]),
            held: Vec::new(),
        };
        let found = Found { buses: vec![bus], ..Found::default() };
        let board = Board::built_in("raspberry-pi-4").unwrap();
        let seen = decide(&found, &board);
        assert_eq!(seen.value("lcd.size"), Some(format!("\"{size}\"").as_str()));
        assert_eq!(seen.value("lcd.address"), Some("0x3c"));
        assert!(seen.reasons.iter().any(|line| line.contains(controller)), "{:?}", seen.reasons);
        let lcd = config::read(&[("detect", uncommented(&write(&seen, &board)))], &board, None)
            .unwrap()
            .settings
            .lcd;
        assert_eq!(lcd.oled.unwrap().resolution.name(), size);
    }
    // An answer like an expander's pins, or without information, is taken for an expander.
    let bus = Bus {
        device: "/dev/i2c-1".to_owned(),
        name: "bcm2835 I2C".to_owned(),
        answers: Ok(vec![(0x3c, 0xff)]),
        held: Vec::new(),
    };
    let found = Found { buses: vec![bus], ..Found::default() };
    let seen = decide(&found, &Board::built_in("raspberry-pi-4").unwrap());
    assert_eq!((seen.value("lcd.size"), seen.value("lcd.address")), (None, Some("0x3c")));
    let both = seen.reasons.iter().find(|line| line.contains("answers 0xff")).unwrap();
    assert!(both.contains("PCF8574A") && both.contains("OLED"), "{both}");
}

fn file(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

struct Folder(PathBuf, #[expect(dead_code, reason = "removed when dropped")] tempfile::TempDir);

impl Folder {
    fn new(name: &str) -> Self {
        let held = tempfile::Builder::new().prefix(name).tempdir().unwrap();
        Self(held.path().to_owned(), held)
    }
}

#[test]
fn ports_are_distinguished_by_sysfs() {
    let folder = Folder::new("ports");
    let root = &folder.0;
    for (name, kind) in [
        ("lo", "772"),
        ("eth0", "1"),
        ("eth1", "1"),
        ("wlan0", "1"),
        ("docker0", "1"),
        ("wg0", "65534"),
    ] {
        file(root, &format!("sys/class/net/{name}/type"), kind);
        file(root, &format!("sys/class/net/{name}/address"), "b8:27:eb:00:00:01\n");
    }
    file(root, "sys/class/net/eth0/carrier", "1\n");
    for name in ["eth0", "eth1", "wlan0"] {
        fs::create_dir_all(root.join(format!("sys/class/net/{name}/device"))).unwrap();
    }
    for name in ["eth0", "eth1"] {
        std::os::unix::fs::symlink(
            "../../bus/usb",
            root.join(format!("sys/class/net/{name}/device/subsystem")),
        )
        .unwrap();
    }
    fs::create_dir_all(root.join("sys/class/net/wlan0/phy80211")).unwrap();
    let board = Board::built_in("raspberry-pi-3").unwrap();
    let seen: Vec<_> = ports(&Machine::pretend(root, &[]), &board)
        .into_iter()
        .map(|port| (port.name, port.kind, port.carrier))
        .collect();
    let expected = [
        ("eth0".to_owned(), PortKind::Wired, Some(true)), // on USB, and yet the board's own
        ("eth1".to_owned(), PortKind::Usb, None),
        ("wlan0".to_owned(), PortKind::Wireless, None),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn buses_of_monitors_are_not_read() {
    let folder = Folder::new("busses");
    let root = &folder.0;
    for (device, name) in [
        ("i2c-1", "bcm2835 (i2c@7e804000)"),
        ("i2c-20", "fef04500.i2c HDMI DDC"),
        ("i2c-3", "i2c-tiny-usb at bus 001"),
        ("i2c-0", "SMBus I801 adapter at efa0"),
    ] {
        file(root, &format!("dev/{device}"), "");
        file(root, &format!("sys/class/i2c-dev/{device}/name"), name);
    }
    let mut asked = Vec::new();
    let seen = buses(&Machine::pretend(root, &[]), &mut |path| {
        asked.push(path.file_name().unwrap().to_str().unwrap().to_owned());
        Ok(vec![(0x27, 0xff)])
    });
    assert_eq!(asked, ["i2c-1", "i2c-3"]);
    assert_eq!(seen[0].device, "/dev/i2c-1");
}

proptest! {
    /// The kernel takes almost any name for a port (dev_valid_name in net/core/dev.c).
    #[test]
    fn detected_names_are_written_as_toml(names in proptest::collection::hash_set("[a-z\"'\\\\#ä]{1,9}", 2..4)) {
        let names: Vec<String> = names.into_iter().collect();
        let ports: Vec<Port> = names.iter().map(|name| port(name, PortKind::Wired)).collect();
        let board = Board::built_in("generic-pc").unwrap();
        let found = Found { ports, default_route: Some(names[0].clone()), ..Found::default() };
        let text = write(&decide(&found, &board), &board);
        let read = toml_span::parse(&text).map_err(|error| TestCaseError::fail(format!("{error}: {text}")))?;
        let read = |path: &str| match read.pointer(path).map(|value| value.as_ref()) {
            Some(ValueInner::String(text)) => vec![text.to_string()],
            Some(ValueInner::Array(items)) => items.iter().filter_map(|item| item.as_str()).map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        let all = [read("/uplink/interfaces"), read("/cluster/interface")].concat();
        prop_assert!(!all.is_empty() && all.iter().all(|name| names.contains(name)), "{all:?} of {names:?}");
        prop_assert!(all.contains(&names[0]), "{all:?} of {names:?}");
    }
}
