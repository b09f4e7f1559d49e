//! All outputs: the network reconcilers, dnsmasq, the panel and the status socket.

use std::path::Path;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::config::Settings;
use crate::decide::Desired;
use crate::event::{
    Applied, ApplyError, ApplyErrorKind, ApplyReport, Event, Hotplug, Mac, Output, Round, Stop,
};
use crate::facts::{Facts, Resyncs, Transition};
use crate::panel::playlist::Playlist;
use crate::panel::{Geometry, Signal};
use crate::reconcile::dhcp::{self, DnsmasqHandle, Reply};
use crate::reconcile::error::TooLong;
use crate::reconcile::panel::display::{self, DisplayHandle};
use crate::reconcile::panel::indicator::{self, IndicatorHandle};
use crate::reconcile::service_manager;
use crate::reconcile::status::{self as status_socket, StatusError, StatusHandle};
use crate::socket::bind;
use crate::view::panel::{led, page};
use crate::view::{status, status_line};
use crate::watch::dhcp::Questions;

use super::reconcilers::Reconcilers;
use super::{Fatal, Options};

/// Timeout for the panel's last frame.
const LAST_FRAME: Duration = Duration::from_millis(1500);
/// Timeout for removing the gateway from the kernel.
const REMOVAL: Duration = Duration::from_secs(2);
/// The setting for the status socket's path.
const STATUS_SOCKET: &str = "sockets.status";

/// Display and LED.
#[derive(Debug)]
struct Panel {
    display: DisplayHandle,
    indicator: IndicatorHandle,
}

/// Handles of all outputs.
#[derive(Debug)]
pub struct Outputs {
    /// `None` while the gateway is disabled.
    reconcilers: Option<Reconcilers>,
    dnsmasq: DnsmasqHandle,
    /// Started with the first frame, so that its threads do not delay the first rules.
    panel: Option<Panel>,
    status: StatusHandle,
    events: mpsc::Sender<Event>,
    /// The version of the nodes' topology last published on the status socket.
    topology_reported: Option<u64>,
    status_line: String,
    /// The playlist last sent to the display: an equal one wakes no task.
    playlist: Option<Playlist>,
    /// The same for the LED.
    lights: Option<Vec<Signal>>,
}

impl Outputs {
    /// Starts all outputs but the panel; they change nothing before the first value.
    ///
    /// # Errors
    /// The kernel lacks a feature, a capability is missing, or the status socket cannot be created.
    pub fn spawn(
        options: &Options,
        events: &mpsc::Sender<Event>,
        questions: Questions,
    ) -> Result<Self, Fatal> {
        let (settings, state_directory) = (&options.settings, &options.state_directory);
        let folders = (state_directory.as_path(), options.run_directory.as_path());
        let reconcilers = if settings.gateway.enabled {
            Some(Reconcilers::spawn(folders, events).map_err(fatal)?)
        } else {
            None
        };
        let socket = &settings.sockets.status;
        let status = status_socket::spawn(socket.clone(), events.clone()).map_err(|error| {
            let remedy = bind::remedy(&error, STATUS_SOCKET);
            Fatal::CannotCreate(format!(
                "the status socket {} cannot be made: {error}; {remedy}",
                socket.display()
            ))
        })?;
        Ok(Self {
            reconcilers,
            dnsmasq: dhcp::spawn(
                &options.run_directory,
                state_directory,
                events.clone(),
                questions,
            ),
            panel: None,
            status,
            events: events.clone(),
            topology_reported: None,
            status_line: String::new(),
            playlist: None,
            lights: None,
        })
    }

    /// Renews the panel's dead-man timer.
    pub fn renew_dead_man(&self) {
        if let Some(panel) = &self.panel {
            panel.display.renew_dead_man();
            panel.indicator.renew_dead_man();
        }
    }

    /// Has the panel try to open a device that was plugged in.
    pub fn hotplug(&self, device: &Hotplug) {
        match (&self.panel, device) {
            (Some(panel), Hotplug::Display) => panel.display.hotplug(),
            (Some(panel), Hotplug::Indicator) => panel.indicator.hotplug(),
            (None, _) => {}
        }
    }

    /// Shows the next page now, for longer than its usual turn.
    pub fn next_page(&self) {
        if let Some(panel) = &self.panel {
            panel.display.turn();
        }
    }

    /// Returns an essential reconciler that exceeded its timeout.
    pub fn overdue(&self) -> Option<Output> {
        self.reconcilers.as_ref()?.overdue()
    }

    /// Returns the netlink port ID of the firewall reconciler, or 0 while there is none.
    pub fn firewall_port(&self) -> u32 {
        self.reconcilers.as_ref().map_or(0, Reconcilers::firewall_port)
    }

    /// Publishes the desired network state; the reconcilers in `resyncs` read the kernel again even
    /// if it is unchanged.
    pub fn order(&self, desired: &Desired, resyncs: &Resyncs) {
        if let (Some(reconcilers), Some(plan)) = (&self.reconcilers, &desired.gateway) {
            reconcilers.publish(plan, resyncs);
        }
    }

