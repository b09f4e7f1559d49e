//! Places at a socket that many connect to, counted by user: none takes those of the others, and
//! some are kept for root, the daemon's own user and the members of its group. Each user's places
//! are given out at a steady pace, so that one who connects again and again costs little and delays
//! no other.

use std::collections::HashMap;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::Instant;

use super::subusers::SubUsers;
use crate::pace::Pace;

/// A user is served at once so many times in a row, and then once in each interval.
const AT_ONCE: u32 = 64;
const INTERVAL: Duration = Duration::from_millis(20);
/// The pace of so many users is remembered, whether they are here or not.
const REMEMBERED: usize = 256;

/// Holds who is at the other end, by the kernel's word (`SO_PEERCRED`, `SO_PEERGROUPS`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub user: u32,
    pub groups: Vec<u32>,
}

impl Peer {
    /// Returns who is at the other end of the stream; unknown where the kernel does not report it.
    pub fn of(stream: &UnixStream) -> Option<Self> {
        let peer = stream.peer_cred().ok()?;
        let mut groups = supplementary_groups(stream);
        groups.push(peer.gid());
        Some(Self { user: peer.uid(), groups })
    }
}

/// Returns the other end's supplementary groups (since Linux 4.13); none where the kernel does not
/// say.
fn supplementary_groups(stream: &UnixStream) -> Vec<u32> {
    /// More than a user can be in (`NGROUPS_MAX` is 65,536, but no real user is).
    const MOST: usize = 1024;
    let mut groups = vec![0_u32; MOST];
    let mut length = (MOST * size_of::<u32>()) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes into `groups`, which holds as many, and sets
    // `length` to what it wrote.
    let result = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERGROUPS,
            groups.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    groups.truncate(if result == 0 { length as usize / size_of::<u32>() } else { 0 });
    groups
}

/// Holds how many places there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// of all together
    pub all: usize,
    /// of one user that is neither root nor the daemon's, with those whom the user may be in a
    /// namespace
    pub each: usize,
    /// that only root, the daemon's user and its group get
    pub kept: usize,
    /// of those, that only root and the daemon's user get
    pub kept_for_root: usize,
}

/// Holds the places of one socket.
#[derive(Debug)]
pub struct Places {
    limits: Limits,
    own_user: u32,
    subusers: Mutex<SubUsers>,
    taken: Mutex<Taken>,
}

/// Holds what each user has had.
#[derive(Debug, Default)]
struct Taken {
    places: HashMap<u32, usize>,
    paces: HashMap<u32, Pace>,
}

impl Taken {
    /// Returns when this user's turn is.
    fn turn(&mut self, user: u32, now: Instant) -> Instant {
        if self.paces.len() >= REMEMBERED {
            self.paces.retain(|_, pace| !pace.is_full(now));
        }
        self.paces.entry(user).or_insert_with(|| Pace::new(AT_ONCE, INTERVAL, now)).next(now)
    }
}

/// Names why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// all are taken that this user could get; so many there are
    All(usize),
    /// the user has so many already
    Own(usize),
}

impl std::fmt::Display for Full {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All(count) => write!(f, "{count} clients are connected already"),
            Self::Own(count) => write!(f, "this user has {count} clients connected already"),
        }
    }
}

/// Holds a place; it is free again when it is dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    user: u32,
    turn: Instant,
}

impl Place {
    /// Returns when it may be used: now, unless its user comes again and again.
    pub const fn turn(&self) -> Instant {
        self.turn
    }
}

impl Places {
    pub fn new(limits: Limits) -> Arc<Self> {
        Self::among(limits, SubUsers::of_this_machine())
    }

