//! The per-interface IPv4 settings (`linux/ip.h`, `IPV4_DEVCONF_*`), written by `RTM_SETLINK` with `IFLA_AF_SPEC` /
//! `AF_INET` / `IFLA_INET_CONF`: CAP_NET_ADMIN is enough, and `/proc/sys` may be read-only.

use crate::event::LinkIndex;
use crate::policy::InterfaceConf;
use crate::sink::rtnl::{Request, Rtnl};
use crate::source::netlink::{INET_CONF_ATTRIBUTE, RequestError, inet_conf, push};

/// Of `linux/ip.h`.
pub const FORWARDING: u16 = 1;
pub const ACCEPT_REDIRECTS: u16 = 4;
pub const SEND_REDIRECTS: u16 = 6;
pub const RP_FILTER: u16 = 8;
pub const ACCEPT_SOURCE_ROUTE: u16 = 9;
pub const ARP_ANNOUNCE: u16 = 18;
pub const ARP_IGNORE: u16 = 19;
pub const PROMOTE_SECONDARIES: u16 = 20;
pub const ACCEPT_LOCAL: u16 = 23;
pub const IGNORE_ROUTES_WITH_LINKDOWN: u16 = 29;

/// `IFF_UP` of `linux/if.h`
pub const UP: u32 = 1;
/// `IFLA_AF_SPEC`, `AF_INET`, `NLA_F_NESTED`
const AF_SPEC: u16 = 26;
const AF_INET: u16 = 2;
const NESTED: u16 = 0x8000;

/// The settings we may change, by the names they have in `/proc/sys/net/ipv4/conf`.
const NAMES: [(u16, &str); 10] = [
    (FORWARDING, "forwarding"),
    (ACCEPT_REDIRECTS, "accept_redirects"),
    (SEND_REDIRECTS, "send_redirects"),
    (ACCEPT_SOURCE_ROUTE, "accept_source_route"),
    (RP_FILTER, "rp_filter"),
    (ARP_ANNOUNCE, "arp_announce"),
    (ARP_IGNORE, "arp_ignore"),
    (PROMOTE_SECONDARIES, "promote_secondaries"),
    (ACCEPT_LOCAL, "accept_local"),
    (IGNORE_ROUTES_WITH_LINKDOWN, "ignore_routes_with_linkdown"),
];

/// One setting and its new value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    pub setting: u16,
    pub value: u32,
}

/// The settings of a port as the kernel has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conf([Option<u32>; NAMES.len()]);

impl Conf {
    /// From the body of an `RTM_NEWLINK`; `None` for an interface without IPv4.
    pub fn read(payload: &[u8]) -> Option<Self> {
        inet_conf(payload, FORWARDING)?;
        Some(Self(NAMES.map(|(setting, _)| inet_conf(payload, setting))))
    }

    #[cfg(test)]
    pub fn of(values: &[(u16, u32)]) -> Self {
        Self(NAMES.map(|(setting, _)| values.iter().find(|(number, _)| *number == setting).map(|(_, value)| *value)))
    }

    pub fn get(&self, setting: u16) -> Option<u32> {
        NAMES.iter().zip(self.0).find(|((number, _), _)| *number == setting).and_then(|(_, value)| value)
    }
}

/// The settings of a plan, in the order in which they are written.
fn planned(conf: &InterfaceConf) -> [(u16, Option<u32>); 9] {
    [
        (ARP_IGNORE, conf.arp_ignore.map(u32::from)),
        (ARP_ANNOUNCE, conf.arp_announce.map(u32::from)),
        (RP_FILTER, conf.rp_filter.map(u32::from)),
        (ACCEPT_LOCAL, conf.accept_local.map(u32::from)),
        (IGNORE_ROUTES_WITH_LINKDOWN, conf.ignore_routes_with_linkdown.map(u32::from)),
        (ACCEPT_REDIRECTS, conf.accept_redirects.map(u32::from)),
        (SEND_REDIRECTS, conf.send_redirects.map(u32::from)),
        (ACCEPT_SOURCE_ROUTE, conf.accept_source_route.map(u32::from)),
        (FORWARDING, conf.forwarding.map(u32::from)),
    ]
}

/// What is to be written so that `now` becomes `wanted`. An interface whose settings cannot be read gets them all.
pub fn changes(wanted: &InterfaceConf, now: Option<&Conf>) -> Vec<Change> {
    let wanted = planned(wanted).into_iter().filter_map(|(setting, value)| Some(Change { setting, value: value? }));
    wanted.filter(|change| now.and_then(|now| now.get(change.setting)) != Some(change.value)).collect()
}

