//! The state of one uplink, and the choice of its primary address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::IpNet;

use crate::api::clat;
use crate::api::status::UplinkState;
use crate::event::{Acquisition, Instant, Link, LinkIndex, PortalUrl, Reachability};
use crate::facts::link::mirror::{HeldAddress, KernelFacts, TRANSLATORS};
use crate::facts::transition::Transition;

/// An address that is removed and added again within this time was renewed, not lost.
pub const RENEWAL_GRACE: Duration = Duration::from_secs(2);
/// How long row 1 may show an address after the kernel removed it.
pub const ROW1_GRACE: Duration = Duration::from_millis(200);
/// After this long with a carrier and without an address, the state is [`UplinkState::NoDhcp`].
pub const SEARCH_TIME: Duration = Duration::from_secs(10);

/// Time within which a router replies to the solicitation after carrier-up (RFC 4861, 6.2.6: half a
/// second, and 3 s after its last multicast advertisement). Until then an IPv6 address from before
/// is shown only if a router has renewed it.
pub const ROUTER_TIME: Duration = Duration::from_secs(4);

/// After this long without a reply, no DHCP server is assumed. dnsmasq pings each address before it
/// offers it, and was seen to send an offer only after 18 s when many clients start at once.
pub const ANSWER_TIME: Duration = Duration::from_secs(25);

/// Time after carrier-up within which an offered IPv4 address is configured: dhcpcd probes for
/// conflicts for 5 s (RFC 5227).
const OFFER_TIME: Duration = Duration::from_secs(10);

/// The state of an uplink.
#[derive(Debug, Clone, PartialEq)]
pub struct UplinkMemory {
    pub state: UplinkState,
    /// When `state` was entered; a renewal does not count.
    pub since: Instant,
    /// The address on row 1; kept during [`RENEWAL_GRACE`].
    pub address: Option<IpNet>,
    /// When that address was removed, while the carrier is present.
    pub lost_at: Option<Instant>,
    /// When a removed address was last added again.
    renewed_at: Option<Instant>,
    /// `state` before the address was removed.
    pub settled: UplinkState,
    carrier_since: Option<Instant>,
    /// Counts carrier-up transitions: what was observed before the last one is forgotten.
    pub carrier_ups: u64,
    /// Since when it has a carrier but no address.
    pub searching_since: Option<Instant>,
    /// Since when it has had an address and a default route without interruption.
    pub good_since: Option<Instant>,
    /// Since when it has an address but no default route.
    pub routeless_since: Option<Instant>,
    /// Since when it has an address but no IPv4 address.
    pub ipv6_only_since: Option<Instant>,
    /// It has an IPv6 address to which the kernel can masquerade the nodes.
    pub hides_ipv6: bool,
    pub reachability: Option<Reachability>,
    /// Whether IPv4 works by another program's translator.
    pub translator: Option<Reachability>,
    /// The translator's program holds its anycast address.
    translator_held: bool,
    /// The program has released the anycast address, but the translator's address and route remain.
    pub translator_ended: bool,
    /// The kernel's first complete listing was searched for what a translator left behind.
    is_searched: bool,
    /// Progress of its DHCP client; observed while it has no IPv4 address.
    pub acquisition: Option<Acquisition>,
    /// URL of the captive portal that replied to the last probe.
    pub portal: Option<PortalUrl>,
    /// URL of the captive portal in the DHCP lease (RFC 8910).
    pub portal_leased: Option<PortalUrl>,
    /// URL of the captive portal in a router advertisement (RFC 8910).
    pub portal_advertised: Option<PortalUrl>,
    /// Gateway at the last change of `generation`.
    route: Option<IpAddr>,
    /// Counts changes of address or gateway, each of which triggers a probe at once.
    pub generation: u64,
}

impl UplinkMemory {
    pub fn new(now: Instant) -> Self {
        Self {
            state: UplinkState::Absent,
            since: now,
            address: None,
            lost_at: None,
            renewed_at: None,
            settled: UplinkState::Absent,
            carrier_since: None,
            carrier_ups: 0,
            searching_since: None,
            good_since: None,
            routeless_since: None,
            ipv6_only_since: None,
            hides_ipv6: false,
            reachability: None,
            translator: None,
            translator_held: false,
            translator_ended: false,
            is_searched: false,
            acquisition: None,
            portal: None,
            portal_leased: None,
            portal_advertised: None,
            route: None,
            generation: 0,
        }
    }

