//! The plan of a session, derived from the order and the uplink's state.

use std::cmp::Reverse;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::Ipv6Addr;

use bramblegate_api::clat::Mode;
use bramblegate_clat::Prefix;
use bramblegate_netlink::packet::address::AddressFlags;
use ipnet::Ipv6Net;

use crate::network::{Address, NextHop, Route, Uplink};

/// The minimum MTU of IPv6, in octets (RFC 8200, section 5).
const LEAST_MTU: u32 = 1280;
/// How many addresses are tried where duplicate address detection fails (RFC 7217, section 6:
/// IDGEN_RETRIES).
pub const TRIES: u32 = 3;

/// A validated order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub uplink: String,
    pub prefix: Prefix,
    pub mode: Mode,
    pub address: Option<Ipv6Addr>,
    pub mtu: Option<u16>,
}

/// The origin of the CLAT's IPv6 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// Generated in the venue's /64 with this prefix.
    Network(Ipv6Addr),
    /// Given by the order, and added to the uplink.
    Given(Ipv6Addr),
    /// An address that the head itself uses too.
    Shared(Ipv6Addr),
}

/// Everything that a session depends on: a change restarts the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub order: Order,
    pub uplink: Uplink,
    pub base: Base,
    /// The IPv6 MTU, in octets.
    pub mtu: u16,
}

impl Plan {
    /// Makes a plan. `mtu` is the uplink's IPv6 MTU, where the kernel reports one.
    ///
    /// # Errors
    /// The uplink has no suitable address.
    pub fn new(
        order: Order,
        uplink: Uplink,
        addresses: &[Address],
        mtu: Option<u32>,
    ) -> Result<Self, String> {
        let base = match order.address {
            Some(given) if addresses.iter().any(|a| a.address == given && !is_ours(a)) => {
                Base::Shared(given)
            }
            Some(given) => Base::Given(given),
            None => base(addresses)
                .ok_or_else(|| format!("{} has no global IPv6 address", order.uplink))?,
        };
        let mtu = order.mtu.map_or(mtu.unwrap_or(uplink.mtu), u32::from).max(LEAST_MTU);
        Ok(Self { order, uplink, base, mtu: u16::try_from(mtu).unwrap_or(u16::MAX) })
    }

    /// Returns whether an address is in the /64 in which the plan generates addresses.
    pub fn generates(&self, address: Ipv6Addr) -> bool {
        let Base::Network(network) = self.base else { return false };
        address.to_bits() >> 64 == network.to_bits() >> 64
    }
}

/// Returns where the address comes from: a /64 of which the head has an address, even a tentative
/// one, else an address to share. Prefers global addresses to unique local ones.
fn base(addresses: &[Address]) -> Option<Base> {
    let without = |flags: AddressFlags| {
        addresses.iter().filter(move |address| !address.flags.intersects(flags))
    };
    let local = |address: &&Address| address.address.is_unique_local();
    let networks = without(AddressFlags::Deprecated).filter(|address| address.prefix_length == 64);
    let network = networks.min_by_key(local).map(|address| {
        let mask = u128::MAX << 64;
        Base::Network(Ipv6Addr::from_bits(address.address.to_bits() & mask))
    });
    let unfit = AddressFlags::Tentative | AddressFlags::Dadfailed | AddressFlags::Deprecated;
    let shared = || without(unfit).min_by_key(local).map(|address| Base::Shared(address.address));
    network.or_else(shared)
}

/// Returns the uplink's router for all addresses of a NAT64 prefix; `None` where the kernel has to
/// choose for each packet, since it knows which of several routers is reachable. But where another
/// interface has a route too, the kernel could choose that interface's router by its metric, and
/// resolve it on the uplink: then the best of the uplink's routers is returned.
pub fn next_hop(routes: &[Route], uplink: u32, prefix: &Prefix) -> Option<Ipv6Addr> {
    let prefix = Ipv6Net::new(prefix.address(), prefix.length()).ok()?;
    let overlaps = |route: &&Route| route.to.contains(&prefix) || prefix.contains(&route.to);
    let (mut routers, mut has_choice, mut has_others) = (Vec::new(), false, false);
    for route in routes.iter().filter(overlaps) {
        let length = route.to.prefix_len();
        match route.next_hop {
            NextHop::Router(port, _) | NextHop::Link(port) if port != uplink => has_others = true,
            NextHop::Router(_, router) if length <= prefix.prefix_len() => {
                routers.push((Reverse(length), route.metric, router));
            }
            NextHop::Router(..) => has_choice = true,
            // A catch-all such as `unreachable default`, which loses to every other route.
            NextHop::Other if length == 0 => {}
            NextHop::Link(_) | NextHop::Other => return None,
        }
    }
    let (.., best) = routers.iter().min()?;
    has_choice |= routers.iter().any(|(.., router)| router != best);
    (has_others || !has_choice).then_some(*best)
}

