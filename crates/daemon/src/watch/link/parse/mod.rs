//! Parses rtnetlink messages into events. Pure. Irrelevant and malformed messages are skipped.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use bramblegate_netlink::Message;
use bramblegate_netlink::packet::AddressFamily;
use bramblegate_netlink::packet::address::{AddressAttribute, AddressFlags, AddressScope};
use bramblegate_netlink::packet::link::{InetDevConf, LinkAttribute, LinkFlags, Prop, State};
use bramblegate_netlink::packet::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMetric, RouteNextHop, RouteNextHopFlags,
    RouteProtocol, RouteType, RouteVia,
};
use bramblegate_netlink::packet::rule::{RuleAction, RuleAttribute};
use bramblegate_netlink::rtnetlink::{self, REPLACED, kind};
use ipnet::{IpNet, Ipv6Net};

use crate::event::{
    Address, Anycast, Change, Delegated, Event, Flow, Link, LinkIndex, Mac, Netconf, Route, Rule,
};

/// Appends the events of `message` to `events`. Returns whether the kernel may have removed or
/// replaced routes without announcing it, so that a new dump is due.
pub fn parse(message: &Message<'_>, events: &mut Vec<Event>) -> bool {
    match message.kind {
        kind::NEW_LINK => link(message).is_some_and(|link| {
            let (down, index) = (!link.up, link.index);
            events.push(Event::Link(Change::Present(link)));
            let conf = rtnetlink::inet_conf(message);
            events.extend(conf.map(|conf| Event::Netconf(netconf_of_link(index, &conf))));
            down
        }),
        kind::DEL_LINK => add(events, link(message).map(Change::Gone).map(Event::Link)),
        kind::NEW_ADDRESS => {
            add(events, address(message).map(Change::Present).map(Event::Address));
            false
        }
        // The kernel also removes IPv4 routes that have the address as preferred source.
        kind::DEL_ADDRESS => {
            let gone = address(message);
            let ipv4 = gone.as_ref().is_some_and(|gone| gone.address.addr().is_ipv4());
            add(events, gone.map(Change::Gone).map(Event::Address));
            ipv4
        }
        kind::NEW_ROUTE => {
            events.extend(anycast(message).map(Change::Present).map(Event::Anycast));
            events.extend(delegated(message).map(Change::Present).map(Event::Delegated));
            // The kernel lists a route for up to 30 s after its lifetime, and does not use it.
            if lifetime(message) != Some(Duration::ZERO) {
                routes(message, Change::Present, events);
            }
            message.flags & REPLACED != 0
        }
        kind::DEL_ROUTE => {
            events.extend(anycast(message).map(Change::Gone).map(Event::Anycast));
            events.extend(delegated(message).map(Change::Gone).map(Event::Delegated));
            routes(message, Change::Gone, events);
            false
        }
        kind::NEW_RULE => {
            add(events, rule(message).map(Change::Present).map(Event::Rule));
            false
        }
        kind::DEL_RULE => {
            add(events, rule(message).map(Change::Gone).map(Event::Rule));
            false
        }
        kind::NEW_NETCONF => {
            add(events, netconf(message));
            false
        }
        _ => false,
    }
}

fn add(events: &mut Vec<Event>, event: Option<Event>) -> bool {
    let found = event.is_some();
    events.extend(event);
    found
}

/// Parses a link. Ignores messages of a bridge about its ports (`AF_BRIDGE`) and the partial ones
/// of wireless extensions.
fn link(message: &Message<'_>) -> Option<Link> {
    let read = rtnetlink::link(message)?;
    let header = &read.header;
    if header.interface_family != AddressFamily::Unspec || rtnetlink::is_wireless_event(message) {
        return None;
    }
    let mut operational = State::Unknown;
    let mut lower = None;
    let mut link = Link {
        index: header.index,
        name: String::new(),
        alternative_names: Vec::new(),
        mac: None,
        up: header.flags.contains(LinkFlags::Up),
        carrier: false,
        loopback: header.flags.contains(LinkFlags::Loopback),
        wireless: false,
        master: None,
        kind: rtnetlink::link_kind(message),
        parent: None,
        mtu: 0,
    };
    for attribute in read.attributes() {
        match attribute {
            LinkAttribute::Address(bytes) => link.mac = bytes.try_into().ok().map(Mac),
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::Link(index) => lower = Some(index),
            LinkAttribute::Controller(index) => {
                link.master = Some(index).filter(|index| *index != 0)
            }
            LinkAttribute::OperState(state) => operational = state,
            LinkAttribute::PropList(properties) => {
                link.alternative_names =
                    properties.into_iter().filter_map(alternative_name).collect();
            }
            _ => {}
        }
    }
    link.carrier = header.flags.contains(LinkFlags::LowerUp) && !is_down(operational);
    link.wireless = link.name.starts_with("wl");
    if matches!(link.kind.as_deref(), Some("vlan" | "macvlan" | "macvtap" | "ipvlan")) {
        link.parent = lower;
    }
    (!link.name.is_empty()).then_some(link)
}

