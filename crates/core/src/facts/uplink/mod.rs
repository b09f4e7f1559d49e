//! Uplinks: the state of each, the active one, and since when none has an address.

mod memory;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::api::clat;
pub use crate::api::status::UplinkState;
use crate::config::{Settings, UplinkProbe};
use crate::event::{
    Acquisition, Event, Instant, Link, LinkIndex, Path, PortalSource, PortalUrl, Probe,
    Reachability, UplinkNews, VenueNews,
};
pub use memory::{
    ANSWER_TIME, RENEWAL_GRACE, ROW1_GRACE, SEARCH_TIME, UplinkMemory, ipv4_primary, ipv4_source,
    ipv6_primary, is_translated_by_another, leads_by_translator, primary,
};

use super::context::Context;
use super::link::Links;
use super::link::mirror::HeldAddress;
use super::transition::Transition;

/// How long a better uplink must be good before it becomes the active one.
pub const BETTER_UPLINK_TIME: Duration = Duration::from_secs(5);
/// After this long without an uplink the notice becomes a warning.
pub const OFFLINE_TIME: Duration = Duration::from_secs(60);

/// Holds the state of all uplinks.
#[derive(Debug, Clone)]
pub struct Uplinks {
    memories: BTreeMap<LinkIndex, UplinkMemory>,
    active: Option<LinkIndex>,
    offline_since: Option<Instant>,
}

impl Uplinks {
    pub(super) fn new(now: Instant) -> Self {
        Self { memories: BTreeMap::new(), active: None, offline_since: Some(now) }
    }

    /// Applies new settings.
    pub(super) fn reload(&mut self, settings: &Settings) {
        if settings.uplink.probe == UplinkProbe::Off {
            // Without probes the last result would remain for ever.
            self.memories.values_mut().for_each(|memory| memory.reachability = None);
        }
    }

    /// Processes observations of an uplink from sources other than the kernel.
    pub(super) fn handle(&mut self, event: &Event, links: &Links) -> Option<Transition> {
        match event {
            Event::Probe(Probe::Uplink { index, reachability }) => {
                self.handle_reachability(*index, *reachability, links)
            }
            Event::Uplink(news) => {
                self.handle_news(news);
                None
            }
            Event::Venue(VenueNews::Answers { index, path: Path::Translator, reachability }) => {
                if let Some(memory) = self.memories.get_mut(index) {
                    memory.translator = Some(*reachability);
                    memory.translator_ended &= *reachability != Reachability::Online;
                }
                None
            }
            _ => None,
        }
    }

    /// Updates every uplink from the links and time, and selects the active one. `clashing`: the
    /// uplinks that hold an address of the cluster.
    pub(super) fn refresh(
        &mut self,
        context: Context<'_>,
        links: &Links,
        clashing: &BTreeSet<LinkIndex>,
    ) -> Vec<Transition> {
        let now = context.now;
        let mut transitions = Vec::new();
        let uplinks = &links.roles().uplinks;
        self.memories.retain(|index, _| uplinks.contains(index));
        for index in uplinks {
            let Some(link) = links.kernel().link(*index) else { continue };
            let memory = self.memories.entry(*index).or_insert_with(|| UplinkMemory::new(now));
            let clash = clashing.contains(index);
            transitions.extend(memory.refresh(link, links.kernel(), clash, now));
        }
        transitions.extend(self.choose_active(links, now));
        let offline = !self.memories.values().any(|memory| memory.address.is_some());
        self.offline_since = offline.then(|| self.offline_since.unwrap_or(now));
        transitions
    }

