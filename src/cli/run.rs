//! `bramblegate run`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use rustix::thread::{CapabilitySet, capabilities};

use super::{exit, output, settings};
use crate::config::{Fault, Settings};
use crate::event_loop::{self, Fatal, InstanceLock, LockError, Options};
use crate::files::folder::Folder;
use crate::watch::service_manager::Signals;

const EXAMPLES: &str = "\
Examples:
  bramblegate run                          with the settings of this machine
  bramblegate run -c bramblegate.toml      with others";

/// Be the gateway, in the foreground; what systemd starts
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    pub config: settings::ConfigArg,
}

pub fn main(args: Args) -> ExitCode {
    match start(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, message)) => {
            output::err(&format!("{message}\n"));
            ExitCode::from(code)
        }
    }
}

fn start(args: Args) -> Result<(), (u8, String)> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
            (exit::CANNOT_CREATE, format!("the runtime cannot be started: {error}"))
        })?;
    // First of all: who is told to stop while it starts stops cleanly.
    let signals = runtime
        .block_on(async { Signals::catch() })
        .map_err(|error| (exit::CANNOT_CREATE, format!("signals cannot be caught: {error}")))?;
    let path = args.config.config;
    // Only the settings are kept: the files they came from may be many times as long.
    let loaded = settings::load(&path).map_err(|faults| {
        // The unit tries again after the one and not after the other.
        let code =
            if settings::are_out_of_reach(&faults) { exit::CANNOT_CREATE } else { exit::CONFIG };
        (code, lines(&faults))
    });
    let settings = loaded?.settings;
    check_capabilities(&settings)?;
    own_run_folder(&run_directory())?;
    let _lock = InstanceLock::take(&run_directory()).map_err(refused)?;
    let options = Options {
        settings: settings.into(),
        load: Arc::new(move || {
            settings::load(&path).map(|merged| merged.settings).map_err(|faults| lines(&faults))
        }),
        state_directory: state_directory(),
        run_directory: run_directory(),
    };
    let result = runtime.block_on(event_loop::run(options, signals));
    // A bus that hangs must not hold the end up.
    runtime.shutdown_background();
    result.map_err(|fatal| match fatal {
        Fatal::Unsupported(message) => (exit::UNAVAILABLE, message),
        Fatal::CannotCreate(message) => (exit::CANNOT_CREATE, message),
        Fatal::Denied(message) => (exit::NO_PERMISSION, message),
        Fatal::Held(message) => (exit::TEMPORARY, message),
    })
}

/// Root does not run out of a folder of somebody else: its owner could give dnsmasq, which opens
/// its files by their names, others to read.
fn own_run_folder(folder: &Path) -> Result<(), (u8, String)> {
    if !rustix::process::geteuid().is_root()
        || !Folder::open(folder).is_ok_and(|folder| folder.is_anothers())
    {
        return Ok(());
    }
    // The service's own folder, while it runs: that is the reason, and the other one only stands
    // behind it.
    if let Some(held) = InstanceLock::held(folder) {
        return Err(refused(held));
    }
    let message = format!(
        "{} belongs to another user, and root does not run from there: start the service (sudo systemctl start bramblegate), or name a folder of root's in $RUNTIME_DIRECTORY",
        folder.display()
    );
    Err((exit::CANNOT_CREATE, message))
}

/// One fault a line.
fn lines(faults: &[Fault]) -> String {
    faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n")
}

/// Where the instance lock is: `$RUNTIME_DIRECTORY`.
pub fn run_directory() -> PathBuf {
    directory("RUNTIME_DIRECTORY", "/run/bramblegate")
}

/// What outlives the daemon: `$STATE_DIRECTORY`.
pub fn state_directory() -> PathBuf {
    directory("STATE_DIRECTORY", "/var/lib/bramblegate")
}

fn directory(variable: &str, default: &str) -> PathBuf {
    std::env::var_os(variable)
        .filter(|path| !path.is_empty())
        .map_or_else(|| PathBuf::from(default), PathBuf::from)
}

fn check_capabilities(settings: &Settings) -> Result<(), (u8, String)> {
    let held = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    if settings.gateway.enabled && !held.contains(CapabilitySet::NET_ADMIN) {
        let message = "CAP_NET_ADMIN is missing: start the service (sudo systemctl start bramblegate) or run it as root";
        return Err((exit::NO_PERMISSION, message.to_owned()));
    }
    Ok(())
}

fn refused(error: LockError) -> (u8, String) {
    match error {
        LockError::Held { path, pid } => {
            let who =
                pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
            let message = format!(
                "another instance runs: {who} holds {}; stop it first (sudo systemctl stop bramblegate)",
                path.display()
            );
            (exit::TEMPORARY, message)
        }
        LockError::Io { path, error } => {
            let message = format!(
                "{} cannot be made: {error}; name a folder in $RUNTIME_DIRECTORY where it can (the service does)",
                path.display()
            );
            (exit::CANNOT_CREATE, message)
        }
    }
}
