//! Decides what the display shows, and when.

use std::time::Duration;

use crate::config::{Backlight, Lcd};
use crate::event::{Applied, ApplyError, ApplyErrorKind};
use crate::panel::CharDisplay;
use crate::panel::charset::HEARTBEAT;
use crate::panel::playlist::{Rotation, Urgency};
use crate::panel::{Frame, Playlist};
use crate::reconcile::panel::device::{Player, Stage, earliest};

/// Minimum interval between two frames that are not urgent.
const FRAME_TIME: Duration = Duration::from_millis(100);
/// Half a heartbeat: how long the heart is visible, then invisible.
const HALF_BEAT: Duration = Duration::from_millis(500);

/// Time-driven actions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Periods {
    /// Interval at which the controller is initialised again, in case interference has disturbed
    /// it. Each time wakes the thread half a dozen times, for the bus and for the controller.
    pub refresh: Duration,
    /// How long without news until an OLED is dimmed, since its pixels age with the emitted light.
    pub dim_after: Duration,
}

impl Periods {
    pub const USUAL: Self =
        Self { refresh: Duration::from_secs(300), dim_after: Duration::from_secs(600) };
}

/// The state of a display.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shown {
    frame: Frame,
    lit: bool,
    dimmed: bool,
}

/// Shows a [`Playlist`] on a display.
pub(super) struct DisplayPlayer {
    rotation: Rotation,
    shown: Option<Shown>,
    shown_at: Duration,
    refreshed_at: Duration,
    /// [`Periods::USUAL`] except in tests.
    periods: Periods,
    urgent: bool,
    /// There is something to show.
    started: bool,
    /// Bytes written to displays that were closed.
    bytes: u64,
    /// Time spent on writes, pauses included.
    bus_time: Duration,
    /// This hardware cannot detect a loss of the display's power.
    blind: bool,
}

impl DisplayPlayer {
    pub fn new(periods: Periods) -> Self {
        Self {
            rotation: Rotation::new(Duration::ZERO),
            shown: None,
            shown_at: Duration::ZERO,
            refreshed_at: Duration::ZERO,
            periods,
            urgent: false,
            started: false,
            bytes: 0,
            bus_time: Duration::ZERO,
            blind: false,
        }
    }

    /// Writes a frame. Unless it is urgent, first checks whether the display has lost its power,
    /// since a write destroys the evidence.
    fn put(
        &mut self,
        display: &mut dyn CharDisplay,
        wanted: Shown,
        urgent: bool,
        stage: &Stage<'_, Lcd>,
    ) -> Result<(), ApplyError> {
        if !urgent && !self.blind {
            self.blind = !display.check();
        }
        display.dim(wanted.dimmed);
        display.show(&wanted.frame, wanted.lit)?;
        self.shown = Some(wanted);
        self.shown_at = stage.elapsed();
        Ok(())
    }

    fn refresh(&mut self, display: &mut dyn CharDisplay, now: Duration) -> Result<(), ApplyError> {
        if now.saturating_sub(self.refreshed_at) >= self.periods.refresh {
            self.refreshed_at = now;
            display.refresh()?;
        }
        Ok(())
    }

    fn report(&self, display: &dyn CharDisplay, stage: &mut Stage<'_, Lcd>) {
        let Some(Shown { frame, lit, .. }) = &self.shown else { return };
        let frame = with_heart(frame.clone(), stage.settings, true);
        let lines = stage.settings.charset.shown(&frame).lines();
        let bytes = self.bytes + display.bytes();
        let (bus_time, lit, blind) = (self.bus_time, *lit, self.blind);
        stage.reporter.report(Ok(Applied::Display { lines, bytes, bus_time, lit, blind }));
    }

    /// Returns the desired state of the display.
    fn wanted(&self, stage: &Stage<'_, Lcd>) -> Shown {
        let (settings, now) = (stage.settings, stage.now);
        let page = self.rotation.frame().filter(|frame| frame.geometry() == settings.geometry);
        let frame = page.cloned().unwrap_or_else(|| Frame::blank(settings.geometry));
        let beat = (now.as_millis() / HALF_BEAT.as_millis()) % 2 == 0;
        let beat = beat && stage.dead_man.left().is_some();
        let frame = with_heart(frame, settings, beat);
        Shown { frame, lit: self.lit(settings, now), dimmed: self.dimmed(settings, now) }
    }

    fn lit(&self, settings: &Lcd, now: Duration) -> bool {
        match settings.backlight {
            Backlight::On => true,
            Backlight::Off => false,
            Backlight::After(time) => now.saturating_sub(self.rotation.last_news()) < time,
        }
    }

