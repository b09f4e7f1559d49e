//! An i2c-tiny-usb adapter (0403:c631) with a PCF8574 at 0x27 and an HD44780 16x2 on it.
//!
//! Requests: Linux `drivers/i2c/busses/i2c-tiny-usb.c`.

use crate::lcd::Lcd;
use crate::usbip::descriptor::{Identity, configuration};
use crate::usbip::{Device, Setup, Speed, Stall};

const EXPANDER: u16 = 0x27;
const VENDOR_CLASS: u8 = 0xff;
/// I2C_FUNC_I2C and I2C_FUNC_SMBUS_EMUL.
const FUNCTIONALITY: u32 = 0x0eff_0009;
const STATUS_ACK: u8 = 1;
const STATUS_NAK: u8 = 2;

#[derive(Debug)]
pub struct I2cAdapter {
    identity: Identity,
    status: u8,
    present: bool,
    pub lcd: Lcd,
}

impl I2cAdapter {
    pub fn new() -> Self {
        let identity = Identity {
            vendor: 0x0403,
            product: 0xc631,
            release: 0x0205,
            maker: "simulated",
            name: "i2c-tiny-usb",
            serial: "lcd0".to_owned(),
        };
        Self { identity, status: 0, present: true, lcd: Lcd::new() }
    }

    /// Removes the expander from the bus, or puts a freshly powered one on it: the adapter stays.
    pub fn set_present(&mut self, present: bool) {
        self.present = present;
        self.lcd = Lcd::new();
    }

    fn transfer(&mut self, setup: Setup, data: &[u8]) -> Vec<u8> {
        let reads = setup.request_type == 0xc1;
        let length = usize::from(setup.length);
        if setup.index != EXPANDER || !self.present {
            self.status = STATUS_NAK;
            return vec![0; if reads { length } else { 0 }];
        }
        self.status = STATUS_ACK;
        if reads {
            return vec![self.lcd.latch(); length];
        }
        self.lcd.transaction(data);
        vec![]
    }
}

impl Device for I2cAdapter {
    fn speed(&self) -> Speed {
        Speed::Full
    }

    fn control(&mut self, setup: Setup, data: &[u8]) -> Result<Vec<u8>, Stall> {
        let [low, high] = setup.value.to_le_bytes();
        match (setup.request_type, setup.request, high) {
            (0x80, 6, 1) => Ok(self.identity.device()),
            (0x80, 6, 2) => Ok(configuration(VENDOR_CLASS, 0, &[])),
            (0x80, 6, 3) => Ok(self.identity.string(low)),
            (0x80, 0, _) => Ok(vec![0, 0]),
            (0x00 | 0x01, _, _) => Ok(vec![]),
            (0xc1, 0, _) => Ok(setup.value.to_le_bytes().to_vec()),
            (0xc1, 1, _) => Ok(FUNCTIONALITY.to_le_bytes().to_vec()),
            (0x41 | 0xc1, 2, _) => Ok(vec![]),
            (0xc1, 3, _) => Ok(vec![self.status]),
            (0x41 | 0xc1, 4..=7, _) => Ok(self.transfer(setup, data)),
            _ => Err(Stall),
        }
    }
}
