//! The display dot by dot, and the LEDs with their patterns.

use bramblegate_api::Word;
use bramblegate_api::status::{DeviceState, Lcd, Led, Pattern, Signal};
use bramblegate_panel::Charset;
use maud::{Markup, html};

use super::colour::Colour;
use super::words::{Words, text};

/// The pitch of characters in dots: 5 × 8 and a gap of one.
const PITCH: (usize, usize) = (6, 9);

/// Draws the display, with its rows as text for screen readers.
pub(super) fn display(lcd: &Lcd, words: &Words) -> Markup {
    let Some(lines) = lcd.lines.as_ref().filter(|lines| !lines.is_empty()) else {
        return html! {
            p #lcd.dim { (words.no_display) @if lcd.state != DeviceState::Absent { ": " (text(&lcd.state, words.device)) } }
        };
    };
    let columns = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
    let (width, height) = (columns * PITCH.0 + 1, lines.len() * PITCH.1 + 1);
    let unlit = lcd.backlight == Some(false);
    let mut label = lines.iter().map(|line| &**line).collect::<Vec<_>>().join("\n");
    if label.trim().is_empty() {
        // An image needs a label for screen readers.
        words.blank.clone_into(&mut label);
    }
    html! {
        svg #lcd.lcd.unlit[unlit] role="img" aria-label=(label) viewBox=(format!("0 0 {width} {height}")) {
            path.dots d=(dots(lines.iter().map(|line| &**line))) {}
        }
        @if unlit { p.dim { (words.unlit) } }
    }
}

/// Returns every lit dot as a short stroke of an SVG path, as wide as it is long. Assumes the
/// character ROM A00, since the status does not name another.
fn dots<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    let mut path = String::new();
    for (row, line) in lines.enumerate() {
        for (column, scalar) in line.chars().enumerate() {
            for (y, bits) in Charset::A00.dots(scalar).into_iter().enumerate() {
                for x in (0..5).filter(|x| bits & (0x10 >> x) != 0) {
                    let place = (column * PITCH.0 + 1 + x, row * PITCH.1 + 1 + y);
                    path.push_str(&format!("M{} {}.5h.9", place.0, place.1));
                }
            }
        }
    }
    path
}

/// Returns the signal of each LED; `None` where it is unknown.
fn signals(led: &Led) -> Option<Vec<Signal>> {
    match &led.leds {
        Some(leds) if leds.len() > 1 => Some(leds.clone()),
        _ => {
            let (colour, pattern) = led.colour.clone().zip(led.pattern.clone())?;
            Some(vec![Signal { colour, pattern }])
        }
    }
}

/// Describes colour and pattern of the LED, or of a strip's first LED.
pub fn spoken_led(led: &Led, words: &Words) -> Option<String> {
    let signals = signals(led)?;
    let first = signals.first()?;
    let (colour, pattern) = (name(&first.colour, words), text(&first.pattern, words.pattern));
    Some(format!("LED: {colour}, {pattern}"))
}

/// Draws the LED, or the LEDs of a strip, with their colours and patterns, and a description.
pub(super) fn lamps(led: &Led, words: &Words) -> Markup {
    let signals = match signals(led) {
        Some(signals) => signals,
        None => {
            return html! { p #led.dim data-colour="" data-pattern="off" { "LED: " (text(&led.state, words.device)) } };
        }
    };
    let first = signals.first().cloned().unwrap_or_default();
    html! {
        div #led.lamps data-colour=(first.colour) data-pattern=(first.pattern) {
            @for signal in &signals {
                // Attributes, since the page's policy forbids inline styles.
                svg class={ "lamp " (rhythm(&signal.pattern)) } viewBox="0 0 10 10" aria-hidden="true" {
                    circle cx="5" cy="5" r="4" fill=(signal.colour) {}
                }
            }
            @if let Some(led) = spoken_led(led, words) { span { (led) } }
        }
    }
}

fn rhythm(pattern: &Word<Pattern>) -> &'static str {
    pattern.known().map_or("steady", Pattern::name)
}

/// Returns a colour's name; the colour itself without a fitting one.
fn name<'a>(colour: &'a str, words: &Words) -> &'a str {
    Colour::of(colour).map_or(colour, words.colour)
}
