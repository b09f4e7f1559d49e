//! Per-interface IPv4 settings (`linux/ip.h`, `IPV4_DEVCONF_*`), written by `RTM_SETLINK` with
//! `IFLA_AF_SPEC` / `AF_INET` / `IFLA_INET_CONF`. That needs only CAP_NET_ADMIN, and works with a
//! read-only `/proc/sys`.

use bramblegate_netlink::packet::link::InetDevConf;
use bramblegate_netlink::{Message, NetlinkError, rtnetlink};

use crate::decide::InterfaceConf;
use crate::event::LinkIndex;
use crate::reconcile::rtnl::Rtnl;

/// Numbers of the settings (`linux/ip.h`).
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

/// Reads a setting from a port's.
type Field = fn(&InetDevConf) -> i32;

/// The settings that we may change: number, name in `/proc/sys/net/ipv4/conf`, and field.
const NAMES: [(u16, &str, Field); 10] = [
    (FORWARDING, "forwarding", |conf| conf.forwarding),
    (ACCEPT_REDIRECTS, "accept_redirects", |conf| conf.accept_redirects),
    (SEND_REDIRECTS, "send_redirects", |conf| conf.send_redirects),
    (ACCEPT_SOURCE_ROUTE, "accept_source_route", |conf| conf.accept_source_route),
    (RP_FILTER, "rp_filter", |conf| conf.rp_filter),
    (ARP_ANNOUNCE, "arp_announce", |conf| conf.arp_announce),
    (ARP_IGNORE, "arp_ignore", |conf| conf.arp_ignore),
    (PROMOTE_SECONDARIES, "promote_secondaries", |conf| conf.promote_secondaries),
    (ACCEPT_LOCAL, "accept_local", |conf| conf.accept_local),
    (IGNORE_ROUTES_WITH_LINKDOWN, "ignore_routes_with_linkdown", |conf| {
        conf.ignore_routes_with_linkdown
    }),
];

/// One setting and its new value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    pub setting: u16,
    pub value: u32,
}

/// The settings of a port in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conf([Option<u32>; NAMES.len()]);

impl Conf {
    /// Parses an `RTM_NEWLINK` message; `None` for an interface without IPv4.
    pub fn read(message: &Message<'_>) -> Option<Self> {
        let conf = rtnetlink::inet_conf(message)?;
        Some(Self(NAMES.map(|(.., value)| u32::try_from(value(&conf)).ok())))
    }

    #[cfg(test)]
    pub fn of(values: &[(u16, u32)]) -> Self {
        Self(NAMES.map(|(setting, ..)| {
            values.iter().find(|(number, _)| *number == setting).map(|(_, value)| *value)
        }))
    }

    pub fn get(&self, setting: u16) -> Option<u32> {
        NAMES
            .iter()
            .zip(self.0)
            .find(|((number, ..), _)| *number == setting)
            .and_then(|(_, value)| value)
    }
}

/// Returns the settings of a plan in the order of writing.
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

/// Returns the changes from `now` to `wanted`, all of `wanted` if `now` cannot be read.
pub fn changes(wanted: &InterfaceConf, now: Option<&Conf>) -> Vec<Change> {
    let wanted = planned(wanted)
        .into_iter()
        .filter_map(|(setting, value)| Some(Change { setting, value: value? }));
    wanted
        .filter(|change| now.and_then(|now| now.get(change.setting)) != Some(change.value))
        .collect()
}

/// Returns the values of `before` for the settings that `wanted` leaves open.
pub fn released(wanted: &InterfaceConf, before: &InterfaceConf) -> Vec<Change> {
    let both = planned(wanted).into_iter().zip(planned(before));
    both.filter_map(|((setting, wanted), (_, before))| {
        before.filter(|_| wanted.is_none()).map(|value| Change { setting, value })
    })
    .collect()
}

/// Formats changes as "arp_ignore=1, forwarding=1".
pub fn named(changes: &[Change]) -> String {
    let texts: Vec<_> =
        changes.iter().map(|change| format!("{}={}", name(change.setting), change.value)).collect();
    texts.join(", ")
}

pub fn name(setting: u16) -> &'static str {
    NAMES.iter().find(|(number, ..)| *number == setting).map_or("?", |(_, name, _)| name)
}

/// Returns the number of a setting that we may change.
pub fn number(name: &str) -> Option<u16> {
    NAMES.iter().find(|(_, known, _)| *known == name).map(|(number, ..)| *number)
}

/// Returns the highest valid value of a setting (Documentation/networking/ip-sysctl.rst).
pub fn highest(setting: u16) -> u32 {
    match setting {
        ARP_IGNORE => 8,
        ARP_ANNOUNCE | RP_FILTER => 2,
        _ => 1,
    }
}

/// Writes settings of a port.
///
/// # Errors
/// As [`Rtnl::send`].
pub fn write(rtnl: &mut Rtnl, index: LinkIndex, changes: &[Change]) -> Result<(), NetlinkError> {
    let settings: Vec<_> = changes.iter().map(|change| (change.setting, change.value)).collect();
    rtnl.carry_out(&rtnetlink::set_inet_conf(index, &settings)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(forwarding: u32, arp_ignore: u32) -> Conf {
        Conf(NAMES.map(|(setting, ..)| match setting {
            FORWARDING => Some(forwarding),
            ARP_IGNORE => Some(arp_ignore),
            _ => Some(0),
        }))
    }

    #[test]
    fn only_differences_are_written_and_arp_comes_before_forwarding() {
        let wanted = InterfaceConf {
            forwarding: Some(true),
            arp_ignore: Some(1),
            ..InterfaceConf::default()
        };
        assert_eq!(named(&changes(&wanted, Some(&conf(0, 0)))), "arp_ignore=1, forwarding=1");
        assert_eq!(named(&changes(&wanted, Some(&conf(0, 1)))), "forwarding=1");
        assert!(changes(&wanted, Some(&conf(1, 1))).is_empty());
    }

    #[test]
    fn settings_left_open_by_the_plan_are_unchanged() {
        assert!(changes(&InterfaceConf::default(), Some(&conf(1, 2))).is_empty());
    }
}
