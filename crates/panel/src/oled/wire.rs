//! The controllers' I²C interface (SSD1306 datasheet, 8.1.5.2): after the address, a control byte
//! determines whether commands or data follow until the stop.
//!
//! Replaces `display-interface-i2c`, which sends each command in a transaction of its own, splits
//! data into pieces of 16 bytes and discards bus errors.

use display_interface::{DataFormat, DisplayError, WriteOnlyDataCommand};
use embedded_hal::i2c::I2c;

use crate::bus::{BusError, BusFault, explain};
use crate::device::DeviceError;

/// Control bytes with Co = 0: all following bytes are of one kind.
const COMMANDS: u8 = 0x00;
const DATA: u8 = 0x40;
/// Minimum message length for adapters that reject long messages; the longest command with its
/// control byte is shorter.
const MIN_LIMIT: usize = 8;

/// The bus side of the controller. Commands are queued until data or [`Wire::flush`] sends them in
/// one transaction.
#[derive(Debug)]
pub struct Wire<I> {
    bus: I,
    address: u8,
    /// The bus name, for errors.
    name: String,
    commands: Vec<Vec<u8>>,
    /// The longest message that the adapter is known to accept.
    limit: usize,
    /// Acknowledged bytes, including control bytes.
    bytes: u64,
}

impl<I: I2c> Wire<I>
where
    I::Error: BusError,
{
    pub fn new(bus: I, address: u8, name: &str) -> Self {
        Self {
            bus,
            address,
            name: name.to_owned(),
            commands: Vec::new(),
            limit: usize::MAX,
            bytes: 0,
        }
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Sends the queued commands.
    pub fn flush(&mut self) -> Result<(), DeviceError> {
        let commands = std::mem::take(&mut self.commands);
        let mut rest = commands.as_slice();
        while !rest.is_empty() {
            // As many whole commands as fit into a message.
            let mut message = vec![COMMANDS];
            let mut count = 0;
            for command in rest {
                if count > 0 && message.len() + command.len() > self.limit {
                    break;
                }
                message.extend(command);
                count += 1;
            }
            if self.write(&message)? {
                rest = rest.get(count..).unwrap_or_default();
            }
        }
        Ok(())
    }

    /// Sends data for the memory.
    pub fn data(&mut self, data: &[u8]) -> Result<(), DeviceError> {
        self.flush()?;
        let mut rest = data;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(self.limit.saturating_sub(1).max(1)));
            let mut message = vec![DATA];
            message.extend(now);
            if self.write(&message)? {
                rest = later;
            }
        }
        Ok(())
    }

    /// Reads the status byte (SSD1306 datasheet, table 9-2; bit 6: the display is off). `None` if
    /// it cannot be read.
    pub fn status(&mut self) -> Option<u8> {
        let mut found = [0];
        self.bus.read(self.address, &mut found).ok()?;
        let [status] = found;
        Some(status)
    }

    /// Sends one message. Returns false if it was too long and has to be split.
    fn write(&mut self, message: &[u8]) -> Result<bool, DeviceError> {
        match self.bus.write(self.address, message) {
            Ok(()) => {
                self.bytes += u64::try_from(message.len()).unwrap_or(0);
                Ok(true)
            }
            Err(error) if error.fault() == BusFault::TooLong && message.len() > MIN_LIMIT => {
                self.limit = (message.len() / 2).max(MIN_LIMIT);
                Ok(false)
            }
            Err(error) => Err(explain(&error, &self.name, self.address)),
        }
    }
}

impl<I: I2c> WriteOnlyDataCommand for Wire<I>
where
    I::Error: BusError,
{
    fn send_commands(&mut self, commands: DataFormat<'_>) -> Result<(), DisplayError> {
        let DataFormat::U8(bytes) = commands else {
            return Err(DisplayError::DataFormatNotImplemented);
        };
        self.commands.push(bytes.to_vec());
        Ok(())
    }

    fn send_data(&mut self, data: DataFormat<'_>) -> Result<(), DisplayError> {
        let DataFormat::U8(bytes) = data else {
            return Err(DisplayError::DataFormatNotImplemented);
        };
        self.data(bytes).map_err(|_| DisplayError::BusWriteError)
    }
}
