//! What the kernel reports about the network, through rtnetlink.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::{IpNet, Ipv6Net};

use super::Mac;

/// The kernel's number of a network interface (`ifindex`).
pub type LinkIndex = u32;

/// Holds a network interface as the kernel reports it (`RTM_NEWLINK`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// `ifi_index`
    pub index: LinkIndex,
    /// `IFLA_IFNAME`
    pub name: String,
    /// `IFLA_PROP_LIST` / `IFLA_ALT_IFNAME`
    pub alternative_names: Vec<String>,
    /// `IFLA_ADDRESS`, if it has six bytes.
    pub mac: Option<Mac>,
    /// `IFF_UP`: administratively up.
    pub up: bool,
    /// `IFF_LOWER_UP` and an operational state that is not down: a cable, or a radio association.
    pub carrier: bool,
    /// `IFF_LOOPBACK`
    pub loopback: bool,
    /// A radio: it has a `phy80211` in sysfs, or its name begins with `wl`.
    pub wireless: bool,
    /// `IFLA_MASTER`: the bridge or bond it is a port of.
    pub master: Option<LinkIndex>,
    /// `IFLA_INFO_KIND`: "veth", "bridge", "vlan", "wireguard", …; `None` for hardware.
    pub kind: Option<String>,
    /// `IFLA_LINK` of a VLAN or macvlan: its parent.
    pub parent: Option<LinkIndex>,
    /// `IFLA_MTU`, bytes.
    pub mtu: u32,
}

impl Link {
    /// Returns a typical wired interface: up, with a carrier, in no bridge.
    pub fn wired(index: LinkIndex, name: &str) -> Self {
        Self {
            index,
            name: name.to_owned(),
            alternative_names: Vec::new(),
            mac: None,
            up: true,
            carrier: true,
            loopback: false,
            wireless: false,
            master: None,
            kind: None,
            parent: None,
            mtu: 1500,
        }
    }
}

/// `rtm_protocol`, `FRA_PROTOCOL`, `IFA_PROTO` of every route, rule and address that Bramblegate
/// adds.
pub const ROUTE_PROTOCOL: u8 = 98;

/// An address on an interface (`RTM_NEWADDR`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub index: LinkIndex,
    /// With its host part: `10.99.0.126/24`.
    pub address: IpNet,
    /// `IFA_F_TENTATIVE` (and not optimistic): duplicate address detection is still running.
    pub tentative: bool,
    /// `IFA_F_DEPRECATED`
    pub deprecated: bool,
    /// `IFA_F_TEMPORARY`: a privacy address.
    pub temporary: bool,
    /// `RT_SCOPE_LINK` or `fe80::/10`, `169.254.0.0/16`: not routable.
    pub link_local: bool,
    /// `ifa_valid` of `IFA_CACHEINFO`; `None`: for ever.
    pub valid_for: Option<Duration>,
    /// `IFA_PROTO`: the program that added it; 0 if unknown, and before kernel 5.18.
    pub protocol: u8,
}

impl Address {
    /// Returns a static address: global scope, unlimited lifetime.
    pub const fn lasting(index: LinkIndex, address: IpNet) -> Self {
        Self {
            index,
            address,
            tentative: false,
            deprecated: false,
            temporary: false,
            link_local: false,
            valid_for: None,
            protocol: 0,
        }
    }
}

/// Holds a unicast route (`RTM_NEWROUTE`); a multipath route is one event per next hop.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// `RTA_TABLE`: 254 is main.
    pub table: u32,
    /// `0.0.0.0/0` or `::/0` is the default route.
    pub destination: IpNet,
    /// `RTA_GATEWAY` (or `RTA_VIA`).
    pub gateway: Option<IpAddr>,
    /// `RTA_OIF`
    pub index: LinkIndex,
    /// `RTA_PRIORITY`: lower is better.
    pub metric: u32,
    /// `rtm_protocol`: the program that added it.
    pub protocol: u8,
    /// `RTNH_F_ONLINK`
    pub onlink: bool,
    /// `RTA_PREFSRC`
    pub preferred_source: Option<IpAddr>,
    /// `RTAX_MTU` of `RTA_METRICS`, in bytes. IPv4 only: the kernel changes an IPv6 route's in place,
    /// without an event.
    pub mtu: Option<u32>,
}

/// An anycast address of an interface (`RTN_ANYCAST`): a program's socket holds it
/// (`IPV6_JOIN_ANYCAST`, linux/in6.h), and the kernel removes it when the socket closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Anycast {
    pub index: LinkIndex,
    pub address: Ipv6Addr,
}

/// An IPv6 prefix delegated to this machine by DHCPv6 (RFC 8415, section 6.3), recognised by the
/// `unreachable` route to it (RFC 7084, WPD-5) that dhcpcd and systemd-networkd add.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Delegated(pub Ipv6Net);