fn alternative_name(property: Prop) -> Option<String> {
    match property {
        Prop::AltIfName(name) => Some(name),
        _ => None,
    }
}

/// Returns whether an operational state (RFC 2863) means down; unknown counts as up.
const fn is_down(state: State) -> bool {
    matches!(state, State::NotPresent | State::Down | State::LowerLayerDown)
}

fn netconf_of_link(index: LinkIndex, conf: &InetDevConf) -> Netconf {
    let byte = |value: i32| u8::try_from(value).ok();
    Netconf {
        index,
        forwarding: Some(conf.forwarding != 0),
        rp_filter: byte(conf.rp_filter),
        arp_ignore: byte(conf.arp_ignore),
        arp_announce: byte(conf.arp_announce),
        accept_redirects: byte(conf.accept_redirects),
        send_redirects: byte(conf.send_redirects),
        accept_source_route: byte(conf.accept_source_route),
    }
}

fn address(message: &Message<'_>) -> Option<Address> {
    let read = rtnetlink::address(message)?;
    let header = &read.header;
    let (mut local, mut peer, mut valid, mut protocol) = (None, None, None, 0);
    let mut flags = AddressFlags::from_bits_retain(header.flags.bits().into());
    for attribute in read.attributes() {
        match attribute {
            AddressAttribute::Local(address) => local = Some(address),
            AddressAttribute::Address(address) => peer = Some(address),
            AddressAttribute::Flags(all) => flags = all,
            AddressAttribute::CacheInfo(info) => {
                valid = Some(info.ifa_valid).filter(|seconds| *seconds != u32::MAX)
            }
            AddressAttribute::Protocol(origin) => protocol = origin.into(),
            _ => {}
        }
    }
    let address = IpNet::new(local.or(peer)?, header.prefix_len).ok()?;
    let link_local = match address.addr() {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    let is = |flag| flags.contains(flag);
    Some(Address {
        index: header.index,
        address,
        tentative: is(AddressFlags::Dadfailed)
            || is(AddressFlags::Tentative) && !is(AddressFlags::Optimistic),
        deprecated: is(AddressFlags::Deprecated),
        // For IPv4 the same bit means "secondary"; for IPv6, a privacy address.
        temporary: header.family == AddressFamily::Inet6 && is(AddressFlags::Secondary),
        link_local: link_local || header.scope == AddressScope::Link,
        valid_for: valid.map(|seconds| Duration::from_secs(seconds.into())),
        protocol,
    })
}

/// Parses an IPv6 anycast address. Ignores the subnet-router addresses (RFC 4291, section 2.6.1),
/// which the kernel adds on every router.
fn anycast(message: &Message<'_>) -> Option<Anycast> {
    let read = rtnetlink::route(message)?;
    if read.header.kind != RouteType::Anycast {
        return None;
    }
    let (mut address, mut index) = (None, 0);
    for attribute in read.attributes() {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet6(to)) => address = Some(to),
            RouteAttribute::Oif(port) => index = port,
            _ => {}
        }
    }
    let address = address.filter(|address| address.to_bits() as u64 != 0)?;
    Some(Anycast { index, address })
}

