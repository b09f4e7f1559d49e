//! Pages of a character display and their rotation.

use std::time::Duration;

use super::Frame;

/// The purpose of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// A page that takes its turn.
    #[default]
    Ordinary,
    /// A page with one of the most severe alerts.
    Alert,
    /// The address, or a part of it, where it fills the display.
    Address,
}

/// A page and its duration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub frame: Frame,
    pub dwell: Duration,
    pub role: Role,
}

/// The content of a character display: pages in turn.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Playlist {
    /// Empty for a blank display. A single page stays forever.
    pub pages: Vec<Page>,
    /// Number of top rows of the first page whose change must be visible at once: 1 if the address
    /// is on row 1, 2 if it takes two rows, 0 for none.
    pub urgent_rows: u8,
    /// What should draw attention, as text: a change of it turns a dark backlight on.
    pub news: Vec<String>,
    /// The most severe alerts that are not acknowledged, with the first page of each: a new one is
    /// shown at once.
    pub top_alerts: Vec<(String, usize)>,
    /// Limit on the time without an address page, in any case; `None`: no limit.
    pub guest_limit: Option<Duration>,
}

impl Playlist {
    /// Returns a playlist of a single page, whose first row is urgent.
    pub fn still(frame: Frame) -> Self {
        let news = frame.lines();
        let page = Page { frame, dwell: Duration::MAX, role: Role::Ordinary };
        Self { pages: vec![page], urgent_rows: 1, news, ..Self::default() }
    }

    /// Returns the urgent rows.
    fn urgent(&self) -> Vec<String> {
        let Some(first) = self.pages.first() else { return Vec::new() };
        first.frame.lines().into_iter().take(usize::from(self.urgent_rows)).collect()
    }

    /// Returns the role of a page; a missing page counts as ordinary.
    fn role(&self, index: usize) -> Role {
        self.pages.get(index).map_or(Role::Ordinary, |page| page.role)
    }

    /// Returns the next page with this role from `index` on, cyclically.
    fn next_of(&self, role: Role, index: usize) -> Option<usize> {
        let count = self.pages.len();
        (index..index + count).map(|place| place % count).find(|place| self.role(*place) == role)
    }

    /// Returns the page of the first alert that is not in `before`.
    fn new_alert(&self, before: &Self) -> Option<usize> {
        let stood = |key: &str| before.top_alerts.iter().any(|(known, _)| known == key);
        self.top_alerts.iter().find(|(key, _)| !stood(key)).map(|(_, page)| *page)
    }
}

/// How soon a new playlist must be visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// The visible page is unchanged.
    None,
    /// Within the frame rate.
    Soon,
    /// At once: an urgent row or a new alert.
    Now,
}

/// The state of a playlist in rotation. Times are on a monotonic clock that the caller reads.
#[derive(Debug, Clone)]
pub struct Rotation {
    playlist: Playlist,
    index: usize,
    since: Duration,
    news: Duration,
    /// A user selected this page by the button: it stays longer.
    selected: bool,
    /// When one of the most severe alerts was last visible.
    alert_seen: Duration,
    /// When the address was last visible, and when another page was.
    address_seen: Duration,
    guest_seen: Duration,
}

/// Factor by which a page stays longer if a user selected it.
const SELECTED_FACTOR: u32 = 3;
/// Limit on the time without one of the most severe alerts, below the ten seconds that are
/// promised.
const MAX_HIDDEN: Duration = Duration::from_secs(9);

impl Rotation {
    /// Returns a rotation with a blank display.
    pub fn new(now: Duration) -> Self {
        Self {
            playlist: Playlist::default(),
            index: 0,
            since: now,
            news: now,
            selected: false,
            alert_seen: now,
            address_seen: now,
            guest_seen: now,
        }
    }

