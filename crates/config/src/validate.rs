//! Converts the merged tree into settings that are valid by construction.

use super::devices::{Bus, Driver, GpioChip, Light, Size};
use super::fault::{Fault, Origin, Sources};
use super::grammar::ProbeMethod;
use super::keys::{self, Key, Typed};
use super::tree::{Table, Value};
use super::*;
use bramblegate_panel::oled;
use std::collections::BTreeMap;

/// Returns the settings, or `None` after appending the reasons to `faults`.
pub(super) fn settings(
    tree: &Table,
    sources: &Sources,
    faults: &mut Vec<Fault>,
) -> Option<Settings> {
    let mut check = Check { tree, sources, faults };
    let board = keys::BOARD.get(tree);
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
    let shares = check.shares(uplink.as_ref(), gateway.as_ref());
    let health = check.health();
    let vitals = check.vitals();
    let buttons = check.buttons();
    let lcd = check.lcd();
    let led = check.led();
    let (status, control) = (check.get(&keys::SOCKETS_STATUS), check.get(&keys::SOCKETS_CONTROL));
    if let (Some(Some(buttons)), Some(lcd)) = (&buttons, &lcd) {
        check.check_lines_disjoint(buttons, lcd);
    }
    check.check_sockets_distinct(status.as_ref(), control.as_ref());
    let web = check.web(cluster.as_ref());
    let metrics = check.get(&keys::METRICS_NODES_MAX);
    let shutdown = check.shutdown();
    Some(Settings {
        board: board?,
        uplink: uplink?,
        gateway: gateway?,
        cluster: cluster?,
        nodes,
        groups,
        forwards,
        shares,
        health: health?,
        vitals: vitals?,
        buttons: buttons?,
        lcd: lcd?,
        led: led?,
        sockets: Sockets { status: status?, control: control? },
        web: web?,
        metrics: Metrics { nodes_max: metrics? },
        unset: None,
        shutdown: shutdown?,
    })
}

/// Returns the start of the main file, for faults without a better position.
pub(super) fn file_start() -> Origin {
    Origin { source: Sources::MAIN, line: 1, column: 1, was: None }
}

/// Remedy if a GPIO chip is needed and the board names none.
const CHIP_REMEDY: &str = "write the label that gpiodetect shows in brackets, such as chip = \
                           \"pinctrl-bcm2711\" in [gpio]";

pub(super) struct Check<'a> {
    pub tree: &'a Table,
    pub sources: &'a Sources,
    pub faults: &'a mut Vec<Fault>,
}

