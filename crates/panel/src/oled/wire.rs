//! The two-wire interface of the controllers (SSD1306 datasheet, 8.1.5.2): behind the address a
//! control byte says whether commands or data follow, up to the stop.
//!
//! In place of `display-interface-i2c`, which sends each command in a transaction of its own, cuts
//! data into pieces of 16 bytes and drops the error of the bus.

use display_interface::{DataFormat, DisplayError, WriteOnlyDataCommand};
use embedded_hal::i2c::I2c;

use crate::bus::{BusError, BusFault, explain};
use crate::device::DeviceError;

/// Control bytes: Co = 0, so that all that follows is of one kind.
const COMMANDS: u8 = 0x00;
const DATA: u8 = 0x40;
/// The shortest message that is tried on an adapter that takes no long ones; the longest command
/// and its control byte are shorter.
const SHORTEST: usize = 8;

/// The controller's end of the bus. Commands wait until data or [`Wire::flush`] sends them, in one
/// transaction.
#[derive(Debug)]
pub struct Wire<I> {
    bus: I,
    address: u8,
    /// names the bus in errors
    name: String,
    commands: Vec<Vec<u8>>,
    /// the longest message the adapter takes, as far as is known
    limit: usize,
    /// acknowledged, control bytes included
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

    /// Sends the commands that wait.
    pub fn flush(&mut self) -> Result<(), DeviceError> {
        let commands = std::mem::take(&mut self.commands);
        let mut rest = commands.as_slice();
        while !rest.is_empty() {
            // As many whole commands as a message takes.
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

    /// Sends bytes for the memory.
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

    /// Reads the status byte (SSD1306 datasheet, table 9-2; bit 6: the display is off). `None`:
    /// it cannot be read.
    pub fn status(&mut self) -> Option<u8> {
        let mut found = [0];
        self.bus.read(self.address, &mut found).ok()?;
        let [status] = found;
        Some(status)
    }

    /// Sends one message; false if it was too long and a shorter one is to be tried.
    fn write(&mut self, message: &[u8]) -> Result<bool, DeviceError> {
        match self.bus.write(self.address, message) {
            Ok(()) => {
                self.bytes += u64::try_from(message.len()).unwrap_or(0);
                Ok(true)
            }
            Err(error) if error.fault() == BusFault::TooLong && message.len() > SHORTEST => {
                self.limit = (message.len() / 2).max(SHORTEST);
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
