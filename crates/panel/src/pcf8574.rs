//! A PCF8574 or PCF8574A I/O expander in front of an HD44780: each byte written sets its eight
//! pins.

use std::time::Duration;

use embedded_hal::delay::DelayNs;
use embedded_hal::i2c::I2c;

use super::hd44780::Transport;
use super::hd44780::plan::Op;
use crate::bus::{BusError, BusFault, explain};
use crate::device::DeviceError;
use crate::wiring::Wiring;

/// Address ranges of the two chips.
pub const ADDRESSES: [std::ops::RangeInclusive<u8>; 2] = [0x20..=0x27, 0x38..=0x3f];

/// The specified bus speed of the chip, in Hz.
pub const CLOCK_HZ: u32 = 100_000;

/// Number of consecutive failed reads, with successful writes, after which reads count as
/// unsupported.
const MAX_FAILED_READS: u8 = 3;

/// An expander with its display.
#[derive(Debug)]
pub struct Pcf8574<I, D> {
    bus: I,
    delay: D,
    address: u8,
    wiring: Wiring,
    /// The bus name, for errors.
    name: String,
    lit: bool,
    /// The backlight's state has not been sent yet.
    backlight_pending: bool,
    rs: Option<bool>,
    /// Filler bytes after each instruction, for timing on a bus faster than the expander's.
    padding: usize,
    /// The longest message that the adapter is known to accept.
    limit: usize,
    bytes: u64,
    /// The state of the pins, as last acknowledged.
    last: Option<u8>,
    /// Consecutive failed reads.
    failed_reads: u8,
}

impl<I: I2c, D: DelayNs> Pcf8574<I, D>
where
    I::Error: BusError,
{
    /// Returns an expander. `name` is the bus name for errors, `clock_hz` the bus clock.
    pub fn new(bus: I, delay: D, address: u8, wiring: Wiring, name: &str, clock_hz: u32) -> Self {
        // Between the end of an instruction and the latch of the next nibble there are two bytes of
        // nine clocks each. The slowest controller needs 53 µs; 60 µs leaves a margin.
        let bytes_needed = (u64::from(clock_hz) * 60).div_ceil(9_000_000);
        let padding = usize::try_from(bytes_needed.saturating_sub(2)).unwrap_or(0);
        Self {
            bus,
            delay,
            address,
            wiring,
            name: name.to_owned(),
            lit: true,
            backlight_pending: true,
            rs: None,
            padding,
            limit: usize::MAX,
            bytes: 0,
            last: None,
            failed_reads: 0,
        }
    }

    fn byte(&self, nibble: u8, rs: bool, e: bool) -> u8 {
        self.wiring.encode(nibble, rs, e, self.lit)
    }

    /// Appends an operation as bytes. RS is set up one byte before E rises; data is valid while E
    /// is high and for one more byte.
    fn encode(&mut self, op: Op, bytes: &mut Vec<u8>) {
        let (nibbles, count) = match op {
            Op::Nibble(nibble) => ([nibble, 0], 1),
            Op::Command(byte) | Op::Data(byte) => ([byte >> 4, byte & 0x0f], 2),
        };
        let rs = op.rs();
        for nibble in nibbles.into_iter().take(count) {
            if self.rs.replace(rs) != Some(rs) {
                bytes.push(self.byte(nibble, rs, false));
            }
            bytes.extend([self.byte(nibble, rs, true), self.byte(nibble, rs, false)]);
        }
        if let Some(last) = bytes.last().copied() {
            bytes.extend(std::iter::repeat_n(last, self.padding));
        }
    }

    /// Sends bytes in as few messages as the adapter allows, split only at the instruction
    /// boundaries `ends`.
    fn send(&mut self, bytes: &[u8], ends: &[usize]) -> Result<(), DeviceError> {
        let mut sent = 0;
        while sent < bytes.len() {
            let fits =
                ends.iter().copied().filter(|end| *end > sent && end - sent <= self.limit).max();
            let end = fits
                .or_else(|| ends.iter().copied().find(|end| *end > sent))
                .unwrap_or(bytes.len());
            let message = bytes.get(sent..end).unwrap_or_default();
            match self.bus.write(self.address, message) {
                Ok(()) => {
                    sent = end;
                    self.last = message.last().copied();
                    self.bytes += u64::try_from(message.len()).unwrap_or(0);
                }
                Err(error) if error.fault() == BusFault::TooLong && message.len() > 9 => {
                    self.limit = message.len() / 2;
                }
                Err(error) => {
                    self.rs = None;
                    self.last = None;
                    return Err(explain(&error, &self.name, self.address));
                }
            }
        }
        Ok(())
    }
}

impl<I, D> Transport for Pcf8574<I, D>
where
    I: I2c + Send,
    I::Error: BusError,
    D: DelayNs + Send,
{
    fn execute(&mut self, ops: &[Op]) -> Result<(), DeviceError> {
        let mut bytes = Vec::with_capacity(ops.len() * (4 + self.padding) + 8);
        let mut ends = Vec::with_capacity(ops.len());
        for op in ops {
            self.encode(*op, &mut bytes);
            ends.push(bytes.len());
        }
        if bytes.is_empty() && self.backlight_pending {
            let rs = self.rs.unwrap_or(false);
            bytes.push(self.byte(0, rs, false));
            ends.push(bytes.len());
            self.rs = Some(rs);
        }
        self.backlight_pending = true;
        self.send(&bytes, &ends)?;
        self.backlight_pending = false;
        Ok(())
    }

    fn backlight(&mut self, lit: bool) {
        self.backlight_pending |= self.lit != lit;
        self.lit = lit;
    }

    fn wait(&mut self, time: Duration) {
        self.delay.delay_us(u32::try_from(time.as_micros()).unwrap_or(u32::MAX));
    }

    /// Returns whether the expander still holds the last byte written; `None` if it cannot be read.
    /// A pin driven low reads low; after power-on all pins are high, including E. A pin driven high
    /// proves nothing: its pull-up is weak (100 µA), and the backlight's transistor or the
    /// controller may pull it low.
    fn holds(&mut self) -> Option<bool> {
        let Some(last) = self.last else { return Some(true) };
        if self.failed_reads >= MAX_FAILED_READS {
            return None;
        }
        let mut found = [0];
        if self.bus.read(self.address, &mut found).is_err() {
            // The next write detects a missing expander.
            self.failed_reads += 1;
            return (self.failed_reads < MAX_FAILED_READS).then_some(true);
        }
        self.failed_reads = 0;
        let [found] = found;
        Some(found & !last == 0)
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }
}
