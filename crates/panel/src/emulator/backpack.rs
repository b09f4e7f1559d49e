//! A PCF8574 with an HD44780 behind it, on an emulated I²C bus.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use embedded_hal::i2c::{ErrorKind, ErrorType, I2c, NoAcknowledgeSource, Operation};

use super::fault_injector::WriteFault;
use super::{Chip, Clock, Fault, FaultInjector};
use crate::pcf8574::{BusError, BusFault};
use crate::wiring::Wiring;
use crate::{Charset, Frame, Geometry};

/// The emulated bus and what is on it. Clones share the device.
#[derive(Debug, Clone)]
pub struct Backpack {
    clock: Clock,
    device: Arc<Mutex<Device>>,
}

#[derive(Debug)]
struct Device {
    address: u8,
    wiring: Wiring,
    clock_hz: u32,
    chip: Chip,
    /// the expander's output latch: all ones at power-on
    latch: u8,
    longest: usize,
    faults: FaultInjector,
    logged_violations: usize,
    transactions: u64,
    bytes: u64,
}

/// What the emulated bus answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmulatedError {
    /// no acknowledgement, of the address or of a byte
    Nack,
    /// the bus hung
    TimedOut,
    /// longer than the adapter takes
    TooLong,
}

impl Backpack {
    /// Makes a panel just powered, at this address with this wiring, on a bus of 100 kHz.
    pub fn new(clock: Clock, address: u8, wiring: Wiring) -> Self {
        let chip = Chip::powered(clock.now());
        let device = Device {
            address,
            wiring,
            clock_hz: crate::pcf8574::CLOCK_HZ,
            chip,
            latch: 0xff,
            longest: usize::MAX,
            faults: FaultInjector::default(),
            logged_violations: 0,
            transactions: 0,
            bytes: 0,
        };
        Self { clock, device: Arc::new(Mutex::new(device)) }
    }

    /// Lets faults happen, and writes each transaction to a file.
    pub fn with_faults(self, faults: FaultInjector) -> Self {
        self.lock().faults = faults;
        self
    }

    /// Another bus clock.
    pub fn with_clock_hz(self, clock_hz: u32) -> Self {
        self.lock().clock_hz = clock_hz.max(1);
        self
    }

    /// Makes an adapter that takes no longer messages than this.
    pub fn with_longest_message(self, bytes: usize) -> Self {
        self.lock().longest = bytes;
        self
    }

    /// Makes an oscillator of this frequency in the controller.
    pub fn with_oscillator(self, kilohertz: f64) -> Self {
        {
            let mut device = self.lock();
            device.chip = device.chip.clone().with_oscillator(kilohertz);
        }
        self
    }

    /// Makes a fault happen now.
    pub fn inject(&self, fault: Fault) {
        let now = self.clock.now();
        let mut device = self.lock();
        if let Some(fault) = device.faults.apply(fault) {
            device.apply(fault, now);
        }
    }

    /// Returns the controller as it is now.
    pub fn chip(&self) -> Chip {
        self.lock().chip.clone()
    }

    /// Returns what a reader would see.
    pub fn seen(&self, geometry: Geometry, charset: Charset) -> Frame {
        self.lock().chip.seen(geometry, charset)
    }

    /// Transactions that got through and their bytes.
    pub fn traffic(&self) -> (u64, u64) {
        let device = self.lock();
        (device.transactions, device.bytes)
    }

    /// What passed the bus is what matters, also after a panic in another thread.
    fn lock(&self) -> MutexGuard<'_, Device> {
        self.device.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the bus be busy and answers.
    fn transfer(&self, address: u8, bytes: &[u8]) -> Result<(), EmulatedError> {
        let start = self.clock.now();
        let (result, time) = self.lock().transfer(address, bytes, start);
        self.clock.pass(time);
        let sent = if result.is_ok() { bytes } else { &[] };
        self.lock().note(address, sent);
        result
    }
}

impl Backpack {
    /// Lets the bus be busy and answers a byte. Reads are not logged: the log is what the display
    /// was sent.
    fn receive(&self, address: u8) -> Result<u8, EmulatedError> {
        let (result, time) = self.lock().receive(address, self.clock.now());
        self.clock.pass(time);
        result
    }
}

