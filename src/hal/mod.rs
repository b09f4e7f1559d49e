//! Hardware behind embedded-hal traits: character displays and indicators, and a faithful emulator of each.
//!
//! Knows frames and colours, nothing of state or policy. Every call may block for as long as a bus takes: only threads
//! of their own may call it.

pub mod blinkstick;
pub mod claimed;
pub mod emulator;
pub mod gpio;
pub mod hd44780;
pub mod hid;
pub mod light;
pub mod linux;
pub mod pcf8574;
pub mod sysfs_led;

use std::time::Duration;

use crate::event::{ApplyError, ApplyErrorKind};
use crate::panel::{Colour, Frame};

/// A display of characters.
pub trait CharDisplay: Send {
    /// Brings the frame on the glass, backlight on or off, with as few bytes as possible; nothing is sent for what is
    /// there already. An error leaves the display in an unknown state, and the next call starts from the beginning.
    fn show(&mut self, frame: &Frame, lit: bool) -> Result<(), ApplyError>;

    /// Initialises again and draws everything, without a visible flash: interference may have disturbed what is held.
    fn refresh(&mut self) -> Result<(), ApplyError>;

    /// Looks whether the display still holds what it was sent, where that can be seen: a short loss of power may pass between
    /// two transfers without failing either. If it does not, the next [`CharDisplay::show`] begins anew. False: it cannot be
    /// seen here, and there is no use in asking again.
    fn check(&mut self) -> bool {
        true
    }

    /// Bytes acknowledged by the bus since this display was opened.
    fn bytes(&self) -> u64;
}

/// One or several LEDs.
pub trait Indicator: Send {
    /// Drives the LEDs with these pulse widths (linear in light, see [`light`]), the first LED first; those beyond are dark,
    /// colours beyond the last LED are dropped. Nothing is sent for what is shown already.
    fn set(&mut self, colours: &[Colour]) -> Result<(), ApplyError>;

    fn leds(&self) -> u16;

    /// What it is, for people: "BlinkStick BS012345-3.0".
    fn name(&self) -> String;

    /// False for an LED that is only on or off.
    fn dimmable(&self) -> bool;

    /// The least time between two calls of `set` that change this many LEDs.
    fn interval(&self, changing: usize) -> Duration;
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