    /// Returns the next time after `now` at which the state changes without an event.
    pub(super) fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let memories = self.memories.values();
        let own = memories.clone().filter_map(|memory| memory.next_deadline(now));
        let better =
            memories.filter_map(UplinkMemory::settled_since).map(|at| at + BETTER_UPLINK_TIME);
        let offline = self.offline_since.map(|since| since + OFFLINE_TIME);
        own.chain(better).chain(offline).filter(|at| *at > now).min()
    }

    fn handle_reachability(
        &mut self,
        index: LinkIndex,
        to: Reachability,
        links: &Links,
    ) -> Option<Transition> {
        let memory = self.memories.get_mut(&index)?;
        if memory.address.is_none() || memory.reachability == Some(to) {
            return None;
        }
        memory.reachability = Some(to);
        let link = links.kernel().link(index);
        let port = link.map_or_else(String::new, |link| link.name.clone());
        Some(Transition::Reachability { port, to })
    }

    /// Stores observations that only alerts and status show.
    fn handle_news(&mut self, news: &UplinkNews) {
        let (UplinkNews::Acquisition { index, .. } | UplinkNews::Portal { index, .. }) = news;
        let Some(memory) = self.memories.get_mut(index) else { return };
        match news {
            UplinkNews::Acquisition { state, .. } => memory.acquisition = *state,
            UplinkNews::Portal { by: PortalSource::Probe, url, .. } => {
                memory.portal.clone_from(url)
            }
            UplinkNews::Portal { by: PortalSource::Lease, url, .. } => {
                memory.portal_leased.clone_from(url)
            }
            UplinkNews::Portal { by: PortalSource::Router, url, .. } => {
                memory.portal_advertised.clone_from(url)
            }
        }
    }

    /// Selects the active uplink: another one at once if the current has lost its address, else
    /// after a better one has been good for [`BETTER_UPLINK_TIME`].
    fn choose_active(&mut self, links: &Links, now: Instant) -> Option<Transition> {
        let shown = links.roles().uplinks.iter().copied();
        let shown = shown.filter(|index| !is_translators_port(*index, links));
        let best = shown.min_by_key(|index| self.rank(*index, links, now));
        let keep = self.active.filter(|active| self.keeps_row_1(*active, best, links, now));
        let next = keep.or(best);
        if next == self.active {
            return None;
        }
        let before = std::mem::replace(&mut self.active, next);
        let name = |index: LinkIndex| links.kernel().link(index).map(|link| link.name.clone());
        Some(Transition::ActiveUplink { from: before.and_then(name), to: next.and_then(name) })
    }

    /// Returns whether the active uplink is kept although another one ranks best.
    fn keeps_row_1(
        &self,
        active: LinkIndex,
        best: Option<LinkIndex>,
        links: &Links,
        now: Instant,
    ) -> bool {
        let Some(memory) = self.get(active) else { return false };
        if is_translators_port(active, links) || memory.shown_address(now).is_none() {
            return false;
        }
        memory.is_renewing(now) || !best.is_some_and(|best| self.is_settled(best, now))
    }

    /// Returns whether this uplink has been good for [`BETTER_UPLINK_TIME`].
    pub(super) fn is_settled(&self, index: LinkIndex, now: Instant) -> bool {
        let settled = self.get(index).and_then(UplinkMemory::settled_since);
        settled.is_some_and(|since| now.saturating_since(since) >= BETTER_UPLINK_TIME)
    }

    /// Returns the rank of an uplink, lower is better: first one with an address, a carrier, a
    /// default route, and not deprecated; then IPv4, by which the nodes leave; then the metric,
    /// which is comparable only within a family; then the order of the settings.
    fn rank(
        &self,
        index: LinkIndex,
        links: &Links,
        now: Instant,
    ) -> (bool, bool, bool, bool, bool, u32, usize) {
        let place = links.roles().uplinks.iter().position(|i| *i == index).unwrap_or(usize::MAX);
        let Some(memory) = self.get(index) else {
            return (true, true, true, true, true, u32::MAX, place);
        };
        let address = memory.shown_address(now);
        let route = links.kernel().default_route_of(index, address);
        let carrier = memory.state > UplinkState::NoCarrier;
        let ipv6 = matches!(address, Some(IpNet::V6(_)));
        let held = links.kernel().addresses(index).iter().find(|h| Some(h.address) == address);
        (
            address.is_none(),
            !carrier,
            route.is_none(),
            held.is_some_and(|held| held.deprecated_since.is_some()),
            ipv6,
            route.map_or(u32::MAX, |route| route.metric),
            place,
        )
    }

    pub fn get(&self, index: LinkIndex) -> Option<&UplinkMemory> {
        self.memories.get(&index)
    }

    pub fn iter(&self) -> impl Iterator<Item = (LinkIndex, &UplinkMemory)> {
        self.memories.iter().map(|(index, memory)| (*index, memory))
    }

    /// Returns the uplink whose address is shown on row 1.
    pub fn active(&self) -> Option<LinkIndex> {
        self.active
    }

    /// Returns since when no uplink has an address.
    pub fn offline_since(&self) -> Option<Instant> {
        self.offline_since
    }

    /// Returns whether uplinks have addresses, but for longer than a renewal takes no IPv4 address
    /// to masquerade the nodes.
    pub fn is_ipv6_only(&self, now: Instant) -> bool {
        let addressed = self.memories.values().filter(|memory| memory.address.is_some());
        let mut addressed = addressed.peekable();
        addressed.peek().is_some() && addressed.all(|memory| memory.is_ipv6_only(now))
    }

    /// Returns the summary of an uplink for decisions and pages.
    pub(super) fn view<'a>(
        &'a self,
        index: LinkIndex,
        links: &'a Links,
        now: Instant,
    ) -> Option<UplinkView<'a>> {
        let (link, memory) = (links.kernel().link(index)?, self.get(index)?);
        let address = memory.shown_address(now);
        let route = links.kernel().default_route_of(index, address);
        let held = links.kernel().addresses(index);
        let others = held
            .iter()
            .filter(|h| h.is_usable() && !h.ours && !h.is_translators_ipv6())
            .map(|h| h.address)
            .filter(|a| Some(*a) != address);
        let primary = held.iter().find(|h| Some(h.address) == address);
        let not_renewed = |h: &HeldAddress| Some((h.address, h.not_renewed_since()?));
        let ipv4 = ipv4_primary(links.kernel(), index);
        let not_renewed = primary.and_then(not_renewed).or(ipv4.and_then(not_renewed));
        let portal = memory.portal.as_ref().or(memory.portal_leased.as_ref());
        let portal = portal.or(memory.portal_advertised.as_ref());
        let online = memory.reachability == Some(Reachability::Online);
        Some(UplinkView {
            link,
            state: memory.state,
            settled: memory.settled,
            since: memory.since,
            address,
            addresses: address.into_iter().chain(others).collect(),
            gateway: route.and_then(|route| route.gateway),
            has_default_route: route.is_some(),
            valid_until: primary.and_then(|h| h.valid_until),
            reachability: memory.reachability,
            generation: memory.generation,
            carrier_ups: memory.carrier_ups,
            searching_since: memory.searching_since,
            not_renewed,
            has_ipv4: ipv4.is_some() || matches!(address, Some(IpNet::V4(_))),
            hides_ipv6: memory.hides_ipv6,
            acquisition: memory.acquisition,
            is_ipv4_coming: memory.is_ipv4_coming(now),
            portal_url: portal.filter(|_| !online),
            is_translator_dead: memory.is_translator_dead(),
            has_translator_ended: memory.translator_ended,
        })
    }
}

