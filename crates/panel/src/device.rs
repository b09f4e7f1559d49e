//! Traits of displays and LEDs, and their errors.
//!
//! Every call may block for as long as a bus takes: call it on a dedicated thread only.

use std::time::Duration;

use rustix::io::Errno;
use thiserror::Error;

use crate::{Colour, Frame};

/// A display of characters.
pub trait CharDisplay: Send {
    /// Shows the frame with the backlight on or off, in as few bytes as possible; nothing is sent
    /// for what is shown already. After an error the display's state is unknown, and the next call
    /// initialises it.
    fn show(&mut self, frame: &Frame, lit: bool) -> Result<(), DeviceError>;

    /// Reinitialises and redraws everything without a visible flash, in case interference has
    /// corrupted the display.
    fn refresh(&mut self) -> Result<(), DeviceError>;

    /// Checks, if the hardware allows it, that the display still holds what was sent: a brief power
    /// loss between two transfers causes no error. If not, the next [`CharDisplay::show`]
    /// initialises it. Returns false if the hardware cannot be checked, now or later.
    fn check(&mut self) -> bool {
        true
    }

    /// Sets whether the display is dimmed from the next [`CharDisplay::show`] on, to age more
    /// slowly. No effect on displays whose backlight does not age.
    fn dim(&mut self, dimmed: bool) {
        let _ = dimmed;
    }

    /// Bytes acknowledged by the bus since this display was opened.
    fn bytes(&self) -> u64;
}

/// One or several LEDs.
pub trait Indicator: Send {
    /// Sets the LEDs to these pulse widths (linear in light, see [`crate::light`]), from the first
    /// LED on. Further LEDs are dark, excess colours are ignored. Nothing is sent for what is shown
    /// already.
    fn set(&mut self, colours: &[Colour]) -> Result<(), DeviceError>;

    fn leds(&self) -> u16;

    /// Returns a description: "BlinkStick BS012345-3.0".
    fn name(&self) -> String;

    /// Returns false for an LED that can only be on or off.
    fn dimmable(&self) -> bool;

    /// Returns the minimum time between two calls of `set` that change this many LEDs.
    fn interval(&self, changing: usize) -> Duration;
}

/// Error of a display or an LED. The text names the device and, after a semicolon, the remedy if
/// there is one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DeviceError {
    /// The device is missing.
    #[error("{0}")]
    Absent(String),
    /// No permission to use it.
    #[error("{0}")]
    Denied(String),
    /// It is present and malfunctions.
    #[error("{0}")]
    Failed(String),
}

impl DeviceError {
    /// Returns the error for an `errno`; unknown ones are [`DeviceError::Failed`].
    pub fn from_errno(errno: Option<i32>, message: String) -> Self {
        match errno.map(Errno::from_raw_os_error) {
            Some(Errno::NOENT | Errno::NXIO | Errno::NODEV | Errno::REMOTEIO) => {
                Self::Absent(message)
            }
            Some(Errno::ACCESS | Errno::PERM) => Self::Denied(message),
            _ => Self::Failed(message),
        }
    }

    /// Replaces the text of [`DeviceError::Denied`] with one that contains the remedy.
    #[must_use]
    pub fn or_denied(self, text: impl FnOnce() -> String) -> Self {
        match self {
            Self::Denied(_) => Self::Denied(text()),
            other => other,
        }
    }
}
