//! A mirror of the kernel's interfaces, addresses, routes, rules and per-interface settings.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::event::ROUTE_PROTOCOL;
use crate::event::{
    Address, Anycast, Change, Delegated, Instant, Link, LinkIndex, Netconf, Route, Rule,
};

/// The main routing table's number.
pub const TABLE_MAIN: u32 = 254;

/// Addresses of translators from IPv4 to IPv6 on this machine (RFC 7335, RFC 6877).
pub const TRANSLATORS: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(192, 0, 0, 0), 29);

/// An address of an interface, with the end of its lifetime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldAddress {
    pub address: IpNet,
    pub tentative: bool,
    /// When it was first reported as deprecated: its preferred lifetime has passed, but it remains
    /// valid until `valid_until`.
    pub deprecated_since: Option<Instant>,
    pub temporary: bool,
    pub link_local: bool,
    /// `None`: for ever.
    pub valid_until: Option<Instant>,
    /// Added by Bramblegate, in this run or an earlier one.
    pub ours: bool,
    /// An IPv6 address with a lifetime that was not renewed since the carrier was last lost: it may
    /// belong to another venue.
    pub unconfirmed: bool,
}

/// Returns whether an address is site-local (`fec0::/10`), which RFC 3879 deprecated and no network
/// routes. QEMU's user network advertises such addresses with a default route.
pub fn is_site_local(address: &IpNet) -> bool {
    matches!(address, IpNet::V6(net) if net.addr().segments()[0] & 0xffc0 == 0xfec0)
}

impl HeldAddress {
    /// Returns whether it can be used beyond the link. A deprecated one can (RFC 4862, 5.5.4), but
    /// new connections of the head prefer another.
    pub fn is_usable(&self) -> bool {
        !self.tentative && !self.link_local && !is_site_local(&self.address)
    }

    /// Returns whether it is a translator's own (`192.0.0.0/29`, RFC 7335): a source of outgoing
    /// traffic that is not reachable from outside.
    pub fn is_translators(&self) -> bool {
        matches!(self.address, IpNet::V4(net) if TRANSLATORS.contains(&net.addr()))
    }

    /// Returns whether a translator translates to and from it (RFC 6877): a /128 for ever that is
    /// preferred for no time, as bramblegate-clat adds it.
    pub fn is_translators_ipv6(&self) -> bool {
        matches!(self.address, IpNet::V6(net) if net.prefix_len() == 128)
            && self.deprecated_since.is_some()
            && self.valid_until.is_none()
    }

    /// Returns whether the network assigned it, by a router advertisement or DHCPv6.
    fn is_ipv6_of_the_network(&self) -> bool {
        matches!(self.address, IpNet::V6(_)) && self.valid_until.is_some() && !self.ours
    }

    /// Returns since when its lease or advertised prefix has not been renewed; `None` for an
    /// unlimited lifetime.
    pub fn not_renewed_since(&self) -> Option<Instant> {
        self.deprecated_since.filter(|_| self.valid_until.is_some())
    }
}

fn is_bridge(link: &Link) -> bool {
    link.kind.as_deref() == Some("bridge")
}

/// The mirrored state of the kernel.
#[derive(Debug, Clone, Default)]
pub struct KernelFacts {
    links: BTreeMap<LinkIndex, Link>,
    addresses: BTreeMap<LinkIndex, Vec<HeldAddress>>,
    anycast: BTreeSet<Anycast>,
    delegated: BTreeSet<Delegated>,
    routes: BTreeSet<Route>,
    rules: BTreeSet<Rule>,
    netconf: BTreeMap<LinkIndex, Netconf>,
    /// Bridges that the kernel reports to have a carrier.
    carrying_bridges: BTreeSet<LinkIndex>,
    listing: Option<Listing>,
}

/// The objects that a running dump has listed; all others are removed at its end.
#[derive(Debug, Clone, Default)]
struct Listing {
    links: BTreeSet<LinkIndex>,
    addresses: BTreeSet<(LinkIndex, IpNet)>,
    anycast: BTreeSet<Anycast>,
    delegated: BTreeSet<Delegated>,
    routes: BTreeSet<Route>,
    rules: BTreeSet<Rule>,
}

impl KernelFacts {
    pub fn links(&self) -> impl Iterator<Item = &Link> {
        self.links.values()
    }

    pub fn link(&self, index: LinkIndex) -> Option<&Link> {
        self.links.get(&index)
    }

    /// Returns the addresses in the order in which they appeared.
    pub fn addresses(&self, index: LinkIndex) -> &[HeldAddress] {
        self.addresses.get(&index).map_or(&[], Vec::as_slice)
    }

