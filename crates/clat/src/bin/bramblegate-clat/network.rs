//! Addresses and routes, by rtnetlink. Parses with the types of `netlink-packet-route`; requests
//! are a fixed header and two or three attributes each.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bramblegate_netlink::packet::address::{AddressAttribute, AddressFlags, AddressScope};
use bramblegate_netlink::packet::link::{LinkAttribute, LinkLayerType};
use bramblegate_netlink::packet::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMetric, RouteType,
};
use bramblegate_netlink::rtnetlink::{ADD, Listing, REPLACE, kind};
use bramblegate_netlink::{
    Message, NESTED, NetlinkError, Protocol, Request, Socket, push, rtnetlink,
};
use ipnet::Ipv6Net;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// linux/if_link.h
const IFLA_MTU: u16 = 4;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const IN6_ADDR_GEN_MODE_NONE: u8 = 1;
/// linux/if_addr.h
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_CACHEINFO: u16 = 6;
const IFA_FLAGS: u16 = 8;
/// linux/rtnetlink.h
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_METRICS: u16 = 8;
const RTAX_MTU: u16 = 2;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_STATIC: u8 = 4;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_LINK: u8 = 253;
const RTN_UNICAST: u8 = 1;
/// linux/neighbour.h
const NDA_DST: u16 = 1;
const NTF_PROXY: u8 = 8;

/// The metric of the IPv4 default route, above those of DHCP clients and users (a few thousand at
/// most), so that their default routes win.
pub const METRIC: u32 = 4_000_000;

/// The uplink's interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uplink {
    pub index: u32,
    /// In octets.
    pub mtu: u32,
    /// Whether packets have an Ethernet header.
    pub ethernet: bool,
}

/// An IPv6 address of global scope, as an interface has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    pub address: Ipv6Addr,
    pub prefix_length: u8,
    pub flags: AddressFlags,
}

impl Address {
    /// Returns whether duplicate address detection failed: another host has the address.
    pub fn is_duplicate(&self) -> bool {
        self.flags.contains(AddressFlags::Dadfailed)
    }
}

/// An IPv6 route of any table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    pub to: Ipv6Net,
    pub metric: u32,
    /// In octets; `None`: that of the interface.
    pub mtu: Option<u32>,
    pub next_hop: NextHop,
}

/// The next hop of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextHop {
    /// A router, through the interface with this index.
    Router(u32, Ipv6Addr),
    /// The link of the interface with this index.
    Link(u32),
    /// One of several, a route that drops or encapsulates, or an unsupported kind.
    Other,
}

/// A socket for rtnetlink requests. All fail where the kernel refuses or does not answer.
#[derive(Debug)]
pub struct Network(Socket);

impl Network {
    /// Opens the socket.
    pub fn open() -> Result<Self, NetlinkError> {
        Ok(Self(Socket::open(Protocol::Route, &[])?))
    }

    /// Returns an interface by its name; `None`: it does not exist.
    pub fn link(&mut self, name: &str) -> Result<Option<Uplink>, NetlinkError> {
        let links = self.0.dump(&Listing::Links.request(), |message| {
            let link = rtnetlink::link(message)?;
            let (mut mtu, mut matches) = (0, false);
            for attribute in link.attributes() {
                match attribute {
                    LinkAttribute::IfName(text) => matches = text == name,
                    LinkAttribute::Mtu(octets) => mtu = octets,
                    _ => {}
                }
            }
            let ethernet = link.header.link_layer_type == LinkLayerType::Ether;
            matches.then_some(Uplink { index: link.header.index, mtu, ethernet })
        })?;
        Ok(links.items.into_iter().next())
    }

    /// Lists the IPv6 addresses of global scope of an interface.
    pub fn addresses(&mut self, index: u32) -> Result<Vec<Address>, NetlinkError> {
        let all = self.all_addresses()?.into_iter();
        Ok(all.filter(|(port, _)| *port == index).map(|(_, address)| address).collect())
    }

