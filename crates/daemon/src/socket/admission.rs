//! Admission control for a socket: a connection limit per user, slots reserved for root, the
//! daemon's user and the members of its group, and a rate limit per user, so that one who
//! reconnects all the time delays no other.

use std::collections::HashMap;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::Instant;

use super::subusers::SubUsers;
use crate::pace::Pace;
use crate::sync::lock;

/// A user is served immediately this many times in a row, then once per interval.
const BURST: u32 = 64;
const INTERVAL: Duration = Duration::from_millis(20);
/// Number of rate-limited users above which those with a full bucket are dropped.
const REMEMBERED: usize = 256;

/// The peer's credentials from the kernel (`SO_PEERCRED`, `SO_PEERGROUPS`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub user: u32,
    pub groups: Vec<u32>,
}

impl Peer {
    /// Returns the peer's credentials, if the kernel reports them.
    pub fn of(stream: &UnixStream) -> Option<Self> {
        let peer = stream.peer_cred().ok()?;
        let mut groups = supplementary_groups(stream);
        groups.push(peer.gid());
        Some(Self { user: peer.uid(), groups })
    }
}

/// Returns the peer's supplementary groups (since Linux 4.13), none if the kernel does not report
/// them.
fn supplementary_groups(stream: &UnixStream) -> Vec<u32> {
    /// `NGROUPS_MAX` is 65,536, but no real user is in more than this.
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

/// Numbers of concurrent connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Total.
    pub all: usize,
    /// Limit per user other than root and the daemon's, subordinate user IDs included.
    pub each: usize,
    /// Reserved for root, the daemon's user and its group.
    pub kept: usize,
    /// The part of `kept` that is reserved for root and the daemon's user.
    pub kept_for_root: usize,
}

/// The places of one socket, one per connection.
#[derive(Debug)]
pub struct Places {
    limits: Limits,
    own_user: u32,
    subusers: Mutex<SubUsers>,
    taken: Mutex<Taken>,
}

/// Connections and rate limit by user.
#[derive(Debug, Default)]
struct Taken {
    places: HashMap<u32, usize>,
    paces: HashMap<u32, Pace>,
}

impl Taken {
    /// Returns when the rate limit allows this user's next request.
    fn turn(&mut self, user: u32, now: Instant) -> Instant {
        if self.paces.len() >= REMEMBERED {
            self.paces.retain(|_, pace| !pace.is_full(now));
        }
        self.paces.entry(user).or_insert_with(|| Pace::new(BURST, INTERVAL, now)).next(now)
    }
}

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// All places open to this user are taken; the number of connections.
    #[error("{0} clients are connected already")]
    All(usize),
    /// The user has reached the limit; the number of the user's connections.
    #[error("this user has {0} clients connected already")]
    Own(usize),
}

/// A place taken by a connection, released on drop.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    user: u32,
    turn: Instant,
}

impl Place {
    /// Returns when the connection may be served: now, unless its user exceeds the rate limit.
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

    /// Takes a place for `peer`; members of `group` may use the reserved places.
    ///
    /// # Errors
    /// No place is left for this user.
    pub fn take(self: &Arc<Self>, peer: Option<&Peer>, group: Option<u32>) -> Result<Place, Full> {
        let Limits { all, each, kept, kept_for_root } = self.limits;
        let user = peer.map_or(u32::MAX, |peer| peer.user);
        let is_root = peer.is_some() && (user == 0 || user == self.own_user);
        let is_member =
            group.is_some_and(|group| peer.is_some_and(|peer| peer.groups.contains(&group)));
        let counted = lock(&self.subusers).counts_for(user);
        let mut taken = lock(&self.taken);
        let total: usize = taken.places.values().sum();
        let limit = match (is_root, is_member) {
            (true, _) => all,
            (false, true) => all.saturating_sub(kept_for_root),
            (false, false) => all.saturating_sub(kept),
        };
        if total >= limit {
            return Err(Full::All(total));
        }
        let own = taken.places.entry(counted).or_default();
        if !is_root && *own >= each {
            return Err(Full::Own(*own));
        }
        *own += 1;
        let turn = taken.turn(counted, Instant::now());
        Ok(Place { places: Arc::clone(self), user: counted, turn })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.places.taken);
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
    fn places_are_limited_per_user_and_reserved_for_group_and_root() {
        let places = Places::new(LIMITS);
        let first = take(&places, 1001, 1001, 20);
        assert_eq!(first.len(), 3, "a share");
        let strangers: Vec<Place> =
            (2000..2020).flat_map(|user| take(&places, user, user, 1)).collect();
        assert_eq!(strangers.len(), 3, "of what is not kept");
        assert_eq!(
            places.take(None, Some(GROUP)).unwrap_err(),
            Full::All(6),
            "a peer without credentials has no privilege"
        );
        let members = take(&places, 1002, GROUP, 20);
        assert_eq!(members.len(), 2, "the group's");
        let root = take(&places, 0, 0, 20);
        assert_eq!(root.len(), 2, "and root's");
        drop((first, strangers));
        assert_eq!(take(&places, 1001, 1001, 20).len(), 2, "what is free again, is");
    }

    #[test]
    fn subordinate_users_share_one_limit() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("subuid");
        let places = Places::among(LIMITS, SubUsers::of(&file));
        // The range is added while the gateway runs.
        std::fs::write(&file, "anna:100000:65536\n").unwrap();
        let many: Vec<Place> =
            (100_000..100_020).flat_map(|user| take(&places, user, user, 1)).collect();
        assert_eq!(many.len(), 3, "one share for all of them");
        assert_eq!(take(&places, 200_000, 200_000, 1).len(), 1, "others have theirs");
    }

    #[test]
    fn a_user_who_exceeds_the_rate_waits_and_no_other_does() {
        let places = Places::new(LIMITS);
        let waits = |user: u32| {
            let place = places.take(peer(user, user).as_ref(), Some(GROUP)).unwrap();
            place.turn().saturating_duration_since(Instant::now())
        };
        let begin = Instant::now();
        let at_once = (0..1000).filter(|_| waits(1001).is_zero()).count();
        let more = begin.elapsed().div_duration_f64(INTERVAL) as usize + 1;
        assert!((BURST as usize..=BURST as usize + more).contains(&at_once), "{at_once} of 1000");
        assert!(waits(1001) > INTERVAL * 100, "the waits add up");
        for user in 2000..2000 + 2 * REMEMBERED as u32 {
            assert!(waits(user).is_zero(), "another user: {user}");
        }
        assert!(lock(&places.taken).paces.len() <= 2 * REMEMBERED + 1);
        assert!(!waits(1001).is_zero(), "a waiting user is not dropped");
    }
}
