//! The display and the LED, each on its own thread, so that a stuck bus delays nothing else.

pub(crate) mod device;
pub mod display;
pub mod indicator;
