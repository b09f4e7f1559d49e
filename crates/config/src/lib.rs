//! Settings and boards: valid by construction, and every error with file, line and column. Knows
//! the panel's vocabulary and escapes what it prints as the crate `bramblegate-api` does; nothing
//! else of this workspace.
//!
//! Texts pass through four steps, each a module: a fragment for each file, checked key by key
//! against the one table of keys ([`keys`]); fragments merged, the last one wins; what is missing
//! filled in from the [`board`] and from other settings; then what only the whole can show (an
//! address outside its subnet, a name given twice). All faults are collected, none ends the
//! reading.
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

pub use fault::{Complaint, Fault, with_help};
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
    /// the board's name, as in `boards/`; never "auto": that has been resolved
    pub board: String,
    pub uplink: Uplink,
    pub gateway: Gateway,
    pub cluster: Cluster,
    /// those of `[[node]]` and those that groups make
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
    /// nothing was set up, and why: these are for showing alone. No file says that
    pub unset: Option<Unset>,
}

/// Why a head is not set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unset {
    /// there is no settings file
    NoFile,
    /// there is one on the boot partition, which was not taken over; for this reason, with what
    /// helps
    BootFile(String),
}

/// `[uplink]`
#[derive(Debug, Clone, PartialEq)]
pub struct Uplink {
    /// in order of preference; never empty
    pub interfaces: Vec<PortPattern>,
    pub probe: UplinkProbe,
    pub allow: Vec<Allow>,
    pub clat: Clat,
}

/// `uplink.clat`: whether IPv4 is translated to IPv6 on the head (RFC 6877).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clat {
    /// where the venue needs it
    Auto,
    /// wherever the venue has a NAT64
    On,
    Off,
}

/// How an interface is named in the settings: name, glob, or hardware address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PortPattern {
    /// `* ? […]`, matched with current and alternative names; a plain name is a glob without
    /// wildcards
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
    /// ICMP echo to this host
    Ping {
        host: IpAddr,
    },
    Off,
}

/// What answer says that the internet is there, or that a node is well.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HttpExpectation {
    /// this status code
    Status(u16),
    /// status 200 and this text in the body
    Body(String),
}

/// One thing that the venue may reach on the head itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Allow {
    /// TCP 22 and what sshd listens on
    Ssh,
    /// ICMP and ICMPv6 echo requests
    Icmp,
    /// UDP 5353
    Mdns,
    /// the TCP port at which the status page is
    Web,
    /// inclusive port range
    Tcp(u16, u16),
    /// inclusive port range
    Udp(u16, u16),
}

/// `[gateway]`
#[derive(Debug, Clone, PartialEq)]
pub struct Gateway {
    pub enabled: bool,
    pub on_stop: OnStop,
    pub protect: bool,
    /// ports without a role whose networks may reach the head and the nodes
    pub trust: Vec<PortPattern>,
}

/// `gateway.on_stop`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnStop {
    /// NAT outlives the daemon
    Keep,
    /// everything is put back
    Remove,
}

/// `[cluster]`
#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    pub interface: PortPattern,
    /// the head's own address in the cluster, host part kept
    pub address: Ipv4Net,
    pub fallback_addresses: Vec<Ipv4Net>,
    pub domain: String,
    pub dhcp: Option<Dhcp>,
    pub dns: Option<Dns>,
    /// the nodes' IPv6 network; `None`: they get no IPv6
    pub ipv6: Option<Ipv6Prefix>,
    /// router advertisements name the venue's NAT64 prefix (RFC 8781)
    pub pref64: bool,
    /// a node that asks for it is sent option 108: it may do without IPv4 (RFC 8925)
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
    /// the head where it serves time, else whom it asks itself
    Auto,
    Off,
    At(Ipv4Addr),
}

/// `[cluster.dns]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    /// for when the venue names no resolver
    pub fallback_servers: Vec<IpAddr>,
}

/// `cluster.ipv6.prefix`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ipv6Prefix {
    /// a unique local one (RFC 4193), made once and kept, and beside it one that the venue delegated
    Auto,
    /// the unique local one alone
    UniqueLocal,
    /// a /64 without host part
    Given(Ipv6Net),
}

/// `[cluster.netboot]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Netboot {
    pub root: PathBuf,
    /// each node sees only the folder of its own hardware address
    pub folder_per_mac: bool,
    pub bios: Option<String>,
    pub uefi_x86: Option<String>,
    pub uefi_arm64: Option<String>,
    /// what iPXE starts, on any machine
    pub ipxe: Option<String>,
}

/// `[[group]]`; one for each of its numbers
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    pub name: String,
    /// globs of names
    pub members: Vec<String>,
    pub red_below: Option<Threshold>,
}

/// `[[forward]]`: a port of the head on its uplinks that leads to a node
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
    /// by name: where it has its address now
    Node(String),
    Address(Ipv4Addr),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    Tcp,
    Udp,
}

/// `[[share]]`: a disk of the head that the nodes may use
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
    /// Returns the word of the settings, which is that of exports(5) as well.
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
    /// empty: not probed; one list for all nodes that are asked the same
    pub probes: Arc<[NodeProbe]>,
    /// the longest wait for its answers, in place of [`Health::timeout`]
    pub timeout: Option<Duration>,
    /// place in [`Settings::groups`]
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
        /// `None`: any status of 2xx or 3xx
        expect: Option<HttpExpectation>,
    },
}

