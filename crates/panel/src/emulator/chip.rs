//! The HD44780U's state machine, from pin levels to visible dots (datasheet ADE-207-272).
//!
//! Violations of the datasheet have their most likely effect, and are recorded in
//! [`Chip::violations`].

use std::time::Duration;

use crate::charset::{Charset, GLYPHS};
use crate::wiring::Pins;
use crate::{Frame, Geometry};

/// Execution times at 270 kHz (table 6).
const INSTRUCTION: Duration = Duration::from_micros(37);
const DATA: Duration = Duration::from_micros(41);
const HOME: Duration = Duration::from_micros(1520);
/// Internal reset after power-on.
const RESET: Duration = Duration::from_millis(10);
const MOST_VIOLATIONS: usize = 100;

/// The controller.
#[derive(Debug, Clone)]
pub struct Chip {
    ddram: [u8; 80],
    cgram: [u8; 64],
    /// The address counter, and whether it points to CGRAM.
    counter: u8,
    in_cgram: bool,
    eight_bit: bool,
    two_lines: bool,
    increment: bool,
    shift_with_data: bool,
    on: bool,
    /// Number of columns that the display is shifted left.
    shift: u8,
    /// The upper nibble already received in 4-bit mode.
    upper: Option<u8>,
    busy_until: Duration,
    /// The oscillator's frequency relative to the nominal 270 kHz.
    speed: f64,
    pins: Pins,
    violations: Vec<String>,
}

impl Chip {
    /// Returns a chip powered on at `now`, with arbitrary CGRAM contents.
    pub fn powered(now: Duration) -> Self {
        Self {
            ddram: [b' '; 80],
            cgram: [0x15; 64],
            counter: 0,
            in_cgram: false,
            eight_bit: true,
            two_lines: false,
            increment: true,
            shift_with_data: false,
            on: false,
            shift: 0,
            upper: None,
            busy_until: now.saturating_add(RESET),
            speed: 1.0,
            pins: Pins::default(),
            violations: Vec::new(),
        }
    }

    /// Sets the oscillator's frequency; 190 to 350 kHz are allowed.
    pub fn with_oscillator(mut self, kilohertz: f64) -> Self {
        self.speed = kilohertz / 270.0;
        self
    }

    /// Returns the violations of the datasheet so far.
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    /// Returns whether the backlight is lit.
    pub fn lit(&self) -> bool {
        self.pins.lit
    }

    fn violation(&mut self, now: Duration, what: &str) {
        if self.violations.len() < MOST_VIOLATIONS {
            self.violations.push(format!("{what} at {} µs", now.as_micros()));
        }
    }

    /// Sets the levels of all pins at `now`.
    pub fn drive(&mut self, pins: Pins, now: Duration) {
        let before = std::mem::replace(&mut self.pins, pins);
        match (before.e, pins.e) {
            (false, true) if before.rs != pins.rs || before.rw != pins.rw => {
                self.violation(now, "RS or RW changed as E rose (60 ns set-up, figure 25)");
            }
            (true, true) if before.rs != pins.rs => {
                self.violation(now, "RS changed while E was high")
            }
            (true, false) => {
                if before.rs != pins.rs || (before.nibble != pins.nibble && !before.rw) {
                    self.violation(
                        now,
                        "RS or data changed as E fell (10 to 20 ns hold, figure 25)",
                    );
                }
                // With RW high the controller drives the data lines itself.
                if !before.rw {
                    self.latch(before.nibble, before.rs, now);
                }
            }
            _ => {}
        }
    }

    /// Returns the levels on D7–D4 that the controller drives while E and RW are high: the upper
    /// nibble of a read.
    pub fn answers(&self, rs: bool, now: Duration) -> u8 {
        let byte = match (rs, self.in_cgram) {
            (false, _) => u8::from(now < self.busy_until) << 7 | self.counter & 0x7f,
            (true, true) => self.cgram.get(usize::from(self.counter & 0x3f)).copied().unwrap_or(0),
            (true, false) => self.ddram.get(self.cell(self.counter)).copied().unwrap_or(0),
        };
        byte >> 4
    }

    /// Injects a spurious pulse on E.
    pub fn glitch(&mut self, nibble: Option<u8>, now: Duration) {
        self.latch(nibble.unwrap_or(self.pins.nibble), self.pins.rs, now);
    }

    fn latch(&mut self, nibble: u8, rs: bool, now: Duration) {
        let byte = if self.eight_bit {
            // D3–D0 are not connected; pull-ups hold them high.
            nibble << 4 | 0x0f
        } else if let Some(upper) = self.upper.take() {
            upper << 4 | nibble
        } else {
            self.upper = Some(nibble);
            return;
        };
        if now < self.busy_until {
            let left = self.busy_until.saturating_sub(now).as_micros();
            let kind = if rs { "data" } else { "instruction" };
            self.violation(
                now,
                &format!("{kind} {byte:#04x} while busy for {left} µs more: ignored"),
            );
            return;
        }
        let time = if rs { self.data(byte) } else { self.instruction(byte, now) };
        self.busy_until = now.saturating_add(time.div_f64(self.speed));
    }

    fn data(&mut self, byte: u8) -> Duration {
        if self.in_cgram {
            if let Some(row) = self.cgram.get_mut(usize::from(self.counter & 0x3f)) {
                *row = byte & 0x1f;
            }
        } else {
            let cell = self.cell(self.counter);
            if let Some(cell) = self.ddram.get_mut(cell) {
                *cell = byte;
            }
            if self.shift_with_data {
                self.shift_display(self.increment);
            }
        }
        self.counter = self.step(self.counter, self.increment);
        DATA
    }

