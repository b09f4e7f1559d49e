//! Pages that take turns on a character display, and whose turn it is.

use std::time::Duration;

use super::Frame;

/// What a page is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// something that takes its turn
    #[default]
    Ordinary,
    /// shows one of the gravest alerts that stand
    Alert,
    /// a display that the address fills: it, or a part of it
    Address,
}

/// One page and how long it stands when its turn comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub frame: Frame,
    pub dwell: Duration,
    pub role: Role,
}

/// What a character display should show: its pages in turn.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Playlist {
    /// none at all is a blank display; one alone stands for ever
    pub pages: Vec<Page>,
    /// rows of the first page, counted from the top, whose change must be seen at once: 1 where the
    /// address is on row 1, 2 where it takes two rows, 0 for none
    pub urgent_rows: u8,
    /// what a person should notice, in words; other words are news, and a backlight that went dark
    /// is lit
    pub news: Vec<String>,
    /// the gravest alerts that are not acknowledged, and the first page of each: a new one is
    /// shown at once
    pub gravest: Vec<(String, usize)>,
    /// pages that are not the address's stand together for no longer than this, whatever happens;
    /// `None`: no limit
    pub guest_limit: Option<Duration>,
}

impl Playlist {
    /// Makes a playlist of one page that stands for ever; its first row is urgent.
    pub fn still(frame: Frame) -> Self {
        let news = frame.lines();
        let page = Page { frame, dwell: Duration::MAX, role: Role::Ordinary };
        Self { pages: vec![page], urgent_rows: 1, news, ..Self::default() }
    }

    /// Returns the rows of the first page that must be seen at once.
    fn urgent(&self) -> Vec<String> {
        let Some(first) = self.pages.first() else { return Vec::new() };
        first.frame.lines().into_iter().take(usize::from(self.urgent_rows)).collect()
    }

    /// Returns the role of a page; of one that is not there, an ordinary one.
    fn role(&self, index: usize) -> Role {
        self.pages.get(index).map_or(Role::Ordinary, |page| page.role)
    }

    /// Returns the first page of this role from `index` on, and round again.
    fn next_of(&self, role: Role, index: usize) -> Option<usize> {
        let count = self.pages.len();
        (index..index + count).map(|place| place % count).find(|place| self.role(*place) == role)
    }

    /// Returns the page of the first alert that did not stand `before`.
    fn risen(&self, before: &Self) -> Option<usize> {
        let stood = |key: &str| before.gravest.iter().any(|(known, _)| known == key);
        self.gravest.iter().find(|(key, _)| !stood(key)).map(|(_, page)| *page)
    }
}

/// How soon a new playlist has to be on the glass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// nothing that is shown now has changed
    None,
    /// within the frame rate
    Soon,
    /// an urgent row changed: now
    Now,
}

/// A playlist being played. Times are on any clock that never goes back; the caller reads it.
#[derive(Debug, Clone)]
pub struct Rotation {
    playlist: Playlist,
    index: usize,
    since: Duration,
    news: Duration,
    /// a person turned to this page: it stands longer
    turned: bool,
    /// when a page of the gravest alerts was last up
    alert_seen: Duration,
    /// when the address was last up, and when something else was
    address_seen: Duration,
    guest_seen: Duration,
}

/// A page that a person turned to stands so many times as long.
const TURNED: u32 = 3;
/// The gravest alert is off the glass for no longer, however the pages change; less than the ten
/// seconds that are promised.
const LONGEST_AWAY: Duration = Duration::from_secs(9);

impl Rotation {
    /// Starts with nothing to show.
    pub fn new(now: Duration) -> Self {
        Self {
            playlist: Playlist::default(),
            index: 0,
            since: now,
            news: now,
            turned: false,
            alert_seen: now,
            address_seen: now,
            guest_seen: now,
        }
    }

    /// Takes a new playlist. The turn is kept where it can be, so that updates do not restart the
    /// rotation. When an urgent row changes the first page is shown, and an alert that is new among
    /// the gravest is shown at once.
    pub fn update(&mut self, playlist: Playlist, now: Duration) -> Urgency {
        self.advance(now);
        let before = self.frame().cloned();
        let urgent = self.playlist.urgent() != playlist.urgent();
        if self.playlist.news != playlist.news {
            self.news = now;
        }
        let risen = playlist.risen(&self.playlist);
        let same_places = self.playlist.pages.len() == playlist.pages.len();
        let role = self.playlist.role(self.index);
        self.playlist = playlist;
        match risen {
            _ if urgent => self.go_to(0, now),
            Some(page) if self.playlist.guest_limit.is_none() => self.go_to(page, now),
            Some(page) => self.announce(page, role, now),
            None if self.playlist.gravest.is_empty() && !same_places => self.go_to(0, now),
            // The turn is kept: alerts that come and go must not keep the others from theirs.
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
        } else if urgent || risen.is_some() {
            Urgency::Now
        } else {
            Urgency::Soon
        }
    }

    /// Shows a page from now on.
    fn go_to(&mut self, page: usize, now: Duration) {
        self.look(now);
        (self.index, self.since, self.turned) = (page, now, false);
        self.look(now);
    }

