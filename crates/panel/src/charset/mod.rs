//! Character ROMs of the HD44780 and our custom glyphs: maps Unicode to displayable codes and back.
//!
//! The controller has 240 fixed characters (ROM A00 or A02: HD44780U datasheet, table 4) and eight
//! custom ones in CGRAM.

mod font;
mod glyph;
mod legible;

pub use font::rom_glyph;
pub use glyph::{GLYPHS, Glyph, glyph_of};

use super::Frame;

/// The controller's character ROM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Charset {
    /// Japanese standard font, ROM code A00.
    #[default]
    A00,
    /// European standard font, ROM code A02.
    A02,
}

/// The heartbeat. It always keeps its slot in CGRAM, so that a beat costs one character.
pub const HEARTBEAT: char = '♥';

/// The number of CGRAM slots, and so of different custom glyphs in a frame.
pub const CGRAM_SLOTS: usize = 8;

/// The content of one cell of the display.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cell {
    /// A code of the character ROM.
    Rom(u8),
    /// An index in [`GLYPHS`], for CGRAM.
    Custom(usize),
}

impl Charset {
    /// Returns the ROM code of a scalar, if the ROM has one.
    pub fn code(self, scalar: char) -> Option<u8> {
        let special = match self {
            Self::A00 => A00_SPECIAL.iter(),
            Self::A02 => A02_SPECIAL.iter(),
        };
        if let Some((_, code)) = special.clone().find(|(known, _)| *known == scalar) {
            return Some(*code);
        }
        match (self, scalar) {
            (Self::A00, '\\' | '~') => None,
            (_, ' '..='~') => u8::try_from(u32::from(scalar)).ok(),
            (Self::A02, '\u{c0}'..='\u{ff}') => u8::try_from(u32::from(scalar)).ok(),
            _ => None,
        }
    }

    /// Returns the scalar of a ROM code; `\u{fffd}` if our maps do not use it.
    pub fn scalar(self, code: u8) -> char {
        let mut special = match self {
            Self::A00 => A00_SPECIAL.iter(),
            Self::A02 => A02_SPECIAL.iter(),
        };
        if let Some((scalar, _)) = special.find(|(_, known)| *known == code) {
            return *scalar;
        }
        let scalar = char::from(code);
        if self.code(scalar) == Some(code) { scalar } else { char::REPLACEMENT_CHARACTER }
    }

    /// Returns the cell for a scalar: from the ROM, else a custom glyph, else the nearest legible
    /// character.
    pub fn cell(self, scalar: char) -> Cell {
        match (self.code(scalar), glyph::index_of(scalar)) {
            (Some(code), _) => Cell::Rom(code),
            (None, Some(index)) => Cell::Custom(index),
            (None, None) => Cell::Rom(self.legible(scalar)),
        }
    }

    /// Returns the ROM code of the nearest legible character; `?` if there is none.
    fn legible(self, scalar: char) -> u8 {
        let plain = glyph_of(scalar)
            .map(|glyph| glyph.fallback)
            .or_else(|| legible::plain(scalar))
            .unwrap_or('?');
        self.code(plain).unwrap_or(b'?')
    }

    /// Returns the cells of a frame, row by row, with at most [`CGRAM_SLOTS`] different custom
    /// glyphs: the heartbeat's and the first seven others. Further ones are replaced by their
    /// fallback.
    pub fn cells(self, frame: &Frame) -> Vec<Cell> {
        let heartbeat = glyph::index_of(HEARTBEAT);
        let mut used: Vec<usize> = heartbeat.into_iter().collect();
        let geometry = frame.geometry();
        let places = (0..usize::from(geometry.rows))
            .flat_map(|row| (0..usize::from(geometry.columns)).map(move |col| (row, col)));
        places
            .map(|(row, column)| {
                let scalar = frame.get(row, column);
                match self.cell(scalar) {
                    Cell::Custom(index) if used.contains(&index) => Cell::Custom(index),
                    Cell::Custom(index) if used.len() < CGRAM_SLOTS => {
                        used.push(index);
                        Cell::Custom(index)
                    }
                    Cell::Custom(_) => Cell::Rom(self.legible(scalar)),
                    rom @ Cell::Rom(_) => rom,
                }
            })
            .collect()
    }

    /// Returns the frame as it is displayed, with replacements for what the ROM lacks.
    pub fn shown(self, frame: &Frame) -> Frame {
        let geometry = frame.geometry();
        let columns = usize::from(geometry.columns).max(1);
        let mut shown = Frame::blank(geometry);
        for (place, cell) in self.cells(frame).into_iter().enumerate() {
            let scalar = match cell {
                Cell::Rom(code) => self.scalar(code),
                Cell::Custom(index) => GLYPHS.get(index).map_or(' ', |glyph| glyph.scalar),
            };
            shown.set(place / columns, place % columns, scalar);
        }
        shown
    }

    /// Returns the dots of a scalar as displayed with this ROM: eight rows of five, the leftmost in
    /// bit 4.
    pub fn dots(self, scalar: char) -> [u8; 8] {
        self.cell_dots(self.cell(scalar))
    }

    /// Returns the dots of a cell, like [`Charset::dots`].
    pub fn cell_dots(self, cell: Cell) -> [u8; 8] {
        match cell {
            Cell::Rom(code) => rom_glyph(self, code),
            Cell::Custom(index) => GLYPHS.get(index).map_or([0; 8], |glyph| glyph.rows),
        }
    }
}

/// Codes of ROM A00 beyond ASCII, and its differences from ASCII.
const A00_SPECIAL: &[(char, u8)] = &[
    ('¥', 0x5c),
    ('→', 0x7e),
    ('←', 0x7f),
    ('·', 0xa5),
    ('α', 0xe0),
    ('ä', 0xe1),
    ('ß', 0xe2),
    ('ε', 0xe3),
    ('µ', 0xe4),
    ('μ', 0xe4),
    ('σ', 0xe5),
    ('ρ', 0xe6),
    ('√', 0xe8),
    ('¢', 0xec),
    ('ñ', 0xee),
    ('ö', 0xef),
    ('θ', 0xf2),
    ('∞', 0xf3),
    ('Ω', 0xf4),
    ('ü', 0xf5),
    ('Σ', 0xf6),
    ('π', 0xf7),
    ('÷', 0xfd),
    ('°', 0xdf),
    ('█', 0xff),
];

/// Codes of ROM A02 beyond ASCII and the upper half of Latin-1.
const A02_SPECIAL: &[(char, u8)] = &[
    ('“', 0x12),
    ('”', 0x13),
    ('●', 0x16),
    ('↑', 0x18),
    ('↓', 0x19),
    ('→', 0x1a),
    ('←', 0x1b),
    ('≤', 0x1c),
    ('≥', 0x1d),
    ('⌂', 0x7f),
    ('¡', 0xa1),
    ('¢', 0xa2),
    ('£', 0xa3),
    ('¥', 0xa5),
    ('¦', 0xa6),
    ('§', 0xa7),
    ('«', 0xab),
    ('°', 0xb0),
    ('±', 0xb1),
    ('²', 0xb2),
    ('³', 0xb3),
    ('µ', 0xb5),
    ('μ', 0xb5),
    ('·', 0xb7),
    ('¹', 0xb9),
    ('»', 0xbb),
    ('¿', 0xbf),
];

#[cfg(test)]
mod tests;
