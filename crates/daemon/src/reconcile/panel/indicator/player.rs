//! Decides what the LEDs show, and when.

use std::time::Duration;

use super::daytime::{is_night, local_minute};
use crate::config::Led;
use crate::event::{Applied, ApplyError};
use crate::panel::Indicator;
use crate::panel::light::pulse_widths;
use crate::panel::signal::{Colour, Pattern, Signal, level};
use crate::reconcile::panel::device::{Player, Stage, earliest};

/// Brightness factor when dimmed.
const DIMMED: f32 = 0.2;
/// Interval of checks of the wall clock, if quiet hours are set.
const MINUTE: Duration = Duration::from_secs(60);
/// Limit on animation steps searched for the next visible change.
const STEPS_AHEAD: usize = 16;
/// Shown after the dead-man timer has expired.
const ABANDONED: Signal = Signal { colour: Colour::AMBER, pattern: Pattern::Steady };
/// The cluster's signal for a good state, the only one that is dimmed.
const WELL: Signal = Signal { colour: Colour::GREEN, pattern: Pattern::Breathe };

/// Parameters for the conversion of signals to LED colours.
#[derive(Debug, Clone, Copy)]
struct Light {
    brightness: f32,
    dimmable: bool,
    /// `led.animate`
    animate: bool,
}

impl Light {
    /// Returns the displayed pattern: with `animate = false` each pattern except dark is steady.
    fn displayed(self, pattern: Pattern) -> Pattern {
        match pattern {
            Pattern::Off => Pattern::Off,
            _ if !self.animate => Pattern::Steady,
            animated => animated,
        }
    }
}

/// Animates [`Signal`]s on the LEDs.
#[derive(Debug, Default)]
pub(super) struct IndicatorPlayer {
    signals: Option<Vec<Signal>>,
    /// When the signals last changed.
    since: Duration,
    /// Start times of the patterns in use, so that equal patterns stay in step.
    began: Vec<(Pattern, Duration)>,
    shown: Option<Vec<Colour>>,
    shown_at: Duration,
    /// The last check of the wall clock, and whether it was in the quiet hours.
    night: (Duration, bool),
}

impl IndicatorPlayer {
    /// Writes the colours, and reports success after the first write.
    fn put(
        &mut self,
        indicator: &mut dyn Indicator,
        wanted: Vec<Colour>,
        stage: &mut Stage<'_, Led>,
    ) -> Result<(), ApplyError> {
        self.shown_at = stage.now;
        indicator.set(&wanted)?;
        let (leds, name) = (indicator.leds(), indicator.name());
        if self.shown.is_none() {
            stage.reporter.report(Ok(Applied::Indicator { leds, name }));
        }
        self.shown = Some(wanted);
        Ok(())
    }

    /// Returns the colours of the LEDs at `now`.
    fn colours(&self, signals: &[Signal], light: Light, now: Duration) -> Vec<Colour> {
        signals.iter().map(|signal| self.colour(signal, light, now)).collect()
    }

    fn colour(&self, signal: &Signal, light: Light, now: Duration) -> Colour {
        let pattern = light.displayed(signal.pattern);
        let level = level(pattern, self.elapsed(signal.pattern, now));
        if light.dimmable {
            pulse_widths(signal.colour, level, light.brightness)
        } else if level >= 0.5 {
            signal.colour
        } else {
            Colour::OFF
        }
    }

    fn elapsed(&self, pattern: Pattern, now: Duration) -> Duration {
        let began = self
            .began
            .iter()
            .find(|(known, _)| *known == pattern)
            .map_or(Duration::ZERO, |(_, began)| *began);
        now.saturating_sub(began)
    }

    /// Returns the time until the next visible change of an LED. Steps without a visible change are
    /// skipped. They count from the start of this round, so that its duration does not slow down
    /// the animation.
    fn next_change(
        &self,
        signals: &[Signal],
        light: Light,
        step: Duration,
        stage: &Stage<'_, Led>,
    ) -> Option<Duration> {
        let mut at = stage.now;
        for _ in 0..STEPS_AHEAD {
            at += self.next_step(signals, light, step, at)?;
            if self.shown.as_ref() != Some(&self.colours(signals, light, at)) {
                break;
            }
        }
        Some(at.saturating_sub(stage.elapsed()))
    }

