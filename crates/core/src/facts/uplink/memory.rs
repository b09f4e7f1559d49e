//! What is remembered of an uplink between events, and which of its addresses counts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::IpNet;

use crate::api::clat;
use crate::api::status::UplinkState;
use crate::event::{Acquisition, Instant, Link, LinkIndex, PortalUrl, Reachability};
use crate::facts::link::mirror::{HeldAddress, KernelFacts};
use crate::facts::transition::Transition;

/// An address that is dropped and re-added within this time was renewed, not lost.
pub const RENEWAL_GRACE: Duration = Duration::from_secs(2);
/// Row 1 may keep a number this long after the kernel took it away.
pub const ROW1_GRACE: Duration = Duration::from_millis(200);
/// With a carrier and no address for this long, there is no DHCP server.
pub const SEARCH_TIME: Duration = Duration::from_secs(10);

/// A router that is asked for an advertisement, as it is when a cable is put in, answers within so
/// long (RFC 4861, 6.2.6: half a second, and 3 s after its last one to all). An IPv6 address from
/// before is not shown until a router has renewed it, or has had the time to.
pub const ROUTER_TIME: Duration = Duration::from_secs(4);

/// No server is assumed to be there when none has answered for this long: where many clients come
/// at once, dnsmasq, which tries each address before it offers it, was seen to make its offer after
/// 18 s.
pub const ANSWER_TIME: Duration = Duration::from_secs(25);

/// After an offer the IPv4 address is there within so long after the carrier: dhcpcd looks for 5 s
/// whether another host has it (RFC 5227).
const OFFER_TIME: Duration = Duration::from_secs(10);

