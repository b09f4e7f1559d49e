//! What kind of network the venue has, from its announcements, confirmed by probes.

use bramblegate_clat::Prefix;

use crate::api::clat;
pub use crate::api::status::VenueKind;
use crate::config::{Settings, UplinkProbe};
use crate::event::{Acquisition, LinkIndex, Path, Reachability, VenuePlan};
use crate::facts::Facts;
use crate::facts::uplink::{UplinkState, UplinkView};
use crate::facts::venue::{Nat64Source, VenueMemory};

/// The venue behind one uplink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Venue {
    pub index: LinkIndex,
    /// The uplink's name.
    pub port: String,
    pub kind: VenueKind,
    /// What decided it, apart from working addresses.
    pub reasons: Vec<String>,
    pub nat64: Option<Prefix>,
}

/// Returns the venue of each uplink that has a carrier and was probed.
pub fn venues(settings: &Settings, facts: &Facts) -> Vec<Venue> {
    let uplinks = facts.uplinks();
    uplinks.iter().filter_map(|uplink| venue(settings, facts, uplink)).collect()
}

fn venue(settings: &Settings, facts: &Facts, uplink: &UplinkView<'_>) -> Option<Venue> {
    if !is_plugged(uplink) {
        return None;
    }
    let (link, unheard) = (uplink.link, VenueMemory::default());
    let memory = facts.venue(link.index).unwrap_or(&unheard);
    let probed = settings.uplink.probe == UplinkProbe::Off || uplink.reachability.is_some();
    let has_path = memory.has_ipv4() || memory.has_ipv6() || uplink.address.is_some();
    let waiting = if has_path { !probed } else { uplink.settled != UplinkState::NoDhcp };
    if waiting {
        return None;
    }
    let paths = Paths::of(memory);
    let kind = kind(uplink, memory, &paths);
    let reasons = reasons(uplink, memory, &paths, kind);
    let nat64 = memory.nat64().map(|(prefix, _)| prefix);
    Some(Venue { index: link.index, port: link.name.clone(), kind, reasons, nat64 })
}

/// The paths to the internet by address family.
#[derive(Debug, Clone, Copy)]
struct Paths {
    ipv4: State,
    ipv6: State,
    nat64: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// There is no address or no default route.
    Missing,
    /// The probe gets no reply.
    Dead,
    /// The probe gets a reply, or has not run yet.
    Works,
}

impl Paths {
    fn of(memory: &VenueMemory) -> Self {
        let state = |has_path: bool, path: Path| match memory.answer(path) {
            _ if !has_path => State::Missing,
            Some(Reachability::Nothing) => State::Dead,
            // The first one did not answer, and this one has not been asked yet.
            None if matches!(path, Path::Nat64(_)) && memory.has_dead_nat64() => State::Dead,
            Some(Reachability::Online | Reachability::Portal) | None => State::Works,
        };
        let ipv6 = state(memory.has_ipv6(), Path::Ipv6);
        let nat64 =
            memory.nat64().map(|(prefix, _)| state(ipv6 != State::Missing, Path::Nat64(prefix)));
        Self {
            ipv4: state(memory.has_ipv4(), Path::Ipv4),
            ipv6,
            nat64: nat64.unwrap_or(State::Missing),
        }
    }
}

fn kind(uplink: &UplinkView<'_>, memory: &VenueMemory, paths: &Paths) -> VenueKind {
    let found = [Path::Ipv4, Path::Ipv6].map(|path| memory.answer(path));
    let online = found.contains(&Some(Reachability::Online));
    let portal = found.contains(&Some(Reachability::Portal));
    let works = |state: State| state == State::Works;
    match (works(paths.ipv4), works(paths.ipv6), works(paths.nat64)) {
        _ if !online
            && (portal
                || !works(paths.ipv4) && !works(paths.ipv6) && uplink.portal_url.is_some()) =>
        {
            VenueKind::Portal
        }
        (true, true, true) => VenueKind::V6Mostly,
        (true, true, false) => VenueKind::Dual,
        (true, false, _) => VenueKind::V4,
        (false, true, true) if is_ipv6_only_by_dhcp(uplink) => VenueKind::V6Mostly,
        (false, true, true) => VenueKind::V6OnlyNat64,
        (false, true, false) => VenueKind::V6Only,
        (false, false, _) => VenueKind::Offline,
    }
}

/// Returns whether the system's DHCP client took no IPv4 address because the server prefers
/// IPv6-only (option 108, RFC 8925).
fn is_ipv6_only_by_dhcp(uplink: &UplinkView<'_>) -> bool {
    matches!(uplink.acquisition, Some(Acquisition::Ipv6Only { .. }))
}

fn reasons(
    uplink: &UplinkView<'_>,
    memory: &VenueMemory,
    paths: &Paths,
    kind: VenueKind,
) -> Vec<String> {
    let mut reasons = Vec::new();
    if let Some((prefix, Nat64Source::Advertised)) = memory.nat64() {
        reasons.push(format!("pref64 {prefix} by RA"));
    }
    // A rogue router may send one too, so the count shows where IPv4 traffic could go.
    let others = memory.unused_nat64();
    reasons.extend((others > 0).then(|| format!("{others} other pref64 by RA, not used")));
    if let Some(prefix) = memory.dns64() {
        reasons.push(format!("dns64 {prefix} by ipv4only.arpa"));
    }
    if let Some(Acquisition::Ipv6Only { server }) = uplink.acquisition {
        reasons.push(format!("108 honoured, from the DHCP server {server}"));
    }
    if memory.is_managed_alone() {
        reasons.push("addresses by DHCPv6 alone".to_owned());
    }
    if let Some(mtu) = memory.mtu().filter(|mtu| *mtu < uplink.link.mtu) {
        reasons.push(format!("MTU {mtu} by RA"));
    }
    for (name, state) in [("IPv4", paths.ipv4), ("IPv6", paths.ipv6), ("NAT64", paths.nat64)] {
        if state == State::Dead {
            reasons.push(format!("{name} does not answer"));
        }
    }
    if let (VenueKind::Portal, Some(url)) = (kind, uplink.portal_url) {
        reasons.push(format!("log-in page {url}"));
    }
    reasons
}

/// Returns the uplinks at which router advertisements and resolvers are watched.
pub fn heard(facts: &Facts) -> Vec<VenuePlan> {
    let uplinks = facts.uplinks().into_iter().filter(is_plugged);
    let plan = |uplink: UplinkView<'_>| VenuePlan {
        index: uplink.link.index,
        name: uplink.link.name.clone(),
        mac: uplink.link.mac,
        generation: uplink.carrier_ups,
        resolvers: super::probe::dns64(facts, &uplink),
    };
    uplinks.map(plan).collect()
}

/// Returns whether an uplink other than the translator's device has a carrier.
pub(super) fn is_plugged(uplink: &UplinkView<'_>) -> bool {
    uplink.link.up && uplink.link.carrier && uplink.link.name != clat::DEVICE
}

/// Returns whether an uplink has an IPv4 address of its own and a default route for it.
pub(super) fn has_ipv4(facts: &Facts, uplink: &UplinkView<'_>) -> bool {
    uplink.has_ipv4 && facts.kernel().has_default_route(uplink.link.index, true)
}
