use std::sync::{Arc, Mutex};
use std::time::Duration;

use embedded_hal::i2c::{ErrorType, I2c, Operation};
use proptest::prelude::*;

use super::*;
use crate::emulator::{Clock, EmulatedError, Fault, OledChip, OledPanel};

const CHARSET: Charset = Charset::A02;

/// A driver with an emulated display.
struct Bench {
    clock: Clock,
    panel: OledPanel,
    display: Oled<OledPanel>,
    resolution: Resolution,
}

impl Bench {
    fn new(controller: Controller, resolution: Resolution) -> Self {
        Self::with(controller, Some(controller), resolution, |panel| panel)
    }

    fn with(
        controller: Controller,
        asked: Option<Controller>,
        resolution: Resolution,
        change: impl FnOnce(OledPanel) -> OledPanel,
    ) -> Self {
        let clock = Clock::simulated();
        let panel = change(OledPanel::new(clock.clone(), 0x3c, controller, resolution));
        let display = Oled::new(panel.clone(), 0x3c, asked, resolution, CHARSET, "bus");
        Self { clock, panel, display, resolution }
    }

    fn frame(&self, lines: &[&str]) -> Frame {
        Frame::from_lines(self.resolution.geometry(), lines)
    }

    fn show(&mut self, lines: &[&str]) -> Result<(), DeviceError> {
        let frame = self.frame(lines);
        self.display.show(&frame, true)
    }

    fn expect(&mut self, lines: &[&str]) {
        self.show(lines).unwrap();
        assert_eq!(self.panel.seen(CHARSET).lines(), self.frame(lines).lines());
        assert_eq!(self.panel.chip().violations(), [] as [&str; 0]);
    }
}

fn all() -> impl Iterator<Item = (Controller, Resolution)> {
    Controller::ALL
        .into_iter()
        .flat_map(|controller| Resolution::ALL.map(|resolution| (controller, resolution)))
}

#[test]
fn every_controller_and_resolution_shows_the_page() {
    for (controller, resolution) in all() {
        let mut bench = Bench::new(controller, resolution);
        bench.expect(&["192.168.100.200", "3/3 up  eth1   ♥", "▁▂▃▄ ↑↓✓✗ é ü ß", "#Wq@%~\\"]);
        bench.expect(&["10.99.0.126", "all OK         ♥"]);
    }
}

#[test]
fn the_controller_is_detected_by_its_status_byte() {
    for (controller, resolution) in all() {
        let mut bench = Bench::with(controller, None, resolution, |panel| panel);
        bench.expect(&["10.99.0.126", "3/3 up"]);
        assert_eq!(bench.display.controller(), controller);
    }
    // The other bit is display on or off.
    assert_eq!(Controller::by_status(0x46), Some(Controller::Ssd1306));
    assert_eq!(Controller::by_status(0x08), Some(Controller::Sh1106));
    // The pins of an expander, and inconclusive values.
    for status in [0xff, 0x00, 0x7f, 0x38, 0x18] {
        assert_eq!(Controller::by_status(status), None, "{status:#04x}");
    }
}

/// Two columns are missing on one side and noise is on the other: this is what `detect --try` shows
/// the user.
#[test]
fn the_wrong_controller_shows_a_shifted_picture() {
    for (real, asked) in
        [(Controller::Ssd1306, Controller::Sh1106), (Controller::Sh1106, Controller::Ssd1306)]
    {
        let mut bench = Bench::with(real, Some(asked), Resolution::P128x64, |panel| panel);
        bench.show(&["10.99.0.126", "3/3 up"]).unwrap();
        assert_ne!(bench.panel.seen(CHARSET), bench.frame(&["10.99.0.126", "3/3 up"]));
    }
}

#[test]
fn a_changed_octet_costs_its_pixels_and_their_addresses() {
    let mut bench = Bench::new(Controller::Ssd1306, Resolution::P128x64);
    bench.expect(&["192.168.1.17", "3/3 up  eth1"]);
    let (transactions, bytes) = bench.panel.traffic();
    bench.expect(&["192.168.1.23", "3/3 up  eth1"]);
    let (more_transactions, more) = bench.panel.traffic();
    // Two characters on two pages: 15 columns at most, page and column, two control bytes.
    assert!(more - bytes <= 2 * (15 + 3 + 2), "{}", more - bytes);
    assert!(more_transactions - transactions <= 4);
    bench.expect(&["192.168.1.23", "3/3 up  eth1"]);
    assert_eq!(bench.panel.traffic(), (more_transactions, more), "nothing for what stands there");
    assert_eq!(bench.display.bytes(), more);
}

#[test]
fn an_address_without_an_answer_is_absent() {
    let mut bench = Bench::new(Controller::Sh1106, Resolution::P128x32);
    bench.panel.inject(Fault::Unplug);
    let error = bench.show(&["x"]).unwrap_err();
    assert!(matches!(error, DeviceError::Absent(_)), "{error}");
    assert!(error.to_string().contains("0x3c on bus"), "{error}");
    bench.panel.inject(Fault::Plug);
    bench.expect(&["back"]);
}

