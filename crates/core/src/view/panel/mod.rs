//! What the display and the LEDs show.

pub mod led;
pub mod page;