    /// Updates the state from the kernel's. `clash`: the uplink holds an address of the cluster.
    pub fn refresh(
        &mut self,
        link: &Link,
        facts: &KernelFacts,
        clash: bool,
        now: Instant,
    ) -> Vec<Transition> {
        let mut transitions = Vec::new();
        let carrier = link.up && link.carrier;
        self.carrier_ups += u64::from(carrier && self.carrier_since.is_none());
        self.carrier_since = carrier.then(|| self.carrier_since.unwrap_or(now));
        let soliciting =
            self.carrier_since.is_some_and(|since| now.saturating_since(since) < ROUTER_TIME);
        let primary = best(facts, link.index, |held| carrier && !(soliciting && held.unconfirmed))
            .map(|held| held.address);
        self.hides_ipv6 = carrier && hides_ipv6(facts, link.index, soliciting);
        let gateway = facts.default_route_of(link.index, primary).map(|route| route.gateway);
        let before = self.address;
        match primary {
            Some(address) => {
                self.set_address(link, address, gateway.flatten(), now, &mut transitions)
            }
            None if carrier => self.miss_address(link, now, &mut transitions),
            None => self.forget_address(link, &mut transitions),
        }
        let another = primary.is_some() && primary != before;
        self.good_since =
            (primary.is_some() && gateway.is_some()).then(|| self.good_since.unwrap_or(now));
        let routeless = primary.is_some() && gateway.is_none();
        self.routeless_since = routeless.then(|| self.routeless_since.unwrap_or(now));
        let ipv4 = carrier && ipv4_primary(facts, link.index).is_some();
        let ipv6_only = primary.is_some() && !ipv4;
        self.ipv6_only_since = ipv6_only.then(|| self.ipv6_only_since.unwrap_or(now));
        let egress = gateway.flatten();
        if self.route != egress {
            self.route = egress;
            self.generation += 1;
        }
        if primary.is_none() {
            self.searching_since = carrier.then(|| self.searching_since.unwrap_or(now));
        } else {
            self.searching_since = None;
        }
        if !carrier || ipv4 {
            self.acquisition = None;
        }
        let translated = is_translated_by_another(facts, link);
        self.follow_translator(translated, translated && facts.has_anycast(link.index));
        if !facts.is_listing() && !std::mem::replace(&mut self.is_searched, true) {
            self.translator_ended |= translated && is_left_over(facts, link.index);
        }
        if !carrier {
            self.portal_leased = None;
            self.portal_advertised = None;
        }
        if self.reachability != Some(Reachability::Portal) {
            self.portal = None;
        }
        let state = self.derive_state(link, facts, carrier, primary.is_some(), clash, now);
        self.enter_state(link, state, another, now, &mut transitions);
        transitions
    }

    /// Follows another program's translator. NetworkManager's holds its IPv6 address by an anycast
    /// socket, which closes with the process, while the IPv4 address and default route remain.
    fn follow_translator(&mut self, translated: bool, held: bool) {
        let before = std::mem::replace(&mut self.translator_held, held);
        if !translated {
            (self.translator, self.translator_ended) = (None, false);
        } else if before != held {
            self.translator_ended = before;
            self.translator = None;
            self.generation += 1;
        }
    }

    fn set_address(
        &mut self,
        link: &Link,
        address: IpNet,
        gateway: Option<IpAddr>,
        now: Instant,
        transitions: &mut Vec<Transition>,
    ) {
        let port = link.name.clone();
        let renewed = self.lost_at.take().is_some();
        self.renewed_at = if renewed { Some(now) } else { self.renewed_at };
        if self.address != Some(address) {
            self.address = Some(address);
            self.reachability = None;
            self.generation += 1;
            transitions.push(Transition::UplinkAddress { port, address, gateway });
        } else if renewed {
            self.generation += 1;
            transitions.push(Transition::UplinkRenewed { port, address });
        }
    }

    fn miss_address(&mut self, link: &Link, now: Instant, transitions: &mut Vec<Transition>) {
        if self.address.is_none() {
            return;
        }
        let lost_at = *self.lost_at.get_or_insert(now);
        if now.saturating_since(lost_at) >= RENEWAL_GRACE {
            self.forget_address(link, transitions);
        }
    }

    fn forget_address(&mut self, link: &Link, transitions: &mut Vec<Transition>) {
        self.lost_at = None;
        self.reachability = None;
        if let Some(address) = self.address.take() {
            transitions.push(Transition::UplinkAddressLost { port: link.name.clone(), address });
        }
    }

