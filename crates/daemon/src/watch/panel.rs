//! Reports hotplugged panel devices, from uevents of the kernel and of udev. A device is opened by
//! path and retried anyway, so these events only shorten the wait.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::time::Duration;

use bramblegate_netlink::{Listener, NetlinkError, Protocol, Socket};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::debug;

use crate::event::{Event, Hotplug};
use crate::pace::Pace;
use crate::sync::reached;
use crate::watch::emit;

/// Multicast groups: 1, the kernel; 2, udev, once it has set owner and mode of the device node.
const GROUPS: [u32; 2] = [1, 2];

/// Number of events reported without delay; the kernel and udev send two to four for one plug.
/// Each makes the driver reopen its device, and a loose plug causes many a second.
const BURST: u32 = 4;
/// Interval between events after such a burst.
const INTERVAL: Duration = Duration::from_millis(500);

/// Reports displays and indicators that appear or disappear, rate-limited to one per `INTERVAL`.
/// Waits forever where there are no uevents (in a container).
///
/// # Errors
/// The receiver is gone (`Closed`), or the socket broke.
pub async fn run(events: mpsc::Sender<Event>) -> io::Result<Infallible> {
    let Ok(socket) = Socket::open(Protocol::Uevent, &GROUPS) else { return pending().await };
    let mut listener = Listener::new(socket)?;
    let mut pending_events = Pending::new(Instant::now());
    loop {
        for device in pending_events.take_due(Instant::now()) {
            emit(&events, Event::Hotplug(device)).await?;
        }
        let datagram = tokio::select! {
            datagram = listener.next() => datagram,
            () = reached(pending_events.next_due()) => continue,
        };
        match datagram {
            Ok(datagram) => pending_events.add(parse(datagram).as_slice(), Instant::now()),
            // The lost events may have been about either device.
            Err(NetlinkError::Overrun) => {
                debug!("uevents were lost");
                pending_events.add(&[Hotplug::Display, Hotplug::Indicator], Instant::now());
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Holds, for each kind of device, the rate limit and when its pending event is due. Events of one
/// kind are merged until then. Pure: times are arguments.
#[derive(Debug)]
struct Pending([(Hotplug, Pace, Option<Instant>); 2]);

impl Pending {
    fn new(now: Instant) -> Self {
        Self(
            [Hotplug::Display, Hotplug::Indicator]
                .map(|device| (device, Pace::new(BURST, INTERVAL, now), None)),
        )
    }

    fn add(&mut self, devices: &[Hotplug], now: Instant) {
        for (_, pace, due) in self.0.iter_mut().filter(|(device, ..)| devices.contains(device)) {
            due.get_or_insert_with(|| pace.next(now));
        }
    }

    fn next_due(&self) -> Option<Instant> {
        self.0.iter().filter_map(|(.., due)| *due).min()
    }

    fn take_due(&mut self, now: Instant) -> Vec<Hotplug> {
        let due = self
            .0
            .iter_mut()
            .filter_map(|(device, _, due)| due.take_if(|at| *at <= now).map(|_| *device));
        due.collect()
    }
}

/// Parses a uevent: properties `KEY=VALUE`, each ended by a zero byte, after "ACTION@PATH" (the
/// kernel) or udev's header. Returns `None` for devices that the panel does not use.
pub fn parse(message: &[u8]) -> Option<Hotplug> {
    /// Offset of `properties_off` in `struct monitor_netlink_header` (systemd, `device-monitor.c`).
    const OFFSET: usize = 16;
    let properties = if message.starts_with(b"libudev\0") {
        let offset = u32::from_ne_bytes(*message.get(OFFSET..)?.first_chunk()?);
        message.get(usize::try_from(offset).ok()?..)?
    } else {
        message
    };
    let value = |key: &[u8]| {
        let mut lines = properties.split(|&byte| byte == 0);
        lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(b"="))
    };
    if !matches!(value(b"ACTION")?, b"add" | b"remove") {
        return None;
    }
    match value(b"SUBSYSTEM")? {
        b"i2c-dev" | b"gpio" => Some(Hotplug::Display),
        b"hidraw" | b"leds" => Some(Hotplug::Indicator),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLUGGED: &[u8] =
        b"add@/devices/usb1/hidraw0\0ACTION=add\0DEVPATH=/devices/usb1/hidraw0\0SUBSYSTEM=hidraw\0";

    #[test]
    fn an_indicator_and_a_display_are_distinguished_and_other_events_ignored() {
        assert_eq!(parse(PLUGGED), Some(Hotplug::Indicator));
        assert_eq!(parse(b"remove@/x\0ACTION=remove\0SUBSYSTEM=i2c-dev\0"), Some(Hotplug::Display));
        assert_eq!(parse(b"change@/x\0ACTION=change\0SUBSYSTEM=hidraw\0"), None);
        assert_eq!(parse(b"add@/x\0ACTION=add\0SUBSYSTEM=block\0"), None);
    }

    #[test]
    fn messages_of_udev_are_parsed() {
        let mut message = b"libudev\0".to_vec();
        message.extend(0xfeed_cafe_u32.to_be_bytes());
        message.extend(40_u32.to_ne_bytes());
        message.extend(40_u32.to_ne_bytes());
        message.resize(40, 0);
        message.extend(b"ACTION=add\0SUBSYSTEM=hidraw\0");
        assert_eq!(parse(&message), Some(Hotplug::Indicator));
    }

    /// A USB LED with a loose plug: a hundred events a second for ten seconds.
    #[test]
    fn a_first_event_is_immediate_a_flood_is_rate_limited_and_the_last_event_is_never_lost() {
        let begin = Instant::now();
        let mut waiting = Pending::new(begin);
        let mut reported = Vec::new();
        for tick in 0..1000 {
            let now = begin + tick * Duration::from_millis(10);
            waiting.add(&[Hotplug::Indicator], now);
            reported.extend(waiting.take_due(now).into_iter().map(|device| (device, now - begin)));
        }
        assert_eq!(reported.first(), Some(&(Hotplug::Indicator, Duration::ZERO)));
        let most = usize::try_from(BURST).unwrap() + 20;
        assert!((20..=most).contains(&reported.len()), "{} in ten seconds", reported.len());
        let last = waiting.next_due().expect("the last event is pending");
        assert!(last <= begin + Duration::from_secs(11));
        assert_eq!(waiting.take_due(last), [Hotplug::Indicator]);
        assert_eq!((waiting.next_due(), waiting.take_due(last)), (None, vec![]));
        waiting.add(&[Hotplug::Display], last);
        assert_eq!(waiting.take_due(last), [Hotplug::Display], "the other is not held up");
    }

    proptest! {
        #[test]
        fn arbitrary_messages_never_panic(udev: bool, bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let message = if udev { [b"libudev\0".to_vec(), bytes].concat() } else { bytes };
            parse(&message);
        }
    }
}
