//! An HD44780 on GPIO lines, with RW tied to ground.

use std::fmt::Display;
use std::time::Duration;

use embedded_hal::delay::DelayNs;
use embedded_hal::digital::OutputPin;

use super::hd44780::Transport;
use super::hd44780::plan::Op;
use crate::device::DeviceError;

/// Execution time of an instruction at the slowest allowed oscillator (190 kHz): 53 µs, with a
/// margin.
const INSTRUCTION: Duration = Duration::from_micros(60);

/// The lines.
#[derive(Debug)]
pub struct Pins<P> {
    pub rs: P,
    pub e: P,
    /// D4, D5, D6, D7.
    pub data: [P; 4],
    pub backlight: Option<P>,
}

/// An HD44780 on GPIO lines.
#[derive(Debug)]
pub struct Gpio<P, D> {
    pins: Pins<P>,
    delay: D,
    /// The chip's name, for errors.
    name: String,
    lit: bool,
    sent: u64,
}

impl<P: OutputPin, D: DelayNs> Gpio<P, D>
where
    P::Error: Display,
{
    pub fn new(pins: Pins<P>, delay: D, name: &str) -> Self {
        Self { pins, delay, name: name.to_owned(), lit: true, sent: 0 }
    }

    fn nibble(&mut self, nibble: u8) -> Result<(), P::Error> {
        for (number, pin) in self.pins.data.iter_mut().enumerate() {
            pin.set_state((nibble >> number & 1 == 1).into())?;
        }
        self.pins.e.set_high()?;
        // Figure 25: E is high for at least 450 ns, its cycle at least 1000 ns.
        self.delay.delay_us(1);
        self.pins.e.set_low()?;
        self.delay.delay_us(1);
        Ok(())
    }

    fn send(&mut self, op: Op) -> Result<(), P::Error> {
        self.pins.rs.set_state(op.rs().into())?;
        match op {
            Op::Nibble(nibble) => self.nibble(nibble)?,
            Op::Command(byte) | Op::Data(byte) => {
                self.nibble(byte >> 4)?;
                self.nibble(byte & 0x0f)?;
            }
        }
        self.delay.delay_us(u32::try_from(INSTRUCTION.as_micros()).unwrap_or(u32::MAX));
        self.sent += 1;
        Ok(())
    }
}

impl<P, D> Transport for Gpio<P, D>
where
    P: OutputPin + Send,
    P::Error: Display,
    D: DelayNs + Send,
{
    fn execute(&mut self, ops: &[Op]) -> Result<(), DeviceError> {
        let name = self.name.clone();
        let fault = |error: P::Error| DeviceError::Failed(format!("GPIO chip {name}: {error}"));
        if let Some(pin) = &mut self.pins.backlight {
            pin.set_state(self.lit.into()).map_err(fault)?;
        }
        for op in ops {
            self.send(*op).map_err(fault)?;
        }
        Ok(())
    }

    fn backlight(&mut self, lit: bool) {
        self.lit = lit;
    }

    fn wait(&mut self, time: Duration) {
        self.delay.delay_us(u32::try_from(time.as_micros()).unwrap_or(u32::MAX));
    }

    /// Counts one per instruction, as there is no bus.
    fn bytes(&self) -> u64 {
        self.sent
    }
}
