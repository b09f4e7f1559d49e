//! The cost of a page on an OLED on the I²C bus, in bytes, address bytes included.

use std::sync::mpsc::{Sender, channel};

use bramblegate::panel::emulator::{Clock, EmulatedError, OledPanel};
use bramblegate::panel::oled::picture::{Shift, WIDTH, draw};
use bramblegate::panel::{CharDisplay, Charset, Controller, Frame, Oled, Resolution};
use bramblegate_lab::{Error, Result};
use embedded_hal::i2c::{ErrorType, I2c, Operation};
use ssd1306::mode::BufferedGraphicsMode;
use ssd1306::prelude::*;
use ssd1306::{I2CDisplayInterface, Ssd1306};

use crate::table::Row;

type Page = [&'static str; 4];

const CHARSET: Charset = Charset::A02;

/// One page, then another, then one octet and the heart.
const PAGES: [Page; 3] = [
    ["192.168.1.17", "3/3 up  eth1   ♥", "headgate  4/4 ok", "up 3d 04:05:06  "],
    ["10.99.0.126", "2/3 up  wlan0  ♥", "disk 81% 53.1°C ", "rpi3 down 4m    "],
    ["10.99.0.131", "2/3 up  wlan0   ", "disk 81% 53.1°C ", "rpi3 down 4m    "],
];

/// The bytes for a full page, for another page, for one octet and the heart.
type Costs = [usize; 3];

pub fn measure() -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for resolution in Resolution::ALL {
        let ours = ours(resolution)?;
        let (whole, changed) = match resolution {
            Resolution::P128x32 => (
                peer(DisplaySize128x32, resolution, true)?,
                peer(DisplaySize128x32, resolution, false)?,
            ),
            Resolution::P128x64 => (
                peer(DisplaySize128x64, resolution, true)?,
                peer(DisplaySize128x64, resolution, false)?,
            ),
        };
        let least = least(resolution);
        let names = ["full draw", "another page", "one octet and the heart"];
        for (index, name) in names.into_iter().enumerate() {
            let (bytes, limit) = (ours[index] as f64, least[index] as f64);
            let figure = format!("OLED {}, {name}: bytes", resolution.name());
            let row = Row::new(&figure, bytes, "B")
                .against("ssd1306, whole flush", whole[index] as f64)
                .limit("the chip", limit);
            let row = if name == names[2] {
                row.target("5x fewer than ssd1306", 5 * ours[index] <= whole[index])
            } else {
                row.target("<= 1.05x limit", bytes <= 1.05 * limit)
            };
            rows.push(row);
            rows.push(
                Row::new(figure, bytes, "B")
                    .against("ssd1306, changed pixels set", changed[index] as f64),
            );
        }
    }
    Ok(rows)
}

/// A page in the size of the display, and the memory that shows it.
fn page(resolution: Resolution, page: &Page) -> (Frame, Vec<u8>) {
    let frame = Frame::from_lines(resolution.geometry(), page);
    let memory = draw(&frame, CHARSET, resolution, Shift::default());
    (frame, memory)
}

/// Returns the minimum of bytes. For a full page: a window in horizontal addressing (address,
/// control byte, six bytes of commands) and the memory (address, control byte) in one go; the
/// SH1106 has no such window. For changed bytes: in page addressing, the optimum for each unchanged
/// byte in between, to write it again or to address the next one (address, control byte and two
/// bytes, address, control byte; one byte more for the page).
fn least(resolution: Resolution) -> Costs {
    let memories = PAGES.each_ref().map(|lines| page(resolution, lines).1);
    let between = |before: &[u8], after: &[u8]| -> usize {
        let changed: Vec<bool> = before.iter().zip(after).map(|(a, b)| a != b).collect();
        changed.chunks(WIDTH).map(least_of_page).sum()
    };
    let [first, second, third] = &memories;
    [8 + 2 + first.len(), between(first, second), between(second, third)]
}

fn least_of_page(changed: &[bool]) -> usize {
    const NEVER: usize = usize::MAX / 2;
    // Bytes so far: with a run that ends here, and without.
    let (mut within, mut without) = (NEVER, 0);
    for changed in changed {
        let written = (within + 1).min(without + 6 + 1);
        without = if *changed { NEVER } else { without.min(within) };
        within = written;
    }
    let bytes = within.min(without);
    bytes + usize::from(bytes > 0)
}

/// The bus, and the bytes of each message, its address included.
#[derive(Debug)]
struct Counted {
    panel: OledPanel,
    messages: Sender<usize>,
}

