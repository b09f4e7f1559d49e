//! The power button: held for five seconds it powers the head off.

use std::time::Duration;

use crate::event::{Button, Event, Instant, Order};
use crate::facts::transition::Transition;

/// The button must be held this long.
pub const HOLD_TIME: Duration = Duration::from_secs(5);
/// The service manager stops us within this time, or the order was not received.
pub const HEARD_TIME: Duration = Duration::from_secs(15);

const SECOND: Duration = Duration::from_secs(1);

/// Where the button's story is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Power {
    #[default]
    Idle,
    /// Held since.
    Held { since: Instant, left: u8 },
    /// The machine is to power off; letting go changes nothing any more.
    Ordered { at: Instant },
}

impl Power {
    /// Takes in that the button is pressed or let go.
    pub(crate) fn handle(&mut self, event: &Event, now: Instant) {
        match event {
            Event::Button(button) => self.apply(*button, now),
            // It is being carried out: the nodes first.
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

    /// Lets time pass.
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

    /// Returns when the next second is to be counted, or the order is given up.
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
    let gone = seconds(now.saturating_since(since));
    Power::Held { since, left: u8::try_from(seconds(HOLD_TIME).saturating_sub(gone)).unwrap_or(0) }
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
    fn five_seconds_are_counted_down_and_then_it_is_ordered() {
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
    fn who_lets_go_early_changes_nothing() {
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
