//! Errors of an I²C bus, and their messages.

use std::fmt;

use crate::device::DeviceError;

/// The kind of a bus error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BusFault {
    /// No device acknowledges the address, or the adapter is gone.
    Absent,
    /// The adapter rejects messages of this length (EOPNOTSUPP, EMSGSIZE); nothing was sent.
    TooLong,
    /// No permission to use the bus.
    Denied,
    /// Any other error.
    Failed,
}

/// Classifies an error of an I²C bus.
pub trait BusError: embedded_hal::i2c::Error + fmt::Display {
    fn fault(&self) -> BusFault;
}

/// Returns the error of a display at this address of the bus `name`.
pub fn explain<E: BusError>(error: &E, name: &str, address: u8) -> DeviceError {
    match error.fault() {
        BusFault::Absent => {
            DeviceError::Absent(format!("no display answers at {address:#04x} on {name} ({error})"))
        }
        BusFault::Denied => DeviceError::Denied(format!(
            "{name} may not be used ({error}); add the user to the group i2c"
        )),
        BusFault::TooLong | BusFault::Failed => {
            DeviceError::Failed(format!("{name}, address {address:#04x}: {error}"))
        }
    }
}
