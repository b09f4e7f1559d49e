//! How an I²C backpack's expander is wired to the HD44780, as data.

/// Which bit of the expander (0–7) drives which pin of the display.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Wiring {
    pub rs: u8,
    /// `None`: tied to ground
    pub rw: Option<u8>,
    pub e: u8,
    pub backlight: Option<u8>,
    /// the backlight is lit when its bit is 0
    pub backlight_inverse: bool,
    /// D4, D5, D6, D7
    pub data: [u8; 4],
}
