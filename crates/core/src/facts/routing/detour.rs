//! Selects the egress uplink of the nodes if it is not the one of the main table's default route,
//! because that one has no internet, or the settings prefer another. Our own translator is the last
//! choice: it takes the place of an uplink whose IPv4 is dead.
//!
//! If another program routes the nodes' traffic, as a VPN does, no detour is chosen.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ipnet::IpNet;

use crate::api::clat;
use crate::config::UplinkProbe;
use crate::event::{Instant, LinkIndex, Path, Reachability};
use crate::facts::context::Context;
use crate::facts::link::Links;
use crate::facts::uplink::{
    BETTER_UPLINK_TIME, UplinkMemory, Uplinks, ipv4_primary, leads_by_translator,
};
use crate::facts::venue::{VenueMemory, Venues};

/// How long probes must fail before an uplink is abandoned; a round that fails takes at least
/// 1.5 s.
const BAD_TIME: Duration = Duration::from_secs(5);
/// How long probes must succeed before an abandoned uplink is used again.
const RETURN_TIME: Duration = Duration::from_secs(30);

/// Holds the quality of the uplinks, and the choice between them.
#[derive(Debug, Clone, Default)]
pub struct Detour {
    quality: BTreeMap<LinkIndex, Quality>,
    /// The chosen uplink, if it is not the main table's.
    by: Option<LinkIndex>,
    /// The uplinks whose IPv4 does not answer, though address and route stay.
    ipv4_dead: BTreeSet<LinkIndex>,
    /// Our own translator is chosen in place of one of them.
    is_translated: bool,
    /// Connections of the abandoned uplink must be deleted again once the new rules are loaded, as
    /// packets sent before that followed the old ones.
    flush_pending: bool,
}

impl Detour {
    /// Returns the egress uplink of the nodes, if it is not the main table's.
    pub fn by(&self) -> Option<LinkIndex> {
        self.by
    }

    /// Returns whether probes by an uplink fail, or failed and have not succeeded for long enough
    /// since.
    pub fn has_no_internet(&self, index: LinkIndex) -> bool {
        self.quality(index).is_some_and(|quality| quality.was_bad)
    }

    /// Returns whether an uplink has IPv4 that does not answer, though its address and route stay.
    pub fn is_ipv4_dead(&self, index: LinkIndex) -> bool {
        self.ipv4_dead.contains(&index)
    }

    /// Returns whether our own translator is chosen in place of an uplink whose IPv4 is dead.
    pub fn is_translated(&self) -> bool {
        self.is_translated
    }

    /// Requests that connections of the abandoned uplink are deleted once more.
    pub(super) fn flush_again(&mut self) {
        self.flush_pending = true;
    }

    /// Takes the pending request of [`Self::flush_again`].
    pub(super) fn take_flush(&mut self) -> bool {
        std::mem::take(&mut self.flush_pending)
    }

    /// Selects the egress uplink. `main`: the uplink of the nodes' traffic without our rules.
    pub(super) fn refresh(
        &mut self,
        context: Context<'_>,
        links: &Links,
        uplinks: &Uplinks,
        main: Option<LinkIndex>,
    ) {
        self.judge_uplinks(uplinks, context.now);
        if let Some(dead) = main.filter(|main| is_dead(*main, uplinks)) {
            self.by = self.replacement(dead, context, links, uplinks);
            return;
        }
        // Without a default route in the main table, the traffic follows another program's rules.
        let main = main.filter(|main| leads_out(*main, links, uplinks));
        let chosen = main.map(|main| self.preferred(main, context, links, uplinks));
        self.by = chosen.filter(|chosen| main != Some(*chosen));
    }

    /// Selects our own translator if the uplink in use has no IPv4 internet, and no other uplink
    /// replaces it.
    pub(super) fn refresh_translation(
        &mut self,
        context: Context<'_>,
        links: &Links,
        venues: &Venues,
        main: Option<LinkIndex>,
    ) {
        let dead = |index: &LinkIndex| self.has_dead_ipv4(*index, context.now, venues);
        self.ipv4_dead = self.quality.keys().copied().filter(dead).collect();
        let dead = self.by.is_none() && main.is_some_and(|main| self.is_ipv4_dead(main));
        // Once chosen it remains if NAT64 fails, since IPv4 is no better.
        let works = self.is_translated || venues.iter().any(VenueMemory::is_nat64_online);
        let chosen = ours(links).filter(|_| dead && works);
        self.is_translated = chosen.is_some();
        self.by = self.by.or(chosen);
    }

    /// Returns whether probes by IPv4 get no reply, or got none and have not succeeded for long
    /// enough since. A captive portal is not dead: users log in there.
    fn has_dead_ipv4(&self, index: LinkIndex, now: Instant, venues: &Venues) -> bool {
        let Some(quality) = self.quality(index) else { return false };
        match venues.get(index).and_then(|venue| venue.answer(Path::Ipv4)) {
            Some(Reachability::Nothing) => quality.is_bad(now) || self.is_ipv4_dead(index),
            Some(Reachability::Online) => quality.was_bad && self.is_ipv4_dead(index),
            Some(Reachability::Portal) | None => false,
        }
    }

