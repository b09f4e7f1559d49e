//! The layout of a display: cells for the address, and slots for pages.

use crate::panel::{Frame, Geometry};

/// Columns from which a row holds two topics side by side.
const WIDE: usize = 40;

/// A place for one line, in cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    pub row: usize,
    pub column: usize,
    pub width: usize,
}

/// Returns the usable width of each row: the heartbeat takes the last cell of the last row.
pub fn widths(geometry: Geometry) -> Vec<usize> {
    let (columns, rows) = (usize::from(geometry.columns), usize::from(geometry.rows));
    (1..=rows).map(|row| if row == rows { columns.saturating_sub(1) } else { columns }).collect()
}

/// Returns the slots below the first `first_row` rows.
pub fn slots(geometry: Geometry, first_row: usize) -> Vec<Slot> {
    let rows = widths(geometry).into_iter().enumerate().skip(first_row);
    rows.flat_map(|(row, width)| {
        if width + 1 < WIDE {
            return vec![Slot { row, column: 0, width }];
        }
        let half = WIDE / 2;
        vec![
            Slot { row, column: 0, width: half - 1 },
            Slot { row, column: half, width: width - half },
        ]
    })
    .collect()
}

/// Writes lines into slots.
pub fn place(frame: &mut Frame, slots: &[Slot], lines: &[String]) {
    for (slot, line) in slots.iter().zip(lines) {
        frame.write(slot.row, slot.column, line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_slot_contains_the_heartbeats_cell() {
        for geometry in Geometry::ALL {
            let last = (usize::from(geometry.rows) - 1, usize::from(geometry.columns) - 1);
            for slot in slots(geometry, 0) {
                let cells = slot.column..slot.column + slot.width;
                assert!(slot.row != last.0 || !cells.contains(&last.1), "{geometry}");
            }
        }
        assert_eq!(slots(Geometry { columns: 40, rows: 2 }, 1).len(), 2);
    }
}
