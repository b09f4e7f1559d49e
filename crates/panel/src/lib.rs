//! The panel of a small machine: content for a character display and LEDs, and the drivers for
//! both. Depends on no other crate of this workspace, so other programs can use it.
//!
//! # Overview
//!
//! | what | where |
//! |---|---|
//! | content of a display, independent of hardware | [`frame`], [`charset`], [`playlist`] |
//! | content of an LED | [`signal`], [`light`] |
//! | pin assignment of a backpack | [`wiring`] |
//! | traits of displays and LEDs, and their errors | [`device`] |
//! | displays | [`hd44780`], behind a [`pcf8574`] or the pins of a [`gpio`] chip; [`oled`] |
//! | LEDs | [`blinkstick`] over [`hid`], [`sysfs_led`] |
//! | opening the devices of this machine | [`linux`] |
//! | chips emulated by their datasheets, for demos and tests | [`emulator`] |
//!
//! Begin with [`Frame`] and [`CharDisplay::show`]; then [`hd44780`], which only sends the
//! difference between two frames. Drivers build on embedded-hal 1.0, so they work on any bus,
//! including an emulated one:
//!
//! ```
//! use bramblegate_panel::emulator::{Backpack, Clock};
//! use bramblegate_panel::hd44780::Hd44780;
//! use bramblegate_panel::pcf8574::{CLOCK_HZ, Pcf8574};
//! use bramblegate_panel::{CharDisplay, Charset, Frame, Geometry, Wiring};
//!
//! # fn main() -> Result<(), bramblegate_panel::DeviceError> {
//! let glass = Geometry { columns: 16, rows: 2 };
//! let (clock, wiring) = (Clock::simulated(), Wiring::default());
//! let bus = Backpack::new(clock.clone(), 0x27, wiring);
//! let port = Pcf8574::new(bus.clone(), clock, 0x27, wiring, "the emulated bus", CLOCK_HZ);
//! let mut display = Hd44780::new(port, glass, Charset::A00);
//!
//! display.show(&Frame::from_lines(glass, &["10.99.0.126/24", "up 3/3"]), true)?;
//! assert_eq!(bus.seen(glass, Charset::A00).lines(), ["10.99.0.126/24  ", "up 3/3          "]);
//!
//! // Another octet costs a few bytes, not a whole draw.
//! let drawn = display.bytes();
//! display.show(&Frame::from_lines(glass, &["10.99.0.127/24", "up 3/3"]), true)?;
//! assert!(display.bytes() - drawn < 20);
//! # Ok(())
//! # }
//! ```
//!
//! Every call of a device may block for as long as its bus takes, or hang with it: call it on a
//! dedicated thread.

pub mod blinkstick;
pub mod bus;
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
pub mod oled;
pub mod pcf8574;
pub mod playlist;
pub mod signal;
pub mod sysfs_led;
pub mod wiring;

pub use charset::Charset;
pub use device::{CharDisplay, DeviceError, Indicator};
pub use frame::{Frame, Geometry};
pub use oled::{Controller, Oled, Resolution};
pub use playlist::{Page, Playlist, Role};
pub use signal::{Colour, Pattern, Signal};
pub use wiring::Wiring;
