//! What the kernel reported of interfaces, addresses, routes, rules and per-interface settings: a
//! mirror, nothing more.

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

/// An address with the moment its lease ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldAddress {
    pub address: IpNet,
    pub tentative: bool,
    /// when the kernel first called it deprecated: its preferred lifetime has passed, and it works
    /// until `valid_until`
    pub deprecated_since: Option<Instant>,
    pub temporary: bool,
    pub link_local: bool,
    /// `None` = for ever
    pub valid_until: Option<Instant>,
    /// put there by us, in this run or an earlier one: no lease
    pub ours: bool,
    /// an IPv6 address with a lifetime, from before the cable was put in last, and not renewed
    /// since: the network that it belongs to may be another venue's
    pub unconfirmed: bool,
}

/// Returns whether an address is of `fec0::/10`, which RFC 3879 abolished and no network leads out
/// of. QEMU's user network advertises such addresses with a default route.
pub fn is_site_local(address: &IpNet) -> bool {
    matches!(address, IpNet::V6(net) if net.addr().segments()[0] & 0xffc0 == 0xfec0)
}

impl HeldAddress {
    /// Returns whether it is good beyond the wire. A deprecated one is (RFC 4862, 5.5.4): only new
    /// connections of ours prefer another.
    pub fn is_usable(&self) -> bool {
        !self.tentative && !self.link_local && !is_site_local(&self.address)
    }

    /// Returns whether it is a translator's own (`192.0.0.0/29`, RFC 7335): traffic leaves by it,
    /// and it answers no one.
    pub fn is_translators(&self) -> bool {
        matches!(self.address, IpNet::V4(net) if TRANSLATORS.contains(&net.addr()))
    }

    /// Returns whether the network on the wire gave it, and can take it away: by a router's
    /// advertisement or DHCPv6.
    fn is_ipv6_of_the_network(&self) -> bool {
        matches!(self.address, IpNet::V6(_)) && self.valid_until.is_some() && !self.ours
    }

    /// Returns since when its lease, or the prefix that a router advertises, is not renewed; `None`
    /// for one without an end.
    pub fn not_renewed_since(&self) -> Option<Instant> {
        self.deprecated_since.filter(|_| self.valid_until.is_some())
    }
}

fn is_bridge(link: &Link) -> bool {
    link.kind.as_deref() == Some("bridge")
}

/// Everything the kernel holds that matters to us, by interface index.
#[derive(Debug, Clone, Default)]
pub struct KernelFacts {
    links: BTreeMap<LinkIndex, Link>,
    addresses: BTreeMap<LinkIndex, Vec<HeldAddress>>,
    anycast: BTreeSet<Anycast>,
    delegated: BTreeSet<Delegated>,
    routes: BTreeSet<Route>,
    rules: BTreeSet<Rule>,
    netconf: BTreeMap<LinkIndex, Netconf>,
    /// bridges of which the kernel says that they have a carrier
    carrying_bridges: BTreeSet<LinkIndex>,
    listing: Option<Listing>,
}

