//! Hardware behind embedded-hal traits: character displays and indicators, and a faithful emulator of each.
//!
//! Knows frames and colours, nothing of state or policy. Every call may block for as long as a bus takes: only threads
//! of their own may call it.

pub mod emulator;
pub mod gpio;
pub mod hd44780;
pub mod linux;
pub mod pcf8574;

use crate::event::{ApplyError, ApplyErrorKind};
use crate::panel::Frame;

/// A display of characters.
pub trait CharDisplay: Send {
    /// Brings the frame on the glass, backlight on or off, with as few bytes as possible; nothing is sent for what is
    /// there already. An error leaves the display in an unknown state, and the next call starts from the beginning.
    fn show(&mut self, frame: &Frame, lit: bool) -> Result<(), ApplyError>;

    /// Initialises again and draws everything, without a visible flash: interference may have disturbed what is held.
    fn refresh(&mut self) -> Result<(), ApplyError>;

    /// Bytes acknowledged by the bus since this display was opened.
    fn bytes(&self) -> u64;
}

/// An error of hardware that is not there.
pub(crate) fn absent(message: String) -> ApplyError {
    ApplyError { kind: ApplyErrorKind::Absent, message }
}

/// An error of hardware that is there and does not do as it should.
pub(crate) fn failed(message: String) -> ApplyError {
    ApplyError { kind: ApplyErrorKind::Failed, message }
}

/// The kind of an error of the operating system.
pub(crate) fn from_errno(errno: Option<i32>, message: String) -> ApplyError {
    // asm-generic/errno-base.h, errno.h
    const ENOENT: i32 = 2;
    const ENXIO: i32 = 6;
    const EACCES: i32 = 13;
    const EPERM: i32 = 1;
    const ENODEV: i32 = 19;
    const EREMOTEIO: i32 = 121;
    let kind = match errno {
        Some(ENOENT | ENXIO | ENODEV | EREMOTEIO) => ApplyErrorKind::Absent,
        Some(EACCES | EPERM) => ApplyErrorKind::Denied,
        _ => ApplyErrorKind::Failed,
    };
    ApplyError { kind, message }
}
