//! What was seen on the cluster port and what was leased: the facts that identities are derived
//! from.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::event::{Instant, Lease, Mac};

/// Two boards that take an address in turn within this time both want it; so long after the last
/// turn it is over.
pub const CONTEST_TIME: Duration = Duration::from_secs(120);

/// An address that our server gave to a board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    pub address: IpAddr,
    /// As the server calls it.
    pub host_name: Option<String>,
    /// `None` = for ever.
    until: Option<Instant>,
}

/// What is known of the board at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sighting {
    mac: Mac,
    /// The kernel has an entry for it.
    here: bool,
    reachable: bool,
    /// When `mac` or `here` last changed, and who answered before.
    since: Instant,
    earlier: Option<Mac>,
}

/// Two boards with one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressConflict {
    pub boards: (Mac, Mac),
    until: Instant,
}

/// All of it.
#[derive(Debug, Clone, Default)]
pub struct Sightings {
    leases: BTreeMap<Mac, Given>,
    /// Boards whose last lease did not run out: when the cluster moves leases are taken back, and
    /// their boards ask again.
    asking: BTreeSet<Mac>,
    seen: BTreeMap<IpAddr, Sighting>,
    /// Where each board is seen.
    places: BTreeMap<Mac, BTreeSet<IpAddr>>,
    contests: BTreeMap<IpAddr, AddressConflict>,
    /// How many of `seen` are not here any more; bounded by [`MOST_GONE`].
    gone: usize,
}

/// Addresses at which a board answered of which the kernel has no entry any more: so many are
/// remembered for the contests.
const MOST_GONE: usize = 1024;

impl Sightings {
    pub fn lease(&self, mac: Mac) -> Option<&Given> {
        self.leases.get(&mac)
    }

    /// Returns whether a board gets its addresses from our server, whether or not it has one now.
    pub fn asks(&self, mac: Mac) -> bool {
        self.asking.contains(&mac)
    }

    /// Forgets a board that is no node any more.
    pub fn forget(&mut self, mac: Mac) {
        self.asking.remove(&mac);
    }

    /// Addresses that our server gave.
    pub fn leased(&self) -> impl ExactSizeIterator<Item = IpAddr> + '_ {
        self.leases.values().map(|given| given.address)
    }

    /// Returns where a board is seen.
    pub fn places(&self, mac: Mac) -> impl Iterator<Item = IpAddr> + '_ {
        self.places.get(&mac).into_iter().flatten().copied()
    }

    /// Returns who answers at an address.
    pub fn at(&self, address: IpAddr) -> Option<Mac> {
        self.seen.get(&address).filter(|sighting| sighting.here).map(|sighting| sighting.mac)
    }

    /// Returns whether the kernel has lately heard this board.
    pub fn is_heard(&self, mac: Mac) -> bool {
        let reachable = |place| self.seen.get(&place).is_some_and(|sighting| sighting.reachable);
        self.places(mac).any(reachable)
    }

    /// Boards that answer somewhere now, in the order of their addresses.
    pub fn here(&self) -> impl Iterator<Item = Mac> + '_ {
        self.seen.values().filter(|known| known.here).map(|known| known.mac)
    }

    /// Returns until when an address of `net` is used: now if a board is heard there, else as long
    /// as the longest lease lasts.
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

    /// Addresses that two boards want, and which.
    pub fn contests(&self) -> impl Iterator<Item = (IpAddr, &AddressConflict)> {
        self.contests.iter().map(|(address, contest)| (*address, contest))
    }

    /// Returns whether nothing here changes by time alone.
    pub fn is_quiet(&self) -> bool {
        self.contests.is_empty() && self.leases.values().all(|given| given.until.is_none())
    }

    /// Takes in that a board answers at an address. Returns who answered there before, if that was
    /// another.
    pub fn see(&mut self, address: IpAddr, mac: Mac, reachable: bool, now: Instant) -> Option<Mac> {
        let fresh = Sighting { mac, here: true, reachable, since: now, earlier: None };
        let Some(known) = self.seen.get_mut(&address) else {
            self.seen.insert(address, fresh);
            self.places.entry(mac).or_default().insert(address);
            return None;
        };
        self.gone -= usize::from(!known.here).min(self.gone);
        let before = known.mac;
        known.reachable = reachable;
        if before == mac {
            known.here = true;
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

    /// Forgets that boards took an address in turn once the settings give it to another board: that
    /// was their doing.
    pub fn settled_anew(&mut self, address: IpAddr) {
        self.contests.remove(&address);
        if let Some(known) = self.seen.get_mut(&address) {
            known.earlier = None;
        }
    }

    /// Takes in that no board answers at an address any more. Returns who did.
    pub fn lose(&mut self, address: IpAddr) -> Option<Mac> {
        let known = self.seen.get_mut(&address).filter(|known| known.here)?;
        (known.here, known.reachable) = (false, false);
        let mac = known.mac;
        self.leave(mac, address);
        self.gone += 1;
        if self.gone > MOST_GONE {
            self.seen.retain(|_, known| known.here);
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

    pub fn give(&mut self, lease: &Lease, now: Instant) {
        let until = lease.valid_for.map(|time| now + time);
        // dnsmasq takes a name away from a lease when another asks for the same: the board calls
        // itself so all the same.
        let before = self.leases.remove(&lease.mac).and_then(|given| given.host_name);
        let given =
            Given { address: lease.address, host_name: lease.host_name.clone().or(before), until };
        self.leases.insert(lease.mac, given);
        self.asking.insert(lease.mac);
    }

    /// Takes in that a lease ends; not that of an address which the board had before this one.
    pub fn take_back(&mut self, lease: &Lease) -> bool {
        let held = self.leases.get(&lease.mac).is_some_and(|given| given.address == lease.address);
        if held && lease.valid_for.is_some_and(|left| left.is_zero()) {
            self.asking.remove(&lease.mac);
        }
        held && self.leases.remove(&lease.mac).is_some()
    }

    /// Ends what time alone ends. Returns whose lease did.
    pub fn expire(&mut self, now: Instant) -> Vec<Mac> {
        self.contests.retain(|_, contest| contest.until > now);
        self.seen.retain(|_, known| known.here || now.saturating_since(known.since) < CONTEST_TIME);
        self.gone = self.seen.values().filter(|known| !known.here).count();
        let ended = |given: &Given| given.until.is_some_and(|until| until <= now);
        let boards: Vec<Mac> =
            self.leases.iter().filter(|(_, given)| ended(given)).map(|(mac, _)| *mac).collect();
        for mac in &boards {
            self.leases.remove(mac);
            self.asking.remove(mac);
        }
        boards
    }
}
