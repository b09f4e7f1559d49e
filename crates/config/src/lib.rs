//! Settings and boards: valid by construction, and every error with file, line and column. Of this
//! workspace it uses only `bramblegate-panel` (sizes, wirings, character sets) and
//! `bramblegate-api` (escaping of output).
//!
//! Texts pass through four steps, each a module: each file is parsed into a fragment and checked
//! against the key table ([`keys`]); fragments are merged, the last one wins; missing values are
//! filled in from the [`board`] and from other settings; the whole is validated (an address outside
//! its subnet, a duplicate name). All faults are collected.
//!
//! Begin with [`read`] and [`Settings`]. To add a key, begin with [`keys`].
//!
//! ```
//! use bramblegate_config::board::Board;
//!
//! let board = Board::built_in("generic-pc").unwrap();
//! let main = "uplink.interfaces = [\"eth1\"]\ncluster.interface = \"eth0\"\n";
//! let settings = bramblegate_config::load(&[("main.toml", main)], &board).unwrap();
//! assert_eq!(settings.cluster.address.to_string(), "192.168.50.1/24");
//!
//! let wrong = format!("{main}uplink.alow = [\"ssh\"]\n");
//! let faults = bramblegate_config::load(&[("main.toml", wrong)], &board).unwrap_err();
//! assert!(faults[0].to_string().starts_with("main.toml:3:"));
//! ```
//!
//! Pure: texts in, values out; nothing here reads a file or a clock.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod board;

mod derive;
mod devices;
mod fault;
mod fragment;
mod grammar;
mod group;
pub mod keys;
mod lines;
mod load;
pub mod mac;
mod merge;
mod network;
mod print;
mod rule;
mod share;
mod suggest;
mod syntax;
#[cfg(test)]
mod tests;
mod tree;
mod validate;
mod value;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use bramblegate_panel::{Controller, Geometry, Resolution, Wiring};

pub use bramblegate_api::printable::{printable, printable_json, printable_line};

pub use fault::{Fault, ValueError, with_help};
pub use grammar::show_duration;
pub use load::{
    Merged, Ports, board_name, faults, heads_name_remedy, is_heads_name, load, read, resolve,
};
pub use mac::Mac;
pub use network::keep_host;
pub use print::quote;

/// All settings of the daemon, merged from the board, the main file and its drop-ins.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The board's name as in `boards/`, never "auto".
    pub board: String,
    pub uplink: Uplink,
    pub gateway: Gateway,
    pub cluster: Cluster,
    /// Nodes of `[[node]]`, and nodes that groups generate.
    pub nodes: Vec<Node>,
    pub groups: Vec<Group>,
    pub forwards: Vec<Forward>,
    pub shares: Vec<Share>,
    pub health: Health,
    pub vitals: VitalLimits,
    pub buttons: Option<Buttons>,
    pub lcd: Lcd,
    pub led: Led,
    pub sockets: Sockets,
    pub web: Web,
    pub metrics: Metrics,
    pub shutdown: Shutdown,
    /// Why the head is not set up: such settings only show the state. No file can set this.
    pub unset: Option<Unset>,
}

/// Why a head is not set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unset {
    /// There is no settings file.
    NoFile,
    /// A file on the boot partition was not taken over: the reason, with its remedy.
    BootFile(String),
}

/// `[uplink]`
#[derive(Debug, Clone, PartialEq)]
pub struct Uplink {
    /// In order of preference; never empty.
    pub interfaces: Vec<PortPattern>,
    pub probe: UplinkProbe,
    pub allow: Vec<Allow>,
    pub clat: Clat,
}

/// `uplink.clat`: whether IPv4 is translated to IPv6 on the head (RFC 6877).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clat {
    /// Where the venue has a NAT64 and no uplink has IPv4.
    Auto,
    /// Wherever the venue has a NAT64.
    On,
    Off,
}

/// How an interface is named in the settings: name, glob, or hardware address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PortPattern {
    /// `* ? […]`, matched with current and alternative names; a plain name is a glob without
    /// wildcards.
    Glob(String),
    /// `mac:aa:bb:cc:dd:ee:ff`
    Mac(Mac),
}

