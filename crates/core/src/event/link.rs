//! What the kernel reports of the network, by rtnetlink.

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
    /// `IFLA_ADDRESS`, where it has six bytes
    pub mac: Option<Mac>,
    /// `IFF_UP`: switched on by the administrator
    pub up: bool,
    /// `IFF_LOWER_UP` and an operational state that is not down: there is a cable, or a radio
    /// association
    pub carrier: bool,
    /// `IFF_LOOPBACK`
    pub loopback: bool,
    /// a radio (has a `phy80211` in sysfs, or its name begins with `wl`)
    pub wireless: bool,
    /// `IFLA_MASTER`: the bridge or bond it is a port of
    pub master: Option<LinkIndex>,
    /// `IFLA_INFO_KIND`: "veth", "bridge", "vlan", "wireguard", …; `None` for hardware
    pub kind: Option<String>,
    /// `IFLA_LINK` when this is a VLAN or macvlan: its parent
    pub parent: Option<LinkIndex>,
    /// `IFLA_MTU`, bytes
    pub mtu: u32,
}

impl Link {
    /// Returns a wired interface as most are: switched on, with a cable, without a role.
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

/// `rtm_protocol`, `FRA_PROTOCOL`, `IFA_PROTO` of every route, rule and address of ours.
pub const ROUTE_PROTOCOL: u8 = 98;

/// An address on an interface (`RTM_NEWADDR`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub index: LinkIndex,
    /// host part kept: `10.99.0.126/24`
    pub address: IpNet,
    /// `IFA_F_TENTATIVE` (and not optimistic): duplicate address detection is still running
    pub tentative: bool,
    /// `IFA_F_DEPRECATED`
    pub deprecated: bool,
    /// `IFA_F_TEMPORARY`: a privacy address
    pub temporary: bool,
    /// `RT_SCOPE_LINK` or `fe80::/10`, `169.254.0.0/16`: not good beyond the wire
    pub link_local: bool,
    /// `ifa_valid` of `IFA_CACHEINFO`; `None` = for ever
    pub valid_for: Option<Duration>,
    /// `IFA_PROTO`: who put it there; 0 where that is unknown, and before kernel 5.18
    pub protocol: u8,
}

impl Address {
    /// Returns an address as the operator writes it: good everywhere, for ever.
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

/// Holds a unicast route (`RTM_NEWROUTE`); a multipath route is one event for each next hop.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// `RTA_TABLE`: 254 is main
    pub table: u32,
    /// `0.0.0.0/0` or `::/0` is the default route
    pub destination: IpNet,
    /// `RTA_GATEWAY` (or `RTA_VIA`)
    pub gateway: Option<IpAddr>,
    /// `RTA_OIF`
    pub index: LinkIndex,
    /// `RTA_PRIORITY`: lower is better
    pub metric: u32,
    /// `rtm_protocol`: who put it there
    pub protocol: u8,
    /// `RTNH_F_ONLINK`
    pub onlink: bool,
    /// `RTA_PREFSRC`
    pub preferred_source: Option<IpAddr>,
    /// `RTAX_MTU` of `RTA_METRICS`, in bytes: a limit below the interface's own. Of IPv4 only: the
    /// kernel changes that of an IPv6 route in place, without an event.
    pub mtu: Option<u32>,
}

/// An IPv6 address that an interface answers for without having it (`RTN_ANYCAST`): a program's
/// socket holds it (`IPV6_JOIN_ANYCAST`, linux/in6.h), and it goes with that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Anycast {
    pub index: LinkIndex,
    pub address: Ipv6Addr,
}

/// An IPv6 prefix that was delegated to this machine by DHCPv6 (RFC 8415, section 6.3). Its client
/// has an `unreachable` route of it (RFC 7084, WPD-5), as dhcpcd and systemd-networkd do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Delegated(pub Ipv6Net);

