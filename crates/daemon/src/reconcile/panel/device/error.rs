//! Errors of the panel other than those of its devices.

use std::io;
use std::path::PathBuf;

use crate::event::ApplyErrorKind;
use crate::reconcile::error::{OutputError, into_apply_error};

/// Why a display or an LED does not work.
#[derive(Debug, thiserror::Error)]
pub enum PanelError {
    #[error("{what} is switched off in the settings")]
    SwitchedOff { what: &'static str },
    #[error("the {name}'s thread cannot be started")]
    NoThread { name: &'static str, source: io::Error },
    #[error("no indicator")]
    NoIndicator,
    #[error("{}", path.display())]
    ScriptUnread { path: PathBuf, source: io::Error },
    #[error("{}: {fault}", path.display())]
    ScriptWrong { path: PathBuf, fault: String },
    #[error("emulator's log")]
    NoLog(#[source] io::Error),
}

impl OutputError for PanelError {
    fn kind(&self) -> ApplyErrorKind {
        match self {
            Self::SwitchedOff { .. } => ApplyErrorKind::Off,
            _ => ApplyErrorKind::Failed,
        }
    }
}

into_apply_error!(PanelError);
