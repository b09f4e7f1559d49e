//! `detect --try`: finds out what is at an address and how it is wired. Each candidate shows its
//! number on the display; only that of the right one is legible.

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use crate::board::Board;
use crate::cli::{exit, output};
use crate::config::quote;
use crate::panel::hd44780::Hd44780;
use crate::panel::wiring::{KnownWiring, WIRINGS};
use crate::panel::{CharDisplay, Controller, DeviceError, Resolution, linux, oled};
use crate::panel::{Charset, Frame, Geometry};

/// How long each candidate is shown.
const SHOW_TIME: Duration = Duration::from_secs(3);

/// A device that may be at the address.
#[derive(Debug, Clone, Copy)]
enum Candidate {
    Backpack(&'static KnownWiring, Geometry),
    Oled(Controller, Resolution),
}

impl Candidate {
    /// Returns the candidates for an address and a requested size, OLEDs first.
    fn all(address: u8, size: Option<Size>, usual: Geometry) -> Vec<Self> {
        let mut all = Vec::new();
        if oled::ADDRESSES.contains(&address) {
            for resolution in Resolution::ALL.into_iter().rev() {
                all.extend(Controller::ALL.map(|controller| Self::Oled(controller, resolution)));
            }
        }
        all.extend(WIRINGS.iter().map(|known| Self::Backpack(known, usual)));
        all.retain(|candidate| match (candidate, size) {
            (Self::Oled(_, resolution), Some(Size::Pixels(asked))) => *resolution == asked,
            (Self::Oled(..), Some(Size::Characters(_))) => false,
            (Self::Backpack(..), size) => !matches!(size, Some(Size::Pixels(_))),
            (Self::Oled(..), None) => true,
        });
        all
    }

    /// Returns its description.
    fn description(self) -> String {
        match self {
            Self::Backpack(known, _) => format!("{} ({})", known.name, known.found_on),
            Self::Oled(controller, resolution) => {
                format!("OLED of {} with an {}", resolution.name(), controller.name())
            }
        }
    }

    fn geometry(self) -> Geometry {
        match self {
            Self::Backpack(_, geometry) => geometry,
            Self::Oled(_, resolution) => resolution.geometry(),
        }
    }

    /// Opens the device as this candidate.
    fn open(self, device: &Path, address: u8) -> Result<Box<dyn CharDisplay>, DeviceError> {
        Ok(match self {
            Self::Backpack(known, geometry) => {
                let transport = linux::open_i2c(device, address, known.wiring)?;
                Box::new(Hd44780::new(transport, geometry, Charset::A00))
            }
            Self::Oled(controller, resolution) => Box::new(linux::open_oled(
                device,
                address,
                Some(controller),
                resolution,
                Charset::A02,
            )?),
        })
    }

    /// Returns a frame with its number and name; 0 means that it was chosen. Brackets on an OLED
    /// show whether its first and last columns are there.
    fn page(self, number: usize) -> Frame {
        let chosen = number == 0;
        let lines = match self {
            Self::Backpack(known, geometry) => {
                let first = if chosen { "chosen:".to_owned() } else { format!("Wiring {number}") };
                if geometry.rows == 1 {
                    vec![format!("{first} {}", known.name)]
                } else {
                    vec![first, known.name.to_owned()]
                }
            }
            Self::Oled(controller, resolution) => {
                let first = if chosen { "chosen:".to_owned() } else { format!("No. {number}") };
                let second = format!("{} {}", controller.name(), resolution.name());
                [first, second].map(|line| format!("[{line:<14}]")).to_vec()
            }
        };
        Frame::from_lines(self.geometry(), &lines)
    }