/// Returns what `before` holds of the settings that `wanted` leaves open.
pub fn released(wanted: &InterfaceConf, before: &InterfaceConf) -> Vec<Change> {
    let both = planned(wanted).into_iter().zip(planned(before));
    both.filter_map(|((setting, wanted), (_, before))| {
        before.filter(|_| wanted.is_none()).map(|value| Change { setting, value })
    })
    .collect()
}

/// "arp_ignore=1, forwarding=1"
pub fn named(changes: &[Change]) -> String {
    let texts: Vec<_> = changes.iter().map(|change| format!("{}={}", name(change.setting), change.value)).collect();
    texts.join(", ")
}

pub fn name(setting: u16) -> &'static str {
    NAMES.iter().find(|(number, _)| *number == setting).map_or("?", |(_, name)| name)
}

/// The setting of this name, if it is one that we may change.
pub fn number(name: &str) -> Option<u16> {
    NAMES.iter().find(|(_, known)| *known == name).map(|(number, _)| *number)
}

/// The highest value that a setting has (the kernel's Documentation/networking/ip-sysctl.rst).
pub fn highest(setting: u16) -> u32 {
    match setting {
        ARP_IGNORE => 8,
        ARP_ANNOUNCE | RP_FILTER => 2,
        _ => 1,
    }
}

pub fn write(rtnl: &mut Rtnl, index: LinkIndex, changes: &[Change]) -> Result<(), RequestError> {
    rtnl.send_bytes(Request::SetLink, &message(index, changes), 0)
}

/// `struct ifinfomsg` of `linux/rtnetlink.h` that sets these flags and leaves the others. Plain bytes: the crate's type knows
/// every kind of bridge, bond and tunnel, and all of that would be in the program.
pub fn link(index: LinkIndex, flags: u32) -> Vec<u8> {
    [0, index, flags, flags].into_iter().flat_map(u32::to_ne_bytes).collect()
}

fn message(index: LinkIndex, changes: &[Change]) -> Vec<u8> {
    let (mut conf, mut inet, mut spec) = (Vec::new(), Vec::new(), Vec::new());
    changes.iter().for_each(|change| push(&mut conf, change.setting, &change.value.to_ne_bytes()));
    push(&mut inet, INET_CONF_ATTRIBUTE | NESTED, &conf);
    push(&mut spec, AF_INET | NESTED, &inet);
    let mut message = link(index, 0);
    push(&mut message, AF_SPEC | NESTED, &spec);
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::netlink::{Attributes, u32_of};
    use netlink_packet_core::Parseable;
    use netlink_packet_route::link::{LinkFlags, LinkMessage};

    #[test]
    fn a_request_is_read_by_others_as_it_was_meant() {
        let bytes = link(7, UP);
        let up = LinkMessage::parse(&bytes).unwrap();
        assert_eq!((up.header.index, up.header.flags, up.header.change_mask), (7, LinkFlags::Up, LinkFlags::Up));
        let changes = [Change { setting: FORWARDING, value: 1 }, Change { setting: RP_FILTER, value: 2 }];
        let bytes = message(7, &changes);
        let inet = Attributes::after(&bytes, link(7, 0).len())
            .find(AF_SPEC)
            .and_then(|spec| Attributes::new(spec).find(AF_INET));
        let conf = inet.and_then(|inet| Attributes::new(inet).find(INET_CONF_ATTRIBUTE)).unwrap();
        let read: Vec<_> = Attributes::new(conf).map(|(setting, value)| (setting, u32_of(value))).collect();
        assert_eq!(read, [(FORWARDING, Some(1)), (RP_FILTER, Some(2))]);
        assert!(bytes.starts_with(&link(7, 0)), "no flag of the port is touched");
    }

    fn conf(forwarding: u32, arp_ignore: u32) -> Conf {
        Conf(NAMES.map(|(setting, _)| match setting {
            FORWARDING => Some(forwarding),
            ARP_IGNORE => Some(arp_ignore),
            _ => Some(0),
        }))
    }

    #[test]
    fn only_what_differs_is_written_and_arp_comes_before_forwarding() {
        let wanted = InterfaceConf { forwarding: Some(true), arp_ignore: Some(1), ..InterfaceConf::default() };
        assert_eq!(named(&changes(&wanted, Some(&conf(0, 0)))), "arp_ignore=1, forwarding=1");
        assert_eq!(named(&changes(&wanted, Some(&conf(0, 1)))), "forwarding=1");
        assert!(changes(&wanted, Some(&conf(1, 1))).is_empty());
    }

    #[test]
    fn what_the_plan_leaves_open_stays_as_it_is() {
        assert!(changes(&InterfaceConf::default(), Some(&conf(1, 2))).is_empty());
    }
}
