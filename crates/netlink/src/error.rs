//! Errors of netlink sockets and requests.

use std::io;

use rustix::io::Errno;

/// Why a request failed, or a socket yields no messages.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The kernel rejected the request (`NLMSG_ERROR`), with its error number and, if given, its
    /// reason (`NLMSGERR_ATTR_MSG`); or it was not sent, because a value does not fit (`EMSGSIZE`).
    #[error("{errno}{}", in_parentheses(reason.as_deref()))]
    Refused {
        #[source]
        errno: Errno,
        reason: Option<String>,
    },
    /// The receive buffer was full and the kernel dropped messages (`ENOBUFS`): a new dump is
    /// needed.
    #[error("the kernel dropped messages that were not read in time")]
    Overrun,
    /// The kernel sent no reply.
    #[error("the kernel did not answer")]
    NoAnswer,
    /// The socket cannot be created, read or written.
    #[error("{0}")]
    Socket(#[source] io::Error),
}

impl NetlinkError {
    /// Returns the error of a value that does not fit into an attribute.
    pub(crate) fn too_long() -> Self {
        let reason = "a value is longer than an attribute can be".to_owned();
        Self::Refused { errno: Errno::MSGSIZE, reason: Some(reason) }
    }

    /// Returns the error number of a rejected request; `None` for other errors.
    pub const fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            Self::Overrun | Self::NoAnswer | Self::Socket(_) => None,
        }
    }

    /// Returns the closest error number, also for errors of the socket.
    pub fn nearest_errno(&self) -> Errno {
        match self {
            Self::Refused { errno, .. } => *errno,
            Self::Overrun => Errno::NOBUFS,
            Self::NoAnswer => Errno::TIMEDOUT,
            Self::Socket(error) => Errno::from_io_error(error).unwrap_or(Errno::IO),
        }
    }

    /// Returns whether the socket is unusable, so that the next request needs a new one.
    pub const fn is_of_socket(&self) -> bool {
        matches!(self, Self::Socket(_) | Self::NoAnswer)
    }
}

impl From<Errno> for NetlinkError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOBUFS => Self::Overrun,
            other => Self::Socket(other.into()),
        }
    }
}

impl From<io::Error> for NetlinkError {
    fn from(error: io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(Errno::NOBUFS) => Self::Overrun,
            _ => Self::Socket(error),
        }
    }
}

impl From<NetlinkError> for Errno {
    fn from(error: NetlinkError) -> Self {
        error.nearest_errno()
    }
}

impl From<NetlinkError> for io::Error {
    fn from(error: NetlinkError) -> Self {
        match error {
            NetlinkError::Socket(error) => error,
            NetlinkError::Refused { errno, reason: None } => errno.into(),
            other => Self::new(Self::from(other.nearest_errno()).kind(), other),
        }
    }
}

fn in_parentheses(reason: Option<&str>) -> String {
    reason.map(|reason| format!(" ({reason})")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejection_has_the_errno_and_the_reason() {
        let refused = |reason: Option<&str>| NetlinkError::Refused {
            errno: Errno::INVAL,
            reason: reason.map(str::to_owned),
        };
        assert_eq!(refused(None).to_string(), io::Error::from(Errno::INVAL).to_string());
        assert!(refused(Some("bad")).to_string().ends_with(" (bad)"));
        let error = io::Error::from(refused(Some("bad")));
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().ends_with(" (bad)"));
    }

    #[test]
    fn enobufs_is_always_an_overrun() {
        assert!(matches!(NetlinkError::from(Errno::NOBUFS), NetlinkError::Overrun));
        let error = io::Error::from(Errno::NOBUFS);
        assert!(matches!(NetlinkError::from(error), NetlinkError::Overrun));
    }
}
