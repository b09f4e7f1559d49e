//! The pages of the character display: pure functions from what is known to what is shown.
//!
//! Row 1 is the address that answers ssh, always; the pages take turns below it, and alerts pre-empt them. A page is one file
//! with one function and one line in [`PAGES`]; it says [`Topic`]s and knows nothing of the display's size.

mod addresses;
mod gateway;
mod groups;
mod host;
mod nat;
mod nodes;
mod power;
mod room;
mod split;
mod topic;
mod uplink;
mod vitals;
mod words;

#[cfg(test)]
mod tests;

use std::time::Duration;

use ipnet::Ipv4Net;

use crate::config::Settings;
use crate::panel::{Frame, Geometry, Page, Playlist};
use crate::policy::Desired;
use crate::policy::alert::{Alert, Severity};
use crate::state::State;
use crate::state::node::NodeHealth;
use crate::state::uplink::UplinkView;

pub use topic::Topic;
pub use words::{last_words, starting};

/// What a page can look at.
#[derive(Debug)]
pub struct Scene<'s> {
    pub settings: &'s Settings,
    pub state: &'s State,
    /// the uplink whose address is on row 1
    pub active: Option<UplinkView<'s>>,
    pub alerts: &'s [Alert],
    /// the head's address in the cluster
    pub cluster_address: Ipv4Net,
}

