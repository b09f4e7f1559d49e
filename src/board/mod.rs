//! Boards as data: which bus, expander, LED and ports a board has.

pub mod wiring;

pub use wiring::Wiring;
