//! Devices that come and go, by the kernel's uevents and udev's. A device is opened by path and
//! tried again anyway, so this only makes it quicker.

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

/// 1: the kernel; 2: udev, when it has set owner and mode of the device's node.
const GROUPS: [u32; 2] = [1, 2];

/// Each event has a device opened anew: a loose plug's come many a second. So many are reported in
/// a row (the kernel and udev report one plug with two to four), …
const ROW: u32 = 4;
/// … and one in each interval after that.
const INTERVAL: Duration = Duration::from_millis(500);

/// Reports displays and indicators that come or go, no faster than `INTERVAL` in the long run.
/// Where there are no uevents (a container), it waits for ever.
///
/// # Errors
/// The receiver is gone (`Closed`), or the socket broke.
pub async fn run(events: mpsc::Sender<Event>) -> io::Result<Infallible> {
    let Ok(socket) = Socket::open(Protocol::Uevent, &GROUPS) else { return pending().await };
    let mut listener = Listener::new(socket)?;
    let mut waiting = Waiting::new(Instant::now());
    loop {
        for device in waiting.take_due(Instant::now()) {
            emit(&events, Event::Hotplug(device)).await?;
        }
        let datagram = tokio::select! {
            datagram = listener.next() => datagram,
            () = reached(waiting.next()) => continue,
        };
        match datagram {
            Ok(datagram) => waiting.add(parse(datagram).as_slice(), Instant::now()),
            // Some were dropped: both outputs look again.
            Err(NetlinkError::Overrun) => {
                debug!("uevents were lost");
                waiting.add(&[Hotplug::Display, Hotplug::Indicator], Instant::now());
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Holds what is to be reported, and when; of many events of a kind that come at once the last one
/// is reported by one of them. Pure: moments are arguments.
#[derive(Debug)]
struct Waiting([(Hotplug, Pace, Option<Instant>); 2]);

impl Waiting {
    fn new(now: Instant) -> Self {
        Self(
            [Hotplug::Display, Hotplug::Indicator]
                .map(|device| (device, Pace::new(ROW, INTERVAL, now), None)),
        )
    }

    fn add(&mut self, devices: &[Hotplug], now: Instant) {
        for (_, pace, due) in self.0.iter_mut().filter(|(device, ..)| devices.contains(device)) {
            due.get_or_insert_with(|| pace.next(now));
        }
    }

    fn next(&self) -> Option<Instant> {
        self.0.iter().filter_map(|(.., due)| *due).min()
    }

    /// Takes what is due.
    fn take_due(&mut self, now: Instant) -> Vec<Hotplug> {
        let due = self
            .0
            .iter_mut()
            .filter_map(|(device, _, due)| due.take_if(|at| *at <= now).map(|_| *device));
        due.collect()
    }
}

/// Reads what a uevent means to us: properties `KEY=VALUE`, each closed by a zero byte, behind
/// "ACTION@PATH" (the kernel) or udev's header.
pub fn parse(message: &[u8]) -> Option<Hotplug> {
    /// `properties_off` in `struct monitor_netlink_header` of systemd's `device-monitor.c`
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
    fn a_stick_and_a_backpack_are_distinguished_and_a_mouse_click_is_nothing() {
        assert_eq!(parse(PLUGGED), Some(Hotplug::Indicator));
        assert_eq!(parse(b"remove@/x\0ACTION=remove\0SUBSYSTEM=i2c-dev\0"), Some(Hotplug::Display));
        assert_eq!(parse(b"change@/x\0ACTION=change\0SUBSYSTEM=hidraw\0"), None);
        assert_eq!(parse(b"add@/x\0ACTION=add\0SUBSYSTEM=block\0"), None);
    }

    #[test]
    fn udevs_own_messages_are_read_too() {
        let mut message = b"libudev\0".to_vec();
        message.extend(0xfeed_cafe_u32.to_be_bytes());
        message.extend(40_u32.to_ne_bytes());
        message.extend(40_u32.to_ne_bytes());
        message.resize(40, 0);
        message.extend(b"ACTION=add\0SUBSYSTEM=hidraw\0");
        assert_eq!(parse(&message), Some(Hotplug::Indicator));
    }

    /// A stick with a loose plug, a hundred times a second for ten seconds.
    #[test]
    fn the_first_plug_is_reported_at_once_a_flood_at_a_steady_pace_and_the_last_one_in_any_case() {
        let begin = Instant::now();
        let mut waiting = Waiting::new(begin);
        let mut reported = Vec::new();
        for tick in 0..1000 {
            let now = begin + tick * Duration::from_millis(10);
            waiting.add(&[Hotplug::Indicator], now);
            reported.extend(waiting.take_due(now).into_iter().map(|device| (device, now - begin)));
        }
        assert_eq!(reported.first(), Some(&(Hotplug::Indicator, Duration::ZERO)));
        let most = usize::try_from(ROW).unwrap() + 20;
        assert!((20..=most).contains(&reported.len()), "{} in ten seconds", reported.len());
        let last = waiting.next().expect("the last of them waits");
        assert!(last <= begin + Duration::from_secs(11));
        assert_eq!(waiting.take_due(last), [Hotplug::Indicator]);
        assert_eq!((waiting.next(), waiting.take_due(last)), (None, vec![]));
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