#[test]
fn the_next_page_recovers_from_every_failure() {
    let faults = [
        Fault::Nack { count: 1, bytes: 0 },
        Fault::Nack { count: 1, bytes: 1 },
        Fault::Nack { count: 1, bytes: 2 },
        Fault::Nack { count: 3, bytes: 3 },
        Fault::Stuck(Duration::from_secs(5)),
    ];
    for fault in faults {
        let mut bench = Bench::new(Controller::Ssd1306, Resolution::P128x64);
        bench.expect(&["10.99.0.126", "3/3 up"]);
        bench.panel.inject(fault);
        assert!(bench.show(&["10.99.0.127", "2/3 up"]).is_err(), "{fault:?}");
        let healed = (0..5).any(|_| bench.show(&["10.99.0.127", "2/3 up"]).is_ok());
        assert!(healed, "{fault:?}");
        bench.expect(&["10.99.0.127", "2/3 up"]);
    }
}

#[test]
fn long_messages_are_split_for_a_limited_adapter() {
    for longest in [8, 9, 16, 32, 100] {
        let mut bench = Bench::with(Controller::Ssd1306, None, Resolution::P128x64, |panel| {
            panel.with_longest_message(longest)
        });
        bench.expect(&["10.99.0.126", "3/3 up  eth1   ♥"]);
        bench.expect(&["192.168.100.200", "1/3 up  wlan0  ♥"]);
    }
}

#[test]
fn a_power_loss_is_detected_and_redrawn() {
    for (controller, resolution) in all() {
        let mut bench = Bench::new(controller, resolution);
        bench.expect(&["10.99.0.126", "3/3 up"]);
        assert!(bench.display.check());
        bench.panel.inject(Fault::Power);
        assert!(!bench.panel.chip().is_on() || controller == Controller::Sh1106);
        assert!(bench.display.check(), "it can be seen, and is worth to be looked for again");
        bench.expect(&["10.99.0.126", "3/3 up"]);
        assert!(bench.display.check());
    }
}

#[test]
fn dark_turns_it_off_and_light_reinitialises() {
    let mut bench = Bench::new(Controller::Sh1106, Resolution::P128x64);
    bench.expect(&["10.99.0.126"]);
    let page = bench.frame(&["10.99.0.126"]);
    let before = bench.display.bytes();
    bench.display.show(&page, false).unwrap();
    assert_eq!(bench.display.bytes() - before, 2, "one command");
    assert!(!bench.panel.chip().is_on());
    assert!(bench.display.check(), "off is as it was sent");
    // With the display off a power loss cannot be detected.
    bench.panel.inject(Fault::Power);
    bench.expect(&["10.99.0.126"]);
}

#[test]
fn dimming_costs_one_command() {
    let mut bench = Bench::new(Controller::Ssd1306, Resolution::P128x64);
    bench.expect(&["10.99.0.126"]);
    let bright = bench.panel.chip().contrast();
    let before = bench.display.bytes();
    bench.display.dim(true);
    bench.expect(&["10.99.0.126"]);
    assert_eq!(bench.display.bytes() - before, 3);
    assert!(bench.panel.chip().contrast() < bright / 4);
    bench.display.refresh().unwrap();
    assert!(bench.panel.chip().contrast() < bright / 4, "a refresh leaves it dim");
    bench.display.dim(false);
    bench.expect(&["10.99.0.126"]);
    assert_eq!(bench.panel.chip().contrast(), bright);
}

#[test]
fn each_refresh_shifts_by_a_pixel_and_four_return_to_the_start() {
    let mut bench = Bench::new(Controller::Ssd1306, Resolution::P128x32);
    bench.expect(&["10.99.0.126", "3/3 up         ♥"]);
    let picture = |bench: &Bench| bench.panel.chip().bitmap();
    let mut pictures = vec![picture(&bench)];
    for _ in 0..4 {
        bench.display.refresh().unwrap();
        bench.expect(&["10.99.0.126", "3/3 up         ♥"]);
        pictures.push(picture(&bench));
    }
    assert_eq!(pictures.pop(), pictures.first().cloned());
    pictures.sort_unstable();
    pictures.dedup();
    assert_eq!(pictures.len(), 4);
}

/// A bus that shows the chip to an observer after each message.
struct Watched<F> {
    panel: OledPanel,
    watch: Arc<Mutex<F>>,
}

impl<F> ErrorType for Watched<F> {
    type Error = EmulatedError;
}

