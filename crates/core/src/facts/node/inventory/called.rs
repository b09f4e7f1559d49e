//! Host names that boards advertise, and names reserved since an earlier run.
//!
//! The DHCP server records the name that it assigns, which may differ from the one that a board
//! requested, so that the requests themselves are observed. After a start nothing was observed yet,
//! and the server's lease file provides the names.

use std::collections::BTreeMap;
use std::time::Duration;

use super::name;
use crate::event::{Instant, Mac};

/// How long the name of an otherwise unknown board is stored: it is about to request an address.
const STRANGERS_TIME: Duration = Duration::from_secs(60);
/// Limit on such names, as they can be spoofed.
const STRANGERS: usize = 512;

/// Number of renames that a board may do in a burst.
const RENAMES: u32 = 3;
/// Interval of one further rename; until then the last name is pending.
const RENAME_TIME: Duration = Duration::from_secs(20);

/// The result of a name that a board sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It is the board's new name.
    News,
    /// Nothing changed: the name is the same, or not legal.
    Known,
    /// The board changes its name too often.
    TooOften,
    /// Too many unknown boards have sent names.
    NoRoom,
}

/// The host name of one board.
#[derive(Debug, Clone)]
struct Advertised {
    name: String,
    since: Instant,
    /// When the full burst of [`RENAMES`] is available again.
    full_at: Instant,
    /// The name sent last, if the rate limit delays it.
    next: Option<String>,
}

impl Advertised {
    /// Returns when the board may change its name.
    fn may_change(&self) -> Instant {
        let ahead = RENAME_TIME * (RENAMES - 1);
        Instant::from_boot(self.full_at.since_boot().saturating_sub(ahead))
    }

    fn change(&mut self, name: String, now: Instant) {
        (self.name, self.since, self.next) = (name, now, None);
        self.full_at = self.full_at.max(now) + RENAME_TIME;
    }
}

/// Holds host names, all of them legal.
#[derive(Debug, Clone, Default)]
pub struct AdvertisedNames {
    /// The name that each board last sent.
    advertised: BTreeMap<Mac, Advertised>,
    /// When the first pending name may be taken.
    next_at: Option<Instant>,
    /// Names of an earlier run, each with its board and expiry.
    reserved: BTreeMap<String, (Mac, Option<Instant>)>,
    reserved_by: BTreeMap<Mac, String>,
}

impl AdvertisedNames {
    /// Processes a host name that a board sent. `known`: whether this board is known otherwise, and
    /// the number of boards that are.
    pub fn advertise(&mut self, mac: Mac, name: &str, known: (bool, usize), now: Instant) -> Heard {
        let Some(name) = name::legal(name) else { return Heard::Known };
        let (is_known, known) = known;
        // Unknown boards never displace known ones.
        let no_room = !is_known && self.advertised.len() >= known + STRANGERS;
        let heard = match self.advertised.get_mut(&mac) {
            None if no_room => return Heard::NoRoom,
            None => {
                let advertised =
                    Advertised { name: name.clone(), since: now, full_at: now, next: None };
                self.advertised.insert(mac, advertised);
                Heard::News
            }
            Some(advertised) if advertised.name == name => {
                advertised.next = None;
                return Heard::Known;
            }
            Some(advertised) if advertised.may_change() > now => {
                advertised.next = Some(name.clone());
                let at = advertised.may_change();
                self.next_at = Some(self.next_at.map_or(at, |next| next.min(at)));
                return Heard::TooOften;
            }
            Some(advertised) => {
                advertised.change(name.clone(), now);
                Heard::News
            }
        };
        if self.reserved_by.get(&mac).is_some_and(|reserved| *reserved != name) {
            self.release(mac);
        }
        heard
    }

    /// Returns when [`Self::take_due`] will have something to do.
    pub fn next_at(&self) -> Option<Instant> {
        self.next_at
    }

    /// Takes pending names that are due. Returns their boards.
    pub fn take_due(&mut self, now: Instant) -> Vec<Mac> {
        if self.next_at.is_none_or(|at| at > now) {
            return Vec::new();
        }
        let mut changed = Vec::new();
        self.next_at = None;
        for (mac, advertised) in
            self.advertised.iter_mut().filter(|(_, advertised)| advertised.next.is_some())
        {
            let at = advertised.may_change();
            if at > now {
                self.next_at = Some(self.next_at.map_or(at, |next| next.min(at)));
            } else if let Some(name) = advertised.next.take() {
                advertised.change(name, now);
                changed.push(*mac);
            }
        }
        changed
    }

    /// Reserves the name that a board had in an earlier run, until its lease ends at `until`;
    /// `None`: for ever.
    pub fn reserve(&mut self, mac: Mac, name: &str, until: Option<Instant>) {
        let Some(name) = name::legal(name).filter(|name| !self.reserved.contains_key(name)) else {
            return;
        };
        self.release(mac);
        self.reserved_by.insert(mac, name.clone());
        self.reserved.insert(name, (mac, until));
    }

    fn release(&mut self, mac: Mac) {
        if let Some(name) = self.reserved_by.remove(&mac) {
            self.reserved.remove(&name);
        }
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.advertised.len() + self.reserved.len()
    }

    /// Returns the name that a board sent, or else had in an earlier run.
    pub fn of(&self, mac: Mac) -> Option<&str> {
        let advertised = self.advertised.get(&mac).map(|advertised| &advertised.name);
        advertised.or_else(|| self.reserved_by.get(&mac)).map(String::as_str)
    }

    /// Returns whether this name is reserved for another board.
    pub fn is_anothers(&self, name: &str, mac: Mac) -> bool {
        self.reserved.get(name).is_some_and(|(keeper, _)| *keeper != mac)
    }

    /// Removes what has expired. Returns whether more can expire.
    pub fn sweep(&mut self, is_known: impl Fn(Mac) -> bool, now: Instant) -> bool {
        let over = |mac: Mac, at| !is_known(mac) && now.saturating_since(at) >= STRANGERS_TIME;
        self.advertised.retain(|mac, advertised| !over(*mac, advertised.since));
        let ended =
            self.reserved.values().filter(|(_, until)| until.is_some_and(|until| until <= now));
        let ended: Vec<Mac> = ended.map(|(mac, _)| *mac).collect();
        ended.into_iter().for_each(|mac| self.release(mac));
        self.reserved.values().any(|(_, until)| until.is_some())
            || self.advertised.keys().any(|mac| !is_known(*mac))
    }
}
