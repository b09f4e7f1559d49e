//! An SSD1306 or SH1106 with its display, on an emulated I²C bus: from bytes on the bus to lit
//! pixels (SSD1306 datasheet rev. 1.1; SH1106 datasheet version 2.3).
//!
//! What the datasheets forbid or do not define has no effect, and is recorded in
//! [`OledChip::violations`].

use std::time::Duration;

use super::bus::{Bus, Target};
use super::{Clock, Fault};
use crate::oled::picture;
use crate::{Charset, Controller, Frame, Resolution};

/// The emulated bus with the display. Clones share the device.
pub type OledPanel = Bus<OledChip>;

impl OledPanel {
    /// Returns a display just powered on, at this address on a 100 kHz bus.
    pub fn new(clock: Clock, address: u8, controller: Controller, glass: Resolution) -> Self {
        Self::with(clock, address, OledChip::powered(controller, glass))
    }

    /// Returns a copy of the controller's state.
    pub fn chip(&self) -> OledChip {
        self.lock().target.clone()
    }

    /// Returns the visible text.
    pub fn seen(&self, charset: Charset) -> Frame {
        self.lock().target.seen(charset)
    }
}

/// Pages of the memory, of eight rows each.
const PAGES: usize = 8;
/// Rows of the memory, and COM outputs of the controller.
const ROWS: usize = 64;
const MOST_VIOLATIONS: usize = 100;

/// The meaning of the next bytes in a transaction (SSD1306 datasheet, 8.1.5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// A control byte.
    Control,
    /// One byte of data or of a command, then a control byte.
    One { data: bool },
    /// Data or commands until the stop.
    All { data: bool },
}

/// The addressing mode (SSD1306 datasheet, 10.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Addressing {
    Horizontal,
    Vertical,
    Page,
}

/// The controller and its connection to a module's display.
#[derive(Debug, Clone)]
pub struct OledChip {
    controller: Controller,
    glass: Resolution,
    /// The memory, page by page.
    memory: Vec<u8>,
    next: Next,
    /// An incomplete command with the arguments received so far.
    command: Vec<u8>,
    page: usize,
    column: usize,
    addressing: Addressing,
    /// First and last column or page for horizontal and vertical addressing.
    columns: (usize, usize),
    pages: (usize, usize),
    on: bool,
    /// The charge pump or DC-DC converter.
    pump: bool,
    all_on: bool,
    inverse: bool,
    contrast: u8,
    start_line: usize,
    offset: usize,
    /// Number of driven rows.
    rows: usize,
    segments_reversed: bool,
    commons_reversed: bool,
    commons_alternate: bool,
    violations: Vec<String>,
}

impl OledChip {
    /// Returns a chip just powered on: registers hold the (RESET) or POR values of the datasheets'
    /// command tables, and the memory is arbitrary.
    pub fn powered(controller: Controller, glass: Resolution) -> Self {
        let columns = match controller {
            Controller::Ssd1306 => 128,
            Controller::Sh1106 => 132,
        };
        let noise = (0..PAGES * columns).map(|at| u8::try_from(at * 151 % 251).unwrap_or(0));
        Self {
            controller,
            glass,
            memory: noise.collect(),
            next: Next::Control,
            command: Vec::new(),
            page: 0,
            column: 0,
            addressing: Addressing::Page,
            columns: (0, columns - 1),
            pages: (0, PAGES - 1),
            on: false,
            pump: controller == Controller::Sh1106,
            all_on: false,
            inverse: false,
            contrast: if controller == Controller::Ssd1306 { 0x7f } else { 0x80 },
            start_line: 0,
            offset: 0,
            rows: ROWS,
            segments_reversed: false,
            commons_reversed: false,
            commons_alternate: true,
            violations: Vec::new(),
        }
    }

    /// Returns the number of memory columns.
    fn width(&self) -> usize {
        self.memory.len() / PAGES
    }

    /// Returns the violations of the datasheet so far.
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    /// Returns the contrast, 0 to 255.
    pub fn contrast(&self) -> u8 {
        self.contrast
    }

    /// Returns whether the display and its supply are on.
    pub fn is_on(&self) -> bool {
        self.on && self.pump
    }

    /// Receives the bytes of one transaction, as logged.
    pub fn transaction(&mut self, bytes: &[u8]) {
        self.begin();
        for byte in bytes {
            self.take(*byte, Duration::ZERO);
        }
    }

    fn violation(&mut self, what: String) {
        if self.violations.len() < MOST_VIOLATIONS {
            self.violations.push(what);
        }
    }

