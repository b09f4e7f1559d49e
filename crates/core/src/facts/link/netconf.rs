//! The IPv4 settings of our ports, and drift of them.

use std::collections::BTreeSet;

use super::mirror::KernelFacts;
use super::port::Roles;
use crate::event::{Link, LinkIndex, Netconf};
use crate::facts::context::Context;

/// Tracks the uplinks on which Bramblegate enabled forwarding.
#[derive(Debug, Clone, Default)]
pub(super) struct Forwarding {
    /// Uplinks on which it was still off when they got that role.
    enabled: BTreeSet<LinkIndex>,
    /// Names of ports on which an earlier run enabled it, from the saved state.
    saved: Vec<String>,
}

impl Forwarding {
    /// Restores the ports on which an earlier run enabled forwarding.
    pub fn restore(&mut self, ports: &[String]) {
        ports.clone_into(&mut self.saved);
    }

    /// Notes the uplinks on which forwarding is still off, as the daemon is about to enable it.
    pub fn refresh(&mut self, context: Context<'_>, kernel: &KernelFacts, roles: &Roles) {
        self.enabled.retain(|index| kernel.link(*index).is_some());
        if context.repairs_drift() {
            let off = |index: &LinkIndex| {
                kernel.netconf(*index).is_some_and(|conf| conf.forwarding == Some(false))
            };
            self.enabled.extend(roles.uplinks.iter().copied().filter(off));
        }
    }

    /// Returns whether Bramblegate enabled forwarding on this port.
    pub fn was_enabled(&self, link: &Link) -> bool {
        self.enabled.contains(&link.index) || self.saved.contains(&link.name)
    }
}

/// Describes the drift of a setting.
pub(super) fn undone(name: &str, value: u8, port: &str) -> String {
    match value {
        0 if name == FORWARDING => format!("forwarding was switched off on {port}"),
        _ => format!("{name} was set to {value} on {port}"),
    }
}

const FORWARDING: &str = "forwarding";
/// Names in `/proc/sys/net/ipv4/conf`, in the order of [`values`].
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