    /// Lists the IPv6 addresses of global scope of all interfaces, with the interface's index.
    pub fn all_addresses(&mut self) -> Result<Vec<(u32, Address)>, NetlinkError> {
        let addresses = self.0.dump(&Listing::Addresses.request(), |message| {
            let read = rtnetlink::address(message)?;
            if read.header.scope != AddressScope::Universe {
                return None;
            }
            let mut found = None;
            let mut flags = AddressFlags::from_bits_retain(read.header.flags.bits().into());
            for attribute in read.attributes() {
                match attribute {
                    AddressAttribute::Address(IpAddr::V6(address)) => found = Some(address),
                    AddressAttribute::Flags(all) => flags = all,
                    _ => {}
                }
            }
            let prefix_length = read.header.prefix_len;
            Some((read.header.index, Address { address: found?, prefix_length, flags }))
        })?;
        Ok(addresses.items)
    }

    /// Lists the IPv6 routes of all tables.
    pub fn routes(&mut self) -> Result<Vec<Route>, NetlinkError> {
        Ok(self.0.dump(&Listing::Ipv6Routes.request(), route)?.items)
    }

    /// Configures the TUN device and sets it up. It gets no IPv6 address of its own, so that only
    /// packets to translate are read from it.
    pub fn prepare(&mut self, index: u32, mtu: u32) -> Result<(), NetlinkError> {
        let (mut mode, mut family) = (Vec::new(), Vec::new());
        push(&mut mode, IFLA_INET6_ADDR_GEN_MODE, &[IN6_ADDR_GEN_MODE_NONE])?;
        push(&mut family, u16::from(AF_INET6) | NESTED, &mode)?;
        let header = [&[0; 4][..], &index.to_ne_bytes(), &[0; 8]].concat();
        // Fails, harmlessly, where the device has no IPv6.
        let quiet = Request::raw(kind::SET_LINK, header.clone());
        let _ = self.request(&quiet.attribute(IFLA_AF_SPEC | NESTED, &family));
        let size = Request::raw(kind::SET_LINK, header);
        self.request(&size.attribute(IFLA_MTU, &mtu.to_ne_bytes()))?;
        self.request(&rtnetlink::set_up(index))
    }

    /// Adds an IPv4 address to an interface, as a /32.
    pub fn add_v4(&mut self, index: u32, address: Ipv4Addr) -> Result<(), NetlinkError> {
        let request = address_request(kind::NEW_ADDRESS, AF_INET, 32, index).flags(REPLACE);
        self.request(
            &request
                .attribute(IFA_LOCAL, &address.octets())
                .attribute(IFA_ADDRESS, &address.octets()),
        )
    }

    /// Adds an IPv6 address to an interface, as a deprecated /128: the kernel answers for it, after
    /// duplicate address detection (DAD), but does not select it as a source. With `optimistic`, it
    /// also answers during DAD where the interface's sysctl allows it (RFC 4429).
    ///
    /// # Errors
    /// The kernel refuses; `EEXIST` where the address exists.
    pub fn add_v6(
        &mut self,
        index: u32,
        address: Ipv6Addr,
        optimistic: bool,
    ) -> Result<(), NetlinkError> {
        // struct ifa_cacheinfo: preferred for 0 s, valid for ever.
        let lifetimes = [0, u32::MAX, 0, 0].map(u32::to_ne_bytes);
        let optimistic = if optimistic { AddressFlags::Optimistic } else { AddressFlags::empty() };
        let flags = (AddressFlags::Noprefixroute | optimistic).bits().to_ne_bytes();
        let request = address_request(kind::NEW_ADDRESS, AF_INET6, 128, index).flags(ADD);
        self.request(
            &request
                .attribute(IFA_ADDRESS, &address.octets())
                .attribute(IFA_CACHEINFO, lifetimes.as_flattened())
                .attribute(IFA_FLAGS, &flags),
        )
    }

    /// Removes an IPv6 address that [`Self::add_v6`] added.
    pub fn delete_v6(&mut self, index: u32, address: Ipv6Addr) -> Result<(), NetlinkError> {
        let request = address_request(kind::DEL_ADDRESS, AF_INET6, 128, index);
        self.request(&request.attribute(IFA_ADDRESS, &address.octets()))
    }

