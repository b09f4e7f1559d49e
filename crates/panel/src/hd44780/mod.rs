//! The HD44780 and its clones in 4-bit mode, over any transport (HD44780U datasheet, ADE-207-272).

pub mod plan;

use std::time::Duration;

use crate::charset::{CGRAM_SLOTS, Cell, Charset, GLYPHS};
use crate::device::{CharDisplay, DeviceError};
use crate::{Frame, Geometry};
use plan::{Memory, Op, plan};

/// Carries instructions to the controller and gives it the time it needs between two of them (53 µs
/// at the slowest oscillator allowed, 190 kHz); longer waits are asked for.
pub trait Transport: Send {
    /// Sends all of `ops` and the backlight's new state, in one go where the bus allows.
    fn execute(&mut self, ops: &[Op]) -> Result<(), DeviceError>;
    /// Sets the backlight's state from the next [`Transport::execute`] on, which may be of no ops.
    fn backlight(&mut self, lit: bool);
    /// Returns whether what was sent last still stands at the pins; `None` where that cannot be
    /// read. With pins of the machine's own there is nothing to ask.
    fn holds(&mut self) -> Option<bool> {
        Some(true)
    }
    /// Waits at least this long.
    fn wait(&mut self, time: Duration);
    /// Bytes sent and acknowledged.
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

/// Returns the cell of the DDRAM ring behind a place on the glass. A display of 16x1 is wired as
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

/// How the controller is found: just powered, or (probably) working.
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
    /// which of [`GLYPHS`] each slot holds
    slots: [Option<usize>; CGRAM_SLOTS],
    /// the DDRAM cell the address counter stands on
    at: Option<usize>,
    /// what was read was not what was sent: a loss of power, or reading is no good here
    doubt: bool,
    /// reading has turned out to be no good
    blind: bool,
}

impl<T: Transport> Hd44780<T> {
    /// Sends nothing yet: the first [`CharDisplay::show`] initialises.
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

    /// Returns the transport, to look at.
    pub fn transport(&self) -> &T {
        &self.transport
    }

    /// Initialises by instruction (figure 24), from whatever state, in step with the nibbles or
    /// not.
    ///
    /// While the controller works and is in step, the first two nibbles make 0x33, which is
    /// one-line mode until the function set below: so the long wait for a command that the first
    /// nibble may have completed comes before the second one, and from there on nothing waits.
    /// Neither clear nor display-off is used, so nothing flashes.
    fn initialise(&mut self, start: Start) -> Result<(), DeviceError> {
        if start == Start::Cold {
            // Power-on: more than 40 ms after the supply has risen.
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

    /// Initialises and draws `frame`; the display is switched on last.
    fn start(&mut self, start: Start, frame: &Frame, lit: bool) -> Result<(), DeviceError> {
        // Also finds out whether anything answers, before the long waits.
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

    /// Appends what turns both memories into what `frame` needs.
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

    /// Gives each custom glyph of `cells` a slot: those it has stay, a new one takes a slot that is
    /// not needed, if possible not one that is on the glass at the moment.
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
            // The first slot is the heartbeat's.
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