    /// Returns whether the interface has an anycast address.
    pub fn has_anycast(&self, index: LinkIndex) -> bool {
        self.anycast.iter().any(|held| held.index == index)
    }

    /// Returns the IPv6 prefixes delegated to this machine.
    pub fn delegated(&self) -> impl Iterator<Item = Ipv6Net> {
        self.delegated.iter().map(|Delegated(prefix)| *prefix)
    }

    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter()
    }

    pub fn rules(&self) -> &BTreeSet<Rule> {
        &self.rules
    }

    pub fn netconf(&self, index: LinkIndex) -> Option<&Netconf> {
        self.netconf.get(&index)
    }

    /// Returns whether IPv4 forwarding is reported to be on for this interface.
    pub fn is_forwarding(&self, index: LinkIndex) -> bool {
        self.netconf(index).is_some_and(|conf| conf.forwarding == Some(true))
    }

    /// Returns the default route of an interface in the main table with the lowest metric, IPv4
    /// before IPv6.
    pub fn default_route(&self, index: LinkIndex) -> Option<&Route> {
        let of_it = self.default_routes().filter(|r| r.index == index);
        of_it.min_by_key(|r| (matches!(r.destination, IpNet::V6(_)), r.metric))
    }

    /// Returns the default route like [`Self::default_route`], but only of this address's family.
    pub fn default_route_of(&self, index: LinkIndex, address: Option<IpNet>) -> Option<&Route> {
        let Some(address) = address else { return self.default_route(index) };
        let alike = |route: &&Route| {
            route.index == index && route.destination.addr().is_ipv4() == address.addr().is_ipv4()
        };
        self.default_routes().filter(alike).min_by_key(|route| route.metric)
    }

    /// Returns all default routes of the main table. They are adjacent in the set and found by a
    /// range query, as a routing protocol may add thousands of others and every event needs them.
    pub fn default_routes(&self) -> impl Iterator<Item = &Route> {
        [IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())].into_iter().flat_map(
            |everything| {
                let first = Route {
                    table: TABLE_MAIN,
                    destination: everything,
                    gateway: None,
                    index: 0,
                    metric: 0,
                    protocol: 0,
                    onlink: false,
                    preferred_source: None,
                    mtu: None,
                };
                let same = move |route: &&Route| {
                    route.table == TABLE_MAIN && route.destination == everything
                };
                self.routes.range(first..).take_while(same)
            },
        )
    }

    /// Returns whether an interface has a default route of this family in the main table.
    pub fn has_default_route(&self, index: LinkIndex, ipv4: bool) -> bool {
        let mut routes = self.default_routes();
        routes.any(|r| r.index == index && r.destination.addr().is_ipv4() == ipv4)
    }

    /// Returns whether an interface is up and has a carrier.
    pub fn is_running(&self, index: LinkIndex) -> bool {
        self.link(index).is_some_and(|link| link.up && link.carrier)
    }

    /// Returns whether a dump is running.
    pub fn is_listing(&self) -> bool {
        self.listing.is_some()
    }

    /// Begins a dump.
    pub fn begin_listing(&mut self) {
        self.listing = Some(Listing::default());
    }

    /// Ends a dump and removes what it did not list. Returns whether anything was removed.
    pub fn end_listing(&mut self) -> bool {
        let Some(listed) = self.listing.take() else { return false };
        let before = self.counts();
        self.links.retain(|index, _| listed.links.contains(index));
        for (index, held) in &mut self.addresses {
            held.retain(|h| listed.addresses.contains(&(*index, h.address)));
        }
        self.addresses.retain(|_, held| !held.is_empty());
        self.anycast.retain(|held| listed.anycast.contains(held));
        self.delegated.retain(|prefix| listed.delegated.contains(prefix));
        self.routes.retain(|r| listed.routes.contains(r));
        self.rules.retain(|r| listed.rules.contains(r));
        self.netconf.retain(|index, _| *index == Netconf::ALL || listed.links.contains(index));
        self.carrying_bridges.retain(|index| listed.links.contains(index));
        for bridge in self.carrying_bridges.clone() {
            self.correct_carrier(Some(bridge));
        }
        before != self.counts()
    }

    /// Counts links, addresses, anycast addresses, delegated prefixes, routes and rules.
    fn counts(&self) -> [usize; 6] {
        let addresses = self.addresses.values().map(Vec::len).sum();
        let (anycast, delegated) = (self.anycast.len(), self.delegated.len());
        let (routes, rules) = (self.routes.len(), self.rules.len());
        [self.links.len(), addresses, anycast, delegated, routes, rules]
    }

    /// Applies a change of a link. Returns whether it changed anything.
    pub fn apply_link(&mut self, change: &Change<Link>) -> bool {
        match change {
            Change::Present(link) => {
                if let Some(listing) = &mut self.listing {
                    listing.links.insert(link.index);
                }
                if !link.up {
                    self.forget_ipv4_routes(link.index);
                }
                let carrying = is_bridge(link) && link.carrier;
                if carrying {
                    self.carrying_bridges.insert(link.index)
                } else {
                    self.carrying_bridges.remove(&link.index)
                };
                let judged = Link {
                    carrier: link.carrier && (!carrying || self.has_live_port(link.index)),
                    ..link.clone()
                };
                let known = self.links.insert(link.index, judged);
                if known.as_ref().is_some_and(|known| known.carrier) {
                    self.unconfirm_without_carrier(link.index);
                }
                let changed = known.as_ref() != self.links.get(&link.index);
                let left = known
                    .and_then(|known| known.master)
                    .filter(|master| Some(*master) != link.master);
                self.correct_carrier(left);
                self.correct_carrier(link.master);
                changed
            }
            Change::Gone(link) => {
                // When an interface vanishes, the kernel reports the removal of its routes and
                // addresses only partly.
                self.addresses.remove(&link.index);
                self.anycast.retain(|held| held.index != link.index);
                self.routes.retain(|r| r.index != link.index);
                self.netconf.remove(&link.index);
                self.carrying_bridges.remove(&link.index);
                let known = self.links.remove(&link.index);
                self.correct_carrier(known.as_ref().and_then(|known| known.master));
                known.is_some()
            }
        }
    }

    /// Corrects the carrier of a bridge by its ports: a new bridge without ports reports a carrier
    /// (`operstate` unknown) until its first port was added and removed.
    fn correct_carrier(&mut self, bridge: Option<LinkIndex>) {
        let Some(bridge) = bridge.filter(|index| self.carrying_bridges.contains(index)) else {
            return;
        };
        let live = self.has_live_port(bridge);
        if let Some(link) = self.links.get_mut(&bridge) {
            link.carrier = live;
        }
        self.unconfirm_without_carrier(bridge);
    }

    /// Marks the addresses of an interface without a carrier as unconfirmed: the kernel keeps them,
    /// but the cable may be plugged into another network next.
    fn unconfirm_without_carrier(&mut self, index: LinkIndex) {
        if self.has_carrier(index) {
            return;
        }
        for held in self.addresses.get_mut(&index).into_iter().flatten() {
            held.unconfirmed = held.is_ipv6_of_the_network();
        }
    }

    /// Returns whether an interface has a carrier, or is not known yet.
    fn has_carrier(&self, index: LinkIndex) -> bool {
        self.links.get(&index).is_none_or(|link| link.carrier)
    }

    fn has_live_port(&self, bridge: LinkIndex) -> bool {
        self.links.values().any(|link| link.master == Some(bridge) && link.carrier)
    }

    /// Returns whether it is a bridge without ports.
    pub fn is_empty_bridge(&self, link: &Link) -> bool {
        is_bridge(link) && self.links.values().all(|port| port.master != Some(link.index))
    }

    /// Applies a change of an address. Returns whether it changed anything beyond the remaining
    /// lifetime.
    pub fn apply_address(&mut self, change: &Change<Address>, now: Instant) -> bool {
        match change {
            Change::Present(address) => {
                if let Some(listing) = &mut self.listing {
                    listing.addresses.insert((address.index, address.address));
                }
                let carrier = self.has_carrier(address.index);
                // Outside a dump, the kernel reports an address when it was renewed.
                let renewed = carrier && self.listing.is_none() && !address.deprecated;
                let mut fresh = HeldAddress {
                    address: address.address,
                    tentative: address.tentative,
                    deprecated_since: address.deprecated.then_some(now),
                    temporary: address.temporary,
                    link_local: address.link_local,
                    valid_until: address.valid_for.map(|rest| now + rest),
                    ours: address.protocol == ROUTE_PROTOCOL,
                    unconfirmed: false,
                };
                fresh.unconfirmed = !carrier && fresh.is_ipv6_of_the_network();
                let held = self.addresses.entry(address.index).or_default();
                let Some(known) = held.iter_mut().find(|h| h.address == address.address) else {
                    held.push(fresh);
                    return true;
                };
                let since = known.deprecated_since.or(fresh.deprecated_since);
                fresh.deprecated_since = fresh.deprecated_since.and(since);
                fresh.unconfirmed |= known.unconfirmed && !renewed;
                let changed =
                    HeldAddress { valid_until: fresh.valid_until, ..known.clone() } != fresh;
                *known = fresh;
                changed
            }
            Change::Gone(address) => {
                let Some(held) = self.addresses.get_mut(&address.index) else { return false };
                let before = held.len();
                held.retain(|h| h.address != address.address);
                let changed = before != held.len();
                let gone = address.address.addr();
                if gone.is_ipv4() && !held.iter().any(|h| h.address.addr().is_ipv4()) {
                    self.forget_ipv4_routes(address.index);
                } else if gone.is_ipv4() {
                    self.routes.retain(|route| route.preferred_source != Some(gone));
                }
                changed
            }
        }
    }

    /// Removes the IPv4 routes of an interface, as the kernel does without a message when the last
    /// IPv4 address is removed or the interface goes down. A later dump corrects any error.
    fn forget_ipv4_routes(&mut self, index: LinkIndex) {
        self.routes
            .retain(|route| route.index != index || matches!(route.destination, IpNet::V6(_)));
    }

    /// Counts the routes and rules with this protocol number.
    pub fn count_of_protocol(&self, protocol: u8) -> usize {
        let routes = self.routes.iter().filter(|route| route.protocol == protocol).count();
        routes + self.rules.iter().filter(|rule| rule.protocol == protocol).count()
    }

    /// Applies a change of an anycast address. Returns whether it changed anything.
    pub fn apply_anycast(&mut self, change: &Change<Anycast>) -> bool {
        let listed = self.listing.as_mut().map(|listing| &mut listing.anycast);
        apply(change, &mut self.anycast, listed)
    }

    /// Applies a change of a delegated prefix. Returns whether it changed anything.
    pub fn apply_delegated(&mut self, change: &Change<Delegated>) -> bool {
        let listed = self.listing.as_mut().map(|listing| &mut listing.delegated);
        apply(change, &mut self.delegated, listed)
    }

    /// Applies a change of a route. Returns whether it changed anything.
    pub fn apply_route(&mut self, change: &Change<Route>) -> bool {
        let listed = self.listing.as_mut().map(|listing| &mut listing.routes);
        apply(change, &mut self.routes, listed)
    }

    /// Applies a change of a policy routing rule. Returns whether it changed anything.
    pub fn apply_rule(&mut self, change: &Change<Rule>) -> bool {
        let listed = self.listing.as_mut().map(|listing| &mut listing.rules);
        apply(change, &mut self.rules, listed)
    }

    /// Applies per-interface settings; a message contains only what changed. Returns whether it
    /// changed anything.
    pub fn apply_netconf(&mut self, change: &Netconf) -> bool {
        let known = self
            .netconf
            .entry(change.index)
            .or_insert(Netconf { index: change.index, ..Netconf::default() });
        let before = *known;
        known.forwarding = change.forwarding.or(known.forwarding);
        known.rp_filter = change.rp_filter.or(known.rp_filter);
        known.arp_ignore = change.arp_ignore.or(known.arp_ignore);
        known.arp_announce = change.arp_announce.or(known.arp_announce);
        known.accept_redirects = change.accept_redirects.or(known.accept_redirects);
        known.send_redirects = change.send_redirects.or(known.send_redirects);
        known.accept_source_route = change.accept_source_route.or(known.accept_source_route);
        before != *known
    }

    /// Marks an address as ours, since the kernel stores no protocol before 5.18. Returns whether
    /// the address exists.
    pub fn claim(&mut self, index: LinkIndex, address: IpNet) -> bool {
        let mut held = self.addresses.get_mut(&index).into_iter().flatten();
        held.find(|held| held.address == address).map(|held| held.ours = true).is_some()
    }

    /// Returns whether the kernel added a route for an address of ours.
    pub fn is_of_ours(&self, route: &Route) -> bool {
        let of_ours =
            |held: &HeldAddress| held.ours && route.preferred_source == Some(held.address.addr());
        self.addresses(route.index).iter().any(of_ours)
    }

    /// Returns whether any interface has this address.
    pub fn is_local(&self, address: IpAddr) -> bool {
        self.addresses.values().flatten().any(|h| h.address.addr() == address)
    }
}

/// Applies a change to a set, and notes a present object as `listed`. Returns whether the set
/// changed.
fn apply<T: Clone + Ord>(
    change: &Change<T>,
    set: &mut BTreeSet<T>,
    listed: Option<&mut BTreeSet<T>>,
) -> bool {
    match change {
        Change::Present(object) => {
            if let Some(listed) = listed {
                listed.insert(object.clone());
            }
            set.insert(object.clone())
        }
        Change::Gone(object) => set.remove(object),
    }
}
