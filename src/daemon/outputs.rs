//! All outputs: the appliers of the network half, the panel, the status socket.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use crate::config::Settings;
use crate::event::{Applied, ApplyError, ApplyErrorKind, ApplyReport, Event, Output, Stop};
use crate::panel::playlist::Playlist;
use crate::panel::{Geometry, Signal};
use crate::policy::Desired;
use crate::render::{self, page, status};
use crate::sink::display::{self, DisplayHandle};
use crate::sink::indicator::{self, IndicatorHandle};
use crate::sink::manager;
use crate::sink::status::{self as status_socket, StatusHandle};
use crate::state::State;

use super::Fatal;
use super::appliers::Appliers;

/// The panel's last frame is waited for no longer.
const LAST_FRAME: Duration = Duration::from_millis(1500);
/// The network half is waited for no longer.
const PUT_BACK: Duration = Duration::from_secs(2);

/// Handles of everything that shows or does something.
#[derive(Debug)]
pub struct Outputs {
    /// `None` while the gateway is switched off
    appliers: Option<Appliers>,
    /// rings when somebody else touches our rules
    alarm: Arc<Notify>,
    pub display: DisplayHandle,
    pub indicator: IndicatorHandle,
    status: StatusHandle,
    /// where it is
    socket: PathBuf,
    /// the status socket knows all nodes of the settings
    nodes_told: bool,
    status_line: String,
    /// as last handed to the panel: an equal value wakes nobody
    shown: Option<(Playlist, Vec<Signal>)>,
}

impl Outputs {
    /// Starts them all; nothing is touched before the first value.
    ///
    /// # Errors
    /// The kernel or a missing capability forbids what is needed, or the status socket cannot be made.
    pub fn spawn(
        settings: &Settings,
        state_directory: &Path,
        events: &mpsc::Sender<Event>,
        alarm: Arc<Notify>,
    ) -> Result<Self, Fatal> {
        let appliers = match settings.gateway.enabled {
            true => Some(Appliers::spawn(state_directory, events, alarm.clone()).map_err(fatal)?),
            false => None,
        };
        let status = serve_status(settings, events).map_err(Fatal::CannotCreate)?;
        Ok(Self {
            appliers,
            alarm,
            display: display::spawn(settings.lcd.clone(), events.clone()),
            indicator: indicator::spawn(settings.led.clone(), events.clone()),
            status,
            socket: settings.status.socket.clone(),
            nodes_told: false,
            status_line: String::new(),
            shown: None,
        })
    }

    /// The main loop lives, and will say so again within `term`.
    pub fn renew_lease(&self, term: Duration) {
        self.display.renew_lease(term);
        self.indicator.renew_lease(term);
    }

    /// Netlink port of the firewall's applier; 0 while there is none.
    pub fn firewall_port(&self) -> u32 {
        self.appliers.as_ref().map_or(0, |appliers| appliers.firewall_port)
    }

    /// Hands out what should be true; the network half first.
    pub fn publish(&mut self, settings: &Settings, state: &State, desired: &Desired) {
        if let (Some(appliers), Some(plan)) = (&self.appliers, &desired.gateway) {
            appliers.publish(plan);
        }
        let rendered = render::render(settings, state, desired);
        let (playlist, lights) = (rendered.playlist, rendered.lights);
        if self.shown.as_ref().is_none_or(|(shown, _)| *shown != playlist) {
            self.display.show(playlist.clone());
        }
        if self.shown.as_ref().is_none_or(|(_, shown)| *shown != lights) {
            self.indicator.show(lights.clone());
        }
        self.shown = Some((playlist, lights));
        if !std::mem::replace(&mut self.nodes_told, true) {
            self.status.nodes(status::nodes(settings, state));
        }
        self.status.publish(rendered.snapshot);
        if self.status_line != rendered.status_line {
            manager::status(&rendered.status_line);
            self.status_line = rendered.status_line;
        }
    }

