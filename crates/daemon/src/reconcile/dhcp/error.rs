//! Errors of the dnsmasq supervisor.

use std::io;
use std::path::PathBuf;

use crate::event::ApplyErrorKind;
use crate::reconcile::error::{OutputError, into_apply_error};

/// Why dnsmasq does not serve the nodes.
#[derive(Debug, thiserror::Error)]
pub enum DnsmasqError {
    #[error(
        "dnsmasq is not installed, so the nodes get no addresses and names from here: sudo apt install dnsmasq-base"
    )]
    NotInstalled,
    #[error("{} cannot be started", program.display())]
    NotStarted { program: PathBuf, source: io::Error },
    #[error("dnsmasq's files cannot be written")]
    NotWritten(#[from] io::Error),
    /// It exited before it logged its start; `how` is the exit code or signal.
    #[error("dnsmasq does not start: {why} ({how})")]
    EndsAtOnce { why: String, how: String },
    /// The text names no process: the unit's sandbox hides it, but root can see it.
    #[error(
        "another program has port 67 (DHCP), so dnsmasq cannot start, and nodes get neither addresses nor names"
    )]
    DhcpPortTaken,
    #[error("dnsmasq does not start: it has not said so within {seconds} s")]
    StartsTooLong { seconds: u64 },
    #[error("dnsmasq ends again and again ({how}), last with: {why}")]
    EndsAgain { why: String, how: String },
    #[error(
        "dnsmasq hangs ({why}), so nodes get neither addresses nor names: it is killed and started again"
    )]
    Hangs { why: String },
}

impl OutputError for DnsmasqError {
    fn kind(&self) -> ApplyErrorKind {
        match self {
            Self::NotInstalled => ApplyErrorKind::Absent,
            _ => ApplyErrorKind::Failed,
        }
    }

    fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::DhcpPortTaken => {
                Some("stop that program (`sudo bramblegate doctor` names it, with the command)")
            }
            _ => None,
        }
    }
}

into_apply_error!(DnsmasqError);
