//! Password, sessions, and limits on guessing. Pure but for randomness.
//!
//! The password is stored as an argon2id hash (RFC 9106). A session is a random token in a cookie
//! that scripts cannot read and other sites cannot send (`HttpOnly`, `SameSite=Strict`). Every
//! order also carries the session's CSRF token, which only the page itself contains.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};

use crate::guests::network;

/// The idle timeout of a session.
const IDLE: Duration = Duration::from_secs(30 * 60);
/// The maximum lifetime of a session.
const LONGEST: Duration = Duration::from_secs(12 * 3600);
/// The limit of sessions; beyond it, the one that was idle longest is closed.
const SESSIONS: usize = 32;
/// The limits of wrong passwords within [`WINDOW`], from one peer ([`network`]) and in total.
const TRIES: usize = 5;
const TRIES_ALL: usize = 30;
const WINDOW: Duration = Duration::from_secs(60);
/// The minimum length of a password, in characters.
pub const SHORTEST: usize = 8;
/// The length of a token, in bytes.
const TOKEN: usize = 32;

/// The name of the session's cookie.
pub const COOKIE: &str = "bramblegate";

/// Why a login was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("no password is set: sudo bramblegate web password")]
    NoPassword,
    #[error("this is not the password")]
    Wrong,
    #[error("too many wrong passwords; wait a minute")]
    TooMany,
    #[error("there is no randomness")]
    NoRandomness,
}

/// Returns the hash of a password, to be stored.
///
/// # Errors
/// The system gives no randomness for the salt.
pub fn hash(password: &str) -> Result<String, Refused> {
    let hashed = Argon2::default().hash_password(password.as_bytes());
    hashed.map(|hash| hash.to_string()).map_err(|_| Refused::NoRandomness)
}

/// Returns whether `password` matches `hash`. Takes 19 MiB and about 50 ms.
pub fn verify(password: &str, hash: &str) -> bool {
    let Ok(hash) = PasswordHash::new(hash.trim()) else { return false };
    Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()
}

#[derive(Debug, Clone)]
struct Session {
    begun: Instant,
    used: Instant,
    csrf: String,
}

/// Open sessions, and recent wrong passwords.
#[derive(Debug, Default)]
pub struct Sessions {
    /// By token.
    open: HashMap<String, Session>,
    wrong: Vec<(IpAddr, Instant)>,
}

impl Sessions {
    /// Checks whether `from` may try a password now. A try counts as wrong until it succeeds.
    ///
    /// # Errors
    /// There were too many wrong passwords.
    pub fn begin_try(&mut self, from: IpAddr, now: Instant) -> Result<(), Refused> {
        let from = network(from);
        self.wrong.retain(|(_, at)| now.saturating_duration_since(*at) < WINDOW);
        let own = self.wrong.iter().filter(|(address, _)| *address == from).count();
        if own >= TRIES || self.wrong.len() >= TRIES_ALL {
            return Err(Refused::TooMany);
        }
        self.wrong.push((from, now));
        Ok(())
    }

    /// Opens a session for `from`, after the right password; returns its token.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn open(&mut self, from: IpAddr, now: Instant) -> Result<String, Refused> {
        let from = network(from);
        self.wrong.retain(|(address, _)| *address != from);
        let (token, csrf) = (random()?, random()?);
        if self.open.len() >= SESSIONS {
            let oldest = self.open.iter().min_by_key(|(_, session)| session.used);
            if let Some(oldest) = oldest.map(|(token, _)| token.clone()) {
                self.open.remove(&oldest);
            }
        }
        self.open.insert(token.clone(), Session { begun: now, used: now, csrf });
        Ok(token)
    }

    /// Returns the CSRF token of an open session, and restarts its idle timeout.
    pub fn csrf(&mut self, token: &str, now: Instant) -> Option<String> {
        self.open.retain(|_, session| {
            now.saturating_duration_since(session.used) < IDLE
                && now.saturating_duration_since(session.begun) < LONGEST
        });
        let session = self.open.get_mut(token)?;
        session.used = now;
        Some(session.csrf.clone())
    }

    /// Returns whether the two tokens are those of an open session.
    pub fn may_order(&mut self, token: &str, csrf: &str, now: Instant) -> bool {
        // Tokens are long and random: the timing of the comparison does not help an attacker.
        self.csrf(token, now).is_some_and(|known| known == csrf)
    }

    /// Ends a session; returns whether there was one.
    pub fn close(&mut self, token: &str) -> bool {
        self.open.remove(token).is_some()
    }
}

