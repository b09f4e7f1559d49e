//! Detects hardware and interfaces. Devices are only read.

use std::path::Path;

use embedded_hal::i2c::I2c;
use linux_embedded_hal::I2cdev;

use crate::board::Board;
use crate::cli::machine::Machine;
use crate::panel::claimed::{self, DetachedStick};
use crate::panel::pcf8574::ADDRESSES;

/// The hardware and interfaces of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// The machine has a device tree.
    pub device_tree: bool,
    /// I²C buses that may have a panel.
    pub buses: Vec<Bus>,
    /// Serial numbers of BlinkSticks.
    pub sticks: Vec<String>,
    /// BlinkSticks that a program has detached from the kernel's driver.
    pub detached: Vec<DetachedStick>,
    /// Names in `/sys/class/leds`.
    pub leds: Vec<String>,
    pub ports: Vec<Port>,
    /// The port of the IPv4 default route.
    pub default_route: Option<String>,
    /// Subnets in use, each with its port.
    pub subnets: Vec<(ipnet::Ipv4Net, String)>,
}

/// Addresses that answered a read, each with the byte read; or why the bus cannot be read.
pub type Answers = Result<Vec<(u8, u8)>, String>;

/// An I²C bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bus {
    /// "/dev/i2c-1".
    pub device: String,
    /// The adapter's name.
    pub name: String,
    pub answers: Answers,
    /// Addresses held by a kernel driver, each with text and remedy.
    pub held: Vec<(u8, String, String)>,
}

/// A network port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    pub name: String,
    pub kind: PortKind,
    pub mac: String,
    /// `None`: unknown, because the interface is down.
    pub carrier: Option<bool>,
    /// The bridge or bond that it is a port of.
    pub master: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PortKind {
    /// A built-in socket for a cable.
    Wired,
    /// A socket on a USB adapter.
    Usb,
    Wireless,
    /// No hardware, such as veth; only used if there is nothing else.
    Virtual,
}

impl PortKind {
    pub const fn words(self) -> &'static str {
        match self {
            Self::Wired => "wired",
            Self::Usb => "USB",
            Self::Wireless => "wireless",
            Self::Virtual => "virtual",
        }
    }
}

/// Detects everything.
pub fn look(machine: &Machine, board: &Board, device_tree: bool) -> Found {
    let default_route = machine.default_route();
    let subnets = machine.routes().into_iter().filter(|(net, _)| net.prefix_len() > 0).collect();
    let buses = i2c_buses(machine);
    Found {
        device_tree,
        buses,
        sticks: sticks(),
        detached: claimed::detached_sticks(&machine.path("/")),
        leds: machine.list("/sys/class/leds"),
        ports: ports(machine, board),
        default_route,
        subnets,
    }
}

/// Returns the I²C buses of this machine, and what answers there.
pub fn i2c_buses(machine: &Machine) -> Vec<Bus> {
    buses(machine, &mut |device| read_expanders(device))
}

/// Returns the I²C buses of the machine, without those of monitors and of the mainboard's own
/// chips.
pub fn buses(machine: &Machine, read: &mut dyn FnMut(&Path) -> Answers) -> Vec<Bus> {
    let mut devices = machine.list("/dev");
    devices.retain(|name| {
        name.strip_prefix("i2c-").is_some_and(|n| n.bytes().all(|byte| byte.is_ascii_digit()))
    });
    devices.sort_by_key(|name| (name.len(), name.clone()));
    let mut buses = Vec::new();
    for device in devices {
        let name = machine.read(&format!("/sys/class/i2c-dev/{device}/name")).unwrap_or_default();
        if !is_reserved(&name) {
            let answers = read(&machine.path(&format!("/dev/{device}")));
            let device = format!("/dev/{device}");
            let addresses = ADDRESSES.into_iter().flatten();
            let held = addresses.filter_map(|at| {
                let (text, remedy) = claimed::i2c_held(&machine.path("/"), Path::new(&device), at)?;
                Some((at, text, remedy))
            });
            let held = held.collect();
            buses.push(Bus { device, name, answers, held });
        }
    }
    buses
}

