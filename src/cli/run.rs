//! `bramblegate run`: runs the daemon.

pub mod unset;

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::thread::{CapabilitySet, capabilities};

use super::{exit, output, settings};
use crate::config::{Fault, Settings};
use crate::event_loop::{self, Fatal, InstanceLock, LockError, Options};
use crate::files::folder::Folder;
use crate::reconcile::journal::LogOptions;
use crate::watch::service_manager::Signals;

const EXAMPLES: &str = "\
Examples:
  bramblegate run                          with the settings of this machine
  bramblegate run -c bramblegate.toml      with other settings
  bramblegate run -v                       with details in the log; -vv has all of them";

/// Run the gateway in the foreground; systemd does this
///
/// Without settings it only shows: addresses on display and LED, and nothing in the network is
/// changed until `bramblegate setup` has written some.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    pub config: settings::ConfigArg,
    /// Log warnings and errors only
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Log details too
    ///
    /// As with RUST_LOG=debug; given twice: as with RUST_LOG=trace.
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

impl Args {
    /// Parses the unit's command line, which has at most a settings file, without `clap`: the
    /// daemon would keep the parser and the definitions of all verbs in memory. `None` for any
    /// other command line.
    pub fn of_service(line: &[OsString]) -> Option<Self> {
        let config = match line {
            [_, verb] if verb == "run" => settings::default_file(),
            [_, verb, option, file]
                if verb == "run" && (option == "-c" || option == "--config") && is_name(file) =>
            {
                PathBuf::from(file)
            }
            _ => return None,
        };
        Some(Self { config: settings::ConfigArg { config }, quiet: false, verbose: 0 })
    }

    /// Returns the options of the log.
    fn log(&self) -> LogOptions {
        let details = match self.verbose {
            0 => None,
            1 => Some("debug".to_owned()),
            _ => Some("trace".to_owned()),
        };
        LogOptions { details, is_quiet: self.quiet, colours: output::wanted_colours() }
    }
}

/// Returns whether an argument is a file's name, and not another option.
fn is_name(argument: &OsStr) -> bool {
    !argument.is_empty() && !argument.as_encoded_bytes().starts_with(b"-")
}

/// Why the gateway did not start, or had to end.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error("the runtime cannot be started: {0}")]
    Runtime(io::Error),
    #[error("signals cannot be caught: {0}")]
    Signals(io::Error),
    #[error("{}", settings::lines(.0))]
    Settings(Vec<Fault>),
    #[error("CAP_NET_ADMIN is missing")]
    NoNetAdmin,
    #[error("{} belongs to another user, and root does not run from there", .0.display())]
    AnothersFolder(PathBuf),
    #[error("{}", lock_text(.0))]
    Lock(LockError),
    #[error("{}", fatal_text(.0))]
    Fatal(Fatal),
}

impl RunError {
    /// Returns the remedy; `None` if the error itself has it.
    fn help(&self) -> Option<&'static str> {
        Some(match self {
            Self::Settings(_) => return None,
            Self::Runtime(_) | Self::Signals(_) => {
                "end other programs: the kernel has run out of memory or files"
            }
            Self::NoNetAdmin => {
                "start the service (sudo systemctl start bramblegate) or run it as root"
            }
            Self::AnothersFolder(_) => {
                "start the service (sudo systemctl start bramblegate), or name a folder of root's \
                 in $RUNTIME_DIRECTORY"
            }
            Self::Lock(LockError::Held { .. }) | Self::Fatal(Fatal::Held(_)) => {
                "stop it first (sudo systemctl stop bramblegate)"
            }
            Self::Lock(LockError::Io { .. }) => {
                "name a folder in $RUNTIME_DIRECTORY where it can be made (the service does)"
            }
            Self::Fatal(_) => "`sudo bramblegate doctor` checks the kernel and the rights",
        })
    }

    fn exit(&self) -> u8 {
        match self {
            // systemd restarts the unit after 71 (a file out of reach), not after 78.
            Self::Settings(faults) if !settings::are_out_of_reach(faults) => exit::CONFIG,
            Self::Lock(LockError::Held { .. }) | Self::Fatal(Fatal::Held(_)) => exit::TEMPORARY,
            Self::NoNetAdmin | Self::Fatal(Fatal::Denied(_)) => exit::NO_PERMISSION,
            Self::Fatal(Fatal::Unsupported(_)) => exit::UNAVAILABLE,
            Self::Settings(_)
            | Self::Runtime(_)
            | Self::Signals(_)
            | Self::AnothersFolder(_)
            | Self::Lock(LockError::Io { .. })
            | Self::Fatal(Fatal::CannotCreate(_)) => exit::CANNOT_CREATE,
        }
    }
}