impl<F: FnMut(&OledChip)> I2c for Watched<F> {
    fn transaction(
        &mut self,
        address: u8,
        operations: &mut [Operation<'_>],
    ) -> Result<(), EmulatedError> {
        self.panel.transaction(address, operations)?;
        let mut watch = self.watch.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        watch(&self.panel.chip());
        Ok(())
    }
}

#[test]
fn the_start_shows_no_noise_and_a_refresh_no_flash() {
    for (controller, resolution) in all() {
        let panel = OledPanel::new(Clock::simulated(), 0x3c, controller, resolution);
        let lit = Arc::new(Mutex::new(Vec::new()));
        let log = lit.clone();
        let watch = move |chip: &OledChip| {
            let page = chip.seen(CHARSET).lines().first().cloned().unwrap_or_default();
            log.lock().unwrap().push((chip.is_on(), page));
        };
        let bus = Watched { panel, watch: Arc::new(Mutex::new(watch)) };
        let mut display = Oled::new(bus, 0x3c, Some(controller), resolution, CHARSET, "bus");
        let page = Frame::from_lines(resolution.geometry(), &["", "10.99.0.126"]);
        display.show(&page, true).unwrap();
        let seen = std::mem::take(&mut *lit.lock().unwrap());
        let dark = seen.iter().filter(|(on, _)| !on).count();
        assert_eq!(dark, seen.len() - 1, "on with the last message, when all is drawn");
        display.refresh().unwrap();
        assert!(lit.lock().unwrap().iter().all(|(on, _)| *on), "no flash");
    }
}

#[test]
fn a_page_of_another_size_is_rejected() {
    let mut bench = Bench::new(Controller::Ssd1306, Resolution::P128x64);
    let page = Frame::blank(Resolution::P128x32.geometry());
    let error = bench.display.show(&page, true).unwrap_err();
    assert!(error.to_string().contains("128x64 (16x4)"), "{error}");
}

/// A chip that returns the same byte on each read, or fails.
struct Mute(OledPanel, Option<u8>);

impl ErrorType for Mute {
    type Error = EmulatedError;
}

impl I2c for Mute {
    fn transaction(
        &mut self,
        address: u8,
        operations: &mut [Operation<'_>],
    ) -> Result<(), EmulatedError> {
        for operation in operations {
            match operation {
                Operation::Write(bytes) => self.0.write(address, bytes)?,
                Operation::Read(bytes) => bytes.fill(self.1.ok_or(EmulatedError::Nack)?),
            }
        }
        Ok(())
    }
}

#[test]
fn an_unreadable_chip_still_works() {
    for answer in [None, Some(0xff), Some(0x40)] {
        let resolution = Resolution::P128x64;
        let panel = OledPanel::new(Clock::simulated(), 0x3c, Controller::Ssd1306, resolution);
        let mut display =
            Oled::new(Mute(panel.clone(), answer), 0x3c, None, resolution, CHARSET, "bus");
        let page = Frame::from_lines(resolution.geometry(), &["10.99.0.126"]);
        for _ in 0..6 {
            display.show(&page, true).unwrap();
            assert_eq!(panel.seen(CHARSET), page);
            display.check();
        }
        assert!(!display.check(), "another query is useless: {answer:?}");
        assert!(panel.traffic().1 < 3 * 1200, "redrawn needlessly: {:?}", panel.traffic());
    }
}

fn any_fault() -> impl Strategy<Value = Option<Fault>> {
    prop_oneof![
        4 => Just(None),
        1 => (1..3_u32, 0..20_usize).prop_map(|(count, bytes)| Some(Fault::Nack { count, bytes })),
        1 => Just(Some(Fault::Glitch(Some(5)))),
        1 => Just(Some(Fault::Unplug)),
        1 => Just(Some(Fault::Plug)),
        1 => Just(Some(Fault::Power)),
        1 => Just(Some(Fault::Stuck(Duration::from_secs(1)))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_display_always_equals_the_frame(
        sh1106: bool,
        tall: bool,
        pages in proptest::collection::vec(proptest::collection::vec("[ab ♥↑▁▂●○✓0-9]{0,16}", 4), 1..8),
    ) {
        let controller = if sh1106 { Controller::Sh1106 } else { Controller::Ssd1306 };
        let mut bench =
            Bench::new(controller, if tall { Resolution::P128x64 } else { Resolution::P128x32 });
        for lines in pages {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            bench.show(&lines).unwrap();
            // Glyphs beyond the eighth have fallbacks.
            let wanted = CHARSET.shown(&bench.frame(&lines));
            prop_assert_eq!(bench.panel.seen(CHARSET).lines(), wanted.lines());
            let chip = bench.panel.chip();
            prop_assert_eq!(chip.violations(), [] as [&str; 0]);
        }
    }

    #[test]
    fn a_refresh_restores_the_page_from_any_state(
        story in proptest::collection::vec((any_fault(), "[a-z♥]{0,16}", "[0-9♥↑]{0,16}"), 1..12),
    ) {
        let mut bench = Bench::new(Controller::Ssd1306, Resolution::P128x32);
        for (fault, first, second) in story {
            if let Some(fault) = fault {
                bench.panel.inject(fault);
                bench.clock.pass(Duration::from_millis(20));
            }
            let _ = bench.show(&[&first, &second]);
        }
        if bench.show(&["at last"]).is_err() {
            bench.panel.inject(Fault::Plug);
        }
        // Two injected refusals may be pending.
        let shown = (0..4).any(|_| bench.show(&["10.99.0.126", "3/3 up         ♥"]).is_ok());
        prop_assert!(shown);
        bench.display.refresh().unwrap();
        let page = bench.frame(&["10.99.0.126", "3/3 up         ♥"]);
        prop_assert_eq!(bench.panel.seen(CHARSET).lines(), page.lines());
    }
}
