//! What the display's thread does.

use std::time::{Duration, Instant};

use super::Connector;
use crate::config::{Backlight, Lcd};
use crate::event::{Applied, ApplyError, ApplyErrorKind};
use crate::panel::CharDisplay;
use crate::panel::charset::HEARTBEAT;
use crate::panel::playlist::{Rotation, Urgency};
use crate::panel::{Frame, Playlist};
use crate::reconcile::panel::device::{self, Lease, PanelError, Patience, Reporter, earliest};

/// The least time between two frames that are not urgent.
const FRAME_TIME: Duration = Duration::from_millis(100);
/// Half a beat: the heart is seen this long, then not.
const HALF_BEAT: Duration = Duration::from_millis(500);
/// What is done by time alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Periods {
    /// How often the controller is initialised again, in case interference has disturbed it. Each
    /// time the thread wakes half a dozen times, for the bus and for the controller.
    pub refresh: Duration,
    /// So long without news an OLED glows less: its pixels age with the light that they gave.
    pub dim_after: Duration,
}

impl Periods {
    pub const USUAL: Self =
        Self { refresh: Duration::from_secs(300), dim_after: Duration::from_secs(600) };
}

type Connect = Box<dyn Fn(&Lcd) -> Option<Connector> + Send>;

/// What stands on a glass.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shown {
    frame: Frame,
    lit: bool,
    dimmed: bool,
}

pub(super) struct Worker {
    settings: Lcd,
    connect: Connect,
    connector: Option<Connector>,
    display: Option<Box<dyn CharDisplay>>,
    rotation: Rotation,
    lease: Lease,
    reporter: Reporter,
    patience: Patience,
    start: Instant,
    /// what is on the glass
    shown: Option<Shown>,
    shown_at: Duration,
    refreshed_at: Duration,
    /// [`Periods::USUAL`], but in tests
    periods: Periods,
    urgent: bool,
    /// nothing is touched before there is something to show: a restart leaves the glass as it is
    started: bool,
    /// bytes of displays that were closed
    bytes: u64,
    /// nobody can see on this hardware whether the display has lost its power
    blind: bool,
}

impl Worker {
    pub fn new(
        settings: Lcd,
        connect: Connect,
        periods: Periods,
        lease: Lease,
        reporter: Reporter,
    ) -> Self {
        let connector = connect(&settings);
        Self {
            settings,
            connect,
            connector,
            display: None,
            rotation: Rotation::new(Duration::ZERO),
            lease,
            reporter,
            patience: Patience::new(),
            start: Instant::now(),
            shown: None,
            shown_at: Duration::ZERO,
            refreshed_at: Duration::ZERO,
            periods,
            urgent: false,
            started: false,
            bytes: 0,
            blind: false,
        }
    }

    fn close(&mut self) {
        if let Some(display) = self.display.take() {
            self.bytes += display.bytes();
        }
        self.shown = None;
    }

    /// Reports, and after a failure lets the device be opened anew.
    fn conclude(&mut self, result: Result<(), ApplyError>) {
        match result {
            Ok(()) => {
                self.patience = Patience::new();
                if let Some(Shown { frame, .. }) = &self.shown {
                    let bytes =
                        self.bytes + self.display.as_ref().map_or(0, |display| display.bytes());
                    let lines =
                        self.settings.charset.shown(&self.with_heart(frame.clone(), true)).lines();
                    self.reporter.report(Ok(Applied::Display { lines, bytes, blind: self.blind }));
                }
            }
            Err(error) => {
                // One that is not there yet fails at each try: that is no error of the bus.
                if self.display.is_some()
                    && (self.shown.is_some() || error.kind == ApplyErrorKind::Failed)
                {
                    self.reporter.count_error();
                }
                self.close();
                self.patience.failed(self.start.elapsed());
                if self.patience.is_worth_reporting(&error) {
                    self.reporter.report(Err(error));
                }
            }
        }
    }

    /// Brings a frame on the glass, opening the display if need be. What is not urgent has time to
    /// look first whether the display has lost its power: whatever is written covers the traces.
    fn put(&mut self, wanted: Shown, urgent: bool) -> Result<(), ApplyError> {
        if self.display.is_none() {
            let Some(connector) = &mut self.connector else {
                return Err(PanelError::SwitchedOff { what: "the display" }.into());
            };
            self.display = Some(connector()?);
            self.refreshed_at = self.start.elapsed();
        }
        let Some(display) = &mut self.display else { return Ok(()) };
        if !urgent && !self.blind {
            self.blind = !display.check();
        }
        display.dim(wanted.dimmed);
        display.show(&wanted.frame, wanted.lit)?;
        self.shown = Some(wanted);
        self.shown_at = self.start.elapsed();
        Ok(())
    }

    fn refresh(&mut self, now: Duration) -> Result<(), ApplyError> {
        let Some(display) = &mut self.display else { return Ok(()) };
        if now.saturating_sub(self.refreshed_at) < self.periods.refresh {
            return Ok(());
        }
        self.refreshed_at = now;
        display.refresh()?;
        Ok(())
    }

