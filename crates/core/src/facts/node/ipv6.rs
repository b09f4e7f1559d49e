//! The IPv6 addresses that boards form in the nodes' network (RFC 4862), from the kernel's
//! neighbour table. They do not affect the identity of a board, which is its hardware address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;

use crate::event::Mac;

/// Limit per board: in each of two networks (the nodes' own, and one that the venue delegated) one
/// stable address, and the temporary ones of a week (RFC 8981 3.8: seven).
const MOST_OF_A_BOARD: usize = 16;
/// Limit in total, more than ten thousand nodes need, against a flood of spoofed addresses.
const MOST: usize = 1 << 15;

/// The addresses, indexed both ways.
#[derive(Debug, Clone, Default)]
pub(super) struct Ipv6Addresses {
    at: BTreeMap<Ipv6Addr, Mac>,
    of: BTreeMap<Mac, BTreeSet<Ipv6Addr>>,
}

impl Ipv6Addresses {
    /// Sets the board at an address; `None` removes the entry. Returns whether anything changed.
    pub fn set(&mut self, address: Ipv6Addr, mac: Option<Mac>) -> bool {
        let before = self.at.get(&address).copied();
        if before == mac {
            return false;
        }
        if let Some(before) = before {
            self.at.remove(&address);
            let held = self.of.get_mut(&before);
            if held.is_some_and(|held| held.remove(&address) && held.is_empty()) {
                self.of.remove(&before);
            }
        }
        let room = |mac: &Mac| {
            self.at.len() < MOST && self.of.get(mac).is_none_or(|held| held.len() < MOST_OF_A_BOARD)
        };
        let Some(mac) = mac.filter(room) else { return before.is_some() };
        self.at.insert(address, mac);
        self.of.entry(mac).or_default().insert(address);
        true
    }

    /// Returns the addresses of a board, each kind in ascending order: unique local ones first, as
    /// they outlive the venue.
    pub fn of(&self, mac: Mac) -> impl Iterator<Item = Ipv6Addr> + '_ {
        let held = self.of.get(&mac).into_iter().flatten().copied();
        let others = held.clone().filter(|address| !address.is_unique_local());
        held.filter(Ipv6Addr::is_unique_local).chain(others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Both indexes agree and are bounded, and a change is returned exactly when one occurs.
        #[test]
        fn both_ways_agree(heard in prop::collection::vec((0..24_u128, prop::option::of(0..3_u8)), 0..200)) {
            let mut known = Ipv6Addresses::default();
            for (address, board) in heard {
                let mac = board.map(|board| Mac([2, 0, 0, 0, 0, board]));
                let before = known.at.clone();
                let news = known.set(Ipv6Addr::from(address), mac);
                prop_assert_eq!(news, known.at != before);
                let by_board: BTreeMap<Ipv6Addr, Mac> = known
                    .of
                    .iter()
                    .flat_map(|(mac, held)| held.iter().map(|address| (*address, *mac)))
                    .collect();
                prop_assert_eq!(&by_board, &known.at);
                prop_assert!(known.of.values().all(|held| (1..=MOST_OF_A_BOARD).contains(&held.len())));
            }
        }
    }
}
