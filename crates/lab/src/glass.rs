//! The contents of the LCD, decoded from the bytes on the emulated bus, independently of the
//! daemon's status.

use std::time::Duration;

use bramblegate::panel::emulator::Chip;
use bramblegate::panel::{Charset, Geometry, Wiring};

/// Size of the display of the world's head.
const GEOMETRY: Geometry = Geometry { columns: 16, rows: 2 };
/// Between two bytes, more than the slowest instruction and the reset at power-on take.
const BYTE_TIME: Duration = Duration::from_millis(20);

/// Decodes the text of the display from a log of I²C transactions (`TIME T ADDRESS HEX` per line)
/// to a backpack with the usual wiring.
pub fn decode(log: &str) -> Vec<String> {
    let (mut chip, mut now) = (Chip::powered(Duration::ZERO), Duration::ZERO);
    for line in log.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [_, "T", _, hex] = words.as_slice() else { continue };
        for at in (0..hex.len()).step_by(2) {
            let Some(byte) = hex.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok())
            else {
                break;
            };
            now += BYTE_TIME;
            chip.drive(Wiring::default().decode(byte), now);
        }
    }
    chip.seen(GEOMETRY, Charset::A00).lines()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the bytes of one nibble, with E high and then low.
    fn nibble(value: u8, rs: u8) -> String {
        let base = value << 4 | rs | 0x08;
        format!("{:02x}{:02x}", base | 4, base)
    }

    fn byte(value: u8, rs: u8) -> String {
        nibble(value >> 4, rs) + &nibble(value & 0x0f, rs)
    }

    #[test]
    fn a_panel_that_is_initialised_and_written_shows_the_text() {
        let mut hex: String = [3, 3, 3, 2].map(|value| nibble(value, 0)).concat();
        hex += &[0x28, 0x0c, 0x06, 0x80].map(|command| byte(command, 0)).concat();
        hex += &"10.0.0.7".bytes().map(|scalar| byte(scalar, 1)).collect::<String>();
        hex += &byte(0xc0, 0);
        let log = format!("100 T 27 {hex}\n200 T 27 {}\n", byte(b'x', 1));
        assert_eq!(decode(&log), ["10.0.0.7        ", "x               "]);
    }
}
