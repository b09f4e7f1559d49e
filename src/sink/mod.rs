//! Appliers: one task per output on a watch channel. The latest value wins, an equal value is no work,
//! a failure backs off and is reported once.

pub mod clock;
pub mod conntrack;
pub mod display;
pub mod dnsmasq;
pub mod firewall;
pub mod indicator;
pub mod journal;
pub mod link;
pub mod manager;
mod ornament;
pub mod routing;
pub mod rtnl;
pub mod status;

use std::future::Future;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::event::{Applied, ApplyError, ApplyReport, Event, Output};

/// Brings one output to a desired value.
pub trait Sink: Send + 'static {
    type Desired: Clone + PartialEq + Send + Sync + 'static;
    const OUTPUT: Output;

    /// Makes it so. Called again with the same value after a failure; must be idempotent.
    fn apply(&mut self, desired: &Self::Desired) -> impl Future<Output = Result<Applied, ApplyError>> + Send;

    /// Ends when what was made so has just been undone by somebody else: then [`Sink::restore`] is called.
    fn undone(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// Makes it so again, in haste and without a word: the order to do it properly comes later, by the usual way.
    fn restore(&mut self, _desired: &Self::Desired) {}
}

const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(10);

/// Runs `sink` until its channel closes. A failed value is tried again, backing off from 0.1 s to 10 s, or at once when a
/// new value comes. Reports every success and each failure that differs from the one before. Gives the sink back at the end.
pub async fn run<S: Sink>(
    mut sink: S,
    mut desired: watch::Receiver<Option<S::Desired>>,
    events: mpsc::Sender<Event>,
) -> S {
    let mut held: Option<S::Desired> = None;
    let mut failure: Option<ApplyError> = None;
    let mut retry = FIRST_RETRY;
    loop {
        let value = desired.borrow_and_update().clone();
        if let Some(value) = value.filter(|value| failure.is_some() || held.as_ref() != Some(value)) {
            match sink.apply(&value).await {
                Ok(applied) => {
                    held = Some(value);
                    failure = None;
                    retry = FIRST_RETRY;
                    if report(&events, S::OUTPUT, Ok(applied)).await.is_err() {
                        return sink;
                    }
                }
                Err(error) => {
                    held = None;
                    if failure.as_ref() != Some(&error) && report(&events, S::OUTPUT, Err(error.clone())).await.is_err()
                    {
                        return sink;
                    }
                    failure = Some(error);
                }
            }
        }
        let changed = if failure.is_some() {
            let waited = timeout(retry, desired.changed()).await;
            retry = if waited.is_ok() { FIRST_RETRY } else { (retry * 2).min(LAST_RETRY) };
            waited.unwrap_or(Ok(()))
        } else {
            loop {
                tokio::select! {
                    changed = desired.changed() => break changed,
                    () = sink.undone() => held.iter().for_each(|held| sink.restore(held)),
                }
            }
        };
        if changed.is_err() {
            return sink;
        }
    }
}

async fn report(
    events: &mpsc::Sender<Event>,
    output: Output,
    result: Result<Applied, ApplyError>,
) -> Result<(), mpsc::error::SendError<Event>> {
    events.send(Event::Applied(ApplyReport { output, result })).await
}
