//! Character ROMs of the HD44780 and our custom glyphs.

/// Which character ROM the controller has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Charset {
    /// Japanese standard font, ROM code A00
    #[default]
    A00,
    /// European standard font, ROM code A02
    A02,
}
