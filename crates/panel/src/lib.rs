//! The panel of a small machine: what a character display and an LED can show, and the hardware
//! that shows it.
//!
//! * What can be shown, without any hardware: [`frame`], [`charset`], [`playlist`], [`signal`],
//!   [`light`], [`wiring`].
//! * Drivers on embedded-hal: [`hd44780`] behind a [`pcf8574`] or [`gpio`], [`blinkstick`] over
//!   [`hid`], [`sysfs_led`]; [`linux`] opens their devices.
//! * [`emulator`]: each chip as its datasheet has it, for demos and tests.

pub mod blinkstick;
pub mod charset;
pub mod claimed;
pub mod device;
pub mod emulator;
pub mod frame;
pub mod gpio;
pub mod hd44780;
pub mod hid;
pub mod light;
pub mod linux;
pub mod pcf8574;
pub mod playlist;
pub mod signal;
pub mod sysfs_led;
pub mod wiring;

pub use charset::Charset;
pub use device::{CharDisplay, DeviceError, Indicator};
pub use frame::{Frame, Geometry};
pub use playlist::{Page, Playlist, Role};
pub use signal::{Colour, Pattern, Signal};
pub use wiring::Wiring;