/// Parses a delegated prefix from the `unreachable` route that a DHCPv6 client adds for it. Only
/// global unicast counts (2000::/3, RFC 4291, section 2.4), since a unique local prefix reaches no
/// further than the nodes' own. SLAAC needs a prefix of at most 64 bits.
fn delegated(message: &Message<'_>) -> Option<Delegated> {
    let read = rtnetlink::route(message)?;
    let header = &read.header;
    let length = header.destination_prefix_length;
    if header.kind != RouteType::Unreachable
        || header.protocol != RouteProtocol::Dhcp
        || !(1..=64).contains(&length)
    {
        return None;
    }
    let prefix = read.attributes().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet6(prefix)) => Some(prefix),
        _ => None,
    });
    let prefix = prefix.filter(|prefix| prefix.to_bits() >> 125 == 1)?;
    Ipv6Net::new(prefix, length).ok().map(Delegated)
}

/// Returns the remaining lifetime of an IPv6 route, zero if it has expired; `None` without a limit.
pub fn lifetime(message: &Message<'_>) -> Option<Duration> {
    /// `USER_HZ` (`asm-generic/param.h`), the unit of `rta_expires`.
    const TICKS_PER_SECOND: u64 = 100;
    if !matches!(message.kind, kind::NEW_ROUTE | kind::DEL_ROUTE) {
        return None;
    }
    let read = rtnetlink::route(message)?;
    let ticks = read.attributes().find_map(|attribute| match attribute {
        // Signed in `struct rta_cacheinfo` (`linux/rtnetlink.h`): negative once it has expired.
        RouteAttribute::CacheInfo(info) => Some(i32::from_ne_bytes(info.expires.to_ne_bytes())),
        _ => None,
    });
    let ticks = ticks.filter(|ticks| *ticks != 0)?;
    let ticks = u64::try_from(ticks).unwrap_or(0);
    Some(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

/// Appends an event for a unicast route outside the table `local`; for a multipath route, one for
/// each next hop.
fn routes(message: &Message<'_>, change: fn(Route) -> Change<Route>, events: &mut Vec<Event>) {
    let Some((route, hops)) = route(message) else { return };
    if !hops.is_empty() {
        events.extend(hops.into_iter().map(|hop| Event::Route(change(route_via(hop, &route)))));
    } else if route.index != 0 {
        events.push(Event::Route(change(route)));
    }
}

fn route(message: &Message<'_>) -> Option<(Route, Vec<RouteNextHop>)> {
    const TABLE_LOCAL: u32 = 255;
    let read = rtnetlink::route(message)?;
    let header = &read.header;
    if header.kind != RouteType::Unicast
        || header.flags.contains(RouteFlags::Cloned)
        || header.source_prefix_length != 0
    {
        return None;
    }
    let ipv4 = header.address_family == AddressFamily::Inet;
    let mut hops = Vec::new();
    let mut destination = None;
    let mut route = Route {
        table: header.table.into(),
        destination: IpNet::new(unspecified(header.address_family)?, 0).ok()?,
        gateway: None,
        index: 0,
        metric: 0,
        protocol: header.protocol.into(),
        onlink: header.flags.contains(RouteFlags::Onlink),
        preferred_source: None,
        mtu: None,
    };
    for attribute in read.attributes() {
        match attribute {
            RouteAttribute::Destination(address) => destination = ip(&address),
            RouteAttribute::Oif(index) => route.index = index,
            RouteAttribute::Gateway(address) => route.gateway = ip(&address),
            RouteAttribute::Via(via) => route.gateway = ip_of_via(&via),
            RouteAttribute::Priority(metric) => route.metric = metric,
            RouteAttribute::PrefSource(address) => route.preferred_source = ip(&address),
            RouteAttribute::Metrics(metrics) => route.mtu = mtu_of(&metrics).filter(|_| ipv4),
            RouteAttribute::MultiPath(all) => hops = all,
            RouteAttribute::Table(table) => route.table = table,
            _ => {}
        }
    }
    if header.destination_prefix_length != 0 {
        route.destination = IpNet::new(destination?, header.destination_prefix_length).ok()?;
    }
    (route.table != TABLE_LOCAL).then_some((route, hops))
}

/// Returns the MTU of a route, in bytes.
fn mtu_of(metrics: &[RouteMetric]) -> Option<u32> {
    metrics.iter().find_map(|metric| match metric {
        RouteMetric::Mtu(mtu) => Some(*mtu),
        _ => None,
    })
}

/// Returns the route via one of its next hops.
fn route_via(hop: RouteNextHop, route: &Route) -> Route {
    let gateway = hop.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(address) => ip(address),
        RouteAttribute::Via(via) => ip_of_via(via),
        _ => None,
    });
    let onlink = hop.flags.contains(RouteNextHopFlags::Onlink);
    Route { index: hop.interface_index, gateway, onlink, ..route.clone() }
}