    /// Returns the number of arguments of a command; `None` if the controller does not have it
    /// (SSD1306 datasheet, table 9-1; the SH1106's command table).
    fn arguments(&self, command: u8) -> Option<usize> {
        let common = match command {
            0x00..=0x1f | 0x40..=0x7f | 0xa0 | 0xa1 | 0xa4..=0xa7 | 0xae | 0xaf => Some(0),
            0xb0..=0xb7 | 0xc0..=0xcf | 0xe3 => Some(0),
            0x81 | 0xa8 | 0xd3 | 0xd5 | 0xd9 | 0xda | 0xdb => Some(1),
            _ => None,
        };
        let own = match (self.controller, command) {
            (Controller::Ssd1306, 0x20 | 0x8d) => Some(1),
            (Controller::Ssd1306, 0x21 | 0x22 | 0xa3) => Some(2),
            (Controller::Ssd1306, 0x26 | 0x27) => Some(6),
            (Controller::Ssd1306, 0x29 | 0x2a) => Some(5),
            (Controller::Ssd1306, 0x2e | 0x2f) => Some(0),
            (Controller::Sh1106, 0x30..=0x33 | 0xe0 | 0xee) => Some(0),
            (Controller::Sh1106, 0xad) => Some(1),
            _ => None,
        };
        common.or(own)
    }

    fn take_command(&mut self, byte: u8) {
        let first = self.command.first().copied().unwrap_or(byte);
        let Some(arguments) = self.arguments(first) else {
            self.violation(format!(
                "{} does not have the command {byte:#04x}",
                self.controller.name()
            ));
            return;
        };
        self.command.push(byte);
        if self.command.len() > arguments {
            let arguments: Vec<usize> =
                std::mem::take(&mut self.command).into_iter().skip(1).map(usize::from).collect();
            self.execute(first, &arguments);
        }
    }

    fn execute(&mut self, command: u8, arguments: &[usize]) {
        let value = usize::from(command);
        match (command, arguments) {
            (0x00..=0x0f, _) => self.set_column(self.column & 0xf0 | value),
            (0x10..=0x1f, _) => self.set_column(self.column & 0x0f | (value & 0x0f) << 4),
            (0x20, [mode]) => self.set_addressing(mode & 3),
            (0x21, [first, last]) => {
                self.columns = (first & 0x7f, last & 0x7f);
                self.column = self.columns.0;
            }
            (0x22, [first, last]) => {
                self.pages = (first & 7, last & 7);
                self.page = self.pages.0;
            }
            (0x40..=0x7f, _) => self.start_line = value & 0x3f,
            (0x81, [contrast]) => self.contrast = u8::try_from(*contrast).unwrap_or(0),
            (0x8d, [pump]) => self.pump = pump & 4 != 0,
            (0xad, [pump]) => self.pump = pump & 1 != 0,
            (0xa0 | 0xa1, _) => self.segments_reversed = command & 1 != 0,
            (0xa4 | 0xa5, _) => self.all_on = command & 1 != 0,
            (0xa6 | 0xa7, _) => self.inverse = command & 1 != 0,
            (0xa8, [ratio]) if *ratio & 0x3f >= 15 => self.rows = (ratio & 0x3f) + 1,
            (0xa8, [ratio]) => self.violation(format!("a multiplex ratio of {}", ratio + 1)),
            (0xae | 0xaf, _) => self.on = command & 1 != 0,
            (0xb0..=0xb7, _) if self.addressing == Addressing::Page => self.page = value & 7,
            (0xb0..=0xb7, _) => self.violation("a page set outside page addressing".to_owned()),
            (0xc0..=0xcf, _) => self.commons_reversed = command & 8 != 0,
            (0xd3, [offset]) => self.offset = offset & 0x3f,
            (0xda, [pins]) => self.commons_alternate = pins & 0x10 != 0,
            // Timing, voltages, scrolling and read-modify-write change no pixel here.
            _ => {}
        }
    }

    fn set_column(&mut self, column: usize) {
        if self.addressing == Addressing::Page {
            self.column = column;
        } else {
            self.violation("a column set outside page addressing".to_owned());
        }
    }

    fn set_addressing(&mut self, mode: usize) {
        self.addressing = match mode {
            0 => Addressing::Horizontal,
            1 => Addressing::Vertical,
            2 => Addressing::Page,
            _ => return self.violation("addressing mode 3".to_owned()),
        };
    }

