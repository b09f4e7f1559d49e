//! From a colour as people name it to what a light-emitting diode is driven with.

use crate::panel::Colour;

/// The smallest non-zero channel of a dim colour: below it the steps between 0, 1 and 2 would change the hue.
const SMALLEST: f32 = 2.0;

/// Pulse widths (0–255 a channel, linear in light) for an sRGB `colour` at a perceived brightness `level` (0–1), scaled in
/// linear light by `brightness` (0–1).
///
/// Dark is only `level` 0, `brightness` 0 or a black colour: else the hue is kept, if need be a little brighter than asked.
pub fn pulse_widths(colour: Colour, level: f32, brightness: f32) -> Colour {
    let linear = [colour.red, colour.green, colour.blue].map(|channel| srgb_to_linear(f32::from(channel) / 255.0));
    let brightest = linear.iter().copied().fold(0.0, f32::max);
    if level <= 0.0 || brightness <= 0.0 || brightest <= 0.0 {
        return Colour::OFF;
    }
    let asked = 255.0 * brightness.min(1.0) * srgb_to_linear(level.min(1.0));
    // A trace of a channel is no part of the hue.
    let faintest = linear.iter().copied().filter(|channel| channel * 50.0 >= brightest).fold(brightest, f32::min);
    let scale = asked.max(SMALLEST / faintest);
    let [red, green, blue] = linear.map(|channel| quantise(channel * scale));
    Colour { red, green, blue }
}

/// IEC 61966-2-1.
fn srgb_to_linear(value: f32) -> f32 {
    if value <= 0.040_45 { value / 12.92 } else { gamma((value + 0.055) / 1.055) }
}

/// `value` to the power of 2.4, for 0.05 to 1: its square times that one's fifth root, by Newton's steps from above. `powf`
/// would be the only reason, beside a cosine, to have the C library's mathematics in memory (some 200 kB).
fn gamma(value: f32) -> f32 {
    let square = value * value;
    let mut root = 1.0_f32;
    for _ in 0..12 {
        root -= (root - square / (root * root * root * root)) / 5.0;
    }
    square * root
}

fn quantise(value: f32) -> u8 {
    // `as` saturates; the value is between 0 and 255 here.
    value.round().clamp(0.0, 255.0) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratio(colour: Colour) -> f32 {
        f32::from(colour.green) / f32::from(colour.red)
    }

    #[test]
    fn the_gamma_is_that_of_the_standard() {
        for step in 50..=1000 {
            let value = step as f32 / 1000.0;
            let (ours, exact) = (gamma(value), value.powf(2.4));
            assert!((ours - exact).abs() < 1e-6, "{value}: {ours}, not {exact}");
        }
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
                assert!(ratio(shown) > full * 0.75 && ratio(shown) < full * 1.34, "{shown} at {step} %, {brightness}");
            }
        }
    }

    #[test]
    fn brighter_is_never_darker() {
        for colour in [Colour::GREEN, Colour::AMBER, Colour::BLUE, Colour { red: 255, green: 255, blue: 255 }] {
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
