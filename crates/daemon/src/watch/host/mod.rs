//! Reports the vitals of the head: usage of the kernel's connection tracking table (`conntrack`)
//! and neighbour table (`neighbours`), interface settings (`ports`) and the state of the machine
//! (`head`).
//!
//! All are polled together once a minute, aligned with other polling, so that an idle machine
//! sleeps. Near a limit the interval is ten seconds. Changes that the kernel signals (`triggers`)
//! cause a poll at once.

mod conntrack;
mod head;
pub mod name;
mod neighbours;
pub mod ntp;
pub(in crate::watch) mod parse;
mod ports;
mod sensor_poll;
pub mod time;
pub mod triggers;

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::time::Duration;

use bramblegate_netlink::Socket;
use tokio::sync::{mpsc, watch as channel};
use tokio::task::spawn_blocking;
use tokio::time::sleep_until;

use crate::config::VitalLimits;
pub use crate::event::VitalsPlan;
use crate::event::{Event, Head, Vital};
use crate::sync::{Closed, next_aligned};
use crate::watch::emit;
pub(crate) use head::is_clock_set;
use head::{SENSORS, Seen, View};
pub use neighbours::Neighbours;
use ports::Ports;
use sensor_poll::SensorPoll;
use triggers::Triggers;

pub use conntrack::usage;

/// Polling interval far from every limit.
const INTERVAL: Duration = Duration::from_secs(60);
/// Polling interval near a limit.
const INTERVAL_NEAR_LIMIT: Duration = Duration::from_secs(10);
/// What counts as near a limit, in degrees Celsius and in percentage points.
const NEAR_DEGREES: i32 = 10;
const NEAR_PERCENT: u8 = 5;

/// Reports each vital when it has changed.
///
/// # Errors
/// The receiver is gone, or the plan's sender is gone (`Closed`).
pub async fn run(
    events: mpsc::Sender<Event>,
    mut plan: channel::Receiver<VitalsPlan>,
) -> io::Result<Infallible> {
    let root = Path::new("/");
    let (mut reported, mut poll) = (Reported::default(), SensorPoll::default());
    let mut ports = Ports::default();
    let triggers = Triggers::new(root).await;
    loop {
        let wanted = plan.borrow_and_update().clone();
        let Some(limits) = wanted.limits else {
            plan.changed().await.map_err(|_| Closed)?;
            continue;
        };
        // Polls never overlap, so a sensor that hangs blocks one thread at most.
        let view = View { root: root.to_owned(), boot_folder: wanted.boot_folder };
        let seen = poll.read(&view, &SENSORS).await?;
        let tables;
        (reported, tables) = spawn_blocking(move || {
            let tables = if wanted.tables { reported.read_tables() } else { Tables::default() };
            (reported, tables)
        })
        .await?;
        let (changed, near) = reported.take(&seen, tables, poll.hanging(), &limits);
        for vital in changed {
            emit(&events, Event::Vital(vital)).await?;
        }
        for port in ports.read(&wanted.ports) {
            emit(&events, Event::Netconf(port)).await?;
        }
        tokio::select! {
            () = sleep_until(next_aligned(if near { INTERVAL_NEAR_LIMIT } else { INTERVAL })) => {}
            () = triggers.fired() => {}
            changed = plan.changed() => changed.map_err(|_| Closed)?,
        }
    }
}

/// Holds the usage of the kernel's tables, as (entries, size).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Tables {
    conntrack: Option<(u32, u32)>,
    neighbours: Option<(u32, u32)>,
}

/// Holds the vitals that were last reported, and the sockets for reading the tables.
#[derive(Default)]
struct Reported {
    socket: Option<Socket>,
    neighbours: Neighbours,
    tables: Tables,
    head: Option<Head>,
    hanging: Vec<&'static str>,
    boot_folder: Option<String>,
    boot_files: Option<String>,
}

impl Reported {
    fn read_tables(&mut self) -> Tables {
        Tables {
            conntrack: conntrack::usage_by(&mut self.socket).ok(),
            neighbours: self.neighbours.usage(),
        }
    }

    /// Returns the vitals that have changed, and whether any is near its limit.
    fn take(
        &mut self,
        seen: &Seen,
        tables: Tables,
        hanging: Vec<&'static str>,
        limits: &VitalLimits,
    ) -> (Vec<Vital>, bool) {
        let mut changed = Vec::new();
        if let Some((count, max)) = changed_usage(&mut self.tables.conntrack, tables.conntrack) {
            changed.push(Vital::Conntrack { count, max });
        }
        if let Some((count, max)) = changed_usage(&mut self.tables.neighbours, tables.neighbours) {
            changed.push(Vital::Neighbours { count, max });
        }
        let head = seen.head();
        if self.head != Some(head) {
            self.head = Some(head);
            changed.push(Vital::Head(head));
        }
        if self.boot_folder != seen.boot_folder {
            self.boot_folder.clone_from(&seen.boot_folder);
            changed.push(Vital::BootFolder(seen.boot_folder.clone()));
        }
        if self.boot_files != seen.boot_files {
            self.boot_files.clone_from(&seen.boot_files);
            changed.push(Vital::BootFiles(seen.boot_files.clone()));
        }
        if self.hanging != hanging {
            self.hanging.clone_from(&hanging);
            changed.push(Vital::Hanging(hanging));
        }
        (changed, tables.conntrack.is_some_and(conntrack::half_full) || is_near(&head, limits))
    }
}

