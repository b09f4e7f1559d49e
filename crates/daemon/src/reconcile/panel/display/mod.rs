//! The character display: a thread of its own plays a [`Playlist`] on the glass. A stuck bus delays
//! nothing else.

mod devices;
mod player;

use tokio::sync::mpsc;

pub(crate) use devices::faults;
pub use devices::{Connector, DISPLAYS, DisplayKind, connector};

use super::device::{self, Handle, Worker};
use crate::config::Lcd;
use crate::event::{Event, Output};
use crate::panel::{Frame, Playlist};
use player::{DisplayPlayer, Periods};

/// The way to the display's thread; its last picture has no heartbeat, and the backlight on or off.
pub type DisplayHandle = Handle<Playlist, Lcd, (Frame, bool)>;

/// Starts the thread. It reports [`crate::event::Applied::Display`] whenever the lines on the glass
/// have changed, and each change of condition once.
pub fn spawn(settings: Lcd, events: mpsc::Sender<Event>) -> DisplayHandle {
    spawn_with(settings, events, Periods::USUAL, connector)
}

fn spawn_with(
    settings: Lcd,
    events: mpsc::Sender<Event>,
    periods: Periods,
    connect: impl Fn(&Lcd) -> Option<Connector> + Send + 'static,
) -> DisplayHandle {
    device::start("display", Output::Display, events, move |dead_man, reporter| {
        Worker::new(DisplayPlayer::new(periods), settings, Box::new(connect), dead_man, reporter)
    })
}

#[cfg(test)]
mod tests;