/// Returns whether this is the port of an address translator (RFC 6877), ours or another program's:
/// the head is not reachable by it.
fn is_translators_port(index: LinkIndex, links: &Links) -> bool {
    let Some(link) = links.kernel().link(index) else { return false };
    if link.name == clat::DEVICE {
        return true;
    }
    matches!(link.kind.as_deref(), Some("tun" | "dummy"))
        && primary(links.kernel(), index).is_none()
        && leads_by_translator(links.kernel(), index)
}

/// Summarises an uplink for decisions and pages.
#[derive(Debug, Clone, PartialEq)]
pub struct UplinkView<'a> {
    pub link: &'a Link,
    pub state: UplinkState,
    /// Like `state`, but unaffected by a renewal in progress; for severity and alerts.
    pub settled: UplinkState,
    pub since: Instant,
    /// The primary address, shown on row 1.
    pub address: Option<IpNet>,
    /// All usable addresses, the primary one first.
    pub addresses: Vec<IpNet>,
    /// Gateway of the best default route.
    pub gateway: Option<IpAddr>,
    pub has_default_route: bool,
    /// End of the primary address's lease; `None`: for ever, or no address.
    pub valid_until: Option<Instant>,
    pub reachability: Option<Reachability>,
    pub generation: u64,
    /// Counts carrier-up transitions.
    pub carrier_ups: u64,
    /// Since when it has a carrier but no address.
    pub searching_since: Option<Instant>,
    /// The primary or else the IPv4 address, if its lease or prefix is not renewed, and since when.
    pub not_renewed: Option<(IpNet, Instant)>,
    /// It has an IPv4 address of its own, even a deprecated one.
    pub has_ipv4: bool,
    /// It has an IPv6 address to which the kernel can masquerade the nodes.
    pub hides_ipv6: bool,
    /// Progress of the DHCP client, if observed.
    pub acquisition: Option<Acquisition>,
    /// A DHCP server has just offered an IPv4 address.
    pub is_ipv4_coming: bool,
    /// URL of the venue's captive portal, while the internet is not reachable.
    pub portal_url: Option<&'a PortalUrl>,
    /// The translator on this uplink does not work, though IPv6 does.
    pub is_translator_dead: bool,
    /// The translator's program has ended, so that its IPv4 packets are lost.
    pub has_translator_ended: bool,
}
