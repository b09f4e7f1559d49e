//! When a text stood on the LCD, by the log of the bus.

use std::path::Path;
use std::time::Duration;

use bramblegate::board::Wiring;
use bramblegate::hal::emulator::Chip;
use bramblegate::panel::{Charset, Geometry};

/// Milliseconds a transaction of so many bytes takes at 100 kHz: start, address, bytes of nine clocks each, stop.
pub fn bus_ms(bytes: u64) -> f64 {
    (9 * (bytes + 1) + 2) as f64 / 100.0
}

const NANOS_PER_BYTE: u64 = 90_000;

/// Feeds the log to the emulated controller; the stamp (nanoseconds) from which `text` stood in a row, if that was after
/// `since`.
pub fn readable(log: &Path, geometry: Geometry, text: &str, since: u128) -> Option<u128> {
    let log = std::fs::read_to_string(log).ok()?;
    let mut chip: Option<(Chip, u128)> = None;
    for line in log.lines() {
        let mut words = line.split_whitespace();
        let (Some(stamp), Some("T"), Some(_), hex) = (words.next(), words.next(), words.next(), words.next()) else {
            continue;
        };
        let stamp: u128 = stamp.parse().ok()?;
        // Powered a second before it was first talked to.
        let (chip, start) = chip.get_or_insert_with(|| (Chip::powered(Duration::ZERO), stamp - 1_000_000_000));
        let end = Duration::from_nanos(u64::try_from(stamp - *start).ok()?);
        let bytes = hex.unwrap_or_default().as_bytes().chunks_exact(2);
        let count = bytes.len() as u64;
        for (number, pair) in bytes.enumerate() {
            let byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
            let left = count - 1 - number as u64;
            chip.drive(Wiring::default().decode(byte), end.saturating_sub(Duration::from_nanos(left * NANOS_PER_BYTE)));
        }
        let shown = || chip.seen(geometry, Charset::A00).lines();
        if stamp > since && shown().iter().any(|row| row.trim_end() == text) {
            return Some(stamp);
        }
    }
    None
}
