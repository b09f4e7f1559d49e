//! What the display showed and when, from the octets that reached the expander.

use std::time::Duration;

use bramblegate::panel::emulator::Chip;
use bramblegate::panel::{Charset, Geometry, Wiring};

use crate::trace::Message;

const GEOMETRY: Geometry = Geometry { columns: 16, rows: 2 };
/// Nine bits per octet at 100 kHz.
const OCTET: Duration = Duration::from_micros(90);

/// The picture from a time on.
#[derive(Debug, Clone)]
pub struct Picture {
    pub since: Duration,
    pub rows: Vec<String>,
}

#[derive(Debug)]
pub struct Glass {
    pub pictures: Vec<Picture>,
    /// Violations of the controller's datasheet.
    pub violations: Vec<String>,
    pub bytes: usize,
    /// Octets read back, and how many of them were not those last written.
    pub read: usize,
    pub read_wrong: usize,
}

impl Glass {
    /// Replays the writes to `address`. At each time of `powered` the display was powered on, so
    /// that a start draws on an empty one.
    pub fn play(messages: &[Message], address: u8, powered: &[Duration]) -> Self {
        let mut glass =
            Self { pictures: Vec::new(), violations: Vec::new(), bytes: 0, read: 0, read_wrong: 0 };
        let mut powered = powered.iter().peekable();
        // On a real bus each octet takes nine clocks; between messages the driver's own delays
        // pass.
        let mut now = Duration::ZERO;
        let mut chip = Chip::powered(now);
        let (mut latch, mut ended) = (None, Duration::ZERO);
        for message in messages.iter().filter(|message| message.address == address) {
            while let Some(at) = powered.next_if(|at| **at <= message.began) {
                glass.violations.extend_from_slice(chip.violations());
                (chip, ended) = (Chip::powered(now), *at);
                glass.see(*at, &chip);
            }
            now += message.began.saturating_sub(ended) + OCTET;
            for octet in &message.written {
                now += OCTET;
                chip.drive(Wiring::default().decode(*octet), now);
                latch = Some(*octet);
            }
            now += octets(message.read.len());
            glass.see(message.ended, &chip);
            glass.bytes += message.written.len();
            glass.read += message.read.len();
            glass.read_wrong += message.read.iter().filter(|byte| Some(**byte) != latch).count();
            ended = message.ended;
        }
        glass.violations.extend_from_slice(chip.violations());
        glass
    }

    fn see(&mut self, since: Duration, chip: &Chip) {
        let rows = chip.seen(GEOMETRY, Charset::A00).lines();
        let rows: Vec<String> = rows.iter().map(|row| row.trim_end().to_owned()).collect();
        if self.pictures.last().is_none_or(|last| last.rows != rows) {
            self.pictures.push(Picture { since, rows });
        }
    }

    /// Returns the pictures between two times.
    pub fn between(&self, from: Duration, to: Duration) -> impl Iterator<Item = &Picture> {
        let begin = self.pictures.iter().rposition(|picture| picture.since <= from).unwrap_or(0);
        self.pictures.iter().skip(begin).take_while(move |picture| picture.since <= to)
    }

    /// Returns the first matching picture from a time on.
    pub fn first(&self, from: Duration, is: impl Fn(&[String]) -> bool) -> Option<&Picture> {
        self.pictures.iter().find(|picture| picture.since >= from && is(&picture.rows))
    }
}

/// Returns how much longer a bus of 100 kHz would have taken for the traffic between two times: the
/// emulated one has its own timing.
pub fn bus_time(messages: &[Message], from: Duration, to: Duration) -> Duration {
    let passed = messages.iter().filter(|message| message.began >= from && message.ended <= to);
    let (mut real, mut emulated) = (Duration::ZERO, Duration::ZERO);
    for message in passed {
        real += octets(1 + message.written.len() + message.read.len());
        emulated += message.ended.saturating_sub(message.began);
    }
    real.saturating_sub(emulated)
}

fn octets(number: usize) -> Duration {
    OCTET * u32::try_from(number).unwrap_or(u32::MAX)
}
