//! What each output should hold, from the settings, the facts and what should be true. Pure.
pub mod light;
pub mod page;
