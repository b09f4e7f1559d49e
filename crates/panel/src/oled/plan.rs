//! The cheapest way from what the controller's memory holds to what it should hold, in page
//! addressing, which all controllers of this kind have. Pure.
//!
//! A run of bytes of one page costs on the bus: address and control byte of the commands, their
//! bytes (page 1, column 2; SSD1306 datasheet, table 9-1), address and control byte of the data,
//! and the data. The page stays when only the column changes. So it is cheaper to write
//! up to six unchanged bytes again than to begin another run behind them.

use super::picture::WIDTH;

/// Bytes on the bus, addresses included, for another run on the same page.
const RUN: usize = 6;
/// The longest gap that is written again; that long it costs the same and is one transfer less.
const BRIDGE: usize = RUN;

/// Bytes to be written one behind the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// eight rows of pixels, counted from the top
    pub page: usize,
    pub column: usize,
    pub data: Vec<u8>,
}

/// Returns the runs that turn `held` into `wanted`, and notes them in `held`. `None` in `held` is
/// not known.
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
            .filter(|run| run.page == page && column - (run.column + run.data.len()) <= BRIDGE);
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

    /// Returns the bytes on the bus for `runs`, addresses included: [`RUN`] each, one more for each
    /// page, and the data.
    fn cost(runs: &[Run]) -> usize {
        let mut page = None;
        let mut bytes = 0;
        for run in runs {
            bytes += RUN + usize::from(page.replace(run.page) != Some(run.page)) + run.data.len();
        }
        bytes
    }

    /// The least for one page, by trying for each byte to write it in the run before or to begin
    /// another one there.
    fn least(changed: &[bool]) -> usize {
        // (least cost with a run that ends at this byte, least cost with none)
        let (mut within, mut without) = (usize::MAX / 2, 0);
        for changed in changed {
            let written = (within + 1).min(without + RUN + 1);
            without = if *changed { usize::MAX / 2 } else { within.min(without) };
            within = written;
        }
        let bytes = within.min(without);
        bytes + usize::from(bytes > 0)
    }

    proptest! {
        #[test]
        fn nothing_cheaper_brings_the_bytes_there(
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
    fn what_is_not_known_is_written_and_what_stands_is_not() {
        let mut held = vec![None; 2 * WIDTH];
        let wanted = vec![0; 2 * WIDTH];
        let runs = plan(&mut held, &wanted);
        assert_eq!(runs.iter().map(|run| run.data.len()).collect::<Vec<_>>(), [WIDTH, WIDTH]);
        assert_eq!(cost(&runs), 2 * (7 + WIDTH));
        assert_eq!(plan(&mut held, &wanted), []);
    }
}