/// Returns whether an adapter is for monitors or memory modules, which a read may disturb.
fn is_reserved(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["hdmi", "ddc", "smbus", "gmbus", "aux", "nvidia", "i915", "radeon", "amdgpu", "mux"]
        .iter()
        .any(|other| name.contains(other) && !name.contains("bcm"))
}

/// Reads a byte from each address that an expander may have, which include those of OLEDs.
fn read_expanders(device: &Path) -> Answers {
    let mut bus = I2cdev::new(device).map_err(|error| error.to_string())?;
    let mut answers = Vec::new();
    for address in ADDRESSES.into_iter().flatten() {
        let mut byte = [0];
        if bus.read(address, &mut byte).is_ok() {
            answers.push((address, u8::from_ne_bytes(byte)));
        }
    }
    Ok(answers)
}

/// Returns the serial numbers of the BlinkSticks that are plugged in (USB 20a0:41e5).
fn sticks() -> Vec<String> {
    let Ok(api) = hidapi::HidApi::new() else { return Vec::new() };
    let sticks = api
        .device_list()
        .filter(|device| (device.vendor_id(), device.product_id()) == (0x20a0, 0x41e5));
    sticks.map(|device| device.serial_number().unwrap_or("?").to_owned()).collect()
}

/// Returns the network ports; virtual ones only if there is no hardware.
pub fn ports(machine: &Machine, board: &Board) -> Vec<Port> {
    let all: Vec<Port> = machine
        .list("/sys/class/net")
        .iter()
        .filter_map(|name| port(machine, board, name))
        .collect();
    let hardware: Vec<Port> =
        all.iter().filter(|port| port.kind != PortKind::Virtual).cloned().collect();
    if hardware.is_empty() { all } else { hardware }
}

fn port(machine: &Machine, board: &Board, name: &str) -> Option<Port> {
    let folder = format!("/sys/class/net/{name}");
    let ethernet = machine.read(&format!("{folder}/type")).as_deref() == Some("1"); // ARPHRD_ETHER
    if name == "lo" || !ethernet {
        return None;
    }
    let has = |file: &str| machine.exists(&format!("{folder}/{file}"));
    let kind = if has("phy80211") || has("wireless") {
        PortKind::Wireless
    } else if !has("device") {
        PortKind::Virtual
    } else if is_on_usb(machine, &folder) && !board.ports.cluster.iter().any(|known| known == name)
    {
        // The built-in port of a Raspberry Pi 1 to 3 is on USB too; its board names it.
        PortKind::Usb
    } else {
        PortKind::Wired
    };
    if kind == PortKind::Virtual && !is_veth(machine, name, &folder) {
        return None;
    }
    Some(Port {
        name: name.to_owned(),
        kind,
        mac: machine.read(&format!("{folder}/address")).unwrap_or_default(),
        carrier: machine.read(&format!("{folder}/carrier")).map(|carrier| carrier == "1"),
        master: machine.master(name),
    })
}

/// Returns whether a virtual port is a veth as in containers: not a bridge, bond, tunnel, VLAN or a
/// helper device of the kernel.
fn is_veth(machine: &Machine, name: &str, folder: &str) -> bool {
    let uevent = machine.read(&format!("{folder}/uevent")).unwrap_or_default();
    let other = ["bridge", "bonding", "tun_flags"]
        .iter()
        .any(|file| machine.exists(&format!("{folder}/{file}")));
    let helper = ["ifb", "dummy", "docker", "br-", "virbr", "veth", "bond"]
        .iter()
        .any(|start| name.starts_with(start));
    !uevent.contains("DEVTYPE=") && !other && !helper
}

fn is_on_usb(machine: &Machine, folder: &str) -> bool {
    let subsystem = machine.link(&format!("{folder}/device/subsystem"));
    subsystem.is_some_and(|link| link.ends_with("/usb") || link == "usb")
}
