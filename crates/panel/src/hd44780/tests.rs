//! Tests of the driver with the emulated chip.

mod power;

use proptest::prelude::*;

use super::*;
use crate::device::DeviceError;
use crate::emulator::{Backpack, Clock, Fault};
use crate::pcf8574::Pcf8574;
use crate::wiring::WIRINGS;
use crate::wiring::Wiring;

const SIXTEEN: Geometry = Geometry { columns: 16, rows: 2 };
const TWENTY: Geometry = Geometry { columns: 20, rows: 4 };

type Driver = Hd44780<Pcf8574<Backpack, Clock>>;

struct Bench {
    clock: Clock,
    backpack: Backpack,
    display: Driver,
    geometry: Geometry,
    charset: Charset,
}

impl Bench {
    fn new(geometry: Geometry) -> Self {
        Self::with(geometry, Charset::A00, Wiring::default(), |backpack| backpack)
    }

    fn with(
        geometry: Geometry,
        charset: Charset,
        wiring: Wiring,
        adapt: impl FnOnce(Backpack) -> Backpack,
    ) -> Self {
        let clock = Clock::simulated();
        let backpack = adapt(Backpack::new(clock.clone(), 0x27, wiring));
        let expander = Pcf8574::new(backpack.clone(), clock.clone(), 0x27, wiring, "bus", 100_000);
        let display = Hd44780::new(expander, geometry, charset);
        Self { clock, backpack, display, geometry, charset }
    }

    fn show(&mut self, lines: &[&str]) -> Result<u64, DeviceError> {
        let before = self.display.bytes();
        self.display.show(&Frame::from_lines(self.geometry, lines), true)?;
        Ok(self.display.bytes() - before)
    }

    fn seen(&self) -> Vec<String> {
        self.backpack.seen(self.geometry, self.charset).lines()
    }

    /// Shows a page and checks what is visible.
    fn expect(&mut self, lines: &[&str]) -> u64 {
        let bytes = self.show(lines).unwrap();
        assert_eq!(self.seen(), Frame::from_lines(self.geometry, lines).lines());
        assert_eq!(self.backpack.chip().violations(), [] as [String; 0]);
        bytes
    }
}

#[test]
fn a_page_appears_on_every_geometry_and_wiring() {
    for geometry in Geometry::ALL {
        for known in WIRINGS {
            let mut bench = Bench::with(geometry, Charset::A00, known.wiring, |backpack| backpack);
            let rows: Vec<String> = (0..geometry.rows)
                .map(|row| {
                    ('A'..).skip(usize::from(row)).take(usize::from(geometry.columns)).collect()
                })
                .map(|row: String| row.replace('\\', "/"))
                .collect();
            let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
            bench.expect(&rows);
            assert!(bench.backpack.chip().lit(), "{}", known.name);
        }
    }
}

#[test]
fn updates_cost_the_golden_numbers_of_bytes() {
    let mut bench = Bench::new(SIXTEEN);
    bench.expect(&["aaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaa"]);
    // Turning the display on was an instruction, so RS is already low: one change less.
    assert_eq!(bench.expect(&["cccccccccccccccc", "cccccccccccccccc"]), 139);
    assert_eq!(bench.expect(&["bbbbbbbbbbbbbbbb", "bbbbbbbbbbbbbbbb"]), 140);
    assert_eq!(bench.expect(&["bbbbbxybbbbbbbbb", "bbbbbbbbbbbbbbbb"]), 14);
    assert_eq!(bench.expect(&["bbbbbxybbbbbbbbb", "bbbbbbbbbbbbbbbb"]), 0);
    let mut bench = Bench::new(TWENTY);
    bench.expect(&["aaaaaaaaaaaaaaaaaaaa"; 4]);
    let full = bench.expect(&["bbbbbbbbbbbbbbbbbbbb"; 4]);
    assert!((320..=326).contains(&full), "{full}");
}

#[test]
fn an_update_is_one_transaction_and_takes_no_longer_than_the_bus() {
    let mut bench = Bench::new(SIXTEEN);
    bench.expect(&["10.99.0.126", "3/3 up"]);
    let before = (bench.backpack.traffic(), bench.clock.now());
    let bytes = bench.expect(&["10.99.0.199", "2/3 up"]);
    let after = (bench.backpack.traffic(), bench.clock.now());
    assert_eq!(after.0.0 - before.0.0, 1);
    assert_eq!(after.1 - before.1, Duration::from_micros((9 * (bytes + 1) + 2) * 10));
}

