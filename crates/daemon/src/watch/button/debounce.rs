//! Debounces a contact.

use std::time::Duration;

/// Time without edges after which the level counts: common buttons bounce for 1 to 10 ms, and no
/// user presses twice within 20 ms.
pub const SETTLE: Duration = Duration::from_millis(20);

/// Debounces one contact. Times are those of any monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Debouncer {
    /// The level that was last reported.
    pressed: bool,
    /// Time and new level of the last edge, until that level has settled.
    edge: Option<(Duration, bool)>,
}

impl Debouncer {
    /// Processes an edge. Returns the level that had settled before it, if it was not yet reported.
    pub fn edge(&mut self, at: Duration, pressed: bool) -> Option<bool> {
        let settled = self.edge.is_some_and(|(since, _)| at.saturating_sub(since) >= SETTLE);
        let changed = if settled { self.settle() } else { None };
        self.edge = Some((at, pressed));
        changed
    }

    /// Ends an interval of [`SETTLE`] without edges. Returns the settled level, if it has changed.
    pub fn settle(&mut self) -> Option<bool> {
        let (_, level) = self.edge.take()?;
        let changed = level != self.pressed;
        self.pressed = level;
        changed.then_some(level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn milliseconds(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    /// Returns the levels reported for edges at these intervals (ms), followed by silence.
    fn reported(edges: impl IntoIterator<Item = (u64, bool)>) -> Vec<bool> {
        let mut contact = Debouncer::default();
        let mut now = 0;
        let mut reported = Vec::new();
        for (after, level) in edges {
            now += after;
            reported.extend(contact.edge(milliseconds(now), level));
        }
        reported.extend(contact.settle());
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
    fn a_spike_is_ignored() {
        assert_eq!(reported([(100, true), (3, false)]), [] as [bool; 0]);
    }

    #[test]
    fn the_release_of_a_button_held_at_the_start_is_not_reported() {
        assert_eq!(reported([(5000, false)]), [] as [bool; 0]);
    }

    #[test]
    fn presses_read_late_in_one_batch_are_still_distinguished() {
        assert_eq!(
            reported([(0, true), (150, false), (150, true), (150, false)]),
            [true, false, true, false]
        );
    }

    /// Generates presses and releases, each followed by bounces shorter than [`SETTLE`] that end at
    /// the new level. Returns the number of changes, and the edges.
    fn bouncing_changes() -> impl Strategy<Value = (usize, Vec<(u64, bool)>)> {
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
        fn every_change_is_reported_once_despite_bounces((changes, edges) in bouncing_changes()) {
            let expected: Vec<bool> = (0..changes).map(|number| number % 2 == 0).collect();
            prop_assert_eq!(reported(edges), expected);
        }

        #[test]
        fn reports_alternate_and_end_at_the_last_level(
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