    /// Updates the panel, dnsmasq's files, the status and the service manager's status line: the
    /// panel first, where a user may be waiting for an address.
    pub fn show(&mut self, settings: &Settings, facts: &Facts, desired: &Desired) {
        let panel = self.panel.get_or_insert_with(|| Panel {
            display: display::spawn(settings.lcd.clone(), self.events.clone()),
            indicator: indicator::spawn(settings.led.clone(), self.events.clone()),
        });
        let playlist = page::playlist(settings, facts, desired);
        if self.playlist.as_ref() != Some(&playlist) {
            panel.display.show(playlist.clone());
            self.playlist = Some(playlist);
        }
        let lights = led::lights(facts, desired);
        if self.lights.as_ref() != Some(&lights) {
            panel.indicator.show(lights.clone());
            self.lights = Some(lights);
        }
        self.dnsmasq.publish(settings, facts, desired.service.as_ref());
        let topology_version = Some(facts.nodes().topology_version);
        if std::mem::replace(&mut self.topology_reported, topology_version) != topology_version {
            self.status.nodes(status::nodes(facts));
        }
        self.status.publish(status::snapshot(settings, facts, desired));
        let line = status_line(facts, desired);
        if self.status_line != line {
            service_manager::status(&line);
            self.status_line = line;
        }
    }

    /// Publishes the status of the nodes whose health or boot stage changed.
    pub fn nodes_changed(&self, facts: &Facts, reported: &[Transition]) {
        for transition in reported {
            if let Transition::NodeHealth { name, .. } | Transition::NodeStage { name } = transition
            {
                status::node(facts, name).into_iter().for_each(|node| self.status.node(node));
            }
        }
    }

    /// Publishes the round-trip times of the nodes in `rounds`, which wake no task.
    pub fn round_trips(&self, facts: &Facts, rounds: &[Round]) {
        let nodes = rounds.iter().filter_map(|round| facts.nodes().get(round.node));
        self.status.round_trips(nodes.map(|node| (node.id, node.rtt, node.loss_percent())));
    }

    /// Applies new settings to the panel and the status socket. Returns the result for the status
    /// socket, which moves to another path, or is recreated if its file was removed.
    pub fn reconfigure(&mut self, before: &Settings, now: &Settings) -> ApplyReport {
        if let Some(panel) = &self.panel {
            if before.lcd != now.lcd {
                panel.display.reconfigure(now.lcd.clone());
            }
            if before.led != now.led {
                panel.indicator.reconfigure(now.led.clone());
            }
        }
        // Compare with the socket and not with the old settings: an earlier move may have failed.
        let (wanted, held) = (&now.sockets.status, self.status.path().to_owned());
        let stays = *wanted == held && held.exists();
        let moved = if stays { Ok(()) } else { self.status.relocate(wanted) };
        let result = moved.map(|()| Applied::Done).map_err(|error| {
            let remedy = bind::remedy(&error, STATUS_SOCKET);
            StatusError::NotMoved { wanted: wanted.clone(), held, error, remedy }.into()
        });
        ApplyReport { output: Output::Status, result }
    }

    /// Enables the gateway, or disables it and removes it from the kernel. Returns the errors.
    pub async fn switch(
        &mut self,
        enabled: bool,
        (state_directory, run_directory): (&Path, &Path),
    ) -> Vec<ApplyError> {
        if enabled && self.reconcilers.is_none() {
            let folders = (state_directory, run_directory);
            match Reconcilers::spawn(folders, &self.events) {
                Ok(reconcilers) => self.reconcilers = Some(reconcilers),
                Err(error) => return vec![error],
            }
        }
        match self.reconcilers.take_if(|_| !enabled) {
            Some(reconcilers) => remove(reconcilers, state_directory).await,
            None => Vec::new(),
        }
    }

    /// Forgets the lease of a node; `reply` resolves once that is on disk.
    pub fn forget(&self, mac: Mac, reply: Reply) {
        self.dnsmasq.forget(mac, reply);
    }

    /// Stops dnsmasq and the panel and, with `remove_gateway`, removes the gateway from the kernel.
    /// Returns the errors.
    pub async fn stop(
        self,
        stop: Stop,
        remove_gateway: bool,
        state_directory: &Path,
        geometry: Geometry,
    ) -> Vec<ApplyError> {
        let last_frame = (stop != Stop::Restart).then(|| page::last_words(geometry, Some(stop)));
        let dnsmasq = tokio::spawn(self.dnsmasq.stop());
        let panel = last_frame
            .zip(self.panel)
            .map(|(frame, panel)| (panel.display.stop((frame, true)), panel.indicator.stop(())));
        let errors = match self.reconcilers.filter(|_| remove_gateway) {
            Some(reconcilers) => remove(reconcilers, state_directory).await,
            None => Vec::new(),
        };
        if let Some((display, indicator)) = panel {
            let _ = timeout(LAST_FRAME, async { (display.await, indicator.await) }).await;
        }
        let _ = timeout(LAST_FRAME, dnsmasq).await;
        errors
    }
}

/// Ends the reconcilers and removes the gateway from the kernel, within [`REMOVAL`].
async fn remove(reconcilers: Reconcilers, state_directory: &Path) -> Vec<ApplyError> {
    timeout(REMOVAL, reconcilers.remove(state_directory))
        .await
        .unwrap_or_else(|_| vec![TooLong.into()])
}

fn fatal(error: ApplyError) -> Fatal {
    match error.kind {
        ApplyErrorKind::Denied => Fatal::Denied(error.message),
        ApplyErrorKind::Unsupported => Fatal::Unsupported(error.message),
        _ => Fatal::CannotCreate(error.message),
    }
}
