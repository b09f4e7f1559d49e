//! Buttons on GPIO lines, or in a file that plays their part: edges (`lines`), without bounces
//! (`debounce`), to what a person means by them.

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

/// Reports what the buttons of the settings mean.
///
/// # Errors
/// The chip or a line of it cannot be had or is gone; the receiver is gone (`Closed`).
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
            let rest = reached(keys.next_rest());
            let meant = tokio::select! {
                edge = lines.next() => keys.edge(edge?, Instant::now()),
                () = rest => keys.rest(Instant::now()),
                changed = plan.changed() => {
                    changed.map_err(|_| Closed)?;
                    break;
                }
            };
            for event in meant {
                emit(&events, event).await?;
            }
        }
    }
}

/// Names what a line's button is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Next,
    Acknowledge,
    Power,
}

impl Role {
    /// Returns what it says when it goes down or up.
    fn says(self, pressed: bool) -> Option<Event> {
        match self {
            Self::Next => pressed.then_some(Event::Button(Button::Next)),
            Self::Acknowledge => pressed.then_some(Event::Order(Order::Acknowledge)),
            Self::Power => Some(Event::Button(Button::Power { held: pressed })),
        }
    }
}

/// Holds the buttons by their lines.
struct Keys {
    active_low: bool,
    keys: Vec<Key>,
}

struct Key {
    line: u32,
    role: Role,
    contact: Debouncer,
    /// when it will have been quiet for long enough
    rests: Option<Instant>,
}

impl Keys {
    fn new(buttons: &Buttons) -> Self {
        let key = |line: Option<u32>, role| {
            Some(Key { line: line?, role, contact: Debouncer::default(), rests: None })
        };
        let keys = [
            key(buttons.next, Role::Next),
            key(buttons.acknowledge, Role::Acknowledge),
            key(buttons.power, Role::Power),
        ];
        Self { active_low: buttons.active_low, keys: keys.into_iter().flatten().collect() }
    }

    fn next_rest(&self) -> Option<Instant> {
        self.keys.iter().filter_map(|key| key.rests).min()
    }

    /// Takes an edge that has come at `now`; it happened a little earlier.
    fn edge(&mut self, edge: Edge, now: Instant) -> Vec<Event> {
        let pressed = edge.high != self.active_low;
        let keys = self.keys.iter_mut().filter(|key| key.line == edge.line);
        let meant = keys.filter_map(|key| {
            key.rests = Some(now + SETTLE);
            key.contact.edge(edge.at, pressed).and_then(|pressed| key.role.says(pressed))
        });
        meant.collect()
    }

    /// Lets the contacts that have been quiet mean it.
    fn rest(&mut self, now: Instant) -> Vec<Event> {
        let quiet = self.keys.iter_mut().filter(|key| key.rests.is_some_and(|at| at <= now));
        let meant = quiet.filter_map(|key| {
            key.rests = None;
            key.contact.rest().and_then(|pressed| key.role.says(pressed))
        });
        meant.collect()
    }
}

#[cfg(test)]
mod tests;
