//! Driver of the HD44780 and clones in 4-bit mode, over any transport (HD44780U datasheet,
//! ADE-207-272).

pub mod plan;

use std::time::Duration;

use crate::charset::{CGRAM_SLOTS, Cell, Charset, GLYPHS};
use crate::device::{CharDisplay, DeviceError};
use crate::{Frame, Geometry};
use plan::{Memory, Op, plan};

/// Sends instructions to the controller, with the time it needs between two of them (53 µs at the
/// slowest allowed oscillator, 190 kHz). Longer delays are requested by [`Transport::wait`].
pub trait Transport: Send {
    /// Sends all of `ops` and the backlight's new state, in one transfer if the bus allows.
    fn execute(&mut self, ops: &[Op]) -> Result<(), DeviceError>;
    /// Sets the backlight's state for the next [`Transport::execute`], even one without ops.
    fn backlight(&mut self, lit: bool);
    /// Returns whether the pins still hold what was sent last; `None` if they cannot be read. The
    /// machine's own GPIO lines always hold it.
    fn holds(&mut self) -> Option<bool> {
        Some(true)
    }
    /// Waits at least this long.
    fn wait(&mut self, time: Duration);
    /// Returns the number of acknowledged bytes.
    fn bytes(&self) -> u64;
}

const DDRAM: usize = 80;
const CGRAM: usize = 64;
/// Return home: 1.52 ms at 270 kHz, 2.16 ms at 190 kHz (table 6).
const HOME: Duration = Duration::from_micros(2500);

/// Instructions of table 6.
const HOME_COMMAND: u8 = 0x02;
const ENTRY_INCREMENT: u8 = 0x06;
const DISPLAY_ON: u8 = 0x0c;
const FUNCTION_4BIT_2LINES: u8 = 0x28;

/// Returns the index in the DDRAM ring for a position on the display. A 16x1 display is wired as
/// two halves of eight.
pub fn cell(geometry: Geometry, row: usize, column: usize) -> usize {
    let columns = usize::from(geometry.columns);
    match (geometry.rows, row) {
        (1, _) if column < columns / 2 => column,
        (1, _) => 40 + column - columns / 2,
        (_, 0) => column,
        (_, 1) => 40 + column,
        (_, 2) => columns + column,
        _ => 40 + columns + column,
    }
}

/// The expected state of the controller: just powered on, or (probably) running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    Cold,
    Warm,
}

/// The driver.
#[derive(Debug)]
pub struct Hd44780<T> {
    transport: T,
    geometry: Geometry,
    charset: Charset,
    running: bool,
    lit: Option<bool>,
    frame: Option<Frame>,
    ddram: [Option<u8>; DDRAM],
    cgram: [Option<u8>; CGRAM],
    /// The index in [`GLYPHS`] that each CGRAM slot holds.
    slots: [Option<usize>; CGRAM_SLOTS],
    /// The DDRAM index of the address counter.
    at: Option<usize>,
    /// The last read differed from what was sent: after a power loss, or because reads do not work
    /// here.
    doubt: bool,
    /// Reads do not work here.
    blind: bool,
}

impl<T: Transport> Hd44780<T> {
    /// Returns a driver. The first [`CharDisplay::show`] initialises the display.
    pub fn new(transport: T, geometry: Geometry, charset: Charset) -> Self {
        let mut ours = (0..GLYPHS.len()).filter(|index| {
            GLYPHS
                .get(*index)
                .is_some_and(|glyph| charset.cell(glyph.scalar) == Cell::Custom(*index))
        });
        let slots = std::array::from_fn(|_| ours.next());
        Self {
            transport,
            geometry,
            charset,
            running: false,
            lit: None,
            frame: None,
            ddram: [None; DDRAM],
            cgram: [None; CGRAM],
            slots,
            at: None,
            doubt: false,
            blind: false,
        }
    }

    /// Returns the transport for inspection.
    pub fn transport(&self) -> &T {
        &self.transport
    }

    /// Initialises by instruction (figure 24), whatever the controller's state and nibble
    /// alignment.
    ///
    /// If the controller is running and aligned, the first two nibbles are instruction 0x33, which
    /// selects one-line mode until the function set below. So the long wait, for a command that the
    /// first nibble may have completed, precedes the second one, and from there to the function set
    /// nothing waits. Neither clear nor display-off is used, so nothing flashes.
    fn initialise(&mut self, start: Start) -> Result<(), DeviceError> {
        if start == Start::Cold {
            // Power-on: more than 40 ms after the supply voltage is reached.
            self.transport.wait(Duration::from_millis(45));
        }
        self.transport.execute(&[Op::Nibble(3)])?;
        self.transport.wait(if start == Start::Cold { Duration::from_micros(4500) } else { HOME });
        if start == Start::Cold {
            self.transport.execute(&[Op::Nibble(3)])?;
            self.transport.wait(Duration::from_micros(150));
        }
        let first = if start == Start::Cold { 1 } else { 0 };
        let ops = [
            Op::Nibble(3),
            Op::Nibble(3),
            Op::Nibble(2),
            Op::Command(FUNCTION_4BIT_2LINES),
            Op::Command(ENTRY_INCREMENT),
            Op::Command(HOME_COMMAND),
        ];
        self.transport.execute(ops.get(first..).unwrap_or(&ops))?;
        self.transport.wait(HOME);
        self.ddram = [None; DDRAM];
        self.cgram = [None; CGRAM];
        self.at = Some(0);
        Ok(())
    }

