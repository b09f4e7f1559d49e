//! Alert codes and subjects: plain data that facts, decisions, pages and commands share.

mod legacy;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

pub use crate::api::status::Severity;
use crate::config::Mac;

/// Selects the journal record of an alert that is raised or cleared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Journal {
    /// A record of the alert itself.
    Alert,
    /// None: its cause (a failed output, a node's health, the internet) is recorded already.
    Cause,
}

/// Classifies the subjects of a code's alerts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubjectKind {
    /// The gateway, display or head as a whole: one alert at a time.
    Whole,
    Port,
    Node,
    /// Several nodes: acknowledged per node, so that one that recovers raises no new alert.
    Nodes,
    Group,
    Address,
    Chain,
    Rule,
    Forward,
    Share,
    Part,
}

macro_rules! alert_codes {
    ($($code:ident $name:literal $severity:ident $subject:ident $panel:expr, $journal:ident, $remedy:expr;)*) => {
        /// Identifies a kind of alert; the table below has one row for each.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum AlertCode { $($code),* }

        impl AlertCode {
            /// All codes, sorted by name.
            pub const ALL: &'static [Self] = &[$(Self::$code),*];

            const fn row(self) -> &'static Row {
                match self {
                    $(Self::$code => &Row {
                        name: $name,
                        severity: Severity::$severity,
                        subject: SubjectKind::$subject,
                        panel: $panel,
                        journal: Journal::$journal,
                        remedy: $remedy,
                    }),*
                }
            }
        }
    };
}

/// Attributes of one code.
struct Row {
    name: &'static str,
    severity: Severity,
    subject: SubjectKind,
    panel: Option<&'static str>,
    journal: Journal,
    remedy: Option<&'static str>,
}

