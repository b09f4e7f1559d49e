//! What befalls an emulated device, from a script or by hand, and the log of what it was sent.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::{Fault, Log, Script};

/// See the module.
#[derive(Debug)]
pub struct Fate {
    script: Script,
    pub(super) log: Log,
    pub(super) plugged: bool,
    /// so many writes are refused, after so many bytes
    refuse: (u32, usize),
    stuck: Option<Duration>,
}

/// Why a write does not get through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// it hangs this long, then times out
    Stuck(Duration),
    /// nobody is there
    Gone,
    /// refused after this many bytes
    Refused(usize),
}

impl Fate {
    /// With the faults of a script, and each transaction written to a file.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn new(script: Script, log: Option<&Path>) -> io::Result<Self> {
        Ok(Self { script, log: Log::open(log)?, ..Self::default() })
    }

    /// The next fault of the script whose time has come and that is the device's own affair; the others are seen to.
    pub(super) fn due(&mut self, now: Duration) -> Option<Fault> {
        while let Some(fault) = self.script.due(now) {
            if let Some(own) = self.suffer(fault) {
                return Some(own);
            }
        }
        None
    }

    /// Sees to a fault; gives back what is the device's own affair.
    pub(super) fn suffer(&mut self, fault: Fault) -> Option<Fault> {
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

    /// What happens to the write that comes now.
    pub(super) fn trouble(&mut self) -> Option<Trouble> {
        if let Some(time) = self.stuck.take() {
            return Some(Trouble::Stuck(time));
        }
        if !self.plugged {
            return Some(Trouble::Gone);
        }
        let (count, bytes) = self.refuse;
        self.refuse.0 = count.checked_sub(1)?;
        Some(Trouble::Refused(bytes))
    }
}

impl Default for Fate {
    /// Nothing happens.
    fn default() -> Self {
        Self { script: Script::default(), log: Log::default(), plugged: true, refuse: (0, 0), stuck: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plug_is_power_for_the_device_and_the_rest_is_seen_to_here() {
        let script = Script::parse("1 unplug\n2 nack 2 5\n3 stuck 40\n4 plug\n5 glitch a\n").unwrap();
        let mut fate = Fate::new(script, None).unwrap();
        assert_eq!(fate.due(Duration::from_millis(1)), None);
        assert_eq!(fate.trouble(), Some(Trouble::Gone));
        let late = Duration::from_millis(9);
        assert_eq!([fate.due(late), fate.due(late)], [Some(Fault::Power), Some(Fault::Glitch(Some(10)))]);
        let refused = Some(Trouble::Refused(5));
        let answers: Vec<_> = (0..4).map(|_| fate.trouble()).collect();
        assert_eq!(answers, [Some(Trouble::Stuck(Duration::from_millis(40))), refused, refused, None]);
    }
}
