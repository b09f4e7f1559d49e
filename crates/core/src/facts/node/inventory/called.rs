//! What boards call themselves, and who has which name since an earlier run.
//!
//! Our server writes down the name that it gives, which need not be the one that a board asked for:
//! what boards say is heard on the wire. At a start nothing was heard yet, and the server's file
//! says who had which name.

use std::collections::BTreeMap;
use std::time::Duration;

use super::name;
use crate::event::{Instant, Mac};

/// Boards of which nothing else is known are remembered for so long, and so many of them: who says
/// a name is about to ask for an address, and anybody can say many.
const STRANGERS_TIME: Duration = Duration::from_secs(60);
const STRANGERS: usize = 512;

/// A board may change its name so many times in a row, then once in each interval: the last name
/// waits until then.
const RENAMES: u32 = 3;
const RENAME_TIME: Duration = Duration::from_secs(20);

/// What came of a name that a board says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It is the board's name now.
    News,
    /// Nothing: it is known, or no name.
    Known,
    /// It changes its name too often.
    TooOften,
    /// Too many boards of which nothing else is known have sent names.
    NoRoom,
}

/// What one board calls itself.
#[derive(Debug, Clone)]
struct ServerLog {
    name: String,
    since: Instant,
    /// When all of its [`RENAMES`] will be free again.
    rested: Instant,
    /// The name sent last, if it has to wait.
    next: Option<String>,
}

impl ServerLog {
    /// Returns when the board may have another name.
    fn may_change(&self) -> Instant {
        let ahead = RENAME_TIME * (RENAMES - 1);
        Instant::from_boot(self.rested.since_boot().saturating_sub(ahead))
    }

    fn change(&mut self, name: String, now: Instant) {
        (self.name, self.since, self.next) = (name, now, None);
        self.rested = self.rested.max(now) + RENAME_TIME;
    }
}

/// Host names, all of them legal.
#[derive(Debug, Clone, Default)]
pub struct AdvertisedNames {
    /// As a board last sent it.
    advertised: BTreeMap<Mac, ServerLog>,
    /// When the first name that waits may be taken.
    next_at: Option<Instant>,
    /// Names of an earlier run: whose each is, and until when.
    kept: BTreeMap<String, (Mac, Option<Instant>)>,
    keepers: BTreeMap<Mac, String>,
}

impl AdvertisedNames {
    /// Takes in what a board calls itself. `known`: by other things this board is, and so many are.
    pub fn say(&mut self, mac: Mac, name: &str, known: (bool, usize), now: Instant) -> Heard {
        let Some(name) = name::legal(name) else { return Heard::Known };
        let (is_known, known) = known;
        // However many strangers call: who is known is heard.
        let no_room = !is_known && self.advertised.len() >= known + STRANGERS;
        let heard = match self.advertised.get_mut(&mac) {
            None if no_room => return Heard::NoRoom,
            None => {
                let advertised =
                    ServerLog { name: name.clone(), since: now, rested: now, next: None };
                self.advertised.insert(mac, advertised);
                Heard::News
            }
            Some(advertised) if advertised.name == name => {
                advertised.next = None;
                return Heard::Known;
            }
            Some(advertised) if advertised.may_change() > now => {
                advertised.next = Some(name.clone());
                self.next_at = Some(
                    self.next_at
                        .map_or(advertised.may_change(), |at| at.min(advertised.may_change())),
                );
                return Heard::TooOften;
            }
            Some(advertised) => {
                advertised.change(name.clone(), now);
                Heard::News
            }
        };
        if self.keepers.get(&mac).is_some_and(|kept| *kept != name) {
            self.give_up(mac);
        }
        heard
    }

    /// Returns when [`Self::take_due`] will have something to do.
    pub fn next_at(&self) -> Option<Instant> {
        self.next_at
    }

    /// Gives those boards the names that had to wait, and returns them.
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

    /// Keeps the name that a board had in an earlier run, by a lease that ends at `until`; `None` =
    /// never.
    pub fn keep(&mut self, mac: Mac, name: &str, until: Option<Instant>) {
        let Some(name) = name::legal(name).filter(|name| !self.kept.contains_key(name)) else {
            return;
        };
        self.give_up(mac);
        self.keepers.insert(mac, name.clone());
        self.kept.insert(name, (mac, until));
    }

    fn give_up(&mut self, mac: Mac) {
        if let Some(name) = self.keepers.remove(&mac) {
            self.kept.remove(&name);
        }
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.advertised.len() + self.kept.len()
    }

    /// Returns what a board calls itself, or was called in an earlier run.
    pub fn of(&self, mac: Mac) -> Option<&str> {
        let advertised = self.advertised.get(&mac).map(|advertised| &advertised.name);
        advertised.or_else(|| self.keepers.get(&mac)).map(String::as_str)
    }

    /// Returns whether another board has had this name since an earlier run.
    pub fn is_anothers(&self, name: &str, mac: Mac) -> bool {
        self.kept.get(name).is_some_and(|(keeper, _)| *keeper != mac)
    }

    /// Forgets what time has ended. Returns whether there is more for it to end.
    pub fn sweep(&mut self, is_known: impl Fn(Mac) -> bool, now: Instant) -> bool {
        let over = |mac: Mac, at| !is_known(mac) && now.saturating_since(at) >= STRANGERS_TIME;
        self.advertised.retain(|mac, advertised| !over(*mac, advertised.since));
        let ended = self.kept.values().filter(|(_, until)| until.is_some_and(|until| until <= now));
        let ended: Vec<Mac> = ended.map(|(mac, _)| *mac).collect();
        ended.into_iter().for_each(|mac| self.give_up(mac));
        self.kept.values().any(|(_, until)| until.is_some())
            || self.advertised.keys().any(|mac| !is_known(*mac))
    }
}
