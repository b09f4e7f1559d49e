//! What people want of the daemon by its buttons: that it knows that they know, and that the machine powers off.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Daemon;
use crate::event::Event;
use crate::policy::{acknowledge, decide};
use crate::render::journal;
use crate::sink::clock;
use crate::state::Transition;

/// In the runtime directory: `bramblegate-poweroff.path` waits for it.
const POWER_OFF: &str = "power-off";
/// In the state directory: the keys of the alerts that people know of, one a line.
const ACKNOWLEDGED: &str = "acknowledged";

impl Daemon {
    /// All that stands now is known.
    pub(super) fn acknowledge(&mut self) -> Vec<Transition> {
        let desired = decide(&self.options.settings, &self.state);
        let known = acknowledge::everything(&self.state, &desired);
        let told = self.state.apply(&Event::Acknowledged(known), clock::now());
        if !told.is_empty() {
            self.remember();
        }
        told
    }

    /// Writes down what is known; written only when it changed.
    pub(super) fn remember(&mut self) {
        let lines: String = self.state.acknowledged().iter().map(|key| format!("{key}\n")).collect();
        let path = self.options.state_directory.join(ACKNOWLEDGED);
        if let Err(error) = replace(&path, &lines) {
            let what = format!("{} cannot be written: {error}; after a restart it will be told anew", path.display());
            self.journal.write(&journal::not_written(&what));
        }
    }

    /// Asks for the end. The unit that carries it out takes the file away.
    pub(super) fn power_off(&mut self) {
        let path = self.options.run_directory.join(POWER_OFF);
        if let Err(error) = fs::write(&path, "") {
            let what = format!("{} cannot be made: {error}; power off with: sudo systemctl poweroff", path.display());
            self.journal.write(&journal::not_written(&what));
        }
    }
}

/// What was known when the daemon last ran; nothing, if it never was.
pub(super) fn known(state_directory: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(state_directory.join(ACKNOWLEDGED)).unwrap_or_default();
    text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// Never half a file, whenever the power fails.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let beside = PathBuf::from(format!("{}.new", path.display()));
    fs::write(&beside, text)?;
    fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_known_again_and_a_missing_file_is_nothing() {
        let folder = std::env::temp_dir().join(format!("bramblegate-known-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        assert!(known(&folder).is_empty());
        replace(&folder.join(ACKNOWLEDGED), "node-down rpi2 down\nuplink-clash CLASH 192.168.50\n").unwrap();
        let keys = known(&folder);
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(keys.into_iter().collect::<Vec<_>>(), ["node-down rpi2 down", "uplink-clash CLASH 192.168.50"]);
    }
}
