//! The settings, read again while everything runs.

use std::sync::Arc;

use super::{Daemon, heap};
use crate::event::{Event, Vital};
use crate::render::journal;
use crate::sink::{clock, link, manager};
use crate::source::host;
use crate::state::Transition;

impl Daemon {
    /// Reads the settings again. Those that are not right change nothing.
    pub(super) async fn reload(&mut self) -> Vec<Transition> {
        // Before the first READY a reload is part of the start.
        if self.ready {
            manager::reloading();
        }
        let told = match (self.options.load)() {
            Ok(settings) => {
                let moved = self.outputs.reconfigure(&self.options.settings, &settings);
                self.plans.renew_control();
                let enabled = settings.gateway.enabled;
                for error in self.outputs.switch(enabled, &self.options.state_directory).await {
                    self.journal.write(&journal::not_put_back(&error));
                }
                self.options.settings = Arc::new(heap::together(&settings));
                // Another port may be the cluster's from now on.
                let added = Vital::Added(link::added(&self.options.state_directory));
                self.state.apply(&Event::Vital(added), clock::now());
                let opened = Vital::Opened(link::opened(&self.options.state_directory));
                self.state.apply(&Event::Vital(opened), clock::now());
                let mut told = self.state.reload(Arc::clone(&self.options.settings), clock::now());
                told.extend(self.state.apply(&Event::Vital(host::read()), clock::now()));
                told.extend(self.state.apply(&Event::Applied(moved), clock::now()));
                heap::trim();
                told
            }
            Err(faults) => {
                self.journal.write(&journal::settings_refused(&faults));
                Vec::new()
            }
        };
        if self.ready {
            manager::ready();
        }
        told
    }
}