#[test]
fn custom_glyphs_are_loaded_and_the_heartbeat_costs_ten_bytes() {
    let mut bench = Bench::new(SIXTEEN);
    bench.expect(&["10.0.0.1 ↑", "3/3 up ✓       ♥"]);
    bench.expect(&["10.0.0.1 ↑", "3/3 up ✓        "]);
    assert_eq!(bench.expect(&["10.0.0.1 ↑", "3/3 up ✓       ♥"]), 10);
    // More glyphs than slots, a few at a time.
    bench.expect(&["▁▂▃▄▅▆▇", "               ♥"]);
    bench.expect(&["●○⌂⚡↑↓⇄", "               ♥"]);
    bench.expect(&["10.0.0.1 ↑", "3/3 up ✓       ♥"]);
}

#[test]
fn timing_holds_for_a_slow_controller_on_a_fast_bus() {
    for (clock_hz, oscillator) in
        [(100_000, 190.0), (400_000, 190.0), (1_000_000, 190.0), (100_000, 350.0)]
    {
        let clock = Clock::simulated();
        let wiring = Wiring::default();
        let backpack = Backpack::new(clock.clone(), 0x3f, wiring)
            .with_clock_hz(clock_hz)
            .with_oscillator(oscillator);
        let expander = Pcf8574::new(backpack.clone(), clock.clone(), 0x3f, wiring, "bus", clock_hz);
        let mut display = Hd44780::new(expander, SIXTEEN, Charset::A02);
        for lines in [["Grüße, é", "♥"], ["another", "page ♥"]] {
            let frame = Frame::from_lines(SIXTEEN, &lines);
            display.show(&frame, true).unwrap();
            assert_eq!(backpack.seen(SIXTEEN, Charset::A02), frame);
        }
        display.refresh().unwrap();
        assert_eq!(backpack.chip().violations(), [] as [String; 0], "{clock_hz} Hz");
    }
}

#[test]
fn long_messages_are_split_for_a_limited_adapter() {
    for longest in [9, 10, 32, 64] {
        let mut bench = Bench::with(SIXTEEN, Charset::A00, Wiring::default(), |backpack| {
            backpack.with_longest_message(longest)
        });
        bench.expect(&["10.99.0.126", "3/3 up  eth1   ♥"]);
        bench.expect(&["192.168.100.200", "1/3 up  wlan0  ♥"]);
    }
}

#[test]
fn a_missing_chip_is_absent_without_a_wait() {
    let mut bench = Bench::new(SIXTEEN);
    bench.backpack.inject(Fault::Unplug);
    let error = bench.show(&["x"]).unwrap_err();
    assert!(matches!(error, DeviceError::Absent(_)), "{error}");
    assert!(error.to_string().contains("0x27"), "{error}");
    assert!(bench.clock.now() < Duration::from_millis(1));
    bench.backpack.inject(Fault::Plug);
    bench.expect(&["back"]);
}

#[test]
fn the_next_page_recovers_from_every_failure() {
    let faults = [
        Fault::Nack { count: 1, bytes: 0 },
        Fault::Nack { count: 3, bytes: 0 },
        Fault::Nack { count: 1, bytes: 1 },
        Fault::Nack { count: 1, bytes: 2 },
        Fault::Nack { count: 2, bytes: 3 },
        Fault::Stuck(Duration::from_secs(5)),
    ];
    for fault in faults {
        let mut bench = Bench::new(SIXTEEN);
        bench.expect(&["10.99.0.126", "3/3 up"]);
        bench.backpack.inject(fault);
        assert!(bench.show(&["10.99.0.127", "2/3 up"]).is_err(), "{fault:?}");
        let healed = (0..5).any(|_| bench.show(&["10.99.0.127", "2/3 up"]).is_ok());
        assert!(healed, "{fault:?}");
        assert_eq!(
            bench.seen(),
            Frame::from_lines(SIXTEEN, &["10.99.0.127", "2/3 up"]).lines(),
            "{fault:?}"
        );
    }
}

