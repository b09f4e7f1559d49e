//! The cost of a page on the I²C bus: bytes, and time at 100 kHz, the driver's delays included.

use std::time::Duration;

use bramblegate::panel::CharDisplay;
use bramblegate::panel::Wiring;
use bramblegate::panel::emulator::{Backpack, Clock};
use bramblegate::panel::hd44780::Hd44780;
use bramblegate::panel::pcf8574::Pcf8574;
use bramblegate::panel::{Charset, Frame, Geometry};
use bramblegate_lab::{Error, Result};
use embedded_hal::i2c::I2c;
use embedded_hal_02::blocking::delay::{DelayMs, DelayUs};
use embedded_hal_02::blocking::i2c::Write;
use hd44780_driver::{Cursor, CursorBlink, Display, DisplayMode, HD44780};

use crate::glass::bus_ms;
use crate::lab::ms;
use crate::oled;
use crate::table::Row;

type Page = [&'static str; 4];

/// Everything changes, then one octet does (two characters).
const PAGES: [Page; 3] = [
    ["################", "################", "################", "################"],
    ["192.168.1.17", "3/3 up  eth1", "headgate  4/4 ok", "uptime 3d 04:05:06"],
    ["192.168.1.23", "3/3 up  eth1", "headgate  4/4 ok", "uptime 3d 04:05:06"],
];

/// Bytes, and milliseconds.
type Cost = (u64, f64);

/// A driver that can show a page.
trait Contender {
    fn show(&mut self, rows: &[String]) -> Result<()>;
}

pub fn measure() -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (columns, count) in [(16, 2), (20, 4)] {
        let geometry = Geometry { columns, rows: count };
        let ours = costs(geometry, |backpack, clock| {
            let bus = Pcf8574::new(backpack, clock, 0x27, Wiring::default(), "bus", 100_000);
            Ok(Box::new(Ours { display: Hd44780::new(bus, geometry, Charset::A00), geometry }))
        })?;
        let crate_ = costs(geometry, |backpack, clock| {
            Ok(Box::new(Oracle::new(backpack, clock, columns)?))
        })?;
        let rplcd =
            costs(geometry, |bus, clock| Ok(Box::new(Rplcd { bus, clock, columns }.begin()?)))?;
        let floor = [minimum(columns, count), (14, bus_ms(14))];
        let names = ["full draw", "one octet changes"];
        let targets = [1.05, 1.2];
        for (index, name) in names.into_iter().enumerate() {
            let ((bytes, time), limit) = (ours[index], floor[index]);
            let figure = format!("LCD {geometry}, {name}: bus");
            let most = targets[index];
            rows.push(
                Row::new(&figure, time, "ms")
                    .against("RPLCD's pattern", rplcd[index].1)
                    .limit("the chip", limit.1)
                    .target(format!("<= {most}x limit"), time <= most * limit.1),
            );
            rows.push(Row::new(&figure, time, "ms").against("hd44780-driver", crate_[index].1));
            let figure = format!("LCD {geometry}, {name}: bytes");
            rows.push(
                Row::new(figure, bytes as f64, "B")
                    .against("RPLCD's pattern", rplcd[index].0 as f64)
                    .limit("the chip", limit.0 as f64),
            );
        }
    }
    rows.extend(oled::measure()?);
    Ok(rows)
}

/// Returns the minimum of bytes: 4 for each character or cursor move, 1 for each change of RS. On a
/// display of four rows the address counter runs through the rows in pairs.
fn minimum(columns: u8, rows: u8) -> Cost {
    let (moves, changes) = if rows == 2 { (2, 4) } else { (1, 2) };
    let bytes = 4 * (u64::from(columns) * u64::from(rows) + moves) + changes;
    (bytes, bus_ms(bytes))
}

/// Returns the cost of the second and the third page, after checking that the display shows them.
fn costs(
    geometry: Geometry,
    make: impl FnOnce(Backpack, Clock) -> Result<Box<dyn Contender>>,
) -> Result<[Cost; 2]> {
    let clock = Clock::simulated();
    let backpack = Backpack::new(clock.clone(), 0x27, Wiring::default());
    clock.pass(Duration::from_millis(50));
    let mut contender = make(backpack.clone(), clock.clone())?;
    let mut costs = [(0, 0.0); 2];
    for (number, page) in PAGES.iter().enumerate() {
        let width = usize::from(geometry.columns);
        let fill = if number == 0 { "#" } else { " " };
        let row = |text: &&str| {
            let text: String = text.chars().take(width).collect();
            format!("{text}{}", fill.repeat(width - text.len()))
        };
        let rows: Vec<String> = page.iter().take(usize::from(geometry.rows)).map(row).collect();
        let before = (backpack.traffic().1, clock.now());
        contender.show(&rows)?;
        if backpack.seen(geometry, Charset::A00).lines() != rows {
            return Err(Error(format!(
                "on the glass is {:?}",
                backpack.seen(geometry, Charset::A00).lines()
            )));
        }
        if number > 0 {
            costs[number - 1] = (backpack.traffic().1 - before.0, ms(clock.now() - before.1));
        }
    }
    Ok(costs)
}

