//! An emulated I²C bus with one device on it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use embedded_hal::i2c::{ErrorKind, ErrorType, I2c, NoAcknowledgeSource, Operation};

use super::fault_injector::WriteFault;
use super::{Clock, Fault, FaultInjector};
use crate::bus::{BusError, BusFault};

/// A chip on the bus.
pub trait Target: fmt::Debug + Send {
    /// Begins a write transfer: the address was acknowledged, and bytes follow.
    fn begin(&mut self);
    /// Receives a byte whose last bit was sent at `now`.
    fn take(&mut self, byte: u8, now: Duration);
    /// Returns the byte for a read.
    fn give(&mut self, now: Duration) -> u8;
    /// Injects a fault into the chip's state: a power loss, or interference.
    fn inject(&mut self, fault: Fault, now: Duration);
    /// Returns the violations of the datasheet so far.
    fn violations(&self) -> &[String];
}

/// The emulated bus with its device. Clones share the device.
#[derive(Debug)]
pub struct Bus<T> {
    pub(super) clock: Clock,
    device: Arc<Mutex<Device<T>>>,
}

impl<T> Clone for Bus<T> {
    fn clone(&self) -> Self {
        Self { clock: self.clock.clone(), device: self.device.clone() }
    }
}

#[derive(Debug)]
pub(super) struct Device<T> {
    address: u8,
    clock_hz: u32,
    pub(super) target: T,
    longest: usize,
    faults: FaultInjector,
    logged_violations: usize,
    transactions: u64,
    bytes: u64,
}

/// Errors of the emulated bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EmulatedError {
    /// The address or a byte was not acknowledged.
    #[error("not acknowledged")]
    Nack,
    /// The bus hung.
    #[error("timed out")]
    TimedOut,
    /// The message is longer than the adapter allows.
    #[error("message too long")]
    TooLong,
}

impl<T: Target> Bus<T> {
    /// Returns a 100 kHz bus with a chip at this address.
    pub(super) fn with(clock: Clock, address: u8, target: T) -> Self {
        let device = Device {
            address,
            clock_hz: crate::pcf8574::CLOCK_HZ,
            target,
            longest: usize::MAX,
            faults: FaultInjector::default(),
            logged_violations: 0,
            transactions: 0,
            bytes: 0,
        };
        Self { clock, device: Arc::new(Mutex::new(device)) }
    }

    /// Sets a fault injector, which also logs each transaction.
    pub fn with_faults(self, faults: FaultInjector) -> Self {
        self.lock().faults = faults;
        self
    }

    /// Sets the bus clock.
    pub fn with_clock_hz(self, clock_hz: u32) -> Self {
        self.lock().clock_hz = clock_hz.max(1);
        self
    }

    /// Limits the length of the adapter's messages.
    pub fn with_longest_message(self, bytes: usize) -> Self {
        self.lock().longest = bytes;
        self
    }

    /// Injects a fault now.
    pub fn inject(&self, fault: Fault) {
        let now = self.clock.now();
        let mut device = self.lock();
        if let Some(fault) = device.faults.apply(fault) {
            device.target.inject(fault, now);
        }
    }

    /// Returns the number of successful transactions and their bytes.
    pub fn traffic(&self) -> (u64, u64) {
        let device = self.lock();
        (device.transactions, device.bytes)
    }

    /// Locks the device, even after a panic in another thread: the log of the bus stays valid.
    pub(super) fn lock(&self) -> MutexGuard<'_, Device<T>> {
        self.device.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Performs a write transfer, and lets the time on the bus pass.
    fn transfer(&self, address: u8, bytes: &[u8]) -> Result<(), EmulatedError> {
        let start = self.clock.now();
        let (result, time) = self.lock().transfer(address, bytes, start);
        self.clock.pass(time);
        let sent = if result.is_ok() { bytes } else { &[] };
        self.lock().note(address, sent);
        result
    }

    /// Performs a read of one byte, and lets the time on the bus pass. Reads are not logged: the
    /// log holds what was sent to the display.
    fn receive(&self, address: u8) -> Result<u8, EmulatedError> {
        let (result, time) = self.lock().receive(address, self.clock.now());
        self.clock.pass(time);
        result
    }
}

impl<T: Target> Device<T> {
    /// Returns the byte read and the time on the bus.
    fn receive(&mut self, address: u8, start: Duration) -> (Result<u8, EmulatedError>, Duration) {
        self.play(start);
        if address != self.address || !self.faults.plugged {
            return (Err(EmulatedError::Nack), self.bits(11));
        }
        (Ok(self.target.give(start)), self.bits(9 * 2 + 2))
    }

    fn play(&mut self, now: Duration) {
        while let Some(fault) = self.faults.due(now) {
            self.target.inject(fault, now);
        }
    }

    fn bits(&self, bits: u64) -> Duration {
        Duration::from_nanos(bits * 1_000_000_000 / u64::from(self.clock_hz))
    }

    /// Returns the result and the time on the bus: start, address, nine clocks per byte, stop.
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
        if accepted > 0 {
            self.target.begin();
        }
        for byte in bytes.iter().take(accepted) {
            time += byte_time;
            self.target.take(*byte, time);
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
        for violation in self.target.violations().iter().skip(self.logged_violations) {
            self.faults.log.violation(violation);
        }
        self.logged_violations = self.target.violations().len();
    }
}

impl<T> ErrorType for Bus<T> {
    type Error = EmulatedError;
}

impl<T: Target> I2c for Bus<T> {
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