/// `[uplink.check]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UplinkProbe {
    Http {
        host: String,
        port: u16,
        path: String,
        expect: HttpExpectation,
    },
    /// ICMP echo to this host.
    Ping {
        host: IpAddr,
    },
    Off,
}

/// The HTTP answer that makes a probe succeed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HttpExpectation {
    /// This status code.
    Status(u16),
    /// Status 200 and this text in the body.
    Body(String),
}

/// A service on the head that the venue may reach.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Allow {
    /// TCP 22, and the ports that sshd listens on.
    Ssh,
    /// ICMP and ICMPv6 echo requests.
    Icmp,
    /// UDP 5353.
    Mdns,
    /// The TCP port of the status page.
    Web,
    /// Inclusive port range.
    Tcp(u16, u16),
    /// Inclusive port range.
    Udp(u16, u16),
}

/// `[gateway]`
#[derive(Debug, Clone, PartialEq)]
pub struct Gateway {
    pub enabled: bool,
    pub on_stop: OnStop,
    pub protect: bool,
    /// Further ports whose networks may reach the head and the nodes.
    pub trust: Vec<PortPattern>,
}

/// `gateway.on_stop`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnStop {
    /// NAT stays when the daemon stops.
    Keep,
    /// The daemon removes everything when it stops.
    Remove,
}

/// `[cluster]`
#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    pub interface: PortPattern,
    /// The head's own address in the cluster, with its host part.
    pub address: Ipv4Net,
    pub fallback_addresses: Vec<Ipv4Net>,
    pub domain: String,
    pub dhcp: Option<Dhcp>,
    pub dns: Option<Dns>,
    /// The nodes' IPv6 network; `None`: they get no IPv6.
    pub ipv6: Option<Ipv6Prefix>,
    /// Router advertisements name the venue's NAT64 prefix (RFC 8781).
    pub pref64: bool,
    /// A node that asks for option 108 gets it: it may do without IPv4 (RFC 8925).
    pub ipv6_only_preferred: bool,
    pub netboot: Option<Netboot>,
}

/// `[cluster.dhcp]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dhcp {
    pub first: Ipv4Addr,
    pub last: Ipv4Addr,
    pub lease_time: Duration,
    pub ntp: TimeServer,
}

impl Dhcp {
    /// Returns how many addresses the range has.
    pub fn size(&self) -> usize {
        u32::from(self.last).saturating_sub(u32::from(self.first)).saturating_add(1) as usize
    }
}

/// `cluster.dhcp.ntp`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeServer {
    /// The head if it serves time, otherwise the servers that it uses.
    Auto,
    Off,
    At(Ipv4Addr),
}

/// `[cluster.dns]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    /// Used if the venue offers no resolver.
    pub fallback_servers: Vec<IpAddr>,
}

/// `cluster.ipv6.prefix`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ipv6Prefix {
    /// A unique local prefix (RFC 4193), generated once and kept, and also one that the venue
    /// delegated.
    Auto,
    /// Only the unique local prefix.
    UniqueLocal,
    /// A /64 without host part.
    Given(Ipv6Net),
}

/// `[cluster.netboot]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Netboot {
    pub root: PathBuf,
    /// Each node sees only the folder of its own hardware address.
    pub folder_per_mac: bool,
    pub bios: Option<String>,
    pub uefi_x86: Option<String>,
    pub uefi_arm64: Option<String>,
    /// The file that iPXE starts, on any machine.
    pub ipxe: Option<String>,
}

/// `[[group]]`; one for each of its numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    pub name: String,
    /// Globs of node names.
    pub members: Vec<String>,
    pub red_below: Option<Threshold>,
}

/// `[[forward]]`: a port of the head on its uplinks that leads to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forward {
    pub transport: Transport,
    pub listen: u16,
    pub to: ForwardTarget,
    pub port: u16,
}

/// Where a forwarded port leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForwardTarget {
    /// By name, at its current address.
    Node(String),
    Address(Ipv4Addr),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    Tcp,
    Udp,
}