fn rule(message: &Message<'_>) -> Option<Rule> {
    let read = rtnetlink::rule(message)?;
    let header = &read.header;
    let ipv6 = match header.family {
        AddressFamily::Inet => false,
        AddressFamily::Inet6 => true,
        _ => return None,
    };
    let (mut mark, mut mask) = (None, None);
    let mut rule = Rule {
        preference: 0,
        ipv6,
        source: None,
        destination: None,
        output: None,
        input: None,
        mark: None,
        table: header.table.into(),
        suppress: None,
        protocol: 0,
        flow: Flow::default(),
    };
    let attributes: Vec<RuleAttribute> = read.attributes().collect();
    rule.flow.tos = rtnetlink::rule_tos(header, &attributes);
    for attribute in attributes {
        match attribute {
            RuleAttribute::Destination(to) => {
                rule.destination = IpNet::new(to, header.dst_len).ok()
            }
            RuleAttribute::Source(from) => rule.source = IpNet::new(from, header.src_len).ok(),
            RuleAttribute::Iifname(name) => rule.input = Some(name),
            RuleAttribute::Oifname(name) => rule.output = Some(name),
            RuleAttribute::Priority(preference) => rule.preference = preference,
            RuleAttribute::FwMark(value) => mark = Some(value),
            RuleAttribute::FwMask(value) => mask = Some(value),
            // -1 means none.
            RuleAttribute::SuppressPrefixLen(length) => rule.suppress = u8::try_from(length).ok(),
            RuleAttribute::Table(table) => rule.table = table,
            RuleAttribute::Protocol(origin) => rule.protocol = origin.into(),
            RuleAttribute::UidRange(range) => rule.flow.uids = Some((range.start, range.end)),
            RuleAttribute::IpProtocol(protocol) => rule.flow.ip_protocol = Some(protocol.into()),
            RuleAttribute::SourcePortRange(range) => {
                rule.flow.source_ports = Some((range.start, range.end))
            }
            RuleAttribute::DestinationPortRange(range) => {
                rule.flow.destination_ports = Some((range.start, range.end))
            }
            _ => {}
        }
    }
    // The kernel omits a mark of zero, but not its mask.
    rule.mark = match (mark, mask) {
        (None, None | Some(0)) => None,
        (mark, mask) => Some((mark.unwrap_or(0), mask.unwrap_or(u32::MAX))),
    };
    if header.action != RuleAction::ToTable {
        rule.table = 0;
    }
    Some(rule)
}

/// Parses the settings of an interface: of IPv6 only that forwarding was switched off. "all"
/// ([`Netconf::ALL`]) and "default" have negative indices. Of "all" only forwarding is read;
/// "default" is ignored.
fn netconf(message: &Message<'_>) -> Option<Event> {
    let read = rtnetlink::netconf(message)?;
    let index = LinkIndex::from_ne_bytes(read.index.to_ne_bytes());
    if read.index < 0 && index != Netconf::ALL {
        return None;
    }
    if read.family == u8::from(AddressFamily::Inet6) {
        let is_off = read.forwarding == Some(0) || read.force_forwarding == Some(0);
        return is_off.then_some(Event::Ipv6ForwardingOff(index));
    }
    if read.family != u8::from(AddressFamily::Inet) {
        return None;
    }
    let forwarding = read.forwarding.map(|value| value != 0);
    let rp_filter =
        read.rp_filter.and_then(|value| u8::try_from(value).ok()).filter(|_| index != Netconf::ALL);
    let is_relevant = forwarding.is_some() || rp_filter.is_some();
    let netconf = Netconf { index, forwarding, rp_filter, ..Netconf::default() };
    is_relevant.then_some(Event::Netconf(netconf))
}

const fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteAddress::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}

const fn ip_of_via(via: &RouteVia) -> Option<IpAddr> {
    match via {
        RouteVia::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteVia::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}

const fn unspecified(family: AddressFamily) -> Option<IpAddr> {
    match family {
        AddressFamily::Inet => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        AddressFamily::Inet6 => Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