/// Returns the usage of a table if it differs enough from the reported one, and records it.
fn changed_usage(reported: &mut Option<(u32, u32)>, now: Option<(u32, u32)>) -> Option<(u32, u32)> {
    let usage =
        now.filter(|now| reported.is_none_or(|reported| conntrack::differs(reported, *now)))?;
    *reported = Some(usage);
    Some(usage)
}

/// Returns whether a vital that can change quickly is near its limit or beyond; disk space is not
/// one of them.
fn is_near(head: &Head, limits: &VitalLimits) -> bool {
    let pressures = [head.pressure.processor, head.pressure.memory, head.pressure.disk];
    // An average over one minute takes at least half a minute from half of the limit to the limit.
    let near_pressure = limits.pressure.map(|limit| limit / 2);
    head.temperature.is_some_and(|degrees| degrees >= limits.temperature_above - NEAR_DEGREES)
        || head.under_voltage == Some(true)
        || head.throttled == Some(true)
        || head.clock_set == Some(false)
        || is_close(head.memory, limits.memory_free_below)
        || pressures.iter().flatten().any(|value| near_pressure.is_some_and(|from| *value >= from))
}

/// Returns whether a free share is within [`NEAR_PERCENT`] of its limit.
fn is_close(free: Option<u8>, limit: Option<u8>) -> bool {
    free.zip(limit).is_some_and(|(free, limit)| free < limit + NEAR_PERCENT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Pressure;

    const LIMITS: VitalLimits = VitalLimits {
        temperature_above: 80,
        memory_free_below: Some(10),
        disk_free_below: Some(10),
        pressure: Some(80),
    };

    #[test]
    fn a_vital_near_its_limit_is_polled_often_except_for_a_full_disk() {
        let well =
            Head { temperature: Some(48), memory: Some(62), disk: Some(3), ..Head::default() };
        assert!(!is_near(&well, &LIMITS));
        assert!(!is_near(&Head::default(), &LIMITS));
        assert!(is_near(&Head { temperature: Some(70), ..well }, &LIMITS));
        assert!(is_near(&Head { memory: Some(14), ..well }, &LIMITS));
        assert!(is_near(&Head { under_voltage: Some(true), ..well }, &LIMITS));
        assert!(is_near(&Head { clock_set: Some(false), ..well }, &LIMITS), "NTP will set it soon");
        assert!(!is_near(&Head { clock_set: Some(true), ..well }, &LIMITS));
        let busy = Pressure { disk: Some(40), ..Pressure::default() };
        assert!(is_near(&Head { pressure: busy, ..well }, &LIMITS));
        let calm = Pressure { disk: Some(39), ..Pressure::default() };
        assert!(!is_near(&Head { pressure: calm, ..well }, &LIMITS));
        assert!(!is_near(
            &Head { memory: Some(1), ..well },
            &VitalLimits { memory_free_below: None, ..LIMITS }
        ));
    }

    #[tokio::test]
    async fn an_unchanged_vital_is_reported_once() {
        let root = head::tests::tree();
        let view = View { root: root.path().into(), boot_folder: Some("/nowhere/at/all".into()) };
        let (mut reported, mut poll) = (Reported::default(), SensorPoll::default());
        let seen = poll.read(&view, &SENSORS).await.unwrap();
        let (changed, near) = reported.take(&seen, Tables::default(), poll.hanging(), &LIMITS);
        assert!(
            matches!(changed.as_slice(), [Vital::Head(_), Vital::BootFolder(Some(_))]) && !near,
            "{changed:?}"
        );
        assert_eq!(
            reported.take(&seen, Tables::default(), Vec::new(), &LIMITS),
            (Vec::new(), false)
        );
        head::tests::put(&view.root, "sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n");
        let seen = poll.read(&view, &SENSORS).await.unwrap();
        let (changed, near) =
            reported.take(&seen, Tables::default(), vec!["the temperature"], &LIMITS);
        let [Vital::Head(head), Vital::Hanging(hanging)] = changed.as_slice() else {
            panic!("{changed:?}")
        };
        assert!(head.under_voltage == Some(true) && near);
        assert_eq!(hanging, &["the temperature"]);
    }
}
