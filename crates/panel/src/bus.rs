//! What goes wrong on an I²C bus, and what to report of it.

use std::fmt;

use crate::device::DeviceError;

/// What went wrong on the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BusFault {
    /// nothing answers at the address, or the adapter has gone
    Absent,
    /// the adapter does not take messages of this length (EOPNOTSUPP, EMSGSIZE); nothing was sent
    TooLong,
    /// no right to use it
    Denied,
    /// anything else
    Failed,
}

/// Classifies an error of an I²C bus.
pub trait BusError: embedded_hal::i2c::Error + fmt::Display {
    fn fault(&self) -> BusFault;
}

/// Returns the error of a display at this address of the bus called `name`.
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