    fn take_data(&mut self, byte: u8) {
        let width = self.width();
        let place = self.page * width + self.column;
        match self.memory.get_mut(place) {
            Some(cell) if self.column < width => *cell = byte,
            _ => self.violation(format!("data for column {}", self.column)),
        }
        match (self.addressing, self.controller) {
            // The SH1106's counter stops after the last column (datasheet, Set Lower Column
            // Address).
            (Addressing::Page, Controller::Sh1106) => self.column = (self.column + 1).min(width),
            (Addressing::Page, Controller::Ssd1306) => self.column = (self.column + 1) % width,
            (Addressing::Horizontal, _) => {
                let last = self.column == self.columns.1;
                self.column = after(self.column, self.columns);
                if last {
                    self.page = after(self.page, self.pages);
                }
            }
            (Addressing::Vertical, _) => {
                let last = self.page == self.pages.1;
                self.page = after(self.page, self.pages);
                if last {
                    self.column = after(self.column, self.columns);
                }
            }
        }
    }

    /// Returns the COM output of pixel row `y`, counted from the top of the display, which is
    /// mounted upside down, as nearly all are. `None` if no output drives it.
    ///
    /// The pins at one end of the controller are COM 0 to 31 (or the even ones), those at the other
    /// end 32 to 63 (or the odd ones; SSD1306 datasheet, table 10-3). 64-row modules use even and
    /// odd, 32-row modules only the first end.
    fn common(&self, y: usize) -> Option<usize> {
        let line = self.glass.height().checked_sub(y + 1)?;
        let (end, pin) = match self.glass {
            Resolution::P128x64 => (line % 2, line / 2),
            Resolution::P128x32 => (0, line),
        };
        Some(if self.commons_alternate { 2 * pin + end } else { 32 * end + pin })
    }

    /// Returns whether the pixel is lit; (0, 0) is at the top left.
    pub fn lit(&self, x: usize, y: usize) -> bool {
        if !self.is_on() || x >= picture::WIDTH {
            return false;
        }
        let Some(common) = self.common(y) else { return false };
        let row = if self.commons_reversed { ROWS + self.rows - 1 - common } else { common };
        let row = (row + self.offset) % ROWS;
        if row >= self.rows {
            return false;
        }
        let row = (row + self.start_line) % ROWS;
        // Segments run from right to left too; the SH1106 has two extra on either side.
        let margin = (self.width() - picture::WIDTH) / 2;
        let segment = margin + picture::WIDTH - 1 - x;
        let column = if self.segments_reversed { self.width() - 1 - segment } else { segment };
        let byte = self.memory.get(row / 8 * self.width() + column).copied().unwrap_or(0);
        self.all_on || (byte >> (row % 8) & 1 == 1) != self.inverse
    }

    /// Returns the display as a portable bitmap (netpbm's P1): "1" is lit.
    pub fn bitmap(&self) -> String {
        let mut text = format!("P1\n{} {}\n", picture::WIDTH, self.glass.height());
        for y in 0..self.glass.height() {
            text.extend((0..picture::WIDTH).map(|x| if self.lit(x, y) { '1' } else { '0' }));
            text.push('\n');
        }
        text
    }

    /// Returns the visible text.
    pub fn seen(&self, charset: Charset) -> Frame {
        picture::read(|x, y| self.lit(x, y), charset, self.glass)
    }
}

/// Returns the successor of `at` in a range that wraps around.
fn after(at: usize, (first, last): (usize, usize)) -> usize {
    if at == last { first } else { at + 1 }
}

impl Target for OledChip {
    fn begin(&mut self) {
        self.next = Next::Control;
    }

    fn take(&mut self, byte: u8, _now: Duration) {
        match self.next {
            Next::Control => {
                if byte & 0x3f != 0 {
                    self.violation(format!("a control byte {byte:#04x}"));
                }
                let data = byte & 0x40 != 0;
                let more = byte & 0x80 != 0;
                self.next = if more { Next::One { data } } else { Next::All { data } };
                return;
            }
            Next::One { data: true } | Next::All { data: true } => self.take_data(byte),
            Next::One { data: false } | Next::All { data: false } => self.take_command(byte),
        }
        if matches!(self.next, Next::One { .. }) {
            self.next = Next::Control;
        }
    }

    /// Returns the status byte. Its lower bits are not in the datasheets; see
    /// [`Controller::by_status`].
    fn give(&mut self, _now: Duration) -> u8 {
        let kind = match (self.controller, self.glass) {
            (Controller::Sh1106, _) => 0x08,
            (Controller::Ssd1306, Resolution::P128x32) => 0x03,
            (Controller::Ssd1306, Resolution::P128x64) => 0x06,
        };
        u8::from(!self.on) << 6 | kind
    }

    /// Injects a fault: a glitch flips bits of the column pointer.
    fn inject(&mut self, fault: Fault, _now: Duration) {
        match fault {
            Fault::Glitch(nibble) => self.column ^= usize::from(nibble.unwrap_or(1)),
            _ => *self = Self::powered(self.controller, self.glass),
        }
    }

    fn violations(&self) -> &[String] {
        &self.violations
    }
}
