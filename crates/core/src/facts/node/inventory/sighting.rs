//! Neighbours on the cluster port and leases, from which identities are derived.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::event::{Instant, Lease, Mac};

/// If two boards use one address in turn within this time, they conflict; the conflict ends this
/// long after the last turn.
pub const CONTEST_TIME: Duration = Duration::from_secs(120);

/// A lease of a board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveLease {
    pub address: IpAddr,
    /// Name in the server's lease file.
    pub host_name: Option<String>,
    /// `None`: for ever.
    until: Option<Instant>,
}

/// The neighbour entry of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sighting {
    mac: Mac,
    /// The kernel still has the entry.
    present: bool,
    reachable: bool,
    /// When `mac` or `present` last changed.
    since: Instant,
    /// The board that had the address before `mac`.
    earlier: Option<Mac>,
}

/// Two boards with one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressConflict {
    pub boards: (Mac, Mac),
    until: Instant,
}

/// Holds the sightings and leases of all boards.
#[derive(Debug, Clone, Default)]
pub struct Sightings {
    leases: BTreeMap<Mac, ActiveLease>,
    /// Boards whose last lease did not expire. Includes those whose lease was revoked by a move of
    /// the cluster, which will request a new one.
    clients: BTreeSet<Mac>,
    seen: BTreeMap<IpAddr, Sighting>,
    /// Addresses at which each board is seen.
    places: BTreeMap<Mac, BTreeSet<IpAddr>>,
    contests: BTreeMap<IpAddr, AddressConflict>,
    /// Number of entries in `seen` that are not `present`; at most [`MOST_GONE`].
    gone: usize,
}

/// Limit on stored sightings whose neighbour entry was removed, which are kept to detect conflicts.
const MOST_GONE: usize = 1024;

impl Sightings {
    pub fn lease(&self, mac: Mac) -> Option<&ActiveLease> {
        self.leases.get(&mac)
    }

    /// Returns whether a board uses our DHCP server, whether or not it has a lease now.
    pub fn is_client(&self, mac: Mac) -> bool {
        self.clients.contains(&mac)
    }

    /// Forgets a board whose node was removed.
    pub fn forget(&mut self, mac: Mac) {
        self.clients.remove(&mac);
    }

