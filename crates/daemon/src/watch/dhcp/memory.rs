//! What outlives a restart: that on this very plugging of the cable no other server answered.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tracing::trace;

use crate::files::folder;
use crate::packet::Port;

const FILE: &str = "dhcp-alone";
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// Holds a file in the run-time directory.
#[derive(Debug, Clone)]
pub struct Memory(PathBuf);

impl Memory {
    pub fn new(run_directory: &Path) -> Self {
        Self(run_directory.join(FILE))
    }

    /// Returns whether no other server answered at this port, and its carrier has not moved since.
    pub fn holds(&self, port: &Port) -> bool {
        plugging(port).is_some_and(|plugging| {
            folder::read(&self.0).is_ok_and(|text| text == plugging.as_bytes())
        })
    }

    /// Notes that no other server answers.
    ///
    /// # Errors
    /// As the file system says; the next start then asks first.
    pub fn keep(&self, port: &Port) -> io::Result<()> {
        match plugging(port) {
            Some(plugging) if !self.holds(port) => folder::replace(&self.0, plugging),
            _ => Ok(()),
        }
    }

    /// Notes that another server answers.
    pub fn forget(&self) {
        if let Err(error) = folder::remove(&self.0) {
            // Mostly there is none.
            trace!(%error, "nothing is forgotten of a port without servers");
        }
    }
}

/// Describes one stay of one cable in one port, in words that no other has; `None`: it is
/// unknown.
fn plugging(port: &Port) -> Option<String> {
    let boot = fs::read_to_string(BOOT).ok()?;
    let (boot, Port { index, mac, carrier_changes }) = (boot.trim(), port);
    Some(format!("{boot} {index} {mac} {carrier_changes}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Mac;

    #[test]
    fn another_plugging_is_not_remembered_nor_a_spoilt_file() {
        let held = tempfile::tempdir().unwrap();
        let folder = held.path().to_owned();
        let (memory, port) =
            (Memory::new(&folder), Port { index: 3, mac: Mac([2; 6]), carrier_changes: 4 });
        assert!(!memory.holds(&port));
        memory.keep(&port).unwrap();
        assert!(memory.holds(&port));
        for other in [
            Port { carrier_changes: 6, ..port },
            Port { index: 4, ..port },
            Port { mac: Mac([4; 6]), ..port },
        ] {
            assert!(!memory.holds(&other), "{other:?}");
        }
        fs::write(folder.join(FILE), "rubbish").unwrap();
        assert!(!memory.holds(&port));
        memory.keep(&port).unwrap();
        memory.forget();
        assert!(!memory.holds(&port));
    }
}
