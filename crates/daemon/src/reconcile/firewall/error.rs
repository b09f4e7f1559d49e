//! Why the rule set is not in the kernel.

use std::fs;

use rustix::io::Errno;
use rustix::thread::{CapabilitySet, capabilities};

use crate::decide::firewall::TABLE;
use crate::event::ApplyErrorKind;
use crate::reconcile::error::{OutputError, into_apply_error};

/// This program's name as the kernel has it (`/proc/PID/comm`).
const PROGRAM: &str = "bramblegate";

/// What is asked before and after, in messages.
pub const LISTING: &str = "listing of tables";

/// An error of the firewall.
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
    /// another instance of this program lives and owns the table
    #[error("another instance runs: process {owner} ({PROGRAM}) owns table inet {TABLE}")]
    OtherInstance { owner: u32 },
    /// who owns the table is not known by name
    #[error("table inet {TABLE} belongs to another process that lives (netlink port {owner})")]
    OtherOwner { owner: u32 },
}

impl FirewallError {
    /// Returns what an error number of nfnetlink means to the user; `subject`: what the kernel was
    /// asked for.
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

    /// Returns who owns the table. The port of a process's first netlink socket is its number
    /// (netlink(7)), as seen from its own PID namespace: only the name that it has there makes it
    /// certain.
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
