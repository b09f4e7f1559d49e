//! Ports without a role: the head's own (tunnels, containers, virtual machines), those that
//! `gateway.trust` names, and all others, whose networks are treated as a venue.
//!
//! The rule set matches [`OWN_KINDS`] and [`OWN_CABLES`] itself, per packet, so that such a port
//! works before its event arrives, and while no daemon runs. Bridges are classified here, by their
//! ports.

use std::collections::BTreeSet;

use crate::config::Settings;
use crate::event::{Link, LinkIndex};

use super::mirror::{HeldAddress, KernelFacts};
use super::port::{self, Roles};

/// `IFLA_INFO_KIND` of interfaces that are never a network adapter: private tunnels, and the ends
/// of containers. Not in the list: `ppp`, `sit`, `gre` and other tunnels to a provider, and
/// interfaces on top of an adapter (`vlan`, `macvlan`, `bond`).
pub const OWN_KINDS: [&str; 13] = [
    "tun",
    "wireguard",
    "amneziawg",
    "ovpn",
    "ovpn-dco",
    "xfrm",
    "vti",
    "vti6",
    "vxlan",
    "geneve",
    "ipip",
    "dummy",
    "netkit",
];

/// Name prefixes of the `veth` interfaces that container software creates. Any other may be the
/// adapter of a head that is a container itself.
pub const OWN_CABLES: [&str; 11] =
    ["veth", "docker", "podman", "cni", "cali", "cilium", "lxc", "ve-", "vb-", "wg", "tailscale"];

/// Name prefixes of network adapters (systemd.net-naming-scheme(7), and the kernel's own).
const ADAPTERS: [&str; 7] = ["eth", "en", "wl", "ww", "usb", "lan", "wan"];

/// Ports without a role, recomputed when an interface or the settings change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Others {
    /// Sorted names of those that `gateway.trust` matches.
    pub trusted: Vec<String>,
    /// Sorted names of bridges without an adapter.
    pub bridges: Vec<String>,
    /// All others that the rule set does not match by kind or name.
    pub unknown: Vec<LinkIndex>,
}

impl Others {
    /// Classifies the ports without a role.
    pub fn of(settings: &Settings, facts: &KernelFacts, roles: &Roles) -> Self {
        let adapters =
            facts.links().filter(|link| is_adapter_in_bridge(link)).filter_map(|link| link.master);
        let with_adapter: BTreeSet<LinkIndex> = adapters.collect();
        let mut others = Self::default();
        let without_role =
            |link: &&Link| !link.loopback && link.master.is_none() && !roles.is_port(link.index);
        for link in facts.links().filter(without_role) {
            let bridge = link.kind.as_deref() == Some("bridge");
            if settings.gateway.trust.iter().any(|pattern| port::matches(pattern, link)) {
                others.trusted.push(link.name.clone());
            } else if bridge && !with_adapter.contains(&link.index) {
                others.bridges.push(link.name.clone());
            } else if bridge || !is_own(link) {
                others.unknown.push(link.index);
            }
        }
        others.trusted.sort();
        others.bridges.sort();
        others
    }

    /// Returns the unknown ports that are up and have an address, with that address.
    pub(super) fn addressed<'a>(
        &self,
        kernel: &'a KernelFacts,
        roles: &Roles,
    ) -> impl Iterator<Item = (&'a Link, &'a HeldAddress)> {
        let links = self.unknown.iter().filter_map(|index| kernel.link(*index));
        links.filter(|link| link.up && !stands_for_a_port(link, kernel, roles)).filter_map(|link| {
            let mut addresses = kernel.addresses(link.index).iter();
            addresses.find(|held| !held.link_local && !held.tentative).map(|held| (link, held))
        })
    }
}

/// Returns whether it is the master of a port with a role, or a VLAN on such a port that has no
/// address itself.
fn stands_for_a_port(link: &Link, kernel: &KernelFacts, roles: &Roles) -> bool {
    let master = roles.enslaved.iter().any(|(_, master)| *master == link.index);
    let carried = link.kind.as_deref() == Some("vlan")
        && link.parent.is_some_and(|parent| {
            roles.is_port(parent) && !kernel.addresses(parent).iter().any(HeldAddress::is_usable)
        });
    master || carried
}