    /// Replaces the playlist. Keeps the current position if possible, so that updates do not
    /// restart the rotation. A changed urgent row shows the first page at once, a new alert its
    /// page.
    pub fn update(&mut self, playlist: Playlist, now: Duration) -> Urgency {
        self.advance(now);
        let before = self.frame().cloned();
        let urgent = self.playlist.urgent() != playlist.urgent();
        if self.playlist.news != playlist.news {
            self.news = now;
        }
        let new_alert = playlist.new_alert(&self.playlist);
        let same_places = self.playlist.pages.len() == playlist.pages.len();
        let role = self.playlist.role(self.index);
        self.playlist = playlist;
        match new_alert {
            _ if urgent => self.go_to(0, now),
            Some(page) if self.playlist.guest_limit.is_none() => self.go_to(page, now),
            Some(page) => self.announce(page, role, now),
            None if self.playlist.top_alerts.is_empty() && !same_places => self.go_to(0, now),
            // Keep the position, so that alerts that come and go do not starve other pages.
            None if role == self.playlist.role(self.index)
                && self.index < self.playlist.pages.len() => {}
            None => match self.playlist.next_of(role, 0) {
                Some(page) => self.index = page,
                None => self.go_to(0, now),
            },
        }
        self.advance(now);
        if before.as_ref() == self.frame() {
            Urgency::None
        } else if urgent || new_alert.is_some() {
            Urgency::Now
        } else {
            Urgency::Soon
        }
    }

    /// Shows a page, starting its time now.
    fn go_to(&mut self, page: usize, now: Duration) {
        self.record_visible(now);
        (self.index, self.since, self.selected) = (page, now, false);
        self.record_visible(now);
    }

    /// Makes an alert the next guest after the address, whose remaining time is kept. `role` is
    /// that of the visible page.
    fn announce(&mut self, page: usize, role: Role, now: Duration) {
        // Find the first part of the address before the alert.
        let mut first = page;
        while first > 0 && self.playlist.role(first - 1) != Role::Address {
            first -= 1;
        }
        while first > 0 && self.playlist.role(first - 1) == Role::Address {
            first -= 1;
        }
        if role == Role::Address {
            self.index = first;
        } else {
            self.go_to(first, now);
        }
    }

    /// Shows the next page at once, for longer than usual.
    pub fn turn(&mut self, now: Duration) {
        self.advance(now);
        self.go_to((self.index + 1) % self.playlist.pages.len().max(1), now);
        // A user who presses the button is reading.
        self.news = now;
        self.selected = true;
    }

    /// Advances the rotation to `now`. Returns true if the visible page changed.
    pub fn advance(&mut self, now: Duration) -> bool {
        let before = self.index;
        let pages = self.playlist.pages.len();
        for _ in 0..=pages {
            let Some(left) = self.next_turn(now) else { break };
            if !left.is_zero() {
                break;
            }
            let end = self.end().min(now);
            self.record_visible(end);
            let next = (self.index + 1) % pages.max(1);
            // After the address the most severe alert is the first guest.
            let enters = self.playlist.role(self.index) == Role::Address
                && self.playlist.role(next) == Role::Ordinary;
            self.index = match self.overdue() {
                Some((role, at)) if at <= end || enters => {
                    self.playlist.next_of(role, next).unwrap_or(next)
                }
                _ => next,
            };
            (self.since, self.selected) = (end, false);
            self.record_visible(end);
        }
        if self.next_turn(now).is_some_and(|left| left.is_zero()) {
            // More than a full cycle late (the machine was suspended): restart the page's time.
            (self.since, self.address_seen, self.guest_seen, self.alert_seen) =
                (now, now, now, now);
        }
        self.record_visible(now);
        self.index != before
    }

    /// Records what is visible at `now`.
    fn record_visible(&mut self, now: Duration) {
        let role = self.playlist.role(self.index);
        if role == Role::Alert || self.playlist.top_alerts.is_empty() {
            self.alert_seen = self.alert_seen.max(now);
        }
        let side =
            if role == Role::Address { &mut self.address_seen } else { &mut self.guest_seen };
        *side = (*side).max(now);
    }

