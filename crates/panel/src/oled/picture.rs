//! Renders characters into the controller's memory. Pure.
//!
//! A cell has 8 by 16 pixels: the font's eight rows are doubled, and so are the outer two of its
//! five columns, which hold the stems of most letters. So strokes are mostly two pixels wide both
//! ways, and the fifteen characters of the longest IPv4 address fill 120 of 128 pixels: a larger
//! font would not fit (docs/decisions/oled.md).

use crate::charset::{Charset, GLYPHS};
use crate::{Frame, Geometry};

/// Pixels per row, and columns per memory page.
pub const WIDTH: usize = 128;
/// Pixel rows per memory byte, the topmost in bit 0.
pub const PAGE_ROWS: usize = 8;

const CELL_WIDTH: usize = 8;
const CELL_HEIGHT: usize = 16;

/// The font column for each column of a cell; the eighth is blank.
const COLUMNS: [u32; CELL_WIDTH - 1] = [0, 0, 1, 2, 3, 4, 4];

/// The size of a display in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resolution {
    /// 0.91 inches.
    P128x32,
    /// 0.96 or 1.3 inches.
    P128x64,
}

impl Resolution {
    /// All known sizes.
    pub const ALL: [Self; 2] = [Self::P128x32, Self::P128x64];

    /// Returns the number of pixel rows.
    pub const fn height(self) -> usize {
        match self {
            Self::P128x32 => 32,
            Self::P128x64 => 64,
        }
    }

    /// Returns the number of memory bytes that are visible.
    pub const fn bytes(self) -> usize {
        WIDTH * self.height() / PAGE_ROWS
    }

    /// Returns the name in the settings: "128x64".
    pub const fn name(self) -> &'static str {
        match self {
            Self::P128x32 => "128x32",
            Self::P128x64 => "128x64",
        }
    }

    /// Returns the resolution with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|resolution| resolution.name() == name)
    }

    /// Returns the size in characters.
    pub const fn geometry(self) -> Geometry {
        match self {
            Self::P128x32 => Geometry { columns: 16, rows: 2 },
            Self::P128x64 => Geometry { columns: 16, rows: 4 },
        }
    }
}

/// Offset of the whole picture to the right and down, 0 or 1 pixel each, so that the same pixels
/// are not lit for years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shift {
    pub right: usize,
    pub down: usize,
}

impl Shift {
    /// The four positions, each a pixel from the previous one.
    pub const TURNS: [Self; 4] = [
        Self { right: 0, down: 0 },
        Self { right: 1, down: 0 },
        Self { right: 1, down: 1 },
        Self { right: 0, down: 1 },
    ];
}

/// Returns a glyph's columns in a cell, the topmost pixel in bit 0.
pub fn pattern(dots: [u8; 8]) -> [u16; CELL_WIDTH] {
    let mut columns = [0; CELL_WIDTH];
    for (column, dot) in columns.iter_mut().zip(COLUMNS) {
        for (row, dots) in dots.into_iter().enumerate() {
            if dots >> (4 - dot) & 1 == 1 {
                *column |= 0b11 << (2 * row);
            }
        }
    }
    columns
}

/// Returns the memory for `frame`, page by page, 128 bytes each. Pixels shifted below the last row
/// are cut off.
pub fn draw(frame: &Frame, charset: Charset, resolution: Resolution, shift: Shift) -> Vec<u8> {
    let mut memory = vec![0; resolution.bytes()];
    let columns = usize::from(frame.geometry().columns).max(1);
    for (place, cell) in charset.cells(frame).into_iter().enumerate() {
        let left = place % columns * CELL_WIDTH + shift.right;
        let first_page = place / columns * (CELL_HEIGHT / PAGE_ROWS);
        for (offset, pixels) in pattern(charset.cell_dots(cell)).into_iter().enumerate() {
            if left + offset >= WIDTH {
                continue;
            }
            let moved = u32::from(pixels) << shift.down;
            for (page, byte) in moved.to_le_bytes().into_iter().enumerate() {
                if let Some(held) = memory.get_mut((first_page + page) * WIDTH + left + offset) {
                    *held |= byte;
                }
            }
        }
    }
    memory
}

/// A character and its glyph's columns.
type Known = (char, [u16; CELL_WIDTH]);

/// Returns the visible text: in each cell the character of its glyph, `\u{fffd}` if unknown, at the
/// shift that fits best. `lit` returns whether the pixel at (x, y) is on.
pub fn read(lit: impl Fn(usize, usize) -> bool, charset: Charset, resolution: Resolution) -> Frame {
    // Our own glyphs come before ROM characters that look like them.
    let ours = GLYPHS.iter().map(|glyph| glyph.scalar);
    let all = (' '..='~').chain(ours).chain('\u{80}'..='\u{ff}');
    // Skip characters that are displayed as another one.
    let own = all.filter(|scalar| {
        let frame = Frame::from_lines(resolution.geometry(), &[scalar.to_string()]);
        charset.shown(&frame) == frame
    });
    let known: Vec<Known> = own.map(|scalar| (scalar, pattern(charset.dots(scalar)))).collect();
    let read = Shift::TURNS.map(|shift| read_at(&lit, &known, resolution, shift));
    let unknown =
        |frame: &Frame| frame.lines().concat().matches(char::REPLACEMENT_CHARACTER).count();
    let best = read.into_iter().min_by_key(unknown);
    best.unwrap_or_else(|| Frame::blank(resolution.geometry()))
}

fn read_at(
    lit: &impl Fn(usize, usize) -> bool,
    known: &[Known],
    resolution: Resolution,
    shift: Shift,
) -> Frame {
    let mut frame = Frame::blank(resolution.geometry());
    let Geometry { columns, rows } = frame.geometry();
    let (columns, rows) = (usize::from(columns), usize::from(rows));
    for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
        let mut seen = [0_u16; CELL_WIDTH];
        let mut mask = 0_u16;
        for y in 0..CELL_HEIGHT {
            let down = row * CELL_HEIGHT + y + shift.down;
            if down >= resolution.height() {
                continue;
            }
            mask |= 1 << y;
            for (x, seen) in seen.iter_mut().enumerate() {
                let right = column * CELL_WIDTH + x + shift.right;
                *seen |= u16::from(right < WIDTH && lit(right, down)) << y;
            }
        }
        let alike = |pattern: &[u16; CELL_WIDTH]| {
            pattern.iter().zip(seen).all(|(known, seen)| known & mask == seen)
        };
        let found = known.iter().find(|(_, pattern)| alike(pattern));
        frame.set(row, column, found.map_or(char::REPLACEMENT_CHARACTER, |(scalar, _)| *scalar));
    }
    frame
}