/// Returns whether the rule set matches it by kind or name.
fn is_own(link: &Link) -> bool {
    match link.kind.as_deref() {
        Some("veth") => begins(&link.name, &OWN_CABLES),
        Some(kind) => OWN_KINDS.contains(&kind),
        None => false,
    }
}

/// Returns whether a port of a bridge leads out of this machine: hardware, an interface on top of
/// hardware, or a `veth` that is named like an adapter.
fn is_adapter_in_bridge(link: &Link) -> bool {
    match link.kind.as_deref() {
        Some("veth") => begins(&link.name, &ADAPTERS),
        Some(kind) => !OWN_KINDS.contains(&kind),
        None => true,
    }
}

fn begins(name: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PortPattern;
    use crate::event::Change;
    use crate::facts::tests::settings;

    fn link(index: LinkIndex, name: &str, kind: &str, master: Option<LinkIndex>) -> Link {
        let kind = (!kind.is_empty()).then(|| kind.to_owned());
        Link { kind, master, ..Link::wired(index, name) }
    }

    /// Returns the names of trusted ports, own bridges and unknown ports.
    fn judged(links: &[Link], trust: &[&str]) -> [Vec<String>; 3] {
        let mut settings = (*settings()).clone();
        settings.gateway.trust =
            trust.iter().map(|name| PortPattern::Glob((*name).to_owned())).collect();
        let mut facts = KernelFacts::default();
        for link in links {
            facts.apply_link(&Change::Present(link.clone()));
        }
        let roles = Roles::of(&settings, &facts);
        let others = Others::of(&settings, &facts, &roles);
        let unknown =
            others.unknown.iter().map(|index| facts.link(*index).unwrap().name.clone()).collect();
        [others.trusted, others.bridges, unknown]
    }

    #[test]
    fn tunnels_and_containers_are_the_heads_own_and_all_others_unknown() {
        for (name, kind, unknown) in [
            ("eth5", "", true),
            ("wlan7", "", true),
            ("usb0", "", true),
            ("eth0.60", "vlan", true),
            ("mv0", "macvlan", true),
            ("bond0", "bond", true),
            ("ppp0", "ppp", true),
            ("he-ipv6", "sit", true),
            ("up9", "veth", true),
            ("eth7", "veth", true),
            ("docker0", "", true),
            ("vethd1f0c3a", "veth", false),
            ("cali0123456789a", "veth", false),
            ("ve-box", "veth", false),
            ("wg0", "wireguard", false),
            ("tailscale0", "tun", false),
            ("flannel.1", "vxlan", false),
            ("kube-ipvs0", "dummy", false),
            ("made-next-year", "unheard-of", true),
        ] {
            let [trusted, bridges, found] = judged(&[link(7, name, kind, None)], &[]);
            assert_eq!(
                (trusted.len(), bridges.len(), !found.is_empty()),
                (0, 0, unknown),
                "{name} {kind}"
            );
        }
    }

    #[test]
    fn a_bridge_is_classified_by_its_ports() {
        let with = |name: &str, kind: &str| {
            judged(&[link(7, "br0", "bridge", None), link(8, name, kind, Some(7))], &[])
        };
        assert_eq!(
            judged(&[link(7, "docker0", "bridge", None)], &[])[1],
            ["docker0"],
            "empty as yet"
        );
        for (name, kind) in
            [("vethd1f0c3a", "veth"), ("box", "veth"), ("vnet0", "tun"), ("vxlan7", "vxlan")]
        {
            assert_eq!(with(name, kind)[1], ["br0"], "{name}");
        }
        for (name, kind) in
            [("eth5", ""), ("eth5", "veth"), ("eth5.7", "vlan"), ("bond0", "bond"), ("x", "bridge")]
        {
            assert_eq!(with(name, kind)[2], ["br0"], "{name}");
        }
    }

    #[test]
    fn a_port_that_is_trusted_or_has_a_role_is_not_unknown() {
        let links =
            [link(2, "eth0", "", None), link(3, "eth1", "", None), link(9, "eth9", "", None)];
        assert_eq!(judged(&links, &["eth[89]"]), [vec!["eth9".to_owned()], vec![], vec![]]);
        assert_eq!(judged(&links, &[])[2], ["eth9"]);
    }
}
