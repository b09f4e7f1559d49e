//! The actions in a venue: the words of `[[step]] do = "…"`.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use ipnet::Ipv4Net;

use super::super::router::Advertised;
use super::{Client, DhcpServer, Internet};

/// Describes an event. Without a port in the file, it is the first network's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// The DHCP client renews its lease.
    Renew { port: Option<String> },
    /// The DHCP server leases this address from now on.
    Lease { address: Ipv4Addr, port: Option<String> },
    /// The venue's router and its leases move to another subnet.
    Subnet { router: Ipv4Net, lease: Ipv4Addr, port: Option<String> },
    /// The DHCP server is started or stopped.
    Dhcp { on: bool, port: Option<String> },
    /// The internet behind the router changes.
    Internet { kind: Internet, port: Option<String> },
    /// The router advertises this from now on, beside the network's prefix; other NAT64 prefixes
    /// are withdrawn.
    Advertise { ra: Advertised },
    /// A second router, which forwards nothing, appears in the first network and advertises this.
    SecondRouter { ra: Advertised },
    /// The translator on the head (see [`super::Network::translator`]) is killed: only the anycast
    /// address of its socket is removed from the port.
    TranslatorDies,
    /// The cable is pulled out of the head's port.
    Pull { port: Option<String> },
    /// The cable is plugged in again.
    Plug { port: Option<String> },
    /// The cable is pulled and plugged this many times, a fifth of a second each.
    Flap { times: u32, port: Option<String> },
    /// The port appears in the head (a USB adapter plugged in).
    Insert { port: Option<String> },
    /// The port vanishes from the head.
    Remove { port: Option<String> },
    /// The DHCP client removes the address and adds it again at once.
    Readdress { port: Option<String> },
    /// A node is disconnected or reconnected.
    Node { name: String, up: bool },
    /// Another tool runs `nft flush ruleset` on the head.
    Flush,
    /// Another tool switches forwarding off on the head.
    ForwardingOff,
}

/// The syntax of all actions, for faults.
pub const FORMS: &str = "renew · lease ADDRESS · subnet ROUTER/BITS LEASE · dhcp on|off · \
    internet open|portal|dead|dead-ipv4 · advertise WORDS · second-router WORDS · translator dies · pull · plug · flap TIMES · insert · remove · readdress (each with \
    the port last, if it is not the first) · node NAME up|down · flush · forwarding off";

/// Describes an invalid word of a venue file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WordError {
    #[error("\"{0}\" is nothing that can happen; there are: {FORMS}")]
    Action(String),
    #[error("client = \"{0}\": there are udhcpc and dhcpcd")]
    Client(String),
    #[error("server = \"{0}\": there are dnsmasq and udhcpd (for leases under 2m)")]
    Server(String),
    #[error("\"{0}\" is no state of the internet; there are: open, portal, dead, dead-ipv4")]
    Internet(String),
    #[error(
        "\"{0}\" cannot be tried; there are: ping HOST · tcp HOST:PORT · http URL [STATUS] · arp \
         ADDRESS · name NAME"
    )]
    Check(String),
    #[error(
        "\"{0}\" is nothing that a router advertises; there are: managed · no-slaac · flood · \
         lifetime=SECONDS · mtu=BYTES · prefix=P · deprecated=P · nat64=P@SECONDS · portal=URL · \
         resolver=ADDRESS"
    )]
    Advertised(String),
    #[error("{0} is no IPv4 address")]
    Address(String),
    #[error("{0} is no address with its prefix length")]
    Network(String),
    #[error("{0} is no number of times")]
    Times(String),
    #[error("{0} is no HTTP status")]
    Status(String),
}

