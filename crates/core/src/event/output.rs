//! What reconcilers report about their outputs.

use std::fmt;
use std::time::Duration;

use crate::panel::DeviceError;

/// Names the outputs; each has a reconciler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Output {
    Link,
    Firewall,
    Routing,
    Conntrack,
    Clat,
    Dnsmasq,
    Pref64,
    Withdrawal,
    Display,
    Indicator,
    Status,
    Journal,
    Manager,
}

impl Output {
    /// Returns whether READY waits for it; all other outputs are optional.
    pub const fn is_essential(self) -> bool {
        matches!(self, Self::Link | Self::Firewall | Self::Routing)
    }
}

/// Reports the result of applying one desired value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplyReport {
    pub output: Output,
    pub result: Result<Applied, ApplyError>,
}

/// Reports what an output holds now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// No details to report.
    Done,
    /// The rule set is in the kernel.
    Firewall {
        /// Our masquerade rule was read back from the kernel.
        masquerade: bool,
        /// The table has `NFT_TABLE_F_OWNER`: other programs cannot change it.
        owned: bool,
        /// Whether the kernel accepted the flow table; `None`: not needed.
        flow_table: Option<bool>,
        /// Whether connections to a node that is down are rejected; false: dropped, as the kernel
        /// has no `nft_reject_inet`. `None`: there are none to reject.
        rejects: Option<bool>,
        /// The rules of an earlier run were still loaded, and were adopted.
        adopted: bool,
    },
    /// The LCD acknowledged these lines (columns × rows scalars each); `bytes` since the start, and
    /// the time that writing them took, the controller's pauses included;
    /// `lit`: so is the backlight;
    /// `blind`: adapter or chip cannot be read, so a short loss of power stays unseen until the
    /// next full draw.
    Display { lines: Vec<String>, bytes: u64, bus_time: Duration, lit: bool, blind: bool },
    /// The LED is driven; how many LEDs it has and what it is ("blinkstick BS012345-3.0").
    Indicator { leds: u16, name: String },
    /// Rules and routes are in the kernel.
    Routing {
        /// Another program had removed rules that this run had added.
        drifted: bool,
    },
    /// Number of entries deleted from connection tracking.
    Conntrack { deleted: u32 },
    /// The ports have their settings and addresses.
    Link {
        /// Why the previous state of the ports could not be saved.
        unkept: Option<String>,
    },
    /// The nodes are served; `without_names`: why without DNS, though the settings want it.
    Dnsmasq { without_names: Option<String> },
}

/// Describes why an output could not be brought to its desired state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplyError {
    pub kind: ApplyErrorKind,
    /// One sentence that names the path, interface or rule, and the remedy if one is known.
    pub message: String,
}

/// Classifies an error by how it is handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApplyErrorKind {
    /// The device or interface does not exist; not a fault of the output.
    Absent,
    /// Switched off in the settings.
    Off,
    /// It depends on another output that is not ready, which reports its own errors; retried
    /// silently.
    Waiting,
    /// The reconciler retries with backoff.
    Failed,
    /// The kernel lacks the feature.
    Unsupported,
    /// A capability or permission is missing.
    Denied,
    /// Another running instance of this program holds it.
    Held,
}

impl From<DeviceError> for ApplyError {
    fn from(error: DeviceError) -> Self {
        let kind = match error {
            DeviceError::Absent(_) => ApplyErrorKind::Absent,
            DeviceError::Denied(_) => ApplyErrorKind::Denied,
            DeviceError::Failed(_) => ApplyErrorKind::Failed,
        };
        Self { kind, message: error.to_string() }
    }
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Returns a message without the " (os error 2)" that [`std::io::Error`] appends. Errors of every
/// crate contain it, so it is removed where text leaves the program.
pub fn in_words(message: &str) -> String {
    const NUMBER: &str = " (os error ";
    let mut parts = message.split(NUMBER);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let number = part
            .find(|c: char| !c.is_ascii_digit())
            .filter(|end| *end > 0 && part.get(*end..=*end) == Some(")"));
        match number.and_then(|end| part.get(end + 1..)) {
            Some(rest) => text + rest,
            None => text + NUMBER + part,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_for_people_has_words_and_no_numbers_of_errors() {
        let error = std::io::Error::from_raw_os_error(2);
        let message = format!("/dev/x: {error}; /dev/y: {error}: try again");
        assert_eq!(
            in_words(&message),
            "/dev/x: No such file or directory; /dev/y: No such file or directory: try again"
        );
        for other in ["", "no number", "an (os error x) of its own", "cut off (os error 2"] {
            assert_eq!(in_words(other), other);
        }
    }
}
