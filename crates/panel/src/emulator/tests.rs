//! Tests the emulated controller with third-party drivers, so that our driver and the emulator
//! cannot share an error.

use embedded_hal::i2c::I2c;
use embedded_hal_02::blocking::delay::{DelayMs, DelayUs};
use embedded_hal_02::blocking::i2c::Write as OldWrite;
use hd44780_driver::{Cursor, CursorBlink, Direction, Display, DisplayMode, HD44780};

use super::*;
use crate::gpio::{Gpio, Pins as Lines};
use crate::hd44780::Hd44780;
use crate::wiring::Wiring;
use crate::{CharDisplay, hd44780::Transport};
use crate::{Charset, Frame, Geometry};

const SIXTEEN: Geometry = Geometry { columns: 16, rows: 2 };

/// Adapts the emulator to embedded-hal 0.2.
struct Old<T>(T);

impl OldWrite for Old<Backpack> {
    type Error = EmulatedError;
    fn write(&mut self, address: u8, bytes: &[u8]) -> Result<(), Self::Error> {
        I2c::write(&mut self.0, address, bytes)
    }
}

impl DelayMs<u8> for Old<Clock> {
    fn delay_ms(&mut self, ms: u8) {
        self.0.pass(Duration::from_millis(u64::from(ms)));
    }
}

impl DelayUs<u16> for Old<Clock> {
    fn delay_us(&mut self, us: u16) {
        self.0.pass(Duration::from_micros(u64::from(us)));
    }
}

type Oracle = HD44780<hd44780_driver::bus::I2CBus<Old<Backpack>>>;

fn oracle(backpack: &Backpack, delay: &mut Old<Clock>) -> Oracle {
    delay.0.pass(Duration::from_millis(50));
    let mut lcd = HD44780::new_i2c(Old(backpack.clone()), 0x27, delay).unwrap();
    let mode = DisplayMode {
        display: Display::On,
        cursor_visibility: Cursor::Invisible,
        cursor_blink: CursorBlink::Off,
    };
    lcd.set_display_mode(mode, delay).unwrap();
    lcd
}

fn bench() -> (Backpack, Old<Clock>) {
    let clock = Clock::simulated();
    (Backpack::new(clock.clone(), 0x27, Wiring::default()), Old(clock))
}

#[test]
fn a_third_party_driver_works() {
    let (backpack, mut delay) = bench();
    let mut lcd = oracle(&backpack, &mut delay);
    lcd.write_str("10.99.0.126", &mut delay).unwrap();
    lcd.set_cursor_pos(0x40, &mut delay).unwrap();
    lcd.write_str("3/3 up  eth1", &mut delay).unwrap();
    assert_eq!(
        backpack.seen(SIXTEEN, Charset::A00).lines(),
        ["10.99.0.126     ", "3/3 up  eth1    "]
    );
    assert_eq!(backpack.chip().violations(), [] as [String; 0]);
    assert!(backpack.chip().lit());
}

#[test]
fn shifting_the_display_moves_both_lines() {
    let (backpack, mut delay) = bench();
    let mut lcd = oracle(&backpack, &mut delay);
    lcd.write_str("abcdef", &mut delay).unwrap();
    lcd.set_cursor_pos(0x40, &mut delay).unwrap();
    lcd.write_str("123456", &mut delay).unwrap();
    lcd.shift_display(Direction::Left, &mut delay).unwrap();
    lcd.shift_display(Direction::Left, &mut delay).unwrap();
    assert_eq!(
        backpack.seen(SIXTEEN, Charset::A00).lines(),
        ["cdef            ", "3456            "]
    );
    lcd.reset(&mut delay).unwrap();
    assert_eq!(
        backpack.seen(SIXTEEN, Charset::A00).lines(),
        ["abcdef          ", "123456          "]
    );
}

#[test]
fn the_address_wraps_from_the_first_line_to_the_second() {
    let (backpack, mut delay) = bench();
    let mut lcd = oracle(&backpack, &mut delay);
    let text: String = ('a'..='z').chain('A'..='Z').chain('0'..='9').chain('a'..='r').collect();
    lcd.write_str(&text, &mut delay).unwrap();
    let twenty = Geometry { columns: 20, rows: 4 };
    let (a, b) = text.split_at(40);
    let expected = [&a[..20], &b[..20], &a[20..], &b[20..]];
    assert_eq!(backpack.seen(twenty, Charset::A00).lines(), expected);
}

#[test]
fn each_driver_takes_over_from_the_other() {
    let (backpack, mut delay) = bench();
    let mut lcd = oracle(&backpack, &mut delay);
    lcd.set_autoscroll(true, &mut delay).unwrap();
    lcd.write_str("left behind, scrolled away and shifted", &mut delay).unwrap();
    let expander = crate::pcf8574::Pcf8574::new(
        backpack.clone(),
        delay.0.clone(),
        0x27,
        Wiring::default(),
        "bus",
        100_000,
    );
    let mut ours = Hd44780::new(expander, SIXTEEN, Charset::A00);
    let frame = Frame::from_lines(SIXTEEN, &["10.99.0.126", "ours           ♥"]);
    ours.show(&frame, true).unwrap();
    assert_eq!(backpack.seen(SIXTEEN, Charset::A00), frame);
    let mut lcd = oracle(&backpack, &mut delay);
    lcd.write_str("theirs", &mut delay).unwrap();
    assert_eq!(
        backpack.seen(SIXTEEN, Charset::A00).lines(),
        ["theirs          ", "                "]
    );
}

