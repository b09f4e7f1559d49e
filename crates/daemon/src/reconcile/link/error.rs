//! Why a port is not as it should be.

use std::io;
use std::path::PathBuf;

use ipnet::IpNet;

use crate::event::ApplyErrorKind;
use crate::reconcile::error::{OutputError, Refused, into_apply_error};

/// An error of the ports.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("{port}: the interface is not there")]
    Gone { port: String },
    #[error("{port}: there is no IPv4 on it; is its MTU below 68?")]
    NoIpv4 { port: String },
    /// `others` answer ARP for any address of the head
    #[error("{port}: {address} has to wait, or {others} would answer ARP for it")]
    Exposed { port: String, address: IpNet, others: String },
    #[error("{} cannot be removed", path.display())]
    RecordStays { path: PathBuf, source: io::Error },
}

impl OutputError for LinkError {
    fn kind(&self) -> ApplyErrorKind {
        match self {
            Self::Refused(error) => error.kind(),
            Self::Gone { .. } | Self::NoIpv4 { .. } => ApplyErrorKind::Absent,
            Self::RecordStays { source, .. }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                ApplyErrorKind::Denied
            }
            Self::Exposed { .. } | Self::RecordStays { .. } => ApplyErrorKind::Failed,
        }
    }

    fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Refused(error) => error.remedy(),
            _ => None,
        }
    }
}

into_apply_error!(LinkError);
