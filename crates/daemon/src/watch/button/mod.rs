//! Buttons on GPIO lines, or emulated by a FIFO: reads edges (`lines`), debounces them
//! (`debounce`) and maps presses to events.

mod debounce;
mod lines;

use std::convert::Infallible;
use std::io;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::config::Buttons;
use crate::event::{Button, Event, Order};
use crate::sync::{Closed, reached};
use crate::watch::emit;
use debounce::{Debouncer, SETTLE};
use lines::{Edge, Lines};

/// Reports presses of the buttons that the settings name.
///
/// # Errors
/// The GPIO chip or a line is unavailable or gone, or the receiver is gone (`Closed`).
pub async fn run(
    events: mpsc::Sender<Event>,
    mut plan: watch::Receiver<Option<Buttons>>,
) -> io::Result<Infallible> {
    loop {
        let wanted = plan.borrow_and_update().clone();
        let Some(buttons) = wanted else {
            plan.changed().await.map_err(|_| Closed)?;
            continue;
        };
        let mut lines = Lines::open(&buttons)?;
        let mut keys = Keys::new(&buttons);
        loop {
            let settled = reached(keys.settle_deadline());
            let pressed = tokio::select! {
                edge = lines.next() => keys.edge(edge?, Instant::now()),
                () = settled => keys.settle(Instant::now()),
                changed = plan.changed() => {
                    changed.map_err(|_| Closed)?;
                    break;
                }
            };
            for event in pressed {
                emit(&events, event).await?;
            }
        }
    }
}

/// Lists the functions of a button.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Next,
    Acknowledge,
    Power,
}

impl Role {
    /// Returns the event for a press or a release.
    fn event(self, pressed: bool) -> Option<Event> {
        match self {
            Self::Next => pressed.then_some(Event::Button(Button::Next)),
            Self::Acknowledge => pressed.then_some(Event::Order(Order::Acknowledge)),
            Self::Power => Some(Event::Button(Button::Power { held: pressed })),
        }
    }
}

/// Holds the state of all buttons.
struct Keys {
    active_low: bool,
    keys: Vec<Key>,
}

struct Key {
    line: u32,
    role: Role,
    contact: Debouncer,
    /// When the contact has settled, unless another edge follows.
    settles_at: Option<Instant>,
}

impl Keys {
    fn new(buttons: &Buttons) -> Self {
        let key = |line: Option<u32>, role| {
            Some(Key { line: line?, role, contact: Debouncer::default(), settles_at: None })
        };
        let keys = [
            key(buttons.next, Role::Next),
            key(buttons.acknowledge, Role::Acknowledge),
            key(buttons.power, Role::Power),
        ];
        Self { active_low: buttons.active_low, keys: keys.into_iter().flatten().collect() }
    }

    fn settle_deadline(&self) -> Option<Instant> {
        self.keys.iter().filter_map(|key| key.settles_at).min()
    }

    /// Processes an edge that was read at `now`; its own time stamp is slightly earlier.
    fn edge(&mut self, edge: Edge, now: Instant) -> Vec<Event> {
        let pressed = edge.high != self.active_low;
        let keys = self.keys.iter_mut().filter(|key| key.line == edge.line);
        let events = keys.filter_map(|key| {
            key.settles_at = Some(now + SETTLE);
            key.contact.edge(edge.at, pressed).and_then(|pressed| key.role.event(pressed))
        });
        events.collect()
    }

    /// Returns the events of contacts that have settled by `now`.
    fn settle(&mut self, now: Instant) -> Vec<Event> {
        let settled = self.keys.iter_mut().filter(|key| key.settles_at.is_some_and(|at| at <= now));
        let events = settled.filter_map(|key| {
            key.settles_at = None;
            key.contact.settle().and_then(|pressed| key.role.event(pressed))
        });
        events.collect()
    }
}

#[cfg(test)]
mod tests;
