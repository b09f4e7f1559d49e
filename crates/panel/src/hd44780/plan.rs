//! Computes the cheapest update from the controller's current memory to the wanted one. Pure.
//!
//! Both memories are rings: the address counter increments after each write and wraps around.
//! Writing a cell costs 4 bytes on the bus; setting the address costs 4 and two changes of RS, one
//! byte each. So one unchanged cell between two changed ones is cheaper to rewrite (4) than to skip
//! (6); two are not (8). Moving leftwards gains nothing, and the order of the runs is free, so one
//! pass around the ring from the counter's position finds the minimum.

/// An instruction or a data byte for the controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// The upper nibble of an instruction alone, for initialisation (datasheet figure 24).
    Nibble(u8),
    /// An instruction (RS = 0).
    Command(u8),
    /// A byte for DDRAM or CGRAM (RS = 1).
    Data(u8),
}

impl Op {
    /// Returns the register select level.
    pub const fn rs(self) -> bool {
        matches!(self, Self::Data(_))
    }
}

/// One of the controller's memories, for the set-address instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// 64 bytes: eight glyphs of eight rows.
    Cgram,
    /// 80 characters in two lines of 40.
    Ddram,
}

impl Memory {
    /// Returns the instruction that sets the address counter to a cell.
    pub fn set_address(self, cell: usize) -> u8 {
        let cell = u8::try_from(cell).unwrap_or(0);
        match self {
            Self::Cgram => 0x40 | (cell & 0x3f),
            Self::Ddram if cell < 40 => 0x80 | cell,
            // The second line starts at 0x40.
            Self::Ddram => 0x80 | (cell + 0x18),
        }
    }
}

/// Appends the ops that update `held` to `wanted`, and updates `held`. `None` means unknown in
/// `held` and "don't care" in `wanted`. `at` is the cell of the address counter, `None` if unknown.
/// Returns its new cell.
pub fn plan(
    memory: Memory,
    held: &mut [Option<u8>],
    wanted: &[Option<u8>],
    at: Option<usize>,
    ops: &mut Vec<Op>,
) -> Option<usize> {
    let size = held.len().min(wanted.len()).max(1);
    let changed = |held: &[Option<u8>], cell: usize| match (held.get(cell), wanted.get(cell)) {
        (Some(held), Some(Some(wanted))) => *held != Some(*wanted),
        _ => false,
    };
    let mut at = at;
    let origin = at.unwrap_or_else(|| after_longest_gap(size, |cell| changed(held, cell)));
    for cell in (0..size).map(|step| (origin + step) % size) {
        if !changed(held, cell) {
            continue;
        }
        if at.map(|at| (at + 1) % size) == Some(cell) {
            let between = at.unwrap_or(0);
            let value = wanted
                .get(between)
                .copied()
                .flatten()
                .or_else(|| held.get(between).copied().flatten());
            write(held, between, value.unwrap_or(b' '), ops);
        } else if at != Some(cell) {
            ops.push(Op::Command(memory.set_address(cell)));
        }
        write(held, cell, wanted.get(cell).copied().flatten().unwrap_or(b' '), ops);
        at = Some((cell + 1) % size);
    }
    at
}

fn write(held: &mut [Option<u8>], cell: usize, value: u8, ops: &mut Vec<Op>) {
    ops.push(Op::Data(value));
    if let Some(held) = held.get_mut(cell) {
        *held = Some(value);
    }
}

/// Returns the changed cell after the longest run of unchanged ones, the best start of the pass.
fn after_longest_gap(size: usize, changed: impl Fn(usize) -> bool) -> usize {
    let gap =
        |cell: usize| (1..size).take_while(|back| !changed((cell + size - back) % size)).count();
    let candidates = (0..size).filter(|cell| changed(*cell));
    candidates.max_by_key(|cell| (gap(*cell), size - cell)).unwrap_or(0)
}

/// Returns the bytes on an expander's bus for `ops`: four each (two for a nibble), and one per
/// change of RS.
#[cfg(test)]
pub fn cost(ops: &[Op], rs: Option<bool>) -> usize {
    let mut rs = rs;
    let mut bytes = 0;
    for op in ops {
        if rs.replace(op.rs()) != Some(op.rs()) {
            bytes += 1;
        }
        bytes += if matches!(op, Op::Nibble(_)) { 2 } else { 4 };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    /// Returns the minimum number of bytes by exhaustive search (Dijkstra over counter, RS and the
    /// cells still to change).
    fn minimum(changed: &[bool], at: Option<usize>) -> usize {
        let size = changed.len();
        let all: u32 =
            changed.iter().enumerate().map(|(cell, changed)| u32::from(*changed) << cell).sum();
        let mut queue = BTreeSet::from([(0, at, true, all)]);
        let mut best = BTreeMap::new();
        while let Some((bytes, at, rs, left)) = queue.pop_first() {
            if left == 0 {
                return bytes;
            }
            if best.get(&(at, rs, left)).is_some_and(|known| *known <= bytes) {
                continue;
            }
            best.insert((at, rs, left), bytes);
            if let Some(cell) = at {
                queue.insert((
                    bytes + 4 + usize::from(!rs),
                    Some((cell + 1) % size),
                    true,
                    left & !(1 << cell),
                ));
            }
            for cell in 0..size {
                queue.insert((bytes + 4 + usize::from(rs), Some(cell), false, left));
            }
        }
        unreachable!()
    }

    fn planned(changed: &[bool], at: Option<usize>) -> Vec<Op> {
        let mut held: Vec<_> = changed.iter().map(|_| Some(b'a')).collect();
        let wanted: Vec<_> =
            changed.iter().map(|changed| Some(if *changed { b'b' } else { b'a' })).collect();
        let mut ops = Vec::new();
        plan(Memory::Ddram, &mut held, &wanted, at, &mut ops);
        assert_eq!(held, wanted);
        ops
    }

    #[test]
    fn every_pattern_of_eight_cells_costs_the_minimum() {
        for pattern in 0..256_u32 {
            let changed: Vec<bool> = (0..8).map(|cell| pattern >> cell & 1 == 1).collect();
            for at in (0..8).map(Some).chain([None]) {
                let bytes = cost(&planned(&changed, at), Some(true));
                assert_eq!(bytes, minimum(&changed, at), "{changed:?} from {at:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn larger_rings_cost_the_minimum(changed in proptest::collection::vec(any::<bool>(), 9..12), at in proptest::option::of(0..9_usize)) {
            prop_assert_eq!(cost(&planned(&changed, at), Some(true)), minimum(&changed, at));
        }
    }

    fn bytes_for(cells: impl IntoIterator<Item = usize>, at: Option<usize>) -> usize {
        let mut changed = [false; 80];
        for cell in cells {
            changed[cell] = true;
        }
        cost(&planned(&changed, at), Some(true))
    }

    #[test]
    fn the_figures_of_the_usual_panels() {
        assert_eq!(bytes_for((0..16).chain(40..56), Some(56)), 140, "16x2, all");
        assert_eq!(bytes_for(0..80, None), 326, "20x4, all");
        assert_eq!(bytes_for(0..80, Some(0)), 320, "20x4, all, the counter stands right");
        assert_eq!(bytes_for([4, 5], Some(56)), 14, "two neighbours");
        assert_eq!(bytes_for([4, 6], Some(56)), 18, "a gap of one is written again");
        assert_eq!(bytes_for([4, 7], Some(56)), 20, "a gap of two is jumped");
        assert_eq!(
            bytes_for([39, 40], Some(56)),
            14,
            "the counter runs from the first line to the second"
        );
        assert_eq!(bytes_for([], Some(0)), 0);
    }
}
