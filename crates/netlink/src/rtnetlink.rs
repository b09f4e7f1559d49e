//! rtnetlink (`linux/rtnetlink.h`): requests and parsers, with the types of `netlink-packet-route`.
//!
//! A parser reads the fixed header first, and each attribute on demand. So a message that its
//! header rules out costs no more, and an attribute that the crate cannot parse is skipped.
//!
//! Written by hand, because the crate lacks it:
//!
//! * `RTM_NEWNETCONF`: [`netconf`];
//! * names that are not UTF-8, which the kernel allows and the crate rejects: invalid bytes are
//!   replaced;
//! * the kind of a link, which the crate parses together with the kind's settings, and drops with
//!   them if one is unknown: [`link_kind`];
//! * writing IPv4 settings, since its `DevConfRequest` omits zeros and so cannot turn anything off:
//!   [`set_inet_conf`].

use netlink_packet_core::{DecodeError, Nla, NlaBuffer, Parseable, ParseableParametrized};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressHeader};
use netlink_packet_route::link::{InetDevConf, LinkAttribute, LinkFlags, LinkHeader};
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourHeader};
use netlink_packet_route::neighbour_table::{NeighbourTableAttribute, NeighbourTableHeader};
use netlink_packet_route::route::{RouteAttribute, RouteHeader, RouteLwEnCapType};
use netlink_packet_route::rule::{RuleAttribute, RuleHeader};

use crate::message::{Attribute, Attributes, Message, push, text_of};
use crate::{NESTED, NetlinkError, Request};

/// Message types (`RTM_*` of `linux/rtnetlink.h`).
pub mod kind {
    pub const NEW_LINK: u16 = 16;
    pub const DEL_LINK: u16 = 17;
    pub const GET_LINK: u16 = 18;
    pub const SET_LINK: u16 = 19;
    pub const NEW_ADDRESS: u16 = 20;
    pub const DEL_ADDRESS: u16 = 21;
    pub const GET_ADDRESS: u16 = 22;
    pub const NEW_ROUTE: u16 = 24;
    pub const DEL_ROUTE: u16 = 25;
    pub const GET_ROUTE: u16 = 26;
    pub const NEW_NEIGHBOUR: u16 = 28;
    pub const DEL_NEIGHBOUR: u16 = 29;
    pub const GET_NEIGHBOUR: u16 = 30;
    pub const NEW_RULE: u16 = 32;
    pub const DEL_RULE: u16 = 33;
    pub const GET_RULE: u16 = 34;
    pub const NEW_NEIGHBOUR_TABLE: u16 = 64;
    pub const GET_NEIGHBOUR_TABLE: u16 = 66;
    pub const NEW_NETCONF: u16 = 80;
    pub const GET_NETCONF: u16 = 82;
    pub const NEW_NEXTHOP: u16 = 104;
    pub const DEL_NEXTHOP: u16 = 105;
}

/// Multicast groups (`RTNLGRP_*`), for [`crate::Socket::open`].
pub mod group {
    pub const LINK: u32 = 1;
    pub const NEIGHBOUR: u32 = 3;
    pub const IPV4_ADDRESS: u32 = 5;
    pub const IPV4_ROUTE: u32 = 7;
    pub const IPV4_RULE: u32 = 8;
    pub const IPV6_ADDRESS: u32 = 9;
    pub const IPV6_ROUTE: u32 = 11;
    pub const IPV6_RULE: u32 = 19;
    pub const IPV4_NETCONF: u32 = 24;
    pub const IPV6_NETCONF: u32 = 25;
    /// Since kernel 5.3.
    pub const NEXTHOP: u32 = 32;
}

/// `NLM_F_REPLACE` in a notification: it replaces an item whose removal is not announced.
pub const REPLACED: u16 = 0x100;
/// `NLM_F_CREATE` with `NLM_F_EXCL`: add, and fail if it exists.
pub const ADD: u16 = 0x600;
/// `NLM_F_CREATE` with `NLM_F_REPLACE`.
pub const REPLACE: u16 = 0x500;

/// `sizeof` `struct ifinfomsg`, `ifaddrmsg`, `rtmsg` and `fib_rule_hdr`, `ndmsg`, `ndtmsg`;
/// `netconfmsg`, padded.
const LINK: usize = 16;
const ADDRESS: usize = 8;
const ROUTE: usize = 12;
const NEIGHBOUR: usize = 12;
const NEIGHBOUR_TABLE: usize = 4;
const NETCONF: usize = 4;

