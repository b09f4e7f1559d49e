//! The LED: a thread of its own animates the [`Signal`]s. A stalled USB device delays nothing else.

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

/// The way to the indicator's thread. Of the signals the first is the cluster, the others are a
/// node each; in the end it is dark.
pub type IndicatorHandle = Handle<Vec<Signal>, Led, ()>;

/// Starts the thread. It reports each change of condition once.
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
