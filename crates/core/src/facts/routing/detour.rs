//! By which uplink the nodes go out where it is not the one of the main table's default route: that
//! one has no internet, or the settings prefer another.
//!
//! Any other program that leads the nodes' traffic, as a VPN does, is left alone.

use std::collections::BTreeMap;
use std::time::Duration;

use ipnet::IpNet;

use crate::api::clat;
use crate::config::UplinkProbe;
use crate::event::{Instant, LinkIndex, Reachability};
use crate::facts::context::Context;
use crate::facts::link::Links;
use crate::facts::uplink::{
    BETTER_UPLINK_TIME, UplinkMemory, Uplinks, ipv4_primary, leads_by_translator, leads_ipv4,
};

/// An uplink whose internet does not answer is left after this long; each of the probe's rounds
/// tries for 1.5 s at least.
const BAD_TIME: Duration = Duration::from_secs(5);
/// One that was left is gone back to after it has answered for this long.
const RETURN_TIME: Duration = Duration::from_secs(30);

/// Holds what is remembered of the uplinks to choose between them.
#[derive(Debug, Clone, Default)]
pub struct Detour {
    quality: BTreeMap<LinkIndex, Quality>,
    /// By which uplink the nodes go out instead.
    by: Option<LinkIndex>,
    /// Connections of the uplink that was left are to be forgotten once more when the new rules are
    /// in the kernel: what was sent in between went by the old ones.
    cut: bool,
}

impl Detour {
    /// Returns the uplink by which the nodes go out, where it is not the main table's.
    pub fn by(&self) -> Option<LinkIndex> {
        self.by
    }

    /// Returns whether an uplink's internet does not answer, or has not for long enough to be
    /// believed in again.
    pub fn has_no_internet(&self, index: LinkIndex) -> bool {
        self.quality(index).is_some_and(|quality| quality.was_bad)
    }

    /// Has the connections of the uplink that was left forgotten once more.
    pub(super) fn cut_again(&mut self) {
        self.cut = true;
    }

    /// Returns once whether they are to be forgotten now.
    pub(super) fn takes_the_cut(&mut self) -> bool {
        std::mem::take(&mut self.cut)
    }

    /// Chooses anew. `main`: the uplink that the nodes' traffic leaves by without our rules.
    pub(super) fn refresh(
        &mut self,
        context: Context<'_>,
        links: &Links,
        uplinks: &Uplinks,
        main: Option<LinkIndex>,
    ) {
        self.judge_uplinks(uplinks, context.now);
        if let Some(dead) = main.filter(|main| is_dead(*main, uplinks)) {
            self.by = self.way_around(dead, context, links, uplinks);
            return;
        }
        // Who has no default route there is led by other rules than main's, and on purpose.
        let main = main.filter(|main| leads_out(*main, links, uplinks));
        let chosen = main.map(|main| self.exit_of_choice(main, context, links, uplinks));
        self.by = chosen.filter(|chosen| main != Some(*chosen));
    }

    /// Returns by what the nodes leave where a translator's address has outlived the translator:
    /// the first uplink with IPv4, else our own translator.
    fn way_around(
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
        let ours = |index: &LinkIndex| {
            let port = links.kernel().link(*index).filter(|port| port.name == clat::DEVICE);
            port.is_some() && *index != dead && leads_by_translator(links.kernel(), *index)
        };
        order.clone().find(with_ipv4).or_else(|| order.find(ours))
    }

    /// Returns when time alone may change the choice.
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

    /// Returns the first in the order of the settings that may; an uplink in use is left only for a
    /// reason.
    fn exit_of_choice(
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

    /// Returns whether it has been good for so long that one that is good too gives way to it.
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

/// Whether the internet answers by an uplink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Quality {
    /// `None`: not known.
    online: Option<bool>,
    since: Instant,
    /// It did not answer before, since the port is there.
    was_bad: bool,
}

impl Quality {
    fn is_bad(&self, now: Instant) -> bool {
        self.online == Some(false) && now.saturating_since(self.since) >= BAD_TIME
    }

    /// Returns how long it has to be good before it takes over from another one that is.
    fn trial(&self) -> Duration {
        if self.was_bad { RETURN_TIME } else { BETTER_UPLINK_TIME }
    }
}

fn is_dead(index: LinkIndex, uplinks: &Uplinks) -> bool {
    uplinks.get(index).is_some_and(UplinkMemory::is_translator_dead)
}

/// Returns whether an uplink has a carrier, an IPv4 address, and an IPv4 default route.
fn leads_out(index: LinkIndex, links: &Links, uplinks: &Uplinks) -> bool {
    let carries = links.kernel().link(index).is_some_and(|link| link.up && link.carrier);
    let shown = uplinks.get(index).and_then(|memory| memory.address);
    let ipv4 = matches!(shown, Some(IpNet::V4(_))) || ipv4_primary(links.kernel(), index).is_some();
    carries && ipv4 && leads_ipv4(links.kernel(), index)
}
