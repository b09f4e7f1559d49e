//! Connection marks for forwarded ports, one per uplink. The source of a node's reply is its own
//! address, which does not show by which uplink the connection came in.

use std::collections::BTreeMap;

use crate::event::LinkIndex;
use crate::facts::Facts;

/// Bits of packet and connection marks that hold an uplink's mark. Disjoint from
/// [`crate::decide::MARK_CLUSTER`] and [`crate::decide::MARK_ELSEWHERE`].
pub const MARK_ENTRANCE: u32 = 0xed00_0000;

/// Set in each uplink's mark, and in no known mark of another program.
const MARK_FLAG: u32 = 0x8000_0000;
/// The remaining bits, which number the uplinks.
const NUMBER_BITS: [u32; 5] = [0x0100_0000, 0x0400_0000, 0x0800_0000, 0x2000_0000, 0x4000_0000];
const MAX_MARKS: u32 = 1 << NUMBER_BITS.len();

/// Returns the mark of each uplink. Empty if none is needed: no port is forwarded, or there is one
/// uplink and all traffic leaves by it.
pub fn marks(facts: &Facts) -> BTreeMap<LinkIndex, u32> {
    let uplinks = &facts.roles().uplinks;
    let egress = facts.routing().egress().flatten();
    let leaves_elsewhere = egress.is_some_and(|egress| !uplinks.contains(&egress));
    if facts.settings().forwards.is_empty() || uplinks.len() < 2 && !leaves_elsewhere {
        return BTreeMap::new();
    }
    assign(uplinks.iter().copied())
}

/// Derives each uplink's mark from its interface index, so that it stays the same when others come
/// and go, except where two indices differ by a multiple of [`MAX_MARKS`]. Beyond [`MAX_MARKS`]
/// uplinks the last have none.
fn assign(uplinks: impl Iterator<Item = LinkIndex>) -> BTreeMap<LinkIndex, u32> {
    let mut sorted: Vec<LinkIndex> = uplinks.collect();
    sorted.sort_unstable();
    let mut taken = [false; MAX_MARKS as usize];
    let mut marks = BTreeMap::new();
    for index in sorted {
        let free = (0..MAX_MARKS).map(|step| (index % MAX_MARKS + step) % MAX_MARKS).find(|slot| {
            let place = taken.get_mut(*slot as usize);
            place.is_some_and(|taken| !std::mem::replace(taken, true))
        });
        if let Some(slot) = free {
            marks.insert(index, mark(slot));
        }
    }
    marks
}

/// Returns the mark for this slot.
fn mark(slot: u32) -> u32 {
    let bits = NUMBER_BITS.iter().enumerate().filter(|(place, _)| slot >> place & 1 == 1);
    bits.fold(MARK_FLAG, |mark, (_, bit)| mark | bit)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::decide::{MARK_CLUSTER, MARK_ELSEWHERE};

    #[test]
    fn marks_are_distinct_stable_and_disjoint_from_other_programs() {
        let all = assign(1..=40);
        assert_eq!(all.len(), MAX_MARKS as usize, "more than that are answered as before");
        assert_eq!(BTreeSet::from_iter(all.values()).len(), all.len());
        for mark in all.values() {
            assert_eq!((mark & !MARK_ENTRANCE, mark & (MARK_CLUSTER | MARK_ELSEWHERE)), (0, 0));
            // Mullvad, wg-quick, Tailscale, Kubernetes, mwan3
            for others in [0x6d6f_6c65, 51820, 0x00ff_0000, 0xc000, 0x3f00] {
                assert_ne!(others & MARK_ENTRANCE, *mark);
            }
        }
        let two = assign([3, 4].into_iter());
        assert_eq!(
            assign([2, 3, 4, 9].into_iter()).get(&4),
            two.get(&4),
            "whichever port comes or goes"
        );
        assert_eq!(assign([4, 36].into_iter()).values().collect::<BTreeSet<_>>().len(), 2);
    }
}
