//! What reconcilers report of their outputs.

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
    Display,
    Indicator,
    Status,
    Journal,
    Manager,
}

impl Output {
    /// Returns whether READY waits for it; the others are optional and may be absent for ever.
    pub const fn is_essential(self) -> bool {
        matches!(self, Self::Link | Self::Firewall | Self::Routing)
    }
}

/// Reports how one application of a desired value went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplyReport {
    pub output: Output,
    pub result: Result<Applied, ApplyError>,
}

/// Reports what an output holds now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// Nothing more to say.
    Done,
    /// The rule set is in the kernel.
    Firewall {
        /// Read back from the kernel: a masquerade rule of ours is there.
        masquerade: bool,
        /// The kernel keeps others from changing the table.
        owned: bool,
        /// A flow table speeds established connections up, or would if the kernel took it; `None`:
        /// nothing for it to do.
        flow_table: Option<bool>,
        /// Connections to a node that is down are rejected, or just dropped as the kernel has no
        /// `nft_reject_inet`; `None`: there are none to reject.
        rejects: Option<bool>,
        /// Rules that were already there (ours, of an earlier run) were adopted.
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
        /// Another program had taken rules away that this run had put there.
        drifted: bool,
    },
    /// Entries deleted from connection tracking.
    Conntrack { deleted: u32 },
    /// The ports hold their settings and addresses.
    Link {
        /// Why it could not be written down how they were before.
        unkept: Option<String>,
    },
    /// The nodes are served; why without names, where names were wanted.
    Dnsmasq { without_names: Option<String> },
}

/// Says why an output does not hold what it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplyError {
    pub kind: ApplyErrorKind,
    /// One sentence that names the path, interface or rule and the remedy where one is known.
    pub message: String,
}

/// Says how an error is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApplyErrorKind {
    /// The device or interface is not there; not a fault of the output.
    Absent,
    /// Switched off in the settings.
    Off,
    /// What it builds on is another output's, which is at work on it or reports what is wrong:
    /// tried again without a report.
    Waiting,
    /// It did not work; the reconciler tries again, backing off.
    Failed,
    /// The kernel cannot do it at all.
    Unsupported,
    /// A capability or right is missing.
    Denied,
    /// Another instance of this program lives and holds it.
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

/// Returns a message without the numbers that [`std::io::Error`] writes behind its words: "(os
/// error 2)". Errors of every crate end with them, so they are taken out where text leaves the
/// program.
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
