//! The one loop of display and LED: the device is opened when there is something to show, and opened
//! anew after a failure. What is to be seen on it, and when, is its player's.

use std::time::{Duration, Instant};

use super::{DeadMan, PanelError, Patience, Reporter, earliest};
use crate::event::ApplyError;

/// Opens a device, again and again as it comes and goes; lives as long as the settings stand.
pub type Connector<Device> = Box<dyn FnMut() -> Result<Box<Device>, ApplyError> + Send>;
/// Returns what opens the device that the settings ask for; `None` for "off".
pub type Connect<Settings, Device> = Box<dyn Fn(&Settings) -> Option<Connector<Device>> + Send>;

/// Knows what is to be seen on a kind of device, and when. `now` counts from the thread's start.
pub trait Player {
    type Device: ?Sized + 'static;
    /// what is to be seen
    type Picture: Send + 'static;
    type Settings: Send + 'static;
    /// what is to be seen when the daemon has ended
    type Last: Send + 'static;
    /// what reports call the device
    const NAME: &'static str;

    /// Takes in what is to be seen from now on.
    fn show(&mut self, picture: Self::Picture, now: Duration);

    /// Returns whether there is anything to show yet. Nothing is touched before: a restart leaves
    /// the device as it is.
    fn has_picture(&self) -> bool;

    /// Turns to the next page of the picture, and gives time to read it.
    fn turn(&mut self, _now: Duration) {}

    /// Takes in that the device was opened.
    fn opened(&mut self, _now: Duration) {}

    /// Brings on the device what is to be seen now, and reports it. Returns how long until there is
    /// something to do again.
    fn play(
        &mut self,
        device: &mut Self::Device,
        stage: &mut Stage<'_, Self::Settings>,
    ) -> Result<Option<Duration>, ApplyError>;

    /// Takes in that nothing of ours is to be seen any more: the device, if it was open, is closed.
    fn closed(&mut self, device: Option<Box<Self::Device>>);

    /// Takes in that the settings ask for another device.
    fn replaced(&mut self) {}

    /// Returns whether both settings are about the same device.
    fn is_same_device(before: &Self::Settings, now: &Self::Settings) -> bool;

    /// Shows the last picture.
    fn finish(
        &mut self,
        device: &mut Self::Device,
        last: Self::Last,
        stage: &mut Stage<'_, Self::Settings>,
    ) -> Result<(), ApplyError>;
}

/// What a player plays by.
#[derive(Debug)]
pub struct Stage<'a, Settings> {
    pub settings: &'a Settings,
    pub dead_man: &'a DeadMan,
    pub reporter: &'a mut Reporter,
    /// when this round of work began
    pub now: Duration,
    start: Instant,
}

impl<Settings> Stage<'_, Settings> {
    /// Returns what time it is after what the round has done so far.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}

/// What the thread of a device does.
pub struct Worker<P: Player> {
    player: P,
    settings: P::Settings,
    connect: Connect<P::Settings, P::Device>,
    connector: Option<Connector<P::Device>>,
    device: Option<Box<P::Device>>,
    dead_man: DeadMan,
    reporter: Reporter,
    patience: Patience,
    start: Instant,
}

impl<P: Player> Worker<P> {
    pub fn new(
        player: P,
        settings: P::Settings,
        connect: Connect<P::Settings, P::Device>,
        dead_man: DeadMan,
        reporter: Reporter,
    ) -> Self {
        Self {
            player,
            connector: connect(&settings),
            settings,
            connect,
            device: None,
            dead_man,
            reporter,
            patience: Patience::new(),
            start: Instant::now(),
        }
    }

    /// Does what is due; how long until there is something to do again.
    pub fn work(&mut self) -> Option<Duration> {
        if self.connector.is_none() {
            self.reporter.report(Err(PanelError::SwitchedOff { what: P::NAME }.into()));
            return self.reporter.flush();
        }
        if !self.player.has_picture() {
            return None;
        }
        let now = self.start.elapsed();
        let retry = self.patience.left(now);
        if self.device.is_none() && !retry.is_zero() {
            return earliest([Some(retry), self.reporter.flush()]);
        }
        let next = match self.with_device(|player, device, stage| player.play(device, stage)) {
            Ok(next) => {
                self.patience = Patience::new();
                next
            }
            Err(error) => Some(self.fail(error)),
        };
        earliest([next, self.reporter.flush()])
    }

    /// Does something with the device, opening it if need be.
    fn with_device<T>(
        &mut self,
        work: impl FnOnce(&mut P, &mut P::Device, &mut Stage<'_, P::Settings>) -> Result<T, ApplyError>,
    ) -> Result<T, ApplyError> {
        let now = self.start.elapsed();
        let device = match &mut self.device {
            Some(device) => device,
            none => {
                let Some(connector) = &mut self.connector else {
                    return Err(PanelError::SwitchedOff { what: P::NAME }.into());
                };
                let device = none.insert(connector()?);
                self.player.opened(self.start.elapsed());
                device
            }
        };
        let (settings, dead_man, reporter) = (&self.settings, &self.dead_man, &mut self.reporter);
        let mut stage = Stage { settings, dead_man, reporter, now, start: self.start };
        work(&mut self.player, device, &mut stage)
    }

    /// Lets the device be opened anew, and reports why, if that is news; how long until then.
    fn fail(&mut self, error: ApplyError) -> Duration {
        self.close();
        self.patience.failed(self.start.elapsed());
        if self.patience.is_worth_reporting(&error) {
            self.reporter.report(Err(error));
        }
        self.patience.left(self.start.elapsed())
    }

    fn close(&mut self) {
        self.player.closed(self.device.take());
    }

    pub fn show(&mut self, picture: P::Picture) {
        self.player.show(picture, self.start.elapsed());
    }

    pub fn turn(&mut self) {
        self.player.turn(self.start.elapsed());
    }

    /// Opens and initialises the device again after one has come or gone: whatever it was may have
    /// taken the panel's power, or be a better one.
    pub fn hotplug(&mut self) {
        self.close();
        self.patience = Patience::new();
    }

    pub fn reconfigure(&mut self, settings: P::Settings) {
        let same = P::is_same_device(&self.settings, &settings);
        self.settings = settings;
        if !same {
            self.close();
            self.player.replaced();
            self.connector = (self.connect)(&self.settings);
            self.patience = Patience::new();
        }
    }

    pub fn finish(&mut self, last: P::Last) -> Result<(), ApplyError> {
        self.with_device(|player, device, stage| player.finish(device, last, stage))
    }

    /// Forgets the device after a panic: nothing about it is known.
    pub fn recover(&mut self, error: ApplyError) {
        self.close();
        self.connector = (self.connect)(&self.settings);
        self.reporter.report(Err(error));
    }
}
