//! A limit on connections, shared fairly: when it is reached, the peer with the most loses one.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use crate::lock::lock;

/// The open connections, by peer and number, the oldest first.
#[derive(Debug, Default)]
struct Open {
    by_peer: HashMap<IpAddr, BTreeMap<u64, Arc<Notify>>>,
    total: usize,
    /// The number of the newest connection.
    last: u64,
}

/// The limit.
#[derive(Debug, Clone)]
pub struct Guests {
    open: Arc<Mutex<Open>>,
    limit: usize,
}

/// An admitted connection, which counts until this is dropped.
#[derive(Debug)]
pub struct Guest {
    guests: Guests,
    peer: IpAddr,
    number: u64,
    evicted: Arc<Notify>,
}

impl Guests {
    /// Returns a limit of so many connections.
    pub fn new(limit: usize) -> Self {
        Self { open: Arc::default(), limit }
    }

    /// Admits a connection. At the limit, evicts the oldest connection of the peer with the most: a
    /// flood evicts its own connections, and other peers are admitted at once.
    pub fn admit(&self, address: IpAddr) -> Guest {
        let (peer, evicted) = (network(address), Arc::new(Notify::new()));
        let mut open = lock(&self.open);
        if open.total >= self.limit {
            let most = open.by_peer.iter().max_by_key(|(_, own)| own.len()).map(|(peer, _)| *peer);
            if let Some((_, oldest)) =
                most.and_then(|peer| open.by_peer.get_mut(&peer)?.pop_first())
            {
                open.total -= 1;
                oldest.notify_one();
            }
        }
        open.total += 1;
        open.last += 1;
        let number = open.last;
        open.by_peer.entry(peer).or_default().insert(number, Arc::clone(&evicted));
        drop(open);
        Guest { guests: self.clone(), peer, number, evicted }
    }
}

impl Guest {
    /// Waits until the connection is evicted.
    pub async fn evicted(&self) {
        self.evicted.notified().await;
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut open = lock(&self.guests.open);
        let Some(own) = open.by_peer.get_mut(&self.peer) else { return };
        // Eviction has removed it already.
        let counted = own.remove(&self.number).is_some();
        let empty = own.is_empty();
        open.total -= usize::from(counted);
        if empty {
            open.by_peer.remove(&self.peer);
        }
    }
}

/// Returns what counts as one peer: an IPv4 address, or the /64 of an IPv6 address, since one
/// computer can use all addresses of it (RFC 4291, section 2.5.1).
pub fn network(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
        four @ IpAddr::V4(_) => four,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(guest: &Guest) -> bool {
        use futures_util::FutureExt;
        guest.evicted().now_or_never().is_some()
    }

    #[test]
    fn the_peer_with_the_most_connections_loses_its_oldest() {
        let guests = Guests::new(4);
        let greedy: Vec<Guest> = (0..3).map(|_| guests.admit([10, 0, 0, 1].into())).collect();
        let modest = guests.admit([10, 0, 0, 2].into());
        assert!(!greedy.iter().any(left));
        let third = guests.admit([10, 0, 0, 3].into());
        assert_eq!(greedy.iter().map(left).collect::<Vec<_>>(), [true, false, false]);
        let more = guests.admit([10, 0, 0, 1].into());
        assert_eq!(greedy.iter().skip(1).map(left).collect::<Vec<_>>(), [true, false]);
        assert!(!left(&modest) && !left(&third) && !left(&more));
        drop((greedy, modest, third, more));
        assert_eq!(lock(&guests.open).total, 0);
        assert!(lock(&guests.open).by_peer.is_empty());
    }

    #[test]
    fn ipv6_addresses_of_one_network_are_one_peer() {
        let address = |text: &str| network(text.parse().unwrap());
        assert_eq!(address("2001:db8::1"), address("2001:db8::ffff:1"));
        assert_ne!(address("2001:db8::1"), address("2001:db8:0:1::1"));
        assert_eq!(address("::ffff:10.0.0.1"), address("10.0.0.1"));
        assert_ne!(address("10.0.0.1"), address("10.0.0.2"));
    }
}
