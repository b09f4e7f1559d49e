//! Emulators of the hardware for tests and for the demo: the chips' state machines, with busy times
//! and faults.
//!
//! Each can log its bus traffic, one line per transaction: `ns T ADDR HEX`. `ns` is the time of the
//! last bit in nanoseconds of `CLOCK_REALTIME`, comparable with other programs' timestamps. `ADDR`
//! is the I²C address (or USB report id) in hexadecimal, `HEX` the bytes, two digits each (empty:
//! not acknowledged). Reads are not logged. A violation of the datasheet is logged as `ns V what`.

pub mod backpack;
pub mod bus;
pub mod chip;
mod fault_injector;
pub mod oled;
mod script;
pub mod stick;

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use embedded_hal::delay::DelayNs;

pub use backpack::Backpack;
pub use bus::{Bus, EmulatedError, Target};
pub use chip::Chip;
pub use fault_injector::FaultInjector;
pub use oled::{OledChip, OledPanel};
pub use script::{Fault, Script};
pub use stick::Stick;

/// The time of a simulation, shared by an emulator and its driver.
#[derive(Debug, Clone)]
pub enum Clock {
    /// Advances only with bus transfers and delays.
    Simulated(Arc<AtomicU64>),
    /// The machine's clock: transfers and delays take real time.
    Real(Instant),
}

impl Clock {
    /// Returns a simulated clock at zero.
    pub fn simulated() -> Self {
        Self::Simulated(Arc::new(AtomicU64::new(0)))
    }

    /// Returns a real clock that starts now.
    pub fn real() -> Self {
        Self::Real(Instant::now())
    }

    /// Returns the time since the start.
    pub fn now(&self) -> Duration {
        match self {
            Self::Simulated(nanos) => Duration::from_nanos(nanos.load(Ordering::SeqCst)),
            Self::Real(start) => start.elapsed(),
        }
    }

    /// Lets time pass.
    pub fn pass(&self, time: Duration) {
        match self {
            Self::Simulated(nanos) => {
                nanos.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(0), Ordering::SeqCst);
            }
            Self::Real(_) => std::thread::sleep(time),
        }
    }
}

impl DelayNs for Clock {
    fn delay_ns(&mut self, ns: u32) {
        self.pass(Duration::from_nanos(u64::from(ns)));
    }

    fn delay_us(&mut self, us: u32) {
        self.pass(Duration::from_micros(u64::from(us)));
    }

    fn delay_ms(&mut self, ms: u32) {
        self.pass(Duration::from_millis(u64::from(ms)));
    }
}

/// The log of transactions. Write errors are ignored.
#[derive(Debug, Default)]
pub(crate) struct Log(Option<File>);

impl Log {
    /// Opens `path` for appending, and creates it if necessary.
    pub fn open(path: Option<&Path>) -> std::io::Result<Self> {
        let Some(path) = path else { return Ok(Self(None)) };
        OpenOptions::new().create(true).append(true).open(path).map(|file| Self(Some(file)))
    }

    pub fn transaction(&mut self, address: u8, bytes: &[u8]) {
        if self.0.is_some() {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            self.line(&format!("T {address:02x} {hex}"));
        }
    }

    pub fn violation(&mut self, what: &str) {
        self.line(&format!("V {what}"));
    }

    fn line(&mut self, line: &str) {
        if let Some(file) = &mut self.0 {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
            // A single write, so that a reader never sees a partial line.
            let _ = file.write_all(format!("{now} {line}\n").as_bytes());
        }
    }
}

#[cfg(test)]
mod tests;