    /// Lets an alert be the next guest of the address, which keeps its time. `role`: of the page
    /// that is up.
    fn announce(&mut self, page: usize, role: Role, now: Duration) {
        // The parts of the address that stand before the alert.
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

    /// Turns to the next page at once and lets it stand longer than it would by itself.
    pub fn turn(&mut self, now: Duration) {
        self.advance(now);
        self.go_to((self.index + 1) % self.playlist.pages.len().max(1), now);
        // The operator who pressed the button stands there and reads.
        self.news = now;
        self.turned = true;
    }

    /// Lets the turns that have passed pass. True if another page is up now.
    pub fn advance(&mut self, now: Duration) -> bool {
        let before = self.index;
        let pages = self.playlist.pages.len();
        for _ in 0..=pages {
            let Some(left) = self.next_turn(now) else { break };
            if !left.is_zero() {
                break;
            }
            let end = self.end().min(now);
            self.look(end);
            let next = (self.index + 1) % pages.max(1);
            // Of the address's guests the gravest alert comes first.
            let enters = self.playlist.role(self.index) == Role::Address
                && self.playlist.role(next) == Role::Ordinary;
            self.index = match self.overdue() {
                Some((role, at)) if at <= end || enters => {
                    self.playlist.next_of(role, next).unwrap_or(next)
                }
                _ => next,
            };
            (self.since, self.turned) = (end, false);
            self.look(end);
        }
        if self.next_turn(now).is_some_and(|left| left.is_zero()) {
            // More than a whole round behind (the machine slept): start the turn afresh.
            (self.since, self.address_seen, self.guest_seen, self.alert_seen) =
                (now, now, now, now);
        }
        self.look(now);
        self.index != before
    }

    /// Notes what is up at `now`.
    fn look(&mut self, now: Duration) {
        let role = self.playlist.role(self.index);
        if role == Role::Alert || self.playlist.gravest.is_empty() {
            self.alert_seen = self.alert_seen.max(now);
        }
        let side =
            if role == Role::Address { &mut self.address_seen } else { &mut self.guest_seen };
        *side = (*side).max(now);
    }

    /// Returns what has to be up at the latest at a moment, if the page that is up is something
    /// else.
    fn overdue(&self) -> Option<(Role, Duration)> {
        let role = self.playlist.role(self.index);
        match self.playlist.guest_limit {
            Some(limit) if role != Role::Address => {
                (!self.turned).then(|| (Role::Address, self.address_seen.saturating_add(limit)))
            }
            _ if role == Role::Alert || self.playlist.gravest.is_empty() => None,
            // Its share is three times that of its guests.
            Some(limit) => Some((
                Role::Alert,
                (self.alert_seen + LONGEST_AWAY).max(self.guest_seen + limit * 3),
            )),
            None => Some((Role::Alert, self.alert_seen + LONGEST_AWAY)),
        }
    }

    /// Returns when the page that is up has had its time.
    fn end(&self) -> Duration {
        let end = self.since.saturating_add(self.dwell());
        self.overdue().map_or(end, |(_, at)| end.min(at.max(self.since)))
    }

    /// Returns the time until the next page's turn; `None` when this page stands for ever.
    pub fn next_turn(&self, now: Duration) -> Option<Duration> {
        if self.playlist.pages.len() < 2 || self.dwell() == Duration::MAX {
            return None;
        }
        Some(self.end().saturating_sub(now))
    }

    /// Returns the page whose turn it is.
    pub fn frame(&self) -> Option<&Frame> {
        self.playlist.pages.get(self.index).map(|page| &page.frame)
    }

    /// Returns when there was news last, or the page was turned: for the backlight.
    pub fn last_news(&self) -> Duration {
        self.news
    }

    fn dwell(&self) -> Duration {
        // A page of no time would spin.
        let dwell = self.playlist.pages.get(self.index).map_or(Duration::MAX, |page| page.dwell);
        let dwell = dwell.max(Duration::from_millis(100));
        if self.turned { dwell.saturating_mul(TURNED) } else { dwell }
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
    fn a_new_address_is_shown_at_once_whatever_page_is_up() {
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
    fn a_page_that_somebody_turned_to_is_there_at_once_and_stands_longer() {
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
    fn a_page_not_shown_may_be_news_and_one_that_somebody_turned_to_is() {
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
    fn after_a_long_sleep_it_goes_on() {
        let mut rotation = Rotation::new(Duration::ZERO);
        rotation.update(playlist(&[["a", "1"], ["a", "2"]]), Duration::ZERO);
        rotation.advance(100_000 * SECOND);
        assert_eq!(rotation.next_turn(100_000 * SECOND), Some(4 * SECOND));
    }

    #[test]
    fn a_still_page_stands_for_ever() {
        let mut rotation = Rotation::new(Duration::ZERO);
        rotation.update(Playlist::still(Frame::blank(Geometry { columns: 8, rows: 2 })), SECOND);
        assert_eq!(rotation.next_turn(SECOND), None);
        assert!(!rotation.advance(1000 * SECOND));
    }
}