    fn dimmed(&self, settings: &Lcd, now: Duration) -> bool {
        settings.oled.is_some()
            && now.saturating_sub(self.rotation.last_news()) >= self.periods.dim_after
    }

    /// Returns the time until the next time-driven change.
    fn next(&self, stage: &Stage<'_, Lcd>) -> Option<Duration> {
        let (settings, now) = (stage.settings, stage.elapsed());
        let half = HALF_BEAT.as_nanos();
        let in_half = Duration::from_nanos(u64::try_from(now.as_nanos() % half).unwrap_or(0));
        // The renewal of an expired dead-man timer sends a message, so it needs no polling.
        let beat = (settings.heartbeat && stage.dead_man.left().is_some())
            .then(|| HALF_BEAT.saturating_sub(in_half));
        let dark = match settings.backlight {
            Backlight::After(time) if self.lit(settings, now) => {
                Some((self.rotation.last_news() + time).saturating_sub(now))
            }
            _ => None,
        };
        let dim = (settings.oled.is_some() && !self.dimmed(settings, now))
            .then(|| (self.rotation.last_news() + self.periods.dim_after).saturating_sub(now));
        let refresh = Some((self.refreshed_at + self.periods.refresh).saturating_sub(now));
        earliest([beat, dark, dim, refresh, self.rotation.next_turn(now)])
    }
}

/// Draws the heartbeat in the last cell of the last row, which is reserved for it.
fn with_heart(mut frame: Frame, settings: &Lcd, beat: bool) -> Frame {
    if settings.heartbeat {
        let geometry = frame.geometry();
        let (row, column) = (usize::from(geometry.rows) - 1, usize::from(geometry.columns) - 1);
        frame.set(row, column, if beat { HEARTBEAT } else { ' ' });
    }
    frame
}

impl Player for DisplayPlayer {
    type Device = dyn CharDisplay;
    type Picture = Playlist;
    type Settings = Lcd;
    type Last = (Frame, bool);
    const NAME: &'static str = "the display";

    fn show(&mut self, playlist: Playlist, now: Duration) {
        self.started = true;
        self.urgent |= self.rotation.update(playlist, now) == Urgency::Now;
    }

    fn has_picture(&self) -> bool {
        self.started
    }

    fn turn(&mut self, now: Duration) {
        self.rotation.turn(now);
        self.urgent = true;
    }

    fn opened(&mut self, now: Duration) {
        self.refreshed_at = now;
    }

    fn play(
        &mut self,
        display: &mut (dyn CharDisplay + 'static),
        stage: &mut Stage<'_, Lcd>,
    ) -> Result<Option<Duration>, ApplyError> {
        let now = stage.now;
        self.rotation.advance(now);
        let wanted = self.wanted(stage);
        let since = now.saturating_sub(self.shown_at);
        let differs = self.shown.as_ref() != Some(&wanted);
        if differs && !self.urgent && self.shown.is_some() && since < FRAME_TIME {
            return Ok(Some(FRAME_TIME - since));
        }
        let urgent = std::mem::take(&mut self.urgent);
        let begin = stage.elapsed();
        let result = if differs {
            self.put(display, wanted, urgent, stage)
        } else {
            self.refresh(display, now)
        };
        self.bus_time += stage.elapsed().saturating_sub(begin);
        if let Err(error) = result {
            // A display that is absent is no error of the bus.
            if self.shown.is_some() || error.kind == ApplyErrorKind::Failed {
                stage.reporter.count_error();
            }
            return Err(error);
        }
        self.report(display, stage);
        Ok(self.next(stage))
    }

    fn closed(&mut self, display: Option<Box<dyn CharDisplay>>) {
        self.bytes += display.map_or(0, |display| display.bytes());
        self.shown = None;
        self.urgent = false;
    }

    fn replaced(&mut self) {
        self.blind = false;
    }

    fn is_same_device(before: &Lcd, now: &Lcd) -> bool {
        device(before) == device(now)
    }

    fn finish(
        &mut self,
        display: &mut (dyn CharDisplay + 'static),
        (frame, lit): (Frame, bool),
        stage: &mut Stage<'_, Lcd>,
    ) -> Result<(), ApplyError> {
        self.put(display, Shown { frame, lit, dimmed: false }, true, stage)
    }
}

/// Returns the settings that identify the device.
fn device(lcd: &Lcd) -> impl PartialEq {
    (lcd.bus.clone(), lcd.oled, lcd.geometry, lcd.charset, lcd.emulator_script.clone())
}