#[test]
fn writes_while_busy_are_violations() {
    let (backpack, mut delay) = bench();
    let mut lcd = oracle(&backpack, &mut delay);
    lcd.write_str("x", &mut delay).unwrap();
    let mut expander = crate::pcf8574::Pcf8574::new(
        backpack.clone(),
        delay.0.clone(),
        0x27,
        Wiring::default(),
        "bus",
        100_000,
    );
    use crate::hd44780::plan::Op;
    // Clear takes 1.52 ms; at 100 kHz the next character arrives after 0.2 ms.
    expander.execute(&[Op::Command(0x01), Op::Data(b'y')]).unwrap();
    let violations = backpack.chip().violations().to_vec();
    assert_eq!(violations.len(), 1, "{violations:?}");
    assert!(violations[0].contains("busy"), "{violations:?}");
}

#[test]
fn rs_must_be_set_up_before_e() {
    let (mut backpack, mut delay) = bench();
    oracle(&backpack, &mut delay);
    backpack.write(0x27, &[0b0000_1000, 0b0011_1101]).unwrap();
    assert!(backpack.chip().violations().iter().any(|violation| violation.contains("as E rose")));
}

#[test]
fn the_log_has_every_transaction() {
    let held = tempfile::tempdir().unwrap();
    let folder = held.path().join("file");
    let (backpack, delay) = bench();
    delay.0.pass(Duration::from_millis(50));
    let mut backpack =
        backpack.with_faults(FaultInjector::new(Script::default(), Some(&folder)).unwrap());
    backpack.write(0x27, &[0x0c, 0x08]).unwrap();
    backpack.write(0x26, &[0x0c]).unwrap_err();
    let log = std::fs::read_to_string(&folder).unwrap();
    let fields: Vec<Vec<&str>> = log.lines().map(|line| line.split(' ').collect()).collect();
    assert_eq!(fields[0][1..], ["T", "27", "0c08"]);
    assert_eq!(fields[1][1..], ["T", "26", ""]);
    assert!(fields[0][0].parse::<u128>().unwrap() > 1_600_000_000_000_000_000);
}

/// The same chip behind GPIO lines.
#[derive(Debug, Clone)]
struct Line {
    number: u8,
    state: Arc<std::sync::Mutex<(Chip, u8)>>,
    clock: Clock,
}

impl embedded_hal::digital::ErrorType for Line {
    type Error = std::convert::Infallible;
}

impl embedded_hal::digital::OutputPin for Line {
    fn set_low(&mut self) -> Result<(), Self::Error> {
        self.set(false);
        Ok(())
    }
    fn set_high(&mut self) -> Result<(), Self::Error> {
        self.set(true);
        Ok(())
    }
}

impl Line {
    fn set(&self, high: bool) {
        let mut state = self.state.lock().unwrap();
        let bit = 1 << self.number;
        state.1 = if high { state.1 | bit } else { state.1 & !bit };
        let pins = Wiring::named("rw-grounded").unwrap().decode(state.1);
        state.0.drive(pins, self.clock.now());
    }
}

#[test]
fn the_driver_works_over_gpio_lines() {
    let clock = Clock::simulated();
    let state =
        Arc::new(std::sync::Mutex::new((Chip::powered(clock.now()).with_oscillator(190.0), 0)));
    let line = |number| Line { number, state: Arc::clone(&state), clock: clock.clone() };
    let lines = Lines {
        rs: line(0),
        e: line(2),
        data: [line(4), line(5), line(6), line(7)],
        backlight: Some(line(3)),
    };
    let mut display = Hd44780::new(Gpio::new(lines, clock.clone(), "chip"), SIXTEEN, Charset::A00);
    let frame = Frame::from_lines(SIXTEEN, &["over GPIO", "lines          ♥"]);
    display.show(&frame, true).unwrap();
    let chip = state.lock().unwrap().0.clone();
    assert_eq!(chip.seen(SIXTEEN, Charset::A00), frame);
    assert_eq!(chip.violations(), [] as [String; 0]);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    #[test]
    fn both_drivers_show_the_same(first in "[ -\\[\\]-}]{0,20}", second in "[ -\\[\\]-}]{0,20}") {
        let twenty = Geometry { columns: 20, rows: 2 };
        let (theirs, mut delay) = bench();
        let mut lcd = oracle(&theirs, &mut delay);
        lcd.write_str(&first, &mut delay).unwrap();
        lcd.set_cursor_pos(0x40, &mut delay).unwrap();
        lcd.write_str(&second, &mut delay).unwrap();
        let (ours, delay) = bench();
        let wiring = Wiring::default();
        let expander = crate::pcf8574::Pcf8574::new(ours.clone(), delay.0, 0x27, wiring, "bus", 100_000);
        let frame = Frame::from_lines(twenty, &[&first, &second]);
        Hd44780::new(expander, twenty, Charset::A00).show(&frame, true).unwrap();
        proptest::prop_assert_eq!(ours.chip().codes(twenty), theirs.chip().codes(twenty));
        proptest::prop_assert_eq!(ours.seen(twenty, Charset::A00), frame);
    }
}