    /// Returns the role that must be visible next, and the latest time for it; `None` if there is
    /// no such limit.
    fn overdue(&self) -> Option<(Role, Duration)> {
        let role = self.playlist.role(self.index);
        match self.playlist.guest_limit {
            Some(limit) if role != Role::Address => {
                (!self.selected).then(|| (Role::Address, self.address_seen.saturating_add(limit)))
            }
            _ if role == Role::Alert || self.playlist.top_alerts.is_empty() => None,
            // The address has three times the share of its guests.
            Some(limit) => {
                Some((Role::Alert, (self.alert_seen + MAX_HIDDEN).max(self.guest_seen + limit * 3)))
            }
            None => Some((Role::Alert, self.alert_seen + MAX_HIDDEN)),
        }
    }

    /// Returns when the visible page ends.
    fn end(&self) -> Duration {
        let end = self.since.saturating_add(self.dwell());
        self.overdue().map_or(end, |(_, at)| end.min(at.max(self.since)))
    }

    /// Returns the time until the next page; `None` if this page stays forever.
    pub fn next_turn(&self, now: Duration) -> Option<Duration> {
        if self.playlist.pages.len() < 2 || self.dwell() == Duration::MAX {
            return None;
        }
        Some(self.end().saturating_sub(now))
    }

    /// Returns the visible page.
    pub fn frame(&self) -> Option<&Frame> {
        self.playlist.pages.get(self.index).map(|page| &page.frame)
    }

    /// Returns the time of the last change worth attention or button press, for the backlight.
    pub fn last_news(&self) -> Duration {
        self.news
    }

