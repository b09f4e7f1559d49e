//! Looks at all sensors, one after the other, on the runtime's blocking threads. One that hangs
//! keeps its thread, and is not looked at again until that has come back; the others go on in
//! another one. The daemon ends without waiting for it (`Runtime::shutdown_background`).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::head::{Seen, Sensor, View};

/// A sensor of a slow bus answers within a second, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// Holds which sensors hang.
#[derive(Debug)]
pub struct SensorPoll {
    hanging: Vec<Hanging>,
    patience: Duration,
}

/// Holds a sensor that has not come back.
#[derive(Debug)]
struct Hanging {
    /// in words
    name: &'static str,
    /// what its thread will say
    thread: UnboundedReceiver<Seen>,
    /// where it looks: somewhere else it need not hang
    view: View,
}

impl Default for SensorPoll {
    fn default() -> Self {
        Self { hanging: Vec::new(), patience: PATIENCE }
    }
}

impl SensorPoll {
    /// Looks at everything that does not hang.
    ///
    /// # Errors
    /// A look panicked.
    pub async fn look(&mut self, view: &View, sensors: &[Sensor]) -> io::Result<Seen> {
        self.hanging.retain_mut(|hanging| {
            hanging.view == *view && matches!(hanging.thread.try_recv(), Err(TryRecvError::Empty))
        });
        let hangs = |sensor: &&Sensor| self.hanging.iter().any(|hanging| hanging.name == sensor.0);
        let mut rest: Vec<Sensor> =
            sensors.iter().filter(|sensor| !hangs(sensor)).rev().copied().collect();
        let mut all = Seen::default();
        while !rest.is_empty() {
            let (sender, mut thread) = unbounded_channel();
            let (there, work) = (view.clone(), rest.clone());
            // Another thread goes on with the rest when a sensor of this one hangs: it comes back
            // to do no more.
            let given_up = Arc::new(AtomicBool::new(false));
            let stop = Arc::clone(&given_up);
            spawn_blocking(move || {
                for (_, sensor) in work.into_iter().rev() {
                    let mut seen = Seen::default();
                    sensor(&there, &mut seen);
                    if sender.send(seen).is_err() || stop.load(Ordering::Relaxed) {
                        return;
                    }
                }
            });
            while let Some((name, _)) = rest.last() {
                let Ok(reported) = timeout(self.patience, thread.recv()).await else {
                    given_up.store(true, Ordering::Relaxed);
                    self.hanging.push(Hanging { name, thread, view: view.clone() });
                    rest.pop();
                    break;
                };
                all.absorb(
                    reported.ok_or_else(|| io::Error::other("a look at the vitals panicked"))?,
                );
                rest.pop();
            }
        }
        Ok(all)
    }

    /// Returns what hangs, in words.
    pub fn hanging(&self) -> Vec<&'static str> {
        self.hanging.iter().map(|hanging| hanging.name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::host::head::SENSORS;
    use crate::watch::host::head::tests::tree;

    static STUCK: AtomicBool = AtomicBool::new(true);

    /// A driver that answers one day.
    fn stuck(_: &View, _: &mut Seen) {
        while STUCK.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[tokio::test]
    async fn a_sensor_that_hangs_is_reported_and_the_others_go_on_and_it_is_looked_at_again_when_it_comes_back()
     {
        let view = View { root: tree("hangs"), boot_folder: None };
        let mut sensors = SENSORS;
        sensors[1] = ("the stuck one", stuck);
        let mut poll = SensorPoll { patience: Duration::from_millis(300), ..SensorPoll::default() };
        for look in 1..=3 {
            let begin = std::time::Instant::now();
            let head = poll.look(&view, &sensors).await.unwrap().head();
            assert_eq!(
                (head.temperature, head.memory),
                (Some(48), Some(62)),
                "before it and behind it"
            );
            assert_eq!(poll.hanging(), ["the stuck one"]);
            assert!(
                look == 1 || begin.elapsed() < Duration::from_millis(250),
                "it is waited for once"
            );
        }
        let elsewhere = View { boot_folder: Some(view.root.clone()), ..view.clone() };
        let mut here = sensors;
        here[1] = ("the stuck one", |_, _| {});
        poll.look(&elsewhere, &here).await.unwrap();
        assert!(poll.hanging().is_empty(), "elsewhere it need not hang");
        poll.look(&view, &sensors).await.unwrap();
        STUCK.store(false, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(100)).await;
        poll.look(&view, &sensors).await.unwrap();
        assert!(poll.hanging().is_empty(), "it came back");
        std::fs::remove_dir_all(&view.root).unwrap();
    }
}
