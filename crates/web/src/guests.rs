//! Places for connections, shared fairly: when all are taken, who has most gives one up.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// One place of each who is connected, by where from and number; the oldest first.
#[derive(Debug, Default)]
struct Taken {
    by: HashMap<IpAddr, BTreeMap<u64, Arc<Notify>>>,
    total: usize,
    /// number of the last guest
    last: u64,
}

/// The places.
#[derive(Debug, Clone)]
pub struct Guests {
    taken: Arc<Mutex<Taken>>,
    most: usize,
}

/// Somebody who has a place until this is dropped.
#[derive(Debug)]
pub struct Guest {
    guests: Guests,
    from: IpAddr,
    number: u64,
    leave: Arc<Notify>,
}

impl Guests {
    /// Returns so many free places.
    pub fn new(most: usize) -> Self {
        Self { taken: Arc::default(), most }
    }

    /// Gives a place. Where there is none, the oldest guest of who has most has to leave: a flood
    /// drives out its own connections, and others find a place at once.
    pub fn admit(&self, from: IpAddr) -> Guest {
        let (from, leave) = (network(from), Arc::new(Notify::new()));
        let mut taken = self.lock();
        if taken.total >= self.most {
            let most = taken.by.iter().max_by_key(|(_, own)| own.len()).map(|(from, _)| *from);
            if let Some((_, oldest)) = most.and_then(|most| taken.by.get_mut(&most)?.pop_first()) {
                taken.total -= 1;
                oldest.notify_one();
            }
        }
        taken.total += 1;
        taken.last += 1;
        let number = taken.last;
        taken.by.entry(from).or_default().insert(number, Arc::clone(&leave));
        drop(taken);
        Guest { guests: self.clone(), from, number, leave }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        // Nothing is done under the lock that could leave it half made.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guest {
    /// Waits until the place is needed by somebody else.
    pub async fn must_leave(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut taken = self.guests.lock();
        let Some(own) = taken.by.get_mut(&self.from) else { return };
        // Who had to leave has given up its place already.
        let had = own.remove(&self.number).is_some();
        let empty = own.is_empty();
        taken.total -= usize::from(had);
        if empty {
            taken.by.remove(&self.from);
        }
    }
}

/// Returns what counts as one peer: an IPv4 address, or the /64 of an IPv6 one, of which a single
/// computer has all addresses (RFC 4291, section 2.5.1).
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
        guest.must_leave().now_or_never().is_some()
    }

    #[test]
    fn who_has_most_gives_its_oldest_place_to_who_comes() {
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
        assert_eq!(guests.lock().total, 0);
        assert!(guests.lock().by.is_empty());
    }

    #[test]
    fn addresses_of_one_network_of_version_six_are_one_peer() {
        let address = |text: &str| network(text.parse().unwrap());
        assert_eq!(address("2001:db8::1"), address("2001:db8::ffff:1"));
        assert_ne!(address("2001:db8::1"), address("2001:db8:0:1::1"));
        assert_eq!(address("::ffff:10.0.0.1"), address("10.0.0.1"));
        assert_ne!(address("10.0.0.1"), address("10.0.0.2"));
    }
}
