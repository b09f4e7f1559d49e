//! From the edges of a contact that bounces to what a person did.

use std::time::Duration;

/// A contact that has kept still for so long means it: bounces of common buttons last 1 to 10 ms,
/// no user presses twice within 20 ms.
pub const SETTLE: Duration = Duration::from_millis(20);

/// Holds one contact. Times are on any clock that does not go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Debouncer {
    /// what was reported last
    pressed: bool,
    /// the last edge and the level after it, while that is not settled
    edge: Option<(Duration, bool)>,
}

impl Debouncer {
    /// Takes an edge. Returns what the contact had settled to before it, if that is news.
    pub fn edge(&mut self, at: Duration, pressed: bool) -> Option<bool> {
        let settled = self.edge.is_some_and(|(since, _)| at.saturating_sub(since) >= SETTLE);
        let news = if settled { self.rest() } else { None };
        self.edge = Some((at, pressed));
        news
    }

    /// Notes that no edge came for [`SETTLE`]. Returns what the contact has settled to, if that is
    /// news.
    pub fn rest(&mut self) -> Option<bool> {
        let (_, level) = self.edge.take()?;
        let news = level != self.pressed;
        self.pressed = level;
        news.then_some(level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn milliseconds(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    /// Edges at these distances, then quiet: what is reported.
    fn reported(edges: impl IntoIterator<Item = (u64, bool)>) -> Vec<bool> {
        let mut contact = Debouncer::default();
        let mut now = 0;
        let mut reported = Vec::new();
        for (after, level) in edges {
            now += after;
            reported.extend(contact.edge(milliseconds(now), level));
        }
        reported.extend(contact.rest());
        reported
    }

    #[test]
    fn a_press_that_bounces_is_one_press() {
        let bouncing = [(100, true), (1, false), (1, true), (2, false), (3, true)];
        assert_eq!(reported(bouncing), [true]);
        let release = [(200, false), (1, true), (4, false)];
        assert_eq!(reported(bouncing.into_iter().chain(release)), [true, false]);
    }

    #[test]
    fn a_spark_is_nothing() {
        assert_eq!(reported([(100, true), (3, false)]), [] as [bool; 0]);
    }

    #[test]
    fn a_button_held_at_the_start_reports_nothing_when_it_is_let_go() {
        assert_eq!(reported([(5000, false)]), [] as [bool; 0]);
    }

    #[test]
    fn presses_that_come_late_in_a_bunch_are_still_two() {
        assert_eq!(
            reported([(0, true), (150, false), (150, true), (150, false)]),
            [true, false, true, false]
        );
    }

    /// A person's changes, each with bounces shorter than the contact's patience; the levels end
    /// where the person's hand is.
    fn hand() -> impl Strategy<Value = (usize, Vec<(u64, bool)>)> {
        let bounces = proptest::collection::vec(1_u64..19, 0..6);
        proptest::collection::vec((20_u64..1000, bounces), 0..12).prop_map(|changes| {
            let mut edges = Vec::new();
            for (number, (after, bounces)) in changes.iter().enumerate() {
                let level = number % 2 == 0;
                edges.push((*after, level));
                for bounce in bounces {
                    edges.push((*bounce, !level));
                    edges.push((*bounce, level));
                }
            }
            (changes.len(), edges)
        })
    }

    proptest! {
        #[test]
        fn every_change_of_a_hand_is_reported_once_whatever_bounces((changes, edges) in hand()) {
            let expected: Vec<bool> = (0..changes).map(|number| number % 2 == 0).collect();
            prop_assert_eq!(reported(edges), expected);
        }

        #[test]
        fn whatever_comes_what_is_reported_alternates_and_ends_at_the_last_level(
            edges in proptest::collection::vec((0_u64..60, any::<bool>()), 0..60)
        ) {
            let last = edges.last().is_some_and(|(_, level)| *level);
            let reported = reported(edges);
            for (place, pressed) in reported.iter().enumerate() {
                prop_assert_eq!(*pressed, place % 2 == 0);
            }
            prop_assert_eq!(reported.last().copied().unwrap_or(false), last);
        }
    }
}