/// `[[share]]`: a disk of the head that the nodes may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    pub name: String,
    pub path: PathBuf,
    pub access: Access,
}

/// `share.access`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    ReadWrite,
    ReadOnly,
}

impl Access {
    /// Returns the word in the settings, which exports(5) uses too.
    pub const fn word(self) -> &'static str {
        match self {
            Self::ReadWrite => "rw",
            Self::ReadOnly => "ro",
        }
    }
}

/// The TCP port of NFS (RFC 7530, 3.1).
pub const NFS_PORT: u16 = 2049;

/// `[[node]]`
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub name: String,
    pub mac: Option<Mac>,
    pub address: Option<Ipv4Addr>,
    /// Empty: not probed. Nodes with equal probes share one list.
    pub probes: Arc<[NodeProbe]>,
    /// Longest wait for its answers, in place of [`Health::timeout`].
    pub timeout: Option<Duration>,
    /// Index into [`Settings::groups`].
    pub group: Option<usize>,
}

/// `node.probe`
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NodeProbe {
    Icmp,
    Arp,
    Tcp(u16),
    Http {
        port: u16,
        path: String,
        /// `None`: any status of 2xx or 3xx.
        expect: Option<HttpExpectation>,
    },
}

/// `[health]`
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    pub interval: Duration,
    /// Consecutive lost rounds after which a node is down.
    pub down_after: u32,
    /// Consecutive answered rounds after which a node is up again.
    pub up_after: u32,
    /// How long a node that has not answered yet may take to boot before it is down.
    pub boot_grace: Duration,
    /// Fewer nodes up are a fault.
    pub red_below: Threshold,
    /// The longest wait for one answer.
    pub timeout: Duration,
    /// A longer smoothed round-trip time is degraded.
    pub degraded_rtt: Option<Duration>,
    /// A larger share of lost first tries is degraded, percent.
    pub degraded_loss: Option<u8>,
    /// Changes between up and down within `flap_window` that make a node flapping.
    pub flap_changes: u32,
    pub flap_window: Duration,
}

/// `[vitals]`: thresholds of warnings about the head; shares in percent.
#[derive(Debug, Clone, PartialEq)]
pub struct VitalLimits {
    /// Degrees Celsius.
    pub temperature_above: i32,
    /// Available memory.
    pub memory_free_below: Option<u8>,
    /// Free space or inodes of the root file system.
    pub disk_free_below: Option<u8>,
    /// Share of the last minute in which tasks waited.
    pub pressure: Option<u8>,
}

/// `[buttons]`, if there are any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buttons {
    pub chip: ButtonChip,
    /// Line offsets.
    pub next: Option<u32>,
    pub acknowledge: Option<u32>,
    pub power: Option<u32>,
    pub active_low: bool,
}

/// `gpio.chip`, for the buttons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ButtonChip {
    /// A GPIO chip by its label.
    Gpio(String),
    /// A FIFO in place of the chip, for demo and tests.
    Emulator(PathBuf),
}

/// A count or a share of the nodes that must be up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threshold {
    Count(u32),
    Percent(u8),
}

/// `[lcd]`, after the board's values were filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Lcd {
    pub bus: LcdBus,
    /// `None`: an HD44780.
    pub oled: Option<LcdOled>,
    pub geometry: Geometry,
    pub charset: bramblegate_panel::Charset,
    pub backlight: Backlight,
    /// How long one page is shown.
    pub page_time: Duration,
    /// False: no heartbeat.
    pub heartbeat: bool,
    pub emulator_script: Option<PathBuf>,
}

/// An OLED: `lcd.driver` and `lcd.size`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LcdOled {
    /// `None`: detected by the display's answer.
    pub controller: Option<Controller>,
    pub resolution: Resolution,
}

