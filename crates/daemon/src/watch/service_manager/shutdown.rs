//! Finds out why the daemon is being stopped. The unit's `ExecStop` (`systemd/before-stop`) queries
//! systemd and writes the answer to a file.
//!
//! That query needs root and systemd's private socket: the system bus is stopped before a unit that
//! has to outlive the network, so a reply over the bus would come too late or not at all.

use std::path::Path;

use crate::event::Stop;
use crate::files::reading;

const ANSWER: &str = "/run/bramblegate.stopping";

/// Returns the reason for a SIGTERM; a plain stop if the file names none.
pub fn reason() -> Stop {
    let answer = reading::text(Path::new(ANSWER)).unwrap_or_default();
    reason_of(&answer, std::process::id())
}

/// Parses `PID REASON`; an answer with the PID of another process is stale.
fn reason_of(answer: &str, process: u32) -> Stop {
    match answer.trim().split_once(' ') {
        Some((pid, reason)) if pid.parse() == Ok(process) => match reason {
            "poweroff" => Stop::PowerOff,
            "reboot" => Stop::Reboot,
            "restart" => Stop::Restart,
            _ => Stop::Terminated,
        },
        _ => Stop::Terminated,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_the_unit_gives_the_reason() {
        assert_eq!(reason_of("17 poweroff\n", 17), Stop::PowerOff);
        assert_eq!(reason_of("17 reboot\n", 17), Stop::Reboot);
        assert_eq!(reason_of("17 restart\n", 17), Stop::Restart);
        assert_eq!(reason_of("17 stop\n", 17), Stop::Terminated);
    }

    #[test]
    fn a_stale_or_missing_answer_means_a_plain_stop() {
        assert_eq!(reason_of("16 poweroff\n", 17), Stop::Terminated);
        assert_eq!(reason_of("", 17), Stop::Terminated);
        assert_eq!(reason_of("poweroff", 17), Stop::Terminated);
    }
}