    /// Returns all leased addresses.
    pub fn leased(&self) -> impl ExactSizeIterator<Item = IpAddr> + '_ {
        self.leases.values().map(|given| given.address)
    }

    /// Returns the addresses at which a board is seen.
    pub fn places(&self, mac: Mac) -> impl Iterator<Item = IpAddr> + '_ {
        self.places.get(&mac).into_iter().flatten().copied()
    }

    /// Returns the board that is seen at an address.
    pub fn at(&self, address: IpAddr) -> Option<Mac> {
        self.seen.get(&address).filter(|sighting| sighting.present).map(|sighting| sighting.mac)
    }

    /// Returns whether the kernel considers this board reachable.
    pub fn is_heard(&self, mac: Mac) -> bool {
        let reachable = |place| self.seen.get(&place).is_some_and(|sighting| sighting.reachable);
        self.places(mac).any(reachable)
    }

    /// Returns whether this board is neither seen nor has a lease.
    pub fn is_gone(&self, mac: Mac) -> bool {
        self.lease(mac).is_none() && self.places(mac).next().is_none()
    }

    /// Returns all boards that are seen, in the order of their addresses.
    pub fn present(&self) -> impl Iterator<Item = Mac> + '_ {
        self.seen.values().filter(|known| known.present).map(|known| known.mac)
    }

    /// Returns until when addresses of `net` are in use: now if a board there is reachable, and
    /// until the end of the longest lease.
    pub fn used_until(&self, net: IpNet, now: Instant) -> Option<Instant> {
        let mut seen = self.seen.range(net.network()..=net.broadcast());
        let heard = seen.any(|(_, sighting)| sighting.reachable).then_some(now);
        let given = self.leases.values().filter(|given| net.contains(&given.address));
        heard.into_iter().chain(given.map(|given| given.until.unwrap_or(now))).max()
    }

    /// Returns every board that was seen or has a lease.
    pub fn boards(&self) -> BTreeSet<Mac> {
        BTreeSet::from_iter(self.leases.keys().chain(self.places.keys()).copied())
    }

    /// Returns the addresses that two boards use.
    pub fn contests(&self) -> impl Iterator<Item = (IpAddr, &AddressConflict)> {
        self.contests.iter().map(|(address, contest)| (*address, contest))
    }

    /// Returns whether neither a lease nor a conflict can expire.
    pub fn is_quiet(&self) -> bool {
        self.contests.is_empty() && self.leases.values().all(|given| given.until.is_none())
    }

    /// Notes that a board is seen at an address. Returns the board that was there before, if it
    /// was another.
    pub fn note_seen(
        &mut self,
        address: IpAddr,
        mac: Mac,
        reachable: bool,
        now: Instant,
    ) -> Option<Mac> {
        let fresh = Sighting { mac, present: true, reachable, since: now, earlier: None };
        let Some(known) = self.seen.get_mut(&address) else {
            self.seen.insert(address, fresh);
            self.places.entry(mac).or_default().insert(address);
            return None;
        };
        self.gone -= usize::from(!known.present).min(self.gone);
        let before = known.mac;
        known.reachable = reachable;
        if before == mac {
            known.present = true;
            self.places.entry(mac).or_default().insert(address);
            return None;
        }
        let again = known.earlier == Some(mac) && now.saturating_since(known.since) < CONTEST_TIME;
        *known = Sighting { earlier: Some(before), ..fresh };
        if again || self.contests.contains_key(&address) {
            let boards = (before.min(mac), before.max(mac));
            self.contests.insert(address, AddressConflict { boards, until: now + CONTEST_TIME });
        }
        self.leave(before, address);
        self.places.entry(mac).or_default().insert(address);
        Some(before)
    }

    /// Ends a conflict about an address which the settings gave to another board: the settings were
    /// its cause.
    pub fn end_contest(&mut self, address: IpAddr) {
        self.contests.remove(&address);
        if let Some(known) = self.seen.get_mut(&address) {
            known.earlier = None;
        }
    }

    /// Notes that the neighbour entry of an address was removed. Returns its board.
    pub fn note_gone(&mut self, address: IpAddr) -> Option<Mac> {
        let known = self.seen.get_mut(&address).filter(|known| known.present)?;
        (known.present, known.reachable) = (false, false);
        let mac = known.mac;
        self.leave(mac, address);
        self.gone += 1;
        if self.gone > MOST_GONE {
            self.seen.retain(|_, known| known.present);
            self.gone = 0;
        }
        Some(mac)
    }

    fn leave(&mut self, mac: Mac, address: IpAddr) {
        if let Some(places) = self.places.get_mut(&mac) {
            places.remove(&address);
            if places.is_empty() {
                self.places.remove(&mac);
            }
        }
    }

    pub fn add_lease(&mut self, lease: &Lease, now: Instant) {
        let until = lease.valid_for.map(|time| now + time);
        // dnsmasq removes the name from a lease when another client requests the same name; the
        // board still has that host name.
        let before = self.leases.remove(&lease.mac).and_then(|given| given.host_name);
        let given = ActiveLease {
            address: lease.address,
            host_name: lease.host_name.clone().or(before),
            until,
        };
        self.leases.insert(lease.mac, given);
        self.clients.insert(lease.mac);
    }

    /// Ends a lease. Returns whether it was the current lease of its board.
    pub fn end_lease(&mut self, lease: &Lease) -> bool {
        let held = self.leases.get(&lease.mac).is_some_and(|given| given.address == lease.address);
        if held && lease.valid_for.is_some_and(|left| left.is_zero()) {
            self.clients.remove(&lease.mac);
        }
        held && self.leases.remove(&lease.mac).is_some()
    }

    /// Removes what has expired. Returns the boards whose leases did.
    pub fn expire(&mut self, now: Instant) -> Vec<Mac> {
        self.contests.retain(|_, contest| contest.until > now);
        self.seen
            .retain(|_, known| known.present || now.saturating_since(known.since) < CONTEST_TIME);
        self.gone = self.seen.values().filter(|known| !known.present).count();
        let ended = |given: &ActiveLease| given.until.is_some_and(|until| until <= now);
        let boards: Vec<Mac> =
            self.leases.iter().filter(|(_, given)| ended(given)).map(|(mac, _)| *mac).collect();
        for mac in &boards {
            self.leases.remove(mac);
            self.clients.remove(mac);
        }
        boards
    }
}
