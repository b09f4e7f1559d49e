//! From rtnetlink messages to events: pure, and deaf to what does not concern us. A message that cannot be read is
//! passed over; it never stops the source.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::IpNet;

use super::wire::{Attributes, Message, text_of, u8_at, u16_at, u32_at, u32_of};
use crate::event::{Address, Change, Event, Flow, Link, LinkIndex, Mac, Netconf, Route, Rule};

/// `RTM_*` of `linux/rtnetlink.h`
const NEWLINK: u16 = 16;
const DELLINK: u16 = 17;
const NEWADDR: u16 = 20;
const DELADDR: u16 = 21;
const NEWROUTE: u16 = 24;
const DELROUTE: u16 = 25;
const NEWRULE: u16 = 32;
const DELRULE: u16 = 33;
const NEWNETCONF: u16 = 80;

/// `NLM_F_REPLACE` in a notification: another route was there before, and is not told.
const REPLACE: u16 = 0x100;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// `IFLA_INET_CONF`
pub const INET_CONF_ATTRIBUTE: u16 = 1;
/// `IPV4_DEVCONF_FORWARDING`, `…_ACCEPT_REDIRECTS`, `…_SEND_REDIRECTS`, `…_RP_FILTER`, `…_ACCEPT_SOURCE_ROUTE`,
/// `…_ARP_ANNOUNCE`, `…_ARP_IGNORE` of `linux/ip.h`
const FORWARDING: u16 = 1;
const ACCEPT_REDIRECTS: u16 = 4;
const SEND_REDIRECTS: u16 = 6;
const RP_FILTER: u16 = 8;
const ACCEPT_SOURCE_ROUTE: u16 = 9;
const ARP_ANNOUNCE: u16 = 18;
const ARP_IGNORE: u16 = 19;

