//! A brief power loss of the display that no transfer notices.

use std::sync::{Arc, Mutex};

use embedded_hal::i2c::{ErrorType, I2c, Operation};

use super::*;
use crate::emulator::EmulatedError;

const PAGE: [&str; 2] = ["10.99.0.126", "3/3 up         ♥"];
const BEAT: [&str; 2] = ["10.99.0.126", "3/3 up"];

fn page(lines: [&str; 2]) -> Vec<String> {
    Frame::from_lines(SIXTEEN, &lines).lines()
}

fn lose_power(backpack: &Backpack, clock: &Clock) {
    backpack.inject(Fault::Power);
    clock.pass(Duration::from_millis(200));
}

#[test]
fn without_a_check_the_display_stays_blank() {
    let mut bench = Bench::new(SIXTEEN);
    bench.expect(&PAGE);
    lose_power(&bench.backpack, &bench.clock);
    bench.show(&BEAT).unwrap();
    assert_ne!(bench.seen(), page(BEAT));
}

#[test]
fn a_check_before_the_next_page_restores_all_of_it() {
    for known in WIRINGS {
        let mut bench = Bench::with(SIXTEEN, Charset::A00, known.wiring, |backpack| backpack);
        bench.expect(&PAGE);
        for lines in [BEAT, PAGE] {
            lose_power(&bench.backpack, &bench.clock);
            assert!(bench.display.check(), "{}", known.name);
            bench.show(&lines).unwrap();
            assert_eq!(bench.seen(), page(lines), "{}", known.name);
        }
    }
}

#[test]
fn a_check_costs_two_bytes_of_time_and_sends_nothing() {
    let mut bench = Bench::new(SIXTEEN);
    assert!(bench.display.check(), "nothing was sent yet: nothing to compare");
    assert_eq!(bench.clock.now(), Duration::ZERO);
    bench.expect(&PAGE);
    let (before, traffic) = (bench.clock.now(), bench.backpack.traffic());
    assert!(bench.display.check());
    assert_eq!(bench.clock.now() - before, Duration::from_micros(200));
    assert_eq!(bench.backpack.traffic(), traffic);
    assert!(bench.expect(&BEAT) <= 10, "no more than a beat");
}

/// A bus with faulty reads.
#[derive(Clone)]
struct Odd {
    backpack: Backpack,
    /// What a read byte becomes.
    reading: fn(u8) -> Result<u8, EmulatedError>,
    reads: Arc<Mutex<u32>>,
}

impl ErrorType for Odd {
    type Error = EmulatedError;
}

impl I2c for Odd {
    fn transaction(
        &mut self,
        address: u8,
        operations: &mut [Operation<'_>],
    ) -> Result<(), EmulatedError> {
        self.backpack.transaction(address, operations)?;
        for operation in operations {
            if let Operation::Read(bytes) = operation {
                *self.reads.lock().unwrap() += 1;
                for byte in bytes.iter_mut() {
                    *byte = (self.reading)(*byte)?;
                }
            }
        }
        Ok(())
    }
}

fn odd(reading: fn(u8) -> Result<u8, EmulatedError>) -> (Odd, Clock, Hd44780<Pcf8574<Odd, Clock>>) {
    let clock = Clock::simulated();
    let backpack = Backpack::new(clock.clone(), 0x27, Wiring::default());
    let odd = Odd { backpack, reading, reads: Arc::default() };
    let expander =
        Pcf8574::new(odd.clone(), clock.clone(), 0x27, Wiring::default(), "bus", 100_000);
    (odd, clock, Hd44780::new(expander, SIXTEEN, Charset::A00))
}

#[test]
fn unsupported_reads_are_not_repeated() {
    type Reading = fn(u8) -> Result<u8, EmulatedError>;
    for (reading, reads) in [
        ((|_| Err(EmulatedError::Nack)) as Reading, 3),
        (|_| Err(EmulatedError::TooLong), 3),
        (|_| Ok(0xff), 2),
    ] {
        let (odd, _, mut display) = odd(reading);
        let mut looks = Vec::new();
        for lines in [PAGE, BEAT, PAGE, BEAT, PAGE, BEAT] {
            looks.push(display.check());
            display.show(&Frame::from_lines(SIXTEEN, &lines), true).unwrap();
            assert_eq!(odd.backpack.seen(SIXTEEN, Charset::A00).lines(), page(lines));
        }
        assert_eq!((looks.first(), looks.last()), (Some(&true), Some(&false)), "{looks:?}");
        assert_eq!(*odd.reads.lock().unwrap(), reads);
    }
}

#[test]
fn a_pin_that_the_backlight_pulls_low_is_no_power_loss() {
    let (odd, clock, mut display) = odd(|found| Ok(found & !0x08));
    display.show(&Frame::from_lines(SIXTEEN, &PAGE), true).unwrap();
    let before = display.bytes();
    assert!(display.check());
    display.show(&Frame::from_lines(SIXTEEN, &BEAT), true).unwrap();
    assert!(display.bytes() - before <= 10, "no more than a beat");
    lose_power(&odd.backpack, &clock);
    assert!(display.check());
    display.show(&Frame::from_lines(SIXTEEN, &PAGE), true).unwrap();
    assert_eq!(odd.backpack.seen(SIXTEEN, Charset::A00).lines(), page(PAGE));
    assert!(display.check(), "it was a loss of power: reading is good");
}
