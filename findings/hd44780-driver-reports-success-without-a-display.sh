#!/usr/bin/env bash
# The crate hd44780-driver returns a Result from each call, and over I2C it is always Ok: what the bus answers is thrown away. A program that
# opens the display again after an error, or that shows its text elsewhere then, never does so: a display that was unplugged "works".
#
# Seen with hd44780-driver 0.4.0 (embedded-hal 0.2.7), on a bus that refuses each transfer as Linux does for an address without a chip (ENXIO).
# An expert expects the error of the bus in the Result; over pins the same crate returns those of the pins.
# Output: start, text and cursor on that bus: Ok, Ok, Ok, with over 50 refused transfers; over a pin that fails: Err.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
crates=(hd44780-driver=0.4.0 embedded-hal=0.2.7)

program() {
    cat <<'RUST'
use embedded_hal::blocking::{delay::{DelayMs, DelayUs}, i2c::Write};
use embedded_hal::digital::v2::OutputPin;
use hd44780_driver::HD44780;
use std::{cell::Cell, rc::Rc};

/// A bus without any chip: counts the transfers that it refuses.
struct Empty(Rc<Cell<u32>>);

impl Write for Empty {
    type Error = &'static str;
    fn write(&mut self, _: u8, _: &[u8]) -> Result<(), Self::Error> {
        self.0.set(self.0.get() + 1);
        Err("ENXIO")
    }
}

struct Pin;

impl OutputPin for Pin {
    type Error = &'static str;
    fn set_low(&mut self) -> Result<(), Self::Error> {
        Err("EIO")
    }
    fn set_high(&mut self) -> Result<(), Self::Error> {
        Err("EIO")
    }
}

struct NoDelay;

impl DelayUs<u16> for NoDelay {
    fn delay_us(&mut self, _: u16) {}
}

impl DelayMs<u8> for NoDelay {
    fn delay_ms(&mut self, _: u8) {}
}

fn name<T, E>(result: &Result<T, E>) -> &'static str {
    if result.is_ok() { "Ok" } else { "Err" }
}

fn main() {
    let refused = Rc::new(Cell::new(0));
    let lcd = HD44780::new_i2c(Empty(refused.clone()), 0x27, &mut NoDelay);
    print!("{}", name(&lcd));
    if let Ok(mut lcd) = lcd {
        print!(" {}", name(&lcd.write_str("10.99.0.2", &mut NoDelay)));
        print!(" {}", name(&lcd.set_cursor_pos(0x40, &mut NoDelay)));
    }
    println!(" {}", refused.get());
    println!("{}", name(&HD44780::new_4bit(Pin, Pin, Pin, Pin, Pin, Pin, &mut NoDelay)));
}
RUST
}

look() {
    crate-program >out
    expect "start, text and cursor" "Ok Ok Ok" "$(sed -n '1s/ [0-9]*$//p' out)"
    expect "refused transfers, more than 50" yes "$(answer test "$(awk 'NR == 1 { print $NF }' out)" -gt 50)"
    expect "over pins that fail" Err "$(sed -n 2p out)"
}

run_finding
