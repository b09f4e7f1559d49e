//! `detect --try`: which wiring is it? Each shows its number on the glass; one is legible.

use std::io::BufRead;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::board::Board;
use crate::cli::{exit, output};
use crate::config::quote;
use crate::panel::DeviceError;
use crate::panel::hd44780::{Hd44780, Transport};
use crate::panel::wiring::{KnownWiring, WIRINGS};
use crate::panel::{CharDisplay, linux};
use crate::panel::{Charset, Frame, Geometry};

/// How long each stands.
const STAND: Duration = Duration::from_secs(3);

/// Shows all wirings, asks which was legible, prints the lines for the settings.
pub fn main(board: &Board, address: u8, bus: Option<PathBuf>, size: Option<&str>) -> ExitCode {
    let device = bus.unwrap_or_else(|| {
        let own =
            if board.lcd.bus.starts_with("/dev/") { board.lcd.bus.as_str() } else { "/dev/i2c-1" };
        PathBuf::from(own)
    });
    let Ok(geometry) = size.map_or(Ok(board.lcd.size), str::parse::<Geometry>) else {
        output::err("sizes are 8x2 16x1 16x2 16x4 20x2 20x4 40x2\n");
        return ExitCode::from(exit::USAGE);
    };
    // Nobody is to stare at a display whose bus is not there.
    if let Err(error) = linux::open_i2c(&device, address, crate::panel::Wiring::default()) {
        output::err(&format!("{error}\n"));
        return ExitCode::from(exit::UNAVAILABLE);
    }
    output::err(&format!("Watch the display at {address:#04x} on {}.\n", device.display()));
    for (index, known) in WIRINGS.iter().enumerate() {
        output::err(&format!("{}: {} ({})\n", index + 1, known.name, known.found_on));
        let shown = linux::open_i2c(&device, address, known.wiring)
            .and_then(|transport| show(transport, index + 1, known, geometry));
        if let Err(error) = shown {
            output::err(&format!("{error}\n"));
            return ExitCode::from(exit::UNAVAILABLE);
        }
        std::thread::sleep(STAND);
    }
    output::err("Which number could be read, with the backlight on? (Enter: none) ");
    let mut line = String::new();
    let _ = std::io::stdin().lock().read_line(&mut line);
    let chosen =
        line.trim().parse::<usize>().ok().and_then(|number| WIRINGS.get(number.checked_sub(1)?));
    let Some(known) = chosen else {
        output::err(
            "None was chosen. Turn the contrast (the blue screw on the backpack) until boxes just \
             vanish and try again; \
             if that does not help the chip at this address is something else.\n",
        );
        return ExitCode::FAILURE;
    };
    if let Ok(transport) = linux::open_i2c(&device, address, known.wiring) {
        let _ = show(transport, 0, known, geometry);
    }
    output::out(&lines(&device.display().to_string(), address, known, geometry));
    ExitCode::SUCCESS
}

/// The wiring's number and name on the glass; number 0 says that it was chosen.
fn show<T: Transport>(
    transport: T,
    number: usize,
    known: &KnownWiring,
    geometry: Geometry,
) -> Result<(), DeviceError> {
    let first = if number == 0 { "chosen:".to_owned() } else { format!("Wiring {number}") };
    let lines = if geometry.rows == 1 {
        vec![format!("{first} {}", known.name)]
    } else {
        vec![first, known.name.to_owned()]
    };
    Hd44780::new(transport, geometry, Charset::A00).show(&Frame::from_lines(geometry, &lines), true)
}

fn lines(device: &str, address: u8, known: &KnownWiring, geometry: Geometry) -> String {
    format!(
        "[lcd]\nbus = {}\naddress = {address:#04x}\nwiring = {}\nsize = \"{geometry}\"\n",
        quote(device),
        quote(known.name)
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::panel::emulator::{Backpack, Clock};
    use crate::panel::pcf8574::{CLOCK_HZ, Pcf8574};

    #[test]
    fn only_the_right_wiring_shows_its_number() {
        let geometry = Geometry { columns: 16, rows: 2 };
        let real = WIRINGS[2];
        let mut legible = Vec::new();
        for (index, known) in WIRINGS.iter().enumerate() {
            let clock = Clock::simulated();
            let glass = Backpack::new(clock.clone(), 0x27, real.wiring);
            let transport =
                Pcf8574::new(glass.clone(), clock, 0x27, known.wiring, "test", CLOCK_HZ);
            show(transport, index + 1, known, geometry).unwrap();
            let seen = glass.seen(geometry, Charset::A00).lines();
            if seen[0].trim() == format!("Wiring {}", index + 1) && glass.chip().lit() {
                legible.push(known.name);
            }
        }
        assert_eq!(legible, [real.name]);
    }

    proptest! {
        /// The bus is a path of the user's, who is to copy what is printed.
        #[test]
        fn what_is_printed_reads_as_the_same_bus(device in "[/a-z\"'\\\\\n#ä]{1,12}") {
            let printed = lines(&device, 0x27, &WIRINGS[0], Geometry { columns: 16, rows: 2 });
            let read = toml_span::parse(&printed).map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert_eq!(read.pointer("/lcd/bus").and_then(|bus| bus.as_str()), Some(&*device));
            let wiring = read.pointer("/lcd/wiring").and_then(|wiring| wiring.as_str());
            prop_assert_eq!(wiring, Some(WIRINGS[0].name));
        }
    }
}