    fn among(limits: Limits, subusers: SubUsers) -> Arc<Self> {
        let own_user = rustix::process::geteuid().as_raw();
        let subusers = Mutex::new(subusers);
        Arc::new(Self { limits, own_user, subusers, taken: Mutex::default() })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for `peer`; `group` is the group whose members are served before strangers.
    ///
    /// # Errors
    /// There is none for this user.
    pub fn take(self: &Arc<Self>, peer: Option<&Peer>, group: Option<u32>) -> Result<Place, Full> {
        let Limits { all, each, kept, kept_for_root } = self.limits;
        let user = peer.map_or(u32::MAX, |peer| peer.user);
        let is_master = peer.is_some() && (user == 0 || user == self.own_user);
        let is_member =
            group.is_some_and(|group| peer.is_some_and(|peer| peer.groups.contains(&group)));
        let counted = self.subusers.lock().unwrap_or_else(PoisonError::into_inner).counts_for(user);
        let mut taken = self.taken();
        let total: usize = taken.places.values().sum();
        let most = match (is_master, is_member) {
            (true, _) => all,
            (false, true) => all.saturating_sub(kept_for_root),
            (false, false) => all.saturating_sub(kept),
        };
        if total >= most {
            return Err(Full::All(total));
        }
        let own = taken.places.entry(counted).or_default();
        if !is_master && *own >= each {
            return Err(Full::Own(*own));
        }
        *own += 1;
        let turn = taken.turn(counted, Instant::now());
        Ok(Place { places: Arc::clone(self), user: counted, turn })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        if let Some(own) = taken.places.get_mut(&self.user) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                taken.places.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { all: 10, each: 3, kept: 4, kept_for_root: 2 };
    const GROUP: u32 = 990;

    fn peer(user: u32, group: u32) -> Option<Peer> {
        Some(Peer { user, groups: vec![group] })
    }

    fn take(places: &Arc<Places>, user: u32, group: u32, count: usize) -> Vec<Place> {
        (0..count).flat_map(|_| places.take(peer(user, group).as_ref(), Some(GROUP))).collect()
    }

    #[test]
    fn no_user_takes_the_places_of_others() {
        let places = Places::new(LIMITS);
        let first = take(&places, 1001, 1001, 20);
        assert_eq!(first.len(), 3, "a share");
        let strangers: Vec<Place> =
            (2000..2020).flat_map(|user| take(&places, user, user, 1)).collect();
        assert_eq!(strangers.len(), 3, "of what is not kept");
        assert_eq!(
            places.take(None, Some(GROUP)).unwrap_err(),
            Full::All(6),
            "whom the kernel does not name is a stranger"
        );
        let members = take(&places, 1002, GROUP, 20);
        assert_eq!(members.len(), 2, "the group's");
        let root = take(&places, 0, 0, 20);
        assert_eq!(root.len(), 2, "and root's");
        drop((first, strangers));
        assert_eq!(take(&places, 1001, 1001, 20).len(), 2, "what is free again, is");
    }

    #[test]
    fn whom_a_user_may_be_in_a_namespace_shares_their_places() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("subuid");
        let places = Places::among(LIMITS, SubUsers::of(&file));
        // The range is given while the gateway runs.
        std::fs::write(&file, "anna:100000:65536\n").unwrap();
        let many: Vec<Place> =
            (100_000..100_020).flat_map(|user| take(&places, user, user, 1)).collect();
        assert_eq!(many.len(), 3, "one share for all of them");
        assert_eq!(take(&places, 200_000, 200_000, 1).len(), 1, "others have theirs");
    }

    #[test]
    fn a_user_who_connects_again_and_again_waits_and_no_other_does() {
        let places = Places::new(LIMITS);
        let waits = |user: u32| {
            let place = places.take(peer(user, user).as_ref(), Some(GROUP)).unwrap();
            place.turn().saturating_duration_since(Instant::now())
        };
        let begin = Instant::now();
        let at_once = (0..1000).filter(|_| waits(1001).is_zero()).count();
        let more = begin.elapsed().div_duration_f64(INTERVAL) as usize + 1;
        assert!(
            (AT_ONCE as usize..=AT_ONCE as usize + more).contains(&at_once),
            "{at_once} of 1000"
        );
        assert!(waits(1001) > INTERVAL * 100, "each has waited for the one before");
        for user in 2000..2000 + 2 * REMEMBERED as u32 {
            assert!(waits(user).is_zero(), "another user: {user}");
        }
        assert!(places.taken().paces.len() <= 2 * REMEMBERED + 1);
        assert!(!waits(1001).is_zero(), "who waits is not forgotten");
    }
}
