//! A PCF8574 with an HD44780, on an emulated I²C bus.

use std::time::Duration;

use super::bus::{Bus, Target};
use super::{Chip, Clock, Fault};
use crate::wiring::Wiring;
use crate::{Charset, Frame, Geometry};

/// The emulated bus with the panel. Clones share the device.
pub type Backpack = Bus<Expander>;

/// The expander with the controller at its pins.
#[derive(Debug)]
pub struct Expander {
    wiring: Wiring,
    chip: Chip,
    /// The output latch: all ones at power-on.
    latch: u8,
}

impl Backpack {
    /// Returns a panel just powered on, at this address with this wiring, on a 100 kHz bus.
    pub fn new(clock: Clock, address: u8, wiring: Wiring) -> Self {
        let chip = Chip::powered(clock.now());
        Self::with(clock, address, Expander { wiring, chip, latch: 0xff })
    }

    /// Sets the frequency of the controller's oscillator.
    pub fn with_oscillator(self, kilohertz: f64) -> Self {
        {
            let mut device = self.lock();
            device.target.chip = device.target.chip.clone().with_oscillator(kilohertz);
        }
        self
    }

    /// Returns a copy of the controller's state.
    pub fn chip(&self) -> Chip {
        self.lock().target.chip.clone()
    }

    /// Returns the visible text.
    pub fn seen(&self, geometry: Geometry, charset: Charset) -> Frame {
        self.lock().target.chip.seen(geometry, charset)
    }
}

impl Target for Expander {
    fn begin(&mut self) {}

    fn take(&mut self, byte: u8, now: Duration) {
        self.latch = byte;
        self.chip.drive(self.wiring.decode(byte), now);
    }

    /// Returns the pin levels at the acknowledge of the address. The latch pulls a pin low or
    /// releases it.
    fn give(&mut self, now: Duration) -> u8 {
        let pins = self.wiring.decode(self.latch);
        let driven = if pins.e && pins.rw { self.chip.answers(pins.rs, now) } else { 0x0f };
        let data = self.wiring.encode(0x0f, false, false, false)
            ^ self.wiring.encode(0, false, false, false);
        let levels = self.wiring.encode(driven, false, false, false) & data | !data;
        self.latch & levels
    }

    fn inject(&mut self, fault: Fault, now: Duration) {
        match fault {
            Fault::Glitch(nibble) => self.chip.glitch(nibble, now),
            _ => (self.chip, self.latch) = (Chip::powered(now), 0xff),
        }
    }

    fn violations(&self) -> &[String] {
        self.chip.violations()
    }
}