/// `IFLA_IFNAME`; `FRA_IIFNAME`, `FRA_OIFNAME`
const IFLA_IFNAME: u16 = 3;
const FRA_IIFNAME: u16 = 3;
const FRA_OIFNAME: u16 = 17;
/// `FRA_DSCP` (kernel ≥ 6.13).
const FRA_DSCP: u16 = 25;
/// `IFLA_WIRELESS`, `IFLA_LINKINFO`, `IFLA_AF_SPEC`; `IFLA_INFO_KIND`; `IFLA_INET_CONF`
const IFLA_WIRELESS: u16 = 11;
const IFLA_LINKINFO: u16 = 18;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INET_CONF: u16 = 1;
/// `IFLA_STATS`, `IFLA_PROTINFO`, `IFLA_MAP`, `IFLA_STATS64`, `IFLA_XDP`: large and unused here;
/// also those with a parser of their own.
const UNREAD: [u16; 7] = [7, 12, 14, IFLA_LINKINFO, 23, IFLA_AF_SPEC, 43];
/// `AF_INET`
const INET: u16 = 2;
/// `NDA_IFINDEX`
const NDA_IFINDEX: u16 = 8;

/// A message: its fixed header, and its attributes parsed on demand.
#[derive(Debug, Clone)]
pub struct Typed<'a, Header, Read> {
    pub header: Header,
    attributes: Attributes<'a>,
    read: Read,
}

impl<'a, Header, Read, T> Typed<'a, Header, Read>
where
    Read: Fn(&NlaBuffer<&'a [u8]>, &Header) -> Option<T>,
{
    /// Returns the attributes that can be parsed, in the kernel's order.
    pub fn attributes(&self) -> impl Iterator<Item = T> {
        self.attributes.clone().filter_map(|attribute| self.parse(&attribute))
    }

    fn parse(&self, attribute: &Attribute<'a>) -> Option<T> {
        (self.read)(&attribute.buffer(), &self.header)
    }
}

/// The attribute parser of [`Typed`].
type Read<'a, Header, T> = fn(&NlaBuffer<&'a [u8]>, &Header) -> Option<T>;

fn typed<'a, Header, T>(
    message: &Message<'a>,
    header: Result<Header, DecodeError>,
    size: usize,
    read: Read<'a, Header, T>,
) -> Option<Typed<'a, Header, Read<'a, Header, T>>> {
    Some(Typed { header: header.ok()?, attributes: message.attributes_after(size), read })
}

/// Parses a link (`RTM_NEWLINK`, `RTM_DELLINK`), except its statistics, its kind ([`link_kind`])
/// and its protocol settings ([`inet_conf`]).
pub fn link<'a>(
    message: &Message<'a>,
) -> Option<Typed<'a, LinkHeader, Read<'a, LinkHeader, LinkAttribute>>> {
    typed(message, LinkHeader::parse(message.payload), LINK, |attribute, header| {
        match attribute.kind() {
            IFLA_IFNAME => Some(LinkAttribute::IfName(text_of(attribute.value()))),
            kind if UNREAD.contains(&kind) => None,
            _ => LinkAttribute::parse_with_param(attribute, header.interface_family).ok(),
        }
    })
}

/// Returns whether a link message is only a wireless extensions event (`IFLA_WIRELESS`), which
/// lacks most attributes.
pub fn is_wireless_event(message: &Message<'_>) -> bool {
    message.attributes_after(LINK).value(IFLA_WIRELESS).is_some()
}

/// Returns the kind of a link, `IFLA_LINKINFO` / `IFLA_INFO_KIND`: "veth", "bridge", …; `None` for
/// a physical port.
pub fn link_kind(message: &Message<'_>) -> Option<String> {
    message.attributes_after(LINK).nest(IFLA_LINKINFO).text(IFLA_INFO_KIND)
}

