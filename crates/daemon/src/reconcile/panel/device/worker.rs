//! The common part of display and LED: opens the device when there is something to show, and again
//! after a failure. A [`Player`] decides what it shows and when.

use std::time::{Duration, Instant};

use super::{DeadMan, PanelError, Reporter, Retry, earliest};
use crate::event::ApplyError;

/// Opens a device, as often as it comes and goes, until the settings change.
pub type Connector<Device> = Box<dyn FnMut() -> Result<Box<Device>, ApplyError> + Send>;
/// Returns the connector for the device in the settings, `None` for "off".
pub type Connect<Settings, Device> = Box<dyn Fn(&Settings) -> Option<Connector<Device>> + Send>;

/// Decides what a type of device shows, and when. `now` counts from the thread's start.
pub trait Player {
    type Device: ?Sized + 'static;
    type Picture: Send + 'static;
    type Settings: Send + 'static;
    /// The picture that stays after the end of the daemon.
    type Last: Send + 'static;
    /// The device's name in reports.
    const NAME: &'static str;

    /// Sets the picture.
    fn show(&mut self, picture: Self::Picture, now: Duration);

    /// Returns whether a picture was set. Before that a restart leaves the device as it is.
    fn has_picture(&self) -> bool;

    /// Turns to the next page of the picture, with more time to read it.
    fn turn(&mut self, _now: Duration) {}

    /// Handles the opening of the device.
    fn opened(&mut self, _now: Duration) {}

    /// Updates the device and reports it. Returns the time until the next update.
    fn play(
        &mut self,
        device: &mut Self::Device,
        stage: &mut Stage<'_, Self::Settings>,
    ) -> Result<Option<Duration>, ApplyError>;

    /// Handles the closing of the device, if it was open.
    fn closed(&mut self, device: Option<Box<Self::Device>>);

    /// Handles a change of the settings to another device.
    fn replaced(&mut self) {}

    /// Returns whether both settings are for the same device.
    fn is_same_device(before: &Self::Settings, now: &Self::Settings) -> bool;

    /// Shows the last picture.
    fn finish(
        &mut self,
        device: &mut Self::Device,
        last: Self::Last,
        stage: &mut Stage<'_, Self::Settings>,
    ) -> Result<(), ApplyError>;
}

/// Context of a player's round of work.
#[derive(Debug)]
pub struct Stage<'a, Settings> {
    pub settings: &'a Settings,
    pub dead_man: &'a DeadMan,
    pub reporter: &'a mut Reporter,
    /// The start of the round.
    pub now: Duration,
    start: Instant,
}

impl<Settings> Stage<'_, Settings> {
    /// Returns the current time, which is later than `now`.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}

/// The state of a device's thread.
pub struct Worker<P: Player> {
    player: P,
    settings: P::Settings,
    connect: Connect<P::Settings, P::Device>,
    connector: Option<Connector<P::Device>>,
    device: Option<Box<P::Device>>,
    dead_man: DeadMan,
    reporter: Reporter,
    retry: Retry,
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
            retry: Retry::new(),
            start: Instant::now(),
        }
    }

    /// Runs one round of work. Returns the time until the next.
    pub fn work(&mut self) -> Option<Duration> {
        if self.connector.is_none() {
            self.reporter.report(Err(PanelError::SwitchedOff { what: P::NAME }.into()));
            return self.reporter.flush();
        }
        if !self.player.has_picture() {
            return None;
        }
        let pause = self.retry.left(self.start.elapsed());
        if self.device.is_none() && !pause.is_zero() {
            return earliest([Some(pause), self.reporter.flush()]);
        }
        let next = match self.with_device(|player, device, stage| player.play(device, stage)) {
            Ok(next) => {
                self.retry = Retry::new();
                next
            }
            Err(error) => Some(self.fail(error)),
        };
        earliest([next, self.reporter.flush()])
    }

    /// Calls `work` with the device, which is opened first if necessary.
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

    /// Closes the device and reports the error. Returns the time until the retry.
    fn fail(&mut self, error: ApplyError) -> Duration {
        self.close();
        self.retry.failed(self.start.elapsed());
        if self.retry.is_worth_reporting(&error) {
            self.reporter.report(Err(error));
        }
        self.retry.left(self.start.elapsed())
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

    /// Reopens the device after any was plugged in or out: that may have interrupted the panel's
    /// power, or be a better one.
    pub fn hotplug(&mut self) {
        self.close();
        self.retry = Retry::new();
    }

    pub fn reconfigure(&mut self, settings: P::Settings) {
        let same = P::is_same_device(&self.settings, &settings);
        self.settings = settings;
        if !same {
            self.close();
            self.player.replaced();
            self.connector = (self.connect)(&self.settings);
            self.retry = Retry::new();
        }
    }

    pub fn finish(&mut self, last: P::Last) -> Result<(), ApplyError> {
        self.with_device(|player, device, stage| player.finish(device, last, stage))
    }

    /// Closes the device after a panic, since its state is unknown.
    pub fn recover(&mut self, error: ApplyError) {
        self.close();
        self.connector = (self.connect)(&self.settings);
        self.reporter.report(Err(error));
    }
}
