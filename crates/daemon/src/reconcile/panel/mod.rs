//! The display and the LED: each on a thread of its own, so that a stuck bus delays nothing else.

pub(crate) mod device;
pub mod display;
pub mod indicator;