    fn dwell(&self) -> Duration {
        // A page without duration would cause a busy loop.
        let dwell = self.playlist.pages.get(self.index).map_or(Duration::MAX, |page| page.dwell);
        let dwell = dwell.max(Duration::from_millis(100));
        if self.selected { dwell.saturating_mul(SELECTED_FACTOR) } else { dwell }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Geometry;

    const SECOND: Duration = Duration::from_secs(1);

    fn playlist(rows: &[[&str; 2]]) -> Playlist {
        let geometry = Geometry { columns: 16, rows: 2 };
        let pages = rows
            .iter()
            .map(|lines| Page {
                frame: Frame::from_lines(geometry, lines),
                dwell: 4 * SECOND,
                role: Role::Ordinary,
            })
            .collect();
        let news = rows.first().map(|lines| lines.map(str::to_owned).to_vec()).unwrap_or_default();
        Playlist { pages, urgent_rows: 1, news, ..Playlist::default() }
    }

    fn second_row(rotation: &Rotation) -> String {
        rotation.frame().unwrap().lines()[1].trim().to_owned()
    }

    #[test]
    fn pages_take_turns() {
        let mut rotation = Rotation::new(Duration::ZERO);
        rotation.update(playlist(&[["a", "1"], ["a", "2"], ["a", "3"]]), Duration::ZERO);
        assert_eq!(second_row(&rotation), "1");
        assert_eq!(rotation.next_turn(SECOND), Some(3 * SECOND));
        assert!(!rotation.advance(3 * SECOND));
        assert!(rotation.advance(4 * SECOND));
        assert_eq!(second_row(&rotation), "2");
        rotation.advance(13 * SECOND);
        assert_eq!(second_row(&rotation), "1");
        assert_eq!(rotation.next_turn(13 * SECOND), Some(3 * SECOND));
    }

    #[test]
    fn an_update_does_not_restart_the_rotation() {
        let mut rotation = Rotation::new(Duration::ZERO);
        rotation.update(playlist(&[["a", "1"], ["a", "2"]]), Duration::ZERO);
        let urgency = rotation.update(playlist(&[["a", "1"], ["a", "2b"]]), 5 * SECOND);
        assert_eq!(urgency, Urgency::Soon);
        assert_eq!(second_row(&rotation), "2b");
        assert_eq!(rotation.next_turn(5 * SECOND), Some(3 * SECOND));
    }

    #[test]
    fn a_change_of_a_page_not_shown_is_not_urgent() {
        let mut rotation = Rotation::new(Duration::ZERO);
        rotation.update(playlist(&[["a", "1"], ["a", "2"]]), Duration::ZERO);
        assert_eq!(rotation.update(playlist(&[["a", "1"], ["a", "2b"]]), SECOND), Urgency::None);
    }

    #[test]
    fn a_new_address_is_shown_at_once() {
        let mut rotation = Rotation::new(Duration::ZERO);
        rotation.update(playlist(&[["10.0.0.1", "1"], ["10.0.0.1", "2"]]), Duration::ZERO);
        let now = 5 * SECOND;
        assert_eq!(
            rotation.update(playlist(&[["10.0.0.2", "1"], ["10.0.0.2", "2"]]), now),
            Urgency::Now
        );
        assert_eq!(rotation.frame().unwrap().lines()[0].trim(), "10.0.0.2");
        assert_eq!(rotation.last_news(), now);
    }

    #[test]
    fn a_page_selected_by_button_appears_at_once_and_stays_longer() {
        let mut rotation = Rotation::new(Duration::ZERO);
        rotation.update(playlist(&[["a", "1"], ["a", "2"], ["a", "3"]]), Duration::ZERO);
        rotation.turn(SECOND);
        assert_eq!(second_row(&rotation), "2");
        assert_eq!(rotation.next_turn(SECOND), Some(12 * SECOND));
        rotation.turn(2 * SECOND);
        assert_eq!(second_row(&rotation), "3");
        assert!(!rotation.advance(13 * SECOND));
        assert!(rotation.advance(14 * SECOND));
        assert_eq!(
            (second_row(&rotation).as_str(), rotation.next_turn(14 * SECOND)),
            ("1", Some(4 * SECOND))
        );
    }

    #[test]
    fn news_is_explicit_or_a_button_press() {
        let mut rotation = Rotation::new(Duration::ZERO);
        let pages = [["a", "1"], ["a", "2"]];
        rotation.update(playlist(&pages), Duration::ZERO);
        rotation.update(playlist(&[["a", "1"], ["a", "2b"]]), SECOND);
        assert_eq!(rotation.last_news(), Duration::ZERO, "what is not called news is none");
        rotation.update(
            Playlist { news: vec!["rpi2 down".to_owned()], ..playlist(&pages) },
            2 * SECOND,
        );
        assert_eq!(rotation.last_news(), 2 * SECOND);
        rotation.turn(3 * SECOND);
        assert_eq!(rotation.last_news(), 3 * SECOND);
    }

    #[test]
    fn turning_a_single_page_changes_nothing() {
        let mut rotation = Rotation::new(Duration::ZERO);
        rotation.turn(SECOND);
        rotation.update(playlist(&[["a", "1"]]), SECOND);
        rotation.turn(SECOND);
        assert_eq!((second_row(&rotation).as_str(), rotation.next_turn(SECOND)), ("1", None));
    }

    #[test]
    fn the_rotation_survives_a_suspend() {
        let mut rotation = Rotation::new(Duration::ZERO);
        rotation.update(playlist(&[["a", "1"], ["a", "2"]]), Duration::ZERO);
        rotation.advance(100_000 * SECOND);
        assert_eq!(rotation.next_turn(100_000 * SECOND), Some(4 * SECOND));
    }

    #[test]
    fn a_single_page_stays_forever() {
        let mut rotation = Rotation::new(Duration::ZERO);
        rotation.update(Playlist::still(Frame::blank(Geometry { columns: 8, rows: 2 })), SECOND);
        assert_eq!(rotation.next_turn(SECOND), None);
        assert!(!rotation.advance(1000 * SECOND));
    }
}
