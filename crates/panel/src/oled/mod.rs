//! Driver of small I²C OLEDs of 128 by 32 or 64 pixels as character displays, with an SSD1306
//! (datasheet rev. 1.1) or an SH1106 (datasheet version 2.3).
//!
//! Commands come from the crate `ssd1306`; when to send them, and which bytes of the memory, is
//! decided here (docs/decisions/oled.md).

pub mod picture;
pub mod plan;
mod wire;

use display_interface::{DataFormat, DisplayError, WriteOnlyDataCommand};
use embedded_hal::i2c::I2c;
use ssd1306::command::{AddrMode, Command, Page, VcomhLevel};
use ssd1306::size::{DisplaySize, DisplaySize128x32, DisplaySize128x64};

use crate::Frame;
use crate::bus::BusError;
use crate::charset::Charset;
use crate::device::{CharDisplay, DeviceError};
pub use picture::Resolution;
use picture::{PAGE_ROWS, Shift, WIDTH};
use plan::plan;
use wire::Wire;

/// I²C addresses of such displays (SSD1306 datasheet, 8.1.5).
pub const ADDRESSES: [u8; 2] = [0x3c, 0x3d];

/// Contrast (of 255) of a display in use, and of a dimmed one.
const BRIGHT: u8 = 0xcf;
const DIM: u8 = 0x10;
/// Bit of the status byte: the display is off (SSD1306 datasheet, table 9-2; SH1106 datasheet, Read
/// Status).
const STATUS_OFF: u8 = 0x40;
/// The other bits of the status byte.
const STATUS_KIND: u8 = 0x3f;
/// An SSD1306 with 32 rows; see [`Controller::by_status`].
const KIND_32_ROWS: u8 = 0x03;
/// SH1106: DC-DC converter on (command 10).
const SH1106_PUMP_ON: [u8; 2] = [0xad, 0x8b];
/// SH1106: the first visible column of the 132 in its memory.
const SH1106_OFFSET: usize = 2;
/// Number of consecutive failed reads, with successful writes, after which reads count as
/// unsupported.
const MAX_FAILED_READS: u8 = 3;

/// The display controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Controller {
    Ssd1306,
    Sh1106,
}

impl Controller {
    pub const ALL: [Self; 2] = [Self::Ssd1306, Self::Sh1106];

    /// Returns the name in the settings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ssd1306 => "ssd1306",
            Self::Sh1106 => "sh1106",
        }
    }

    /// Returns the controller for a status byte by its lower bits; `None` if they are inconclusive.
    /// No datasheet defines these bits; they are observed values (3 and 6: SSD1306 with 32 and 64
    /// rows; 8: SH1106), which the library ss_oled uses too.
    pub const fn by_status(status: u8) -> Option<Self> {
        match status & STATUS_KIND {
            KIND_32_ROWS | 0x06 => Some(Self::Ssd1306),
            0x08 => Some(Self::Sh1106),
            _ => None,
        }
    }

    /// Returns the first visible column of the memory.
    const fn offset(self) -> usize {
        match self {
            Self::Ssd1306 => 0,
            Self::Sh1106 => SH1106_OFFSET,
        }
    }
}