    fn next_step(
        &self,
        signals: &[Signal],
        light: Light,
        step: Duration,
        at: Duration,
    ) -> Option<Duration> {
        signals
            .iter()
            .filter_map(|signal| {
                light.displayed(signal.pattern).next_change(self.elapsed(signal.pattern, at), step)
            })
            .min()
    }

    fn brightness(&mut self, signals: &[Signal], settings: &Led, now: Duration) -> f32 {
        let idle = settings.dim_after.is_some_and(|time| now.saturating_sub(self.since) >= time);
        let dim = is_well(signals) && (idle || self.is_night(settings, now));
        settings.brightness * if dim { DIMMED } else { 1.0 }
    }

    fn is_night(&mut self, settings: &Led, now: Duration) -> bool {
        let Some(night) = settings.quiet_hours else { return false };
        let (checked, _) = self.night;
        if checked.is_zero() || now >= checked + MINUTE {
            let minute = local_minute();
            self.night = (now, minute.is_some_and(|minute| is_night(night, minute)));
        }
        self.night.1
    }

    fn until_dim(&self, settings: &Led, now: Duration) -> Option<Duration> {
        let at = self.since + settings.dim_after?;
        (at > now).then(|| at - now)
    }
}

/// Returns whether the cluster's signal shows a good state.
fn is_well(signals: &[Signal]) -> bool {
    signals.first() == Some(&WELL)
}

impl Player for IndicatorPlayer {
    type Device = dyn Indicator;
    type Picture = Vec<Signal>;
    type Settings = Led;
    type Last = ();
    const NAME: &'static str = "the LED";

    fn show(&mut self, signals: Vec<Signal>, now: Duration) {
        if self.signals.as_ref() == Some(&signals) {
            return;
        }
        self.since = now;
        self.began.retain(|(pattern, _)| signals.iter().any(|signal| signal.pattern == *pattern));
        for signal in &signals {
            if !self.began.iter().any(|(pattern, _)| *pattern == signal.pattern) {
                self.began.push((signal.pattern, now));
            }
        }
        self.signals = Some(signals);
    }

    fn has_picture(&self) -> bool {
        self.signals.is_some()
    }

    fn play(
        &mut self,
        indicator: &mut (dyn Indicator + 'static),
        stage: &mut Stage<'_, Led>,
    ) -> Result<Option<Duration>, ApplyError> {
        let (settings, now) = (stage.settings, stage.now);
        let left = stage.dead_man.left();
        let mut signals = self.signals.clone().unwrap_or_default();
        if left.is_none() {
            signals = vec![ABANDONED];
        }
        let brightness = self.brightness(&signals, settings, now);
        signals.truncate(usize::from(indicator.leds()));
        let moving = signals.iter().filter(|signal| signal.pattern.period().is_some()).count();
        let step = indicator.interval(moving);
        let (dimmable, animate) = (indicator.dimmable(), settings.animate);
        let light = Light { brightness, dimmable, animate };
        let wanted = self.colours(&signals, light, now);
        if self.shown.as_ref() != Some(&wanted) {
            let early = (self.shown_at + step).saturating_sub(now);
            if self.shown.is_some() && !early.is_zero() {
                return Ok(Some(early));
            }
            self.put(indicator, wanted, stage)?;
        }
        let night = settings.quiet_hours.map(|_| MINUTE);
        let change = self.next_change(&signals, light, step, stage);
        Ok(earliest([change, left, self.until_dim(settings, now), night]))
    }

    fn closed(&mut self, _: Option<Box<dyn Indicator>>) {
        self.shown = None;
    }

    fn is_same_device(before: &Led, now: &Led) -> bool {
        (&before.device, &before.emulator_script) == (&now.device, &now.emulator_script)
    }

    fn finish(
        &mut self,
        indicator: &mut (dyn Indicator + 'static),
        (): (),
        stage: &mut Stage<'_, Led>,
    ) -> Result<(), ApplyError> {
        self.put(indicator, Vec::new(), stage)
    }
}