/// Returns the IPv4 settings of a link, `IFLA_AF_SPEC` / `AF_INET` / `IFLA_INET_CONF`; `None` if
/// IPv4 is off. Changes by [`set_inet_conf`] are announced here only, those in `/proc` by
/// [`netconf`] only.
pub fn inet_conf(message: &Message<'_>) -> Option<InetDevConf> {
    let settings =
        message.attributes_after(LINK).nest(IFLA_AF_SPEC).nest(INET).value(IFLA_INET_CONF)?;
    InetDevConf::parse(settings).ok()
}

/// Parses an address (`RTM_NEWADDR`, `RTM_DELADDR`).
pub fn address<'a>(
    message: &Message<'a>,
) -> Option<Typed<'a, AddressHeader, Read<'a, AddressHeader, AddressAttribute>>> {
    typed(message, AddressHeader::parse(message.payload), ADDRESS, |attribute, _| {
        AddressAttribute::parse(attribute).ok()
    })
}

/// Parses a route (`RTM_NEWROUTE`, `RTM_DELROUTE`, or the reply to `RTM_GETROUTE`).
pub fn route<'a>(
    message: &Message<'a>,
) -> Option<Typed<'a, RouteHeader, Read<'a, RouteHeader, RouteAttribute>>> {
    typed(message, RouteHeader::parse(message.payload), ROUTE, |attribute, header| {
        let encapsulation = RouteLwEnCapType::None;
        RouteAttribute::parse_with_param(
            attribute,
            (header.address_family, header.kind, encapsulation),
        )
        .ok()
    })
}

/// Parses a policy routing rule (`RTM_NEWRULE`, `RTM_DELRULE`).
pub fn rule<'a>(
    message: &Message<'a>,
) -> Option<Typed<'a, RuleHeader, Read<'a, RuleHeader, RuleAttribute>>> {
    typed(message, RuleHeader::parse(message.payload), ROUTE, |attribute, _| {
        match attribute.kind() {
            FRA_IIFNAME => Some(RuleAttribute::Iifname(text_of(attribute.value()))),
            FRA_OIFNAME => Some(RuleAttribute::Oifname(text_of(attribute.value()))),
            _ => RuleAttribute::parse(attribute).ok(),
        }
    })
}

/// Returns the type of service that a rule selects: that of its header, or the DSCP attribute,
/// shifted to its position in the IP header. `None` if it selects all.
pub fn rule_tos(header: &RuleHeader, attributes: &[RuleAttribute]) -> Option<u8> {
    let dscp = attributes.iter().find(|attribute| attribute.kind() == FRA_DSCP).and_then(|dscp| {
        let mut value = [0];
        (dscp.value_len() == value.len()).then(|| dscp.emit_value(&mut value))?;
        Some(value[0] << 2)
    });
    dscp.or(Some(header.tos).filter(|tos| *tos != 0))
}

/// Parses a neighbour (`RTM_NEWNEIGH`, `RTM_DELNEIGH`).
pub fn neighbour<'a>(
    message: &Message<'a>,
) -> Option<Typed<'a, NeighbourHeader, Read<'a, NeighbourHeader, NeighbourAttribute>>> {
    typed(message, NeighbourHeader::parse(message.payload), NEIGHBOUR, |attribute, header| {
        NeighbourAttribute::parse_with_param(attribute, header.family).ok()
    })
}

/// Parses a neighbour table (`RTM_NEWNEIGHTBL`).
pub fn neighbour_table<'a>(
    message: &Message<'a>,
) -> Option<Typed<'a, NeighbourTableHeader, Read<'a, NeighbourTableHeader, NeighbourTableAttribute>>>
{
    typed(message, NeighbourTableHeader::parse(message.payload), NEIGHBOUR_TABLE, |attribute, _| {
        NeighbourTableAttribute::parse(attribute).ok()
    })
}

/// The settings of a port in `RTM_NEWNETCONF` (`linux/netconf.h`); `None` if missing in the
/// message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Netconf {
    /// `AF_INET` …
    pub family: u8,
    /// `NETCONFA_IFINDEX`; -1 is "all", -2 "default".
    pub index: i32,
    /// `NETCONFA_FORWARDING`
    pub forwarding: Option<u32>,
    /// `NETCONFA_RP_FILTER`
    pub rp_filter: Option<u32>,
    /// `NETCONFA_FORCE_FORWARDING`, of IPv6 since Linux 6.17.
    pub force_forwarding: Option<u32>,
}

