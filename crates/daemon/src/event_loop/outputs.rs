//! All outputs: the reconcilers of the network half, the panel, the status socket.

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

/// The panel's last frame is waited for no longer.
const LAST_FRAME: Duration = Duration::from_millis(1500);
/// The network half is waited for no longer.
const PUT_BACK: Duration = Duration::from_secs(2);
/// The setting that says where the status socket is.
const STATUS_SOCKET: &str = "sockets.status";

/// Display and LED.
#[derive(Debug)]
struct Panel {
    display: DisplayHandle,
    indicator: IndicatorHandle,
}

/// Handles of everything that shows or does something.
#[derive(Debug)]
pub struct Outputs {
    /// `None` while the gateway is switched off
    reconcilers: Option<Reconcilers>,
    dnsmasq: DnsmasqHandle,
    /// begins with the first thing to show: the first rules do not wait for its threads
    panel: Option<Panel>,
    status: StatusHandle,
    events: mpsc::Sender<Event>,
    /// the version of the nodes' topology that the status socket knows
    topology_reported: Option<u64>,
    status_line: String,
    /// as last handed to the panel: an equal value wakes no task
    playlist: Option<Playlist>,
    lights: Option<Vec<Signal>>,
}

impl Outputs {
    /// Starts them all; nothing is touched before the first value.
    ///
    /// # Errors
    /// The kernel or a missing capability forbids what is needed, or the status socket cannot be
    /// made.
    pub fn spawn(
        options: &Options,
        events: &mpsc::Sender<Event>,
        asked: Questions,
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
            dnsmasq: dhcp::spawn(&options.run_directory, state_directory, events.clone(), asked),
            panel: None,
            status,
            events: events.clone(),
            topology_reported: None,
            status_line: String::new(),
            playlist: None,
            lights: None,
        })
    }

    /// Renews the panel's dead-man timer: the main loop lives, and will report so again within
    /// `term`.
    pub fn renew_dead_man(&self) {
        if let Some(panel) = &self.panel {
            panel.display.renew_dead_man();
            panel.indicator.renew_dead_man();
        }
    }

    /// Has the panel try now to open a device, which may have come.
    pub fn hotplug(&self, device: &Hotplug) {
        match (&self.panel, device) {
            (Some(panel), Hotplug::Display) => panel.display.hotplug(),
            (Some(panel), Hotplug::Indicator) => panel.indicator.hotplug(),
            (None, _) => {}
        }
    }

    /// Shows the next page now, and for longer.
    pub fn next_page(&self) {
        if let Some(panel) = &self.panel {
            panel.display.turn();
        }
    }

    /// Returns an essential reconciler that has not answered for too long.
    pub fn overdue(&self) -> Option<Output> {
        self.reconcilers.as_ref()?.overdue()
    }

    /// Returns the netlink port of the firewall's reconciler; 0 while there is none.
    pub fn firewall_port(&self) -> u32 {
        self.reconcilers.as_ref().map_or(0, Reconcilers::firewall_port)
    }

    /// Orders what should be true of the network; those in `resyncs` look again even if it is what
    /// it was.
    pub fn order(&self, desired: &Desired, resyncs: &Resyncs) {
        if let (Some(reconcilers), Some(plan)) = (&self.reconcilers, &desired.gateway) {
            reconcilers.publish(plan, resyncs);
        }
    }

    /// Shows what is true: first on the panel, where a user waits for an address.
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

    /// Publishes the records of the nodes whose health is another, or that have booted further.
    pub fn nodes_changed(&self, facts: &Facts, reported: &[Transition]) {
        for transition in reported {
            if let Transition::NodeHealth { name, .. } | Transition::NodeStage { name } = transition
            {
                status::node(facts, name).into_iter().for_each(|node| self.status.node(node));
            }
        }
    }

    /// Publishes the round trips of the nodes in `rounds`; they wake no task.
    pub fn round_trips(&self, facts: &Facts, rounds: &[Round]) {
        let nodes = rounds.iter().filter_map(|round| facts.nodes().get(round.node));
        self.status.round_trips(nodes.map(|node| (node.id, node.rtt, node.loss_percent())));
    }

    /// Takes new settings: the panel's hardware may be another; nodes may have come and gone.
    /// Returns how it goes with the status socket, which may have to move, or to be made again
    /// where its file was removed.
    pub fn reconfigure(&mut self, before: &Settings, now: &Settings) -> ApplyReport {
        if let Some(panel) = &self.panel {
            if before.lcd != now.lcd {
                panel.display.reconfigure(now.lcd.clone());
            }
            if before.led != now.led {
                panel.indicator.reconfigure(now.led.clone());
            }
        }
        // Not what the settings held before: that may not have come about.
        let (wanted, held) = (&now.sockets.status, self.status.path().to_owned());
        let stays = *wanted == held && held.exists();
        let moved = if stays { Ok(()) } else { self.status.relocate(wanted) };
        let result = moved.map(|()| Applied::Done).map_err(|error| {
            let remedy = bind::remedy(&error, STATUS_SOCKET);
            StatusError::NotMoved { wanted: wanted.clone(), held, error, remedy }.into()
        });
        ApplyReport { output: Output::Status, result }
    }

    /// Switches the network half on, or off: then everything of ours is taken away. Returns what
    /// could not be done.
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
            Some(reconcilers) => take_away(reconcilers, state_directory).await,
            None => Vec::new(),
        }
    }

    /// Forgets the address of a board that does not come back; `reply` hears when that is on the
    /// disk.
    pub fn forget(&self, mac: Mac, reply: Reply) {
        self.dnsmasq.forget(mac, reply);
    }

    /// Ends the panel and, if wanted, takes the gateway away. Returns what could not be put back.
    pub async fn stop(
        self,
        stop: Stop,
        remove: bool,
        state_directory: &Path,
        geometry: Geometry,
    ) -> Vec<ApplyError> {
        let last = (stop != Stop::Restart).then(|| page::last_words(geometry, Some(stop)));
        let dnsmasq = tokio::spawn(self.dnsmasq.stop());
        let stop = |(frame, panel): (_, Panel)| {
            (panel.display.stop((frame, true)), panel.indicator.stop(()))
        };
        let panel = last.zip(self.panel).map(stop);
        let errors = match self.reconcilers.filter(|_| remove) {
            Some(reconcilers) => take_away(reconcilers, state_directory).await,
            None => Vec::new(),
        };
        if let Some((display, indicator)) = panel {
            let _ = timeout(LAST_FRAME, async { (display.await, indicator.await) }).await;
        }
        let _ = timeout(LAST_FRAME, dnsmasq).await;
        errors
    }
}

/// Takes away what the reconcilers made. Waits for them first, so that nothing is put there again
/// meanwhile.
async fn take_away(reconcilers: Reconcilers, state_directory: &Path) -> Vec<ApplyError> {
    timeout(PUT_BACK, reconcilers.remove(state_directory))
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