impl Device {
    fn apply(&mut self, fault: Fault, now: Duration) {
        match fault {
            Fault::Glitch(nibble) => self.chip.glitch(nibble, now),
            _ => (self.chip, self.latch) = (Chip::powered(now), 0xff),
        }
    }

    /// Returns a byte read: the levels at the pins when the address was acknowledged. The latch
    /// pulls a pin low, or lets it be high.
    fn receive(&mut self, address: u8, start: Duration) -> (Result<u8, EmulatedError>, Duration) {
        self.play(start);
        if address != self.address || !self.faults.plugged {
            return (Err(EmulatedError::Nack), self.bits(11));
        }
        let pins = self.wiring.decode(self.latch);
        let driven = if pins.e && pins.rw { self.chip.answers(pins.rs, start) } else { 0x0f };
        let data = self.wiring.encode(0x0f, false, false, false)
            ^ self.wiring.encode(0, false, false, false);
        let levels = self.wiring.encode(driven, false, false, false) & data | !data;
        (Ok(self.latch & levels), self.bits(9 * 2 + 2))
    }

    fn play(&mut self, now: Duration) {
        while let Some(fault) = self.faults.due(now) {
            self.apply(fault, now);
        }
    }

    fn bits(&self, bits: u64) -> Duration {
        Duration::from_nanos(bits * 1_000_000_000 / u64::from(self.clock_hz))
    }

    /// Returns the answer and how long the bus is taken: start, address, bytes of nine clocks each,
    /// stop.
    fn transfer(
        &mut self,
        address: u8,
        bytes: &[u8],
        start: Duration,
    ) -> (Result<(), EmulatedError>, Duration) {
        self.play(start);
        let count = u64::try_from(bytes.len()).unwrap_or(0);
        if bytes.len() > self.longest {
            return (Err(EmulatedError::TooLong), Duration::ZERO);
        }
        let fault = if address == self.address {
            self.faults.next_write_fault()
        } else {
            Some(WriteFault::Gone)
        };
        let accepted = match fault {
            None => bytes.len(),
            Some(WriteFault::Refused(after)) => after.min(bytes.len()),
            Some(WriteFault::Gone) => 0,
            Some(WriteFault::Stuck(time)) => return (Err(EmulatedError::TimedOut), time),
        };
        let mut time = start + self.bits(10);
        let byte_time = self.bits(9);
        for byte in bytes.iter().take(accepted) {
            time += byte_time;
            self.latch = *byte;
            self.chip.drive(self.wiring.decode(*byte), time);
        }
        if fault.is_some() {
            return (Err(EmulatedError::Nack), self.bits(11));
        }
        self.transactions += 1;
        self.bytes += count;
        (Ok(()), self.bits(9 * (count + 1) + 2))
    }

    fn note(&mut self, address: u8, bytes: &[u8]) {
        self.faults.log.transaction(address, bytes);
        for violation in self.chip.violations().iter().skip(self.logged_violations) {
            self.faults.log.violation(violation);
        }
        self.logged_violations = self.chip.violations().len();
    }
}

impl ErrorType for Backpack {
    type Error = EmulatedError;
}

impl I2c for Backpack {
    fn transaction(
        &mut self,
        address: u8,
        operations: &mut [Operation<'_>],
    ) -> Result<(), EmulatedError> {
        for operation in operations {
            match operation {
                Operation::Write(bytes) => self.transfer(address, bytes)?,
                Operation::Read(bytes) => {
                    for byte in bytes.iter_mut() {
                        *byte = self.receive(address)?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for EmulatedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nack => "not acknowledged",
            Self::TimedOut => "timed out",
            Self::TooLong => "message too long",
        })
    }
}

impl std::error::Error for EmulatedError {}

impl embedded_hal::i2c::Error for EmulatedError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Nack => ErrorKind::NoAcknowledge(NoAcknowledgeSource::Unknown),
            Self::TimedOut => ErrorKind::Bus,
            Self::TooLong => ErrorKind::Other,
        }
    }
}

impl BusError for EmulatedError {
    fn fault(&self) -> BusFault {
        match self {
            Self::Nack => BusFault::Absent,
            Self::TimedOut => BusFault::Failed,
            Self::TooLong => BusFault::TooLong,
        }
    }
}
