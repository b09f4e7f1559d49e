//! The IPv4 settings of our ports: what they have to be, and what others make of them.

use std::collections::BTreeSet;

use super::mirror::KernelFacts;
use super::port::Roles;
use crate::event::{Link, LinkIndex, Netconf};
use crate::facts::context::Context;

/// Answers ARP only for addresses of the port that was asked: never the venue's for one of the
/// cluster.
const ARP_IGNORE: u8 = 1;
/// Answers ARP for all addresses of this machine: on the cluster port, while an uplink's lies in
/// the cluster's network.
const ARP_ANSWER: u8 = 0;
/// Asks by ARP only with addresses of the port that asks.
const ARP_ANNOUNCE: u8 = 2;
/// Loose, on uplinks: with two of them answers may come by the other.
const RP_FILTER: u8 = 2;
/// A router neither follows redirects nor sends them, and takes no route from a packet's options.
/// The kernel takes "all" and the port's value together: by AND for `accept_redirects` (while
/// forwarding is on) and `accept_source_route`, so that the port's is enough; by OR for
/// `send_redirects` (`ip-sysctl.rst`), so that the rule set drops those that "all" lets out.
const REDIRECTS: u8 = 0;
const SOURCE_ROUTE: u8 = 0;

/// Holds on which uplinks the kernel forwards for the cluster's sake only.
#[derive(Debug, Clone, Default)]
pub(super) struct Forwarding {
    /// uplinks on which it was off when we first saw them in that role
    opened: BTreeSet<LinkIndex>,
    /// names of ports on which it was off before an earlier run switched it on
    recorded: Vec<String>,
}

impl Forwarding {
    /// Takes in on which ports it was off before an earlier run.
    pub fn record(&mut self, ports: &[String]) {
        ports.clone_into(&mut self.recorded);
    }

    /// Remembers the uplinks on which the kernel does not forward yet: what switches it
    /// on there later is this daemon.
    pub fn refresh(&mut self, context: Context<'_>, kernel: &KernelFacts, roles: &Roles) {
        self.opened.retain(|index| kernel.link(*index).is_some());
        if context.puts_back() {
            let off = |index: &LinkIndex| {
                kernel.netconf(*index).is_some_and(|conf| conf.forwarding == Some(false))
            };
            self.opened.extend(roles.uplinks.iter().copied().filter(off));
        }
    }

    /// Returns whether forwarding was off on this port before us.
    pub fn was_opened(&self, link: &Link) -> bool {
        self.opened.contains(&link.index) || self.recorded.contains(&link.name)
    }
}

/// Returns what a port of the gateway has to be set to. `answers_for_uplink`: as the cluster port
/// it answers ARP for an uplink's address too.
pub fn desired(index: LinkIndex, uplink: bool, answers_for_uplink: bool) -> Netconf {
    Netconf {
        index,
        forwarding: Some(true),
        rp_filter: (uplink || answers_for_uplink).then_some(RP_FILTER),
        arp_ignore: Some(if answers_for_uplink { ARP_ANSWER } else { ARP_IGNORE }),
        arp_announce: Some(ARP_ANNOUNCE),
        accept_redirects: Some(REDIRECTS),
        send_redirects: Some(REDIRECTS),
        accept_source_route: Some(SOURCE_ROUTE),
    }
}

/// Returns in words that a setting was changed.
pub(super) fn undone(name: &str, value: u8, port: &str) -> String {
    match value {
        0 if name == FORWARDING => format!("forwarding was switched off on {port}"),
        _ => format!("{name} was set to {value} on {port}"),
    }
}

const FORWARDING: &str = "forwarding";
/// As in `/proc/sys/net/ipv4/conf`, in the order of [`values`].
pub(super) const NAMES: [&str; 7] = [
    FORWARDING,
    "rp_filter",
    "arp_ignore",
    "arp_announce",
    "accept_redirects",
    "send_redirects",
    "accept_source_route",
];

/// Returns the values in the order of [`NAMES`].
pub(super) fn values(conf: &Netconf) -> [Option<u8>; NAMES.len()] {
    [
        conf.forwarding.map(u8::from),
        conf.rp_filter,
        conf.arp_ignore,
        conf.arp_announce,
        conf.accept_redirects,
        conf.send_redirects,
        conf.accept_source_route,
    ]
}
