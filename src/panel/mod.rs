//! The vocabulary of what can be shown: geometry, frames, glyphs, character ROMs, LED signals. Pure; knows no hardware.

pub mod charset;
pub mod frame;
pub mod playlist;
pub mod signal;

pub use charset::Charset;
pub use frame::{Frame, Geometry};
pub use playlist::{Page, Playlist, Role};
pub use signal::{Colour, Pattern, Signal};
