//! Reads edges from the lines of a GPIO chip, or from a FIFO that emulates them.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use linux_embedded_hal::gpio_cdev::{self, EventRequestFlags, LineEventHandle, LineRequestFlags};
use rustix::fs::{FileType, Mode, OFlags, fcntl_getfl, fcntl_setfl, mknodat};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::config::{ButtonChip, Buttons};
use crate::sync::readable;

/// `GPIOHANDLE_REQUEST_BIAS_PULL_UP` and `_PULL_DOWN` (kernel ≥ 5.5), missing in gpio_cdev.
const PULL_UP: u32 = 1 << 5;
const PULL_DOWN: u32 = 1 << 6;
/// `GPIOEVENT_EVENT_RISING_EDGE`.
const RISING: u32 = 1;
/// Size of `struct gpioevent_data`, in bytes.
const EVENT_SIZE: usize = 16;

/// Describes a level change of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// Time stamp, by a clock of the source.
    pub at: Duration,
    pub line: u32,
    pub high: bool,
}

/// Merges the edges of several lines into one stream.
pub struct Lines {
    /// Name of the chip or path of the FIFO, for errors.
    name: String,
    edges: mpsc::Receiver<Edge>,
    /// One task per descriptor, aborted on drop.
    readers: JoinSet<io::Error>,
}

impl Lines {
    /// Opens the lines that the settings name.
    ///
    /// # Errors
    /// The chip does not exist, a line is in use, or permission is missing.
    pub fn open(buttons: &Buttons) -> io::Result<Self> {
        let (sender, edges) = mpsc::channel(64);
        let mut readers = JoinSet::new();
        let name = match &buttons.chip {
            ButtonChip::Gpio(label) => {
                for (line, handle) in request(label, buttons)? {
                    readers.spawn(read_line(readable(handle)?, line, sender.clone()));
                }
                format!("GPIO chip {label}")
            }
            ButtonChip::Emulator(path) => {
                readers.spawn(read_fifo(readable(fifo(path)?)?, sender));
                path.display().to_string()
            }
        };
        Ok(Self { name, edges, readers })
    }

    /// Waits for the next edge.
    ///
    /// # Errors
    /// The chip is gone.
    pub async fn next(&mut self) -> io::Result<Edge> {
        tokio::select! {
            biased;
            Some(edge) = self.edges.recv() => Ok(edge),
            Some(ended) = self.readers.join_next() => {
                let error = ended.unwrap_or_else(|panic| io::Error::other(panic.to_string()));
                Err(io::Error::new(error.kind(), format!("{}: {error}", self.name)))
            }
            else => Err(io::Error::other("there are no lines")),
        }
    }
}

/// Requests event handles for the lines, with the pull resistor that a button to ground (pull-up)
/// or to the supply (pull-down) needs.
fn request(label: &str, buttons: &Buttons) -> io::Result<Vec<(u32, LineEventHandle)>> {
    let fault = |error: gpio_cdev::Error| io::Error::other(format!("GPIO chip {label}: {error}"));
    let mut chips = gpio_cdev::chips().map_err(fault)?.filter_map(Result::ok);
    let mut chip = chips
        .find(|chip| chip.label() == label || chip.name() == label)
        .ok_or_else(|| io::Error::other(format!("there is no GPIO chip labelled {label}")))?;
    let pull = if buttons.active_low { PULL_UP } else { PULL_DOWN };
    let pulled = LineRequestFlags::from_bits_retain(LineRequestFlags::INPUT.bits() | pull);
    let mut handles = Vec::new();
    for offset in [buttons.next, buttons.acknowledge, buttons.power].into_iter().flatten() {
        let line = chip.get_line(offset).map_err(fault)?;
        let events = |flags| line.events(flags, EventRequestFlags::BOTH_EDGES, "bramblegate");
        // On a chip without bias control the resistor is external.
        let handle =
            events(pulled.clone()).or_else(|_| events(LineRequestFlags::INPUT)).map_err(fault)?;
        fcntl_setfl(handle.as_fd(), fcntl_getfl(handle.as_fd())? | OFlags::NONBLOCK)?;
        handles.push((offset, handle));
    }
    Ok(handles)
}