impl Resolution {
    /// Returns the size of the OLED with this status byte, as far as it shows; see
    /// [`Controller::by_status`].
    pub const fn by_status(status: u8) -> Self {
        if status & STATUS_KIND == KIND_32_ROWS { Self::P128x32 } else { Self::P128x64 }
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
pub struct Oled<I> {
    wire: Wire<I>,
    /// The configured controller; `None`: detect it by the status byte.
    configured: Option<Controller>,
    controller: Controller,
    resolution: Resolution,
    charset: Charset,
    running: bool,
    frame: Option<Frame>,
    lit: bool,
    dimmed: bool,
    /// The contrast last sent.
    contrast: Option<u8>,
    held: Vec<Option<u8>>,
    /// The page of the controller's pointer.
    page: Option<usize>,
    /// The index in [`Shift::TURNS`] of the current position.
    position: usize,
    /// The last read differed from what was sent: after a power loss, or because reads do not work
    /// here.
    doubt: bool,
    /// Reads do not work here.
    blind: bool,
    failed_reads: u8,
}

impl<I: I2c> Oled<I>
where
    I::Error: BusError,
{
    /// Returns a driver. The first [`CharDisplay::show`] initialises the display. Without a
    /// `controller` it is detected by the status byte, with SSD1306 as the default. `name` is the
    /// bus name for errors.
    pub fn new(
        bus: I,
        address: u8,
        controller: Option<Controller>,
        resolution: Resolution,
        charset: Charset,
        name: &str,
    ) -> Self {
        Self {
            wire: Wire::new(bus, address, name),
            configured: controller,
            controller: controller.unwrap_or(Controller::Ssd1306),
            resolution,
            charset,
            running: false,
            frame: None,
            lit: true,
            dimmed: false,
            contrast: None,
            held: vec![None; resolution.bytes()],
            page: None,
            position: 0,
            doubt: false,
            blind: false,
            failed_reads: 0,
        }
    }

    /// Returns the configured or detected controller.
    pub fn controller(&self) -> Controller {
        self.controller
    }

    /// Queues the initialisation commands, except display on or off, for the next transfer.
    ///
    /// Not the crate's `init`: it ends with display on before the memory is written, which shows
    /// noise for a tenth of a second after power-on, and it begins with display off, which flashes
    /// if a picture is shown.
    fn configure(&mut self) -> Result<(), DisplayError> {
        let wire = &mut self.wire;
        Command::DisplayClockDiv(0x8, 0x0).send(wire)?;
        let rows = u8::try_from(self.resolution.height()).unwrap_or(64);
        Command::Multiplex(rows - 1).send(wire)?;
        Command::DisplayOffset(0).send(wire)?;
        Command::StartLine(0).send(wire)?;
        match self.controller {
            Controller::Ssd1306 => {
                Command::ChargePump(true).send(wire)?;
                Command::AddressMode(AddrMode::Page).send(wire)?;
                Command::PreChargePeriod(1, 15).send(wire)?;
                Command::VcomhDeselect(VcomhLevel::Auto).send(wire)?;
                Command::EnableScroll(false).send(wire)?;
            }
            Controller::Sh1106 => {
                wire.send_commands(DataFormat::U8(&SH1106_PUMP_ON))?;
                Command::PreChargePeriod(2, 2).send(wire)?;
            }
        }
        match self.resolution {
            Resolution::P128x32 => DisplaySize128x32.configure(wire)?,
            Resolution::P128x64 => DisplaySize128x64.configure(wire)?,
        }
        Command::SegmentRemap(true).send(wire)?;
        Command::ReverseComDir(true).send(wire)?;
        Command::AllOn(false).send(wire)?;
        Command::Invert(false).send(wire)
    }

    /// Initialises the display and draws `frame`; the display is turned on last.
    fn start(&mut self, start: Start, frame: &Frame, lit: bool) -> Result<(), DeviceError> {
        if self.configured.is_none() {
            let detected = self.wire.status().and_then(Controller::by_status);
            self.controller = detected.unwrap_or(self.controller);
        }
        self.held.fill(None);
        (self.page, self.contrast) = (None, None);
        if start == Start::Cold {
            self.command(Command::DisplayOn(false))?;
        }
        self.configure().map_err(|error| refused(&error))?;
        // Also detects a missing device before a thousand bytes are prepared.
        self.wire.flush()?;
        self.draw(frame)?;
        self.set_contrast()?;
        self.command(Command::DisplayOn(lit))?;
        self.wire.flush()?;
        self.lit = lit;
        self.frame = Some(frame.clone());
        self.running = true;
        Ok(())
    }

    fn update(&mut self, frame: &Frame, lit: bool) -> Result<(), DeviceError> {
        if lit && !self.lit {
            // While the display was off a power loss could not be detected.
            return self.start(Start::Warm, frame, lit);
        }
        if self.frame.as_ref() != Some(frame) {
            self.draw(frame)?;
            self.frame = Some(frame.clone());
        }
        self.set_contrast()?;
        if lit != self.lit {
            self.command(Command::DisplayOn(lit))?;
            self.lit = lit;
        }
        self.wire.flush()
    }

    /// Sends the bytes of `frame` that differ from the memory.
    fn draw(&mut self, frame: &Frame) -> Result<(), DeviceError> {
        let shift = Shift::TURNS.get(self.position).copied().unwrap_or_default();
        let wanted = picture::draw(frame, self.charset, self.resolution, shift);
        for run in plan(&mut self.held, &wanted) {
            if self.page.replace(run.page) != Some(run.page) {
                // The crate's type counts pixel rows.
                let row = u8::try_from(run.page * PAGE_ROWS).unwrap_or(0);
                self.command(Command::PageStart(Page::from(row)))?;
            }
            let column = (run.column + self.controller.offset()).min(WIDTH + SH1106_OFFSET);
            self.command(Command::ColStart(u8::try_from(column).unwrap_or(0)))?;
            self.wire.data(&run.data)?;
        }
        Ok(())
    }

    fn set_contrast(&mut self) -> Result<(), DeviceError> {
        let wanted = if self.dimmed { DIM } else { BRIGHT };
        if self.contrast.replace(wanted) == Some(wanted) {
            return Ok(());
        }
        self.command(Command::Contrast(wanted))
    }

    fn command(&mut self, command: Command) -> Result<(), DeviceError> {
        command.send(&mut self.wire).map_err(|error| refused(&error))
    }

    /// Returns whether the display is still on if it should be, since a power loss turns it off;
    /// `None` if its status cannot be read.
    fn holds(&mut self) -> Option<bool> {
        if self.failed_reads >= MAX_FAILED_READS {
            return None;
        }
        let Some(status) = self.wire.status() else {
            // The next write detects a missing display.
            self.failed_reads += 1;
            return (self.failed_reads < MAX_FAILED_READS).then_some(true);
        };
        self.failed_reads = 0;
        Some(!self.lit || status & STATUS_OFF == 0)
    }
}

/// Returns the error for a command that the crate could not build.
fn refused(error: &DisplayError) -> DeviceError {
    DeviceError::Failed(format!("a command for the display could not be made: {error:?}"))
}

impl<I: I2c + Send> CharDisplay for Oled<I>
where
    I::Error: BusError,
{
    fn show(&mut self, frame: &Frame, lit: bool) -> Result<(), DeviceError> {
        if frame.geometry() != self.resolution.geometry() {
            return Err(DeviceError::Failed(format!(
                "a page of {} for a display of {} ({})",
                frame.geometry(),
                self.resolution.name(),
                self.resolution.geometry()
            )));
        }
        let result = if self.running {
            self.update(frame, lit)
        } else {
            self.start(Start::Cold, frame, lit)
        };
        self.running = result.is_ok();
        if self.running && std::mem::take(&mut self.doubt) {
            self.blind = self.holds() != Some(true);
        }
        result
    }

    /// Redraws everything at the next of four positions, a pixel apart, against burn-in.
    fn refresh(&mut self) -> Result<(), DeviceError> {
        let (Some(frame), true) = (self.frame.take(), self.running) else { return Ok(()) };
        self.position = (self.position + 1) % Shift::TURNS.len();
        let result = self.start(Start::Warm, &frame, self.lit);
        self.running = result.is_ok();
        result
    }

    fn check(&mut self) -> bool {
        if self.running && !self.blind {
            match self.holds() {
                Some(true) => {}
                Some(false) => (self.running, self.doubt) = (false, true),
                None => self.blind = true,
            }
        }
        !self.blind
    }

    fn dim(&mut self, dimmed: bool) {
        self.dimmed = dimmed;
    }

    fn bytes(&self) -> u64 {
        self.wire.bytes()
    }
}

#[cfg(test)]
mod tests;