// Sorted by name, as alerts are listed by severity and then by code. The columns: wire name;
// default severity; subject; words on the panel (`{}` is the subject, `None`: they depend on
// more); journal record; remedy, if it is always the same (`None`: the text contains it, or there
// is none).
alert_codes! {
    GatewayAddressTaken "gateway-address-taken" Fault Whole Some("ADDRESS TAKEN"), Alert,
        Some("give that board another address, or unplug it");
    GatewayBlocked "gateway-blocked" Fault Chain None, Alert, None;
    GatewayConntrack "gateway-conntrack" Warning Whole Some("CONNTRACK FULL"), Alert,
        Some("raise net.netfilter.nf_conntrack_max");
    GatewayDhcpFull "gateway-dhcp-full" Warning Whole Some("DHCP FULL"), Alert, None;
    GatewayDhcpHeld "gateway-dhcp-held" Notice Whole Some("DHCP WAITS"), Alert, None;
    GatewayDhcpUnasked "gateway-dhcp-unasked" Warning Whole Some("DHCP OFF"), Alert, None;
    GatewayDisturbed "gateway-disturbed" Fault Whole Some("RULES FLUSHED"), Alert,
        Some("stop it (gateway.protect keeps it off on kernels from 6.9 on)");
    GatewayDnsmasqFailed "gateway-dnsmasq-failed" Warning Whole Some("DHCP FAULT"), Cause, None;
    GatewayDnsmasqMissing "gateway-dnsmasq-missing" Warning Whole Some("NO DNSMASQ"), Cause, None;
    GatewayDnsmasqNoNames "gateway-dnsmasq-no-names" Warning Whole Some("NO NODE DNS"), Alert, None;
    GatewayDrops "gateway-drops" Notice Part Some("DROPS {}"), Alert, None;
    GatewayForeignDhcp "gateway-foreign-dhcp" Fault Whole Some("PORTS SWAPPED?"), Cause,
        Some("are the cables of uplink and cluster swapped? (`bramblegate doctor`)");
    GatewayLink "gateway-link" Fault Whole Some("PORT FAULT"), Cause, None;
    GatewayNeighbours "gateway-neighbours" Warning Whole Some("NEIGHBOURS FULL"), Alert, None;
    GatewayNetboot "gateway-netboot" Warning Part Some("{}"), Alert, None;
    GatewayNotLoaded "gateway-not-loaded" Fault Whole Some("NO FIREWALL"), Cause, None;
    GatewayOverlap "gateway-overlap" Notice Whole Some("OVERLAP"), Alert, None;
    GatewayPortAbsent "gateway-port-absent" Warning Whole Some("NO CLUSTER PORT"), Alert, None;
    GatewayPortEnslaved "gateway-port-enslaved" Fault Port None, Alert, None;
    GatewayPortNoCarrier "gateway-port-no-carrier" Notice Whole Some("NO SWITCH"), Alert, None;
    GatewayRenumbered "gateway-renumbered" Warning Whole Some("CLUSTER MOVED"), Alert, None;
    GatewayRouting "gateway-routing" Fault Whole Some("ROUTING FAULT"), Cause, None;
    GatewayRule "gateway-rule" Fault Rule Some("RULE {}"), Alert, None;
    GatewayUnknownPort "gateway-unknown-port" Notice Port Some("{} NO ROLE"), Alert, None;
    HostBootFile "host-boot-file" Warning Whole Some("BOOT FILE WRONG"), Alert, None;
    HostClock "host-clock" Notice Whole Some("CLOCK UNSET"), Alert,
        Some("certificates look invalid until a time server answers (timedatectl)");
    HostDisk "host-disk" Warning Whole Some("DISK FULL"), Alert,
        Some("see what fills it: sudo du -xh / | sort -h | tail");
    HostInodes "host-inodes" Warning Whole Some("INODES FULL"), Alert,
        Some("too many small files: sudo du --inodes -x / | sort -n | tail");
    HostMemory "host-memory" Warning Whole Some("LOW MEMORY"), Alert,
        Some("see what uses it: ps aux --sort=-rss | head");
    HostNoNetRaw "host-no-net-raw" Warning Whole Some("NO PROBES"), Alert,
        Some("start the gateway as the service, or as root");
    HostNotSetUp "host-not-set-up" Notice Whole Some("RUN SETUP"), Alert,
        Some("sudo bramblegate setup");
    HostPressure "host-pressure" Warning Part Some("{}"), Alert, None;
    HostReadOnly "host-read-only" Fault Whole Some("DISK READONLY"), Alert,
        Some("the card or disk is failing; save what is on it, see dmesg, and replace it");
    HostSensor "host-sensor" Warning Whole Some("SENSOR HANGS"), Alert, None;
    HostState "host-state" Notice Whole Some("STATE NOT KEPT"), Alert, None;
    HostStatusSocket "host-status-socket" Notice Whole Some("STATUS SOCKET"), Cause, None;
    HostTemperature "host-temperature" Warning Whole Some("HOT"), Alert, Some("give it air, or a \
        fan");
    HostThrottled "host-throttled" Warning Whole Some("THROTTLED"), Alert,
        Some("cool it better (vcgencmd get_throttled shows why)");
    HostUnderVoltage "host-under-voltage" Warning Whole Some("LOW VOLT"), Alert,
        Some("use a stronger power supply and a short, thick cable");
    LcdError "lcd-error" Notice Whole Some("LCD ERROR"), Cause, None;
    LedError "led-error" Notice Whole Some("LED ERROR"), Cause, None;
    NodeAwaited "node-awaited" Notice Whole Some("nodes awaited"), Cause, None;
    NodeDegraded "node-degraded" Warning Nodes None, Cause, None;
    NodeDown "node-down" Warning Nodes Some("{} down"), Cause, None;
    NodeDuplicateAddress "node-duplicate-address" Warning Address Some("TWICE {}"), Alert,
        Some("give one of them another address, or leave both on DHCP");
    NodeDuplicateName "node-duplicate-name" Warning Node Some("TWICE {}"), Alert, None;
    NodeFlapping "node-flapping" Warning Nodes Some("{} flapping"), Cause, None;
    NodeFlood "node-flood" Notice Port Some("FLOOD {}"), Alert, None;
    NodeForwardHides "node-forward-hides" Warning Forward Some("{} TO NODE"), Alert, None;
    NodeForwardLost "node-forward-lost" Warning Forward Some("NO WAY {}"), Alert, None;
    NodeForwardOverlap "node-forward-overlap" Notice Whole Some("NO FORWARD"), Alert, None;
    NodeGroupDown "node-group-down" Warning Nodes None, Cause, None;
    NodeGroupFault "node-group-fault" Fault Group Some("{} FAULT"), Alert, None;
    NodeNamedAsHead "node-named-as-head" Notice Node Some("TWICE {}"), Alert,
        Some("in the cluster it leads to the node; give one of them another (`bramblegate check` \
              says where)");
    NodeSwapped "node-swapped" Warning Node Some("{} SWAPPED"), Alert, None;
    ShareErrors "share-errors" Warning Share Some("{} ERRORS"), Alert,
        Some("save what is on it, see dmesg, and check it (fsck) or replace it");
    ShareFull "share-full" Warning Share Some("{} FULL"), Alert, None;
    ShareMissing "share-missing" Warning Share Some("{} MISSING"), Alert, None;
    ShareNotExported "share-not-exported" Warning Share Some("{} NOT SHARED"), Alert, None;
    ShareReadOnly "share-read-only" Warning Share Some("{} READONLY"), Alert,
        Some("the disk may be failing; save what is on it, see dmesg, and mount it again");
    UplinkAddressTaken "uplink-address-taken" Warning Port Some("{} ADDR TAKEN"), Alert, None;
    UplinkBlocked "uplink-blocked" Warning Port Some("{} BLOCKED"), Alert, None;
    UplinkClash "uplink-clash" Fault Whole None, Alert, None;
    UplinkEnslaved "uplink-enslaved" Warning Port None, Alert, None;
    UplinkExitBy "uplink-exit-by" Warning Port Some("EXIT BY {}"), Alert, None;
    UplinkFailover "uplink-failover" Notice Port Some("NODES BY {}"), Alert, None;
    UplinkLeaseNotRenewed "uplink-lease-not-renewed" Warning Port Some("NOT RENEWED"), Alert, None;
    UplinkNoExit "uplink-no-exit" Fault Port Some("NO EXIT"), Alert, None;
    UplinkNoInternet "uplink-no-internet" Warning Port Some("NO INTERNET"), Cause, None;
    UplinkNoIpv4 "uplink-no-ipv4" Notice Port Some("NODES OFFLINE"), Alert, None;
    UplinkNoRoute "uplink-no-route" Warning Port Some("NO ROUTER"), Alert, None;
    UplinkNone "uplink-none" Notice Whole None, Cause, None;
    UplinkPortal "uplink-portal" Warning Port Some("PORTAL"), Cause, None;
    UplinkTranslator "uplink-translator" Warning Port Some("NO TRANSLATOR"), Alert, None;
}