/// `lcd.bus` with the values that each bus needs.
#[derive(Debug, Clone, PartialEq)]
pub enum LcdBus {
    /// A PCF8574 backpack; `device` is `/dev/i2c-N`.
    I2c {
        device: PathBuf,
        address: u8,
        wiring: Wiring,
    },
    /// The HD44780's pins on a GPIO chip found by label; `pins`: RS, E, D4..D7, optional backlight.
    Gpio {
        chip: String,
        pins: GpioPins,
    },
    /// Emulated chips; `log` receives each transaction.
    Emulator {
        address: u8,
        wiring: Wiring,
        log: Option<PathBuf>,
    },
    Off,
}

/// Line offsets on the GPIO chip (BCM numbers on a Raspberry Pi).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GpioPins {
    pub rs: u32,
    pub e: u32,
    pub d4: u32,
    pub d5: u32,
    pub d6: u32,
    pub d7: u32,
    pub backlight: Option<u32>,
}

/// `lcd.backlight`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backlight {
    On,
    Off,
    /// Off after this time without news.
    After(Duration),
}

/// `[led]`
#[derive(Debug, Clone, PartialEq)]
pub struct Led {
    pub device: LedDevice,
    /// 0.0 to 1.0.
    pub brightness: f32,
    pub dim_after: Option<Duration>,
    /// Minutes after midnight, local time: (from, to).
    pub quiet_hours: Option<(u16, u16)>,
    /// False: colours do not change over time (for measurements).
    pub animate: bool,
    pub emulator_script: Option<PathBuf>,
}

/// `led.device`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LedDevice {
    /// The first BlinkStick, else a kernel LED the board names.
    Auto {
        fallback: Option<String>,
    },
    BlinkStick {
        serial: Option<String>,
    },
    Sysfs {
        name: String,
    },
    Emulator {
        log: Option<PathBuf>,
    },
    Off,
}

/// `[sockets]`
#[derive(Debug, Clone, PartialEq)]
pub struct Sockets {
    pub status: PathBuf,
    pub control: PathBuf,
}

/// `[web]`
#[derive(Debug, Clone, PartialEq)]
pub struct Web {
    pub enabled: bool,
    /// In the order in which they are tried; never empty.
    pub listen: Vec<WebAddress>,
    pub public: Public,
    /// Networks with access to orders, besides the head itself; by default the cluster's subnet.
    pub admin_from: Vec<IpNet>,
    /// URLs of other heads' pages, without a path.
    pub heads: Vec<String>,
    /// Further names that the page answers to.
    pub names: Vec<String>,
    /// File in which the page's process writes its port.
    pub port_file: PathBuf,
}

/// The port of the page if none of `web.listen` is free.
pub const WEB_FALLBACK_PORT: u16 = 8080;

impl Web {
    /// Returns the addresses to try, in order.
    pub fn places(&self) -> impl Iterator<Item = WebAddress> + '_ {
        let listed = self.listen.iter().copied();
        let other = WebAddress::Port(WEB_FALLBACK_PORT);
        listed.chain((!self.listen.contains(&other)).then_some(other))
    }

    /// Returns whether the page may be at a port. Any other port that its process reports is not
    /// trusted.
    pub fn may_listen(&self, port: u16) -> bool {
        self.enabled && self.places().any(|place| place.port() == port)
    }
}

/// One entry of `web.listen`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebAddress {
    /// On all addresses.
    Port(u16),
    At(SocketAddr),
}

impl WebAddress {
    pub const fn port(self) -> u16 {
        match self {
            Self::Port(port) => port,
            Self::At(address) => address.port(),
        }
    }
}

/// `web.public`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Public {
    Full,
    /// Without names and addresses of nodes.
    Summary,
    Off,
}

/// `[metrics]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metrics {
    pub nodes_max: usize,
}

/// `[shutdown]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shutdown {
    pub user: String,
    /// `None`: the nodes are not shut down.
    pub key: Option<PathBuf>,
    pub timeout: Duration,
    /// Names and globs of devices to leave alone.
    pub except: Vec<String>,
}

impl Shutdown {
    /// Returns whether a device of this name is left alone.
    pub fn excludes(&self, name: &str) -> bool {
        group::matches_any(&self.except, name)
    }
}
