//! By which uplink the nodes go out where it is not the one of the main table's default route: that
//! one has no internet, or the settings prefer another.
//!
//! Whoever else leads the nodes' traffic, as a VPN does, is left alone.

use std::collections::BTreeMap;
use std::time::Duration;

use ipnet::IpNet;

use crate::config::UplinkProbe;
use crate::event::{Instant, LinkIndex, Reachability};
use crate::facts::uplink::UplinkMemory;
use crate::facts::{BETTER_UPLINK_TIME, Facts};

/// An uplink whose internet does not answer is left after this long; each of the probe's rounds
/// tries for 1.5 s at least.
const BAD_TIME: Duration = Duration::from_secs(5);
/// One that was left is gone back to after it has answered for this long.
const RETURN_TIME: Duration = Duration::from_secs(30);

/// What is remembered of the uplinks to choose between them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Detour {
    quality: BTreeMap<LinkIndex, Quality>,
    /// by which uplink the nodes go out instead
    by: Option<LinkIndex>,
    /// connections of the uplink that was left are to be forgotten once more when the new rules are
    /// in the kernel: what was sent in between went by the old ones
    cut: bool,
}

impl Detour {
    pub(crate) fn cut_again(&mut self) {
        self.cut = true;
    }

    pub(crate) fn takes_the_cut(&mut self) -> bool {
        std::mem::take(&mut self.cut)
    }
}

/// Whether the internet answers by an uplink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Quality {
    /// `None`: not known
    online: Option<bool>,
    since: Instant,
    /// it did not answer before, since the port is there
    was_bad: bool,
}

impl Quality {
    fn is_bad(&self, now: Instant) -> bool {
        self.online == Some(false) && now.saturating_since(self.since) >= BAD_TIME
    }

    /// How long it has to be good before it takes over from another one that is.
    fn trial(&self) -> Duration {
        if self.was_bad { RETURN_TIME } else { BETTER_UPLINK_TIME }
    }
}

impl Facts {
    /// Returns the uplink by which the nodes go out, where it is not the main table's.
    pub fn detour(&self) -> Option<LinkIndex> {
        self.detour.by
    }

    /// Returns the uplink that the nodes' traffic would leave by without our rules, if it leaves by
    /// one.
    pub fn main_exit(&self) -> Option<LinkIndex> {
        self.vitals.way_out.flatten().filter(|index| self.roles.uplinks.contains(index))
    }

    /// Its internet does not answer, or has not for long enough to be believed in again.
    pub fn has_no_internet(&self, index: LinkIndex) -> bool {
        self.quality(index).is_some_and(|quality| quality.was_bad)
    }

    /// Chooses anew.
    pub(crate) fn watch_detour(&mut self) {
        self.judge_uplinks();
        // Who has no default route there is led by other rules than main's, and on purpose.
        let by = self
            .main_exit()
            .filter(|main| self.leads_out(*main))
            .map(|main| (main, self.exit_of_choice(main)));
        self.detour.by = by.filter(|(main, chosen)| main != chosen).map(|(_, chosen)| chosen);
    }

    fn judge_uplinks(&mut self) {
        let now = self.now;
        self.detour.quality.retain(|index, _| self.uplinks.contains_key(index));
        for (index, memory) in self.uplinks.iter() {
            let online = memory.reachability.map(|found| found == Reachability::Online);
            let fresh = Quality { online, since: now, was_bad: online == Some(false) };
            let known = self.detour.quality.entry(*index).or_insert(fresh);
            if known.online != online {
                *known = Quality { was_bad: known.was_bad || fresh.was_bad, ..fresh };
            }
            let trusted = online == Some(true) && now.saturating_since(known.since) >= RETURN_TIME;
            known.was_bad &= !trusted;
        }
    }

    /// The first in the order of the settings that may; an uplink in use is left only for a reason.
    fn exit_of_choice(&self, main: LinkIndex) -> LinkIndex {
        let current = self.detour.by.filter(|by| self.leads_out(*by)).unwrap_or(main);
        let bad = self.quality(current).is_some_and(|quality| quality.is_bad(self.now));
        let better = |index: &LinkIndex| {
            self.leads_out(*index) && (bad && self.answers(*index) || self.is_proven(*index))
        };
        let in_use = |index: &LinkIndex| *index == current && !bad;
        let mut order = self.roles.uplinks.iter().copied();
        order.find(|index| in_use(index) || better(index)).unwrap_or(main)
    }

    /// It has been good for so long that one that is good too gives way to it.
    fn is_proven(&self, index: LinkIndex) -> bool {
        let settled = self.uplinks.get(&index).and_then(UplinkMemory::settled_since);
        let settled =
            settled.is_some_and(|since| self.now.saturating_since(since) >= BETTER_UPLINK_TIME);
        let Some(quality) = self.quality(index) else { return false };
        match quality.online {
            Some(online) => {
                settled && online && self.now.saturating_since(quality.since) >= quality.trial()
            }
            None => settled && self.settings.uplink.probe == UplinkProbe::Off,
        }
    }

    fn answers(&self, index: LinkIndex) -> bool {
        self.quality(index).is_some_and(|quality| quality.online == Some(true))
    }

    fn quality(&self, index: LinkIndex) -> Option<&Quality> {
        self.detour.quality.get(&index)
    }

    /// It has a carrier, an IPv4 address, and an IPv4 default route.
    fn leads_out(&self, index: LinkIndex) -> bool {
        let is_v4 = |net: &IpNet| matches!(net, IpNet::V4(_));
        let carries = self.facts.link(index).is_some_and(|link| link.up && link.carrier);
        let address = self.uplinks.get(&index).and_then(|memory| memory.address);
        let route = self.facts.default_route_of(index, address);
        carries
            && address.as_ref().is_some_and(is_v4)
            && route.is_some_and(|route| is_v4(&route.destination))
    }

    /// When time alone may change the choice.
    pub(crate) fn detour_deadlines(&self) -> impl Iterator<Item = Instant> + '_ {
        let quality = self.detour.quality.values();
        quality.flat_map(|quality| [BAD_TIME, quality.trial()].map(|time| quality.since + time))
    }
}
