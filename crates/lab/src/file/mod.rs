//! A venue as data: one kind of network, its events over time, and expectations.

mod action;
mod expect;
mod read;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use ipnet::{Ipv4Net, Ipv6Net};

pub use action::{Action, WordError};
pub use expect::{Check, Expect, attempt_in_words, glob};

use super::router::Advertised;
use super::{Error, Result, while_doing};

/// One venue file.
#[derive(Debug, Clone, PartialEq)]
pub struct Venue {
    /// The kind of network, in one sentence.
    pub purpose: String,
    /// TOML text added to the gateway's settings as a drop-in.
    pub settings: String,
    /// The nodes get addresses from the head by DHCP; otherwise they have static ones.
    pub nodes_by_dhcp: bool,
    /// The translator's program runs beside the gateway.
    pub clat: bool,
    /// One for each uplink of the head, the preferred one first.
    pub networks: Vec<Network>,
    /// Events and expectations, sorted by time; never empty.
    pub moments: Vec<Moment>,
}

/// One network of the venue, into which one port of the head is plugged.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// The head's port: `eth1`.
    pub port: String,
    /// The port of an earlier network into whose switch this port is plugged too; then only the
    /// DHCP address counts here.
    pub shares: Option<String>,
    /// False: the head has no such port until a step inserts it.
    pub present: bool,
    /// False: no cable until a step plugs it in.
    pub plugged: bool,
    /// The router's addresses; the first is also the default for router and resolver.
    pub address: Vec<Ipv4Net>,
    /// The prefix that the router advertises.
    pub ipv6: Option<Ipv6Net>,
    /// The interface identifier of the head's SLAAC address; `None`: derived from its hardware
    /// address.
    pub token: Option<Ipv6Addr>,
    /// Further contents of the advertisements; `None`: dnsmasq advertises the prefix alone.
    pub ra: Option<Advertised>,
    /// Advertisements of a second router on the same wire, which forwards nothing.
    pub second_ra: Option<Advertised>,
    /// The address that DHCPv6 assigns to the head.
    pub dhcpv6: Option<Ipv6Addr>,
    /// The DHCP client on the head's port.
    pub client: Client,
    /// The NAT64 prefix of the internet's IPv4 hosts.
    pub nat64: Option<Ipv6Net>,
    /// The prefix with which the venue's resolver answers for `ipv4only.arpa`.
    pub dns64: Option<Ipv6Net>,
    /// The address of a translator from IPv4 to IPv6 on the head's port, with a default route by
    /// the IPv6 router (RFC 6877). The router accepts its packets untranslated.
    pub translator: Option<Ipv4Net>,
    /// Address of a computer of the venue; without one, its checks run on the router.
    pub laptop: Option<Ipv4Net>,
    /// MTU of the venue, in bytes; announced by DHCP if it is not 1500. "Fragmentation needed" is
    /// never sent.
    pub mtu: u16,
    pub internet: Internet,
    /// The DHCP client falls back to an address of 169.254/16 if no server replies.
    pub fallback: bool,
    pub dhcp: Option<Dhcp>,
}

impl Network {
    /// Returns the head's address in this network, if the file determines it.
    pub fn head(&self) -> Option<IpAddr> {
        let made = self.ipv6.zip(self.token).map(|(prefix, token)| {
            Ipv6Addr::from_bits(prefix.network().to_bits() | token.to_bits())
        });
        let leased = self.dhcp.as_ref().map(|dhcp| dhcp.address.into());
        leased.or(self.dhcpv6.or(made).map(IpAddr::V6))
    }
}

/// `[network.dhcp]`: configuration of the server.
#[derive(Debug, Clone, PartialEq)]
pub struct Dhcp {
    pub server: DhcpServer,
    /// The head's lease.
    pub address: Ipv4Addr,
    pub lease: Duration,
    /// Default: that of the router's first address.
    pub netmask: Option<Ipv4Addr>,
    /// Option 3; `Some(None)`: no such option.
    pub router: Option<Option<Ipv4Addr>>,
    /// Option 6; `Some(None)`: no such option.
    pub resolver: Option<Option<Ipv4Addr>>,
    /// Options 121 and 249: destination and gateway; a client that supports them ignores option 3
    /// (RFC 3442).
    pub routes: Vec<(Ipv4Net, Ipv4Addr)>,
    /// Option 114: URL of the captive portal (RFC 8910).
    pub portal: Option<String>,
    /// Option 108: how long a client that requests it should disable IPv4 (RFC 8925).
    pub ipv6_only: Option<Duration>,
}

/// Selects the DHCP client. busybox's is always available; dhcpcd is a client of Raspberry Pi OS,
/// processes router advertisements itself, and is configured to support option 108.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    Udhcpc,
    Dhcpcd,
}

/// Selects the DHCP server. dnsmasq never leases for less than two minutes; busybox's udhcpd does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DhcpServer {
    Dnsmasq,
    Udhcpd,
}

/// Describes what is reachable behind the venue's router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Internet {
    Open,
    /// HTTP is redirected to the venue's portal, all else but DNS is dropped.
    Portal,
    /// Nothing.
    Dead,
    /// IPv6 only.
    DeadIpv4,
}

/// Steps at the same time, then expectations that must be met before the next moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Moment {
    /// Time after the start. A test continues earlier if all expectations are met, a demo does not.
    pub at: Duration,
    pub steps: Vec<Step>,
    pub expects: Vec<Expect>,
}

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub action: Action,
    /// A caption for users; without one, the action is described.
    pub say: Option<String>,
}

impl Venue {
    /// Reads a file.
    ///
    /// # Errors
    /// All faults, as `file:line:column: what is wrong, what would be right`.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(while_doing(format!("cannot read {}", path.display())))?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// Parses a text as [`Venue::read`] does a file; `name` is the file name in the faults.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        read::venue(text).map_err(|faults| {
            let lines: Vec<String> = faults.iter().map(|fault| format!("{name}:{fault}")).collect();
            Error(lines.join("\n"))
        })
    }
}

#[cfg(test)]
mod tests;
