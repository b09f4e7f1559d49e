//! The LED: its thread animates [`Signal`]s.

mod daytime;
mod devices;
mod player;

use tokio::sync::mpsc;

pub use devices::{Connector, INDICATORS, IndicatorKind, connector};

use super::device::{self, Handle, Worker};
use crate::config::Led;
use crate::event::{Event, Output};
use crate::panel::Signal;
use player::IndicatorPlayer;

/// Handle of the indicator's thread. The first signal is for the cluster, each further one for a
/// node. The last picture is dark.
pub type IndicatorHandle = Handle<Vec<Signal>, Led, ()>;

/// Spawns the thread. It reports success, and each new error once.
pub fn spawn(settings: Led, events: mpsc::Sender<Event>) -> IndicatorHandle {
    spawn_with(settings, events, connector)
}

fn spawn_with(
    settings: Led,
    events: mpsc::Sender<Event>,
    connect: impl Fn(&Led) -> Option<Connector> + Send + 'static,
) -> IndicatorHandle {
    device::start("indicator", Output::Indicator, events, move |dead_man, reporter| {
        Worker::new(IndicatorPlayer::default(), settings, Box::new(connect), dead_man, reporter)
    })
}

#[cfg(test)]
mod tests;