impl ErrorType for Counted {
    type Error = EmulatedError;
}

impl I2c for Counted {
    fn transaction(
        &mut self,
        address: u8,
        operations: &mut [Operation<'_>],
    ) -> std::result::Result<(), EmulatedError> {
        for operation in &*operations {
            if let Operation::Write(bytes) = operation {
                let _ = self.messages.send(1 + bytes.len());
            }
        }
        self.panel.transaction(address, operations)
    }
}

fn traffic(panel: &OledPanel) -> usize {
    let (transactions, bytes) = panel.traffic();
    usize::try_from(transactions + bytes).unwrap_or(usize::MAX)
}

fn seen(panel: &OledPanel, frame: &Frame) -> Result<()> {
    let lines = panel.seen(CHARSET).lines();
    if lines == frame.lines() { Ok(()) } else { Err(Error(format!("on the glass is {lines:?}"))) }
}

fn panel(resolution: Resolution) -> OledPanel {
    OledPanel::new(Clock::simulated(), 0x3c, Controller::Ssd1306, resolution)
}

/// Bramblegate's driver.
fn ours(resolution: Resolution) -> Result<Costs> {
    let glass = panel(resolution);
    let bus = glass.clone();
    let ssd1306 = Some(Controller::Ssd1306);
    let mut display = Oled::new(bus, 0x3c, ssd1306, resolution, CHARSET, "bus");
    let mut costs = [0; 3];
    for (index, lines) in PAGES.iter().enumerate() {
        let (frame, _) = page(resolution, lines);
        let before = traffic(&glass);
        display.show(&frame, true).map_err(|error| Error(error.to_string()))?;
        seen(&glass, &frame)?;
        costs[index] = traffic(&glass) - before;
    }
    costs[0] = drawing(resolution)?;
    Ok(costs)
}

/// Returns the bytes of the first picture, without the first and the last message, which initialize
/// and switch on.
fn drawing(resolution: Resolution) -> Result<usize> {
    let (sender, receiver) = channel();
    let glass = panel(resolution);
    let bus = Counted { panel: glass.clone(), messages: sender };
    let (frame, _) = page(resolution, &PAGES[0]);
    let ssd1306 = Some(Controller::Ssd1306);
    let mut display = Oled::new(bus, 0x3c, ssd1306, resolution, CHARSET, "bus");
    display.show(&frame, true).map_err(|error| Error(error.to_string()))?;
    seen(&glass, &frame)?;
    let messages: Vec<usize> = receiver.try_iter().collect();
    Ok(messages.iter().skip(1).take(messages.len() - 2).sum())
}

/// The crate's driver. `whole`: each picture is drawn on a cleared buffer, as in its examples; else
/// only changed pixels are set, and it sends the rectangle around them.
fn peer<S: DisplaySize>(size: S, resolution: Resolution, whole: bool) -> Result<Costs> {
    let broken = |_| Error("ssd1306 failed".into());
    let glass = panel(resolution);
    let interface = I2CDisplayInterface::new(glass.clone());
    let mut display =
        Ssd1306::new(interface, size, DisplayRotation::Rotate0).into_buffered_graphics_mode();
    display.init().map_err(broken)?;
    let mut costs = [0; 3];
    let mut held = vec![0; resolution.bytes()];
    for (index, lines) in PAGES.iter().enumerate() {
        let (frame, memory) = page(resolution, lines);
        if whole {
            display.clear_buffer();
        }
        set(&mut display, if whole { None } else { Some(&held) }, &memory);
        let before = traffic(&glass);
        display.flush().map_err(broken)?;
        costs[index] = traffic(&glass) - before;
        seen(&glass, &frame)?;
        held = memory;
    }
    Ok(costs)
}

fn set<I: WriteOnlyDataCommand, S: DisplaySize>(
    display: &mut Ssd1306<I, S, BufferedGraphicsMode<S>>,
    held: Option<&[u8]>,
    wanted: &[u8],
) {
    for (place, byte) in wanted.iter().enumerate() {
        let before = held.and_then(|held| held.get(place)).map_or(!byte, |held| *held);
        for bit in (0..8).filter(|bit| (before ^ byte) >> bit & 1 == 1) {
            let (x, y) = (place % WIDTH, place / WIDTH * 8 + bit);
            display.set_pixel(x as u32, y as u32, byte >> bit & 1 == 1);
        }
    }
}
