//! What hangs on the adapter: a PCF8574 with the usual wiring and, behind it, the product's own HD44780 emulator.

use std::time::{Duration, Instant};

use bramblegate::board::Wiring;
use bramblegate::hal::emulator::Chip;
use bramblegate::panel::{Charset, Geometry};
use serde_json::json;

const GEOMETRY: Geometry = Geometry { columns: 16, rows: 2 };
/// Nine bits a byte at 100 kHz. The chip's busy times are checked against such a bus, not against the emulated machine.
const BYTE: Duration = Duration::from_micros(90);

#[derive(Debug)]
pub struct Lcd {
    powered: Instant,
    /// when the last byte had passed the bus
    now: Duration,
    chip: Chip,
    latch: u8,
    bytes: u64,
    transactions: u64,
}

impl Lcd {
    /// Power has just come on; the expander's outputs are high.
    pub fn new() -> Self {
        let chip = Chip::powered(Duration::ZERO);
        Self { powered: Instant::now(), now: Duration::ZERO, chip, latch: 0xff, bytes: 0, transactions: 0 }
    }

    /// What a read gives: nothing pulls the pins down.
    pub fn latch(&self) -> u8 {
        self.latch
    }

    pub fn transaction(&mut self, data: &[u8]) {
        self.transactions += 1;
        self.now = self.now.max(self.powered.elapsed()) + BYTE;
        for byte in data {
            self.bytes += 1;
            self.now += BYTE;
            self.latch = *byte;
            self.chip.drive(Wiring::default().decode(*byte), self.now);
        }
    }

    /// `{"rows":["…","…"],"backlight":true,"bytes":N,"transactions":N,"violations":[…]}`
    pub fn state(&self) -> String {
        json!({
            "rows": self.chip.seen(GEOMETRY, Charset::A00).lines(),
            "backlight": self.chip.lit(),
            "bytes": self.bytes,
            "transactions": self.transactions,
            "violations": self.chip.violations(),
        })
        .to_string()
    }
}