impl AlertCode {
    /// Returns the stable name in status, journal and manual; begins with its area, as in
    /// "node-down".
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// Returns the default severity, which the facts may raise or lower.
    pub const fn severity(self) -> Severity {
        self.row().severity
    }

    /// Returns the kind of subject of its alerts.
    pub const fn subject(self) -> SubjectKind {
        self.row().subject
    }

    /// Returns the journal record of its alerts.
    pub const fn journal(self) -> Journal {
        self.row().journal
    }

    /// Returns the remedy that ends the text of each alert, if it is always the same.
    pub const fn remedy(self) -> Option<&'static str> {
        self.row().remedy
    }

    /// Returns the few words for the display; empty if they depend on more than the subject.
    pub fn panel(self, subject: &Subject) -> String {
        let words = self.row().panel.unwrap_or_default();
        words.replace("{}", &subject.words())
    }

    /// Returns whether it is about nodes, so that it may take as long as they need to start.
    pub fn is_of_nodes(self) -> bool {
        self.name().starts_with("node-")
    }
}

impl fmt::Display for AlertCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Reports that no alert has this code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownCode;

impl FromStr for AlertCode {
    type Err = UnknownCode;

    fn from_str(name: &str) -> Result<Self, UnknownCode> {
        Self::ALL.iter().copied().find(|code| code.name() == name).ok_or(UnknownCode)
    }
}

macro_rules! parts {
    ($($part:ident $name:literal $panel:literal;)*) => {
        /// Distinguishes alerts of one code that may be raised at the same time.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Part { $($part),* }

        impl Part {
            pub const ALL: &'static [Self] = &[$(Self::$part),*];

            const fn name(self) -> &'static str {
                match self { $(Self::$part => $name),* }
            }

            const fn panel(self) -> &'static str {
                match self { $(Self::$part => $panel),* }
            }
        }
    };
}

// Name and words on the panel.
parts! {
    BootFile "boot-file" "BOOT FILE CLOSED";
    BootFolder "boot-folder" "NO BOOT FILES";
    Dhcp "dhcp" "DHCP";
    Disk "disk" "DISK BUSY";
    Forged "forged" "FORGED";
    IpxeScript "ipxe-script" "NO IPXE SCRIPT";
    Memory "memory" "MEMORY BUSY";
    Processor "processor" "BUSY";
    Routers "routers" "ROUTERS";
    Strangers "strangers" "STRANGERS";
    Strays "strays" "STRAYS";
    Transit "transit" "TRANSIT";
}

