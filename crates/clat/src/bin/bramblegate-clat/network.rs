//! Addresses and routes, by rtnetlink. What is read goes by the types of `netlink-packet-route`;
//! what is written is a fixed header and two or three attributes each.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bramblegate_netlink::packet::address::{AddressAttribute, AddressFlags, AddressScope};
use bramblegate_netlink::packet::link::{LinkAttribute, LinkLayerType};
use bramblegate_netlink::packet::route::{RouteAddress, RouteAttribute, RouteFlags, RouteType};
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

/// Loses to every default route that a DHCP client or a user makes: their metrics are below some
/// thousands.
pub const METRIC: u32 = 4_000_000;

/// Holds what is known of the uplink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uplink {
    pub index: u32,
    /// In octets.
    pub mtu: u32,
    /// Whether it has Ethernet's headers.
    pub ethernet: bool,
}

/// Holds an IPv6 address of an interface, of global scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    pub address: Ipv6Addr,
    pub prefix_length: u8,
    pub flags: AddressFlags,
}

impl Address {
    /// Returns whether another host has it, as the kernel found.
    pub fn is_duplicate(&self) -> bool {
        self.flags.contains(AddressFlags::Dadfailed)
    }
}

/// Holds an IPv6 route of whatever table, and where it leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    pub to: Ipv6Net,
    pub metric: u32,
    pub way: Way,
}

/// Names where a route leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By this interface, to this router.
    Router(u32, Ipv6Addr),
    /// By this interface, without a router.
    Link(u32),
    /// By one of several, nowhere, or by what is not known here.
    Other,
}

/// Asks the kernel, and orders changes.
#[derive(Debug)]
pub struct Network(Socket);

impl Network {
    /// Opens a socket.
    ///
    /// # Errors
    /// The system gives none.
    pub fn open() -> Result<Self, NetlinkError> {
        Ok(Self(Socket::open(Protocol::Route, &[])?))
    }

    /// Returns an interface by its name; `None`: it is not there.
    ///
    /// # Errors
    /// The kernel gives no answer.
    pub fn link(&mut self, name: &str) -> Result<Option<Uplink>, NetlinkError> {
        let links = self.0.dump(&Listing::Links.request(), |message| {
            let link = rtnetlink::link(message)?;
            let (mut mtu, mut right) = (0, false);
            for attribute in link.attributes() {
                match attribute {
                    LinkAttribute::IfName(text) => right = text == name,
                    LinkAttribute::Mtu(octets) => mtu = octets,
                    _ => {}
                }
            }
            let ethernet = link.header.link_layer_type == LinkLayerType::Ether;
            right.then_some(Uplink { index: link.header.index, mtu, ethernet })
        })?;
        Ok(links.items.into_iter().next())
    }

    /// Lists the IPv6 addresses of an interface that are of global scope.
    ///
    /// # Errors
    /// The kernel gives no answer.
    pub fn addresses(&mut self, index: u32) -> Result<Vec<Address>, NetlinkError> {
        let all = self.all_addresses()?.into_iter();
        Ok(all.filter(|(port, _)| *port == index).map(|(_, address)| address).collect())
    }

    /// Lists the IPv6 addresses of all interfaces that are of global scope, with their interfaces.
    ///
    /// # Errors
    /// The kernel gives no answer.
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
    ///
    /// # Errors
    /// The kernel gives no answer.
    pub fn routes(&mut self) -> Result<Vec<Route>, NetlinkError> {
        Ok(self.0.dump(&Listing::Ipv6Routes.request(), route)?.items)
    }