fn fatal_text(fatal: &Fatal) -> &str {
    match fatal {
        Fatal::Unsupported(text)
        | Fatal::CannotCreate(text)
        | Fatal::Denied(text)
        | Fatal::Held(text) => text,
    }
}

/// Runs the daemon. Exits with 0 when it was stopped; with 69, 71, 75, 77 or 78 for a `RunError`.
pub fn main(args: Args) -> ExitCode {
    match start(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            match error.help() {
                Some(help) => output::failure("run", &error.to_string(), help),
                None => output::err(&format!("{error}\n")),
            }
            ExitCode::from(error.exit())
        }
    }
}

/// Runs the gateway until it is stopped.
fn start(args: Args) -> Result<(), RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(RunError::Runtime)?;
    // First of all, so that a stop signal during the start ends it cleanly.
    let signals = runtime.block_on(async { Signals::catch() }).map_err(RunError::Signals)?;
    let log = args.log();
    let path = args.config.config;
    // Only the settings are kept: the text of their files may be many times as long.
    let settings = read_settings(&path).map_err(RunError::Settings)?;
    check_capabilities(&settings)?;
    own_run_folder(&run_directory())?;
    let _lock = InstanceLock::take(&run_directory()).map_err(RunError::Lock)?;
    let is_unset = AtomicBool::new(settings.unset.is_some());
    let options = Options {
        settings: settings.into(),
        load: Arc::new(move || reload(&path, &is_unset)),
        state_directory: state_directory(),
        run_directory: run_directory(),
        log,
    };
    let result = runtime.block_on(event_loop::run(options, signals));
    // A bus that hangs must not delay the exit.
    runtime.shutdown_background();
    result.map_err(RunError::Fatal)
}

/// Returns the settings of a file, or those that only show if the head is not set up.
fn read_settings(path: &Path) -> Result<Settings, Vec<Fault>> {
    if unset::is_unset(path) {
        return unset::settings();
    }
    settings::load(path).map(|merged| merged.settings)
}

/// Reads the settings again. Settings that vanish while the gateway uses them are an error: the state
/// without settings would open what they close.
fn reload(path: &Path, is_unset: &AtomicBool) -> Result<Settings, String> {
    let read = if is_unset.load(Ordering::Relaxed) {
        read_settings(path)
    } else {
        settings::load(path).map(|merged| merged.settings)
    };
    if let Ok(settings) = &read {
        is_unset.store(settings.unset.is_some(), Ordering::Relaxed);
    }
    read.map_err(|faults| faults.iter().map(Fault::on_one_line).collect::<Vec<_>>().join("; "))
}

/// Refuses to run as root with a run folder of another user, who could make dnsmasq, which opens
/// its files by name, read others.
fn own_run_folder(folder: &Path) -> Result<(), RunError> {
    if !rustix::process::geteuid().is_root()
        || !Folder::open(folder).is_ok_and(|folder| folder.is_anothers())
    {
        return Ok(());
    }
    // It may be the running service's own folder: then its lock is the cause.
    let held = InstanceLock::held(folder).map(RunError::Lock);
    Err(held.unwrap_or_else(|| RunError::AnothersFolder(folder.to_owned())))
}

/// Returns the folder of the instance lock: `$RUNTIME_DIRECTORY`.
pub fn run_directory() -> PathBuf {
    directory("RUNTIME_DIRECTORY", "/run/bramblegate")
}

/// Returns the folder of persistent state: `$STATE_DIRECTORY`.
pub fn state_directory() -> PathBuf {
    directory("STATE_DIRECTORY", "/var/lib/bramblegate")
}

fn directory(variable: &str, default: &str) -> PathBuf {
    std::env::var_os(variable)
        .filter(|path| !path.is_empty())
        .map_or_else(|| PathBuf::from(default), PathBuf::from)
}

/// Checks that the process may change the network, if the settings require it.
fn check_capabilities(settings: &Settings) -> Result<(), RunError> {
    let held = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    if settings.gateway.enabled && !held.contains(CapabilitySet::NET_ADMIN) {
        return Err(RunError::NoNetAdmin);
    }
    Ok(())
}

/// Returns the message for a lock that could not be taken.
fn lock_text(error: &LockError) -> String {
    match error {
        LockError::Held { path, pid } => {
            let who =
                pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
            format!("another instance runs: {who} holds {}", path.display())
        }
        LockError::Io { path, error } => {
            format!("{} cannot be made: {error}", path.display())
        }
    }
}
