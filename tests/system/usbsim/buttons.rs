//! Buttons on the GPIO lines of a CP2112 (10c4:ea90): for this USB chip, the kernel's own driver
//! provides a GPIO chip with eight lines and edges. It is the closest to a Raspberry Pi's header
//! that a virtual machine can have.
//!
//! Reports: Silicon Labs AN495, and Linux `drivers/hid/hid-cp2112.c`.

use crate::hid::{self, Hid};
use crate::usbip::descriptor::Identity;
use crate::usbip::{Device, Setup, Speed, Stall};

const GPIO_CONFIG: u8 = 0x02;
const GPIO_GET: u8 = 0x03;
const GPIO_SET: u8 = 0x04;
const VERSION: u8 = 0x05;
const SMBUS_CONFIG: u8 = 0x06;
const LOCK: u8 = 0x20;
const USB_CONFIG: u8 = 0x21;
/// Maker, product, serial number.
const STRINGS: [u8; 3] = [0x22, 0x23, 0x24];
const REPORTS: [(u8, u8); 10] = [
    (GPIO_CONFIG, 4),
    (GPIO_GET, 1),
    (GPIO_SET, 2),
    (VERSION, 2),
    (SMBUS_CONFIG, 13),
    (LOCK, 1),
    (USB_CONFIG, 9),
    (STRINGS[0], 62),
    (STRINGS[1], 62),
    (STRINGS[2], 62),
];

/// The chip, and a button between each line and ground.
#[derive(Debug)]
pub struct Buttons {
    identity: Identity,
    /// A bit for each line: high.
    levels: u8,
    config: [u8; 4],
}

impl Buttons {
    /// Returns the chip with no button pressed: pull-ups hold the lines high.
    pub fn new() -> Self {
        let identity = Identity {
            vendor: 0x10c4,
            product: 0xea90,
            release: 0x0200,
            maker: "Silicon Laboratories",
            name: "CP2112 HID USB-to-SMBus Bridge",
            serial: "buttons0".to_owned(),
        };
        Self { identity, levels: 0xff, config: [0; 4] }
    }

    /// Presses or releases the button of a line; `None` if there is no such line.
    pub fn press(&mut self, line: u8, down: bool) -> Option<()> {
        let bit = 1_u8.checked_shl(line.into())?;
        self.levels = if down { self.levels & !bit } else { self.levels | bit };
        Some(())
    }
}

impl Hid for Buttons {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn reports(&self) -> &'static [(u8, u8)] {
        &REPORTS
    }

    fn write(&mut self, number: u8, body: &[u8]) -> Result<(), Stall> {
        match (number, body.first_chunk()) {
            (GPIO_CONFIG, Some(config)) => self.config = *config,
            (GPIO_SET | SMBUS_CONFIG, _) => {}
            _ => return Err(Stall),
        }
        Ok(())
    }

    fn read(&self, number: u8) -> Vec<u8> {
        match number {
            GPIO_CONFIG => self.config.to_vec(),
            GPIO_GET => vec![self.levels],
            // Part number and release.
            VERSION => vec![0x0c, 0x02],
            // A string descriptor without a string.
            number if STRINGS.contains(&number) => vec![2, 3],
            _ => vec![],
        }
    }
}

impl Device for Buttons {
    fn speed(&self) -> Speed {
        Speed::Full
    }

    fn control(&mut self, setup: Setup, data: &[u8]) -> Result<Vec<u8>, Stall> {
        hid::control(self, setup, data)
    }
}