/// A page: what it has to say now; nothing, and its turn is passed over.
pub type PageFn = fn(&Scene<'_>) -> Vec<Topic>;

/// All pages in their order.
pub const PAGES: &[(&str, PageFn)] = &[
    ("nodes", nodes::topics),
    ("groups", groups::topics),
    ("uplink", uplink::topics),
    ("gateway", gateway::topics),
    ("nat", nat::topics),
    ("host", host::topics),
    ("vitals", vitals::topics),
    ("addresses", addresses::topics),
];

/// Where the address fills the display: it stands this long …
const ADDRESS_TIME: Duration = Duration::from_secs(6);
/// … before something else may be seen for at most this long.
const GUEST_TIME: Duration = Duration::from_secs(2);
/// Narrower than this, a guest gets all rows, else only the last one.
const NARROW: u8 = 16;

/// What the display should show.
pub fn playlist(settings: &Settings, state: &State, desired: &Desired) -> Playlist {
    let geometry = settings.lcd.geometry;
    if !state.is_synced() {
        return Playlist::still(starting(geometry));
    }
    let scene = Scene {
        settings,
        state,
        active: state.active(),
        alerts: &desired.alerts,
        cluster_address: desired.cluster_address,
    };
    scene.playlist(geometry)
}

impl Scene<'_> {
    /// The address or the words in its place: on one screen, or several that are marked.
    fn heading(&self, geometry: Geometry) -> Vec<Vec<String>> {
        match self.active.as_ref().and_then(|active| active.address) {
            Some(address) => {
                let (text, widths) = (address.addr().to_string(), room::widths(geometry));
                // Blank rows at the end are for the pages.
                split::screens(&text, &widths)
            }
            None => vec![words::rows(words::no_address(self.state), geometry)],
        }
    }

    fn playlist(&self, geometry: Geometry) -> Playlist {
        let heading = self.heading(geometry);
        let rows = heading.first().map_or(0, Vec::len);
        let total = usize::from(geometry.rows);
        if let Some(topic) = power::topic(self.state) {
            return self.only(geometry, &heading, &topic);
        }
        let pages = if rows < total {
            self.below(geometry, heading.first().map_or(&[], Vec::as_slice))
        } else {
            self.in_turn(geometry, &heading)
        };
        let news = self.news(&heading);
        Playlist { pages, urgent_rows: u8::try_from(rows.min(total)).unwrap_or(u8::MAX), news }
    }

    /// What a person should notice: the heading, how many nodes are up, and what alarms. Not what moves all the time, as
    /// temperatures do.
    fn news(&self, heading: &[Vec<String>]) -> Vec<String> {
        let nodes = self.state.nodes();
        let count = format!("{}/{}", nodes.count(NodeHealth::Up), nodes.total());
        let alerts = self.alerts.iter().filter(|alert| !alert.acknowledged).map(Alert::key);
        heading.concat().into_iter().chain([count]).chain(alerts).collect()
    }

    /// One thing, whatever else there is to say. Where the heading leaves no room it has to wait: a person stands there with a
    /// finger on the button.
    fn only(&self, geometry: Geometry, heading: &[Vec<String>], topic: &Topic) -> Playlist {
        let rows = heading.first().map_or(&[][..], Vec::as_slice);
        let rows = if rows.len() < usize::from(geometry.rows) { rows } else { &[] };
        let slots = room::slots(geometry, rows.len());
        let mut frame = Frame::from_lines(geometry, rows);
        room::place(&mut frame, &slots, &topic.groups(&slots).concat());
        Playlist::still(frame)
    }

    /// The heading stays, the pages take turns below it.
    fn below(&self, geometry: Geometry, heading: &[String]) -> Vec<Page> {
        let slots = room::slots(geometry, heading.len());
        let mut screens = self.screens(&slots);
        if screens.is_empty() {
            screens.push(Vec::new());
        }
        let frames = screens.iter().map(|lines| {
            let mut frame = Frame::from_lines(geometry, heading);
            room::place(&mut frame, &slots, lines);
            frame
        });
        frames.map(|frame| Page { frame, dwell: self.settings.lcd.page_time }).collect()
    }

    /// The heading needs all rows: it stands for most of the time, and the pages are its guests.
    fn in_turn(&self, geometry: Geometry, heading: &[Vec<String>]) -> Vec<Page> {
        let count = u32::try_from(heading.len()).unwrap_or(u32::MAX).max(1);
        let dwell = (ADDRESS_TIME / count).max(GUEST_TIME);
        let heading: Vec<Page> =
            heading.iter().map(|rows| Page { frame: Frame::from_lines(geometry, rows), dwell }).collect();
        let keep = if geometry.columns < NARROW { 0 } else { usize::from(geometry.rows).saturating_sub(1) };
        let slots = room::slots(geometry, keep);
        let mut pages = Vec::new();
        for lines in self.screens(&slots) {
            let mut guest = Frame::blank(geometry);
            if let Some(first) = heading.first() {
                for (row, line) in first.frame.lines().iter().take(keep).enumerate() {
                    guest.write(row, 0, line);
                }
            }
            room::place(&mut guest, &slots, &lines);
            pages.extend(heading.iter().cloned());
            pages.push(Page { frame: guest, dwell: self.settings.lcd.page_time.min(GUEST_TIME) });
        }
        if pages.is_empty() { heading } else { pages }
    }

    /// What stands in the slots, in turn. Alerts pre-empt the pages; where there is room they share it.
    fn screens(&self, slots: &[room::Slot]) -> Vec<Vec<String>> {
        let is_urgent = |alert: &Alert| alert.severity >= Severity::Warning && !alert.acknowledged;
        let urgent = room::pack(&self.alerts_where(is_urgent), slots);
        let calm = || -> Vec<Topic> {
            let known = self.alerts_where(|alert| !is_urgent(alert));
            PAGES.iter().flat_map(|(_, page)| page(self)).chain(known).collect()
        };
        match urgent.as_slice() {
            [] => room::pack(&calm(), slots),
            [lines] if lines.len() < slots.len() => {
                let rest = slots.get(lines.len()..).unwrap_or_default();
                let mut beside = room::pack(&calm(), rest);
                if beside.is_empty() {
                    beside.push(Vec::new());
                }
                beside.into_iter().map(|calm| lines.iter().cloned().chain(calm).collect()).collect()
            }
            _ => urgent,
        }
    }

    /// The alerts' words for the panel, without what row 1 says already.
    fn alerts_where(&self, wanted: impl Fn(&Alert) -> bool) -> Vec<Topic> {
        let addressed = self.active.as_ref().is_some_and(|active| active.address.is_some());
        let words = if addressed { "" } else { words::no_address(self.state) };
        let alerts = self.alerts.iter().filter(|alert| wanted(alert));
        let news = alerts.map(|alert| alert.panel.as_str()).filter(|panel| !panel.is_empty() && *panel != words);
        news.map(|panel| Topic::Text(panel.to_owned())).collect()
    }
}
