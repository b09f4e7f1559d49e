//! Fault injection for an emulated device, from a script or by calls, and the log of its
//! transactions.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::{Fault, Log, Script};

/// Injects faults into an emulated device and logs what it is sent.
#[derive(Debug)]
pub struct FaultInjector {
    script: Script,
    pub(super) log: Log,
    pub(super) plugged: bool,
    /// Number of writes still to refuse, and after how many bytes each.
    refuse: (u32, usize),
    stuck: Option<Duration>,
}

/// Why a write fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WriteFault {
    /// The bus hangs this long, then times out.
    Stuck(Duration),
    /// No device acknowledges.
    Gone,
    /// Refused after this many bytes.
    Refused(usize),
}

impl FaultInjector {
    /// Returns an injector with the faults of `script`. Each transaction is appended to the file
    /// `log`.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn new(script: Script, log: Option<&Path>) -> io::Result<Self> {
        Ok(Self { script, log: Log::open(log)?, ..Self::default() })
    }

    /// Applies the script's faults that are due at `now`, up to one in the device's own state,
    /// which is returned.
    pub(super) fn due(&mut self, now: Duration) -> Option<Fault> {
        while let Some(fault) = self.script.due(now) {
            if let Some(own) = self.apply(fault) {
                return Some(own);
            }
        }
        None
    }

    /// Applies a fault of the bus; returns a fault in the device's own state.
    pub(super) fn apply(&mut self, fault: Fault) -> Option<Fault> {
        match fault {
            Fault::Nack { count, bytes } => self.refuse = (count, bytes),
            Fault::Stuck(time) => self.stuck = Some(time),
            Fault::Unplug => self.plugged = false,
            Fault::Plug => {
                self.plugged = true;
                return Some(Fault::Power);
            }
            Fault::Power | Fault::Glitch(_) => return Some(fault),
        }
        None
    }

    /// Consumes and returns the fault of the current write.
    pub(super) fn next_write_fault(&mut self) -> Option<WriteFault> {
        if let Some(time) = self.stuck.take() {
            return Some(WriteFault::Stuck(time));
        }
        if !self.plugged {
            return Some(WriteFault::Gone);
        }
        let (count, bytes) = self.refuse;
        self.refuse.0 = count.checked_sub(1)?;
        Some(WriteFault::Refused(bytes))
    }
}

impl Default for FaultInjector {
    /// Returns an injector without faults and without a log.
    fn default() -> Self {
        Self {
            script: Script::default(),
            log: Log::default(),
            plugged: true,
            refuse: (0, 0),
            stuck: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugging_powers_the_device_and_other_faults_are_the_bus() {
        let script =
            Script::parse("1 unplug\n2 nack 2 5\n3 stuck 40\n4 plug\n5 glitch a\n").unwrap();
        let mut faults = FaultInjector::new(script, None).unwrap();
        assert_eq!(faults.due(Duration::from_millis(1)), None);
        assert_eq!(faults.next_write_fault(), Some(WriteFault::Gone));
        let late = Duration::from_millis(9);
        assert_eq!(
            [faults.due(late), faults.due(late)],
            [Some(Fault::Power), Some(Fault::Glitch(Some(10)))]
        );
        let refused = Some(WriteFault::Refused(5));
        let answers: Vec<_> = (0..4).map(|_| faults.next_write_fault()).collect();
        assert_eq!(
            answers,
            [Some(WriteFault::Stuck(Duration::from_millis(40))), refused, refused, None]
        );
    }
}
