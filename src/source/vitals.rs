//! The vitals of the head: how full the connection tracking table is ([`conntrack`]), and how the machine itself is
//! ([`head`]).
//!
//! All is looked at together, once a minute: a quiet machine is to sleep. What comes near its limit is looked at every ten
//! seconds, and what the kernel tells by itself ([`watch`]) at once.

mod aside;
mod conntrack;
mod head;
mod parse;
mod watch;

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::sync::{mpsc, watch as channel};
use tokio::time::Instant;

use crate::config::VitalLimits;
use crate::event::{Event, Head, Vital};
use crate::source::alarm::Alarm;
use crate::source::nfnetlink::Socket;
use aside::aside;
use watch::Watch;

pub use conntrack::usage;

/// Far from every limit the vitals are looked at this often, …
const CALM: Duration = Duration::from_secs(60);
/// … and near one this often.
const NEAR: Duration = Duration::from_secs(10);
/// Degrees, and percent, that are near.
const WARM: i32 = 10;
const CLOSE: u8 = 5;

/// What is to be looked at.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct VitalsPlan {
    /// connection tracking too
    pub conntrack: bool,
    pub limits: Option<VitalLimits>,
}

/// Tells each vital when it has changed.
///
/// # Errors
/// The receiver is gone, or nobody holds the plan any more (`BrokenPipe`).
pub async fn run(events: mpsc::Sender<Event>, mut plan: channel::Receiver<VitalsPlan>) -> io::Result<Infallible> {
    let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
    let root = Path::new("/");
    let mut watch: Option<(bool, Watch)> = None;
    let mut looks = Looks::default();
    let mut alarm = Alarm::new()?;
    loop {
        let wanted = plan.borrow_and_update().clone();
        let Some(limits) = wanted.limits else {
            plan.changed().await.map_err(|_| gone())?;
            continue;
        };
        // Who does not want to know of pressure is not woken by it.
        let pressure = limits.pressure.is_some();
        let (_, watch) = match watch.take() {
            Some(known) if known.0 == pressure => watch.insert(known),
            _ => watch.insert((pressure, Watch::new(root, pressure).await?)),
        };
        // The next look begins when this one has ended: one that hangs is one thread, and the daemon lives on.
        let (news, near);
        (looks, news, near) = aside(move || {
            let (news, near) = looks.take(root, wanted.conntrack, &limits);
            (looks, news, near)
        })
        .await?;
        for vital in news {
            events.send(Event::Vital(vital)).await.map_err(|_| gone())?;
        }
        alarm.set(Some(Instant::now() + if near { NEAR } else { CALM }));
        tokio::select! {
            () = alarm.rings() => {}
            () = watch.rings() => {}
            changed = plan.changed() => changed.map_err(|_| gone())?,
        }
    }
}

/// What was told last.
#[derive(Default)]
struct Looks {
    socket: Option<Socket>,
    conntrack: Option<(u32, u32)>,
    head: Option<Head>,
}

impl Looks {
    /// Looks at everything: what is news, and whether something is near its limit.
    fn take(&mut self, root: &Path, conntrack: bool, limits: &VitalLimits) -> (Vec<Vital>, bool) {
        let mut news = Vec::new();
        let seen = if conntrack { conntrack::usage_by(&mut self.socket).ok() } else { None };
        if let Some((count, max)) = seen {
            if self.conntrack.is_none_or(|told| conntrack::differs(told, (count, max))) {
                self.conntrack = seen;
                news.push(Vital::Conntrack { count, max });
            }
        }
        let head = head::look(root);
        if self.head != Some(head) {
            self.head = Some(head);
            news.push(Vital::Head(head));
        }
        (news, seen.is_some_and(conntrack::half_full) || is_near(&head, limits))
    }
}

/// Something that can change quickly is near its limit, or beyond. (A disk does not fill up in seconds.)
fn is_near(head: &Head, limits: &VitalLimits) -> bool {
    let waits = [head.pressure.processor, head.pressure.memory, head.pressure.disk];
    let few = |free: Option<u8>, limit: Option<u8>| free.zip(limit).is_some_and(|(free, limit)| free < limit + CLOSE);
    head.temperature.is_some_and(|degrees| degrees >= limits.temperature - WARM)
        || head.under_voltage == Some(true)
        || head.throttled == Some(true)
        || few(head.memory, limits.memory)
        || waits.iter().flatten().any(|wait| limits.pressure.is_some_and(|limit| *wait >= limit / 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Pressure;

    const LIMITS: VitalLimits = VitalLimits { temperature: 80, memory: Some(10), disk: Some(10), pressure: Some(80) };

    #[test]
    fn what_comes_near_its_limit_is_looked_at_often_and_a_full_disk_is_not() {
        let well = Head { temperature: Some(48), memory: Some(62), disk: Some(3), ..Head::default() };
        assert!(!is_near(&well, &LIMITS));
        assert!(!is_near(&Head::default(), &LIMITS));
        assert!(is_near(&Head { temperature: Some(70), ..well }, &LIMITS));
        assert!(is_near(&Head { memory: Some(14), ..well }, &LIMITS));
        assert!(is_near(&Head { under_voltage: Some(true), ..well }, &LIMITS));
        let busy = Pressure { disk: Some(40), ..Pressure::default() };
        assert!(is_near(&Head { pressure: busy, ..well }, &LIMITS));
        assert!(!is_near(&Head { memory: Some(1), ..well }, &VitalLimits { memory: None, ..LIMITS }));
    }

    #[test]
    fn what_has_not_changed_is_told_once() {
        let root = head::tests::tree("told-once");
        let mut looks = Looks::default();
        let (news, near) = looks.take(&root, false, &LIMITS);
        assert!(matches!(news.as_slice(), [Vital::Head(_)]) && !near);
        assert_eq!(looks.take(&root, false, &LIMITS), (Vec::new(), false));
        head::tests::put(&root, "sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n");
        let (news, near) = looks.take(&root, false, &LIMITS);
        std::fs::remove_dir_all(&root).unwrap();
        assert!(matches!(news.as_slice(), [Vital::Head(head)] if head.under_voltage == Some(true)) && near);
    }
}