    fn instruction(&mut self, byte: u8, now: Duration) -> Duration {
        match byte {
            0x80.. => {
                self.counter = byte & 0x7f;
                self.in_cgram = false;
                let last = self.counter & 0x3f;
                if (self.two_lines && last > 0x27) || (!self.two_lines && self.counter > 0x4f) {
                    self.violation(now, &format!("DDRAM has no address {:#04x}", self.counter));
                }
            }
            0x40.. => {
                self.counter = byte & 0x3f;
                self.in_cgram = true;
            }
            0x20.. => {
                self.eight_bit = byte & 0x10 != 0;
                self.two_lines = byte & 0x08 != 0;
                self.upper = None;
            }
            0x10.. => {
                let right = byte & 0x04 != 0;
                if byte & 0x08 != 0 {
                    self.shift_display(!right)
                } else {
                    self.counter = self.step(self.counter, right)
                }
            }
            0x08.. => self.on = byte & 0x04 != 0,
            0x04.. => {
                self.increment = byte & 0x02 != 0;
                self.shift_with_data = byte & 0x01 != 0;
            }
            0x02.. => {
                self.home();
                return HOME;
            }
            0x01 => {
                self.ddram = [b' '; 80];
                self.increment = true;
                self.home();
                return HOME;
            }
            0 => {}
        }
        INSTRUCTION
    }

    fn home(&mut self) {
        self.counter = 0;
        self.in_cgram = false;
        self.shift = 0;
    }

    fn shift_display(&mut self, left: bool) {
        let length = if self.two_lines { 40 } else { 80 };
        self.shift = (self.shift + if left { 1 } else { length - 1 }) % length;
    }

    /// Returns the address after `counter`, in the memory that it points to.
    fn step(&self, counter: u8, forward: bool) -> u8 {
        if self.in_cgram {
            return if forward {
                counter.wrapping_add(1) & 0x3f
            } else {
                counter.wrapping_sub(1) & 0x3f
            };
        }
        match (self.two_lines, forward, counter) {
            (true, true, 0x27) => 0x40,
            (true, true, 0x67) | (false, true, 0x4f) => 0,
            (true, false, 0x40) => 0x27,
            (true, false, 0) => 0x67,
            (false, false, 0) => 0x4f,
            (_, true, _) => (counter + 1) & 0x7f,
            (_, false, _) => counter - 1,
        }
    }

    /// Returns the DDRAM index of an address.
    fn cell(&self, address: u8) -> usize {
        let address = usize::from(address);
        if !self.two_lines {
            address % 80
        } else if address < 0x40 {
            address % 40
        } else {
            40 + (address - 0x40) % 40
        }
    }

    /// Returns the visible character codes of a display of this size, row by row; blank where
    /// nothing is driven.
    pub fn codes(&self, geometry: Geometry) -> Vec<Vec<u8>> {
        let columns = usize::from(geometry.columns);
        (0..usize::from(geometry.rows))
            .map(|row| (0..columns).map(|column| self.code_at(geometry, row, column)).collect())
            .collect()
    }

    /// Returns the visible character code at a position. Rows 2 and 3 continue 0 and 1; a 16x1
    /// display is two halves of eight.
    fn code_at(&self, geometry: Geometry, row: usize, column: usize) -> u8 {
        let columns = usize::from(geometry.columns);
        let (line, offset) = match (geometry.rows, row) {
            (1, _) if column >= columns / 2 => (1, column - columns / 2),
            (1, _) => (0, column),
            (_, 0 | 1) => (row, column),
            _ => (row - 2, columns + column),
        };
        let cell = match (self.on, self.two_lines, line) {
            (false, _, _) | (true, false, 1) => return b' ',
            (true, false, _) => (offset + usize::from(self.shift)) % 80,
            (true, true, line) => line * 40 + (offset + usize::from(self.shift)) % 40,
        };
        self.ddram.get(cell).copied().unwrap_or(b' ')
    }

    /// Returns the dots of a character code: from CGRAM for the first sixteen, else from the ROM.
    pub fn dots(&self, charset: Charset, code: u8) -> [u8; 8] {
        if code >= 0x10 {
            return crate::charset::rom_glyph(charset, code);
        }
        let start = usize::from(code & 7) * 8;
        let mut rows = [0; 8];
        for (row, dots) in rows.iter_mut().zip(self.cgram.iter().skip(start)) {
            *row = *dots;
        }
        rows
    }

    /// Returns the visible text as scalars; `\u{fffd}` for dots that match none of our glyphs.
    pub fn seen(&self, geometry: Geometry, charset: Charset) -> Frame {
        let mut frame = Frame::blank(geometry);
        for (row, codes) in self.codes(geometry).into_iter().enumerate() {
            for (column, code) in codes.into_iter().enumerate() {
                let scalar = if code < 0x10 {
                    let dots = self.dots(charset, code);
                    GLYPHS
                        .iter()
                        .find(|glyph| glyph.rows == dots)
                        .map_or(char::REPLACEMENT_CHARACTER, |g| g.scalar)
                } else {
                    charset.scalar(code)
                };
                frame.set(row, column, scalar);
            }
        }
        frame
    }
}