struct Ours {
    display: Hd44780<Pcf8574<Backpack, Clock>>,
    geometry: Geometry,
}

impl Contender for Ours {
    fn show(&mut self, rows: &[String]) -> Result<()> {
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        self.display
            .show(&Frame::from_lines(self.geometry, &rows), true)
            .map_err(|error| Error(error.to_string()))
    }
}

/// Returns the DDRAM address of a row's first cell.
fn row_start(row: usize, columns: u8) -> u8 {
    [0, 0x40, columns, 0x40 + columns].get(row).copied().unwrap_or(0)
}

/// The emulator with the traits of embedded-hal 0.2.
struct Old<T>(T);

impl Write for Old<Backpack> {
    type Error = bramblegate::panel::emulator::EmulatedError;
    fn write(&mut self, address: u8, bytes: &[u8]) -> std::result::Result<(), Self::Error> {
        I2c::write(&mut self.0, address, bytes)
    }
}

impl DelayMs<u8> for Old<Clock> {
    fn delay_ms(&mut self, ms: u8) {
        self.0.pass(Duration::from_millis(u64::from(ms)));
    }
}

impl DelayUs<u16> for Old<Clock> {
    fn delay_us(&mut self, us: u16) {
        self.0.pass(Duration::from_micros(u64::from(us)));
    }
}

/// The crate hd44780-driver, which writes each row completely.
struct Oracle {
    display: HD44780<hd44780_driver::bus::I2CBus<Old<Backpack>>>,
    delay: Old<Clock>,
    columns: u8,
}

impl Oracle {
    fn new(backpack: Backpack, clock: Clock, columns: u8) -> Result<Self> {
        let mut delay = Old(clock);
        let broken = |_| Error("hd44780-driver failed".into());
        let mut display = HD44780::new_i2c(Old(backpack), 0x27, &mut delay).map_err(broken)?;
        let mode = DisplayMode {
            display: Display::On,
            cursor_visibility: Cursor::Invisible,
            cursor_blink: CursorBlink::Off,
        };
        display.set_display_mode(mode, &mut delay).map_err(broken)?;
        Ok(Self { display, delay, columns })
    }
}

impl Contender for Oracle {
    fn show(&mut self, rows: &[String]) -> Result<()> {
        let broken = |_| Error("hd44780-driver failed".into());
        for (number, row) in rows.iter().enumerate() {
            self.display
                .set_cursor_pos(row_start(number, self.columns), &mut self.delay)
                .map_err(broken)?;
            self.display.write_str(row, &mut self.delay).map_err(broken)?;
        }
        Ok(())
    }
}

/// Writes to a PCF8574 like RPLCD: each byte of the expander is a transaction, four per nibble,
/// with delays of 1 µs before and after E rises and of 100 µs after it falls. A script writes each
/// row completely.
struct Rplcd {
    bus: Backpack,
    clock: Clock,
    columns: u8,
}

impl Rplcd {
    fn begin(mut self) -> Result<Self> {
        for nibble in [3, 3, 3, 2] {
            self.nibble(nibble, false)?;
            self.clock.pass(Duration::from_micros(4500));
        }
        for command in [0x28, 0x0c, 0x06] {
            self.send(command, false)?;
        }
        self.send(0x01, false)?;
        self.clock.pass(Duration::from_millis(2));
        Ok(self)
    }

    fn nibble(&mut self, nibble: u8, data: bool) -> Result<()> {
        let byte = nibble << 4 | 0x08 | u8::from(data);
        for (byte, pause) in [(byte, 0), (byte, 1), (byte | 0x04, 1), (byte, 100)] {
            self.bus.write(0x27, &[byte]).map_err(|error| Error(error.to_string()))?;
            self.clock.pass(Duration::from_micros(pause));
        }
        Ok(())
    }

    fn send(&mut self, byte: u8, data: bool) -> Result<()> {
        self.nibble(byte >> 4, data)?;
        self.nibble(byte & 0x0f, data)
    }
}

impl Contender for Rplcd {
    fn show(&mut self, rows: &[String]) -> Result<()> {
        for (number, row) in rows.iter().enumerate() {
            self.send(0x80 | row_start(number, self.columns), false)?;
            row.bytes().try_for_each(|byte| self.send(byte, true))?;
        }
        Ok(())
    }
}
