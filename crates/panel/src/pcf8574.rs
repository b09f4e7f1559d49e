//! A PCF8574 or PCF8574A I/O expander as the way to an HD44780: each byte written sets its eight
//! pins.

use std::time::Duration;

use embedded_hal::delay::DelayNs;
use embedded_hal::i2c::I2c;

use super::hd44780::Transport;
use super::hd44780::plan::Op;
use crate::bus::{BusError, BusFault, explain};
use crate::device::DeviceError;
use crate::wiring::Wiring;

/// Addresses at which the two kinds of expander can be.
pub const ADDRESSES: [std::ops::RangeInclusive<u8>; 2] = [0x20..=0x27, 0x38..=0x3f];

/// The bus speed the expander is specified for.
pub const CLOCK_HZ: u32 = 100_000;

/// How many reads in a row fail while writes succeed until it is clear that adapter or chip cannot
/// do it.
const UNREADABLE: u8 = 3;

/// The expander, and what it drives.
#[derive(Debug)]
pub struct Pcf8574<I, D> {
    bus: I,
    delay: D,
    address: u8,
    wiring: Wiring,
    /// names the bus in errors
    name: String,
    lit: bool,
    /// the backlight's state was not sent yet
    stale: bool,
    rs: Option<bool>,
    /// bytes after each instruction that only pass time, on a bus faster than the expander's
    padding: usize,
    /// the longest message the adapter takes, as far as is known
    limit: usize,
    bytes: u64,
    /// what stands at the pins, as acknowledged last
    last: Option<u8>,
    /// reads in a row that failed
    failed_reads: u8,
}

impl<I: I2c, D: DelayNs> Pcf8574<I, D>
where
    I::Error: BusError,
{
    /// Makes an expander. `name` names the bus in errors; `clock_hz` is the bus clock.
    pub fn new(bus: I, delay: D, address: u8, wiring: Wiring, name: &str, clock_hz: u32) -> Self {
        // From the end of one instruction to the latching of the next nibble two bytes pass, of
        // nine clocks each. 60 µs is more than the slowest controller needs (53 µs).
        let bytes_needed = (u64::from(clock_hz) * 60).div_ceil(9_000_000);
        let padding = usize::try_from(bytes_needed.saturating_sub(2)).unwrap_or(0);
        Self {
            bus,
            delay,
            address,
            wiring,
            name: name.to_owned(),
            lit: true,
            stale: true,
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

    /// Encodes ops as bytes. RS is set up a byte before E rises; data is on the pins while E is
    /// high and one byte longer.
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

    /// Sends a message, which begins and ends between two instructions, or its instructions in
    /// smaller messages.
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
        if bytes.is_empty() && self.stale {
            let rs = self.rs.unwrap_or(false);
            bytes.push(self.byte(0, rs, false));
            ends.push(bytes.len());
            self.rs = Some(rs);
        }
        self.stale = true;
        self.send(&bytes, &ends)?;
        self.stale = false;
        Ok(())
    }

    fn backlight(&mut self, lit: bool) {
        self.stale |= self.lit != lit;
        self.lit = lit;
    }

    fn wait(&mut self, time: Duration) {
        self.delay.delay_us(u32::try_from(time.as_micros()).unwrap_or(u32::MAX));
    }

    /// Returns whether the expander still holds the byte written last; `None` where it cannot be
    /// read. A pin that is driven low reads low; power-on leaves all of them high, E among them. A
    /// pin that is held high proves nothing: the pull-up is weak (100 µA), and the backlight's
    /// transistor or the controller may pull it down.
    fn holds(&mut self) -> Option<bool> {
        let Some(last) = self.last else { return Some(true) };
        if self.failed_reads >= UNREADABLE {
            return None;
        }
        let mut found = [0];
        if self.bus.read(self.address, &mut found).is_err() {
            // An expander that is gone is found by the next write.
            self.failed_reads += 1;
            return (self.failed_reads < UNREADABLE).then_some(true);
        }
        self.failed_reads = 0;
        let [found] = found;
        Some(found & !last == 0)
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }
}
