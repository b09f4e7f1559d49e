//! The device on the adapter: a PCF8574 with the usual wiring and, behind it, the product's own
//! HD44780 emulator.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

use bramblegate::panel::Wiring;
use bramblegate::panel::emulator::Chip;
use bramblegate::panel::{Charset, Geometry};
use serde_json::json;

const GEOMETRY: Geometry = Geometry { columns: 16, rows: 2 };
/// Nine bits per byte at 100 kHz. The chip's busy times are checked against such a bus, not against
/// the emulated machine.
const BYTE: Duration = Duration::from_micros(90);
const REMEMBERED: usize = 256;

#[derive(Debug)]
pub struct Lcd {
    powered: Instant,
    /// The time when the last byte had passed the bus.
    now: Duration,
    chip: Chip,
    latch: u8,
    bytes: u64,
    transactions: u64,
    /// Every picture that differed from the one before, the latest last.
    history: VecDeque<Vec<String>>,
    /// The time of the first letter, by the service manager's clock.
    first_text: Option<Duration>,
    /// The file to which each new picture is written.
    watcher: Option<File>,
}

impl Lcd {
    /// Returns the display just powered on; the expander's outputs are high.
    pub fn new() -> Self {
        let chip = Chip::powered(Duration::ZERO);
        Self {
            powered: Instant::now(),
            now: Duration::ZERO,
            chip,
            latch: 0xff,
            bytes: 0,
            transactions: 0,
            history: VecDeque::new(),
            first_text: None,
            watcher: None,
        }
    }

    /// Returns the value of a read: nothing pulls the pins down.
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
        let rows = self.rows();
        if self.history.back() != Some(&rows) {
            if self.history.len() == REMEMBERED {
                self.history.pop_front();
            }
            if let Some(watcher) = &mut self.watcher {
                // Fails, harmlessly, while the machine goes down.
                let _ = writeln!(watcher, "{}", line(&rows));
            }
            if self.first_text.is_none() && rows.iter().any(|row| !row.trim().is_empty()) {
                self.first_text = Some(monotonic());
            }
            self.history.push_back(rows);
        }
    }

    fn rows(&self) -> Vec<String> {
        self.chip.seen(GEOMETRY, Charset::A00).lines()
    }

    /// Returns one line for each picture that differed from the one before, its rows between bars.
    pub fn history(&self) -> String {
        self.history.iter().map(|rows| line(rows) + "\n").collect()
    }

    /// From now on, also writes each new picture to `file`.
    pub fn watch(&mut self, file: File) {
        self.watcher = Some(file);
    }

    /// `{"rows":["…","…"],"backlight":true,"bytes":N,"transactions":N,"violations":[…],
    /// "first_text_us":N}`
    pub fn state(&self) -> String {
        json!({
            "rows": self.rows(),
            "backlight": self.chip.lit(),
            "bytes": self.bytes,
            "transactions": self.transactions,
            "violations": self.chip.violations(),
            "first_text_us": self.first_text.map(|time| time.as_micros() as u64),
        })
        .to_string()
    }
}

fn monotonic() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32)
}

fn line(rows: &[String]) -> String {
    format!("|{}|", rows.join("|"))
}