    /// Returns the egress in place of an uplink whose translator has died: the first uplink with
    /// IPv4, else our own translator.
    fn replacement(
        &self,
        dead: LinkIndex,
        context: Context<'_>,
        links: &Links,
        uplinks: &Uplinks,
    ) -> Option<LinkIndex> {
        let mut order = links.roles().uplinks.iter().copied();
        let with_ipv4 = |index: &LinkIndex| {
            leads_out(*index, links, uplinks)
                && !self.quality(*index).is_some_and(|quality| quality.is_bad(context.now))
        };
        order.find(with_ipv4).or_else(|| ours(links).filter(|index| *index != dead))
    }

    /// Returns the times at which the choice may change without an event.
    pub(super) fn deadlines(&self) -> impl Iterator<Item = Instant> + '_ {
        let quality = self.quality.values();
        quality.flat_map(|quality| [BAD_TIME, quality.trial()].map(|time| quality.since + time))
    }

    fn judge_uplinks(&mut self, uplinks: &Uplinks, now: Instant) {
        self.quality.retain(|index, _| uplinks.get(*index).is_some());
        for (index, memory) in uplinks.iter() {
            let online = memory.reachability.map(|found| found == Reachability::Online);
            let fresh = Quality { online, since: now, was_bad: online == Some(false) };
            let known = self.quality.entry(index).or_insert(fresh);
            if known.online != online {
                *known = Quality { was_bad: known.was_bad || fresh.was_bad, ..fresh };
            }
            let trusted = online == Some(true) && now.saturating_since(known.since) >= RETURN_TIME;
            known.was_bad &= !trusted;
        }
    }

    /// Returns the first usable uplink in the order of the settings; the current one is kept unless
    /// it is bad or a better one is proven.
    fn preferred(
        &self,
        main: LinkIndex,
        context: Context<'_>,
        links: &Links,
        uplinks: &Uplinks,
    ) -> LinkIndex {
        let current = self.by.filter(|by| leads_out(*by, links, uplinks)).unwrap_or(main);
        let bad = self.quality(current).is_some_and(|quality| quality.is_bad(context.now));
        let better = |index: LinkIndex| {
            leads_out(index, links, uplinks)
                && (bad && self.answers(index) || self.is_proven(index, context, uplinks))
        };
        let in_use = |index: LinkIndex| index == current && !bad;
        let mut order = links.roles().uplinks.iter().copied();
        order.find(|index| in_use(*index) || better(*index)).unwrap_or(main)
    }

    /// Returns whether an uplink has been good for long enough to replace another good one.
    fn is_proven(&self, index: LinkIndex, context: Context<'_>, uplinks: &Uplinks) -> bool {
        let (now, settled) = (context.now, uplinks.is_settled(index, context.now));
        let Some(quality) = self.quality(index) else { return false };
        match quality.online {
            Some(online) => {
                settled && online && now.saturating_since(quality.since) >= quality.trial()
            }
            None => settled && context.settings.uplink.probe == UplinkProbe::Off,
        }
    }

    fn answers(&self, index: LinkIndex) -> bool {
        self.quality(index).is_some_and(|quality| quality.online == Some(true))
    }

    fn quality(&self, index: LinkIndex) -> Option<&Quality> {
        self.quality.get(&index)
    }
}

/// Holds the results of the internet probes by an uplink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Quality {
    /// `None`: unknown.
    online: Option<bool>,
    since: Instant,
    /// A probe has failed, and probes have not succeeded for [`RETURN_TIME`] since.
    was_bad: bool,
}

impl Quality {
    fn is_bad(&self, now: Instant) -> bool {
        self.online == Some(false) && now.saturating_since(self.since) >= BAD_TIME
    }

    /// Returns how long it must be good before it replaces another good uplink.
    fn trial(&self) -> Duration {
        if self.was_bad { RETURN_TIME } else { BETTER_UPLINK_TIME }
    }
}

/// Returns our own translator's device, if IPv4 leaves by it.
fn ours(links: &Links) -> Option<LinkIndex> {
    let mut uplinks = links.roles().uplinks.iter().copied();
    uplinks.find(|index| {
        let port = links.kernel().link(*index).filter(|port| port.name == clat::DEVICE);
        port.is_some() && leads_by_translator(links.kernel(), *index)
    })
}

fn is_dead(index: LinkIndex, uplinks: &Uplinks) -> bool {
    uplinks.get(index).is_some_and(UplinkMemory::is_translator_dead)
}

/// Returns whether an uplink has a carrier, an IPv4 address, and an IPv4 default route.
fn leads_out(index: LinkIndex, links: &Links, uplinks: &Uplinks) -> bool {
    let kernel = links.kernel();
    let shown = uplinks.get(index).and_then(|memory| memory.address);
    let ipv4 = matches!(shown, Some(IpNet::V4(_))) || ipv4_primary(kernel, index).is_some();
    kernel.is_running(index) && ipv4 && kernel.has_default_route(index, true)
}
