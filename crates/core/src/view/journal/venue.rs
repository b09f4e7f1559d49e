//! Records of the venues: the kind of network behind an uplink.

use super::{Kind, Record};
use crate::decide::venue::Venue;

/// Returns a record for each uplink whose venue's kind has changed.
pub(super) fn records(before: &[Venue], after: &[Venue]) -> Vec<Record> {
    let is_news = |venue: &&Venue| {
        !before.iter().any(|known| known.index == venue.index && known.kind == venue.kind)
    };
    after.iter().filter(is_news).map(record).collect()
}

fn record(venue: &Venue) -> Record {
    let because = match venue.reasons.as_slice() {
        [] => String::new(),
        reasons => format!(" ({})", reasons.join(", ")),
    };
    Record::new(Kind::Venue, format!("{}: the venue is {}{because}", venue.port, venue.kind))
        .with("UPLINK", &venue.port)
        .with("VENUE", venue.kind)
}
