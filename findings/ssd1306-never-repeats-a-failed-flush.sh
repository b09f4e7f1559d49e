#!/usr/bin/env bash
# The crate ssd1306 sends the changed part of its buffer with `flush()` and forgets what has changed before the first byte is out. Where the
# bus refuses it (a loose plug, a busy bus), `flush()` returns the error, the next one returns Ok and sends nothing at all: the old text
# stays on the display until other pixels change, and then only these are sent. The same picture drawn again counts as changed.
#
# Seen with ssd1306 0.10.0 (buffered graphics mode). The documentation: "only updates the parts of the display that have changed since the last
# flush"; an expert expects a flush that failed not to count, so that flushing again is enough.
# Output: first flush "Err", bytes of the second "Ok 0"; after one pixel elsewhere fewer than 40 bytes; the pixel of the first is not lit.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
crates=(ssd1306=0.10.0 embedded-hal=1.0.0)

program() {
    cat <<'RUST'
use embedded_hal::i2c::{ErrorKind, ErrorType, I2c, NoAcknowledgeSource, Operation, SevenBitAddress};
use ssd1306::{I2CDisplayInterface, Ssd1306, prelude::*};
use std::{cell::RefCell, rc::Rc};

/// What the bus does, and the bytes of data that went to the display.
#[derive(Default)]
struct State {
    refuses: bool,
    data: Vec<u8>,
}

struct Bus(Rc<RefCell<State>>);

impl ErrorType for Bus {
    type Error = ErrorKind;
}

impl I2c<SevenBitAddress> for Bus {
    fn transaction(&mut self, _: u8, operations: &mut [Operation<'_>]) -> Result<(), ErrorKind> {
        let mut state = self.0.borrow_mut();
        if state.refuses {
            return Err(ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address));
        }
        for operation in operations {
            if let Operation::Write([0x40, data @ ..]) = operation {
                state.data.extend_from_slice(data);
            }
        }
        Ok(())
    }
}

fn main() {
    let state = Rc::new(RefCell::new(State::default()));
    let interface = I2CDisplayInterface::new(Bus(state.clone()));
    let mut display = Ssd1306::new(interface, DisplaySize128x64, DisplayRotation::Rotate0).into_buffered_graphics_mode();
    display.init().unwrap();
    display.flush().unwrap();
    state.borrow_mut().data.clear();

    display.set_pixel(10, 3, true);
    state.borrow_mut().refuses = true;
    println!("{}", if display.flush().is_ok() { "Ok" } else { "Err" });
    state.borrow_mut().refuses = false;
    println!("{} {}", if display.flush().is_ok() { "Ok" } else { "Err" }, state.borrow().data.len());
    display.set_pixel(100, 60, true);
    display.flush().unwrap();
    let lit: u32 = state.borrow().data.iter().map(|octet| octet.count_ones()).sum();
    println!("{} {lit}", state.borrow().data.len());
}
RUST
}

look() {
    crate-program >out
    expect "flush while the bus refuses it" Err "$(sed -n 1p out)"
    expect "flush again: result, bytes of data" "Ok 0" "$(sed -n 2p out)"
    echo "after another pixel: $(sed -n '3s/ .*//p' out) bytes"
    expect "fewer than 40" yes "$(answer test "$(sed -n '3s/ .*//p' out)" -lt 40)"
    expect "lit pixels that were sent, of two" 1 "$(sed -n '3s/.* //p' out)"
}

run_finding
