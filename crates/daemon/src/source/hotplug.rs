//! Devices that come and go, by the kernel's uevents and udev's. A device is opened by path and tried again anyway, so
//! this only makes it quicker.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use netlink_sys::protocols::NETLINK_KOBJECT_UEVENT;
use netlink_sys::{Socket, SocketAddr};
use tokio::sync::mpsc;

use crate::event::{Event, Hotplug};
use crate::source::readable;

/// 1: the kernel; 2: udev, when it has set owner and mode of the device's node.
const GROUPS: [u32; 2] = [1, 2];
/// The kernel's `UEVENT_BUFFER_SIZE` is 2048; udev adds its own properties.
const LONGEST: usize = 16 * 1024;
/// `MSG_DONTWAIT`
const DO_NOT_WAIT: i32 = 0x40;

/// Tells of displays and indicators that come or go. Where there are no uevents (a container), it waits for ever.
///
/// # Errors
/// The receiver is gone (`BrokenPipe`), or the socket broke.
pub async fn run(events: mpsc::Sender<Event>) -> io::Result<Infallible> {
    let Ok(socket) = Uevents::subscribe() else { return pending().await };
    let socket = readable(socket)?;
    let mut buffer = Vec::with_capacity(LONGEST);
    loop {
        let mut guard = socket.readable().await?;
        buffer.clear();
        match socket.get_ref().0.recv(&mut buffer, DO_NOT_WAIT) {
            Ok(_) => {
                if let Some(device) = parse(&buffer) {
                    events.send(Event::Hotplug(device)).await.map_err(|_| io::ErrorKind::BrokenPipe)?;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => guard.clear_ready(),
            // Interrupted, or messages were dropped: both outputs look again.
            Err(_) => {
                for device in [Hotplug::Display, Hotplug::Indicator] {
                    events.send(Event::Hotplug(device)).await.map_err(|_| io::ErrorKind::BrokenPipe)?;
                }
            }
        }
    }
}

struct Uevents(Socket);

impl Uevents {
    fn subscribe() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_KOBJECT_UEVENT)?;
        socket.bind(&SocketAddr::new(0, 0))?;
        for group in GROUPS {
            socket.add_membership(group)?;
        }
        Ok(Self(socket))
    }
}

impl AsFd for Uevents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Uevents {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// What a uevent means to us: properties `KEY=VALUE`, each closed by a zero byte, behind "ACTION@PATH" (the kernel) or
/// udev's header.
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

    const PLUGGED: &[u8] = b"add@/devices/usb1/hidraw0\0ACTION=add\0DEVPATH=/devices/usb1/hidraw0\0SUBSYSTEM=hidraw\0";

    #[test]
    fn a_stick_and_a_backpack_are_told_apart_and_a_mouse_click_is_nothing() {
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

    proptest! {
        #[test]
        fn arbitrary_messages_never_panic(udev: bool, bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let message = if udev { [b"libudev\0".to_vec(), bytes].concat() } else { bytes };
            parse(&message);
        }
    }
}