#[test]
fn a_glitch_corrupts_until_the_next_refresh() {
    for nibble in 0..16 {
        let mut bench = Bench::new(SIXTEEN);
        bench.expect(&["10.99.0.126", "3/3 up         ♥"]);
        bench.backpack.inject(Fault::Glitch(Some(nibble)));
        bench.show(&["10.99.0.99", "0/3 up         ♥"]).unwrap();
        assert_ne!(
            bench.seen(),
            Frame::from_lines(SIXTEEN, &["10.99.0.99", "0/3 up         ♥"]).lines()
        );
        bench.display.refresh().unwrap();
        assert_eq!(
            bench.seen(),
            Frame::from_lines(SIXTEEN, &["10.99.0.99", "0/3 up         ♥"]).lines(),
            "{nibble:x}"
        );
    }
}

#[test]
fn a_refresh_does_not_flash() {
    let mut bench = Bench::new(SIXTEEN);
    bench.expect(&["10.99.0.126", "3/3 up         ♥"]);
    let before = bench.clock.now();
    bench.display.refresh().unwrap();
    assert_eq!(
        bench.seen(),
        Frame::from_lines(SIXTEEN, &["10.99.0.126", "3/3 up         ♥"]).lines()
    );
    assert_eq!(bench.backpack.chip().violations(), [] as [String; 0]);
    assert!(bench.clock.now() - before < Duration::from_millis(60));
}