/// Adds what `message` says to `events`. `true`: the kernel has perhaps removed or replaced routes without telling, so a
/// listing is due.
pub fn parse(message: &Message<'_>, events: &mut Vec<Event>) -> bool {
    let payload = message.payload;
    match message.kind {
        NEWLINK => link(payload).is_some_and(|link| {
            let down = !link.up;
            let index = link.index;
            events.push(Event::Link(Change::Present(link)));
            events.extend(netconf_of_link(index, payload).map(Event::Netconf));
            down
        }),
        DELLINK => add(events, link(payload).map(Change::Gone).map(Event::Link)),
        NEWADDR => {
            add(events, address(payload).map(Change::Present).map(Event::Address));
            false
        }
        // IPv4 routes that prefer the address as their source go with it.
        DELADDR => add(events, address(payload).map(Change::Gone).map(Event::Address)) && family(payload) == AF_INET,
        NEWROUTE => {
            routes(payload, Change::Present, events);
            message.flags & REPLACE != 0
        }
        DELROUTE => {
            routes(payload, Change::Gone, events);
            false
        }
        NEWRULE => {
            add(events, rule(payload).map(Change::Present).map(Event::Rule));
            false
        }
        DELRULE => {
            add(events, rule(payload).map(Change::Gone).map(Event::Rule));
            false
        }
        NEWNETCONF => {
            add(events, netconf(payload).map(Event::Netconf));
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

fn family(payload: &[u8]) -> u8 {
    u8_at(payload, 0).unwrap_or(0)
}

/// `struct ifinfomsg` and `IFLA_*`. Messages of a bridge about its ports (`AF_BRIDGE`) and the partial ones of wireless
/// extensions are not about the link itself.
fn link(payload: &[u8]) -> Option<Link> {
    const HEADER: usize = 16;
    const UP: u32 = 0x1;
    const LOOPBACK: u32 = 0x8;
    const LOWER_UP: u32 = 0x1_0000;
    if family(payload) != 0 {
        return None;
    }
    let flags = u32_at(payload, 8)?;
    let mut operational = 0;
    let mut lower = None;
    let mut link = Link {
        index: u32_at(payload, 4)?,
        name: String::new(),
        alternative_names: Vec::new(),
        mac: None,
        up: flags & UP != 0,
        carrier: false,
        loopback: flags & LOOPBACK != 0,
        wireless: false,
        master: None,
        kind: None,
        parent: None,
        mtu: 0,
    };
    for (kind, value) in Attributes::after(payload, HEADER) {
        match kind {
            1 => link.mac = value.try_into().ok().map(Mac),
            3 => link.name = text_of(value),
            4 => link.mtu = u32_of(value)?,
            5 => lower = u32_of(value),
            10 => link.master = u32_of(value).filter(|&index| index != 0),
            11 => return None,
            16 => operational = u8_at(value, 0)?,
            18 => link.kind = Attributes::new(value).find(1).map(text_of),
            52 => {
                link.alternative_names =
                    Attributes::new(value).filter(|(kind, _)| *kind == 53).map(|(_, name)| text_of(name)).collect();
            }
            _ => {}
        }
    }
    link.carrier = flags & LOWER_UP != 0 && !is_down(operational);
    link.wireless = link.name.starts_with("wl");
    if matches!(link.kind.as_deref(), Some("vlan" | "macvlan" | "macvtap" | "ipvlan")) {
        link.parent = lower;
    }
    (!link.name.is_empty()).then_some(link)
}

/// `IF_OPER_NOTPRESENT`, `IF_OPER_DOWN`, `IF_OPER_LOWERLAYERDOWN` (RFC 2863); unknown counts as up.
const fn is_down(operational: u8) -> bool {
    matches!(operational, 1..=3)
}

/// The IPv4 settings in a link's message (`IFLA_AF_SPEC` / `AF_INET` / `IFLA_INET_CONF`): a value of `linux/ip.h`'s
/// `IPV4_DEVCONF_*`. Changes made by `RTM_SETLINK` are told only here, those made in `/proc` only by netconf.
pub fn inet_conf(payload: &[u8], setting: u16) -> Option<u32> {
    let all = Attributes::after(payload, 16).find(26)?;
    let conf = Attributes::new(Attributes::new(all).find(u16::from(AF_INET))?).find(INET_CONF_ATTRIBUTE)?;
    u32_at(conf, usize::from(setting).checked_sub(1)? * 4)
}

fn netconf_of_link(index: LinkIndex, payload: &[u8]) -> Option<Netconf> {
    let small = |setting| inet_conf(payload, setting).and_then(|value| u8::try_from(value).ok());
    Some(Netconf {
        index,
        forwarding: Some(inet_conf(payload, FORWARDING)? != 0),
        rp_filter: small(RP_FILTER),
        arp_ignore: small(ARP_IGNORE),
        arp_announce: small(ARP_ANNOUNCE),
        accept_redirects: small(ACCEPT_REDIRECTS),
        send_redirects: small(SEND_REDIRECTS),
        accept_source_route: small(ACCEPT_SOURCE_ROUTE),
    })
}

/// `struct ifaddrmsg` and `IFA_*`.
fn address(payload: &[u8]) -> Option<Address> {
    const HEADER: usize = 8;
    const TEMPORARY: u32 = 0x01;
    const OPTIMISTIC: u32 = 0x04;
    const DAD_FAILED: u32 = 0x08;
    const DEPRECATED: u32 = 0x20;
    const TENTATIVE: u32 = 0x40;
    const SCOPE_LINK: u8 = 253;
    let attributes = || Attributes::after(payload, HEADER);
    let v6 = family(payload) == AF_INET6;
    let local = attributes().find(2).or_else(|| attributes().find(1))?;
    let address = network(local, u8_at(payload, 1)?)?;
    let flags = attributes().find(8).and_then(u32_of).unwrap_or(u32::from(u8_at(payload, 2)?));
    let valid = attributes().find(6).and_then(|info| u32_at(info, 4)).filter(|&seconds| seconds != u32::MAX);
    let link_local = match address.addr() {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    Some(Address {
        index: u32_at(payload, 4)?,
        address,
        tentative: flags & DAD_FAILED != 0 || flags & TENTATIVE != 0 && flags & OPTIMISTIC == 0,
        deprecated: flags & DEPRECATED != 0,
        // in IPv4 the same bit means "secondary"
        temporary: v6 && flags & TEMPORARY != 0,
        link_local: link_local || u8_at(payload, 3)? == SCOPE_LINK,
        valid_for: valid.map(|seconds| Duration::from_secs(seconds.into())),
        protocol: attributes().find(11).and_then(|value| u8_at(value, 0)).unwrap_or(0),
    })
}

/// `struct rtmsg` and `RTA_*`: unicast routes that somebody set, outside the table `local`.
fn routes(payload: &[u8], change: fn(Route) -> Change<Route>, events: &mut Vec<Event>) {
    let Some((route, multipath)) = route(payload) else { return };
    let hops = multipath.map(|hops| next_hops(hops, &route)).unwrap_or_default();
    if !hops.is_empty() {
        events.extend(hops.into_iter().map(change).map(Event::Route));
    } else if route.index != 0 {
        events.push(Event::Route(change(route)));
    }
}

fn route(payload: &[u8]) -> Option<(Route, Option<&[u8]>)> {
    const HEADER: usize = 12;
    const UNICAST: u8 = 1;
    const CLONED: u32 = 0x200;
    const ONLINK: u32 = 4;
    const TABLE_LOCAL: u32 = 255;
    let flags = u32_at(payload, 8)?;
    let prefix = u8_at(payload, 1)?;
    let source_prefix = u8_at(payload, 2)?;
    if u8_at(payload, 7)? != UNICAST || flags & CLONED != 0 || source_prefix != 0 {
        return None;
    }
    let mut multipath = None;
    let mut route = Route {
        table: u32::from(u8_at(payload, 4)?),
        destination: IpNet::new(unspecified(family(payload))?, prefix).ok()?,
        gateway: None,
        index: 0,
        metric: 0,
        protocol: u8_at(payload, 5)?,
        onlink: flags & ONLINK != 0,
        preferred_source: None,
    };
    for (kind, value) in Attributes::after(payload, HEADER) {
        match kind {
            1 => route.destination = network(value, prefix)?,
            4 => route.index = u32_of(value)?,
            5 => route.gateway = ip(value),
            6 => route.metric = u32_of(value)?,
            7 => route.preferred_source = ip(value),
            9 => multipath = Some(value),
            15 => route.table = u32_of(value)?,
            18 => route.gateway = value.get(2..).and_then(ip),
            _ => {}
        }
    }
    (route.table != TABLE_LOCAL).then_some((route, multipath))
}

/// `struct rtnexthop`, each with its own attributes.
fn next_hops(mut bytes: &[u8], route: &Route) -> Vec<Route> {
    const HEADER: usize = 8;
    const ONLINK: u8 = 4;
    let mut hops = Vec::new();
    while let Some(hop) = u16_at(bytes, 0).and_then(|length| bytes.get(..usize::from(length))) {
        let (Some(flags), Some(index)) = (u8_at(hop, 2), u32_at(hop, 4)) else { break };
        let attributes = || Attributes::after(hop, HEADER);
        let via = || attributes().find(18).and_then(|via| via.get(2..)).and_then(ip);
        hops.push(Route {
            index,
            gateway: attributes().find(5).and_then(ip).or_else(via),
            onlink: flags & ONLINK != 0,
            ..route.clone()
        });
        bytes = bytes.get(hop.len().next_multiple_of(4)..).unwrap_or_default();
    }
    hops
}

/// `struct fib_rule_hdr` and `FRA_*`.
fn rule(payload: &[u8]) -> Option<Rule> {
    const HEADER: usize = 12;
    const LOOKUP: u8 = 1;
    let ipv6 = match family(payload) {
        AF_INET => false,
        AF_INET6 => true,
        _ => return None,
    };
    let (to, from) = (u8_at(payload, 1)?, u8_at(payload, 2)?);
    let mut mark = None;
    let mut mask = None;
    let mut rule = Rule {
        preference: 0,
        ipv6,
        source: None,
        destination: None,
        output: None,
        input: None,
        mark: None,
        table: u32::from(u8_at(payload, 4)?),
        suppress: None,
        protocol: 0,
        flow: Flow::default(),
    };
    for (kind, value) in Attributes::after(payload, HEADER) {
        match kind {
            1 => rule.destination = network(value, to),
            2 => rule.source = network(value, from),
            3 => rule.input = Some(text_of(value)),
            6 => rule.preference = u32_of(value)?,
            10 => mark = u32_of(value),
            // -1 stands for none
            14 => rule.suppress = u32_of(value).and_then(|length| u8::try_from(length).ok()),
            15 => rule.table = u32_of(value)?,
            16 => mask = u32_of(value),
            17 => rule.output = Some(text_of(value)),
            20 => rule.flow.uids = u32_at(value, 0).zip(u32_at(value, 4)),
            21 => rule.protocol = u8_at(value, 0)?,
            22 => rule.flow.ip_protocol = u8_at(value, 0),
            23 => rule.flow.source_ports = u16_at(value, 0).zip(u16_at(value, 2)),
            24 => rule.flow.destination_ports = u16_at(value, 0).zip(u16_at(value, 2)),
            _ => {}
        }
    }
    // Of a mark that is zero the kernel gives the mask only.
    rule.mark = match (mark, mask) {
        (None, None | Some(0)) => None,
        (mark, mask) => Some((mark.unwrap_or(0), mask.unwrap_or(u32::MAX))),
    };
    if u8_at(payload, 7)? != LOOKUP {
        rule.table = 0;
    }
    Some(rule)
}

/// `struct netconfmsg` (padded to four bytes) and `NETCONFA_*`. "all" ([`Netconf::ALL`]) and "default" have negative
/// indices; of "all" only its forwarding is of interest, of "default" nothing.
fn netconf(payload: &[u8]) -> Option<Netconf> {
    let attributes = || Attributes::after(payload, 4);
    let index = attributes().find(1).and_then(u32_of)?;
    let forwarding = attributes().find(2).and_then(u32_of).map(|value| value != 0);
    let rp_filter = attributes().find(3).and_then(u32_of).and_then(|value| u8::try_from(value).ok());
    let rp_filter = rp_filter.filter(|_| index != Netconf::ALL);
    if index != Netconf::ALL && i32::try_from(index).is_err() {
        return None;
    }
    (family(payload) == AF_INET && (forwarding.is_some() || rp_filter.is_some())).then_some(Netconf {
        index,
        forwarding,
        rp_filter,
        ..Netconf::default()
    })
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(|octets| Ipv4Addr::from(octets).into()),
        16 => <[u8; 16]>::try_from(bytes).ok().map(|octets| Ipv6Addr::from(octets).into()),
        _ => None,
    }
}

fn network(bytes: &[u8], prefix: u8) -> Option<IpNet> {
    IpNet::new(ip(bytes)?, prefix).ok()
}

const fn unspecified(family: u8) -> Option<IpAddr> {
    match family {
        AF_INET => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        AF_INET6 => Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