impl Check<'_> {
    pub fn report(&mut self, at: Origin, message: impl Into<String>, remedy: impl Into<String>) {
        self.faults.push(self.sources.fault(at, message, remedy));
    }

    /// Returns a key's value; `None` if it is missing, or wrong and reported already.
    fn get<T>(&self, key: &Typed<T>) -> Option<T> {
        key.get(self.tree)
    }

    /// Returns the position of a key's value, else of its table, else the start of the main file.
    pub fn place(&self, key: &Key) -> Origin {
        let written = |at: &Origin| at.source >= Sources::MAIN;
        if let Some(at) = self.tree.get(key.path).map(|item| item.at).filter(written) {
            return at;
        }
        let table = key.path.rsplit_once('.').and_then(|(table, _)| self.tree.get(table));
        let at = table.and_then(|item| {
            if let Value::Table(table) = &item.value { Some(table.at) } else { None }
        });
        at.filter(written).unwrap_or_else(file_start)
    }

    /// Returns whether a file or a default sets the key, to a valid or a faulty value.
    fn is_set(&self, key: &Key) -> bool {
        self.tree.is_written(key.path)
    }

    /// Reports a missing key, unless its value was faulty.
    fn require(&mut self, key: &Key, remedy: &str) {
        if !self.is_set(key) {
            self.report(self.place(key), format!("{} is missing", key.path), remedy);
        }
    }

    /// Returns whether a table is enabled, by its `enabled` and by another key, which is "off" if
    /// `off`. Reports a contradiction; `instead` is the assignment that enables the other key.
    fn is_on(&mut self, enabled: &Typed<bool>, off: bool, instead: &str) -> bool {
        let switched = self.get(enabled);
        if switched == Some(true) && off {
            let (table, _) = enabled.path.rsplit_once('.').unwrap_or_default();
            let (other, _) = instead.split_once(' ').unwrap_or_default();
            self.report(
                self.place(enabled),
                format!("{} is true, but {table}.{other} is \"off\"", enabled.path),
                format!("write {instead} in [{table}], or enabled = false"),
            );
        }
        !off && switched != Some(false)
    }

    fn uplink(&mut self) -> Option<Uplink> {
        let remedy = "list the interfaces that may lead to the venue, such as interfaces = \
                      [\"eth1\", \"wlan0\"] in [uplink]; `bramblegate detect` shows them";
        self.require(&keys::UPLINK_INTERFACES, remedy);
        let interfaces = self.get(&keys::UPLINK_INTERFACES)?;
        let method = self.get(&keys::UPLINK_CHECK_METHOD)?;
        let off = method == ProbeMethod::Off;
        let on = self.is_on(&keys::UPLINK_CHECK_ENABLED, off, "method = \"http\"");
        let probe = match method {
            ProbeMethod::Http if on => {
                let (host, port, path) = self.get(&keys::UPLINK_CHECK_URL)?;
                UplinkProbe::Http {
                    host,
                    port,
                    path,
                    expect: self.get(&keys::UPLINK_CHECK_EXPECT)?,
                }
            }
            ProbeMethod::Ping if on => {
                UplinkProbe::Ping { host: self.get(&keys::UPLINK_CHECK_HOST)? }
            }
            _ => UplinkProbe::Off,
        };
        Some(Uplink {
            interfaces,
            probe,
            allow: self.get(&keys::UPLINK_ALLOW)?,
            clat: self.get(&keys::UPLINK_CLAT)?,
        })
    }

    fn gateway(&self) -> Option<Gateway> {
        Some(Gateway {
            enabled: self.get(&keys::GATEWAY_ENABLED)?,
            on_stop: self.get(&keys::GATEWAY_ON_STOP)?,
            protect: self.get(&keys::GATEWAY_PROTECT)?,
            trust: self.get(&keys::GATEWAY_TRUST)?,
        })
    }

    fn cluster(&mut self) -> Option<Cluster> {
        let remedy = "write the interface that leads to the nodes, such as interface = \"eth0\" in \
                      [cluster]; `bramblegate detect` shows them";
        self.require(&keys::CLUSTER_INTERFACE, remedy);
        let address = self.get(&keys::CLUSTER_ADDRESS);
        let fallback_addresses = self.get(&keys::CLUSTER_FALLBACK_ADDRESSES);
        let enabled = self.get(&keys::CLUSTER_DHCP_ENABLED).unwrap_or(false);
        let dhcp = if self.tree.get("cluster.dhcp").is_some() { self.dhcp(address?) } else { None };
        if let (Some(address), Some(fallback_addresses)) = (address, &fallback_addresses) {
            self.fallback_addresses(address, fallback_addresses, dhcp.as_ref());
        }
        Some(Cluster {
            interface: self.get(&keys::CLUSTER_INTERFACE)?,
            address: address?,
            fallback_addresses: fallback_addresses?,
            domain: self.get(&keys::CLUSTER_DOMAIN)?,
            dns: self.dns()?,
            ipv6: self.ipv6(enabled),
            pref64: self.get(&keys::CLUSTER_IPV6_PREF64).unwrap_or_default(),
            ipv6_only_preferred: self.get(&keys::CLUSTER_IPV6_ONLY_PREFERRED).unwrap_or_default(),
            netboot: self.netboot(),
            dhcp: dhcp.filter(|_| enabled),
        })
    }

    fn dhcp(&mut self, head: Ipv4Net) -> Option<Dhcp> {
        self.require(
            &keys::CLUSTER_DHCP_RANGE,
            "write the addresses to serve, such as range = \"FIRST-LAST\"",
        );
        let (first, last) = self.get(&keys::CLUSTER_DHCP_RANGE)?;
        let ntp = self.get(&keys::CLUSTER_DHCP_NTP)?;
        let dhcp = Dhcp { first, last, lease_time: self.get(&keys::CLUSTER_DHCP_LEASE_TIME)?, ntp };
        self.dhcp_range(head, &dhcp);
        Some(dhcp)
    }

    /// Returns the settings of DNS; `Some(None)` if names are not resolved.
    fn dns(&self) -> Option<Option<Dns>> {
        let fallback_servers = self.get(&keys::CLUSTER_DNS_FALLBACK_SERVERS)?;
        Some(self.get(&keys::CLUSTER_DNS_ENABLED)?.then_some(Dns { fallback_servers }))
    }

    /// Returns the nodes' IPv6 prefix; `served` is whether DHCP is enabled.
    fn ipv6(&mut self, served: bool) -> Option<Ipv6Prefix> {
        self.get(&keys::CLUSTER_IPV6_MODE).filter(|on| *on)?;
        if !served {
            // Another router in the cluster is detected together with another DHCP server.
            let remedy = "add [cluster.dhcp], or write ipv6 = \"off\" in [cluster]";
            self.report(
                self.place(&keys::CLUSTER_IPV6_MODE),
                "cluster.ipv6 needs cluster.dhcp",
                remedy,
            );
        }
        self.get(&keys::CLUSTER_IPV6_PREFIX)
    }

    fn netboot(&mut self) -> Option<Netboot> {
        self.get(&keys::CLUSTER_NETBOOT_ENABLED).filter(|enabled| *enabled)?;
        if self.tree.get("cluster.dhcp").is_none() {
            let remedy = "add [cluster.dhcp]: DHCP gives a node the server that it boots from";
            self.report(
                self.place(&keys::CLUSTER_NETBOOT_ENABLED),
                "cluster.netboot needs cluster.dhcp",
                remedy,
            );
        }
        Some(Netboot {
            root: self.get(&keys::CLUSTER_NETBOOT_ROOT)?,
            folder_per_mac: self.get(&keys::CLUSTER_NETBOOT_FOLDERS).unwrap_or(false),
            bios: self.get(&keys::CLUSTER_NETBOOT_BIOS),
            uefi_x86: self.get(&keys::CLUSTER_NETBOOT_UEFI_X86),
            uefi_arm64: self.get(&keys::CLUSTER_NETBOOT_UEFI_ARM64),
            ipxe: self.get(&keys::CLUSTER_NETBOOT_IPXE),
        })
    }

    fn health(&self) -> Option<Health> {
        Some(Health {
            interval: self.get(&keys::HEALTH_INTERVAL)?,
            down_after: self.get(&keys::HEALTH_DOWN_AFTER)?,
            up_after: self.get(&keys::HEALTH_UP_AFTER)?,
            boot_grace: self.get(&keys::HEALTH_BOOT_GRACE)?,
            red_below: self.get(&keys::HEALTH_RED_BELOW)?,
            timeout: self.get(&keys::HEALTH_TIMEOUT)?,
            degraded_rtt: self.get(&keys::HEALTH_DEGRADED_RTT)?,
            degraded_loss: self.get(&keys::HEALTH_DEGRADED_LOSS)?,
            flap_changes: self.get(&keys::HEALTH_FLAP_CHANGES)?,
            flap_window: self.get(&keys::HEALTH_FLAP_WINDOW)?,
        })
    }

    fn vitals(&self) -> Option<VitalLimits> {
        Some(VitalLimits {
            temperature_above: self.get(&keys::VITALS_TEMPERATURE_ABOVE)?,
            memory_free_below: self.get(&keys::VITALS_MEMORY_FREE_BELOW)?,
            disk_free_below: self.get(&keys::VITALS_DISK_FREE_BELOW)?,
            pressure: self.get(&keys::VITALS_PRESSURE)?,
        })
    }

    /// Returns the buttons; `Some(None)` if there are none.
    fn buttons(&mut self) -> Option<Option<Buttons>> {
        let enabled = self.get(&keys::BUTTONS_ENABLED);
        let lines = [&keys::BUTTONS_NEXT, &keys::BUTTONS_ACKNOWLEDGE, &keys::BUTTONS_POWER];
        if enabled == Some(false) {
            return Some(None);
        }
        let Some(first) = lines.into_iter().find(|key| self.is_set(key)) else {
            let chip = self.tree.get(keys::GPIO_CHIP.path).map(|item| item.at);
            let chip = chip.filter(|at| at.was == Some("buttons.chip"));
            let at = enabled.and_then(|_| Some(self.tree.get(keys::BUTTONS_ENABLED.path)?.at));
            if let Some(at) = at.or(chip) {
                let remedy = "add the line of at least one, such as next = 5 in [buttons]";
                self.report(at, "buttons are enabled, but none has a line", remedy);
            }
            return Some(None);
        };
        let chip = match self.get(&keys::GPIO_CHIP)? {
            GpioChip::Label(label) => ButtonChip::Gpio(label),
            GpioChip::Emulator(file) => ButtonChip::Emulator(file),
            GpioChip::Off => return Some(None),
            GpioChip::Auto => {
                let message = format!("{} needs a GPIO chip, and the board has none", first.path);
                self.report(self.place(first), message, CHIP_REMEDY);
                return None;
            }
        };
        self.check_lines_unique(&lines);
        Some(Some(Buttons {
            chip,
            next: self.get(&keys::BUTTONS_NEXT),
            acknowledge: self.get(&keys::BUTTONS_ACKNOWLEDGE),
            power: self.get(&keys::BUTTONS_POWER),
            active_low: self.get(&keys::BUTTONS_ACTIVE_LOW)?,
        }))
    }

    /// Reports keys that name the same line of a GPIO chip.
    fn check_lines_unique(&mut self, keys: &[&Typed<u32>]) {
        let mut used = BTreeMap::new();
        for key in keys {
            let name = key.name();
            if let Some(other) = self.get(key).and_then(|line| used.insert(line, name)) {
                self.report(
                    self.place(key),
                    format!("{}: {other} and {name} are on the same line", key.path),
                    "give each its own line",
                );
            }
        }
    }

    /// Checks that no line of a GPIO chip is both a button's and the display's.
    fn check_lines_disjoint(&mut self, buttons: &Buttons, lcd: &Lcd) {
        let (ButtonChip::Gpio(label), LcdBus::Gpio { chip, pins }) = (&buttons.chip, &lcd.bus)
        else {
            return;
        };
        if label != chip {
            return;
        }
        for (key, line) in [
            (&keys::BUTTONS_NEXT, buttons.next),
            (&keys::BUTTONS_ACKNOWLEDGE, buttons.acknowledge),
            (&keys::BUTTONS_POWER, buttons.power),
        ] {
            let Some((line, pin)) = line.and_then(|line| Some((line, pins.name_of(line)?))) else {
                continue;
            };
            let message = format!(
                "{}: line {line} is {pin} of the display with lcd.bus = \"gpio\"",
                key.path
            );
            self.report(
                self.place(key),
                message,
                "choose another line for the button, or for the display in lcd.pins",
            );
        }
    }

    fn web(&mut self, cluster: Option<&Cluster>) -> Option<Web> {
        let own = || Some(vec![IpNet::V4(cluster?.address.trunc())]);
        Some(Web {
            enabled: self.get(&keys::WEB_ENABLED)?,
            listen: self.get(&keys::WEB_LISTEN)?,
            public: self.get(&keys::WEB_PUBLIC)?,
            admin_from: self.get(&keys::WEB_ADMIN_FROM).or_else(own)?,
            heads: self.get(&keys::WEB_HEADS)?,
            names: self.get(&keys::WEB_NAMES)?,
            port_file: self.get(&keys::WEB_PORT_FILE)?,
        })
    }

    fn shutdown(&self) -> Option<Shutdown> {
        Some(Shutdown {
            user: self.get(&keys::SHUTDOWN_USER)?,
            key: self.get(&keys::SHUTDOWN_KEY),
            timeout: self.get(&keys::SHUTDOWN_TIMEOUT)?,
            except: self.get(&keys::SHUTDOWN_EXCEPT)?,
        })
    }

    fn check_sockets_distinct(&mut self, status: Option<&PathBuf>, control: Option<&PathBuf>) {
        if status.is_none() || status != control {
            return;
        }
        let (control, status) = (&keys::SOCKETS_CONTROL, &keys::SOCKETS_STATUS);
        let is_written =
            |key: &Key| self.tree.get(key.path).is_some_and(|item| item.at.source >= Sources::MAIN);
        let key = if is_written(status) && !is_written(control) { status } else { control };
        let remedy = "give each its own path, such as \"/run/bramblegate/status.sock\" and \
                     \"/run/bramblegate/control.sock\"";
        self.report(
            self.place(key),
            format!("{}: both sockets have the same path", key.path),
            remedy,
        );
    }

    fn lcd(&mut self) -> Option<Lcd> {
        let address = self.get(&keys::LCD_ADDRESS);
        let wiring = self.get(&keys::LCD_WIRING);
        let bus = self.get(&keys::LCD_BUS)?;
        let on = self.is_on(&keys::LCD_ENABLED, bus == Bus::Off, "bus = \"/dev/i2c-1\"");
        let bus = match bus {
            _ if !on => LcdBus::Off,
            Bus::I2c(device) => LcdBus::I2c { device, address: address?, wiring: wiring? },
            Bus::Gpio => self.gpio()?,
            Bus::Emulator(log) => LcdBus::Emulator { address: address?, wiring: wiring?, log },
            Bus::Off => LcdBus::Off,
        };
        let (geometry, oled) = match self.get(&keys::LCD_SIZE)? {
            Size::Characters(geometry) => (geometry, None),
            Size::Pixels(resolution) => (resolution.geometry(), Some(resolution)),
        };
        let oled = self.oled(&bus, oled)?;
        Some(Lcd {
            bus,
            oled,
            geometry,
            charset: self.get(&keys::LCD_CHARSET)?,
            backlight: self.get(&keys::LCD_BACKLIGHT)?,
            page_time: self.get(&keys::LCD_PAGE_TIME)?,
            heartbeat: self.get(&keys::LCD_HEARTBEAT)?,
            emulator_script: self.get(&keys::LCD_EMULATOR_SCRIPT),
        })
    }

    /// Returns the OLED that driver and size select; `Some(None)` for an HD44780.
    fn oled(&mut self, bus: &LcdBus, pixels: Option<Resolution>) -> Option<Option<LcdOled>> {
        let driver = self.get(&keys::LCD_DRIVER)?;
        let (controller, resolution) = match (driver, pixels) {
            (Driver::Auto | Driver::Hd44780, None) => return Some(None),
            (Driver::Auto, Some(resolution)) => (None, resolution),
            (Driver::Oled(controller), Some(resolution)) => (Some(controller), resolution),
            (Driver::Hd44780, Some(resolution)) => {
                let message = format!("lcd.size: no HD44780 has {} characters", resolution.name());
                let remedy = "leave lcd.driver out for an OLED, or write columns and rows \
                             of characters, such as \"16x2\"";
                self.report(self.place(&keys::LCD_SIZE), message, remedy);
                return None;
            }
            (Driver::Oled(controller), None) => {
                let message = format!("lcd.size: an OLED with {} counts pixels", controller.name());
                let remedy = "write \"128x32\" or \"128x64\"";
                self.report(self.place(&keys::LCD_SIZE), message, remedy);
                return None;
            }
        };
        match bus {
            LcdBus::I2c { address, .. } | LcdBus::Emulator { address, .. }
                if !oled::ADDRESSES.contains(address) =>
            {
                let message = format!("lcd.address: no OLED has the address {address:#04x}");
                self.report(self.place(&keys::LCD_ADDRESS), message, "write 0x3c or 0x3d");
                None
            }
            LcdBus::Gpio { .. } => {
                let message = "lcd.bus: an OLED is not driven by GPIO lines";
                let remedy = "write \"/dev/i2c-1\" (any number)";
                self.report(self.place(&keys::LCD_BUS), message, remedy);
                None
            }
            _ => Some(Some(LcdOled { controller, resolution })),
        }
    }

    fn gpio(&mut self) -> Option<LcdBus> {
        let at = self.place(&keys::LCD_BUS);
        let pins = [
            &keys::LCD_PINS_RS,
            &keys::LCD_PINS_E,
            &keys::LCD_PINS_D4,
            &keys::LCD_PINS_D5,
            &keys::LCD_PINS_D6,
            &keys::LCD_PINS_D7,
            &keys::LCD_PINS_BACKLIGHT,
        ];
        let [needed @ .., _] = &pins;
        let missing: Vec<&str> = needed
            .iter()
            .filter(|key| !self.is_set(key))
            .map(|key| key.path.trim_start_matches("lcd."))
            .collect();
        if !missing.is_empty() {
            let message = format!(
                "lcd.bus = \"gpio\" lacks {}, and the board has no pins of its own",
                missing.join(", ")
            );
            self.report(
                at,
                message,
                "write the lines in [lcd], such as pins = { rs = 25, e = 24, d4 = 23, d5 = 17, d6 \
                 = 18, d7 = 22 }",
            );
        }
        self.check_lines_unique(&pins);
        let GpioChip::Label(chip) = self.get(&keys::GPIO_CHIP)? else {
            self.report(at, "lcd.bus = \"gpio\" needs the label of a GPIO chip", CHIP_REMEDY);
            return None;
        };
        let pins = GpioPins {
            rs: self.get(&keys::LCD_PINS_RS)?,
            e: self.get(&keys::LCD_PINS_E)?,
            d4: self.get(&keys::LCD_PINS_D4)?,
            d5: self.get(&keys::LCD_PINS_D5)?,
            d6: self.get(&keys::LCD_PINS_D6)?,
            d7: self.get(&keys::LCD_PINS_D7)?,
            backlight: self.get(&keys::LCD_PINS_BACKLIGHT),
        };
        Some(LcdBus::Gpio { chip, pins })
    }

    fn led(&mut self) -> Option<Led> {
        let device = self.get(&keys::LED_DEVICE)?;
        let on = self.is_on(&keys::LED_ENABLED, device == Light::Off, "device = \"auto\"");
        let device = match device {
            _ if !on => LedDevice::Off,
            Light::Auto => LedDevice::Auto { fallback: self.get(&keys::LED_KERNEL) },
            Light::BlinkStick(serial) => LedDevice::BlinkStick { serial },
            Light::Sysfs(name) => LedDevice::Sysfs { name },
            Light::Emulator(log) => LedDevice::Emulator { log },
            Light::Off => LedDevice::Off,
        };
        Some(Led {
            device,
            brightness: self.get(&keys::LED_BRIGHTNESS)?,
            dim_after: self.get(&keys::LED_DIM_AFTER)?,
            quiet_hours: self.get(&keys::LED_QUIET_HOURS)?,
            animate: self.get(&keys::LED_ANIMATE)?,
            emulator_script: self.get(&keys::LED_EMULATOR_SCRIPT),
        })
    }
}
