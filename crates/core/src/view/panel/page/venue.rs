//! What kind of network the venue has.

use super::{Scene, Topic};
use crate::decide::venue::VenueKind;

/// Returns `venue v6-mostly`. Omits the most common kinds, and what other pages show.
pub fn topics(scene: &Scene) -> Vec<Topic> {
    let active = scene.active.as_ref().map(|active| active.link.index);
    let venue = scene.venues.iter().find(|venue| Some(venue.index) == active);
    let kind = venue.map(|venue| venue.kind);
    let plain = [VenueKind::V4, VenueKind::Dual, VenueKind::Portal, VenueKind::Offline];
    let kind = kind.filter(|kind| !plain.contains(kind));
    kind.map(|kind| Topic::wordings([format!("venue {kind}"), kind.to_string()]))
        .into_iter()
        .collect()
}