    /// What should be on the glass now.
    fn wanted(&self, now: Duration) -> Shown {
        let page = self.rotation.frame().filter(|frame| frame.geometry() == self.settings.geometry);
        let frame = page.cloned().unwrap_or_else(|| Frame::blank(self.settings.geometry));
        let beat = (now.as_millis() / HALF_BEAT.as_millis()) % 2 == 0;
        let frame = self.with_heart(frame, beat && self.lease.left().is_some());
        Shown { frame, lit: self.lit(now), dimmed: self.dimmed(now) }
    }

    /// The last cell of the last row is the heartbeat's.
    fn with_heart(&self, mut frame: Frame, beat: bool) -> Frame {
        if self.settings.heartbeat {
            let geometry = frame.geometry();
            let (row, column) = (usize::from(geometry.rows) - 1, usize::from(geometry.columns) - 1);
            frame.set(row, column, if beat { HEARTBEAT } else { ' ' });
        }
        frame
    }

    fn lit(&self, now: Duration) -> bool {
        match self.settings.backlight {
            Backlight::On => true,
            Backlight::Off => false,
            Backlight::After(time) => now.saturating_sub(self.rotation.last_news()) < time,
        }
    }

    fn dimmed(&self, now: Duration) -> bool {
        self.settings.oled.is_some()
            && now.saturating_sub(self.rotation.last_news()) >= self.periods.dim_after
    }

    /// Time until the glass has to change again by itself.
    fn next(&self) -> Option<Duration> {
        let now = self.start.elapsed();
        if self.display.is_none() {
            return Some(self.patience.left(now));
        }
        let half = HALF_BEAT.as_nanos();
        let in_half = Duration::from_nanos(u64::try_from(now.as_nanos() % half).unwrap_or(0));
        // An expired lease is renewed with an order, so nothing has to be asked for meanwhile.
        let beat = (self.settings.heartbeat && self.lease.left().is_some())
            .then(|| HALF_BEAT.saturating_sub(in_half));
        let dark = match self.settings.backlight {
            Backlight::After(time) if self.lit(now) => {
                Some((self.rotation.last_news() + time).saturating_sub(now))
            }
            _ => None,
        };
        let dim = (self.settings.oled.is_some() && !self.dimmed(now))
            .then(|| (self.rotation.last_news() + self.periods.dim_after).saturating_sub(now));
        let refresh = Some((self.refreshed_at + self.periods.refresh).saturating_sub(now));
        earliest([beat, dark, dim, refresh, self.rotation.next_turn(now)])
    }
}

impl device::Worker for Worker {
    type Picture = Playlist;
    type Settings = Lcd;
    type Last = (Frame, bool);

    fn work(&mut self) -> Option<Duration> {
        if self.connector.is_none() {
            self.reporter.report(Err(PanelError::SwitchedOff { what: "the display" }.into()));
            return self.reporter.flush();
        }
        if !self.started {
            return None;
        }
        let now = self.start.elapsed();
        let retry = self.patience.left(now);
        if self.display.is_none() && !retry.is_zero() {
            return earliest([Some(retry), self.reporter.flush()]);
        }
        self.rotation.advance(now);
        let wanted = self.wanted(now);
        let since = now.saturating_sub(self.shown_at);
        let differs = self.shown.as_ref() != Some(&wanted);
        if differs && !self.urgent && self.shown.is_some() && since < FRAME_TIME {
            return earliest([Some(FRAME_TIME - since), self.reporter.flush()]);
        }
        let urgent = std::mem::take(&mut self.urgent);
        let result = if differs { self.put(wanted, urgent) } else { self.refresh(now) };
        self.conclude(result);
        earliest([self.next(), self.reporter.flush()])
    }

    fn show(&mut self, playlist: Playlist) {
        self.started = true;
        self.urgent |= self.rotation.update(playlist, self.start.elapsed()) == Urgency::Now;
    }

    fn turn(&mut self) {
        self.rotation.turn(self.start.elapsed());
        self.urgent = true;
    }

    fn hotplug(&mut self) {
        // Whatever it was may have taken the panel's power: open and initialise it again.
        self.close();
        self.patience = Patience::new();
    }

    fn reconfigure(&mut self, settings: Lcd) {
        let device = |lcd: &Lcd| {
            (lcd.bus.clone(), lcd.oled, lcd.geometry, lcd.charset, lcd.emulator_script.clone())
        };
        let same = device(&settings) == device(&self.settings);
        self.settings = settings;
        if !same {
            self.close();
            self.connector = (self.connect)(&self.settings);
            self.patience = Patience::new();
            self.blind = false;
        }
    }

    fn finish(&mut self, (last, lit): (Frame, bool)) -> Result<(), ApplyError> {
        self.put(Shown { frame: last, lit, dimmed: false }, true)
    }

    fn recover(&mut self, error: ApplyError) {
        self.close();
        self.connector = (self.connect)(&self.settings);
        self.reporter.report(Err(error));
    }
}
