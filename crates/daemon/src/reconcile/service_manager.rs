//! The service manager: sd_notify(3). Without one, nothing happens.
//!
//! `Type=notify` of systemd 252 and later: a reload is `RELOADING=1`, then `READY=1`.

use std::time::Duration;

use sd_notify::NotifyState;
use tracing::debug;

/// Reports that the gateway does its work, or that the settings have been taken.
pub fn ready() {
    report(&[NotifyState::Ready]);
}

/// Settings are being read again; [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => report(&[NotifyState::Reloading, now]),
        Err(_) => report(&[NotifyState::Reloading]),
    }
}

/// Reports that the end has begun.
pub fn stopping() {
    report(&[NotifyState::Stopping]);
}

/// Reports one line for `systemctl status`.
pub fn status(line: &str) {
    // A line break would be read as the next assignment.
    report(&[NotifyState::Status(&line.replace('\n', " "))]);
}

/// Reports that the main loop lives.
pub fn watchdog() {
    report(&[NotifyState::Watchdog]);
}

/// Returns how often to call [`watchdog`]: half of what the unit's `WatchdogSec=` allows. `None`
/// without a watchdog.
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|allowed| allowed / 2)
}

fn report(state: &[NotifyState<'_>]) {
    // No manager to notify is no fault of ours; the manager sees for itself when we are silent.
    if let Err(error) = sd_notify::notify(state) {
        debug!(%error, "the service manager was not notified");
    }
}
