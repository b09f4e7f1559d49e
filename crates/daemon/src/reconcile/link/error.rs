//! Errors of the link reconciler.

use std::io;
use std::path::PathBuf;

use ipnet::IpNet;

use crate::event::ApplyErrorKind;
use crate::reconcile::error::{OutputError, Refused, into_apply_error};

/// An error of a port's settings or addresses.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("{port}: the interface is not there")]
    Gone { port: String },
    #[error("{port}: there is no IPv4 on it; is its MTU below 68?")]
    NoIpv4 { port: String },
    /// The ports in `others` answer ARP requests for any address of the head.
    #[error("{port}: {address} has to wait, or {others} would answer ARP for it")]
    Exposed { port: String, address: IpNet, others: String },
    #[error("cannot set net.ipv6.conf.{name}={value}")]
    Ipv6 { name: String, value: u32, source: io::Error },
    #[error("{} cannot be removed", path.display())]
    RecordStays { path: PathBuf, source: io::Error },
}

impl OutputError for LinkError {
    fn kind(&self) -> ApplyErrorKind {
        match self {
            Self::Refused(error) => error.kind(),
            Self::Gone { .. } | Self::NoIpv4 { .. } => ApplyErrorKind::Absent,
            Self::RecordStays { source, .. } | Self::Ipv6 { source, .. }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                ApplyErrorKind::Denied
            }
            Self::Exposed { .. } | Self::RecordStays { .. } | Self::Ipv6 { .. } => {
                ApplyErrorKind::Failed
            }
        }
    }

    fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Refused(error) => error.remedy(),
            Self::Ipv6 { .. } => Some(
                "the unit needs ReadWritePaths=-/proc/sys/net/ipv6/conf; ipv6 = \"off\" in [cluster] \
                 does without",
            ),
            _ => None,
        }
    }
}

into_apply_error!(LinkError);