/// What a running dump has listed so far; the rest is forgotten at its end.
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

    /// Returns whether a program answers for an IPv6 address on an interface that does not have it.
    pub fn has_anycast(&self, index: LinkIndex) -> bool {
        self.anycast.iter().any(|held| held.index == index)
    }

    /// Returns the IPv6 prefixes that were delegated to this machine.
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

    /// Returns whether the kernel is known to forward IPv4 packets that come in here.
    pub fn is_forwarding(&self, index: LinkIndex) -> bool {
        self.netconf(index).is_some_and(|conf| conf.forwarding == Some(true))
    }

    /// Returns the default route of an interface in the main table with the lowest metric, IPv4
    /// before IPv6.
    pub fn default_route(&self, index: LinkIndex) -> Option<&Route> {
        let of_it = self.default_routes().filter(|r| r.index == index);
        of_it.min_by_key(|r| (matches!(r.destination, IpNet::V6(_)), r.metric))
    }

    /// Returns what [`Self::default_route`] does, of the family of this address: an IPv6 router
    /// leads an IPv4 address nowhere.
    pub fn default_route_of(&self, index: LinkIndex, address: Option<IpNet>) -> Option<&Route> {
        let Some(address) = address else { return self.default_route(index) };
        let alike = |route: &&Route| {
            route.index == index && route.destination.addr().is_ipv4() == address.addr().is_ipv4()
        };
        self.default_routes().filter(alike).min_by_key(|route| route.metric)
    }

    /// Returns all default routes of the main table. They stand together in the set and are looked
    /// up: a venue that speaks a routing protocol may bring thousands of others, and this is asked
    /// with each event.
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

    /// Returns whether a dump is running.
    pub fn is_listing(&self) -> bool {
        self.listing.is_some()
    }

    /// Begins a dump: what it lists is remembered.
    pub fn begin_listing(&mut self) {
        self.listing = Some(Listing::default());
    }

    /// Ends a dump: what it did not list is forgotten. Returns whether anything was.
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
            self.judge_bridge(Some(bridge));
        }
        before != self.counts()
    }

    /// Returns how many links, addresses, anycast addresses, delegated prefixes, routes and rules
    /// there are.
    fn counts(&self) -> [usize; 6] {
        let addresses = self.addresses.values().map(Vec::len).sum();
        let (anycast, delegated) = (self.anycast.len(), self.delegated.len());
        let (routes, rules) = (self.routes.len(), self.rules.len());
        [self.links.len(), addresses, anycast, delegated, routes, rules]
    }

    /// Takes a link in. Returns whether it changed anything.
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
                    self.doubt_without_carrier(link.index);
                }
                let changed = known.as_ref() != self.links.get(&link.index);
                let left = known
                    .and_then(|known| known.master)
                    .filter(|master| Some(*master) != link.master);
                self.judge_bridge(left);
                self.judge_bridge(link.master);
                changed
            }
            Change::Gone(link) => {
                // The kernel reports the routes' and addresses' end only partly when an interface
                // vanishes.
                self.addresses.remove(&link.index);
                self.anycast.retain(|held| held.index != link.index);
                self.routes.retain(|r| r.index != link.index);
                self.netconf.remove(&link.index);
                self.carrying_bridges.remove(&link.index);
                let known = self.links.remove(&link.index);
                self.judge_bridge(known.as_ref().and_then(|known| known.master));
                known.is_some()
            }
        }
    }

    /// Gives a bridge the carrier that it has by its ports: a new one without ports claims to have
    /// one (`operstate` unknown), until its first port has come and gone.
    fn judge_bridge(&mut self, bridge: Option<LinkIndex>) {
        let Some(bridge) = bridge.filter(|index| self.carrying_bridges.contains(index)) else {
            return;
        };
        let live = self.has_live_port(bridge);
        if let Some(link) = self.links.get_mut(&bridge) {
            link.carrier = live;
        }
        self.doubt_without_carrier(bridge);
    }

    /// Where the cable was pulled it may be put into another network next. The kernel keeps the
    /// addresses.
    fn doubt_without_carrier(&mut self, index: LinkIndex) {
        if self.carries(index) {
            return;
        }
        for held in self.addresses.get_mut(&index).into_iter().flatten() {
            held.unconfirmed = held.is_ipv6_of_the_network();
        }
    }

    fn carries(&self, index: LinkIndex) -> bool {
        self.links.get(&index).is_none_or(|link| link.carrier)
    }

    fn has_live_port(&self, bridge: LinkIndex) -> bool {
        self.links.values().any(|link| link.master == Some(bridge) && link.carrier)
    }

    /// Returns whether it is a bridge without ports.
    pub fn is_empty_bridge(&self, link: &Link) -> bool {
        is_bridge(link) && self.links.values().all(|port| port.master != Some(link.index))
    }

    /// Takes an address in. Returns whether it changed anything beyond the remaining lease time.
    pub fn apply_address(&mut self, change: &Change<Address>, now: Instant) -> bool {
        match change {
            Change::Present(address) => {
                if let Some(listing) = &mut self.listing {
                    listing.addresses.insert((address.index, address.address));
                }
                let carries = self.carries(address.index);
                // The kernel reports it by itself when a router or a DHCP client has renewed it.
                let renewed = carries && self.listing.is_none() && !address.deprecated;
                let fresh = HeldAddress {
                    address: address.address,
                    tentative: address.tentative,
                    deprecated_since: address.deprecated.then_some(now),
                    temporary: address.temporary,
                    link_local: address.link_local,
                    valid_until: address.valid_for.map(|rest| now + rest),
                    ours: address.protocol == ROUTE_PROTOCOL,
                    unconfirmed: false,
                };
                let unconfirmed = !carries && fresh.is_ipv6_of_the_network();
                let fresh = HeldAddress { unconfirmed, ..fresh };
                let held = self.addresses.entry(address.index).or_default();
                match held.iter_mut().find(|h| h.address == address.address) {
                    Some(known) => {
                        let since = known.deprecated_since.or(fresh.deprecated_since);
                        let fresh = HeldAddress {
                            deprecated_since: fresh.deprecated_since.and(since),
                            unconfirmed: fresh.unconfirmed || known.unconfirmed && !renewed,
                            ..fresh
                        };
                        let changed =
                            HeldAddress { valid_until: fresh.valid_until, ..known.clone() }
                                != fresh;
                        *known = fresh;
                        changed
                    }
                    None => {
                        held.push(fresh);
                        true
                    }
                }
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

    /// Forgets the IPv4 routes of an interface. With its last IPv4 address, or when it is switched
    /// off, the kernel drops them without a message. A listing follows in any case and has the last
    /// word.
    fn forget_ipv4_routes(&mut self, index: LinkIndex) {
        self.routes
            .retain(|route| route.index != index || matches!(route.destination, IpNet::V6(_)));
    }

    /// Returns how many routes and rules carry this protocol number.
    pub fn count_of_protocol(&self, protocol: u8) -> usize {
        let routes = self.routes.iter().filter(|route| route.protocol == protocol).count();
        routes + self.rules.iter().filter(|rule| rule.protocol == protocol).count()
    }

    /// Takes an anycast address in. Returns whether it changed anything.
    pub fn apply_anycast(&mut self, change: &Change<Anycast>) -> bool {
        match change {
            Change::Present(held) => {
                if let Some(listing) = &mut self.listing {
                    listing.anycast.insert(*held);
                }
                self.anycast.insert(*held)
            }
            Change::Gone(held) => self.anycast.remove(held),
        }
    }

    /// Takes a delegated prefix in. Returns whether it changed anything.
    pub fn apply_delegated(&mut self, change: &Change<Delegated>) -> bool {
        match change {
            Change::Present(prefix) => {
                if let Some(listing) = &mut self.listing {
                    listing.delegated.insert(*prefix);
                }
                self.delegated.insert(*prefix)
            }
            Change::Gone(prefix) => self.delegated.remove(prefix),
        }
    }

    /// Takes a route in. Returns whether it changed anything.
    pub fn apply_route(&mut self, change: &Change<Route>) -> bool {
        match change {
            Change::Present(route) => {
                if let Some(listing) = &mut self.listing {
                    listing.routes.insert(route.clone());
                }
                self.routes.insert(route.clone())
            }
            Change::Gone(route) => self.routes.remove(route),
        }
    }

    /// Takes a policy routing rule in. Returns whether it changed anything.
    pub fn apply_rule(&mut self, change: &Change<Rule>) -> bool {
        match change {
            Change::Present(rule) => {
                if let Some(listing) = &mut self.listing {
                    listing.rules.insert(rule.clone());
                }
                self.rules.insert(rule.clone())
            }
            Change::Gone(rule) => self.rules.remove(rule),
        }
    }

    /// Takes per-interface settings in; a message holds only what changed. Returns whether it
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

    /// Notes that an address is ours, where the kernel keeps no mark of it (before 5.18). False: it
    /// is not there.
    pub fn claim(&mut self, index: LinkIndex, address: IpNet) -> bool {
        let mut held = self.addresses.get_mut(&index).into_iter().flatten();
        held.find(|held| held.address == address).map(|held| held.ours = true).is_some()
    }

    /// Returns whether a route came along with an address of ours.
    pub fn is_of_ours(&self, route: &Route) -> bool {
        let of_ours =
            |held: &HeldAddress| held.ours && route.preferred_source == Some(held.address.addr());
        self.addresses(route.index).iter().any(of_ours)
    }

    /// Returns whether `address` is held by any interface.
    pub fn is_local(&self, address: IpAddr) -> bool {
        self.addresses.values().flatten().any(|h| h.address.addr() == address)
    }
}