/// Parses the settings of a port (`RTM_NEWNETCONF`).
pub fn netconf(message: &Message<'_>) -> Option<Netconf> {
    /// `NETCONFA_IFINDEX`, `NETCONFA_FORWARDING`, `NETCONFA_RP_FILTER`,
    /// `NETCONFA_FORCE_FORWARDING`
    const INDEX: u16 = 1;
    const FORWARDING: u16 = 2;
    const RP_FILTER: u16 = 3;
    const FORCE_FORWARDING: u16 = 9;
    let attributes = message.attributes_after(NETCONF);
    Some(Netconf {
        family: message.family()?,
        index: i32::from_ne_bytes(attributes.ne32(INDEX)?.to_ne_bytes()),
        forwarding: attributes.ne32(FORWARDING),
        rp_filter: attributes.ne32(RP_FILTER),
        force_forwarding: attributes.ne32(FORCE_FORWARDING),
    })
}

/// What to dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    Links,
    /// All families.
    Addresses,
    /// All families and tables.
    Routes,
    /// All tables.
    Ipv6Routes,
    /// All families.
    Rules,
    /// IPv4 settings of ports, as `RTM_NEWNETCONF` messages.
    Netconf,
    /// Neighbours of this family on the port with this index.
    Neighbours(AddressFamily, u32),
    /// The IPv4 neighbour tables.
    NeighbourTables,
}

impl Listing {
    /// Returns the request: a fixed header with nothing set but the family, as strict checking
    /// requires.
    pub fn request(self) -> Request {
        let (inet, inet6) = (u8::from(AddressFamily::Inet), u8::from(AddressFamily::Inet6));
        let (kind, header, family) = match self {
            Self::Links => (kind::GET_LINK, LINK, 0),
            Self::Addresses => (kind::GET_ADDRESS, ADDRESS, 0),
            Self::Routes => (kind::GET_ROUTE, ROUTE, 0),
            Self::Ipv6Routes => (kind::GET_ROUTE, ROUTE, inet6),
            Self::Rules => (kind::GET_RULE, ROUTE, 0),
            Self::Netconf => (kind::GET_NETCONF, NETCONF, inet),
            Self::Neighbours(family, _) => (kind::GET_NEIGHBOUR, NEIGHBOUR, family.into()),
            Self::NeighbourTables => (kind::GET_NEIGHBOUR_TABLE, NEIGHBOUR_TABLE, inet),
        };
        let mut body = vec![family];
        body.resize(header, 0);
        let request = Request::raw(kind, body).dump();
        match self {
            Self::Neighbours(_, port) => request.attribute(NDA_IFINDEX, &port.to_ne_bytes()),
            _ => request,
        }
    }
}

/// Returns a request for the link with this index (`RTM_GETLINK`).
pub fn link_request(index: u32) -> Request {
    Request::new(kind::GET_LINK, &LinkHeader { index, ..LinkHeader::default() })
}

/// Returns a request that sets a port up (`IFF_UP`) and keeps its other flags. It is a bare header
/// because the crate's message type would link the serialisation of every kind of bridge, bond and
/// tunnel into the program.
pub fn set_up(index: u32) -> Request {
    let (flags, change_mask) = (LinkFlags::Up, LinkFlags::Up);
    Request::new(kind::SET_LINK, &LinkHeader { index, flags, change_mask, ..LinkHeader::default() })
}

