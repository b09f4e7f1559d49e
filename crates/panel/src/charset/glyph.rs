//! Our custom glyphs for the eight slots of CGRAM.

/// A custom glyph: its scalar in a frame, its dots, and the replacement when no slot is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Glyph {
    pub scalar: char,
    /// Eight rows of five dots, the leftmost in bit 4.
    pub rows: [u8; 8],
    /// An ASCII character.
    pub fallback: char,
}

const fn glyph(scalar: char, fallback: char, rows: [u8; 8]) -> Glyph {
    Glyph { scalar, rows, fallback }
}

/// All custom glyphs. The first eight are loaded into CGRAM initially.
pub const GLYPHS: &[Glyph] = &[
    glyph('♥', '*', [0b00000, 0b01010, 0b11111, 0b11111, 0b11111, 0b01110, 0b00100, 0b00000]),
    glyph('↑', '^', [0b00100, 0b01110, 0b10101, 0b00100, 0b00100, 0b00100, 0b00100, 0b00000]),
    glyph('↓', 'v', [0b00100, 0b00100, 0b00100, 0b00100, 0b10101, 0b01110, 0b00100, 0b00000]),
    glyph('⇄', '=', [0b00100, 0b00010, 0b11111, 0b00000, 0b11111, 0b01000, 0b00100, 0b00000]),
    glyph('✓', '+', [0b00000, 0b00001, 0b00011, 0b10110, 0b11100, 0b01000, 0b00000, 0b00000]),
    glyph('✗', 'x', [0b00000, 0b10001, 0b01010, 0b00100, 0b01010, 0b10001, 0b00000, 0b00000]),
    glyph('⚿', '#', [0b01110, 0b10001, 0b10001, 0b11111, 0b11011, 0b11011, 0b11111, 0b00000]),
    glyph('⚠', '!', [0b00100, 0b00100, 0b01110, 0b01010, 0b11011, 0b11111, 0b11011, 0b11111]),
    glyph('♡', ' ', [0b00000, 0b01010, 0b10101, 0b10001, 0b10001, 0b01010, 0b00100, 0b00000]),
    glyph('●', 'o', [0b00000, 0b01110, 0b11111, 0b11111, 0b11111, 0b01110, 0b00000, 0b00000]),
    glyph('○', '.', [0b00000, 0b01110, 0b10001, 0b10001, 0b10001, 0b01110, 0b00000, 0b00000]),
    glyph('◐', '%', [0b00000, 0b01110, 0b11101, 0b11101, 0b11101, 0b01110, 0b00000, 0b00000]),
    glyph('△', '^', [0b00000, 0b00100, 0b00100, 0b01010, 0b01010, 0b11111, 0b00000, 0b00000]),
    glyph('⚒', 'm', [0b00000, 0b11110, 0b11110, 0b00100, 0b00100, 0b00100, 0b00100, 0b00000]),
    glyph('⌂', '^', [0b00100, 0b01110, 0b11111, 0b01110, 0b01010, 0b01010, 0b00000, 0b00000]),
    glyph('⚡', '!', [0b00010, 0b00100, 0b01000, 0b11111, 0b00010, 0b00100, 0b01000, 0b00000]),
    glyph('▁', '_', [0, 0, 0, 0, 0, 0, 0, 0b11111]),
    glyph('▂', '_', [0, 0, 0, 0, 0, 0, 0b11111, 0b11111]),
    glyph('▃', '_', [0, 0, 0, 0, 0, 0b11111, 0b11111, 0b11111]),
    glyph('▄', '-', [0, 0, 0, 0, 0b11111, 0b11111, 0b11111, 0b11111]),
    glyph('▅', '-', [0, 0, 0, 0b11111, 0b11111, 0b11111, 0b11111, 0b11111]),
    glyph('▆', '=', [0, 0, 0b11111, 0b11111, 0b11111, 0b11111, 0b11111, 0b11111]),
    glyph('▇', '=', [0, 0b11111, 0b11111, 0b11111, 0b11111, 0b11111, 0b11111, 0b11111]),
    glyph('█', '#', [0b11111; 8]),
    glyph('\\', '/', [0b00000, 0b10000, 0b01000, 0b00100, 0b00010, 0b00001, 0b00000, 0b00000]),
    glyph('~', '-', [0b00000, 0b00000, 0b00000, 0b01000, 0b10101, 0b00010, 0b00000, 0b00000]),
];

/// Returns the glyph of a scalar.
pub fn glyph_of(scalar: char) -> Option<&'static Glyph> {
    GLYPHS.iter().find(|glyph| glyph.scalar == scalar)
}

/// Returns the glyph's index in [`GLYPHS`].
pub fn index_of(scalar: char) -> Option<usize> {
    GLYPHS.iter().position(|glyph| glyph.scalar == scalar)
}
