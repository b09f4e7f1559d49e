//! Reads all sensors in turn, on the runtime's blocking threads. One that hangs keeps its thread
//! and is skipped until it returns; another thread reads the rest. The daemon exits without waiting
//! for it (`Runtime::shutdown_background`).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::head::{Seen, Sensor, View};

/// Time after which a sensor counts as hanging; one on a slow bus takes up to a second on a busy
/// machine.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Polls sensors and tracks those that hang.
#[derive(Debug)]
pub struct SensorPoll {
    hanging: Vec<Hanging>,
    timeout: Duration,
}

/// Holds a sensor whose read has not returned.
#[derive(Debug)]
struct Hanging {
    /// Name for users.
    name: &'static str,
    /// Receives the result if the thread returns.
    thread: UnboundedReceiver<Seen>,
    /// The paths it reads; with others it need not hang.
    view: View,
}

impl Default for SensorPoll {
    fn default() -> Self {
        Self { hanging: Vec::new(), timeout: TIMEOUT }
    }
}

impl SensorPoll {
    /// Reads all sensors that do not hang.
    ///
    /// # Errors
    /// A sensor's function panicked.
    pub async fn read(&mut self, view: &View, sensors: &[Sensor]) -> io::Result<Seen> {
        self.hanging.retain_mut(|hanging| {
            hanging.view == *view && matches!(hanging.thread.try_recv(), Err(TryRecvError::Empty))
        });
        let hangs = |sensor: &&Sensor| self.hanging.iter().any(|hanging| hanging.name == sensor.0);
        let mut remaining: Vec<Sensor> =
            sensors.iter().filter(|sensor| !hangs(sensor)).rev().copied().collect();
        let mut all = Seen::default();
        while !remaining.is_empty() {
            let stop = Arc::new(AtomicBool::new(false));
            let mut thread = spawn_reader(view.clone(), remaining.clone(), Arc::clone(&stop));
            while let Some((name, _)) = remaining.last() {
                let Ok(reported) = timeout(self.timeout, thread.recv()).await else {
                    // A new thread reads the rest, and this one stops when it returns.
                    stop.store(true, Ordering::Relaxed);
                    self.hanging.push(Hanging { name, thread, view: view.clone() });
                    remaining.pop();
                    break;
                };
                all.absorb(
                    reported.ok_or_else(|| io::Error::other("a look at the vitals panicked"))?,
                );
                remaining.pop();
            }
        }
        Ok(all)
    }

    /// Returns the names of the sensors that hang.
    pub fn hanging(&self) -> Vec<&'static str> {
        self.hanging.iter().map(|hanging| hanging.name).collect()
    }
}

/// Reads the sensors on a blocking thread, from the last to the first, until `stop` is set.
fn spawn_reader(
    view: View,
    sensors: Vec<Sensor>,
    stop: Arc<AtomicBool>,
) -> UnboundedReceiver<Seen> {
    let (sender, receiver) = unbounded_channel();
    spawn_blocking(move || {
        for (_, sensor) in sensors.into_iter().rev() {
            let mut seen = Seen::default();
            sensor(&view, &mut seen);
            if sender.send(seen).is_err() || stop.load(Ordering::Relaxed) {
                return;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::host::head::SENSORS;
    use crate::watch::host::head::tests::tree;

    static STUCK: AtomicBool = AtomicBool::new(true);

    /// Blocks until [`STUCK`] is cleared.
    fn stuck(_: &View, _: &mut Seen) {
        while STUCK.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[tokio::test]
    async fn a_hanging_sensor_is_reported_and_skipped_until_it_returns() {
        let root = tree();
        let view = View { root: root.path().into(), boot_folder: None };
        let mut sensors = SENSORS;
        sensors[1] = ("the stuck one", stuck);
        let mut poll = SensorPoll { timeout: Duration::from_millis(300), ..SensorPoll::default() };
        for look in 1..=3 {
            let begin = std::time::Instant::now();
            let head = poll.read(&view, &sensors).await.unwrap().head();
            assert_eq!((head.temperature, head.memory), (Some(48), Some(62)), "the other sensors");
            assert_eq!(poll.hanging(), ["the stuck one"]);
            assert!(
                look == 1 || begin.elapsed() < Duration::from_millis(250),
                "it is waited for once"
            );
        }
        let elsewhere = View { boot_folder: Some(view.root.clone()), ..view.clone() };
        let mut here = sensors;
        here[1] = ("the stuck one", |_, _| {});
        poll.read(&elsewhere, &here).await.unwrap();
        assert!(poll.hanging().is_empty(), "elsewhere it need not hang");
        poll.read(&view, &sensors).await.unwrap();
        STUCK.store(false, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(100)).await;
        poll.read(&view, &sensors).await.unwrap();
        assert!(poll.hanging().is_empty(), "it came back");
    }
}
