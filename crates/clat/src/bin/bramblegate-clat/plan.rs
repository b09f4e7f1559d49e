//! What is to be translated, worked out from the order and from what the uplink has.

use std::cmp::Reverse;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::Ipv6Addr;

use bramblegate_api::clat::Mode;
use bramblegate_clat::Prefix;
use bramblegate_netlink::packet::address::AddressFlags;
use ipnet::Ipv6Net;

use crate::network::{Address, Route, Uplink, Way};

/// The least MTU of IPv6, in octets (RFC 8200, section 5).
const LEAST_MTU: u32 = 1280;
/// How many addresses are tried where one after the other is a duplicate (RFC 7217, section 6:
/// IDGEN_RETRIES).
pub const TRIES: u32 = 3;

/// Holds an order as it is carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub uplink: String,
    pub prefix: Prefix,
    pub mode: Mode,
    pub address: Option<Ipv6Addr>,
    pub mtu: Option<u16>,
}

/// Names where the address comes from to translate with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// One is made of the venue's /64, which this address begins with.
    Network(Ipv6Addr),
    /// This one, which is added to the uplink.
    Given(Ipv6Addr),
    /// This one, which the head itself uses too.
    Shared(Ipv6Addr),
}

/// Holds all that a session depends on: when it changes the session begins anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub order: Order,
    pub uplink: Uplink,
    pub base: Base,
    /// The IPv6 MTU, in octets.
    pub mtu: u16,
}

impl Plan {
    /// Works it out. `mtu` is the uplink's for IPv6, where the kernel has one.
    ///
    /// # Errors
    /// What the uplink lacks.
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

    /// Returns whether an address is of the network of which addresses are made.
    pub fn makes(&self, address: Ipv6Addr) -> bool {
        let Base::Network(network) = self.base else { return false };
        address.to_bits() >> 64 == network.to_bits() >> 64
    }
}

