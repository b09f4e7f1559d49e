//! What people want of the daemon by its buttons: that it knows that they know, and that the machine powers off.

use super::Daemon;
use crate::event::Event;
use crate::policy::{acknowledge, decide};
use crate::render::journal;
use crate::sink::clock;
use crate::source::folder;
use crate::state::Transition;

/// In the runtime directory: `bramblegate-poweroff.path` waits for it.
const POWER_OFF: &str = "power-off";
/// In the state directory: the keys of the alerts that people know of, one a line.
pub(super) const ACKNOWLEDGED: &str = "acknowledged";

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

    /// Has what is known written down, if it changed.
    pub(super) fn remember(&mut self) {
        self.known.keep(self.state.acknowledged());
    }

    /// Asks for the end. The unit that carries it out takes the file away.
    pub(super) fn power_off(&mut self) {
        let path = self.options.run_directory.join(POWER_OFF);
        if let Err(error) = folder::replace(&path, "") {
            let what = format!("{} cannot be made: {error}; power off with: sudo systemctl poweroff", path.display());
            self.journal.write(&journal::not_written(&what));
        }
    }
}