fn random() -> Result<String, Refused> {
    let mut bytes = [0; TOKEN];
    getrandom::fill(&mut bytes).map_err(|_| Refused::NoRandomness)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Returns the session's token from a `Cookie` header (RFC 6265, section 4.2.1).
pub fn token(cookies: &str) -> Option<&str> {
    let mut pairs = cookies.split(';').filter_map(|pair| pair.trim().split_once('='));
    pairs.find_map(|(name, value)| (name == COOKIE).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 50, 11));

    #[test]
    fn a_password_is_stored_as_argon2id_and_no_other_matches() {
        let kept = hash("correct horse").unwrap();
        assert!(kept.starts_with("$argon2id$"), "{kept}");
        assert!(verify("correct horse", &format!("{kept}\n")));
        assert!(!verify("correct horsf", &kept));
        assert!(!verify("", &kept));
        assert!(!verify("correct horse", "rubbish"));
        assert_ne!(kept, hash("correct horse").unwrap(), "each has a salt of its own");
    }

    #[test]
    fn an_order_needs_both_tokens_of_an_open_session() {
        let mut sessions = Sessions::default();
        let now = Instant::now();
        let token = sessions.open(HOME, now).unwrap();
        let csrf = sessions.csrf(&token, now).unwrap();
        assert!(sessions.may_order(&token, &csrf, now));
        assert!(!sessions.may_order(&token, "", now));
        assert!(!sessions.may_order(&csrf, &csrf, now));
        assert!(!sessions.may_order("", "", now));
        sessions.close(&token);
        assert!(!sessions.may_order(&token, &csrf, now));
    }

    #[test]
    fn a_session_ends_when_idle_and_after_half_a_day() {
        let mut sessions = Sessions::default();
        let begin = Instant::now();
        let token = sessions.open(HOME, begin).unwrap();
        let mut now = begin;
        while now < begin + LONGEST - IDLE {
            now += IDLE / 2;
            assert!(sessions.csrf(&token, now).is_some(), "{:?}", now - begin);
        }
        assert!(sessions.csrf(&token, begin + LONGEST).is_none());
        let token = sessions.open(HOME, begin).unwrap();
        assert!(sessions.csrf(&token, begin + IDLE).is_none());
    }

    #[test]
    fn guessing_is_bounded_for_one_address_and_for_all() {
        let mut sessions = Sessions::default();
        let now = Instant::now();
        for _ in 0..TRIES {
            assert_eq!(sessions.begin_try(HOME, now), Ok(()));
        }
        assert_eq!(sessions.begin_try(HOME, now), Err(Refused::TooMany));
        let other = |last| IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 50, last));
        let tried = (20..200).filter(|last| sessions.begin_try(other(*last), now).is_ok()).count();
        assert_eq!(tried, TRIES_ALL - TRIES);
        assert_eq!(sessions.begin_try(HOME, now + WINDOW), Ok(()));
        assert_eq!(sessions.wrong.len(), 1, "what is older than a minute is forgotten");
        // One computer can use its whole /64: that must not use up everyone's tries.
        let later = now + 3 * WINDOW;
        let v6 = |last: u16| format!("fd12:3456:789a:1::{last:x}").parse().unwrap();
        let tried = (1..100).filter(|last| sessions.begin_try(v6(*last), later).is_ok()).count();
        assert_eq!(tried, TRIES);
        assert_eq!(sessions.begin_try(HOME, later), Ok(()));
    }

    #[test]
    fn sessions_are_bounded_and_tokens_differ() {
        let mut sessions = Sessions::default();
        let now = Instant::now();
        let tokens: std::collections::HashSet<_> =
            (0..100).map(|_| sessions.open(HOME, now).unwrap()).collect();
        assert_eq!((tokens.len(), sessions.open.len()), (100, SESSIONS));
    }

    #[test]
    fn the_token_is_found_among_other_cookies() {
        assert_eq!(token("a=b; bramblegate=0f; c=d"), Some("0f"));
        assert_eq!(token("xbramblegate=0f"), None);
        assert_eq!(token(""), None);
    }
}
