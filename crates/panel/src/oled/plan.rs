//! Computes the cheapest update from the controller's current memory to the wanted one, in page
//! addressing, which all controllers of this kind support. Pure.
//!
//! A run of bytes in a page costs on the bus: address and control byte of the commands, the
//! commands (page 1 byte, column 2; SSD1306 datasheet, table 9-1), address and control byte of the
//! data, and the data. The page command is omitted if only the column changes. So rewriting up to
//! six unchanged bytes costs no more than another run.

use super::picture::WIDTH;

/// Overhead of another run on the same page, in bytes including addresses.
const RUN_OVERHEAD: usize = 6;
/// The longest gap to rewrite: at equal cost it saves a transfer.
const MAX_GAP: usize = RUN_OVERHEAD;

/// Consecutive bytes in one page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Page index: eight pixel rows, counted from the top.
    pub page: usize,
    pub column: usize,
    pub data: Vec<u8>,
}

/// Returns the runs that update `held` to `wanted`, and updates `held`. `None` in `held` means
/// unknown.
pub fn plan(held: &mut [Option<u8>], wanted: &[u8]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (place, value) in wanted.iter().enumerate() {
        let Some(cell) = held.get_mut(place) else { continue };
        if cell.replace(*value) == Some(*value) {
            continue;
        }
        let (page, column) = (place / WIDTH, place % WIDTH);
        let near = runs
            .last_mut()
            .filter(|run| run.page == page && column - (run.column + run.data.len()) <= MAX_GAP);
        match near {
            Some(run) => {
                let from = page * WIDTH + run.column + run.data.len();
                run.data.extend(wanted.get(from..=place).unwrap_or_default());
            }
            None => runs.push(Run { page, column, data: vec![*value] }),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Returns the bytes on the bus for `runs`, including addresses: [`RUN_OVERHEAD`] each, one
    /// more per change of page, and the data.
    fn cost(runs: &[Run]) -> usize {
        let mut page = None;
        let mut bytes = 0;
        for run in runs {
            bytes += RUN_OVERHEAD
                + usize::from(page.replace(run.page) != Some(run.page))
                + run.data.len();
        }
        bytes
    }

    /// Returns the minimum for one page, by dynamic programming: each byte extends the current run
    /// or starts another.
    fn least(changed: &[bool]) -> usize {
        // (minimum with a run that ends at this byte, minimum without)
        let (mut within, mut without) = (usize::MAX / 2, 0);
        for changed in changed {
            let written = (within + 1).min(without + RUN_OVERHEAD + 1);
            without = if *changed { usize::MAX / 2 } else { within.min(without) };
            within = written;
        }
        let bytes = within.min(without);
        bytes + usize::from(bytes > 0)
    }

    proptest! {
        #[test]
        fn no_cheaper_plan_exists(
            changed in proptest::collection::vec(proptest::bool::weighted(0.2), 4 * WIDTH),
        ) {
            let mut held = vec![Some(0); changed.len()];
            let wanted: Vec<u8> = changed.iter().map(|changed| u8::from(*changed)).collect();
            let runs = plan(&mut held, &wanted);
            let least: usize = changed.chunks(WIDTH).map(least).sum();
            prop_assert_eq!(cost(&runs), least);
            let mut memory = vec![0; changed.len()];
            for run in &runs {
                prop_assert!(run.column + run.data.len() <= WIDTH);
                let from = run.page * WIDTH + run.column;
                memory[from..from + run.data.len()].copy_from_slice(&run.data);
            }
            prop_assert_eq!(&memory, &wanted);
            prop_assert_eq!(held, wanted.into_iter().map(Some).collect::<Vec<_>>());
        }
    }

    #[test]
    fn unknown_cells_are_written_and_known_ones_are_not() {
        let mut held = vec![None; 2 * WIDTH];
        let wanted = vec![0; 2 * WIDTH];
        let runs = plan(&mut held, &wanted);
        assert_eq!(runs.iter().map(|run| run.data.len()).collect::<Vec<_>>(), [WIDTH, WIDTH]);
        assert_eq!(cost(&runs), 2 * (7 + WIDTH));
        assert_eq!(plan(&mut held, &wanted), []);
    }
}
