//! The character display: its thread shows a [`Playlist`].

mod devices;
mod player;

use tokio::sync::mpsc;

pub use devices::{Connector, DISPLAYS, DisplayKind, connector};
pub(crate) use devices::{Lasting, faults};

use super::device::{self, Handle, Worker};
use crate::config::Lcd;
use crate::event::{Event, Output};
use crate::panel::{Frame, Playlist};
use player::{DisplayPlayer, Periods};

/// Handle of the display's thread. The last picture is a frame without heartbeat, and whether the
/// backlight is on.
pub type DisplayHandle = Handle<Playlist, Lcd, (Frame, bool)>;

/// Spawns the thread. It reports [`crate::event::Applied::Display`] when the displayed lines
/// change, and each new error once.
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