    fn derive_state(
        &self,
        link: &Link,
        facts: &KernelFacts,
        carrier: bool,
        addressed: bool,
        clash: bool,
        now: Instant,
    ) -> UplinkState {
        if !carrier {
            return UplinkState::NoCarrier;
        }
        if !addressed {
            if self.row1_grace(now) {
                return self.state;
            }
            if leads_by_translator(facts, link.index) {
                return UplinkState::Addressed;
            }
            let ipv4_link_local = facts
                .addresses(link.index)
                .iter()
                .any(|h| h.link_local && matches!(h.address, IpNet::V4(_)));
            let searched = self
                .searching_since
                .is_some_and(|since| now.saturating_since(since) >= SEARCH_TIME);
            return if ipv4_link_local || searched {
                UplinkState::NoDhcp
            } else {
                UplinkState::Searching
            };
        }
        match self.reachability {
            _ if clash => UplinkState::Clash,
            Some(Reachability::Online) => UplinkState::Online,
            Some(Reachability::Portal) => UplinkState::Portal,
            // A portal that drops everything but its own page, whose URL DHCP or a router gave.
            Some(Reachability::Nothing)
                if self.portal_leased.is_some() || self.portal_advertised.is_some() =>
            {
                UplinkState::Portal
            }
            Some(Reachability::Nothing) | None => UplinkState::Addressed,
        }
    }

    /// Enters a new state. A renewal keeps `since` and reports nothing; another address resets
    /// `since`.
    fn enter_state(
        &mut self,
        link: &Link,
        state: UplinkState,
        another: bool,
        now: Instant,
        transitions: &mut Vec<Transition>,
    ) {
        let in_grace = self.lost_at.is_some();
        if in_grace {
            self.state = state;
            return;
        }
        let settled = std::mem::replace(&mut self.settled, state);
        self.state = state;
        if settled != state || another {
            self.since = now;
        }
        if settled != state {
            transitions.push(Transition::UplinkState {
                port: link.name.clone(),
                from: settled,
                to: state,
            });
        }
    }

    /// Returns the removed address during [`RENEWAL_GRACE`].
    pub fn renewing_address(&self) -> Option<IpNet> {
        self.address.filter(|_| self.lost_at.is_some())
    }

    /// Returns whether a translator's address and route remain although the translator is dead: its
    /// program has ended, or probes by it fail while those by the uplink's own address succeed.
    pub fn is_translator_dead(&self) -> bool {
        self.translator_ended
            || self.translator == Some(Reachability::Nothing)
                && self.reachability == Some(Reachability::Online)
    }

    /// Returns since when it has been stable: with a default route, or without one all the time, so
    /// that the preferred of two such uplinks becomes active in the end.
    pub fn settled_since(&self) -> Option<Instant> {
        self.good_since.or(self.routeless_since)
    }

    fn row1_grace(&self, now: Instant) -> bool {
        self.lost_at.is_some_and(|at| now.saturating_since(at) < ROW1_GRACE)
    }

    /// Returns the address for row 1: present, or removed less than [`ROW1_GRACE`] ago.
    pub fn shown_address(&self, now: Instant) -> Option<IpNet> {
        self.address.filter(|_| self.lost_at.is_none() || self.row1_grace(now))
    }

    /// Returns whether it has had an address but no default route for [`RENEWAL_GRACE`].
    pub fn is_routeless(&self, now: Instant) -> bool {
        self.routeless_since.is_some_and(|since| now.saturating_since(since) >= RENEWAL_GRACE)
    }

    /// Returns whether it has had an address but no IPv4 address for [`RENEWAL_GRACE`].
    pub fn is_ipv6_only(&self, now: Instant) -> bool {
        self.ipv6_only_since.is_some_and(|since| now.saturating_since(since) >= RENEWAL_GRACE)
    }

    /// Returns whether the client may still accept a DHCP offer.
    pub fn is_ipv4_coming(&self, now: Instant) -> bool {
        matches!(self.acquisition, Some(Acquisition::Offered { .. }))
            && self.carrier_since.is_some_and(|since| now.saturating_since(since) < OFFER_TIME)
    }

    /// Returns whether its address was removed, or added again so recently that its default route
    /// may follow: the kernel removes the routes along with an address.
    pub fn is_renewing(&self, now: Instant) -> bool {
        let back = self.renewed_at.is_some_and(|at| now.saturating_since(at) < RENEWAL_GRACE);
        self.lost_at.is_some() || back && self.routeless_since.is_some()
    }

    /// Returns the next time after `now` at which the state changes without an event.
    pub fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let lost = self.lost_at.into_iter().flat_map(|at| [at + ROW1_GRACE, at + RENEWAL_GRACE]);
        let search =
            self.searching_since.into_iter().flat_map(|at| [at + SEARCH_TIME, at + ANSWER_TIME]);
        let waits =
            self.routeless_since.into_iter().chain(self.ipv6_only_since).chain(self.renewed_at);
        let carrier =
            self.carrier_since.into_iter().flat_map(|at| [at + ROUTER_TIME, at + OFFER_TIME]);
        let waits = waits.map(|at| at + RENEWAL_GRACE).chain(carrier);
        lost.chain(search).chain(waits).filter(|at| *at > now).min()
    }
}

