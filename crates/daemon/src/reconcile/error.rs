//! Common part of the reconcilers' errors. Each subject has its own type (`FirewallError`,
//! `LinkError`, …), which is formatted for users here.

use std::error::Error;

use rustix::io::Errno;

use crate::event::{ApplyError, ApplyErrorKind};
use crate::supervise::Panic;
use bramblegate_netlink::NetlinkError;

/// An error of one output.
pub trait OutputError: Error {
    /// Returns the kind, which decides how the error is handled.
    fn kind(&self) -> ApplyErrorKind {
        ApplyErrorKind::Failed
    }

    /// Returns the remedy, if one is known.
    fn remedy(&self) -> Option<&'static str> {
        None
    }
}

/// Formats an error for an event as `error: source; remedy`.
pub fn reported(error: &dyn OutputError) -> ApplyError {
    let mut message = error.to_string();
    // One level only: the text of a source includes its own sources.
    if let Some(cause) = error.source() {
        message += &format!(": {cause}");
    }
    if let Some(remedy) = error.remedy() {
        message += &format!("; {remedy}");
    }
    ApplyError { kind: error.kind(), message }
}

/// Implements the conversion to [`ApplyError`] for these types.
macro_rules! into_apply_error {
    ($($error:ty),*) => {
        $(impl From<$error> for $crate::event::ApplyError {
            fn from(error: $error) -> Self {
                $crate::reconcile::error::reported(&error)
            }
        })*
    };
}
pub(crate) use into_apply_error;

/// A refused rtnetlink request.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Refused {
    /// The failed operation, such as "eth1: cannot set arp_ignore=1".
    what: String,
    source: NetlinkError,
}

impl Refused {
    pub fn new(what: impl Into<String>, source: NetlinkError) -> Self {
        Self { what: what.into(), source }
    }
}

impl OutputError for Refused {
    fn kind(&self) -> ApplyErrorKind {
        match self.source.errno() {
            Some(Errno::PERM | Errno::ACCESS) => ApplyErrorKind::Denied,
            Some(Errno::NODEV | Errno::NETDOWN) => ApplyErrorKind::Absent,
            Some(Errno::OPNOTSUPP) => ApplyErrorKind::Unsupported,
            _ => ApplyErrorKind::Failed,
        }
    }

    fn remedy(&self) -> Option<&'static str> {
        (self.kind() == ApplyErrorKind::Denied).then_some("CAP_NET_ADMIN is needed")
    }
}

/// A reconciler or a thread panicked and is restarted.
#[derive(Debug, thiserror::Error)]
#[error("{who} panicked and begins again: {text}")]
pub struct Panicked {
    who: String,
    text: String,
}

impl Panicked {
    /// Makes the error for `who`, which is restarted after `panic`.
    pub fn new(who: impl Into<String>, panic: &Panic) -> Self {
        Self { who: who.into(), text: panic.to_string() }
    }
}

impl OutputError for Panicked {}

/// Removing the gateway at the end timed out.
#[derive(Debug, thiserror::Error)]
#[error("putting everything back took too long: run `bramblegate off`")]
pub struct TooLong;

impl OutputError for TooLong {}

into_apply_error!(Refused, Panicked, TooLong);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_names_operation_cause_and_remedy() {
        let refused = |errno| {
            ApplyError::from(Refused::new(
                "eth1: cannot be switched on",
                NetlinkError::Refused { errno, reason: None },
            ))
        };
        let denied = refused(Errno::PERM);
        assert_eq!(denied.kind, ApplyErrorKind::Denied);
        let words = std::io::Error::from(Errno::PERM);
        assert_eq!(
            denied.message,
            format!("eth1: cannot be switched on: {words}; CAP_NET_ADMIN is needed")
        );
        assert_eq!(refused(Errno::NODEV).kind, ApplyErrorKind::Absent);
        assert!(!refused(Errno::NODEV).message.contains("CAP_NET_ADMIN"));
        let panicked = ApplyError::from(Panicked::new("routing", &Panic::of(&"unlucky")));
        assert_eq!(panicked.message, "routing panicked and begins again: unlucky");
    }
}
