//! The content of a character display.

use std::fmt;
use std::str::FromStr;

/// Columns and rows of a character display.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Geometry {
    pub columns: u8,
    pub rows: u8,
}

impl fmt::Display for Geometry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.columns, self.rows)
    }
}

impl Geometry {
    /// The sizes of HD44780 panels that are made and that the settings accept.
    pub const ALL: [Self; 7] = [
        Self { columns: 8, rows: 2 },
        Self { columns: 16, rows: 1 },
        Self { columns: 16, rows: 2 },
        Self { columns: 16, rows: 4 },
        Self { columns: 20, rows: 2 },
        Self { columns: 20, rows: 4 },
        Self { columns: 40, rows: 2 },
    ];
}

impl FromStr for Geometry {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|g| g.to_string() == text).ok_or(())
    }
}

/// The content of a display: exactly columns × rows Unicode scalars, including spaces.
///
/// A scalar that the character ROM lacks is shown as one of our custom glyphs (see
/// [`super::charset`]), or as the nearest legible one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Frame {
    geometry: Geometry,
    cells: Vec<char>,
}

impl Frame {
    /// Returns a blank frame.
    pub fn blank(geometry: Geometry) -> Self {
        Self {
            geometry,
            cells: vec![' '; usize::from(geometry.columns) * usize::from(geometry.rows)],
        }
    }

    /// Returns a frame with these rows; longer lines are truncated, missing cells are blank.
    pub fn from_lines<S: AsRef<str>>(geometry: Geometry, lines: &[S]) -> Self {
        let mut frame = Self::blank(geometry);
        for (row, line) in lines.iter().enumerate() {
            frame.write(row, 0, line.as_ref());
        }
        frame
    }

    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Writes `text` from (`row`, `column`) on, truncated at the end of the row.
    pub fn write(&mut self, row: usize, column: usize, text: &str) {
        let columns = usize::from(self.geometry.columns);
        let (begin, end) = (row * columns + column, row * columns + columns);
        let cells = self.cells.get_mut(begin..end.max(begin)).unwrap_or_default();
        cells.iter_mut().zip(text.chars()).for_each(|(cell, scalar)| *cell = scalar);
    }

    /// Sets one cell; has no effect outside the display.
    pub fn set(&mut self, row: usize, column: usize, scalar: char) {
        let columns = usize::from(self.geometry.columns);
        if column < columns {
            if let Some(cell) = self.cells.get_mut(row * columns + column) {
                *cell = scalar;
            }
        }
    }

    /// Returns the cell at (`row`, `column`); blank outside the display.
    pub fn get(&self, row: usize, column: usize) -> char {
        let columns = usize::from(self.geometry.columns);
        if column >= columns {
            ' '
        } else {
            self.cells.get(row * columns + column).copied().unwrap_or(' ')
        }
    }

    /// Returns each row as a string of exactly `columns` scalars.
    pub fn lines(&self) -> Vec<String> {
        self.cells
            .chunks(usize::from(self.geometry.columns).max(1))
            .map(|row| row.iter().collect())
            .collect()
    }
}