impl FromStr for Action {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let port = |rest: &[&str]| rest.first().map(|port| (*port).to_owned());
        match words.as_slice() {
            ["renew", rest @ ..] if rest.len() < 2 => Ok(Self::Renew { port: port(rest) }),
            ["lease", address, rest @ ..] if rest.len() < 2 => {
                Ok(Self::Lease { address: ipv4(address)?, port: port(rest) })
            }
            ["subnet", router, lease, rest @ ..] if rest.len() < 2 => {
                let router =
                    router.parse().map_err(|_| WordError::Network((*router).to_owned()))?;
                Ok(Self::Subnet { router, lease: ipv4(lease)?, port: port(rest) })
            }
            ["dhcp", state @ ("on" | "off"), rest @ ..] if rest.len() < 2 => {
                Ok(Self::Dhcp { on: *state == "on", port: port(rest) })
            }
            ["internet", kind, rest @ ..] if rest.len() < 2 => {
                Ok(Self::Internet { kind: kind.parse()?, port: port(rest) })
            }
            ["advertise", words @ ..] => Ok(Self::Advertise { ra: advertised(words)? }),
            ["second-router", words @ ..] => Ok(Self::SecondRouter { ra: advertised(words)? }),
            ["translator", "dies"] => Ok(Self::TranslatorDies),
            ["pull", rest @ ..] if rest.len() < 2 => Ok(Self::Pull { port: port(rest) }),
            ["plug", rest @ ..] if rest.len() < 2 => Ok(Self::Plug { port: port(rest) }),
            ["flap", times, rest @ ..] if rest.len() < 2 => {
                let times = times.parse().map_err(|_| WordError::Times((*times).to_owned()))?;
                Ok(Self::Flap { times, port: port(rest) })
            }
            ["insert", rest @ ..] if rest.len() < 2 => Ok(Self::Insert { port: port(rest) }),
            ["remove", rest @ ..] if rest.len() < 2 => Ok(Self::Remove { port: port(rest) }),
            ["readdress", rest @ ..] if rest.len() < 2 => Ok(Self::Readdress { port: port(rest) }),
            ["node", name, state @ ("up" | "down")] => {
                Ok(Self::Node { name: (*name).to_owned(), up: *state == "up" })
            }
            ["flush"] => Ok(Self::Flush),
            ["forwarding", "off"] => Ok(Self::ForwardingOff),
            _ => Err(WordError::Action(text.to_owned())),
        }
    }
}

impl fmt::Display for Action {
    /// Formats a caption for users.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |port: &Option<String>| {
            port.as_ref().map(|port| format!(" of {port}")).unwrap_or_default()
        };
        match self {
            Self::Renew { port } => write!(f, "the lease{} is renewed", at(port)),
            Self::Lease { address, .. } => write!(f, "the DHCP server now leases {address}"),
            Self::Subnet { router, .. } => write!(f, "the venue moves to {}", router.trunc()),
            Self::Dhcp { on: true, .. } => f.write_str("the DHCP server starts"),
            Self::Dhcp { on: false, .. } => f.write_str("the DHCP server dies"),
            Self::Internet { kind: Internet::Open, .. } => {
                f.write_str("the way to the internet opens")
            }
            Self::Internet { kind: Internet::Portal, .. } => {
                f.write_str("a captive portal stands in the way")
            }
            Self::Internet { kind: Internet::Dead, .. } => f.write_str("the venue's internet dies"),
            Self::Internet { kind: Internet::DeadIpv4, .. } => {
                f.write_str("IPv4 dies behind the venue's router")
            }
            Self::Advertise { ra } => write!(f, "the router advertises {ra}"),
            Self::SecondRouter { ra } => write!(f, "a second router advertises {ra}"),
            Self::TranslatorDies => f.write_str("the translator's program is killed"),
            Self::Pull { port } => write!(f, "the cable{} is pulled", at(port)),
            Self::Plug { port } => write!(f, "the cable{} is plugged in", at(port)),
            Self::Flap { times, port } => {
                write!(f, "the cable{} is loose: {times} interruptions", at(port))
            }
            Self::Insert { port } => write!(f, "the adapter{} is plugged in", at(port)),
            Self::Remove { port } => write!(f, "the adapter{} is pulled out", at(port)),
            Self::Readdress { port } => {
                write!(f, "the DHCP client drops and re-adds the address{}", at(port))
            }
            Self::Node { name, up: true } => write!(f, "{name} comes back"),
            Self::Node { name, up: false } => write!(f, "{name} dies"),
            Self::Flush => f.write_str("another tool runs nft flush ruleset"),
            Self::ForwardingOff => f.write_str("another tool switches forwarding off"),
        }
    }
}

impl FromStr for Client {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        match text {
            "udhcpc" => Ok(Self::Udhcpc),
            "dhcpcd" => Ok(Self::Dhcpcd),
            _ => Err(WordError::Client(text.to_owned())),
        }
    }
}

impl FromStr for DhcpServer {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        match text {
            "dnsmasq" => Ok(Self::Dnsmasq),
            "udhcpd" => Ok(Self::Udhcpd),
            _ => Err(WordError::Server(text.to_owned())),
        }
    }
}

impl FromStr for Internet {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        match text {
            "open" => Ok(Self::Open),
            "portal" => Ok(Self::Portal),
            "dead" => Ok(Self::Dead),
            "dead-ipv4" => Ok(Self::DeadIpv4),
            _ => Err(WordError::Internet(text.to_owned())),
        }
    }
}

fn advertised(words: &[&str]) -> Result<Advertised, WordError> {
    let words = words.join(" ");
    words.parse().map_err(|_| WordError::Advertised(words))
}

fn ipv4(text: &str) -> Result<Ipv4Addr, WordError> {
    text.parse().map_err(|_| WordError::Address(text.to_owned()))
}
