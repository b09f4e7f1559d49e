//! What boards call themselves, and who has which name since an earlier run.
//!
//! Our server writes down the name that it gives, which need not be the one that a board asked for: what boards say is heard
//! on the wire. At a start nothing was heard yet, and the server's file says who had which name.

use std::time::Duration;

use litemap::LiteMap;

use super::name;
use crate::event::{Instant, Mac};

/// Boards of which nothing else is known are remembered for so long, and so many of them: who says a name is about to ask for
/// an address, and anybody can say many.
const STRANGERS_TIME: Duration = Duration::from_secs(60);
const STRANGERS: usize = 4096;

/// Host names, all of them legal.
#[derive(Debug, Clone, Default)]
pub struct Called {
    /// as a board last said, and since when
    said: LiteMap<Mac, (String, Instant)>,
    /// names of an earlier run: whose each is, and until when
    kept: LiteMap<String, (Mac, Option<Instant>)>,
    keepers: LiteMap<Mac, String>,
}

impl Called {
    /// A board says what it calls itself: whether that is news. `known`: by other things this board is, and so many are.
    pub fn say(&mut self, mac: Mac, name: &str, known: (bool, usize), now: Instant) -> bool {
        let Some(name) = name::legal(name) else { return false };
        let before = self.said.get(&mac).map(|(before, _)| before);
        let (is_known, known) = known;
        // However many strangers call: who is known is heard.
        let no_room = !is_known && before.is_none() && self.said.len() >= known + STRANGERS;
        if before == Some(&name) || no_room {
            return false;
        }
        if self.keepers.get(&mac).is_some_and(|kept| *kept != name) {
            self.give_up(mac);
        }
        self.said.insert(mac, (name, now));
        true
    }

    /// A board had this name in an earlier run, by a lease that ends at `until`; `None` = never.
    pub fn keep(&mut self, mac: Mac, name: &str, until: Option<Instant>) {
        let Some(name) = name::legal(name).filter(|name| !self.kept.contains_key(name)) else { return };
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
        self.said.len() + self.kept.len()
    }

    /// What a board calls itself, or was called in an earlier run.
    pub fn of(&self, mac: Mac) -> Option<&str> {
        let said = self.said.get(&mac).map(|(name, _)| name);
        said.or_else(|| self.keepers.get(&mac)).map(String::as_str)
    }

    /// Another board has had this name since an earlier run.
    pub fn is_anothers(&self, name: &str, mac: Mac) -> bool {
        self.kept.get(name).is_some_and(|(keeper, _)| *keeper != mac)
    }

    /// Forgets what time has ended. Tells whether there is more for it to end.
    pub fn sweep(&mut self, is_known: impl Fn(Mac) -> bool, now: Instant) -> bool {
        let over = |mac: Mac, at| !is_known(mac) && now.saturating_since(at) >= STRANGERS_TIME;
        self.said.retain(|mac, (_, at)| !over(*mac, *at));
        let ended = self.kept.values().filter(|(_, until)| until.is_some_and(|until| until <= now));
        let ended: Vec<Mac> = ended.map(|(mac, _)| *mac).collect();
        ended.into_iter().for_each(|mac| self.give_up(mac));
        self.kept.values().any(|(_, until)| until.is_some()) || self.said.keys().any(|mac| !is_known(*mac))
    }
}