#[test]
fn a_refresh_disturbs_the_page_for_at_most_a_millisecond() {
    struct Watched {
        backpack: Backpack,
        clock: Clock,
        blank: Duration,
    }
    impl embedded_hal::i2c::ErrorType for Watched {
        type Error = crate::emulator::EmulatedError;
    }
    impl embedded_hal::i2c::I2c for Watched {
        fn transaction(
            &mut self,
            address: u8,
            operations: &mut [embedded_hal::i2c::Operation<'_>],
        ) -> Result<(), Self::Error> {
            for operation in operations {
                let embedded_hal::i2c::Operation::Write(bytes) = operation else { continue };
                // One byte at a time, to check what is visible after each.
                for byte in bytes.iter() {
                    let before = self.clock.now();
                    embedded_hal::i2c::I2c::write(&mut self.backpack, address, &[*byte])?;
                    let page = Frame::from_lines(SIXTEEN, &["10.99.0.126", "3/3 up         ♥"]);
                    if self.backpack.seen(SIXTEEN, Charset::A00) != page {
                        self.blank += self.clock.now() - before;
                    }
                }
            }
            Ok(())
        }
    }
    let clock = Clock::simulated();
    let backpack = Backpack::new(clock.clone(), 0x27, Wiring::default());
    let watched = Watched { backpack, clock: clock.clone(), blank: Duration::ZERO };
    let watched = std::sync::Arc::new(std::sync::Mutex::new(watched));
    #[derive(Clone)]
    struct Shared(std::sync::Arc<std::sync::Mutex<Watched>>);
    impl embedded_hal::i2c::ErrorType for Shared {
        type Error = crate::emulator::EmulatedError;
    }
    impl embedded_hal::i2c::I2c for Shared {
        fn transaction(
            &mut self,
            address: u8,
            operations: &mut [embedded_hal::i2c::Operation<'_>],
        ) -> Result<(), Self::Error> {
            self.0.lock().unwrap().transaction(address, operations)
        }
    }
    let expander =
        Pcf8574::new(Shared(watched.clone()), clock, 0x27, Wiring::default(), "bus", 100_000);
    let mut display = Hd44780::new(expander, SIXTEEN, Charset::A00);
    display.show(&Frame::from_lines(SIXTEEN, &["10.99.0.126", "3/3 up         ♥"]), true).unwrap();
    watched.lock().unwrap().blank = Duration::ZERO;
    display.refresh().unwrap();
    let blank = watched.lock().unwrap().blank;
    assert!(
        blank < Duration::from_millis(3),
        "each byte alone takes twice its time here: {blank:?}"
    );
}

#[test]
fn the_backlight_costs_one_byte() {
    let mut bench =
        Bench::with(SIXTEEN, Charset::A00, Wiring::named("mjkdz").unwrap(), |backpack| backpack);
    bench.expect(&["x"]);
    let before = bench.display.bytes();
    bench.display.show(&Frame::from_lines(SIXTEEN, &["x"]), false).unwrap();
    assert_eq!(bench.display.bytes() - before, 1);
    assert!(!bench.backpack.chip().lit());
    let (transactions, _) = bench.backpack.traffic();
    bench.display.show(&Frame::from_lines(SIXTEEN, &["y"]), true).unwrap();
    assert!(bench.backpack.chip().lit());
    assert_eq!(bench.backpack.traffic().0, transactions + 1, "with a page it costs nothing");
}

fn frames(geometry: Geometry) -> impl Strategy<Value = Vec<Vec<String>>> {
    let row =
        proptest::string::string_regex(&format!("[ab ♥↑▁▂▃▄▅▆●○✓]{{0,{}}}", geometry.columns))
            .unwrap();
    proptest::collection::vec(proptest::collection::vec(row, usize::from(geometry.rows)), 1..8)
}

fn any_frames() -> impl Strategy<Value = (Geometry, Vec<Vec<String>>)> {
    proptest::sample::select(Geometry::ALL.to_vec())
        .prop_flat_map(|geometry| frames(geometry).prop_map(move |frames| (geometry, frames)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn the_display_always_equals_the_frame_and_never_costs_more_than_a_redraw((geometry, sequence) in any_frames()) {
        let mut bench = Bench::new(geometry);
        for lines in sequence {
            let frame = Frame::from_lines(geometry, &lines);
            let before = bench.display.bytes();
            let first = before == 0;
            bench.display.show(&frame, true).unwrap();
            // Glyphs beyond the eighth have fallbacks: compare with the charset's rendering of the
            // frame.
            let wanted = bench.charset.cells(&frame);
            let chip = bench.backpack.chip();
            let codes = chip.codes(geometry).concat();
            for (code, cell) in codes.into_iter().zip(wanted) {
                match cell {
                    Cell::Rom(rom) => prop_assert_eq!(code, rom),
                    Cell::Custom(index) => prop_assert_eq!(chip.dots(bench.charset, code), GLYPHS[index].rows),
                }
            }
            prop_assert!(chip.violations().is_empty(), "{:?}", chip.violations());
            if !first {
                let mut all = Vec::new();
                let wanted: Vec<_> = (0..usize::from(geometry.rows))
                    .flat_map(|row| (0..usize::from(geometry.columns)).map(move |column| cell(geometry, row, column)))
                    .collect();
                let mut target = [None; DDRAM];
                wanted.into_iter().for_each(|cell| target[cell] = Some(0));
                plan(Memory::Ddram, &mut [None; DDRAM], &target, None, &mut all);
                let full = plan::cost(&all, Some(true)) + 8 * (6 + 32);
                prop_assert!(bench.display.bytes() - before <= full as u64);
            }
        }
    }
}

fn any_fault() -> impl Strategy<Value = Option<Fault>> {
    prop_oneof![
        4 => Just(None),
        1 => (1..3_u32, 0..20_usize).prop_map(|(count, bytes)| Some(Fault::Nack { count, bytes })),
        1 => proptest::option::of(0..16_u8).prop_map(|nibble| Some(Fault::Glitch(nibble))),
        1 => Just(Some(Fault::Unplug)),
        1 => Just(Some(Fault::Plug)),
        1 => Just(Some(Fault::Power)),
        1 => Just(Some(Fault::Stuck(Duration::from_secs(1)))),
    ]
}

proptest! {
    #[test]
    fn a_refresh_restores_the_page_from_any_state(
        story in proptest::collection::vec((any_fault(), "[a-z♥]{0,16}", "[0-9♥↑]{0,16}"), 1..12),
    ) {
        let mut bench = Bench::new(SIXTEEN);
        for (fault, first, second) in story {
            if let Some(fault) = fault {
                bench.backpack.inject(fault);
                bench.clock.pass(Duration::from_millis(20));
            }
            let _ = bench.show(&[&first, &second]);
        }
        if bench.show(&["at last"]).is_err() {
            bench.backpack.inject(Fault::Plug);
        }
        // Two injected refusals may be pending.
        let shown = (0..4).any(|_| bench.show(&["10.99.0.126", "3/3 up         ♥"]).is_ok());
        prop_assert!(shown);
        bench.display.refresh().unwrap();
        prop_assert_eq!(bench.seen(), Frame::from_lines(SIXTEEN, &["10.99.0.126", "3/3 up         \
             ♥"]).lines());
    }
}