    /// Prepares the TUN device and switches it on. It gets no IPv6 address of its own: nothing but
    /// what is translated is to come out of it.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn prepare(&mut self, index: u32, mtu: u32) -> Result<(), NetlinkError> {
        let (mut mode, mut family) = (Vec::new(), Vec::new());
        push(&mut mode, IFLA_INET6_ADDR_GEN_MODE, &[IN6_ADDR_GEN_MODE_NONE])?;
        push(&mut family, u16::from(AF_INET6) | NESTED, &mode)?;
        let header = [&[0; 4][..], &index.to_ne_bytes(), &[0; 8]].concat();
        // A kernel without IPv6 at this device has nothing to switch off.
        let quiet = Request::raw(kind::SET_LINK, header.clone());
        let _ = self.carry_out(&quiet.attribute(IFLA_AF_SPEC | NESTED, &family));
        let size = Request::raw(kind::SET_LINK, header);
        self.carry_out(&size.attribute(IFLA_MTU, &mtu.to_ne_bytes()))?;
        self.carry_out(&rtnetlink::set_up(index))
    }

    /// Gives an interface a single IPv4 address.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn add_v4(&mut self, index: u32, address: Ipv4Addr) -> Result<(), NetlinkError> {
        let request = address_request(kind::NEW_ADDRESS, AF_INET, 32, index).flags(REPLACE);
        self.carry_out(
            &request
                .attribute(IFA_LOCAL, &address.octets())
                .attribute(IFA_ADDRESS, &address.octets()),
        )
    }

    /// Gives an interface a single IPv6 address, which the kernel looks for duplicates of, answers
    /// for, and prefers for nothing. It answers also while it looks for them, where that is to be
    /// `optimistic` and the interface's settings allow it (RFC 4429).
    ///
    /// # Errors
    /// The kernel refuses; `EEXIST` where the address is there.
    pub fn add_v6(
        &mut self,
        index: u32,
        address: Ipv6Addr,
        optimistic: bool,
    ) -> Result<(), NetlinkError> {
        // struct ifa_cacheinfo: preferred for no second, valid for ever.
        let lifetimes = [0, u32::MAX, 0, 0].map(u32::to_ne_bytes);
        let optimistic = if optimistic { AddressFlags::Optimistic } else { AddressFlags::empty() };
        let flags = (AddressFlags::Noprefixroute | optimistic).bits().to_ne_bytes();
        let request = address_request(kind::NEW_ADDRESS, AF_INET6, 128, index).flags(ADD);
        self.carry_out(
            &request
                .attribute(IFA_ADDRESS, &address.octets())
                .attribute(IFA_CACHEINFO, lifetimes.as_flattened())
                .attribute(IFA_FLAGS, &flags),
        )
    }

    /// Takes a single IPv6 address away.
    ///
    /// # Errors
    /// The kernel refuses; it is not there.
    pub fn delete_v6(&mut self, index: u32, address: Ipv6Addr) -> Result<(), NetlinkError> {
        let request = address_request(kind::DEL_ADDRESS, AF_INET6, 128, index);
        self.carry_out(&request.attribute(IFA_ADDRESS, &address.octets()))
    }

    /// Makes the IPv4 default route by the device.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn add_default(
        &mut self,
        index: u32,
        source: Ipv4Addr,
        mtu: u32,
    ) -> Result<(), NetlinkError> {
        let mut metrics = Vec::new();
        push(&mut metrics, RTAX_MTU, &mtu.to_ne_bytes())?;
        self.carry_out(
            &route_request(AF_INET, 0)
                .attribute(RTA_OIF, &index.to_ne_bytes())
                .attribute(RTA_PRIORITY, &METRIC.to_ne_bytes())
                .attribute(RTA_PREFSRC, &source.octets())
                .attribute(RTA_METRICS | NESTED, &metrics),
        )
    }

    /// Leads packets for an IPv6 address to an interface; the route ends with the interface.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn add_route(&mut self, index: u32, address: Ipv6Addr) -> Result<(), NetlinkError> {
        self.carry_out(
            &route_request(AF_INET6, 128)
                .attribute(RTA_DST, &address.octets())
                .attribute(RTA_OIF, &index.to_ne_bytes()),
        )
    }

    /// Answers for an IPv6 address at an interface, or does so no longer.
    ///
    /// # Errors
    /// The kernel refuses.
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
        self.carry_out(&request.attribute(NDA_DST, &address.octets()))
    }

    fn carry_out(&mut self, request: &Request) -> Result<(), NetlinkError> {
        self.0.request(request, |_| {})
    }
}

fn route(message: &Message<'_>) -> Option<Route> {
    let read = rtnetlink::route(message)?;
    if read.header.flags.contains(RouteFlags::Cloned) {
        return None;
    }
    let (mut to, mut metric) = (Ipv6Addr::UNSPECIFIED, 0);
    let (mut interface, mut router, mut other) = (0, None, false);
    for attribute in read.attributes() {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet6(address)) => to = address,
            RouteAttribute::Priority(least) => metric = least,
            RouteAttribute::Oif(index) => interface = index,
            RouteAttribute::Gateway(RouteAddress::Inet6(address)) => router = Some(address),
            RouteAttribute::MultiPath(_)
            | RouteAttribute::Via(_)
            | RouteAttribute::EncapType(_) => other = true,
            _ => {}
        }
    }
    let way = match router {
        _ if other || interface == 0 || read.header.kind != RouteType::Unicast => Way::Other,
        Some(router) => Way::Router(interface, router),
        None => Way::Link(interface),
    };
    let to = Ipv6Net::new(to, read.header.destination_prefix_length).ok()?;
    Some(Route { to, metric, way })
}

/// `struct ifaddrmsg`.
fn address_request(kind: u16, family: u8, length: u8, index: u32) -> Request {
    Request::raw(kind, [&[family, length, 0, 0][..], &index.to_ne_bytes()].concat())
}

/// `struct rtmsg`.
fn route_request(family: u8, length: u8) -> Request {
    let scope = if family == AF_INET { RT_SCOPE_LINK } else { RT_SCOPE_UNIVERSE };
    let header = [family, length, 0, 0, RT_TABLE_MAIN, RTPROT_STATIC, scope, RTN_UNICAST];
    Request::raw(kind::NEW_ROUTE, [&header[..], &[0; 4]].concat()).flags(REPLACE)
}
