//! Errors of the firewall reconciler.

use std::fs;

use rustix::io::Errno;
use rustix::thread::{CapabilitySet, capabilities};

use crate::decide::firewall::TABLE;
use crate::event::ApplyErrorKind;
use crate::reconcile::error::{OutputError, into_apply_error};

/// This program's name in `/proc/PID/comm`.
const PROGRAM: &str = "bramblegate";

/// The subject of a refused dump, for messages.
pub const LISTING: &str = "listing of tables";

/// Why the rule set is not in the kernel.
#[derive(Debug, thiserror::Error)]
pub enum FirewallError {
    #[error("the rule set was accepted, but is not in the kernel")]
    Vanished,
    #[error("set {set} of table inet {TABLE} holds other elements than it was given")]
    OtherElements { set: String },
    #[error("the kernel lacks what {subject} needs (a module nft_*)")]
    NoModule { subject: String },
    #[error("the kernel has no nfnetlink (CONFIG_NETFILTER_NETLINK)")]
    NoNfnetlink,
    #[error("the kernel has no nf_tables (CONFIG_NF_TABLES, module nf_tables)")]
    NoNftables,
    #[error("the capability CAP_NET_ADMIN is missing: the kernel refused {subject}")]
    Denied { subject: String },
    #[error("the kernel refused {subject}")]
    Refused { subject: String, source: Errno },
    /// Another running instance of this program owns the table.
    #[error("another instance runs: process {owner} ({PROGRAM}) owns table inet {TABLE}")]
    OtherInstance { owner: u32 },
    /// Another or an unknown program owns the table.
    #[error("table inet {TABLE} belongs to another process that lives (netlink port {owner})")]
    OtherOwner { owner: u32 },
}

impl FirewallError {
    /// Converts an error number of nfnetlink. `subject` is the refused request.
    pub fn refused(errno: Errno, subject: &str) -> Self {
        let subject = || subject.to_owned();
        match errno {
            Errno::PERM | Errno::ACCESS if !has_net_admin() => Self::Denied { subject: subject() },
            Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT => Self::NoNfnetlink,
            Errno::OPNOTSUPP if matches!(subject().as_str(), "the rule set" | LISTING) => {
                Self::NoNftables
            }
            _ => Self::Refused { subject: subject(), source: errno },
        }
    }

    /// Returns the error for a table with this owner, a netlink port ID. That of a process's first
    /// netlink socket is its PID (netlink(7)) in its own PID namespace, so only the name of that
    /// process confirms it.
    pub fn belongs_to(owner: u32) -> Self {
        let name = fs::read_to_string(format!("/proc/{owner}/comm")).unwrap_or_default();
        if name.trim() == PROGRAM {
            Self::OtherInstance { owner }
        } else {
            Self::OtherOwner { owner }
        }
    }
}

impl OutputError for FirewallError {
    fn kind(&self) -> ApplyErrorKind {
        match self {
            Self::NoModule { .. } | Self::NoNfnetlink | Self::NoNftables => {
                ApplyErrorKind::Unsupported
            }
            Self::Denied { .. } => ApplyErrorKind::Denied,
            Self::OtherInstance { .. } => ApplyErrorKind::Held,
            Self::Vanished
            | Self::OtherElements { .. }
            | Self::Refused { .. }
            | Self::OtherOwner { .. } => ApplyErrorKind::Failed,
        }
    }

    fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::OtherInstance { .. } => Some("stop it first (sudo systemctl stop bramblegate)"),
            Self::OtherOwner { .. } => Some("stop it"),
            _ => None,
        }
    }
}

into_apply_error!(FirewallError);

pub fn has_net_admin() -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::NET_ADMIN))
}
