//! What the indicator's thread does.

use std::time::{Duration, Instant};

use super::Connector;
use super::daytime::{is_night, local_minute};
use crate::config::Led;
use crate::event::{Applied, ApplyError};
use crate::panel::Indicator;
use crate::panel::light::pulse_widths;
use crate::panel::signal::{Colour, Pattern, Signal, level};
use crate::reconcile::panel::device::{self, Lease, PanelError, Patience, Reporter, earliest};

/// What is left of the brightness when dimmed.
const DIMMED: f32 = 0.2;
/// How often the wall clock is looked at, where a night is set.
const MINUTE: Duration = Duration::from_secs(60);
/// How far ahead the next visible change is looked for.
const STEPS_AHEAD: usize = 16;
/// Nobody drives it: said when the lease has expired.
const ABANDONED: Signal = Signal { colour: Colour::AMBER, pattern: Pattern::Steady };
/// All is well: only this is dimmed.
const WELL: Signal = Signal { colour: Colour::GREEN, pattern: Pattern::Breathe };

type Connect = Box<dyn Fn(&Led) -> Option<Connector> + Send>;

pub(super) struct Worker {
    settings: Led,
    connect: Connect,
    connector: Option<Connector>,
    indicator: Option<Box<dyn Indicator>>,
    signals: Option<Vec<Signal>>,
    /// since when the signals are as they are
    since: Duration,
    /// when each pattern in use began: equal patterns stay in step
    began: Vec<(Pattern, Duration)>,
    lease: Lease,
    reporter: Reporter,
    patience: Patience,
    start: Instant,
    shown: Option<Vec<Colour>>,
    shown_at: Duration,
    night: (Duration, bool),
}

impl Worker {
    pub fn new(settings: Led, connect: Connect, lease: Lease, reporter: Reporter) -> Self {
        let connector = connect(&settings);
        Self {
            settings,
            connect,
            connector,
            indicator: None,
            signals: None,
            since: Duration::ZERO,
            began: Vec::new(),
            lease,
            reporter,
            patience: Patience::new(),
            start: Instant::now(),
            shown: None,
            shown_at: Duration::ZERO,
            night: (Duration::ZERO, false),
        }
    }

    fn close(&mut self) {
        self.indicator = None;
        self.shown = None;
    }

    fn fail(&mut self, error: ApplyError) -> Option<Duration> {
        self.close();
        self.patience.failed(self.start.elapsed());
        if self.patience.is_worth_reporting(&error) {
            self.reporter.report(Err(error));
        }
        earliest([Some(self.patience.left(self.start.elapsed())), self.reporter.flush()])
    }

    fn open(&mut self) -> Result<(), ApplyError> {
        if self.indicator.is_some() {
            return Ok(());
        }
        let Some(connector) = &mut self.connector else {
            return Err(PanelError::SwitchedOff { what: "the LED" }.into());
        };
        self.indicator = Some(connector()?);
        Ok(())
    }

    /// Writes, opening the device if need be. The report comes after the first write: only then it
    /// works.
    fn put(&mut self, wanted: Vec<Colour>, now: Duration) -> Result<(), ApplyError> {
        self.open()?;
        let Some(indicator) = &mut self.indicator else { return Ok(()) };
        self.shown_at = now;
        indicator.set(&wanted)?;
        let (leds, name) = (indicator.leds(), indicator.name());
        if self.shown.is_none() {
            self.reporter.report(Ok(Applied::Indicator { leds, name }));
        }
        self.shown = Some(wanted);
        Ok(())
    }

    /// The least time between two writes with these signals.
    fn step(&self, signals: &[Signal]) -> Duration {
        let leds = self.indicator.as_ref().map_or(1, |indicator| usize::from(indicator.leds()));
        let moving =
            signals.iter().take(leds).filter(|signal| signal.pattern.period().is_some()).count();
        self.indicator
            .as_ref()
            .map_or(Duration::from_millis(50), |indicator| indicator.interval(moving))
    }

    /// What the LEDs are driven with at `now`.
    fn colours(&self, signals: &[Signal], brightness: f32, now: Duration) -> Vec<Colour> {
        let indicator = self.indicator.as_ref();
        let leds = indicator.map_or(1, |indicator| usize::from(indicator.leds()));
        let dimmable = indicator.is_none_or(|indicator| indicator.dimmable());
        signals
            .iter()
            .take(leds)
            .map(|signal| {
                let level = level(self.still(signal.pattern), self.elapsed(signal.pattern, now));
                if dimmable {
                    pulse_widths(signal.colour, level, brightness)
                } else if level >= 0.5 {
                    signal.colour
                } else {
                    Colour::OFF
                }
            })
            .collect()
    }

