//! `bramblegate off`: removes what the gateway added.

use std::path::Path;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::settings::DEFAULT_FILE;
use super::{exit, output, run, share_apply};
use crate::event::{ApplyError, ApplyErrorKind};
use crate::event_loop::{InstanceLock, LockError};
use crate::reconcile::link::LinkReconciler;
use crate::reconcile::{dhcp, firewall, routing};

/// How long to wait for the table's owner to exit, and the poll interval.
const OWNER_TIMEOUT: Duration = Duration::from_secs(1);
const POLL_INTERVAL: Duration = Duration::from_millis(20);
const STOP: &str = "stop it first (sudo systemctl stop bramblegate)";
const EXAMPLES: &str = "\
Examples:
  sudo bramblegate off";

/// Remove Bramblegate's rules, routes and settings from the kernel
///
/// Works also if the daemon has crashed. NAT ends, and the interfaces get back the settings that
/// they had before.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    pub config: super::settings::ConfigArg,
}

/// Removes what the gateway added. Exits with 0; with 75 while the daemon runs, 77 without root, 78
/// if a settings file was named and is not there.
pub fn main(args: Args) -> ExitCode {
    if !rustix::process::geteuid().is_root() {
        output::error(
            "off: only root may change what is in the kernel",
            "run it as `sudo bramblegate off`",
        );
        return ExitCode::from(exit::NO_PERMISSION);
    }
    // The settings are not needed, but if one names a file that is missing, it is probably
    // misspelt.
    if args.config.config != Path::new(DEFAULT_FILE) && !args.config.config.exists() {
        output::error(
            &format!("off: there is no {}", args.config.config.display()),
            "leave it out: `sudo bramblegate off` needs no settings",
        );
        return ExitCode::from(exit::CONFIG);
    }
    // Held to the end, so that no daemon starts meanwhile.
    let lock = InstanceLock::take(&run::run_directory());
    if let Err(LockError::Held { pid, .. }) = lock {
        let who = pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
        output::error(&format!("off: the daemon runs{who} and would put everything back"), STOP);
        return ExitCode::from(exit::TEMPORARY);
    }
    // A daemon with folders of its own holds another lock. Checked before anything is removed.
    if let Some(error) = owner() {
        output::failure("off", &error.message, STOP);
        return ExitCode::from(exit::TEMPORARY);
    }
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return ExitCode::from(exit::CANNOT_CREATE);
    };
    let mut errors: Vec<ApplyError> = Vec::new();
    runtime.block_on(async {
        let link = LinkReconciler::new(&run::state_directory());
        let routes = routing::restore().await.map_err(ApplyError::from);
        for result in [routes, link.put_back().map_err(ApplyError::from)] {
            match result {
                Ok(lines) => lines.iter().for_each(|line| output::out(&format!("{line}\n"))),
                Err(error) => errors.push(error),
            }
        }
    });
    if let Err(error) = dhcp::remove(&run::run_directory()) {
        output::error(
            &format!("off: dnsmasq's files: {error}"),
            "restart the machine: these files are in memory",
        );
    }
    // A daemon with folders of its own exports nothing.
    if run::run_directory() == Path::new("/run/bramblegate") {
        if let Err(error) = share_apply::remove() {
            let help = "see what is in the way in /etc/exports.d and /etc/nfs.conf.d";
            output::error(&format!("off: the exports of shared disks: {error}"), help);
        }
    }
    // Last, so that nothing is forwarded unfiltered.
    errors.extend(firewall::remove().err().map(ApplyError::from));
    for error in &errors {
        output::failure("off", &error.message, "restart the machine: nothing of it outlives that");
    }
    match errors.first() {
        None => {
            output::out("nothing of Bramblegate's is left in the kernel\n");
            ExitCode::SUCCESS
        }
        Some(error) if error.kind == ApplyErrorKind::Denied => ExitCode::from(exit::NO_PERMISSION),
        Some(_) => ExitCode::FAILURE,
    }
}

/// Returns an error if a live process owns our table. One that has just died may own it a moment
/// longer.
fn owner() -> Option<ApplyError> {
    let deadline = Instant::now() + OWNER_TIMEOUT;
    loop {
        let owner = firewall::owner().map(ApplyError::from);
        if owner.is_none() || Instant::now() >= deadline {
            return owner;
        }
        sleep(POLL_INTERVAL);
    }
}