async fn read_line(
    handle: AsyncFd<LineEventHandle>,
    line: u32,
    edges: mpsc::Sender<Edge>,
) -> io::Error {
    loop {
        let mut event = [0; EVENT_SIZE];
        match read_ready(&handle, &mut event).await {
            Ok(EVENT_SIZE) => {
                let (at, high) = edge_of(&event);
                if edges.send(Edge { at, line, high }).await.is_err() {
                    return io::ErrorKind::Interrupted.into();
                }
            }
            Ok(_) => return io::ErrorKind::UnexpectedEof.into(),
            Err(error) => return error,
        }
    }
}

/// Waits until the descriptor is readable, and reads. Returns the number of bytes.
async fn read_ready(from: &AsyncFd<impl AsFd + AsRawFd>, buffer: &mut [u8]) -> io::Result<usize> {
    from.async_io(Interest::READABLE, |from| Ok(rustix::io::read(from.as_fd(), &mut *buffer)?))
        .await
}

/// Parses a `struct gpioevent_data` (`linux/gpio.h`) into time stamp and level: nanoseconds, edge
/// and padding.
fn edge_of(event: &[u8; EVENT_SIZE]) -> (Duration, bool) {
    let stamp = event.first_chunk().map_or(0, |bytes| u64::from_ne_bytes(*bytes));
    let which = event
        .get(8..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |bytes| u32::from_ne_bytes(*bytes));
    (Duration::from_nanos(stamp), which == RISING)
}

/// Opens the FIFO, created if missing. It is opened for writing too, so that there is no end of
/// file when a writer closes it.
fn fifo(path: &Path) -> io::Result<File> {
    let named = |error: io::Error| io::Error::other(format!("{}: {error}", path.display()));
    match mknodat(rustix::fs::CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(error) => return Err(named(error.into())),
    }
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    OpenOptions::new().read(true).write(true).custom_flags(flags).open(path).map_err(named)
}

/// Reads lines `NS LINE LEVEL` and skips malformed ones.
async fn read_fifo(fifo: AsyncFd<File>, edges: mpsc::Sender<Edge>) -> io::Error {
    const MAX_LINE: usize = 4096;
    let mut text = Vec::new();
    loop {
        let mut chunk = [0; 512];
        match read_ready(&fifo, &mut chunk).await {
            Ok(length) => text.extend_from_slice(chunk.get(..length).unwrap_or_default()),
            Err(error) => return error,
        }
        while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = text.drain(..=end).collect();
            let Some(edge) = parse(&String::from_utf8_lossy(&line)) else { continue };
            if edges.send(edge).await.is_err() {
                return io::ErrorKind::Interrupted.into();
            }
        }
        if text.len() > MAX_LINE {
            text.clear();
        }
    }
}

/// Parses `NS LINE LEVEL`: nanoseconds of any monotonic clock, line offset, 0 or 1.
pub fn parse(line: &str) -> Option<Edge> {
    let mut words = line.split_whitespace();
    let at = Duration::from_nanos(words.next()?.parse().ok()?);
    let number = words.next()?.parse().ok()?;
    let high = match words.next()? {
        "0" => false,
        "1" => true,
        _ => return None,
    };
    words.next().is_none().then_some(Edge { at, line: number, high })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_event_of_the_kernel_is_parsed() {
        let mut event = [0; EVENT_SIZE];
        event[..8].copy_from_slice(&1_500_000_u64.to_ne_bytes());
        event[8..12].copy_from_slice(&1_u32.to_ne_bytes());
        assert_eq!(edge_of(&event), (Duration::from_micros(1500), true));
        event[8..12].copy_from_slice(&2_u32.to_ne_bytes());
        assert!(!edge_of(&event).1);
    }

    proptest! {
        #[test]
        fn an_emulated_edge_is_parsed_and_other_text_never_panics(ns: u64, line: u32, high: bool, rubbish in ".*") {
            let edge = Edge { at: Duration::from_nanos(ns), line, high };
            prop_assert_eq!(parse(&format!("{ns} {line} {}\n", u8::from(high))), Some(edge));
            prop_assert_eq!(parse(&format!("{ns} {line} 2")), None);
            let _ = parse(&rubbish);
        }
    }
}