    /// With `animate = false` everything that is not dark is steady.
    fn still(&self, pattern: Pattern) -> Pattern {
        match pattern {
            Pattern::Off => Pattern::Off,
            _ if !self.settings.animate => Pattern::Steady,
            moving => moving,
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

    /// Time until some LED has to change by itself. It counts from `began`, when this round of work
    /// began, so that the work does not stretch the animation; steps at which nothing would be seen
    /// to change are slept through.
    fn next_change(
        &self,
        signals: &[Signal],
        brightness: f32,
        step: Duration,
        began: Duration,
    ) -> Option<Duration> {
        let mut at = began;
        for _ in 0..STEPS_AHEAD {
            at += self.next_step(signals, step, at)?;
            if self.shown.as_ref() != Some(&self.colours(signals, brightness, at)) {
                break;
            }
        }
        Some(at.saturating_sub(self.start.elapsed()))
    }

    fn next_step(&self, signals: &[Signal], step: Duration, at: Duration) -> Option<Duration> {
        let leds = self.indicator.as_ref().map_or(1, |indicator| usize::from(indicator.leds()));
        let steps = signals.iter().take(leds);
        steps
            .filter_map(|signal| {
                self.still(signal.pattern).next_change(self.elapsed(signal.pattern, at), step)
            })
            .min()
    }

    fn brightness(&mut self, signals: &[Signal], now: Duration) -> f32 {
        let idle =
            self.settings.dim_after.is_some_and(|time| now.saturating_sub(self.since) >= time);
        let dim = is_well(signals) && (idle || self.is_night(now));
        self.settings.brightness * if dim { DIMMED } else { 1.0 }
    }

    fn is_night(&mut self, now: Duration) -> bool {
        let Some(night) = self.settings.quiet_hours else { return false };
        let (looked, _) = self.night;
        if looked.is_zero() || now >= looked + MINUTE {
            let minute = local_minute();
            self.night = (now, minute.is_some_and(|minute| is_night(night, minute)));
        }
        self.night.1
    }

    fn until_dim(&self, now: Duration) -> Option<Duration> {
        let at = self.since + self.settings.dim_after?;
        (at > now).then(|| at - now)
    }
}

/// Nothing to say but that all is well.
fn is_well(signals: &[Signal]) -> bool {
    signals.first() == Some(&WELL)
}

impl device::Worker for Worker {
    type Picture = Vec<Signal>;
    type Settings = Led;
    type Last = ();

    fn work(&mut self) -> Option<Duration> {
        if self.connector.is_none() {
            self.reporter.report(Err(PanelError::SwitchedOff { what: "the LED" }.into()));
            return self.reporter.flush();
        }
        // Nothing is touched before there is something to say: a restart leaves the LED as it is.
        let signals = self.signals.clone()?;
        let now = self.start.elapsed();
        let retry = self.patience.left(now);
        if self.indicator.is_none() && !retry.is_zero() {
            return earliest([Some(retry), self.reporter.flush()]);
        }
        if let Err(error) = self.open() {
            return self.fail(error);
        }
        let left = self.lease.left();
        let signals = if left.is_some() { signals } else { vec![ABANDONED] };
        let step = self.step(&signals);
        let brightness = self.brightness(&signals, now);
        let wanted = self.colours(&signals, brightness, now);
        if self.shown.as_ref() != Some(&wanted) {
            let early = (self.shown_at + step).saturating_sub(now);
            if self.shown.is_some() && !early.is_zero() {
                return earliest([Some(early), self.reporter.flush()]);
            }
            if let Err(error) = self.put(wanted, now) {
                return self.fail(error);
            }
            self.patience = Patience::new();
        }
        let night = self.settings.quiet_hours.map(|_| MINUTE);
        earliest([
            self.next_change(&signals, brightness, step, now),
            left,
            self.until_dim(now),
            night,
            self.reporter.flush(),
        ])
    }

    fn show(&mut self, signals: Vec<Signal>) {
        if self.signals.as_ref() == Some(&signals) {
            return;
        }
        let now = self.start.elapsed();
        self.since = now;
        self.began.retain(|(pattern, _)| signals.iter().any(|signal| signal.pattern == *pattern));
        for signal in &signals {
            if !self.began.iter().any(|(pattern, _)| *pattern == signal.pattern) {
                self.began.push((signal.pattern, now));
            }
        }
        self.signals = Some(signals);
    }

    fn hotplug(&mut self) {
        // A stand-in gives way to a stick just plugged in, and one that went and came back is dark.
        self.close();
        self.patience = Patience::new();
    }

    fn reconfigure(&mut self, settings: Led) {
        let same = settings.device == self.settings.device
            && settings.emulator_script == self.settings.emulator_script;
        self.settings = settings;
        if !same {
            self.close();
            self.connector = (self.connect)(&self.settings);
            self.patience = Patience::new();
        }
    }

    fn finish(&mut self, (): ()) -> Result<(), ApplyError> {
        self.put(Vec::new(), self.start.elapsed())
    }

    fn recover(&mut self, error: ApplyError) {
        self.close();
        self.connector = (self.connect)(&self.settings);
        self.reporter.report(Err(error));
    }
}