/// Returns the smallest MTU, in octets, of the uplink's routes to a NAT64 prefix: dhcpcd keeps there
/// what a router advertises. `None`: that of the interface counts.
pub fn route_mtu(routes: &[Route], uplink: u32, prefix: &Prefix) -> Option<u32> {
    let prefix = Ipv6Net::new(prefix.address(), prefix.length()).ok()?;
    let leads = routes.iter().filter(|route| {
        let (NextHop::Router(port, _) | NextHop::Link(port)) = route.next_hop else { return false };
        port == uplink && route.to.contains(&prefix)
    });
    leads.filter_map(|route| route.mtu).min()
}

/// Returns whether this program, or an earlier process of it, added an address.
pub fn is_ours(address: &Address) -> bool {
    let ours = AddressFlags::Deprecated | AddressFlags::Permanent | AddressFlags::Noprefixroute;
    address.prefix_length == 128 && address.flags.contains(ours)
}

/// Returns whether this program generated and added an address, as no other program does.
pub fn is_generated(address: &Address, secret: &str) -> bool {
    let network = Ipv6Addr::from_bits(address.address.to_bits() & u128::MAX << 64);
    is_ours(address)
        && (0..TRIES).any(|attempt| stable_address(network, secret, attempt) == address.address)
}

/// Generates an address in a /64: stable on one machine, different in each network, and so as
/// opaque as a random one (RFC 7217). `secret` is the machine's.
pub fn stable_address(network: Ipv6Addr, secret: &str, attempt: u32) -> Ipv6Addr {
    let mut hasher = DefaultHasher::new();
    ("bramblegate-clat", network, secret, attempt).hash(&mut hasher);
    // Avoids reserved identifiers (RFC 5453): bit 15 is set in those of subnet anycast, and the
    // lowest bit clear in that of the subnet router. Others are too unlikely.
    let identifier = (hasher.finish() & !0x8000) | 1;
    Ipv6Addr::from_bits(network.to_bits() | u128::from(identifier))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn address(text: &str, prefix_length: u8, flags: AddressFlags) -> Address {
        Address { address: text.parse().unwrap(), prefix_length, flags }
    }

    #[test]
    fn prefers_a_network_to_a_shared_address_and_global_to_local() {
        let none = AddressFlags::empty();
        let local = address("fd00:1::5", 64, none);
        let host = address("2001:db8:7::5", 128, none);
        let global = address("2001:db8:64:1::5", 64, none);
        let network = |text: &str| Some(Base::Network(text.parse().unwrap()));
        assert_eq!(base(&[local, host, global]), network("2001:db8:64:1::"));
        assert_eq!(base(&[host, local]), network("fd00:1::"));
        assert_eq!(base(&[host]), Some(Base::Shared(host.address)));
        assert_eq!(base(&[]), None);
    }

    #[test]
    fn the_next_hop_is_the_only_router_of_the_uplink() {
        let prefix: Prefix = "64:ff9b::/96".parse().unwrap();
        let route = |to: &str, metric, next_hop| Route {
            to: to.parse().unwrap(),
            metric,
            mtu: None,
            next_hop,
        };
        let router = |port, text: &str| NextHop::Router(port, text.parse().unwrap());
        let first = route("::/0", 1024, router(2, "fe80::1"));
        let second = route("::/0", 2048, router(2, "fe80::2"));
        let elsewhere = route("::/0", 100, router(3, "fe80::99"));
        let lead = |routes: &[Route]| next_hop(routes, 2, &prefix).map(|hop| hop.to_string());
        let is_first = Some("fe80::1".to_owned());
        assert_eq!(lead(&[first]), is_first);
        let others = [
            route("2001:db8::/32", 1, router(2, "fe80::3")),
            route("fe80::/64", 256, NextHop::Link(2)),
            route("::/0", u32::MAX, NextHop::Other),
        ];
        assert_eq!(lead(&[&others[..], &[first]].concat()), is_first);
        // Of two routers the kernel takes one that answers, unless it would take another port's.
        assert_eq!(lead(&[first, second]), None);
        assert_eq!(lead(&[second, elsewhere, first]), is_first);
        let narrow = route("64:ff9b::/96", 4096, router(2, "fe80::2"));
        assert_eq!(lead(&[first, narrow, elsewhere]), Some("fe80::2".into()));
        assert_eq!(lead(&[first, route("64:ff9b::808:0/112", 1, router(2, "fe80::2"))]), None);
        for other in [NextHop::Link(2), NextHop::Other] {
            assert_eq!(lead(&[first, elsewhere, route("64:ff9b::/64", 1, other)]), None);
        }
        assert_eq!(lead(&[elsewhere]), None);
        assert_eq!(lead(&[]), None);
    }

    #[test]
    fn the_smallest_mtu_of_the_routes_to_the_prefix_counts() {
        let prefix: Prefix = "64:ff9b::/96".parse().unwrap();
        let route = |to: &str, port, mtu| Route {
            to: to.parse().unwrap(),
            metric: 100,
            mtu,
            next_hop: NextHop::Router(port, "fe80::1".parse().unwrap()),
        };
        let all = [
            route("::/0", 2, None),
            route("::/0", 2, Some(1400)),
            route("::/0", 3, Some(1280)),
            route("2001:db8::/32", 2, Some(1280)),
            route("64:ff9b::/112", 2, Some(1280)),
        ];
        assert_eq!(route_mtu(&all, 2, &prefix), Some(1400));
        assert_eq!(route_mtu(&all, 3, &prefix), Some(1280));
        assert_eq!(route_mtu(&all[..1], 2, &prefix), None);
    }

    #[test]
    fn ignores_unusable_addresses_but_uses_the_network_of_a_tentative_one() {
        let of = |text: &str, length, flags| base(&[address(text, length, flags)]);
        let network = Some(Base::Network("2001:db8:64:1::".parse().unwrap()));
        for flags in [AddressFlags::Tentative, AddressFlags::Dadfailed] {
            assert_eq!(of("2001:db8:64:1::5", 64, flags), network, "{flags:?}");
            assert_eq!(of("2001:db8:64:1::5", 128, flags), None, "{flags:?}");
        }
        for length in [64, 128] {
            assert_eq!(of("2001:db8:64:1::5", length, AddressFlags::Deprecated), None);
        }
    }

    #[test]
    fn recognizes_its_own_address_and_does_not_share_it() {
        let ours = AddressFlags::Deprecated | AddressFlags::Permanent | AddressFlags::Noprefixroute;
        let left_over = address("2001:db8:64:1::464", 128, ours);
        assert!(is_ours(&left_over));
        let order = Order {
            uplink: "eth1".into(),
            prefix: Prefix::WELL_KNOWN,
            mode: Mode::Auto,
            address: Some(left_over.address),
            mtu: None,
        };
        let uplink = Uplink { index: 2, mtu: 1500, ethernet: true };
        let plan = Plan::new(order.clone(), uplink.clone(), &[left_over], Some(1280)).unwrap();
        assert_eq!((plan.base, plan.mtu), (Base::Given(left_over.address), 1280));
        let heads = address("2001:db8:64:1::464", 128, AddressFlags::Permanent);
        let plan = Plan::new(order, uplink, &[heads], None).unwrap();
        assert_eq!((plan.base, plan.mtu), (Base::Shared(heads.address), 1500));
    }

    #[test]
    fn a_generated_address_is_stable_and_differs_by_network_machine_and_attempt() {
        let network: Ipv6Addr = "2001:db8:64:1::".parse().unwrap();
        let first = stable_address(network, "machine", 0);
        assert_eq!(stable_address(network, "machine", 0), first);
        assert_eq!(first.to_bits() >> 64, network.to_bits() >> 64);
        let ours = AddressFlags::Deprecated | AddressFlags::Permanent | AddressFlags::Noprefixroute;
        let left = |flags| Address { address: first, prefix_length: 128, flags };
        assert!(is_generated(&left(ours), "machine"));
        assert!(
            !is_generated(&left(ours), "another")
                && !is_generated(&left(AddressFlags::Permanent), "machine")
        );
        let others = [
            stable_address(network, "machine", 1),
            stable_address(network, "another", 0),
            stable_address("2001:db8:64:2::".parse().unwrap(), "machine", 0),
        ];
        assert!(others.iter().all(|other| other.to_bits() as u64 != first.to_bits() as u64));
    }
}
