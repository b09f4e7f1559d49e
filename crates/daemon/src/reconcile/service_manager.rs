//! Notifies the service manager (sd_notify(3)), if there is one.
//!
//! `Type=notify` of systemd 252 and later: a reload is `RELOADING=1`, then `READY=1`.

use std::time::Duration;

use sd_notify::NotifyState;
use tracing::debug;

/// Reports that the gateway is up, or that a reload has ended.
pub fn ready() {
    report(&[NotifyState::Ready]);
}

/// Reports the start of a reload; [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => report(&[NotifyState::Reloading, now]),
        Err(_) => report(&[NotifyState::Reloading]),
    }
}

/// Reports that the daemon is stopping.
pub fn stopping() {
    report(&[NotifyState::Stopping]);
}

/// Reports one line for `systemctl status`.
pub fn status(line: &str) {
    // A line break would be read as the next assignment.
    report(&[NotifyState::Status(&line.replace('\n', " "))]);
}

/// Renews the watchdog.
pub fn watchdog() {
    report(&[NotifyState::Watchdog]);
}

/// Returns the interval at which to call [`watchdog`], half of the unit's `WatchdogSec=`. `None`
/// without a watchdog.
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|timeout| timeout / 2)
}

fn report(state: &[NotifyState<'_>]) {
    // Not an alert: a manager that receives nothing acts by its own timeouts.
    if let Err(error) = sd_notify::notify(state) {
        debug!(%error, "the service manager was not notified");
    }
}