/// Returns where an address comes from: a /64 that hosts make their own addresses of, else the one
/// that the venue gave. Global ones go before unique local ones. The /64 is the venue's as soon as
/// the head has an address of it, also while duplicates of that are looked for.
fn base(addresses: &[Address]) -> Option<Base> {
    let without = |unfit: AddressFlags| {
        addresses.iter().filter(move |address| !address.flags.intersects(unfit))
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

/// Returns the router of the uplink behind which all of a NAT64's addresses lie; `None` where the
/// kernel is to choose for each packet: it knows which of several routers answers. It goes by metrics
/// before ports, though, and would ask for another port's router at the uplink: then it is not asked.
pub fn next_hop(routes: &[Route], uplink: u32, prefix: &Prefix) -> Option<Ipv6Addr> {
    let prefix = Ipv6Net::new(prefix.address(), prefix.length()).ok()?;
    let touches = |route: &&Route| route.to.contains(&prefix) || prefix.contains(&route.to);
    let (mut ways, mut has_choice, mut by_others) = (Vec::new(), false, false);
    for route in routes.iter().filter(touches) {
        let length = route.to.prefix_len();
        match route.way {
            Way::Router(port, _) | Way::Link(port) if port != uplink => by_others = true,
            Way::Router(_, router) if length <= prefix.prefix_len() => {
                ways.push((Reverse(length), route.metric, router));
            }
            Way::Router(..) => has_choice = true,
            // Behind all others, as many a table ends.
            Way::Other if length == 0 => {}
            Way::Link(_) | Way::Other => return None,
        }
    }
    let (.., best) = ways.iter().min()?;
    has_choice |= ways.iter().any(|(.., router)| router != best);
    (by_others || !has_choice).then_some(*best)
}

/// Returns whether an address is one that this program added, also in an earlier life.
pub fn is_ours(address: &Address) -> bool {
    let ours = AddressFlags::Deprecated | AddressFlags::Permanent | AddressFlags::Noprefixroute;
    address.prefix_length == 128 && address.flags.contains(ours)
}

/// Returns whether an address is one that this program makes of its /64: none of another program's.
pub fn is_own(address: &Address, secret: &str) -> bool {
    let network = Ipv6Addr::from_bits(address.address.to_bits() & u128::MAX << 64);
    is_ours(address)
        && (0..TRIES).any(|attempt| own_address(network, secret, attempt) == address.address)
}

/// Returns an address of a /64: the same one on the same machine each time, another one in each
/// network, so that it reveals as little as a random one (RFC 7217). `secret` is the machine's.
pub fn own_address(network: Ipv6Addr, secret: &str, attempt: u32) -> Ipv6Addr {
    let mut hasher = DefaultHasher::new();
    ("bramblegate-clat", network, secret, attempt).hash(&mut hasher);
    // No reserved identifier (RFC 5453): those of anycast end in ffxx, and of ISATAP-like kinds none
    // is met by chance. The lowest bit keeps off the all-zero one, the subnet-router's.
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
    fn takes_a_network_before_a_shared_address_and_global_before_local() {
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
    fn leads_to_the_only_router_of_the_uplink() {
        let prefix: Prefix = "64:ff9b::/96".parse().unwrap();
        let route = |to: &str, metric, way| Route { to: to.parse().unwrap(), metric, way };
        let router = |port, text: &str| Way::Router(port, text.parse().unwrap());
        let first = route("::/0", 1024, router(2, "fe80::1"));
        let second = route("::/0", 2048, router(2, "fe80::2"));
        let elsewhere = route("::/0", 100, router(3, "fe80::99"));
        let lead = |routes: &[Route]| next_hop(routes, 2, &prefix).map(|hop| hop.to_string());
        let is_first = Some("fe80::1".to_owned());
        assert_eq!(lead(&[first]), is_first);
        let others = [
            route("2001:db8::/32", 1, router(2, "fe80::3")),
            route("fe80::/64", 256, Way::Link(2)),
            route("::/0", u32::MAX, Way::Other),
        ];
        assert_eq!(lead(&[&others[..], &[first]].concat()), is_first);
        // Of two routers the kernel takes one that answers, unless it would take another port's.
        assert_eq!(lead(&[first, second]), None);
        assert_eq!(lead(&[second, elsewhere, first]), is_first);
        let narrow = route("64:ff9b::/96", 4096, router(2, "fe80::2"));
        assert_eq!(lead(&[first, narrow, elsewhere]), Some("fe80::2".into()));
        assert_eq!(lead(&[first, route("64:ff9b::808:0/112", 1, router(2, "fe80::2"))]), None);
        for other in [Way::Link(2), Way::Other] {
            assert_eq!(lead(&[first, elsewhere, route("64:ff9b::/64", 1, other)]), None);
        }
        assert_eq!(lead(&[elsewhere]), None);
        assert_eq!(lead(&[]), None);
    }

    #[test]
    fn takes_no_address_that_goes_or_is_not_there_yet_but_the_network_of_one() {
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
    fn knows_its_own_address_again_and_shares_none_with_it() {
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
    fn an_own_address_stays_and_differs_by_network_machine_and_attempt() {
        let network: Ipv6Addr = "2001:db8:64:1::".parse().unwrap();
        let first = own_address(network, "machine", 0);
        assert_eq!(own_address(network, "machine", 0), first);
        assert_eq!(first.to_bits() >> 64, network.to_bits() >> 64);
        let ours = AddressFlags::Deprecated | AddressFlags::Permanent | AddressFlags::Noprefixroute;
        let left = |flags| Address { address: first, prefix_length: 128, flags };
        assert!(is_own(&left(ours), "machine"));
        assert!(
            !is_own(&left(ours), "another") && !is_own(&left(AddressFlags::Permanent), "machine")
        );
        let others = [
            own_address(network, "machine", 1),
            own_address(network, "another", 0),
            own_address("2001:db8:64:2::".parse().unwrap(), "machine", 0),
        ];
        assert!(others.iter().all(|other| other.to_bits() as u64 != first.to_bits() as u64));
    }
}
