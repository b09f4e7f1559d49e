//! Compares the emulated OLEDs with another driver: the bytes that luma.oled sends must show the
//! pictures that it drew. `luma/record.py` recorded both.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::PathBuf;

use bramblegate_panel::emulator::OledChip;
use bramblegate_panel::{Controller, Resolution};

fn recorded(file: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/luma").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Replays the recorded transactions and compares the display with each picture; returns the
/// display and the number of pictures.
fn replay(controller: Controller, glass: Resolution) -> (OledChip, usize) {
    let name = format!("{}-{}", controller.name(), glass.name());
    let mut chip = OledChip::powered(controller, glass);
    let mut pictures = 0;
    for line in recorded(&format!("{name}.log")).lines() {
        if let Some(number) = line.strip_prefix("# ") {
            let drawn = recorded(&format!("{name}-{number}.pbm"));
            assert_eq!(chip.bitmap(), drawn, "{name}, picture {number}");
            pictures += 1;
            continue;
        }
        let (address, hex) = line.split_once(' ').unwrap();
        let byte =
            |text: &[u8]| u8::from_str_radix(std::str::from_utf8(text).unwrap(), 16).unwrap();
        let bytes: Vec<u8> = hex.as_bytes().chunks(2).map(byte).collect();
        assert_eq!(address, "3c");
        chip.transaction(&bytes);
    }
    (chip, pictures)
}

#[test]
fn an_ssd1306_shows_what_luma_drew() {
    for glass in Resolution::ALL {
        let (chip, pictures) = replay(Controller::Ssd1306, glass);
        assert_eq!(pictures, 3);
        assert_eq!(chip.violations(), [] as [&str; 0]);
        assert_eq!((chip.contrast(), chip.is_on()), (0x20, false), "dimmed and hidden at the end");
    }
}

/// luma.oled 3.16.0 uses the SSD1306's constants for both: 0x20 (addressing mode) and 0x8d (charge
/// pump) are not SH1106 commands, and have no effect there.
#[test]
fn an_sh1106_shows_what_luma_drew_and_does_not_know_two_of_its_commands() {
    let (chip, pictures) = replay(Controller::Sh1106, Resolution::P128x64);
    assert_eq!(pictures, 3);
    let unknown =
        ["sh1106 does not have the command 0x20", "sh1106 does not have the command 0x8d"];
    assert_eq!(chip.violations(), unknown);
    assert_eq!((chip.contrast(), chip.is_on()), (0x20, false), "dimmed and hidden at the end");
}
