//! What every display and every LED can do, and how it fails.
//!
//! Every call may block for as long as a bus takes: only threads of their own may call it.

use std::time::Duration;

use rustix::io::Errno;
use thiserror::Error;

use crate::{Colour, Frame};

/// A display of characters.
pub trait CharDisplay: Send {
    /// Brings the frame on the glass, backlight on or off, with as few bytes as possible; nothing
    /// is sent for what is there already. An error leaves the display in an unknown state, and the
    /// next call starts from the beginning.
    fn show(&mut self, frame: &Frame, lit: bool) -> Result<(), DeviceError>;

    /// Initialises again and draws everything, without a visible flash: interference may have
    /// disturbed what is held.
    fn refresh(&mut self) -> Result<(), DeviceError>;

    /// Looks whether the display still holds what it was sent, where that can be seen: a short loss
    /// of power may pass between two transfers without failing either. If it does not, the next
    /// [`CharDisplay::show`] begins anew. False: it cannot be seen here, and there is no use in
    /// asking again.
    fn check(&mut self) -> bool {
        true
    }

    /// Sets whether it glows less from the next [`CharDisplay::show`] on, to age more slowly; of no
    /// effect where a backlight does not age.
    fn dim(&mut self, dimmed: bool) {
        let _ = dimmed;
    }

    /// Bytes acknowledged by the bus since this display was opened.
    fn bytes(&self) -> u64;
}

/// One or several LEDs.
pub trait Indicator: Send {
    /// Drives the LEDs with these pulse widths (linear in light, see [`crate::light`]), the first
    /// LED first; those beyond are dark, colours beyond the last LED are dropped. Nothing is sent
    /// for what is shown already.
    fn set(&mut self, colours: &[Colour]) -> Result<(), DeviceError>;

    fn leds(&self) -> u16;

    /// Returns what it is: "BlinkStick BS012345-3.0".
    fn name(&self) -> String;

    /// Returns false for an LED that is only on or off.
    fn dimmable(&self) -> bool;

    /// Returns the least time between two calls of `set` that change this many LEDs.
    fn interval(&self, changing: usize) -> Duration;
}

/// Error of a display or an LED; the text names the device and, behind
/// a semicolon, the remedy where one is known.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DeviceError {
    /// The device is not there.
    #[error("{0}")]
    Absent(String),
    /// The right to use it is missing.
    #[error("{0}")]
    Denied(String),
    /// It is there and does not do as it should.
    #[error("{0}")]
    Failed(String),
}

impl DeviceError {
    /// Returns the error for a number of the operating system (`errno.h`); an unknown one is a
    /// failure.
    pub fn from_errno(errno: Option<i32>, message: String) -> Self {
        match errno.map(Errno::from_raw_os_error) {
            Some(Errno::NOENT | Errno::NXIO | Errno::NODEV | Errno::REMOTEIO) => {
                Self::Absent(message)
            }
            Some(Errno::ACCESS | Errno::PERM) => Self::Denied(message),
            _ => Self::Failed(message),
        }
    }

    /// Replaces the text of [`DeviceError::Denied`] by one that names the remedy.
    #[must_use]
    pub fn or_denied(self, text: impl FnOnce() -> String) -> Self {
        match self {
            Self::Denied(_) => Self::Denied(text()),
            other => other,
        }
    }
}
