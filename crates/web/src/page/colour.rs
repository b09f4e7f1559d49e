//! Names of colours, for screen readers and colour-blind users.

/// A named colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colour {
    Red,
    Orange,
    Amber,
    Yellow,
    Green,
    Turquoise,
    Blue,
    Violet,
    Pink,
    White,
    Dark,
}

/// The ranges of hues with a name, in degrees. Hues in the gaps between have none.
const WHEEL: [(f32, f32, Colour); 10] = [
    (0.0, 15.0, Colour::Red),
    (18.0, 32.0, Colour::Orange),
    (33.0, 50.0, Colour::Amber),
    (51.0, 68.0, Colour::Yellow),
    (75.0, 158.0, Colour::Green),
    (165.0, 195.0, Colour::Turquoise),
    (202.0, 255.0, Colour::Blue),
    (260.0, 292.0, Colour::Violet),
    (295.0, 340.0, Colour::Pink),
    (345.0, 360.0, Colour::Red),
];
/// The HSV value (0 to 255) below which an LED is dark.
const DARK: f32 = 8.0;
/// The HSV saturation below which a colour is white, and below which it is too pale for a name.
const WHITE: f32 = 0.12;
const PALE: f32 = 0.4;

impl Colour {
    /// Returns the name of `#rrggbb`; `None` without a fitting one.
    pub(super) fn of(text: &str) -> Option<Self> {
        let number = u32::from_str_radix(text.strip_prefix('#')?, 16).ok()?;
        let [0, red, green, blue] = number.to_be_bytes() else { return None };
        if text.len() != "#rrggbb".len() {
            return None;
        }
        let [red, green, blue] = [red, green, blue].map(f32::from);
        let highest = red.max(green).max(blue);
        let spread = highest - red.min(green).min(blue);
        if highest < DARK {
            return Some(Self::Dark);
        }
        if spread / highest < WHITE {
            return Some(Self::White);
        }
        if spread / highest < PALE {
            return None;
        }
        // The hue of HSV.
        let sixth = if highest == red {
            ((green - blue) / spread).rem_euclid(6.0)
        } else if highest == green {
            (blue - red) / spread + 2.0
        } else {
            (red - green) / spread + 4.0
        };
        let hue = sixth * 60.0;
        let fits = |(from, to, _): &&(f32, f32, Self)| (*from..=*to).contains(&hue);
        WHEEL.iter().find(fits).map(|(_, _, colour)| *colour)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_have_names_where_one_fits() {
        for (text, colour) in [
            ("#ff0000", Some(Colour::Red)),
            ("#ff0020", Some(Colour::Red)),
            ("#ff6a00", Some(Colour::Orange)),
            ("#ffa000", Some(Colour::Amber)),
            ("#ffbf00", Some(Colour::Amber)),
            ("#FFFF00", Some(Colour::Yellow)),
            ("#00ff00", Some(Colour::Green)),
            ("#008000", Some(Colour::Green)),
            ("#00ffff", Some(Colour::Turquoise)),
            ("#0000ff", Some(Colour::Blue)),
            ("#8000ff", Some(Colour::Violet)),
            ("#ff00ff", Some(Colour::Pink)),
            ("#ffffff", Some(Colour::White)),
            ("#000000", Some(Colour::Dark)),
            // Pale, or between two names.
            ("#b09080", None),
            ("#b3ff00", Some(Colour::Green)),
            ("#c8ff00", None),
            ("", None),
            ("red", None),
            ("#fff", None),
            ("#1ffffff", None),
            ("#ää", None),
        ] {
            assert_eq!(Colour::of(text), colour, "{text}");
        }
    }
}