    /// Initialises the display and draws `frame`; the display is turned on last.
    fn start(&mut self, start: Start, frame: &Frame, lit: bool) -> Result<(), DeviceError> {
        // Also detects a missing device before the long waits.
        self.transport.backlight(lit);
        self.transport.execute(&[])?;
        self.lit = Some(lit);
        self.initialise(start)?;
        let mut ops = Vec::new();
        self.draw(frame, &mut ops);
        ops.push(Op::Command(DISPLAY_ON));
        self.transport.execute(&ops)?;
        self.running = true;
        self.frame = Some(frame.clone());
        Ok(())
    }

    fn update(&mut self, frame: &Frame, lit: bool) -> Result<(), DeviceError> {
        let mut ops = Vec::new();
        if self.frame.as_ref() != Some(frame) {
            self.draw(frame, &mut ops);
            self.frame = Some(frame.clone());
        }
        if ops.is_empty() && self.lit == Some(lit) {
            return Ok(());
        }
        self.transport.backlight(lit);
        self.lit = Some(lit);
        self.transport.execute(&ops)
    }

    /// Appends the ops that update both memories for `frame`.
    fn draw(&mut self, frame: &Frame, ops: &mut Vec<Op>) {
        let cells = self.charset.cells(frame);
        self.assign_slots(&cells);
        let mut glyphs = [None; CGRAM];
        for (rows, slot) in glyphs.chunks_mut(8).zip(self.slots) {
            let Some(glyph) = slot.and_then(|index| GLYPHS.get(index)) else { continue };
            for (row, dots) in rows.iter_mut().zip(glyph.rows) {
                *row = Some(dots);
            }
        }
        plan(Memory::Cgram, &mut self.cgram, &glyphs, None, ops);
        if !ops.is_empty() {
            self.at = None;
        }
        let mut wanted = [None; DDRAM];
        let columns = usize::from(self.geometry.columns).max(1);
        for (place, content) in cells.into_iter().enumerate() {
            let code = match content {
                Cell::Rom(code) => code,
                Cell::Custom(index) => self.slot_of(index).unwrap_or(b'?'),
            };
            if let Some(wanted) =
                wanted.get_mut(cell(self.geometry, place / columns, place % columns))
            {
                *wanted = Some(code);
            }
        }
        self.at = plan(Memory::Ddram, &mut self.ddram, &wanted, self.at, ops);
    }

    fn slot_of(&self, glyph: usize) -> Option<u8> {
        self.slots
            .iter()
            .position(|slot| *slot == Some(glyph))
            .and_then(|slot| u8::try_from(slot).ok())
    }

    /// Assigns a slot to each custom glyph of `cells`. Loaded glyphs keep their slots; a new one
    /// replaces an unneeded one, preferably one that is not visible.
    fn assign_slots(&mut self, cells: &[Cell]) {
        for content in cells {
            let Cell::Custom(index) = *content else { continue };
            if self.slots.contains(&Some(index)) {
                continue;
            }
            let needed = |slot: &Option<usize>| {
                slot.is_some_and(|index| cells.contains(&Cell::Custom(index)))
            };
            let on_glass =
                |slot: usize| self.ddram.iter().flatten().any(|code| usize::from(*code) == slot);
            let free = self.slots.iter().enumerate().filter(|(_, slot)| !needed(slot));
            // The first slot is reserved for the heartbeat.
            let best = free
                .min_by_key(|(number, _)| (*number == 0, on_glass(*number)))
                .map(|(number, _)| number);
            if let Some(slot) = best.and_then(|number| self.slots.get_mut(number)) {
                *slot = Some(index);
            }
        }
    }
}

impl<T: Transport> CharDisplay for Hd44780<T> {
    fn show(&mut self, frame: &Frame, lit: bool) -> Result<(), DeviceError> {
        if frame.geometry() != self.geometry {
            return Err(DeviceError::Failed(format!(
                "a page of {} for a display of {}",
                frame.geometry(),
                self.geometry
            )));
        }
        let result = if self.running {
            self.update(frame, lit)
        } else {
            self.start(Start::Cold, frame, lit)
        };
        self.running = result.is_ok();
        if self.running && std::mem::take(&mut self.doubt) {
            self.blind = self.transport.holds() != Some(true);
        }
        result
    }

    fn check(&mut self) -> bool {
        if self.running && !self.blind {
            match self.transport.holds() {
                Some(true) => {}
                Some(false) => (self.running, self.doubt) = (false, true),
                None => self.blind = true,
            }
        }
        !self.blind
    }

    fn refresh(&mut self) -> Result<(), DeviceError> {
        let (Some(frame), Some(lit), true) = (self.frame.take(), self.lit, self.running) else {
            return Ok(());
        };
        let result = self.start(Start::Warm, &frame, lit);
        self.running = result.is_ok();
        result
    }

    fn bytes(&self) -> u64 {
        self.transport.bytes()
    }
}

#[cfg(test)]
mod tests;