    /// Returns the lines for the settings.
    fn settings(self, device: &str, address: u8) -> String {
        let (driver, size) = match self {
            Self::Backpack(known, geometry) => {
                (format!("wiring = {}", quote(known.name)), geometry.to_string())
            }
            Self::Oled(controller, resolution) => {
                (format!("driver = \"{}\"", controller.name()), resolution.name().to_owned())
            }
        };
        format!(
            "[lcd]\nbus = {}\naddress = {address:#04x}\n{driver}\nsize = \"{size}\"\n",
            quote(device)
        )
    }
}

/// `--size`
#[derive(Debug, Clone, Copy)]
enum Size {
    Characters(Geometry),
    Pixels(Resolution),
}

fn size(text: &str) -> Option<Size> {
    let pixels = Resolution::named(text).map(Size::Pixels);
    pixels.or_else(|| text.parse().ok().map(Size::Characters))
}

/// Shows all candidates, asks which one was legible, and prints the lines for the settings.
pub fn main(board: &Board, address: u8, bus: Option<PathBuf>, asked: Option<&str>) -> ExitCode {
    let device = bus.unwrap_or_else(|| {
        let own =
            if board.lcd.bus.starts_with("/dev/") { board.lcd.bus.as_str() } else { "/dev/i2c-1" };
        PathBuf::from(own)
    });
    let size = asked.map(size);
    if let Some(None) = size {
        output::error(
            "detect --try: this is not the size of a display",
            "sizes are 8x2 16x1 16x2 16x4 20x2 20x4 40x2, and of an OLED 128x32 128x64",
        );
        return ExitCode::from(exit::USAGE);
    }
    let size = size.flatten();
    let usual = if let Some(Size::Characters(geometry)) = size { geometry } else { board.lcd.size };
    let candidates = Candidate::all(address, size, usual);
    if candidates.is_empty() {
        output::error(
            &format!("detect --try: an OLED does not have the address {address:#04x}"),
            "its address is 0x3c or 0x3d",
        );
        return ExitCode::from(exit::USAGE);
    }
    // Fails at once if the bus cannot be opened.
    if let Err(error) = linux::open_i2c(&device, address, crate::panel::Wiring::default()) {
        output::failure("detect --try", &error.to_string(), NO_BUS);
        return ExitCode::from(exit::UNAVAILABLE);
    }
    output::err(&format!("Watch the display at {address:#04x} on {}.\n", device.display()));
    for (index, candidate) in candidates.iter().enumerate() {
        output::err(&format!("{}: {}\n", index + 1, candidate.description()));
        let page = candidate.page(index + 1);
        let shown =
            candidate.open(&device, address).and_then(|mut display| display.show(&page, true));
        if let Err(error) = shown {
            output::failure("detect --try", &error.to_string(), NO_BUS);
            return ExitCode::from(exit::UNAVAILABLE);
        }
        std::thread::sleep(SHOW_TIME);
    }
    output::err(QUESTION);
    let mut line = String::new();
    let _ = std::io::stdin().lock().read_line(&mut line);
    let chosen =
        line.trim().parse::<usize>().ok().and_then(|number| candidates.get(number.checked_sub(1)?));
    let Some(candidate) = chosen else {
        output::error("detect --try: none was chosen", NONE_CHOSEN);
        return ExitCode::FAILURE;
    };
    if let Ok(mut display) = candidate.open(&device, address) {
        let _ = display.show(&candidate.page(0), true);
    }
    output::out(&candidate.settings(&device.display().to_string(), address));
    ExitCode::SUCCESS
}

const QUESTION: &str = "Which number could be read, with the backlight on; on an OLED between \
                        whole brackets? (Enter: none) ";

const NONE_CHOSEN: &str = "turn the contrast (the blue screw on the backpack) until boxes just \
                           vanish, and try again. If that does not help, the chip at this address \
                           is something else";
/// Remedy if the bus or the chip on it does not answer.
const NO_BUS: &str = "check power and wires, and the bus (--bus /dev/i2c-N); `sudo bramblegate \
                      doctor` checks both";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::panel::Oled;
    use crate::panel::emulator::{Backpack, Clock, OledPanel};
    use crate::panel::pcf8574::{CLOCK_HZ, Pcf8574};

