//! The IPv4 settings of our ports: what they have to be, and what others make of them.

use ipnet::IpNet;

use crate::event::{Link, LinkIndex, Netconf, Output};
use crate::facts::{Facts, Transition};

/// Answers ARP only for addresses of the port that was asked: never the venue's for one of the
/// cluster.
pub const ARP_IGNORE: u8 = 1;
/// Answers ARP for all addresses of this machine: on the cluster port, while an uplink's lies in
/// the cluster's network.
pub const ARP_ANSWER: u8 = 0;
/// Asks by ARP only with addresses of the port that asks.
pub const ARP_ANNOUNCE: u8 = 2;
/// Loose, on uplinks: with two of them answers may come by the other.
pub const RP_FILTER: u8 = 2;
/// A router neither follows redirects nor sends them, and takes no route from a packet's options.
/// The kernel takes "all" and the port's value together: by AND for `accept_redirects` (while
/// forwarding is on) and `accept_source_route`, so that the port's is enough; by OR for
/// `send_redirects` (`ip-sysctl.rst`), so that the rule set drops those that "all" lets out.
pub const REDIRECTS: u8 = 0;
pub const SOURCE_ROUTE: u8 = 0;

impl Facts {
    /// What the ports of the gateway have to be set to for as long as it is enabled.
    pub fn kept_netconf(&self) -> Vec<Netconf> {
        let ports = self.roles.uplinks.iter().chain(&self.roles.cluster);
        ports.filter_map(|index| self.kept_netconf_of(*index)).collect()
    }

    /// It is a port of a bridge or bond: it has been let go.
    pub(crate) fn is_enslaved(&self, index: LinkIndex) -> bool {
        self.roles.enslaved.iter().any(|(port, _)| *port == index)
    }

    /// `index` is the cluster port, and an uplink has an address that the nodes look for on their
    /// own wire, as the venue uses the same network. One that a node has is the node's there.
    pub fn answers_for_uplink(&self, index: LinkIndex) -> bool {
        let net = self.settings.cluster.address;
        let shared = |address: &IpNet| match address {
            IpNet::V4(held) => {
                net.contains(&held.addr()) && self.nodes.by_address(held.addr()).is_none()
            }
            IpNet::V6(_) => false,
        };
        let mut held = self.uplinks.values().filter_map(|memory| memory.address);
        self.roles.cluster == Some(index)
            && !self.is_clashing()
            && held.any(|address| shared(&address))
    }

    fn kept_netconf_of(&self, index: LinkIndex) -> Option<Netconf> {
        let ours =
            self.settings.gateway.enabled && self.roles.is_port(index) && !self.is_enslaved(index);
        ours.then(|| Netconf {
            index,
            forwarding: Some(true),
            rp_filter: (self.roles.uplinks.contains(&index) || self.answers_for_uplink(index))
                .then_some(RP_FILTER),
            arp_ignore: Some(if self.answers_for_uplink(index) { ARP_ANSWER } else { ARP_IGNORE }),
            arp_announce: Some(ARP_ANNOUNCE),
            accept_redirects: Some(REDIRECTS),
            send_redirects: Some(REDIRECTS),
            accept_source_route: Some(SOURCE_ROUTE),
        })
    }

    /// Whether this uplink's packets are forwarded for the cluster's sake only: before us the
    /// kernel forwarded nothing that came in by it. Somebody who sets `net.ipv4.ip_forward` (Docker
    /// does) wants more.
    pub fn is_forwarded_for_us(&self, link: &Link) -> bool {
        let recorded = || self.vitals.opened.contains(&link.name);
        !self.is_forwarding_everywhere()
            && (self.opened.contains(&link.index) || recorded() || !self.is_forwarding(link.index))
    }

    /// `net.ipv4.ip_forward`
    pub fn is_forwarding_everywhere(&self) -> bool {
        self.is_forwarding(Netconf::ALL)
    }

    fn is_forwarding(&self, index: LinkIndex) -> bool {
        self.facts.netconf(index).is_some_and(|conf| conf.forwarding == Some(true))
    }

    /// Remembers the uplinks on which the kernel does not forward yet: whoever it is that forwards
    /// there later, it is us.
    pub(crate) fn watch_forwarding(&mut self) {
        let (facts, opened) = (&self.facts, &mut self.opened);
        opened.retain(|index| facts.link(*index).is_some());
        if self.settings.gateway.enabled && self.stop.is_none() {
            let off = |index: &LinkIndex| {
                facts.netconf(*index).is_some_and(|conf| conf.forwarding == Some(false))
            };
            opened.extend(self.roles.uplinks.iter().copied().filter(off));
        }
    }

    /// The applier has been at the ports, and forwarding is on wherever it is to be. Of a port that
    /// is down the kernel tells nothing, and one without IPv4 has no forwarding.
    pub fn is_forwarding_set(&self) -> bool {
        let reported =
            self.outputs.held(Output::Link).is_some() || self.outputs.error(Output::Link).is_some();
        let up = |index| self.facts.link(index).is_some_and(|link| link.up);
        let on = |index| self.facts.netconf(index).is_none_or(|conf| conf.forwarding == Some(true));
        reported && self.kept_netconf().iter().all(|kept| !up(kept.index) || on(kept.index))
    }

    pub(crate) fn apply_netconf(&mut self, transitions: &Netconf) -> Vec<Transition> {
        let index = transitions.index;
        let known = self.facts.netconf(index).map(values).unwrap_or_default();
        self.facts.apply_netconf(transitions);
        let Some(kept) = self.kept_netconf_of(transitions.index).filter(|_| self.stop.is_none())
        else {
            return Vec::new();
        };
        let port =
            self.facts.link(transitions.index).map_or_else(String::new, |link| link.name.clone());
        let mut drifted = Vec::new();
        for (((name, kept), transitions), known) in
            NAMES.into_iter().zip(values(&kept)).zip(values(transitions)).zip(known)
        {
            let (Some(kept), Some(transitions)) = (kept, transitions) else { continue };
            if transitions == kept {
                continue;
            }
            // Known to be right before or not: of a port that is down the kernel does not tell what
            // we wrote.
            self.revisions.link += 1;
            if known == Some(kept) {
                drifted.push(match transitions {
                    0 if name == FORWARDING => format!("forwarding was switched off on {port}"),
                    _ => format!("{name} was set to {transitions} on {port}"),
                });
            }
        }
        for what in drifted {
            self.note_undone(index, what);
        }
        Vec::new()
    }
}

const FORWARDING: &str = "forwarding";
/// As in `/proc/sys/net/ipv4/conf`, in the order of [`values`].
const NAMES: [&str; 7] = [
    FORWARDING,
    "rp_filter",
    "arp_ignore",
    "arp_announce",
    "accept_redirects",
    "send_redirects",
    "accept_source_route",
];

fn values(conf: &Netconf) -> [Option<u8>; NAMES.len()] {
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
