//! Signals of LEDs: a colour and a pattern, independent of its phase.

use std::fmt;
use std::time::Duration;

/// An 8-bit sRGB colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Colour {
    pub red: u8,
    pub green: u8,
    pub blue: u8,
}

impl Colour {
    pub const OFF: Self = Self { red: 0, green: 0, blue: 0 };
    pub const GREEN: Self = Self { red: 0, green: 255, blue: 0 };
    pub const BLUE: Self = Self { red: 0, green: 0, blue: 255 };
    pub const AMBER: Self = Self { red: 255, green: 160, blue: 0 };
    pub const RED: Self = Self { red: 255, green: 0, blue: 0 };
}

impl fmt::Display for Colour {
    /// Writes the colour as `#rrggbb`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:02x}{:02x}{:02x}", self.red, self.green, self.blue)
    }
}

/// The pattern over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pattern {
    Off,
    Steady,
    /// Period 4 s.
    Breathe,
    /// Period 1.2 s.
    QuickBreathe,
    /// Two 150 ms flashes every 2 s.
    DoubleBlink,
    /// 2 Hz.
    FastBlink,
}

impl Pattern {
    /// Returns the name for status and settings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Steady => "steady",
            Self::Breathe => "breathe",
            Self::QuickBreathe => "quick-breathe",
            Self::DoubleBlink => "double-blink",
            Self::FastBlink => "fast-blink",
        }
    }
}

/// A colour and a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signal {
    pub colour: Colour,
    pub pattern: Pattern,
}

impl Signal {
    pub const DARK: Self = Self { colour: Colour::OFF, pattern: Pattern::Off };
}

/// Perceived brightness at the dimmest point of the breathing patterns: not quite dark, so that it
/// cannot be mistaken for off.
const BREATH_FLOOR: f32 = 0.04;
const FLASH: Duration = Duration::from_millis(150);
/// Times of on, off, on, off within one period.
const DOUBLE_BLINK: &[Duration] =
    &[Duration::ZERO, FLASH, Duration::from_millis(300), Duration::from_millis(450)];
const FAST_BLINK: &[Duration] = &[Duration::ZERO, Duration::from_millis(250)];

impl Pattern {
    /// Returns the period of the pattern; `None` if it is constant.
    pub const fn period(self) -> Option<Duration> {
        match self {
            Self::Off | Self::Steady => None,
            Self::Breathe => Some(Duration::from_millis(4000)),
            Self::QuickBreathe => Some(Duration::from_millis(1200)),
            Self::DoubleBlink => Some(Duration::from_millis(2000)),
            Self::FastBlink => Some(Duration::from_millis(500)),
        }
    }

    /// Returns the times within one period at which a blinking pattern turns on, off, on, …
    const fn edges(self) -> &'static [Duration] {
        match self {
            Self::DoubleBlink => DOUBLE_BLINK,
            Self::FastBlink => FAST_BLINK,
            _ => &[],
        }
    }

    /// Returns the position of `elapsed` within one period.
    fn phase(self, elapsed: Duration) -> Duration {
        let Some(period) = self.period() else { return Duration::ZERO };
        let nanos = elapsed.as_nanos() % period.as_nanos().max(1);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
    }

    /// Returns the time from `elapsed` to the next change of the level, or `step` for a pattern
    /// that changes continuously; `None` if it is constant.
    pub fn next_change(self, elapsed: Duration, step: Duration) -> Option<Duration> {
        let period = self.period()?;
        let edges = self.edges();
        if edges.is_empty() {
            return Some(step);
        }
        let phase = self.phase(elapsed);
        let next = edges.iter().copied().find(|edge| *edge > phase).unwrap_or(period);
        Some(next.saturating_sub(phase))
    }
}

/// Returns the perceived brightness of a pattern `elapsed` after its start, from 0.0 (dark) to 1.0.
pub fn level(pattern: Pattern, elapsed: Duration) -> f32 {
    let phase = pattern.phase(elapsed);
    match pattern {
        Pattern::Off => 0.0,
        Pattern::Steady => 1.0,
        Pattern::Breathe | Pattern::QuickBreathe => {
            let round =
                pattern.period().map_or(0.0, |period| phase.as_secs_f32() / period.as_secs_f32());
            BREATH_FLOOR + (1.0 - BREATH_FLOOR) * breath(round)
        }
        Pattern::DoubleBlink | Pattern::FastBlink => {
            let passed = pattern.edges().iter().filter(|edge| **edge <= phase).count();
            if passed % 2 == 1 { 1.0 } else { 0.0 }
        }
    }
}

/// Returns `(1 - cos 2πx) / 2`: one breath as `round` goes from 0 to 1.
fn breath(round: f32) -> f32 {
    0.5 - 0.5 * libm::cosf(std::f32::consts::TAU * round)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lit_at(pattern: Pattern, milliseconds: u64) -> bool {
        level(pattern, Duration::from_millis(milliseconds)) > 0.5
    }

    #[test]
    fn double_blink_is_two_short_flashes_every_two_seconds() {
        let lit: Vec<u64> =
            (0..4000).step_by(50).filter(|ms| lit_at(Pattern::DoubleBlink, *ms)).collect();
        let flash = |start: u64| [start, start + 50, start + 100];
        let expected: Vec<u64> = [0, 300, 2000, 2300].into_iter().flat_map(flash).collect();
        assert_eq!(lit, expected);
    }

    #[test]
    fn fast_blink_is_two_a_second() {
        let rises = (1..5000)
            .filter(|ms| lit_at(Pattern::FastBlink, *ms) && !lit_at(Pattern::FastBlink, ms - 1))
            .count();
        assert_eq!(rises, 9, "the tenth rise is at 5 s");
    }

    #[test]
    fn breathing_goes_from_nearly_dark_to_full_and_back_in_its_period() {
        for (pattern, period) in [(Pattern::Breathe, 4000), (Pattern::QuickBreathe, 1200)] {
            assert!(level(pattern, Duration::ZERO) > 0.0, "never dark");
            assert!(level(pattern, Duration::ZERO) < 0.1);
            assert!(level(pattern, Duration::from_millis(period / 2)) > 0.999);
            let same =
                level(pattern, Duration::from_millis(period)) - level(pattern, Duration::ZERO);
            assert!(same.abs() < 0.001);
        }
    }

    #[test]
    fn the_level_is_constant_between_changes() {
        for pattern in [Pattern::DoubleBlink, Pattern::FastBlink] {
            let mut at = Duration::ZERO;
            for _ in 0..20 {
                let step = pattern.next_change(at, Duration::ZERO).unwrap();
                assert!(!step.is_zero());
                let last = at + step - Duration::from_nanos(1);
                assert_eq!(level(pattern, at), level(pattern, last));
                assert_ne!(level(pattern, last), level(pattern, at + step));
                at += step;
            }
        }
        assert_eq!(Pattern::Steady.next_change(Duration::ZERO, FLASH), None);
        assert_eq!(Pattern::Breathe.next_change(Duration::ZERO, FLASH), Some(FLASH));
    }
}
