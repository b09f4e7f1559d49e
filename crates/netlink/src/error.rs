//! What can go wrong between a program and the kernel.

use std::io;

use rustix::io::Errno;

/// Names why a request was not carried out, or why a socket gives no messages.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The kernel refused a request (`NLMSG_ERROR`): its error number and, where it gave one, its
    /// reason (`NLMSGERR_ATTR_MSG`).
    #[error("{errno}{}", in_brackets(reason.as_deref()))]
    Refused {
        #[source]
        errno: Errno,
        reason: Option<String>,
    },
    /// The receive buffer was full and the kernel dropped messages (`ENOBUFS`): what is known by
    /// them has to be listed anew.
    #[error("the kernel dropped messages that were not read in time")]
    Overrun,
    /// The kernel did not answer a request.
    #[error("the kernel did not answer")]
    NoAnswer,
    /// The socket cannot be made, read or written.
    #[error("{0}")]
    Socket(#[source] io::Error),
}

impl NetlinkError {
    /// Returns the error number of the kernel's refusal; `None` where it did not answer.
    pub const fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            Self::Overrun | Self::NoAnswer | Self::Socket(_) => None,
        }
    }

    /// Returns the error number that fits best, also where the socket itself failed.
    pub fn nearest_errno(&self) -> Errno {
        match self {
            Self::Refused { errno, .. } => *errno,
            Self::Overrun => Errno::NOBUFS,
            Self::NoAnswer => Errno::TIMEDOUT,
            Self::Socket(error) => Errno::from_io_error(error).unwrap_or(Errno::IO),
        }
    }

    /// Returns whether the socket is of no more use: the next request needs a new one.
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

fn in_brackets(reason: Option<&str>) -> String {
    reason.map(|reason| format!(" ({reason})")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_number_and_the_reason() {
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
    fn a_full_buffer_is_an_overrun_by_whatever_way_it_comes() {
        assert!(matches!(NetlinkError::from(Errno::NOBUFS), NetlinkError::Overrun));
        let error = io::Error::from(Errno::NOBUFS);
        assert!(matches!(NetlinkError::from(error), NetlinkError::Overrun));
    }
}
