//! The merged tree to settings that are valid by construction.

use super::devices::{self, Bus, ButtonChip as Chip, Light};
use super::fault::{Fault, Origin, Sources};
use super::grammar::{self, Parsed};
use super::tree::{Scalar, Table, Value};
use super::*;
use std::collections::BTreeMap;

/// Settings, or `None` with the reasons in `faults` (those told before included).
pub(super) fn settings(
    tree: &Table,
    sources: &Sources,
    faults: &mut Vec<Fault>,
) -> Option<Settings> {
    let mut check = Check { tree, sources, faults };
    let board = tree.text("board").map(str::to_owned);
    let uplink = check.uplink();
    let gateway = check.gateway();
    let cluster = check.cluster();
    if let (Some(uplink), Some(cluster)) = (&uplink, &cluster) {
        check.ports(uplink, cluster);
        if let Some(gateway) = &gateway {
            check.trust(gateway, uplink, cluster);
        }
    }
    let (groups, tables) = check.groups();
    let nodes = check.nodes(&tables, cluster.as_ref(), &groups);
    let forwards = check.forwards(&nodes, cluster.as_ref());
    let health = check.health();
    let vitals = check.vitals();
    let buttons = check.buttons();
    let lcd = check.lcd();
    let led = check.led();
    let socket = check.text("status.socket", devices::socket);
    let control = check.text("control.socket", devices::socket);
    if let (Some(Some(buttons)), Some(lcd)) = (&buttons, &lcd) {
        check.lines_apart(buttons, lcd);
    }
    check.sockets_apart(socket.as_ref(), control.as_ref());
    Some(Settings {
        board: board?,
        uplink: uplink?,
        gateway: gateway?,
        cluster: cluster?,
        nodes,
        groups,
        forwards,
        health: health?,
        vitals: vitals?,
        buttons: buttons?,
        lcd: lcd?,
        led: led?,
        status: Status { socket: socket? },
        control: Control { socket: control? },
    })
}

/// Where a thing is missed that has no better place.
pub(super) fn beginning() -> Origin {
    Origin { source: Sources::MAIN, line: 1, column: 1 }
}

pub(super) struct Check<'a> {
    pub tree: &'a Table,
    pub sources: &'a Sources,
    pub faults: &'a mut Vec<Fault>,
}

