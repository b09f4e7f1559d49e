//! Whether the head translates IPv4 to IPv6 (464XLAT, RFC 6877), and at which uplink.

use super::venue::{has_ipv4, is_plugged};
use crate::api::Schema;
use crate::api::clat::{self, Mode, Order};
pub use crate::api::status::ClatState;
use crate::config::{Clat, Settings};
use crate::facts::Facts;
use crate::facts::uplink::{UplinkView, is_translated_by_another, leads_by_translator};
use crate::facts::venue::VenueMemory;

/// The desired state of the translator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClatPlan {
    /// Not known yet: the order from before this start stays in force.
    Undecided,
    /// No translation.
    Off,
    Ordered(Order),
}

impl ClatPlan {
    /// Returns the order, if there is one.
    pub fn order(&self) -> Option<&Order> {
        if let Self::Ordered(order) = self { Some(order) } else { None }
    }
}

/// Returns the desired state of the translator.
pub fn plan(settings: &Settings, facts: &Facts) -> ClatPlan {
    match order(settings, facts) {
        Some(order) => ClatPlan::Ordered(order),
        None if is_undecided(settings, facts) => ClatPlan::Undecided,
        None => ClatPlan::Off,
    }
}

/// Returns whether the head translates IPv4 on our order. An order of the previous daemon counts
/// until this one has decided.
pub fn translates(settings: &Settings, facts: &Facts) -> bool {
    match plan(settings, facts) {
        ClatPlan::Ordered(_) => true,
        ClatPlan::Undecided => facts.kernel().links().any(|link| link.name == clat::DEVICE),
        ClatPlan::Off => false,
    }
}

/// Returns whether an order may still follow: the daemon has just started, and nothing rules one
/// out yet.
fn is_undecided(settings: &Settings, facts: &Facts) -> bool {
    let uplinks = facts.uplinks();
    if !facts.is_listening()
        || settings.uplink.clat == Clat::Off
        || uplinks.iter().any(|uplink| has_ipv4(facts, uplink))
        || is_translated(facts, &uplinks)
    {
        return false;
    }
    let heard = |uplink: &UplinkView<'_>| {
        let asked = super::probe::dns64(facts, uplink).is_some();
        facts.venue(uplink.link.index).is_some_and(|venue| venue.is_heard(asked))
    };
    let mut plugged = uplinks.iter().filter(|uplink| is_plugged(uplink)).peekable();
    plugged.peek().is_none() || !plugged.all(heard)
}

/// Returns the order for the translator; `None` if no translation is wanted.
///
/// An order is wanted where a venue has NAT64 and no uplink has a way out for IPv4, or one that is
/// dead while NAT64 answers, or where the settings ask for it. While another program's translator
/// works, ours does not start. It does not start either while an uplink's IPv4 address is on its
/// way: connections would have to move a moment later. A running translator goes on until that
/// address arrives.
fn order(settings: &Settings, facts: &Facts) -> Option<Order> {
    let uplinks = facts.uplinks();
    let wanted = match settings.uplink.clat {
        Clat::Off => false,
        Clat::Auto => {
            let begun = facts.kernel().links().any(|link| link.name == clat::DEVICE);
            let replaces = begun || is_nat64_online(facts);
            let is_dead = |index| replaces && facts.routing().detour().is_ipv4_dead(index);
            !uplinks.iter().any(|uplink| {
                has_ipv4(facts, uplink) && !is_dead(uplink.link.index)
                    || uplink.is_ipv4_coming && !begun
            })
        }
        Clat::On => true,
    };
    if !wanted || is_translated(facts, &uplinks) {
        return None;
    }
    let mut possible = uplinks.iter().filter_map(|uplink| {
        let index = uplink.link.index;
        let venue = facts.venue(index)?;
        let (prefix, _) = venue.nat64()?;
        let leads = facts.kernel().has_default_route(index, false);
        let is_possible = leads && uplink.link.up && uplink.link.carrier;
        is_possible.then(|| (uplink, prefix, venue.is_nat64_dead()))
    });
    let first = possible.next()?;
    // Another uplink's NAT64 may answer, such as a phone's.
    let working = first.2.then(|| possible.find(|(.., dead)| !dead)).flatten();
    let (uplink, prefix, _) = working.unwrap_or(first);
    Some(Order {
        schema: Schema::default(),
        uplink: uplink.link.name.clone(),
        prefix: prefix.to_string().parse().ok()?,
        mode: Mode::Auto.into(),
        address: None,
        mtu: None,
    })
}

/// Returns whether the NAT64 of an uplink's venue answers.
pub(super) fn is_nat64_online(facts: &Facts) -> bool {
    let uplinks = facts.uplinks();
    let mut venues = uplinks.iter().filter_map(|uplink| facts.venue(uplink.link.index));
    venues.any(VenueMemory::is_nat64_online)
}

/// Returns whether another program translates, and as far as known its translator works.
fn is_translated(facts: &Facts, uplinks: &[UplinkView<'_>]) -> bool {
    let by_uplink = uplinks.iter().any(|uplink| {
        is_translated_by_another(facts.kernel(), uplink.link) && !uplink.is_translator_dead
    });
    let egress = facts.routing().egress().flatten().and_then(|index| facts.kernel().link(index));
    let by_port = egress.is_some_and(|port| {
        port.name != clat::DEVICE
            && !facts.roles().uplinks.contains(&port.index)
            && leads_by_translator(facts.kernel(), port.index)
    });
    by_uplink || by_port
}

/// The translator of IPv4 to IPv6 on the head, running or ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Translation {
    pub state: ClatState,
    /// "bramblegate", or the port that holds another program's translator address.
    pub by: String,
    pub prefix: Option<String>,
}

/// Returns the translator: ours where it is ordered, else another program's.
pub fn translation(facts: &Facts, plan: &ClatPlan) -> Option<Translation> {
    let port = facts.kernel().links().find(|link| link.name == clat::DEVICE);
    let leads = port.is_some_and(|port| leads_by_translator(facts.kernel(), port.index));
    // The device of the previous session is useless without IPv6 to send to.
    let leads_on = |uplink: &UplinkView<'_>| {
        is_plugged(uplink) && facts.kernel().has_default_route(uplink.link.index, false)
    };
    let kept = leads && *plan == ClatPlan::Undecided && facts.uplinks().iter().any(leads_on);
    if plan.order().is_some() || kept {
        let state = if leads { ClatState::On } else { ClatState::Waiting };
        let prefix = plan.order().map(|order| order.prefix.to_string());
        return Some(Translation { state, by: "bramblegate".to_owned(), prefix });
    }
    let uplinks = facts.uplinks();
    let other =
        uplinks.iter().find(|uplink| is_translated_by_another(facts.kernel(), uplink.link))?;
    let venue = facts.venue(other.link.index).and_then(|venue| venue.nat64());
    let dead = other.is_translator_dead;
    Some(Translation {
        state: if dead { ClatState::LeftOver } else { ClatState::On },
        by: other.link.name.clone(),
        prefix: venue.map(|(prefix, _)| prefix.to_string()),
    })
}