/// What has to be remembered of an uplink between events.
#[derive(Debug, Clone, PartialEq)]
pub struct UplinkMemory {
    /// As last reported.
    pub state: UplinkState,
    /// When `state` became what it is; a renewal does not count.
    pub since: Instant,
    /// The address on row 1; kept through the grace of a renewal.
    pub address: Option<IpNet>,
    /// When that address vanished while the carrier stayed.
    pub lost_at: Option<Instant>,
    /// When a vanished address came back last.
    renewed_at: Option<Instant>,
    /// `state` before the address vanished.
    pub settled: UplinkState,
    /// There is a carrier since.
    carrier_since: Option<Instant>,
    /// Carrier without an address since.
    pub searching_since: Option<Instant>,
    /// Address and default route without a break since.
    pub good_since: Option<Instant>,
    /// Address and no default route since.
    pub routeless_since: Option<Instant>,
    /// An address, but none of IPv4, since.
    pub ipv6_only_since: Option<Instant>,
    pub reachability: Option<Reachability>,
    /// Whether IPv4 answers by another program's translator on it.
    pub translator: Option<Reachability>,
    /// That program answers for an IPv6 address of the translator's.
    translator_held: bool,
    /// … and does so no longer, while the translator's address and way out are still there.
    pub translator_ended: bool,
    /// How far its DHCP client has come; heard while there is no IPv4 address.
    pub acquisition: Option<Acquisition>,
    /// Where the captive portal is that answered the last probe.
    pub portal: Option<PortalUrl>,
    /// Where it is by what the DHCP client was given (RFC 8910).
    pub portal_leased: Option<PortalUrl>,
    /// Where it is by what a router advertises (RFC 8910).
    pub portal_advertised: Option<PortalUrl>,
    /// What the last probe's generation depends on.
    route: Option<IpAddr>,
    /// Counts up when the address or the way out changed: probe at once.
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
            searching_since: None,
            good_since: None,
            routeless_since: None,
            ipv6_only_since: None,
            reachability: None,
            translator: None,
            translator_held: false,
            translator_ended: false,
            acquisition: None,
            portal: None,
            portal_leased: None,
            portal_advertised: None,
            route: None,
            generation: 0,
        }
    }

    /// Brings the memory up to date with the facts. `clash`: an address of this uplink is one of
    /// the cluster's.
    pub fn refresh(
        &mut self,
        link: &Link,
        facts: &KernelFacts,
        clash: bool,
        now: Instant,
    ) -> Vec<Transition> {
        let mut transitions = Vec::new();
        let carrier = link.up && link.carrier;
        self.carrier_since = carrier.then(|| self.carrier_since.unwrap_or(now));
        let asking =
            self.carrier_since.is_some_and(|since| now.saturating_since(since) < ROUTER_TIME);
        let primary = best(facts, link.index, |held| carrier && !(asking && held.unconfirmed))
            .map(|held| held.address);
        let gateway = facts.default_route_of(link.index, primary).map(|route| route.gateway);
        let before = self.address;
        match primary {
            Some(address) => {
                self.addressed(link, address, gateway.flatten(), now, &mut transitions)
            }
            None if carrier => self.unaddressed(link, now, &mut transitions),
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
        if !carrier {
            self.portal_leased = None;
            self.portal_advertised = None;
        }
        if self.reachability != Some(Reachability::Portal) {
            self.portal = None;
        }
        let state = self.derive(link, facts, carrier, primary.is_some(), clash, now);
        self.enter(link, state, another, now, &mut transitions);
        transitions
    }

    /// Follows another program's translator. NetworkManager's answers for its IPv6 address by a socket,
    /// which ends with its process, while the address and the way out of IPv4 stay.
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

    fn addressed(
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

    fn unaddressed(&mut self, link: &Link, now: Instant, transitions: &mut Vec<Transition>) {
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

    fn derive(
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
            // One that answers nothing but by its own page, which is known by DHCP or a router.
            Some(Reachability::Nothing)
                if self.portal_leased.is_some() || self.portal_advertised.is_some() =>
            {
                UplinkState::Portal
            }
            Some(Reachability::Nothing) | None => UplinkState::Addressed,
        }
    }

    /// Takes a new state; a renewal leaves `since` alone and reports nothing, another address
    /// begins anew.
    fn enter(
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

    /// Returns the address that a renewal dropped a moment ago.
    pub fn renewing_address(&self) -> Option<IpNet> {
        self.address.filter(|_| self.lost_at.is_some())
    }

    /// Returns whether a translator's address and way out have outlived the translator: its program
    /// answers for its IPv6 address no longer, or nothing answers by them, though the uplink's own
    /// address is good.
    pub fn is_translator_dead(&self) -> bool {
        self.translator_ended
            || self.translator == Some(Reachability::Nothing)
                && self.reachability == Some(Reachability::Online)
    }

    /// Returns since when it is worth row 1 without a break: an address and a way out; or an
    /// address that has none all the time, so that of two such uplinks the preferred one is shown
    /// in the end.
    pub fn settled_since(&self) -> Option<Instant> {
        self.good_since.or(self.routeless_since)
    }

    fn row1_grace(&self, now: Instant) -> bool {
        self.lost_at.is_some_and(|at| now.saturating_since(at) < ROW1_GRACE)
    }

    /// Returns the number for row 1: held by the interface, or taken away less than [`ROW1_GRACE`]
    /// ago.
    pub fn shown_address(&self, now: Instant) -> Option<IpNet> {
        self.address.filter(|_| self.lost_at.is_none() || self.row1_grace(now))
    }

    /// Returns whether there is an address and, for longer than a renewal takes, no default route.
    pub fn is_routeless(&self, now: Instant) -> bool {
        self.routeless_since.is_some_and(|since| now.saturating_since(since) >= RENEWAL_GRACE)
    }

    /// Returns whether there is an address and, for longer than a renewal takes, none of IPv4, to
    /// which the nodes could be masqueraded.
    pub fn is_ipv6_only(&self, now: Instant) -> bool {
        self.ipv6_only_since.is_some_and(|since| now.saturating_since(since) >= RENEWAL_GRACE)
    }

    /// Returns whether an IPv4 address is on its way: a server has made an offer, and the client may
    /// still take it.
    pub fn is_ipv4_coming(&self, now: Instant) -> bool {
        matches!(self.acquisition, Some(Acquisition::Offered { .. }))
            && self.carrier_since.is_some_and(|since| now.saturating_since(since) < OFFER_TIME)
    }

    /// Returns whether its address went, or came back, so short a while ago that its way out may be
    /// on its way too: along with an address the kernel drops its routes.
    pub fn is_renewing(&self, now: Instant) -> bool {
        let back = self.renewed_at.is_some_and(|at| now.saturating_since(at) < RENEWAL_GRACE);
        self.lost_at.is_some() || back && self.routeless_since.is_some()
    }

    /// Returns the next moment at which time alone changes something.
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

/// Returns the address of an interface that answers ssh: IPv4 first (the one the default route
/// prefers), then a stable global IPv6 address, then a unique local one; after all of them those
/// that are deprecated. A privacy address rotates away, and a translator's own answers no one: they
/// are none to show. Nor is one of ours, from when this was the cluster's port.
pub fn primary(facts: &KernelFacts, index: LinkIndex) -> Option<&HeldAddress> {
    best(facts, index, |_| true)
}

/// Returns the IPv4 address of an interface that answers ssh, whatever it has of IPv6: to it the
/// nodes are masqueraded, also while its lease is not renewed.
pub fn ipv4_primary(facts: &KernelFacts, index: LinkIndex) -> Option<&HeldAddress> {
    best(facts, index, |held| matches!(held.address, IpNet::V4(_)))
}

/// Returns the best of those addresses that `counts` takes, as [`primary`] does.
fn best(
    facts: &KernelFacts,
    index: LinkIndex,
    counts: impl Fn(&HeldAddress) -> bool,
) -> Option<&HeldAddress> {
    let preferred = facts.default_route(index).and_then(|route| route.preferred_source);
    let shown = |h: &&HeldAddress| {
        h.is_usable() && !h.temporary && !h.ours && !h.is_translators() && counts(h)
    };
    facts.addresses(index).iter().filter(shown).min_by_key(|h| {
        let deprecated = h.deprecated_since.is_some();
        match h.address {
            IpNet::V4(net) => (deprecated, false, preferred != Some(IpAddr::V4(net.addr()))),
            IpNet::V6(net) => (deprecated, true, net.addr().is_unique_local()),
        }
    })
}

/// Returns the IPv6 address of an interface that answers ssh, whatever it has of IPv4.
pub fn ipv6_primary(facts: &KernelFacts, index: LinkIndex) -> Option<Ipv6Addr> {
    let shown = |held: &&HeldAddress| held.is_usable() && !held.temporary && !held.ours;
    let held = facts.addresses(index).iter().filter(shown);
    let ipv6 = held.filter_map(|held| match held.address {
        IpNet::V6(net) => Some((held.deprecated_since.is_some(), net.addr())),
        IpNet::V4(_) => None,
    });
    let best = ipv6.min_by_key(|(deprecated, address)| (*deprecated, address.is_unique_local()));
    best.map(|(_, address)| address)
}

/// Returns the IPv4 address that traffic by this interface is translated to; also a translator's
/// own.
pub fn ipv4_source(facts: &KernelFacts, index: LinkIndex) -> Option<Ipv4Addr> {
    let translators =
        || facts.addresses(index).iter().find(|held| held.is_translators()).and_then(ipv4);
    ipv4_primary(facts, index).and_then(ipv4).or_else(translators)
}

/// Returns whether IPv4 has a default route by this interface.
pub fn leads_ipv4(facts: &KernelFacts, index: LinkIndex) -> bool {
    facts.default_routes().any(|r| r.index == index && matches!(r.destination, IpNet::V4(_)))
}

/// Returns an address of IPv4.
fn ipv4(held: &HeldAddress) -> Option<Ipv4Addr> {
    match held.address {
        IpNet::V4(net) => Some(net.addr()),
        IpNet::V6(_) => None,
    }
}

/// Returns whether IPv4 leaves by this interface through a translator to IPv6, whose address is the
/// only one of IPv4.
pub fn leads_by_translator(facts: &KernelFacts, index: LinkIndex) -> bool {
    let translators = facts.addresses(index).iter().any(HeldAddress::is_translators);
    translators && ipv4_primary(facts, index).is_none() && leads_ipv4(facts, index)
}

/// Returns whether IPv4 leaves by this interface through a translator of another program, as
/// NetworkManager's.
pub fn is_translated_by_another(facts: &KernelFacts, link: &Link) -> bool {
    link.name != clat::DEVICE && leads_by_translator(facts, link.index)
}