impl Check<'_> {
    pub fn complain(&mut self, at: Origin, wrong: impl Into<String>, right: impl Into<String>) {
        self.faults.push(self.sources.fault(at, wrong, right));
    }

    /// The value at `path` through its grammar; what does not parse has been told when its file was
    /// read.
    fn text<T>(&self, path: &str, parse: fn(&str) -> Parsed<T>) -> Option<T> {
        parse(self.tree.text(path)?).ok()
    }

    fn scalar<T>(&self, path: &str, parse: fn(Scalar<'_>) -> Parsed<T>) -> Option<T> {
        parse(self.tree.get(path)?.scalar()?).ok()
    }

    fn bool(&self, path: &str) -> Option<bool> {
        if let Value::Bool(truth) = self.tree.get(path)?.value { Some(truth) } else { None }
    }

    fn count(&self, path: &str) -> Option<u32> {
        if let Value::Integer(number) = self.tree.get(path)?.value {
            u32::try_from(number).ok()
        } else {
            None
        }
    }

    fn duration(&self, path: &str) -> Option<Duration> {
        self.text(path, grammar::duration)
    }

    /// Where the value at `path` stands, else its table, else the main file's first line.
    pub fn place(&self, path: &str) -> Origin {
        let written = |at: &Origin| at.source >= Sources::MAIN;
        if let Some(at) = self.tree.get(path).map(|item| item.at).filter(written) {
            return at;
        }
        let table = path.rsplit_once('.').and_then(|(table, _)| self.tree.get(table));
        let at = table.and_then(|item| {
            if let Value::Table(table) = &item.value { Some(table.at) } else { None }
        });
        at.filter(written).unwrap_or_else(beginning)
    }

    /// Tells a missing key, but not one that was wrong.
    fn require(&mut self, path: &str, remedy: &str) {
        if self.tree.get(path).is_none() {
            self.complain(self.place(path), format!("{path} is missing"), remedy);
        }
    }

    fn uplink(&mut self) -> Option<Uplink> {
        let remedy = "name the ports that may lead to the venue, as interfaces = [\"eth1\", \"wlan0\"] in [uplink]; `bramblegate detect` lists them";
        self.require("uplink.interfaces", remedy);
        let interfaces = texts(self.tree, "uplink.interfaces", grammar::port_pattern)?;
        let probe = match self.tree.text("uplink.probe")? {
            "http" => {
                let (host, port, path) = self.text("uplink.probe_url", grammar::http_url)?;
                UplinkProbe::Http {
                    host,
                    port,
                    path,
                    expect: self.scalar("uplink.probe_expect", grammar::expectation)?,
                }
            }
            "ping" => UplinkProbe::Ping { host: self.text("uplink.probe_host", grammar::ip)? },
            _ => UplinkProbe::Off,
        };
        Some(Uplink { interfaces, probe, allow: list(self.tree, "uplink.allow", grammar::allow)? })
    }

    fn gateway(&self) -> Option<Gateway> {
        let on_stop = match self.tree.text("gateway.on_stop")? {
            "remove" => OnStop::Remove,
            _ => OnStop::Keep,
        };
        Some(Gateway {
            enabled: self.bool("gateway.enabled")?,
            on_stop,
            protect: self.bool("gateway.protect")?,
            trust: texts(self.tree, "gateway.trust", grammar::port_pattern)?,
        })
    }

    fn cluster(&mut self) -> Option<Cluster> {
        let remedy = "name the port that leads to the nodes, as interface = \"eth0\" in [cluster]; `bramblegate detect` lists them";
        self.require("cluster.interface", remedy);
        let address = self.text("cluster.address", grammar::cidr);
        let alternatives = texts(self.tree, "cluster.alternatives", grammar::cidr);
        let enabled = self.bool("cluster.dhcp.enabled").unwrap_or(false);
        let dhcp = if self.tree.get("cluster.dhcp").is_some() { self.dhcp(address?) } else { None };
        if let (Some(address), Some(alternatives)) = (address, &alternatives) {
            self.alternatives(address, alternatives, dhcp.as_ref());
        }
        Some(Cluster {
            interface: self.text("cluster.interface", grammar::port_pattern)?,
            address: address?,
            alternatives: alternatives?,
            domain: self.text("cluster.domain", grammar::domain)?,
            dns: self.dns()?,
            netboot: self.netboot(),
            dhcp: dhcp.filter(|_| enabled),
        })
    }

    fn dhcp(&mut self, head: Ipv4Net) -> Option<Dhcp> {
        self.require(
            "cluster.dhcp.range",
            "give the addresses to serve, as range = \"FIRST-LAST\"",
        );
        let (first, last) = self.text("cluster.dhcp.range", grammar::range)?;
        let ntp = self.text("cluster.dhcp.ntp", rule::time_server)?;
        let dhcp = Dhcp { first, last, lease: self.duration("cluster.dhcp.lease")?, ntp };
        self.dhcp_range(head, &dhcp);
        Some(dhcp)
    }

    /// `Some(None)`: names are not resolved.
    fn dns(&self) -> Option<Option<Dns>> {
        let fallback = texts(self.tree, "cluster.dns.fallback", grammar::ip)?;
        Some(self.bool("cluster.dns.enabled")?.then_some(Dns { fallback }))
    }

    fn netboot(&mut self) -> Option<Netboot> {
        self.bool("cluster.netboot.enabled").filter(|enabled| *enabled)?;
        if self.tree.get("cluster.dhcp").is_none() {
            let right = "add [cluster.dhcp]: a node learns by DHCP from whom it boots";
            self.complain(
                self.place("cluster.netboot.enabled"),
                "cluster.netboot needs cluster.dhcp",
                right,
            );
        }
        Some(Netboot {
            root: self.text("cluster.netboot.root", devices::folder)?,
            folder_per_mac: self.tree.text("cluster.netboot.folders") == Some("mac"),
            bios: self.text("cluster.netboot.bios", devices::boot_file),
            uefi_x86: self.text("cluster.netboot.uefi_x86", devices::boot_file),
            uefi_arm64: self.text("cluster.netboot.uefi_arm64", devices::boot_file),
            ipxe: self.text("cluster.netboot.ipxe", devices::loader_file),
        })
    }

    fn health(&self) -> Option<Health> {
        Some(Health {
            interval: self.duration("health.interval")?,
            failure_threshold: self.count("health.failure_threshold")?,
            success_threshold: self.count("health.success_threshold")?,
            start_period: self.duration("health.start_period")?,
            fault_below: self.scalar("health.fault_below", grammar::threshold)?,
            timeout: self.duration("health.timeout")?,
            degraded_rtt: self.text("health.degraded_rtt", devices::duration_or_off)?,
            degraded_loss: self.text("health.degraded_loss", rule::share_or_off)?,
            flap_changes: self.count("health.flap_changes")?,
            flap_window: self.duration("health.flap_window")?,
        })
    }

    fn vitals(&self) -> Option<VitalLimits> {
        Some(VitalLimits {
            temperature: i32::try_from(self.count("vitals.temperature")?).ok()?,
            memory: self.text("vitals.memory", rule::share_or_off)?,
            disk: self.text("vitals.disk", rule::share_or_off)?,
            pressure: self.text("vitals.pressure", rule::share_or_off)?,
        })
    }

    /// `Some(None)`: there are none.
    fn buttons(&mut self) -> Option<Option<Buttons>> {
        let chip = match self.text("buttons.chip", devices::buttons)? {
            Chip::Gpio(label) => ButtonChip::Gpio(label),
            Chip::Emulator(file) => ButtonChip::Emulator(file),
            Chip::Off => return Some(None),
        };
        let lines = ["next", "acknowledge", "power"];
        if lines.iter().all(|name| self.tree.get(&format!("buttons.{name}")).is_none()) {
            let right = "name the line of at least one, as next = 5 in [buttons]";
            self.complain(
                self.place("buttons.chip"),
                "there are buttons, but no line of one",
                right,
            );
        }
        self.lines_differ("buttons", &lines);
        Some(Some(Buttons {
            chip,
            next: self.count("buttons.next"),
            acknowledge: self.count("buttons.acknowledge"),
            power: self.count("buttons.power"),
            active_low: self.bool("buttons.active_low")?,
        }))
    }

    /// No two keys of this table name the same line of a GPIO chip.
    fn lines_differ(&mut self, table: &str, names: &[&str]) {
        let mut used = BTreeMap::new();
        for name in names {
            let path = format!("{table}.{name}");
            if let Some(other) = self.count(&path).and_then(|line| used.insert(line, name)) {
                self.complain(
                    self.place(&path),
                    format!("{path}: {other} and {name} are on one line"),
                    "give each its own",
                );
            }
        }
    }

    /// A line of a GPIO chip is a button's or the display's.
    fn lines_apart(&mut self, buttons: &Buttons, lcd: &Lcd) {
        let (ButtonChip::Gpio(label), LcdBus::Gpio { chip, pins }) = (&buttons.chip, &lcd.bus)
        else {
            return;
        };
        if label != chip {
            return;
        }
        for (name, line) in
            [("next", buttons.next), ("acknowledge", buttons.acknowledge), ("power", buttons.power)]
        {
            let Some((line, pin)) = line.and_then(|line| Some((line, pins.name_of(line)?))) else {
                continue;
            };
            let path = format!("buttons.{name}");
            let wrong = format!(
                "{path}: line {line} is {pin} of the display, as lcd.bus = \"gpio\" has it"
            );
            self.complain(
                self.place(&path),
                wrong,
                "give the button another line, or the display's lcd.pins",
            );
        }
    }

    fn sockets_apart(&mut self, status: Option<&PathBuf>, control: Option<&PathBuf>) {
        if status.is_none() || status != control {
            return;
        }
        let written =
            |path: &&str| self.tree.get(path).is_some_and(|item| item.at.source >= Sources::MAIN);
        let path = ["control.socket", "status.socket"]
            .into_iter()
            .find(written)
            .unwrap_or("control.socket");
        let right = "give each its own, as \"/run/bramblegate/status.sock\" and \"/run/bramblegate/control.sock\"";
        self.complain(
            self.place(path),
            format!("{path}: status.socket and control.socket are one"),
            right,
        );
    }

    fn lcd(&mut self) -> Option<Lcd> {
        let address = self.scalar("lcd.address", devices::expander);
        let wiring = self.text("lcd.wiring", devices::wiring);
        let bus = match self.text("lcd.bus", devices::bus)? {
            Bus::I2c(device) => LcdBus::I2c { device, address: address?, wiring: wiring? },
            Bus::Gpio => self.gpio()?,
            Bus::Emulator(log) => LcdBus::Emulator { address: address?, wiring: wiring?, log },
            Bus::Off => LcdBus::Off,
        };
        let charset = if self.tree.text("lcd.charset")? == "A02" {
            bramblegate_panel::Charset::A02
        } else {
            bramblegate_panel::Charset::A00
        };
        Some(Lcd {
            bus,
            geometry: self.text("lcd.size", devices::geometry)?,
            charset,
            backlight: self.text("lcd.backlight", devices::backlight)?,
            page_time: self.duration("lcd.page_time")?,
            heartbeat: self.bool("lcd.heartbeat")?,
            emulator_script: self.text("lcd.emulator_script", devices::file),
        })
    }

    fn gpio(&mut self) -> Option<LcdBus> {
        let at = self.place("lcd.bus");
        let missing: Vec<&str> =
            ["gpio_chip", "pins.rs", "pins.e", "pins.d4", "pins.d5", "pins.d6", "pins.d7"]
                .into_iter()
                .filter(|name| self.tree.get(&format!("lcd.{name}")).is_none())
                .collect();
        if !missing.is_empty() {
            let wrong = format!(
                "lcd.bus = \"gpio\" lacks {}, this board has no pins of its own",
                missing.join(", ")
            );
            self.complain(
                at,
                wrong,
                "set them in [lcd], as pins = { rs = 25, e = 24, d4 = 23, d5 = 17, d6 = 18, d7 = 22 }",
            );
            return None;
        }
        self.lines_differ("lcd.pins", &["rs", "e", "d4", "d5", "d6", "d7", "backlight"]);
        let chip = self.text("lcd.gpio_chip", devices::name)?;
        let pin = |name: &str| self.count(&format!("lcd.pins.{name}"));
        let pins = GpioPins {
            rs: pin("rs")?,
            e: pin("e")?,
            d4: pin("d4")?,
            d5: pin("d5")?,
            d6: pin("d6")?,
            d7: pin("d7")?,
            backlight: pin("backlight"),
        };
        Some(LcdBus::Gpio { chip, pins })
    }

    fn led(&self) -> Option<Led> {
        let device = match self.text("led.device", devices::light)? {
            Light::Auto => {
                LedDevice::Auto { fallback: self.text("led.kernel", devices::kernel_led) }
            }
            Light::BlinkStick(serial) => LedDevice::BlinkStick { serial },
            Light::Sysfs(name) => LedDevice::Sysfs { name },
            Light::Emulator(log) => LedDevice::Emulator { log },
            Light::Off => LedDevice::Off,
        };
        let Value::Number(brightness) = self.tree.get("led.brightness")?.value else { return None };
        Some(Led {
            device,
            #[allow(clippy::cast_possible_truncation)]
            brightness: brightness as f32,
            dim_after: self.text("led.dim_after", devices::duration_or_off)?,
            night: self.text("led.night", grammar::night)?,
            animate: self.bool("led.animate")?,
            emulator_script: self.text("led.emulator_script", devices::file),
        })
    }
}

/// A list through its elements' grammar.
pub(super) fn list<T>(
    table: &Table,
    path: &str,
    parse: fn(Scalar<'_>) -> Parsed<T>,
) -> Option<Vec<T>> {
    let Value::List(items) = &table.get(path)?.value else { return None };
    items.iter().map(|item| parse(item.scalar()?).ok()).collect()
}

pub(super) fn texts<T>(table: &Table, path: &str, parse: fn(&str) -> Parsed<T>) -> Option<Vec<T>> {
    let Value::List(items) = &table.get(path)?.value else { return None };
    items.iter().map(|item| parse(item.text()?).ok()).collect()
}