    /// Adds the IPv4 default route through the device.
    pub fn add_default(
        &mut self,
        index: u32,
        source: Ipv4Addr,
        mtu: u32,
    ) -> Result<(), NetlinkError> {
        let mut metrics = Vec::new();
        push(&mut metrics, RTAX_MTU, &mtu.to_ne_bytes())?;
        self.request(
            &route_request(AF_INET, 0)
                .attribute(RTA_OIF, &index.to_ne_bytes())
                .attribute(RTA_PRIORITY, &METRIC.to_ne_bytes())
                .attribute(RTA_PREFSRC, &source.octets())
                .attribute(RTA_METRICS | NESTED, &metrics),
        )
    }

    /// Routes packets for an IPv6 address to an interface; the route ends with the interface.
    pub fn add_route(&mut self, index: u32, address: Ipv6Addr) -> Result<(), NetlinkError> {
        self.request(
            &route_request(AF_INET6, 128)
                .attribute(RTA_DST, &address.octets())
                .attribute(RTA_OIF, &index.to_ne_bytes()),
        )
    }

    /// Switches the NDP proxy for an IPv6 address on an interface on or off.
    pub fn set_proxy(
        &mut self,
        index: u32,
        address: Ipv6Addr,
        on: bool,
    ) -> Result<(), NetlinkError> {
        let (kind, flags) =
            if on { (kind::NEW_NEIGHBOUR, REPLACE) } else { (kind::DEL_NEIGHBOUR, 0) };
        let header =
            [&[AF_INET6, 0, 0, 0][..], &index.to_ne_bytes(), &[0, 0, NTF_PROXY, 0]].concat();
        let request = Request::raw(kind, header).flags(flags);
        self.request(&request.attribute(NDA_DST, &address.octets()))
    }

    fn request(&mut self, request: &Request) -> Result<(), NetlinkError> {
        self.0.request(request, |_| {})
    }
}

/// Parses a route; `None` for cached clones.
fn route(message: &Message<'_>) -> Option<Route> {
    let read = rtnetlink::route(message)?;
    if read.header.flags.contains(RouteFlags::Cloned) {
        return None;
    }
    let (mut to, mut metric, mut mtu) = (Ipv6Addr::UNSPECIFIED, 0, None);
    let (mut interface, mut router, mut other) = (0, None, false);
    for attribute in read.attributes() {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet6(address)) => to = address,
            RouteAttribute::Priority(priority) => metric = priority,
            RouteAttribute::Metrics(metrics) => {
                mtu = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(octets) => Some(*octets),
                    _ => None,
                });
            }
            RouteAttribute::Oif(index) => interface = index,
            RouteAttribute::Gateway(RouteAddress::Inet6(address)) => router = Some(address),
            RouteAttribute::MultiPath(_)
            | RouteAttribute::Via(_)
            | RouteAttribute::EncapType(_) => other = true,
            _ => {}
        }
    }
    let next_hop = match router {
        _ if other || interface == 0 || read.header.kind != RouteType::Unicast => NextHop::Other,
        Some(router) => NextHop::Router(interface, router),
        None => NextHop::Link(interface),
    };
    let to = Ipv6Net::new(to, read.header.destination_prefix_length).ok()?;
    Some(Route { to, metric, mtu, next_hop })
}

/// Returns a request with a `struct ifaddrmsg`.
fn address_request(kind: u16, family: u8, length: u8, index: u32) -> Request {
    Request::raw(kind, [&[family, length, 0, 0][..], &index.to_ne_bytes()].concat())
}

/// Returns a request to replace a route, with a `struct rtmsg`.
fn route_request(family: u8, length: u8) -> Request {
    let scope = if family == AF_INET { RT_SCOPE_LINK } else { RT_SCOPE_UNIVERSE };
    let header = [family, length, 0, 0, RT_TABLE_MAIN, RTPROT_STATIC, scope, RTN_UNICAST];
    Request::raw(kind::NEW_ROUTE, [&header[..], &[0; 4]].concat()).flags(REPLACE)
}