/// A policy routing rule (`RTM_NEWRULE`), as much of it as we need to know our own and see others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// `FRA_PRIORITY`: smaller is asked first
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
    /// `fwmark MARK/MASK`: (mark, mask)
    pub mark: Option<(u32, u32)>,
    /// `lookup TABLE`; 0 where the rule does something else
    pub table: u32,
    /// `suppress_prefixlength N`: a route of this prefix length or a shorter one counts as none
    pub suppress: Option<u8>,
    /// `FRA_PROTOCOL`
    pub protocol: u8,
    /// whose packets, and which, it takes
    pub flow: Flow,
}

/// What a rule takes beside addresses, ports of the machine and marks; `None` takes all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Flow {
    /// `uidrange FIRST-LAST`
    pub uids: Option<(u32, u32)>,
    /// `ipproto`: 1 is ICMP, 6 TCP, 17 UDP
    pub ip_protocol: Option<u8>,
    /// `sport FIRST-LAST`
    pub source_ports: Option<(u16, u16)>,
    /// `dport FIRST-LAST`
    pub destination_ports: Option<(u16, u16)>,
    /// `tos`, or `dscp` shifted to where the IP header has it
    pub tos: Option<u8>,
}

/// Per-interface IPv4 settings: those that `RTM_NEWNETCONF` (`RTNLGRP_IPV4_NETCONF`) reports when
/// they change, and those that only the link's own message holds. `None`: not in the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Netconf {
    pub index: LinkIndex,
    /// `NETCONFA_FORWARDING`
    pub forwarding: Option<bool>,
    /// `NETCONFA_RP_FILTER`: 0 off, 1 strict, 2 loose
    pub rp_filter: Option<u8>,
    /// `IPV4_DEVCONF_ARP_IGNORE`: 1 answers only for addresses of the interface that was asked;
    /// not in netconf
    pub arp_ignore: Option<u8>,
    /// `IPV4_DEVCONF_ARP_ANNOUNCE`: 2 asks only with addresses of the interface that asks; not in
    /// netconf
    pub arp_announce: Option<u8>,
    /// `IPV4_DEVCONF_ACCEPT_REDIRECTS`: 0 follows no ICMP redirect; not in netconf
    pub accept_redirects: Option<u8>,
    /// `IPV4_DEVCONF_SEND_REDIRECTS`: 0 sends none, where "all" is 0 as well; not in netconf
    pub send_redirects: Option<u8>,
    /// `IPV4_DEVCONF_ACCEPT_SOURCE_ROUTE`: 0 drops packets with the option; not in netconf
    pub accept_source_route: Option<u8>,
}

impl Netconf {
    /// The index of `conf/all` (`NETCONFA_IFINDEX_ALL`, -1): its forwarding is
    /// `net.ipv4.ip_forward`.
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

/// Names the port whose neighbours are heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeighbourPlan {
    pub index: LinkIndex,
    /// the head's address in the nodes' IPv6 network; `None`: they get no IPv6
    pub ipv6: Option<Ipv6Net>,
}

impl NeighbourPlan {
    /// Returns whether a neighbour at this address is a node's: of IPv6 those in the nodes'
    /// network, but for the head's own address, which the kernel learns of any computer that sends
    /// from it.
    pub fn counts(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(_) => true,
            IpAddr::V6(address) => {
                self.ipv6.is_some_and(|net| net.contains(&address) && net.addr() != address)
            }
        }
    }
}

/// Names the ports, and the addresses of ours at each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConflictPlan {
    pub ports: Vec<ConflictPort>,
    /// of all ports of this machine, in order: what comes from them is ours
    pub own: Vec<Mac>,
}

/// Names one port with a carrier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConflictPort {
    pub index: LinkIndex,
    pub mac: Mac,
    pub addresses: Vec<Ipv4Addr>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Linux 6.12 notes any computer as a neighbour that asks it something from its own address.
    #[test]
    fn a_node_that_sends_from_the_heads_address_has_it_not() {
        let plan = NeighbourPlan { index: 2, ipv6: "fd12:3456:789a:1::1/64".parse().ok() };
        let counts = |address: &str| plan.counts(address.parse().unwrap());
        assert!(counts("fd12:3456:789a:1::2") && counts("192.168.50.1"));
        assert!(!counts("fd12:3456:789a:1::1"));
        assert!(!counts("fe80::1") && !counts("2001:db8::1"));
    }
}
