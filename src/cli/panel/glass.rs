//! Draws the display dot by dot. Pure.

use std::time::Duration;

use super::style::{Depth, Style};
use crate::panel::charset::HEARTBEAT;
use crate::panel::signal::level;
use crate::panel::{Charset, Colour, Geometry, Pattern, Signal};

/// Distance of characters in dots: 5 × 8 dots, and a gap of one column and one row.
const PITCH: (usize, usize) = (6, 9);
const GLASS: Colour = Colour { red: 18, green: 48, blue: 200 };
const UNLIT: Colour = Colour { red: 34, green: 66, blue: 214 };
/// A cell with a gap and an unlit dot.
const FAINT: Colour = Colour { red: 26, green: 57, blue: 207 };
const LIT: Colour = Colour { red: 236, green: 244, blue: 255 };
/// Half a period of the heartbeat, as on the display.
const HALF_BEAT: Duration = Duration::from_millis(500);
/// Brightness of a dark LED, from 0 to 1.
const DARK: f32 = 0.12;
/// With this margin and the frame, a 16x2 in half blocks takes 100 columns.
pub(super) const MARGIN: &str = " ";

/// How dots become characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grain {
    /// One dot in two cells side by side: for a projector.
    Full,
    /// Two dots above each other in a cell: square dots, unlit ones too.
    Halves,
    /// Two by two dots in a cell, solid.
    Quadrants,
    /// Two by four dots in a cell.
    Braille,
    /// No dots: the characters themselves.
    Text,
}

/// Returns lines of a terminal that show the display and, below it, the LED. Takes the largest
/// drawing that fits `style`, at last plain text in a frame. Heartbeat and LED depend on `elapsed`.
pub fn draw(
    lines: &[String],
    geometry: Geometry,
    charset: Charset,
    led: Signal,
    elapsed: Duration,
    style: Style,
) -> Vec<String> {
    let mut drawing = glass(lines, geometry, charset, elapsed, style);
    drawing.push(format!("{MARGIN}{}", lamp(led, elapsed, style.depth)));
    drawing
}

/// Returns the display alone.
pub fn glass(
    lines: &[String],
    geometry: Geometry,
    charset: Charset,
    elapsed: Duration,
    style: Style,
) -> Vec<String> {
    let beat = (elapsed.as_millis() / HALF_BEAT.as_millis()) % 2 == 0;
    let lines: Vec<String> = lines
        .iter()
        .map(|line| if beat { line.clone() } else { line.replace(HEARTBEAT, " ") })
        .collect();
    let dots = Dots::of(&lines, geometry, charset);
    let depth = style.depth;
    let (rows, width) = match grain(geometry, style) {
        Grain::Full => (full(&dots, depth), 2 * dots.width),
        Grain::Halves => (halves(&dots, depth), dots.width),
        Grain::Quadrants => (quadrants(&dots, depth), dots.width.div_ceil(2)),
        Grain::Braille => (braille(&dots, depth), dots.width.div_ceil(2)),
        Grain::Text => (text(&lines, geometry, depth), usize::from(geometry.columns) + 2),
    };
    let edge = "─".repeat(width);
    let mut drawing = vec![format!("{MARGIN}┌{edge}┐")];
    drawing.extend(rows.into_iter().map(|row| format!("{MARGIN}│{row}│")));
    drawing.push(format!("{MARGIN}└{edge}┘"));
    drawing
}

/// Returns the LED: its colour at its current brightness, and colour and pattern in words.
pub fn lamp(led: Signal, elapsed: Duration, depth: Depth) -> String {
    let lit = level(led.pattern, elapsed);
    let words = lamp_words(led);
    if depth == Depth::None {
        let lamp = if lit > 0.3 { "(●)" } else { "(○)" };
        return format!("{lamp} {words}");
    }
    // The level is perceived brightness, and so are the channels of sRGB, near enough.
    let shade =
        |channel: u8| (f32::from(channel) * (DARK + (1.0 - DARK) * lit)).clamp(0.0, 255.0) as u8;
    let Colour { red, green, blue } = led.colour;
    let colour = Colour { red: shade(red), green: shade(green), blue: shade(blue) };
    format!("{}▐██▌{} {words}", depth.foreground(colour), depth.reset())
}