/// Returns a request that changes IPv4 settings of a port (`IPV4_DEVCONF_*` of `linux/ip.h`).
/// Written by hand because the crate's `DevConfRequest` omits zeros and so cannot turn anything
/// off.
///
/// # Errors
/// There are more settings than an attribute can hold.
pub fn set_inet_conf(index: u32, settings: &[(u16, u32)]) -> Result<Request, NetlinkError> {
    let (mut values, mut conf, mut families) = (Vec::new(), Vec::new(), Vec::new());
    for (setting, value) in settings {
        push(&mut values, *setting, &value.to_ne_bytes())?;
    }
    push(&mut conf, IFLA_INET_CONF | NESTED, &values)?;
    push(&mut families, INET | NESTED, &conf)?;
    let header = LinkHeader { index, ..LinkHeader::default() };
    Ok(Request::new(kind::SET_LINK, &header).attribute(IFLA_AF_SPEC | NESTED, &families))
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::link::LinkMessage;
    use proptest::prelude::*;

    use super::*;
    use crate::{messages, u32_of};

    fn message(kind: u16, payload: &[u8]) -> Message<'_> {
        Message { kind, flags: 0, sequence: 0, port: 0, payload }
    }

    /// Returns the settings in a message of [`set_inet_conf`].
    fn settings_of(message: &Message<'_>) -> Vec<(u16, Option<u32>)> {
        let settings =
            message.attributes_after(LINK).nest(IFLA_AF_SPEC).nest(INET).nest(IFLA_INET_CONF);
        settings.map(|setting| (setting.kind, u32_of(setting.value))).collect()
    }

    #[test]
    fn requests_match_the_crates_own_encoding() {
        let bytes = set_up(7).bytes(1);
        let read = messages(&bytes).next().unwrap();
        let up = LinkMessage::parse(read.payload).unwrap();
        assert_eq!(
            (up.header.index, up.header.flags, up.header.change_mask),
            (7, LinkFlags::Up, LinkFlags::Up)
        );
        let bytes = set_inet_conf(7, &[(1, 1), (8, 0)]).unwrap().bytes(1);
        let read = messages(&bytes).next().unwrap();
        assert_eq!(settings_of(&read), [(1, Some(1)), (8, Some(0))]);
        let header = link(&read).unwrap().header;
        assert_eq!(
            (header.index, header.change_mask),
            (7, LinkFlags::empty()),
            "no flag of the port is touched"
        );
    }

    #[test]
    fn an_unknown_attribute_does_not_hide_the_others() {
        let mut payload = vec![0; LINK];
        push(&mut payload, 4, &[1]).unwrap();
        push(&mut payload, 3, b"eth1\0").unwrap();
        let link = link(&message(kind::NEW_LINK, &payload)).unwrap();
        let all: Vec<_> = link.attributes().collect();
        assert_eq!(all, [LinkAttribute::IfName("eth1".into())], "an MTU of one byte is none");
    }

    #[test]
    fn settings_are_read_for_one_port_and_for_all() {
        let mut payload = vec![2, 0, 0, 0];
        push(&mut payload, 1, &(-1_i32).to_ne_bytes()).unwrap();
        push(&mut payload, 2, &1_u32.to_ne_bytes()).unwrap();
        let read = netconf(&message(kind::NEW_NETCONF, &payload));
        let all = Netconf { family: 2, index: -1, forwarding: Some(1), ..Netconf::default() };
        assert_eq!(read, Some(all));
        assert_eq!(netconf(&message(kind::NEW_NETCONF, &[2, 0, 0, 0])), None);
    }

    proptest! {
        #[test]
        fn arbitrary_messages_never_panic(payload in proptest::collection::vec(any::<u8>(), 0..256)) {
            let message = message(kind::NEW_LINK, &payload);
            let _ = link(&message).map(|link| link.attributes().count());
            let _ = address(&message).map(|address| address.attributes().count());
            let _ = route(&message).map(|route| route.attributes().count());
            let _ = rule(&message).map(|rule| rule.attributes().count());
            let _ = neighbour(&message).map(|neighbour| neighbour.attributes().count());
            let _ = neighbour_table(&message).map(|table| table.attributes().count());
            let _ = (inet_conf(&message), link_kind(&message), netconf(&message));
        }

        /// Each attribute in turn with arbitrary bytes, since attributes are parsed one by one.
        #[test]
        fn arbitrary_attributes_never_panic(
            kind in 0_u16..70,
            family in 0_u8..32,
            value in proptest::collection::vec(any::<u8>(), 0..160),
        ) {
            for header in [LINK, ADDRESS, ROUTE, NEIGHBOUR_TABLE] {
                let mut payload = vec![0; header];
                payload[0] = family;
                push(&mut payload, kind, &value).unwrap();
                let message = message(kind::NEW_LINK, &payload);
                let _ = link(&message).map(|link| link.attributes().count());
                let _ = address(&message).map(|address| address.attributes().count());
                let _ = route(&message).map(|route| route.attributes().count());
                let _ = rule(&message).map(|rule| rule.attributes().count());
                let _ = neighbour(&message).map(|neighbour| neighbour.attributes().count());
                let _ = neighbour_table(&message).map(|table| table.attributes().count());
            }
        }
    }
}
