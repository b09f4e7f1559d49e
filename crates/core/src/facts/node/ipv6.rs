//! The IPv6 addresses that boards make for themselves in the nodes' network (RFC 4862), as the
//! kernel hears them. Who a board is does not hang on them: it is known by its hardware address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;

use crate::event::Mac;

/// A board has one for good, and temporary ones beside (RFC 8981 3.8: seven of a week).
const MOST_OF_A_BOARD: usize = 8;
/// Ten thousand nodes have no more; a sender with ever other addresses stops there.
const MOST: usize = 1 << 15;

/// All of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Ipv6Addresses {
    at: BTreeMap<Ipv6Addr, Mac>,
    of: BTreeMap<Mac, BTreeSet<Ipv6Addr>>,
}

impl Ipv6Addresses {
    /// Takes in who answers at an address; `None`: no board does. Returns whether that is news.
    pub fn take(&mut self, address: Ipv6Addr, mac: Option<Mac>) -> bool {
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

    /// Returns the addresses of a board, smallest first.
    pub fn of(&self, mac: Mac) -> impl Iterator<Item = Ipv6Addr> + '_ {
        self.of.get(&mac).into_iter().flatten().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// What is kept of boards is what is kept of addresses, within its bounds; and news is what
        /// changes an answer.
        #[test]
        fn both_ways_agree(heard in prop::collection::vec((0..24_u128, prop::option::of(0..3_u8)), 0..200)) {
            let mut known = Ipv6Addresses::default();
            for (address, board) in heard {
                let mac = board.map(|board| Mac([2, 0, 0, 0, 0, board]));
                let before = known.at.clone();
                let news = known.take(Ipv6Addr::from(address), mac);
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
