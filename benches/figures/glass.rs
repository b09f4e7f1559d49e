//! When the LCD showed a text, from the log of the bus.

use std::path::Path;
use std::time::Duration;

use bramblegate::panel::Wiring;
use bramblegate::panel::emulator::Chip;
use bramblegate::panel::{Charset, Geometry};

/// Returns the milliseconds of a transaction of so many bytes at 100 kHz: start, address, bytes of
/// nine clocks each, stop.
pub fn bus_ms(bytes: u64) -> f64 {
    (9 * (bytes + 1) + 2) as f64 / 100.0
}

const NANOS_PER_BYTE: u64 = 90_000;

/// When the display showed a text, and the bus time until then.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    /// Nanoseconds of CLOCK_REALTIME, as in the log.
    pub at: u128,
    /// The milliseconds on the bus of the bytes since the request.
    pub bus: f64,
}

/// Replays the log on the emulated controller: returns the first moment after `since` at which the
/// rows match.
pub fn when(
    log: &Path,
    geometry: Geometry,
    since: u128,
    wanted: impl Fn(&[String]) -> bool,
) -> Option<Seen> {
    let log = std::fs::read_to_string(log).ok()?;
    let mut chip: Option<(Chip, u128)> = None;
    let mut bus = 0.0;
    for line in log.lines() {
        let mut words = line.split_whitespace();
        let (Some(stamp), Some("T"), Some(_), hex) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            continue;
        };
        let stamp: u128 = stamp.parse().ok()?;
        // Powered on a second before the first transaction.
        let (chip, start) =
            chip.get_or_insert_with(|| (Chip::powered(Duration::ZERO), stamp - 1_000_000_000));
        let end = Duration::from_nanos(u64::try_from(stamp - *start).ok()?);
        let bytes = hex.unwrap_or_default().as_bytes().chunks_exact(2);
        let count = bytes.len() as u64;
        for (number, pair) in bytes.enumerate() {
            let byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
            let left = count - 1 - number as u64;
            chip.drive(
                Wiring::default().decode(byte),
                end.saturating_sub(Duration::from_nanos(left * NANOS_PER_BYTE)),
            );
        }
        if stamp > since {
            bus += bus_ms(count);
            if wanted(&chip.seen(geometry, Charset::A00).lines()) {
                return Some(Seen { at: stamp, bus });
            }
        }
    }
    None
}

/// Returns whether a row has this text.
pub fn shows(text: &str) -> impl Fn(&[String]) -> bool {
    move |rows| rows.iter().any(|row| row.trim_end() == text)
}