/// A policy routing rule (`RTM_NEWRULE`): the attributes needed to recognise our own rules and to
/// judge those of other programs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// `FRA_PRIORITY`: lower is evaluated first.
    pub preference: u32,
    pub ipv6: bool,
    /// `from PREFIX`
    pub source: Option<IpNet>,
    /// `to PREFIX`
    pub destination: Option<IpNet>,
    /// `oif NAME`
    pub output: Option<String>,
    /// `iif NAME`
    pub input: Option<String>,
    /// `fwmark MARK/MASK`: (mark, mask).
    pub mark: Option<(u32, u32)>,
    /// `lookup TABLE`; 0 if the rule has another action.
    pub table: u32,
    /// `suppress_prefixlength N`: ignores routes with a prefix of this length or shorter.
    pub suppress: Option<u8>,
    /// `FRA_PROTOCOL`
    pub protocol: u8,
    pub flow: Flow,
}

/// Further selectors of a rule, beside addresses, interfaces and mark; `None` matches everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Flow {
    /// `uidrange FIRST-LAST`
    pub uids: Option<(u32, u32)>,
    /// `ipproto`: 1 is ICMP, 6 TCP, 17 UDP.
    pub ip_protocol: Option<u8>,
    /// `sport FIRST-LAST`
    pub source_ports: Option<(u16, u16)>,
    /// `dport FIRST-LAST`
    pub destination_ports: Option<(u16, u16)>,
    /// `tos`, or `dscp` shifted left by two bits as in the IP header.
    pub tos: Option<u8>,
}

/// Per-interface IPv4 settings: those that `RTM_NEWNETCONF` (`RTNLGRP_IPV4_NETCONF`) reports on
/// change, and those that only the link message contains. `None`: not in the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Netconf {
    pub index: LinkIndex,
    /// `NETCONFA_FORWARDING`
    pub forwarding: Option<bool>,
    /// `NETCONFA_RP_FILTER`: 0 off, 1 strict, 2 loose.
    pub rp_filter: Option<u8>,
    /// `IPV4_DEVCONF_ARP_IGNORE`: 1 replies only for addresses of the receiving interface; not in
    /// netconf.
    pub arp_ignore: Option<u8>,
    /// `IPV4_DEVCONF_ARP_ANNOUNCE`: 2 uses only addresses of the sending interface as ARP sender;
    /// not in netconf.
    pub arp_announce: Option<u8>,
    /// `IPV4_DEVCONF_ACCEPT_REDIRECTS`: 0 ignores ICMP redirects; not in netconf.
    pub accept_redirects: Option<u8>,
    /// `IPV4_DEVCONF_SEND_REDIRECTS`: 0 sends none, if `conf/all` is 0 too; not in netconf.
    pub send_redirects: Option<u8>,
    /// `IPV4_DEVCONF_ACCEPT_SOURCE_ROUTE`: 0 drops packets with the option; not in netconf.
    pub accept_source_route: Option<u8>,
}

impl Netconf {
    /// Index of `conf/all` (`NETCONFA_IFINDEX_ALL`, -1); its forwarding is `net.ipv4.ip_forward`.
    pub const ALL: LinkIndex = u32::MAX;
}

/// A neighbour (`RTM_NEWNEIGH`) on the cluster port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    pub index: LinkIndex,
    pub address: IpAddr,
    pub mac: Option<Mac>,
    /// `NUD_REACHABLE`, `NUD_PERMANENT` or `NUD_NOARP`
    pub reachable: bool,
}

/// Configures the neighbour watch of the cluster port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeighbourPlan {
    pub index: LinkIndex,
    /// The head's address in the nodes' IPv6 network; `None`: the nodes get no IPv6.
    pub ipv6: Option<Ipv6Net>,
    /// The same in a network that the venue delegated.
    pub delegated: Option<Ipv6Net>,
}

impl NeighbourPlan {
    /// Returns the head's addresses in the nodes' IPv6 networks.
    pub fn ipv6_addresses(&self) -> impl Iterator<Item = Ipv6Net> {
        [self.ipv6, self.delegated].into_iter().flatten()
    }

    /// Returns whether a neighbour entry of this address stands for a node. In IPv6 the address
    /// must lie in a network of the nodes and must not be the head's own: the kernel learns that one
    /// from any computer that uses it as its source.
    pub fn counts(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(_) => true,
            IpAddr::V6(address) => {
                self.ipv6_addresses().any(|net| net.contains(&address) && net.addr() != address)
            }
        }
    }
}

/// Configures IPv4 address conflict detection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConflictPlan {
    pub ports: Vec<ConflictPort>,
    /// Sorted hardware addresses of all ports of this machine: frames from them are our own.
    pub own: Vec<Mac>,
}

/// Holds a port with a carrier, and the head's addresses there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConflictPort {
    pub index: LinkIndex,
    pub mac: Mac,
    pub addresses: Vec<Ipv4Addr>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Linux 6.12 creates a neighbour entry for any computer that sends from the head's address.
    #[test]
    fn the_heads_own_address_does_not_count() {
        let ipv6 = "fd12:3456:789a:1::1/64".parse().ok();
        let plan = NeighbourPlan { index: 2, ipv6, delegated: "2001:db8:1::1/64".parse().ok() };
        let counts = |address: &str| plan.counts(address.parse().unwrap());
        assert!(counts("fd12:3456:789a:1::2") && counts("192.168.50.1"));
        assert!(counts("2001:db8:1::2"));
        assert!(!counts("fd12:3456:789a:1::1") && !counts("2001:db8:1::1"));
        assert!(!counts("fe80::1") && !counts("2001:db8::1"));
    }
}
