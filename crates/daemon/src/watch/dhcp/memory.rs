//! Remembers across restarts that no other DHCP server answered since the last carrier change.

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

    /// Returns whether no other server answered on this interface and its carrier has not changed
    /// since.
    pub fn holds(&self, port: &Port) -> bool {
        plugging(port).is_some_and(|plugging| {
            folder::read(&self.0).is_ok_and(|text| text == plugging.as_bytes())
        })
    }

    /// Records that no other server answers.
    ///
    /// # Errors
    /// The file cannot be written; the next start then waits for the check.
    pub fn keep(&self, port: &Port) -> io::Result<()> {
        match plugging(port) {
            Some(plugging) if !self.holds(port) => folder::replace(&self.0, plugging),
            _ => Ok(()),
        }
    }

    /// Deletes the record, since another server answers.
    pub fn forget(&self) {
        if let Err(error) = folder::remove(&self.0) {
            // Usually because the file does not exist.
            trace!(%error, "nothing is forgotten of a port without servers");
        }
    }
}

/// Returns a line that identifies the boot, the interface and its count of carrier changes; `None`
/// if the boot ID cannot be read.
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
    fn a_carrier_change_or_a_damaged_file_voids_the_record() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().to_owned();
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
