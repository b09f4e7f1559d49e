//! The pages of the character display: pure functions from what is known to what is shown.
//!
//! Row 1 is the address that answers ssh, always; the pages take turns below it, and alerts
//! pre-empt them (`turns`). A page is one file with one function and one line in [`PAGES`]; it
//! returns [`Topic`]s and knows nothing of the display's size.

mod addresses;
mod gateway;
mod groups;
mod host;
mod nat;
mod nodes;
mod power;
mod room;
mod share;
mod split;
mod topic;
mod turns;
mod uplink;
mod venue;
mod vitals;
mod web;
mod words;

#[cfg(test)]
mod tests;

use ipnet::IpNet;

use crate::config::Settings;
use crate::decide::Desired;
use crate::decide::alert::Alert;
use crate::decide::venue::Venue;
use crate::facts::Facts;
use crate::facts::node::NodeHealth;
use crate::facts::uplink::UplinkView;
use crate::panel::{Frame, Geometry, Playlist};

pub use topic::Topic;
pub use words::{last_words, starting};

/// Holds what a page can look at.
#[derive(Debug)]
pub struct Scene<'s> {
    pub settings: &'s Settings,
    pub facts: &'s Facts,
    /// the uplink whose address is on row 1
    pub active: Option<UplinkView<'s>>,
    pub alerts: &'s [Alert],
    pub venues: &'s [Venue],
    /// the head's address in the cluster
    pub cluster_address: IpNet,
}

/// A page: what it has to show now; nothing, and its turn is passed over.
pub type PageFn = fn(&Scene<'_>) -> Vec<Topic>;

/// All pages in their order.
pub const PAGES: &[(&str, PageFn)] = &[
    ("nodes", nodes::topics),
    ("groups", groups::topics),
    ("uplink", uplink::topics),
    ("venue", venue::topics),
    ("gateway", gateway::topics),
    ("nat", nat::topics),
    ("host", host::topics),
    ("web", web::topics),
    ("share", share::topics),
    ("vitals", vitals::topics),
    ("addresses", addresses::topics),
];

/// Returns what the display should show.
pub fn playlist(settings: &Settings, facts: &Facts, desired: &Desired) -> Playlist {
    let geometry = settings.lcd.geometry;
    if !facts.links().is_synced() {
        return Playlist::still(starting(geometry));
    }
    let scene = Scene {
        settings,
        facts,
        active: facts.active(),
        alerts: &desired.alerts,
        venues: &desired.venues,
        cluster_address: desired.cluster_address,
    };
    scene.playlist(geometry)
}

/// Returns what makes an alert another topic: other words are to be seen at once, also where it is
/// the same alert.
fn topic_key(alert: &Alert) -> String {
    [alert.code.name(), " ", &alert.panel].concat()
}

impl Scene<'_> {
    /// Returns the address or the words in its place: on one screen, or several that are marked.
    fn heading(&self, geometry: Geometry) -> Vec<Vec<String>> {
        match self.active.as_ref().and_then(|active| active.address) {
            Some(address) => {
                let (text, widths) = (address.addr().to_string(), room::widths(geometry));
                // Blank rows at the end are for the pages.
                split::screens(&text, &widths)
            }
            None => vec![words::rows(words::no_address(self.active.as_ref()), geometry)],
        }
    }

    /// Returns the pages in turn, below the heading or beside it.
    fn playlist(&self, geometry: Geometry) -> Playlist {
        let heading = self.heading(geometry);
        let rows = heading.first().map_or(0, Vec::len);
        let total = usize::from(geometry.rows);
        if let Some(topic) = power::topic(self.facts) {
            return self.only(geometry, &heading, &topic);
        }
        let turns = if rows < total {
            self.below(geometry, heading.first().map_or(&[], Vec::as_slice))
        } else {
            self.beside(geometry, &heading)
        };
        let (urgent_rows, news) =
            (u8::try_from(rows.min(total)).unwrap_or(u8::MAX), self.news(&heading));
        Playlist { urgent_rows, news, ..turns }
    }

    /// Returns what the operator should notice: the heading, how many nodes are up, and what
    /// alarms. Not what moves all the time, as temperatures do.
    fn news(&self, heading: &[Vec<String>]) -> Vec<String> {
        let nodes = self.facts.nodes();
        let count = format!("{}/{}", nodes.count(NodeHealth::Up), nodes.total());
        let alerts = self.alerts.iter().filter(|alert| !alert.acknowledged).map(topic_key);
        heading.concat().into_iter().chain([count]).chain(alerts).collect()
    }

    /// Returns one page of one topic, whatever else there is to show. Where the heading leaves no
    /// room it has to wait: a user is pressing the button.
    fn only(&self, geometry: Geometry, heading: &[Vec<String>], topic: &Topic) -> Playlist {
        let rows = heading.first().map_or(&[][..], Vec::as_slice);
        let rows = if rows.len() < usize::from(geometry.rows) { rows } else { &[] };
        let slots = room::slots(geometry, rows.len());
        let mut frame = Frame::from_lines(geometry, rows);
        room::place(&mut frame, &slots, &topic.groups(&slots).concat());
        Playlist::still(frame)
    }
}
