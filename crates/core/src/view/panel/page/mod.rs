//! The pages of the character display, as pure functions of the facts.
//!
//! Row 1 always holds the address for ssh. The pages take turns below it, and alerts pre-empt them
//! (`turns`). A page is one file with one function and one line in [`PAGES`]; it returns
//! [`Topic`]s, whatever the display's size.

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

/// The input of the pages.
#[derive(Debug)]
pub struct Scene<'s> {
    pub settings: &'s Settings,
    pub facts: &'s Facts,
    /// The uplink whose address row 1 shows.
    pub active: Option<UplinkView<'s>>,
    pub alerts: &'s [Alert],
    pub venues: &'s [Venue],
    /// The head's address in the cluster.
    pub cluster_address: IpNet,
}

/// A page: returns its current topics. Without topics it is skipped.
pub type PageFn = fn(&Scene<'_>) -> Vec<Topic>;

/// All pages, in their order.
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

/// Returns the playlist for the display.
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

/// Returns the identity of an alert on the panel: a changed text is shown at once, as if it were a
/// new alert.
fn topic_key(alert: &Alert) -> String {
    [alert.code.name(), " ", &alert.panel].concat()
}

impl Scene<'_> {
    /// Returns the address, or the text in its place: one screen, or several numbered ones.
    fn heading(&self, geometry: Geometry) -> Vec<Vec<String>> {
        match self.active.as_ref().and_then(|active| active.address) {
            Some(address) => {
                let (text, widths) = (address.addr().to_string(), room::widths(geometry));
                // Trailing blank rows are left for the pages.
                split::screens(&text, &widths)
            }
            None => vec![words::rows(words::no_address(self.active.as_ref()), geometry)],
        }
    }

    /// Returns the pages in turn, below the heading or alternating with it.
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

    /// Returns what should draw attention when it changes: the heading, the count of nodes up, and
    /// the alerts. Not values that change all the time, such as temperatures.
    fn news(&self, heading: &[Vec<String>]) -> Vec<String> {
        let nodes = self.facts.nodes();
        let count = format!("{}/{}", nodes.count(NodeHealth::Up), nodes.total());
        let alerts = self.alerts.iter().filter(|alert| !alert.acknowledged).map(topic_key);
        heading.concat().into_iter().chain([count]).chain(alerts).collect()
    }

    /// Returns a single page with one topic, for a user who holds a button. It hides the heading if
    /// there is no room for both.
    fn only(&self, geometry: Geometry, heading: &[Vec<String>], topic: &Topic) -> Playlist {
        let rows = heading.first().map_or(&[][..], Vec::as_slice);
        let rows = if rows.len() < usize::from(geometry.rows) { rows } else { &[] };
        let slots = room::slots(geometry, rows.len());
        let mut frame = Frame::from_lines(geometry, rows);
        room::place(&mut frame, &slots, &topic.groups(&slots).concat());
        Playlist::still(frame)
    }
}
