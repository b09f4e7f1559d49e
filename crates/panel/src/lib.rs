//! The panel of a small machine: what a character display and an LED can show, and the hardware
//! that shows it. Depends on no other crate of this workspace, so other programs can use it.
//!
//! # The pieces
//!
//! | what | where |
//! |---|---|
//! | what a display should hold, without any hardware | [`frame`], [`charset`], [`playlist`] |
//! | what an LED should show | [`signal`], [`light`] |
//! | how a backpack's pins are wired | [`wiring`] |
//! | what every display and every LED can do, and how it fails | [`device`] |
//! | displays | [`hd44780`], behind a [`pcf8574`] or the pins of a [`gpio`] chip; [`oled`] |
//! | LEDs | [`blinkstick`] over [`hid`], [`sysfs_led`] |
//! | opening the devices of this machine | [`linux`] |
//! | each chip as its datasheet has it, for demos and tests | [`emulator`] |
//!
//! Begin with [`Frame`] and [`CharDisplay::show`]; then [`hd44780`], which sends no more bytes than
//! the difference between two frames needs. Drivers stand on embedded-hal 1.0, so any bus will do,
//! an emulated one too:
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
//! thread of its own.

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
