//! Reload of the settings while the gateway runs. A thread reads them, since their file system may
//! hang.

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

/// The settings or all their faults, and the [`Vital::Host`] that was read with them.
pub(super) type Loaded = (Result<Settings, String>, Option<Vital>);

impl Daemon {
    /// Starts a reload. While one is in progress, schedules another for its end.
    pub(super) fn begin_reload(&mut self) {
        // Before the first READY a reload is part of the start.
        if self.ready {
            service_manager::reloading();
        }
        if std::mem::replace(&mut self.reloading, true) {
            self.reload_pending = true;
            return;
        }
        let (load, loaded) = (Arc::clone(&self.options.load), self.loaded.0.clone());
        tokio::task::spawn_blocking(move || {
            let read = (load(), reading::within(reading::PATIENCE, name::read).ok());
            let _ = loaded.blocking_send(read);
        });
    }

    /// Adopts the settings that were read; invalid ones change nothing.
    pub(super) async fn finish_reload(&mut self, (loaded, head): Loaded) -> Vec<Transition> {
        self.reloading = false;
        if std::mem::take(&mut self.reload_pending) {
            self.begin_reload();
            return Vec::new();
        }
        let transitions = match loaded {
            Ok(settings) => self.adopt(settings, head).await,
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

    /// Reconfigures outputs and facts for valid settings.
    async fn adopt(&mut self, settings: Settings, head: Option<Vital>) -> Vec<Transition> {
        let status_moved = self.outputs.reconfigure(&self.options.settings, &settings);
        self.plans.renew_control();
        let Options { state_directory, run_directory, .. } = &self.options;
        let folders = (state_directory.as_path(), run_directory.as_path());
        for error in self.outputs.switch(settings.gateway.enabled, folders).await {
            self.journal.write(&journal::not_put_back(&error));
        }
        self.options.settings = Arc::new(malloc::compact(&settings));
        // The cluster may use another port from now on.
        let directory = &self.options.state_directory;
        let added = Vital::Added(link::added(directory));
        self.facts.apply(&Event::Vital(added), clock::now());
        let opened = Vital::Opened(link::opened(directory));
        self.facts.apply(&Event::Vital(opened), clock::now());
        let (ipv6, unkept) = link::ipv6_for(&settings, directory, self.facts.kept_ipv6());
        self.facts.apply(&Event::Vital(ipv6), clock::now());
        if let Some(error) = unkept {
            self.journal.write(&journal::not_written(&error));
        }
        let mut transitions = self.facts.reload(Arc::clone(&self.options.settings), clock::now());
        if let Some(head) = head {
            transitions.extend(self.facts.apply(&Event::Vital(head), clock::now()));
        }
        transitions.extend(self.facts.apply(&Event::Applied(status_moved), clock::now()));
        drop(settings);
        malloc::trim();
        transitions
    }
}
