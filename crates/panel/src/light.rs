//! Converts perceived colours to LED pulse widths.

use crate::Colour;

/// The smallest non-zero channel of a dim colour: below it the steps 0, 1 and 2 would shift the
/// hue.
const SMALLEST: f32 = 2.0;

/// Returns the pulse widths (0–255 per channel, linear in light) of an sRGB `colour` at a perceived
/// brightness `level` (0–1), scaled in linear light by `brightness` (0–1).
///
/// Only a `level` or `brightness` of 0 or black is dark: otherwise the hue is kept, even if that is
/// slightly brighter than requested.
pub fn pulse_widths(colour: Colour, level: f32, brightness: f32) -> Colour {
    let linear = [colour.red, colour.green, colour.blue]
        .map(|channel| srgb_to_linear(f32::from(channel) / 255.0));
    let brightest = linear.iter().copied().fold(0.0, f32::max);
    if level <= 0.0 || brightness <= 0.0 || brightest <= 0.0 {
        return Colour::OFF;
    }
    let asked = 255.0 * brightness.min(1.0) * srgb_to_linear(level.min(1.0));
    // A negligible channel does not affect the hue.
    let faintest = linear
        .iter()
        .copied()
        .filter(|channel| channel * 50.0 >= brightest)
        .fold(brightest, f32::min);
    let scale = asked.max(SMALLEST / faintest);
    let [red, green, blue] = linear.map(|channel| quantise(channel * scale));
    Colour { red, green, blue }
}

/// Returns the linear light of an sRGB value, both in 0–1 (IEC 61966-2-1).
fn srgb_to_linear(value: f32) -> f32 {
    if value <= 0.040_45 { value / 12.92 } else { libm::powf((value + 0.055) / 1.055, 2.4) }
}

fn quantise(value: f32) -> u8 {
    // `as` saturates; the value is within 0–255 here.
    value.round().clamp(0.0, 255.0) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratio(colour: Colour) -> f32 {
        f32::from(colour.green) / f32::from(colour.red)
    }

    #[test]
    fn full_is_full_and_dark_is_dark() {
        assert_eq!(pulse_widths(Colour::GREEN, 1.0, 1.0), Colour::GREEN);
        assert_eq!(pulse_widths(Colour::GREEN, 0.0, 1.0), Colour::OFF);
        assert_eq!(pulse_widths(Colour::GREEN, 1.0, 0.0), Colour::OFF);
        assert_eq!(pulse_widths(Colour::OFF, 1.0, 1.0), Colour::OFF);
    }

    #[test]
    fn amber_stays_amber_however_dim() {
        let full = ratio(pulse_widths(Colour::AMBER, 1.0, 1.0));
        for brightness in [1.0, 0.3, 0.06, 0.02] {
            for step in 1..=100 {
                let shown = pulse_widths(Colour::AMBER, step as f32 / 100.0, brightness);
                assert!(shown.green >= 2, "{shown} at {step} %, {brightness}");
                assert!(
                    ratio(shown) > full * 0.75 && ratio(shown) < full * 1.34,
                    "{shown} at {step} %, {brightness}"
                );
            }
        }
    }

    #[test]
    fn brighter_is_never_darker() {
        for colour in
            [Colour::GREEN, Colour::AMBER, Colour::BLUE, Colour { red: 255, green: 255, blue: 255 }]
        {
            let widths: Vec<u8> = (1..=1000)
                .map(|step| pulse_widths(colour, step as f32 / 1000.0, 0.3))
                .map(|shown| shown.red.max(shown.green).max(shown.blue))
                .collect();
            assert!(widths.windows(2).all(|pair| pair[0] <= pair[1]));
            assert!(widths[0] >= 2 && widths[999] >= 76);
        }
    }

    #[test]
    fn a_channel_too_faint_to_keep_does_not_brighten_the_rest() {
        let shown = pulse_widths(Colour { red: 255, green: 1, blue: 0 }, 0.1, 0.3);
        assert!(shown.red < 10, "{shown}");
    }
}