    const SIXTEEN: Geometry = Geometry { columns: 16, rows: 2 };

    #[test]
    fn only_the_right_wiring_shows_its_number() {
        let real = WIRINGS[2];
        let mut legible = Vec::new();
        for (index, candidate) in Candidate::all(0x27, None, SIXTEEN).into_iter().enumerate() {
            let Candidate::Backpack(known, _) = candidate else { panic!("no OLED is at 0x27") };
            let clock = Clock::simulated();
            let glass = Backpack::new(clock.clone(), 0x27, real.wiring);
            let transport =
                Pcf8574::new(glass.clone(), clock, 0x27, known.wiring, "test", CLOCK_HZ);
            let mut display = Hd44780::new(transport, SIXTEEN, Charset::A00);
            display.show(&candidate.page(index + 1), true).unwrap();
            let seen = glass.seen(SIXTEEN, Charset::A00).lines();
            if seen[0].trim() == format!("Wiring {}", index + 1) && glass.chip().lit() {
                legible.push(known.name);
            }
        }
        assert_eq!(legible, [real.name]);
    }

    /// A wrong number of rows or columns is visible, except that a display shows the same rows for
    /// a smaller size.
    #[test]
    fn only_the_right_oled_shows_its_number_between_whole_brackets() {
        for (real, glass) in [
            (Controller::Ssd1306, Resolution::P128x64),
            (Controller::Ssd1306, Resolution::P128x32),
            (Controller::Sh1106, Resolution::P128x64),
        ] {
            let mut legible = Vec::new();
            for candidate in Candidate::all(0x3c, None, SIXTEEN) {
                let Candidate::Oled(controller, resolution) = candidate else { continue };
                let panel = OledPanel::new(Clock::simulated(), 0x3c, real, glass);
                let mut display = Oled::new(
                    panel.clone(),
                    0x3c,
                    Some(controller),
                    resolution,
                    Charset::A02,
                    "test",
                );
                let page = candidate.page(1);
                display.show(&page, true).unwrap();
                let seen = panel.seen(Charset::A02).lines();
                if seen.iter().zip(page.lines()).all(|(seen, page)| *seen == page) {
                    legible.push((controller, resolution));
                }
            }
            assert_eq!(legible, [(real, glass)]);
        }
    }

    #[test]
    fn a_size_in_pixels_tries_oleds_only_and_one_in_characters_none() {
        let count = |address, size| Candidate::all(address, size, SIXTEEN).len();
        let oleds = Resolution::ALL.len() * Controller::ALL.len();
        assert_eq!(count(0x27, None), WIRINGS.len());
        assert_eq!(count(0x3c, None), WIRINGS.len() + oleds);
        assert_eq!(count(0x3c, size("128x64")), Controller::ALL.len());
        assert_eq!(count(0x3c, size("20x4")), WIRINGS.len());
        assert_eq!(count(0x27, size("128x64")), 0);
        let chosen = Candidate::Oled(Controller::Sh1106, Resolution::P128x64);
        assert_eq!(
            chosen.settings("/dev/i2c-1", 0x3d),
            "[lcd]\nbus = \"/dev/i2c-1\"\naddress = 0x3d\ndriver = \"sh1106\"\nsize = \"128x64\"\n"
        );
    }

    proptest! {
        /// The user chooses the path of the bus, and copies the printed lines.
        #[test]
        fn what_is_printed_reads_as_the_same_bus(device in "[/a-z\"'\\\\\n#ä]{1,12}") {
            let candidate = Candidate::Backpack(&WIRINGS[0], SIXTEEN);
            let printed = candidate.settings(&device, 0x27);
            let read = toml_span::parse(&printed).map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert_eq!(read.pointer("/lcd/bus").and_then(|bus| bus.as_str()), Some(&*device));
            let wiring = read.pointer("/lcd/wiring").and_then(|wiring| wiring.as_str());
            prop_assert_eq!(wiring, Some(WIRINGS[0].name));
        }
    }
}
