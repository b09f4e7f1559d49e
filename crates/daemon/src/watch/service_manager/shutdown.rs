//! Why are we being stopped? The unit's `ExecStop` (`systemd/before-stop`) asks systemd and leaves
//! the answer in a file.
//!
//! It has to be root that asks, over systemd's private socket: the system bus is stopped before a
//! unit that has to outlive the network, and an answer of the bus would come too late or not at
//! all.

use std::path::Path;

use crate::event::Stop;
use crate::files::reading;

const ANSWER: &str = "/run/bramblegate.stopping";

/// Returns the reason of a SIGTERM; a plain stop unless another is known.
pub fn reason() -> Stop {
    let answer = reading::text(Path::new(ANSWER)).unwrap_or_default();
    reason_of(&answer, std::process::id())
}

/// Reads `PID REASON`; meant for another process, it is an old one.
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
    fn what_the_unit_left_is_the_reason() {
        assert_eq!(reason_of("17 poweroff\n", 17), Stop::PowerOff);
        assert_eq!(reason_of("17 reboot\n", 17), Stop::Reboot);
        assert_eq!(reason_of("17 restart\n", 17), Stop::Restart);
        assert_eq!(reason_of("17 stop\n", 17), Stop::Terminated);
    }

    #[test]
    fn an_answer_for_another_process_or_none_is_a_plain_stop() {
        assert_eq!(reason_of("16 poweroff\n", 17), Stop::Terminated);
        assert_eq!(reason_of("", 17), Stop::Terminated);
        assert_eq!(reason_of("poweroff", 17), Stop::Terminated);
    }
}
