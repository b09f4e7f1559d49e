//! A venue as data: one kind of network, what happens in it over time, and what must be seen.

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
    /// One sentence: what kind of network this is.
    pub purpose: String,
    /// TOML text added to the gateway's settings as a drop-in.
    pub settings: String,
    /// The nodes ask the head for their addresses; else they have them of their own.
    pub nodes_by_dhcp: bool,
    /// The translator's program runs beside the gateway.
    pub clat: bool,
    /// One for each uplink of the head; the first is the preferred one.
    pub networks: Vec<Network>,
    /// What happens and what must be seen, in order of time; never empty.
    pub moments: Vec<Moment>,
}

/// One network of the venue, into which one port of the head is plugged.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// The head's port: `eth1`.
    pub port: String,
    /// The port of an earlier network whose switch this port is plugged into as well; then only
    /// `lease` counts here.
    pub shares: Option<String>,
    /// False: the head has no such port until a step inserts it.
    pub present: bool,
    /// False: no cable until a step plugs it in.
    pub plugged: bool,
    /// The router's addresses on the wire; the first also is the default for router and resolver.
    pub address: Vec<Ipv4Net>,
    /// The prefix that the router advertises.
    pub ipv6: Option<Ipv6Net>,
    /// The end of the address that the head makes itself of the prefix; `None`: of its port's.
    pub token: Option<Ipv6Addr>,
    /// What it advertises beyond that; `None`: dnsmasq advertises the prefix alone.
    pub ra: Option<Advertised>,
    /// What a second router on the same wire advertises, which leads nowhere.
    pub second_ra: Option<Advertised>,
    /// The single address that the head gets by DHCPv6.
    pub dhcpv6: Option<Ipv6Addr>,
    /// Who asks for addresses on the head's port.
    pub client: Client,
    /// The prefix behind which the internet's IPv4 hosts are by IPv6.
    pub nat64: Option<Ipv6Net>,
    /// The prefix with which the venue's resolver answers for `ipv4only.arpa`.
    pub dns64: Option<Ipv6Net>,
    /// The address of a translator from IPv4 to IPv6 on the head's port, with the way out by the
    /// IPv6 router (RFC 6877); the router takes its packets as if they had been translated.
    pub translator: Option<Ipv4Net>,
    /// A computer of the venue; without one its checks are made from the router.
    pub laptop: Option<Ipv4Net>,
    /// Bytes on the wire of the venue; given by DHCP if it is not 1500. "Fragmentation needed"
    /// never arrives.
    pub mtu: u16,
    pub internet: Internet,
    /// The DHCP client gives itself an address of 169.254/16 when no server answers.
    pub fallback: bool,
    pub dhcp: Option<Dhcp>,
}

impl Network {
    /// Returns the address that the head gets there, where the file gives it.
    pub fn head(&self) -> Option<IpAddr> {
        let made = self.ipv6.zip(self.token).map(|(prefix, token)| {
            Ipv6Addr::from_bits(prefix.network().to_bits() | token.to_bits())
        });
        let leased = self.dhcp.as_ref().map(|dhcp| dhcp.address.into());
        leased.or(self.dhcpv6.or(made).map(IpAddr::V6))
    }
}

/// `[network.dhcp]`: what the server answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Dhcp {
    pub server: DhcpServer,
    /// The address it gives the head.
    pub address: Ipv4Addr,
    pub lease: Duration,
    /// Default: that of the router's first address.
    pub netmask: Option<Ipv4Addr>,
    /// Option 3; `Some(None)`: no such option.
    pub router: Option<Option<Ipv4Addr>>,
    /// Option 6; `Some(None)`: no such option.
    pub resolver: Option<Option<Ipv4Addr>>,
    /// Options 121 and 249: destination and gateway; a client that takes them ignores option 3 (RFC
    /// 3442).
    pub routes: Vec<(Ipv4Net, Ipv4Addr)>,
    /// Option 114: where the venue's log-in page is (RFC 8910).
    pub portal: Option<String>,
    /// Option 108: for how long a client that asks for it is to do without IPv4 (RFC 8925).
    pub ipv6_only: Option<Duration>,
}

/// Which real client asks. busybox's is there wherever the lab is; dhcpcd is that of Raspberry Pi
/// OS, reads router advertisements itself, and is set to honour option 108.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    Udhcpc,
    Dhcpcd,
}

/// Which real server answers. dnsmasq never leases for less than two minutes; busybox's udhcpd
/// does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DhcpServer {
    Dnsmasq,
    Udhcpd,
}

/// What is behind the venue's router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Internet {
    Open,
    /// HTTP is answered by the venue with a redirect, everything else but DNS is dropped.
    Portal,
    /// The router is there, nothing behind it is.
    Dead,
    /// IPv6 goes through, IPv4 does not.
    DeadIpv4,
}

/// Steps that happen together, then what must be seen before the next moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Moment {
    /// After the start; a test goes on earlier if everything expected was seen, a demo does not.
    pub at: Duration,
    pub steps: Vec<Step>,
    pub expects: Vec<Expect>,
}

/// Something that happens.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub action: Action,
    /// A caption for users; without one the action says itself.
    pub say: Option<String>,
}

impl Venue {
    /// Reads a file; on faults, all of them as `file:line:column: what is wrong, what would be
    /// right`.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(while_doing(format!("cannot read {}", path.display())))?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// Reads a text as [`Venue::read`] does a file; `name` stands in the faults.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        read::venue(text).map_err(|faults| {
            let lines: Vec<String> = faults.iter().map(|fault| format!("{name}:{fault}")).collect();
            Error(lines.join("\n"))
        })
    }
}

#[cfg(test)]
mod tests;