/// `[health]`
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    pub interval: Duration,
    /// consecutive lost rounds after which a node is down
    pub down_after: u32,
    /// consecutive answered rounds after which a node is up again
    pub up_after: u32,
    /// how long a node that has not answered yet may take to boot before it is down
    pub boot_grace: Duration,
    /// with fewer nodes up it is a fault
    pub red_below: Threshold,
    /// the longest wait for one answer
    pub timeout: Duration,
    /// smoothed round trips above this are degraded
    pub degraded_rtt: Option<Duration>,
    /// a larger share (percent) of lost first tries is degraded
    pub degraded_loss: Option<u8>,
    /// so many changes between up and down within `flap_window` are flapping
    pub flap_changes: u32,
    pub flap_window: Duration,
}

/// `[vitals]`: from when on the head itself is not well; shares in percent
#[derive(Debug, Clone, PartialEq)]
pub struct VitalLimits {
    /// degrees Celsius
    pub temperature_above: i32,
    /// less available
    pub memory_free_below: Option<u8>,
    /// less space or inodes free
    pub disk_free_below: Option<u8>,
    /// tasks waited longer
    pub pressure: Option<u8>,
}

/// `[buttons]`, where there are any
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buttons {
    pub chip: ButtonChip,
    /// line offsets
    pub next: Option<u32>,
    pub acknowledge: Option<u32>,
    pub power: Option<u32>,
    pub active_low: bool,
}

/// `gpio.chip`, for the buttons
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ButtonChip {
    /// a GPIO chip by its label
    Gpio(String),
    /// a file in the chip's place, for demo and tests
    Emulator(PathBuf),
}

/// A count or a share of the nodes that must be up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threshold {
    Count(u32),
    Percent(u8),
}

/// `[lcd]`, after the board's values were filled in
#[derive(Debug, Clone, PartialEq)]
pub struct Lcd {
    pub bus: LcdBus,
    /// `None`: an HD44780
    pub oled: Option<LcdOled>,
    pub geometry: Geometry,
    pub charset: bramblegate_panel::Charset,
    pub backlight: Backlight,
    /// how long one page stands
    pub page_time: Duration,
    /// false: no heartbeat (for measurements and for the easily distracted)
    pub heartbeat: bool,
    pub emulator_script: Option<PathBuf>,
}

/// An OLED: `lcd.driver` and `lcd.size`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LcdOled {
    /// `None`: by what the display answers
    pub controller: Option<Controller>,
    pub resolution: Resolution,
}

/// `lcd.bus` with what belongs to each
#[derive(Debug, Clone, PartialEq)]
pub enum LcdBus {
    /// a PCF8574 backpack; `device` is `/dev/i2c-N`
    I2c {
        device: PathBuf,
        address: u8,
        wiring: Wiring,
    },
    /// the HD44780's pins on a GPIO chip found by label; `pins`: RS, E, D4..D7, optional backlight
    Gpio {
        chip: String,
        pins: GpioPins,
    },
    /// the chips' emulators; transactions also written to `log`
    Emulator {
        address: u8,
        wiring: Wiring,
        log: Option<PathBuf>,
    },
    Off,
}

/// Line offsets on the GPIO chip.
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
    /// dark after this long without news
    After(Duration),
}

/// `[led]`
#[derive(Debug, Clone, PartialEq)]
pub struct Led {
    pub device: LedDevice,
    /// 0.0 to 1.0
    pub brightness: f32,
    pub dim_after: Option<Duration>,
    /// minutes after midnight, local time: (from, to)
    pub quiet_hours: Option<(u16, u16)>,
    /// false: colours stand still (for measurements)
    pub animate: bool,
    pub emulator_script: Option<PathBuf>,
}

/// `led.device`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LedDevice {
    /// the first BlinkStick, else a kernel LED the board names
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
    /// in the order in which they are tried; never empty
    pub listen: Vec<WebAddress>,
    pub public: Public,
    /// beside the head itself; the cluster's subnet where nothing is written
    pub admin_from: Vec<IpNet>,
    /// URLs of other heads' pages, without a path
    pub heads: Vec<String>,
    /// by which the page may be called, beside those that it knows by itself
    pub names: Vec<String>,
    /// where the page's process writes its port
    pub port_file: PathBuf,
}

/// The port where the page is if none of `web.listen` is free.
pub const WEB_PORT_ELSE: u16 = 8080;

impl Web {
    /// Returns the places to try, in their order.
    pub fn places(&self) -> impl Iterator<Item = WebAddress> + '_ {
        let listed = self.listen.iter().copied();
        let other = WebAddress::Port(WEB_PORT_ELSE);
        listed.chain((!self.listen.contains(&other)).then_some(other))
    }

    /// Returns whether the page can be at a port: another one is not believed of its process.
    pub fn may_listen(&self, port: u16) -> bool {
        self.enabled && self.places().any(|place| place.port() == port)
    }
}

/// One entry of `web.listen`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebAddress {
    /// at all addresses
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
    /// no names and addresses of nodes
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
    /// without it the nodes are not shut down
    pub key: Option<PathBuf>,
    pub timeout: Duration,
    /// names and globs of what is left alone
    pub except: Vec<String>,
}

impl Shutdown {
    /// Returns whether a device of this name is left alone.
    pub fn spares(&self, name: &str) -> bool {
        group::means(&self.except, name)
    }
}
