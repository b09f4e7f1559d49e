//! Places at a socket that many connect to, counted by user: nobody takes those of the others, and some are kept for root,
//! the daemon's own user and the members of its group.

use std::collections::HashMap;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::UnixStream;

/// Who is at the other end, by the kernel's word (`SO_PEERCRED`, `SO_PEERGROUPS`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub user: u32,
    pub groups: Vec<u32>,
}

impl Peer {
    /// Returns who is at the other end of the stream; nobody known where the kernel does not say.
    pub fn of(stream: &UnixStream) -> Option<Self> {
        let peer = stream.peer_cred().ok()?;
        let mut groups = supplementary_groups(stream);
        groups.push(peer.gid());
        Some(Self { user: peer.uid(), groups })
    }
}

/// The other end's supplementary groups (since Linux 4.13); none where the kernel does not say.
fn supplementary_groups(stream: &UnixStream) -> Vec<u32> {
    /// More than a user can be in (`NGROUPS_MAX` is 65,536, but nobody is).
    const MOST: usize = 1024;
    let mut groups = vec![0_u32; MOST];
    let mut length = (MOST * size_of::<u32>()) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes into `groups`, which holds as many, and sets `length` to what it wrote.
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

/// How many places there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// of all together
    pub all: usize,
    /// of one user that is neither root nor the daemon's
    pub each: usize,
    /// that only root, the daemon's user and its group get
    pub kept: usize,
    /// of those, that only root and the daemon's user get
    pub kept_for_root: usize,
}

/// The places of one socket.
#[derive(Debug)]
pub struct Places {
    limits: Limits,
    own_user: u32,
    taken: Mutex<HashMap<u32, usize>>,
}

/// Why there is no place.
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

/// A place; free again when it is dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    user: u32,
}

impl Places {
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, own_user: rustix::process::geteuid().as_raw(), taken: Mutex::default() })
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<u32, usize>> {
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
        let is_member = group.is_some_and(|group| peer.is_some_and(|peer| peer.groups.contains(&group)));
        let mut taken = self.taken();
        let total: usize = taken.values().sum();
        let most = match (is_master, is_member) {
            (true, _) => all,
            (false, true) => all.saturating_sub(kept_for_root),
            (false, false) => all.saturating_sub(kept),
        };
        if total >= most {
            return Err(Full::All(total));
        }
        let own = taken.entry(user).or_default();
        if !is_master && *own >= each {
            return Err(Full::Own(*own));
        }
        *own += 1;
        Ok(Place { places: Arc::clone(self), user })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        if let Some(own) = taken.get_mut(&self.user) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                taken.remove(&self.user);
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
    fn nobody_takes_the_places_of_others() {
        let places = Places::new(LIMITS);
        let first = take(&places, 1001, 1001, 20);
        assert_eq!(first.len(), 3, "a share");
        let strangers: Vec<Place> = (2000..2020).flat_map(|user| take(&places, user, user, 1)).collect();
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
}