/// Returns the address by which an interface is reachable (for ssh): IPv4 first (the preferred
/// source of the default route), then a stable global IPv6 address, then a unique local one;
/// deprecated ones last. Privacy addresses, a translator's own, and ours from an earlier role as
/// the cluster port do not count.
pub fn primary(facts: &KernelFacts, index: LinkIndex) -> Option<&HeldAddress> {
    best(facts, index, |_| true)
}

/// Returns the primary IPv4 address of an interface, to which the nodes are masqueraded, even while
/// its lease is not renewed.
pub fn ipv4_primary(facts: &KernelFacts, index: LinkIndex) -> Option<&HeldAddress> {
    best(facts, index, |held| matches!(held.address, IpNet::V4(_)))
}

/// Returns the best address, by the order of [`primary`], that `counts` accepts.
fn best(
    facts: &KernelFacts,
    index: LinkIndex,
    counts: impl Fn(&HeldAddress) -> bool,
) -> Option<&HeldAddress> {
    let preferred = facts.default_route(index).and_then(|route| route.preferred_source);
    let shown = |h: &&HeldAddress| {
        let translators = h.is_translators() || h.is_translators_ipv6();
        h.is_usable() && !h.temporary && !h.ours && !translators && counts(h)
    };
    facts.addresses(index).iter().filter(shown).min_by_key(|h| {
        let deprecated = h.deprecated_since.is_some();
        match h.address {
            IpNet::V4(net) => (deprecated, false, preferred != Some(IpAddr::V4(net.addr()))),
            IpNet::V6(net) => (deprecated, true, net.addr().is_unique_local()),
        }
    })
}

/// Returns whether an interface has an IPv6 address of its own. Without one the kernel masquerades
/// to the link-local or the translator's, and a connection stays with the address it began with.
/// While `soliciting`, one from before may be tentative again.
fn hides_ipv6(facts: &KernelFacts, index: LinkIndex, soliciting: bool) -> bool {
    facts.addresses(index).iter().any(|held| {
        matches!(held.address, IpNet::V6(_))
            && held.is_usable()
            && !held.ours
            && !held.is_translators_ipv6()
            && !(soliciting && held.unconfirmed)
    })
}

/// Returns the primary IPv6 address of an interface.
pub fn ipv6_primary(facts: &KernelFacts, index: LinkIndex) -> Option<Ipv6Addr> {
    let shown = |held: &&HeldAddress| {
        held.is_usable() && !held.temporary && !held.ours && !held.is_translators_ipv6()
    };
    let held = facts.addresses(index).iter().filter(shown);
    let ipv6 = held.filter_map(|held| match held.address {
        IpNet::V6(net) => Some((held.deprecated_since.is_some(), net.addr())),
        IpNet::V4(_) => None,
    });
    let best = ipv6.min_by_key(|(deprecated, address)| (*deprecated, address.is_unique_local()));
    best.map(|(_, address)| address)
}

/// Returns the IPv4 address to which traffic by this interface is masqueraded; may be a
/// translator's own.
pub fn ipv4_source(facts: &KernelFacts, index: LinkIndex) -> Option<Ipv4Addr> {
    let translators =
        || facts.addresses(index).iter().find(|held| held.is_translators()).and_then(ipv4);
    ipv4_primary(facts, index).and_then(ipv4).or_else(translators)
}

fn ipv4(held: &HeldAddress) -> Option<Ipv4Addr> {
    match held.address {
        IpNet::V4(net) => Some(net.addr()),
        IpNet::V6(_) => None,
    }
}

/// Returns whether IPv4 leaves by this interface through a translator to IPv6, which holds its only
/// IPv4 address.
pub fn leads_by_translator(facts: &KernelFacts, index: LinkIndex) -> bool {
    let translators = facts.addresses(index).iter().any(HeldAddress::is_translators);
    translators && ipv4_primary(facts, index).is_none() && facts.has_default_route(index, true)
}

/// Returns whether what NetworkManager's translator adds to an interface is there without its
/// anycast address: an IPv4 default route through an IPv6 router, with a translator's address as
/// source. While one is starting, the anycast address may follow; so this is for a listing.
fn is_left_over(facts: &KernelFacts, index: LinkIndex) -> bool {
    let by_ipv6_router = facts.default_route(index).is_some_and(|route| {
        let source = route.preferred_source;
        route.gateway.is_some_and(|gateway| gateway.is_ipv6())
            && matches!(source, Some(IpAddr::V4(source)) if TRANSLATORS.contains(&source))
    });
    by_ipv6_router && !facts.has_anycast(index)
}

/// Returns whether IPv4 leaves by this interface through another program's translator, such as
/// NetworkManager's.
pub fn is_translated_by_another(facts: &KernelFacts, link: &Link) -> bool {
    link.name != clat::DEVICE && leads_by_translator(facts, link.index)
}