/// Identifies the subject of an alert.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// The only one of its kind, or several that are not distinguished.
    Whole,
    Port(String),
    Node(String),
    /// A group of nodes.
    Group(String),
    Address(IpAddr),
    /// A board that belongs to no node.
    Board(Mac),
    /// A chain of another program: "ip filter FORWARD".
    Chain(String),
    /// A routing rule of another program, by its preference.
    Rule(u32),
    /// A forwarded port: "tcp:2201".
    Forward(String),
    /// A shared disk, by its name.
    Share(String),
    Part(Part),
}

impl Subject {
    /// Returns its name on the display.
    fn words(&self) -> String {
        match self {
            Self::Whole => String::new(),
            Self::Port(name)
            | Self::Node(name)
            | Self::Group(name)
            | Self::Chain(name)
            | Self::Share(name) => name.clone(),
            Self::Address(address) => address.to_string(),
            Self::Board(mac) => mac.to_string(),
            Self::Rule(preference) => preference.to_string(),
            Self::Forward(port) => port.rsplit(':').next().unwrap_or_default().to_owned(),
            Self::Part(part) => part.panel().to_owned(),
        }
    }
}

/// Formats it as it is saved: "port=eth1", "node=rpi1"; empty for [`Subject::Whole`].
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => Ok(()),
            Self::Port(name) => named(f, "port=", name),
            Self::Node(name) => named(f, "node=", name),
            Self::Group(name) => named(f, "group=", name),
            Self::Address(address) => write!(f, "address={address}"),
            Self::Board(mac) => write!(f, "board={mac}"),
            Self::Chain(chain) => named(f, "chain=", chain),
            Self::Rule(preference) => write!(f, "rule={preference}"),
            Self::Forward(port) => named(f, "forward=", port),
            Self::Share(name) => named(f, "share=", name),
            Self::Part(part) => named(f, "part=", part.name()),
        }
    }
}

fn named(f: &mut fmt::Formatter<'_>, kind: &str, name: &str) -> fmt::Result {
    f.write_str(kind)?;
    f.write_str(name)
}

/// Reports that a text is no saved code and subject of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownSubject;

impl FromStr for Subject {
    type Err = UnknownSubject;

    fn from_str(text: &str) -> Result<Self, UnknownSubject> {
        if text.is_empty() {
            return Ok(Self::Whole);
        }
        let (kind, value) = text.split_once('=').ok_or(UnknownSubject)?;
        let name = || value.to_owned();
        Ok(match kind {
            "port" => Self::Port(name()),
            "node" => Self::Node(name()),
            "group" => Self::Group(name()),
            "address" => Self::Address(value.parse().map_err(|_| UnknownSubject)?),
            "board" => Self::Board(value.parse().map_err(|_| UnknownSubject)?),
            "chain" => Self::Chain(name()),
            "rule" => Self::Rule(value.parse().map_err(|_| UnknownSubject)?),
            "forward" => Self::Forward(name()),
            "share" => Self::Share(name()),
            "part" => {
                let part = Part::ALL.iter().copied().find(|part| part.name() == value);
                Self::Part(part.ok_or(UnknownSubject)?)
            }
            _ => return Err(UnknownSubject),
        })
    }
}

/// Identifies an alert over time, while the figures in its text and its words on the panel change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlertId {
    pub code: AlertCode,
    pub subject: Subject,
}

/// Formats it as it is saved: "node-down node=rpi1", "uplink-none".
impl fmt::Display for AlertId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.subject {
            Subject::Whole => write!(f, "{}", self.code),
            subject => write!(f, "{} {subject}", self.code),
        }
    }
}

impl FromStr for AlertId {
    type Err = UnknownSubject;

    fn from_str(line: &str) -> Result<Self, UnknownSubject> {
        let (code, subject) = line.split_once(' ').unwrap_or((line, ""));
        let code = code.parse().map_err(|_| UnknownSubject)?;
        Ok(Self { code, subject: subject.parse()? })
    }
}

/// Reports changes of the acknowledged alerts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acknowledgement {
    /// Saved by an earlier run.
    Restored(BTreeSet<AlertId>),
    /// A user acknowledged these; with the words on the panel, for the journal.
    Made(BTreeMap<AlertId, String>),
    /// After a decision: the acknowledged alerts that are still raised.
    Standing(BTreeSet<AlertId>),
}