    /// One node's record, in place.
    pub fn node(&self, settings: &Settings, state: &State, name: &str) {
        if let Some(node) = status::node(settings, state, name) {
            self.status.node(node);
        }
    }

    /// New settings: the panel's hardware and the status socket may be others; nodes may have come and gone. Tells what
    /// became of a new status socket; one that cannot be made leaves the old one.
    pub fn reconfigure(
        &mut self,
        before: &Settings,
        now: &Settings,
        events: &mpsc::Sender<Event>,
    ) -> Option<ApplyReport> {
        if before.lcd != now.lcd {
            self.display.reconfigure(now.lcd.clone());
        }
        if before.led != now.led {
            self.indicator.reconfigure(now.led.clone());
        }
        self.nodes_told &= before.nodes == now.nodes;
        if before.status == now.status {
            return None;
        }
        // It is that already if an earlier change came to nothing and is taken back.
        let another = (self.socket != now.status.socket).then(|| serve_status(now, events));
        let result = match another.transpose() {
            Ok(None) => Ok(Applied::Done),
            Ok(Some(status)) => {
                self.status = status;
                self.socket.clone_from(&now.status.socket);
                self.nodes_told = false;
                Ok(Applied::Done)
            }
            Err(message) => Err(ApplyError { kind: ApplyErrorKind::Failed, message }),
        };
        Some(ApplyReport { output: Output::Status, result })
    }

    /// Switches the network half on, or off: then everything of ours is taken away. Tells what could not be done.
    pub async fn switch(
        &mut self,
        enabled: bool,
        state_directory: &Path,
        events: &mpsc::Sender<Event>,
    ) -> Vec<ApplyError> {
        if enabled && self.appliers.is_none() {
            match Appliers::spawn(state_directory, events, self.alarm.clone()) {
                Ok(appliers) => self.appliers = Some(appliers),
                Err(error) => return vec![error],
            }
        }
        match self.appliers.take_if(|_| !enabled) {
            Some(appliers) => take_away(appliers, state_directory).await,
            None => Vec::new(),
        }
    }

    /// Ends the panel and, if wanted, takes the gateway away. Tells what could not be put back.
    pub async fn stop(self, stop: Stop, remove: bool, state_directory: &Path, geometry: Geometry) -> Vec<ApplyError> {
        let last = (stop != Stop::Restart).then(|| page::last_words(geometry, Some(stop)));
        let panel = last.map(|frame| (self.display.stop(frame, true), self.indicator.stop()));
        let errors = match self.appliers.filter(|_| remove) {
            Some(appliers) => take_away(appliers, state_directory).await,
            None => Vec::new(),
        };
        if let Some((display, indicator)) = panel {
            let _ = timeout(LAST_FRAME, async { (display.await, indicator.await) }).await;
        }
        errors
    }
}

fn serve_status(settings: &Settings, events: &mpsc::Sender<Event>) -> Result<StatusHandle, String> {
    status_socket::spawn(settings.status.clone(), events.clone()).map_err(|error| {
        let (socket, remedy) = (settings.status.socket.display(), status_socket::remedy(&error));
        format!("the status socket {socket} cannot be made: {error}; {remedy}")
    })
}

/// Waited for, so that nobody puts anything there again meanwhile.
async fn take_away(appliers: Appliers, state_directory: &Path) -> Vec<ApplyError> {
    timeout(PUT_BACK, appliers.remove(state_directory)).await.unwrap_or_else(|_| {
        vec![ApplyError {
            kind: ApplyErrorKind::Failed,
            message: "putting everything back took too long: run `bramblegate off`".to_owned(),
        }]
    })
}

fn fatal(error: ApplyError) -> Fatal {
    match error.kind {
        ApplyErrorKind::Denied => Fatal::Denied(error.message),
        ApplyErrorKind::Unsupported => Fatal::Unsupported(error.message),
        _ => Fatal::CannotCreate(error.message),
    }
}
