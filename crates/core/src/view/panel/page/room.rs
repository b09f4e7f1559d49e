//! The room of a display: which cells the address has, which are left for pages, and how topics
//! share them.

use crate::panel::{Frame, Geometry};

use super::topic::Topic;

/// From this width on a row has room for two topics side by side.
const WIDE: usize = 40;

/// A place for one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    pub row: usize,
    pub column: usize,
    pub width: usize,
}

/// Cells of each row that may be written on; the heartbeat has the last one of the last row.
pub fn widths(geometry: Geometry) -> Vec<usize> {
    let (columns, rows) = (usize::from(geometry.columns), usize::from(geometry.rows));
    (1..=rows).map(|row| if row == rows { columns.saturating_sub(1) } else { columns }).collect()
}

/// The slots from `first_row` on.
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

/// The topics' lines on as many screens as they need; each screen has at most as many lines as
/// there are slots.
pub fn pack(topics: &[Topic], slots: &[Slot]) -> Vec<Vec<String>> {
    pack_placed(topics, slots).0
}

/// As [`pack`]; also returns the screen on which each topic begins.
pub fn pack_placed(topics: &[Topic], slots: &[Slot]) -> (Vec<Vec<String>>, Vec<usize>) {
    let mut screens: Vec<Vec<String>> = Vec::new();
    let mut firsts = Vec::with_capacity(topics.len());
    for topic in topics {
        let mut first = None;
        for group in topic.groups(slots) {
            match screens.last_mut() {
                Some(screen) if screen.len() + group.len() <= slots.len() => screen.extend(group),
                _ => screens.push(group),
            }
            first.get_or_insert(screens.len() - 1);
        }
        firsts.push(first.unwrap_or(0));
    }
    (screens, firsts)
}

/// Puts lines into slots.
pub fn place(frame: &mut Frame, slots: &[Slot], lines: &[String]) {
    for (slot, line) in slots.iter().zip(lines) {
        frame.write(slot.row, slot.column, line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heartbeats_cell_belongs_to_no_slot() {
        for geometry in Geometry::ALL {
            let last = (usize::from(geometry.rows) - 1, usize::from(geometry.columns) - 1);
            for slot in slots(geometry, 0) {
                let cells = slot.column..slot.column + slot.width;
                assert!(slot.row != last.0 || !cells.contains(&last.1), "{geometry}");
            }
        }
        assert_eq!(slots(Geometry { columns: 40, rows: 2 }, 1).len(), 2);
    }

    #[test]
    fn what_belongs_together_is_not_torn_apart() {
        let topics = [
            Topic::Text("one".into()),
            Topic::Text("two".into()),
            Topic::Address { port: "wlan0".into(), address: "192.168.178.123".into() },
        ];
        let screens = pack(&topics, &slots(Geometry { columns: 16, rows: 4 }, 1));
        assert_eq!(screens, [vec!["one", "two"], vec!["wlan0:", "192.168.178.123"]]);
    }
}
