//! The power button: holding it for five seconds powers the head off.

use std::time::Duration;

use crate::event::{Button, Event, Instant, Order};
use crate::facts::transition::Transition;

/// How long the button must be held.
pub const HOLD_TIME: Duration = Duration::from_secs(5);
/// Timeout of the order to power off, within which the service manager should stop the daemon.
pub const HEARD_TIME: Duration = Duration::from_secs(15);

const SECOND: Duration = Duration::from_secs(1);

/// Holds the state of the power button.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Power {
    /// Released.
    #[default]
    Idle,
    /// Held since `since`, with `left` seconds to go.
    Held { since: Instant, left: u8 },
    /// Power off was ordered; releasing the button no longer matters.
    Ordered { at: Instant },
}

impl Power {
    pub(crate) fn handle(&mut self, event: &Event, now: Instant) {
        match event {
            Event::Button(button) => self.apply(*button, now),
            // The order is being carried out, beginning with the nodes.
            Event::Order(Order::Shutdown(_)) if matches!(self, Self::Ordered { .. }) => {
                *self = Self::Idle;
            }
            _ => {}
        }
    }

    fn apply(&mut self, button: Button, now: Instant) {
        match (button, *self) {
            (Button::Power { held: true }, Self::Idle) => *self = held(now, now),
            (Button::Power { held: false }, Self::Held { .. }) => *self = Self::Idle,
            _ => {}
        }
    }

    /// Processes the deadlines that have passed.
    pub(crate) fn refresh(&mut self, now: Instant) -> Option<Transition> {
        match *self {
            Self::Held { since, .. } if now.saturating_since(since) >= HOLD_TIME => {
                *self = Self::Ordered { at: now };
                Some(Transition::PowerOffOrdered)
            }
            Self::Held { since, .. } => {
                *self = held(since, now);
                None
            }
            Self::Ordered { at } if now.saturating_since(at) >= HEARD_TIME => {
                *self = Self::Idle;
                Some(Transition::PowerOffUnheard)
            }
            _ => None,
        }
    }

    /// Returns the time of the next second of the countdown, or the timeout of the order.
    pub(crate) fn next_deadline(self, now: Instant) -> Option<Instant> {
        match self {
            Self::Idle => None,
            Self::Held { since, .. } => {
                Some(since + SECOND * (seconds(now.saturating_since(since)) + 1))
            }
            Self::Ordered { at } => Some(at + HEARD_TIME),
        }
    }
}

fn held(since: Instant, now: Instant) -> Power {
    let elapsed = seconds(now.saturating_since(since));
    let left = seconds(HOLD_TIME).saturating_sub(elapsed);
    Power::Held { since, left: u8::try_from(left).unwrap_or(0) }
}

/// Returns whole seconds.
fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Instant {
        Instant::from_boot(Duration::from_millis(milliseconds))
    }

    const PRESS: Button = Button::Power { held: true };
    const RELEASE: Button = Button::Power { held: false };

    #[test]
    fn after_a_countdown_of_five_seconds_power_off_is_ordered() {
        let mut power = Power::default();
        let mut now = at(700);
        power.apply(PRESS, now);
        for left in [5, 4, 3, 2, 1] {
            assert!(matches!(power, Power::Held { left: l, .. } if l == left), "{power:?}");
            now = power.next_deadline(now).unwrap();
            let transitions = power.refresh(now);
            assert_eq!(transitions, (left == 1).then_some(Transition::PowerOffOrdered));
        }
        assert_eq!(power, Power::Ordered { at: at(5700) });
        power.apply(RELEASE, at(5800));
        assert_eq!(power, Power::Ordered { at: at(5700) }, "too late");
    }

    #[test]
    fn an_early_release_changes_nothing() {
        let mut power = Power::default();
        power.apply(PRESS, at(0));
        assert_eq!(power.refresh(at(4999)), None);
        power.apply(RELEASE, at(4999));
        assert_eq!(
            (power, power.refresh(at(9000)), power.next_deadline(at(9000))),
            (Power::Idle, None, None)
        );
    }

    #[test]
    fn an_order_that_is_not_carried_out_is_reported_once() {
        let mut power = Power::default();
        power.apply(PRESS, at(0));
        power.refresh(at(5000));
        assert_eq!(power.next_deadline(at(5000)), Some(at(20_000)));
        assert_eq!(power.refresh(at(19_999)), None);
        assert_eq!(power.refresh(at(20_000)), Some(Transition::PowerOffUnheard));
        assert_eq!(power.refresh(at(20_001)), None);
    }
}
