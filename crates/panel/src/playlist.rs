//! Pages that take turns on a character display, and whose turn it is.

use std::time::Duration;

use super::Frame;

/// One page and how long it stands when its turn comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub frame: Frame,
    pub dwell: Duration,
}

/// What a character display should show: its pages in turn.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Playlist {
    /// none at all is a blank display; one alone stands for ever
    pub pages: Vec<Page>,
    /// rows of the first page, counted from the top, whose change must be seen at once: 1 where the address is on
    /// row 1, 2 where it takes two rows, 0 for none
    pub urgent_rows: u8,
    /// what a person should notice, in words; other words are news, and a backlight that went dark is lit
    pub news: Vec<String>,
}

impl Playlist {
    /// One page that stands for ever; its first row is urgent.
    pub fn still(frame: Frame) -> Self {
        let news = frame.lines();
        Self { pages: vec![Page { frame, dwell: Duration::MAX }], urgent_rows: 1, news }
    }

    /// The rows of the first page that must be seen at once.
    fn urgent(&self) -> Vec<String> {
        let Some(first) = self.pages.first() else { return Vec::new() };
        first.frame.lines().into_iter().take(usize::from(self.urgent_rows)).collect()
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
}

/// A page that a person turned to stands so many times as long.
const TURNED: u32 = 3;

impl Rotation {
    /// Starts with nothing to show.
    pub fn new(now: Duration) -> Self {
        Self { playlist: Playlist::default(), index: 0, since: now, news: now, turned: false }
    }

    /// Takes a new playlist. The turn is kept when the number of pages is the same, so that updates do not restart the
    /// rotation; when an urgent row changes the first page is shown.
    pub fn update(&mut self, playlist: Playlist, now: Duration) -> Urgency {
        self.advance(now);
        let before = self.frame().cloned();
        let urgent = self.playlist.urgent() != playlist.urgent();
        if self.playlist.news != playlist.news {
            self.news = now;
        }
        if urgent || self.playlist.pages.len() != playlist.pages.len() {
            self.index = 0;
            self.since = now;
            self.turned = false;
        }
        self.playlist = playlist;
        if before.as_ref() == self.frame() {
            Urgency::None
        } else if urgent {
            Urgency::Now
        } else {
            Urgency::Soon
        }
    }

    /// Turns to the next page at once and lets it stand longer than it would by itself.
    pub fn turn(&mut self, now: Duration) {
        self.advance(now);
        self.index = (self.index + 1) % self.playlist.pages.len().max(1);
        self.since = now;
        // Whoever pressed the button stands there and reads.
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
                return self.index != before;
            }
            self.since = self.since.saturating_add(self.dwell());
            self.index = (self.index + 1) % pages.max(1);
            self.turned = false;
        }
        if self.next_turn(now).is_some_and(|left| left.is_zero()) {
            // More than a whole round behind (the machine slept): start the turn afresh.
            self.since = now;
        }
        self.index != before
    }

    /// Time until the next page's turn; `None` when this page stands for ever.
    pub fn next_turn(&self, now: Duration) -> Option<Duration> {
        if self.playlist.pages.len() < 2 || self.dwell() == Duration::MAX {
            return None;
        }
        Some(self.since.saturating_add(self.dwell()).saturating_sub(now))
    }

    /// The page whose turn it is.
    pub fn frame(&self) -> Option<&Frame> {
        self.playlist.pages.get(self.index).map(|page| &page.frame)
    }

    /// When there was news last, or somebody turned the page: for the backlight.
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
        let pages =
            rows.iter().map(|lines| Page { frame: Frame::from_lines(geometry, lines), dwell: 4 * SECOND }).collect();
        let news = rows.first().map(|lines| lines.map(str::to_owned).to_vec()).unwrap_or_default();
        Playlist { pages, urgent_rows: 1, news }
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
        assert_eq!(rotation.update(playlist(&[["10.0.0.2", "1"], ["10.0.0.2", "2"]]), now), Urgency::Now);
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
        assert_eq!((second_row(&rotation).as_str(), rotation.next_turn(14 * SECOND)), ("1", Some(4 * SECOND)));
    }

    #[test]
    fn a_page_not_shown_may_be_news_and_one_that_somebody_turned_to_is() {
        let mut rotation = Rotation::new(Duration::ZERO);
        let pages = [["a", "1"], ["a", "2"]];
        rotation.update(playlist(&pages), Duration::ZERO);
        rotation.update(playlist(&[["a", "1"], ["a", "2b"]]), SECOND);
        assert_eq!(rotation.last_news(), Duration::ZERO, "what nobody calls news is none");
        rotation.update(Playlist { news: vec!["rpi2 down".to_owned()], ..playlist(&pages) }, 2 * SECOND);
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
