//! The settings, read again while everything runs: in a thread of their own, for the file system
//! that they are on may not answer.

use std::sync::Arc;

use super::{Daemon, Options, malloc};
use crate::clock;
use crate::config::Settings;
use crate::event::{Event, Vital};
use crate::facts::Transition;
use crate::files::reading;
use crate::reconcile::{link, service_manager};
use crate::view::journal;
use crate::watch::host::name;

/// The settings as they were read, or every fault of them; and what the head's own files held then.
pub(super) type Loaded = (Result<Settings, String>, Option<Vital>);

impl Daemon {
    /// Begins to read the settings again. While a reading goes on another only makes it be done
    /// once more.
    pub(super) fn begin_reload(&mut self) {
        // Before the first READY a reload is part of the start.
        if self.ready {
            service_manager::reloading();
        }
        if std::mem::replace(&mut self.reading, true) {
            self.read_again = true;
            return;
        }
        let (load, loaded) = (Arc::clone(&self.options.load), self.loaded.0.clone());
        tokio::task::spawn_blocking(move || {
            let read = (load(), reading::within(reading::PATIENCE, name::read).ok());
            let _ = loaded.blocking_send(read);
        });
    }

    /// Takes the settings that were read. Those that are not right change nothing.
    pub(super) async fn finish_reload(&mut self, (loaded, head): Loaded) -> Vec<Transition> {
        self.reading = false;
        if std::mem::take(&mut self.read_again) {
            self.begin_reload();
            return Vec::new();
        }
        let transitions = match loaded {
            Ok(settings) => {
                let moved = self.outputs.reconfigure(&self.options.settings, &settings);
                self.plans.renew_control();
                let enabled = settings.gateway.enabled;
                let Options { state_directory, run_directory, .. } = &self.options;
                let folders = (state_directory.as_path(), run_directory.as_path());
                for error in self.outputs.switch(enabled, folders).await {
                    self.journal.write(&journal::not_put_back(&error));
                }
                self.options.settings = Arc::new(malloc::compact(&settings));
                // Another port may be the cluster's from now on.
                let added = Vital::Added(link::added(&self.options.state_directory));
                self.facts.apply(&Event::Vital(added), clock::now());
                let opened = Vital::Opened(link::opened(&self.options.state_directory));
                self.facts.apply(&Event::Vital(opened), clock::now());
                let (ipv6, unkept) = link::ipv6_for(
                    &settings,
                    &self.options.state_directory,
                    self.facts.kept_ipv6(),
                );
                self.facts.apply(&Event::Vital(ipv6), clock::now());
                if let Some(text) = unkept {
                    self.journal.write(&journal::not_written(&text));
                }
                let mut transitions =
                    self.facts.reload(Arc::clone(&self.options.settings), clock::now());
                if let Some(head) = head {
                    transitions.extend(self.facts.apply(&Event::Vital(head), clock::now()));
                }
                transitions.extend(self.facts.apply(&Event::Applied(moved), clock::now()));
                drop(settings);
                malloc::trim();
                transitions
            }
            Err(faults) => {
                self.journal.write(&journal::settings_refused(&faults));
                Vec::new()
            }
        };
        if self.ready {
            service_manager::ready();
        }
        transitions
    }
}