/// Returns the LED's colour and rhythm in words.
pub fn lamp_words(led: Signal) -> String {
    match led.pattern {
        Pattern::Off => "dark".to_owned(),
        pattern => format!("{}, {}", name(led.colour), pattern.name()),
    }
}

fn name(colour: Colour) -> String {
    match colour {
        Colour::GREEN => "green".to_owned(),
        Colour::BLUE => "blue".to_owned(),
        Colour::AMBER => "amber".to_owned(),
        Colour::RED => "red".to_owned(),
        other => other.to_string(),
    }
}

/// Returns the largest drawing that fits.
fn grain(geometry: Geometry, style: Style) -> Grain {
    let (width, height) = size(geometry);
    let fits = |columns: usize, rows: usize| {
        columns + MARGIN.len() + 2 <= style.columns && rows + 4 <= style.rows
    };
    if style.big && fits(2 * width, height) {
        Grain::Full
    } else if fits(width, height.div_ceil(2)) {
        Grain::Halves
    } else if fits(width.div_ceil(2), height / 2) {
        Grain::Quadrants
    } else if fits(width.div_ceil(2), height.div_ceil(4)) {
        Grain::Braille
    } else {
        Grain::Text
    }
}

/// Returns the size in dots, with an edge all around.
fn size(geometry: Geometry) -> (usize, usize) {
    (usize::from(geometry.columns) * PITCH.0 + 1, usize::from(geometry.rows) * PITCH.1 + 1)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dot {
    /// Between the characters.
    Gap,
    Unlit,
    Lit,
}

#[derive(Debug)]
struct Dots {
    width: usize,
    height: usize,
    dots: Vec<Dot>,
}

impl Dots {
    fn of(lines: &[String], geometry: Geometry, charset: Charset) -> Self {
        let (width, height) = size(geometry);
        let mut all = Self { width, height, dots: vec![Dot::Gap; width * height] };
        for row in 0..usize::from(geometry.rows) {
            let mut scalars = lines.get(row).map_or("", String::as_str).chars();
            for column in 0..usize::from(geometry.columns) {
                let glyph = charset.dots(scalars.next().unwrap_or(' '));
                all.set_glyph(column * PITCH.0 + 1, row * PITCH.1 + 1, glyph);
            }
        }
        all
    }

    fn set_glyph(&mut self, left: usize, top: usize, glyph: [u8; 8]) {
        for (y, bits) in glyph.into_iter().enumerate() {
            for x in 0..5 {
                let lit = bits >> (4 - x) & 1 == 1;
                if let Some(dot) = self.dots.get_mut((top + y) * self.width + left + x) {
                    *dot = if lit { Dot::Lit } else { Dot::Unlit };
                }
            }
        }
    }

    fn at(&self, x: usize, y: usize) -> Dot {
        if x >= self.width {
            Dot::Gap
        } else {
            self.dots.get(y * self.width + x).copied().unwrap_or(Dot::Gap)
        }
    }
}

fn full(dots: &Dots, depth: Depth) -> Vec<String> {
    let cell = |x: usize, y: usize| match dots.at(x / 2, y) {
        Dot::Lit => ('█', LIT),
        rest => (' ', unlit(rest, rest)),
    };
    (0..dots.height).map(|y| painted((0..2 * dots.width).map(|x| cell(x, y)), depth)).collect()
}

fn halves(dots: &Dots, depth: Depth) -> Vec<String> {
    (0..dots.height.div_ceil(2))
        .map(|row| painted((0..dots.width).map(|x| half(dots, x, row)), depth))
        .collect()
}

/// Returns the scalar and colour of a cell of one by two dots.
fn half(dots: &Dots, x: usize, row: usize) -> (char, Colour) {
    match (dots.at(x, 2 * row), dots.at(x, 2 * row + 1)) {
        (Dot::Lit, Dot::Lit) => ('█', LIT),
        (Dot::Lit, rest) => ('▀', unlit(rest, rest)),
        (rest, Dot::Lit) => ('▄', unlit(rest, rest)),
        (upper, lower) => (' ', unlit(upper, lower)),
    }
}

/// The block elements of a cell of two by two dots (U+2580 to U+259F), by the bits upper left,
/// upper right, lower left, lower right.
const QUADRANTS: [char; 16] =
    [' ', '▘', '▝', '▀', '▖', '▌', '▞', '▛', '▗', '▚', '▐', '▜', '▄', '▙', '▟', '█'];

/// Draws two by two dots in a cell. The gap below the last row of characters is left out: it would
/// take a line of its own.
fn quadrants(dots: &Dots, depth: Depth) -> Vec<String> {
    (0..dots.height / 2)
        .map(|row| {
            painted((0..dots.width.div_ceil(2)).map(|column| quadrant(dots, column, row)), depth)
        })
        .collect()
}

/// Returns the scalar and colour of a cell of two by two dots.
fn quadrant(dots: &Dots, column: usize, row: usize) -> (char, Colour) {
    let (x, y) = (2 * column, 2 * row);
    let corners = [(x, y), (x + 1, y), (x, y + 1), (x + 1, y + 1)].map(|(x, y)| dots.at(x, y));
    let bits = (0..4).filter(|bit| corners.get(*bit) == Some(&Dot::Lit));
    let scalar = QUADRANTS.get(bits.map(|bit| 1 << bit).sum::<usize>()).copied();
    let gap = if corners.contains(&Dot::Gap) { Dot::Gap } else { Dot::Unlit };
    (scalar.unwrap_or(' '), unlit(gap, Dot::Unlit))
}

/// Returns lit cells on their background colours as a line of the terminal.
fn painted(cells: impl Iterator<Item = (char, Colour)>, depth: Depth) -> String {
    let mut text = String::new();
    let mut before = None;
    for (scalar, behind) in cells {
        if before.replace(behind) != Some(behind) {
            text.push_str(&depth.foreground(LIT));
            text.push_str(&depth.background(behind));
        }
        text.push(scalar);
    }
    text.push_str(depth.reset());
    text
}

/// Returns the background colour of two dots that are unlit or in a gap.
const fn unlit(upper: Dot, lower: Dot) -> Colour {
    match (upper, lower) {
        (Dot::Gap, Dot::Gap) => GLASS,
        (Dot::Gap, _) | (_, Dot::Gap) => FAINT,
        _ => UNLIT,
    }
}

/// Bits of the dots of a Braille cell (U+2800), in rows of two.
const BRAILLE: [[u32; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];

fn braille(dots: &Dots, depth: Depth) -> Vec<String> {
    let rows = (0..dots.height.div_ceil(4)).map(|row| {
        let mut text = depth.foreground(LIT) + &depth.background(GLASS);
        for column in 0..dots.width.div_ceil(2) {
            let mut bits = 0x2800;
            for (y, pair) in BRAILLE.iter().enumerate() {
                for (x, bit) in pair.iter().enumerate() {
                    if dots.at(2 * column + x, 4 * row + y) == Dot::Lit {
                        bits |= bit;
                    }
                }
            }
            text.push(char::from_u32(bits).unwrap_or(' '));
        }
        text.push_str(depth.reset());
        text
    });
    rows.collect()
}

fn text(lines: &[String], geometry: Geometry, depth: Depth) -> Vec<String> {
    let (columns, rows) = (usize::from(geometry.columns), usize::from(geometry.rows));
    let (front, back, reset) = (depth.foreground(LIT), depth.background(GLASS), depth.reset());
    let line = |row: usize| lines.get(row).map_or("", String::as_str);
    (0..rows).map(|row| format!("{front}{back} {:columns$} {reset}", line(row))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Geometry = Geometry { columns: 16, rows: 2 };
    const GREEN: Signal = Signal { colour: Colour::GREEN, pattern: Pattern::Breathe };

    fn lines() -> Vec<String> {
        vec!["10.99.0.126     ".to_owned(), "3/3 up  eth1   ♥".to_owned()]
    }

    fn style(columns: usize, depth: Depth) -> Style {
        Style { columns, rows: 40, depth, big: false }
    }

    fn drawn(columns: usize, milliseconds: u64) -> Vec<String> {
        drawn_on(style(columns, Depth::None), milliseconds)
    }

    fn drawn_on(style: Style, milliseconds: u64) -> Vec<String> {
        let elapsed = Duration::from_millis(milliseconds);
        draw(&lines(), SIZE, Charset::A00, GREEN, elapsed, style)
    }

    /// The lit dots of a drawing, without frame and LED; each cell holds so many by so many.
    fn lit(drawing: &[String]) -> Vec<(usize, usize)> {
        let wide = drawing[0].chars().count() - MARGIN.len() - 2;
        let (across, down) = match (wide, drawing.len() - 3) {
            (194, 19) => (1, 1),
            (97, 10) => (1, 2),
            (49, 9) => (2, 2),
            (49, 5) => (2, 4),
            other => panic!("{other:?} is the size of no grain"),
        };
        let bits = |scalar: char| match scalar {
            '\u{2800}'..='\u{28ff}' => {
                let of = |x: usize, y: usize| u32::from(scalar) & BRAILLE[y][x] != 0;
                (0..4).flat_map(|y| [of(0, y), of(1, y)]).collect::<Vec<bool>>()
            }
            _ => match (across, QUADRANTS.iter().position(|known| *known == scalar)) {
                (1, Some(bits)) if down == 1 => vec![bits == 15],
                (1, Some(bits)) => vec![bits & 3 == 3, bits & 12 == 12],
                (_, Some(bits)) => (0..4).map(|bit| bits >> bit & 1 == 1).collect(),
                (_, None) => panic!("{scalar:?} is no block"),
            },
        };
        let mut lit = Vec::new();
        for (row, line) in drawing[1..drawing.len() - 2].iter().enumerate() {
            let cells = line.chars().skip(MARGIN.len() + 1).take(wide).enumerate();
            for (column, scalar) in cells.filter(|(column, _)| wide < 194 || column % 2 == 0) {
                let column = if wide < 194 { column } else { column / 2 };
                let set = bits(scalar).into_iter().enumerate().filter(|(_, set)| *set);
                lit.extend(
                    set.map(|(n, _)| (across * column + n % across, down * row + n / across)),
                );
            }
        }
        lit.sort_unstable();
        lit
    }

    #[test]
    fn all_grains_show_the_same_dots_and_they_are_the_roms() {
        let (fine, solid) = (lit(&drawn(120, 0)), lit(&drawn(80, 0)));
        let low = Style { rows: 9, ..style(80, Depth::None) };
        let wall = Style { big: true, ..style(200, Depth::None) };
        assert_eq!(fine, solid);
        assert_eq!(fine, lit(&drawn_on(low, 0)), "in Braille");
        assert_eq!(fine, lit(&drawn_on(wall, 0)), "for a projector");
        let of = |scalar: char| {
            Charset::A00.dots(scalar).iter().map(|row| row.count_ones() as usize).sum::<usize>()
        };
        assert_eq!(fine.len(), lines().concat().chars().map(of).sum::<usize>());
    }

    #[test]
    fn every_line_of_a_drawing_is_as_wide_as_the_others_and_fits() {
        for (columns, geometry) in
            [30, 60, 80, 100, 130, 250].into_iter().flat_map(|c| Geometry::ALL.map(|g| (c, g)))
        {
            let drawing =
                glass(&[], geometry, Charset::A00, Duration::ZERO, style(columns, Depth::None));
            let widths: Vec<usize> = drawing.iter().map(|line| line.chars().count()).collect();
            assert!(
                widths.iter().all(|width| *width == widths[0]),
                "{geometry} at {columns}: {widths:?}"
            );
            assert!(widths[0] <= columns || columns < 46, "{geometry} at {columns}: {widths:?}");
        }
    }

    #[test]
    fn a_terminal_of_100_columns_has_room_for_square_dots() {
        let width = |columns| drawn(columns, 0)[0].chars().count();
        assert_eq!((width(100), width(99) < 60), (100, true));
    }

    #[test]
    fn the_heart_beats_and_the_led_breathes() {
        assert!(lit(&drawn(120, 0)).len() > lit(&drawn(120, 500)).len());
        assert_eq!(lit(&drawn(120, 0)), lit(&drawn(120, 1000)));
        assert!(drawn(120, 0).last().unwrap().contains("(○) green, breathe"));
        assert!(drawn(120, 2000).last().unwrap().contains("(●) green, breathe"));
    }

    #[test]
    fn without_colours_there_is_no_escape_sequence() {
        assert!(drawn(120, 0).concat().chars().all(|scalar| scalar != '\x1b'));
        for depth in [Depth::Palette, Depth::True] {
            let drawing =
                draw(&lines(), SIZE, Charset::A00, GREEN, Duration::ZERO, style(120, depth));
            let dotted = drawing[1..].iter().take(10);
            assert!(
                dotted.clone().all(|line| line.contains("\x1b[0m│")),
                "colours end with the glass"
            );
        }
    }
}
