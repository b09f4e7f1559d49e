use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::*;
use crate::config::{Backlight, LcdBus, LcdOled};
use crate::event::{Applied, ApplyError, ApplyErrorKind, ApplyReport, Vital};
use crate::panel::Wiring;
use crate::panel::emulator::{Chip, OledChip};
use crate::panel::{CharDisplay, DeviceError};
use crate::panel::{Charset, Controller, Geometry, Page, Resolution, Role};

const SIXTEEN: Geometry = Geometry { columns: 16, rows: 2 };

fn settings(bus: LcdBus) -> Lcd {
    Lcd {
        bus,
        oled: None,
        geometry: SIXTEEN,
        charset: Charset::A00,
        backlight: Backlight::On,
        page_time: Duration::from_secs(4),
        heartbeat: true,
        emulator_script: None,
    }
}

fn page(first: &str, second: &str) -> Playlist {
    Playlist::still(Frame::from_lines(SIXTEEN, &[first, second]))
}

/// Reads reports until one matches; fails after five seconds. Returns the number of others.
fn await_report(
    events: &mut mpsc::Receiver<Event>,
    wanted: impl Fn(&Result<Applied, ApplyError>) -> bool,
) -> usize {
    let start = Instant::now();
    let mut others = 0;
    while start.elapsed() < Duration::from_secs(5) {
        match events.try_recv() {
            Ok(Event::Applied(ApplyReport { output: Output::Display, result }))
                if wanted(&result) =>
            {
                return others;
            }
            Ok(_) => others += 1,
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    panic!("no such report in five seconds, {others} others");
}

fn await_lines(events: &mut mpsc::Receiver<Event>, first: &str, second: &str) -> usize {
    let expected = Frame::from_lines(SIXTEEN, &[first, second]).lines();
    await_report(
        events,
        |result| matches!(result, Ok(Applied::Display { lines, .. }) if *lines == expected),
    )
}

/// An emulated OLED of 128x32.
fn emulated_oled(log: &Temporary) -> Lcd {
    let bus =
        LcdBus::Emulator { address: 0x3c, wiring: Wiring::default(), log: Some(log.0.clone()) };
    let oled = LcdOled { controller: None, resolution: Resolution::P128x32 };
    Lcd { oled: Some(oled), ..settings(bus) }
}

/// Returns the screen and the contrast of an OLED after each acknowledged transaction of the log.
fn replay_oled(log: &Path) -> Vec<(Vec<String>, u8)> {
    let mut chip = OledChip::powered(Controller::Ssd1306, Resolution::P128x32);
    let text = std::fs::read_to_string(log).unwrap();
    let transactions = text.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        assert_eq!((fields[1], fields[2]), ("T", "3c"), "a violation or another address: {line}");
        let bytes: Vec<u8> = (0..fields[3].len() / 2)
            .map(|at| u8::from_str_radix(&fields[3][2 * at..2 * at + 2], 16).unwrap())
            .collect();
        chip.transaction(&bytes);
        (!bytes.is_empty()).then(|| (chip.seen(Charset::A00).lines(), chip.contrast()))
    });
    transactions.collect()
}

#[test]
fn an_oled_shows_pages_and_heartbeat_and_recovers_when_plugged_in() {
    let log = Temporary::new("oled");
    let script = Temporary::new("oled-script");
    std::fs::write(&script.0, "800 unplug\n1500 plug\n").unwrap();
    let (sender, mut events) = mpsc::channel(16);
    let display =
        spawn(Lcd { emulator_script: Some(script.0.clone()), ..emulated_oled(&log) }, sender);
    display.show(page("10.99.0.126", "3/3 up"));
    await_lines(&mut events, "10.99.0.126", "3/3 up         ♥");
    await_report(
        &mut events,
        |result| matches!(result, Err(error) if error.kind == ApplyErrorKind::Absent),
    );
    let before = replay_oled(&log.0).len();
    await_lines(&mut events, "10.99.0.126", "3/3 up         ♥");
    std::thread::sleep(Duration::from_millis(1200));
    let screens = replay_oled(&log.0).split_off(before);
    let screen = |second: &str| Frame::from_lines(SIXTEEN, &["10.99.0.126", second]).lines();
    for second in ["3/3 up         ♥", "3/3 up"] {
        let wanted = screen(second);
        assert!(screens.iter().any(|(lines, _)| *lines == wanted), "{second} in {screens:?}");
    }
}

#[test]
fn an_oled_is_dimmed_without_news() {
    let log = Temporary::new("oled-dim");
    let (sender, mut events) = mpsc::channel(16);
    let periods = Periods { dim_after: Duration::from_millis(300), ..Periods::USUAL };
    let settings = Lcd { heartbeat: false, ..emulated_oled(&log) };
    let display = spawn_with(settings, sender, periods, connector);
    let contrast = || replay_oled(&log.0).last().unwrap().1;
    display.show(page("10.99.0.126", "3/3 up"));
    await_lines(&mut events, "10.99.0.126", "3/3 up");
    let bright = contrast();
    std::thread::sleep(Duration::from_millis(600));
    assert!(contrast() < bright / 4, "{} of {bright}", contrast());
    display.show(page("10.99.0.127", "3/3 up"));
    await_lines(&mut events, "10.99.0.127", "3/3 up");
    assert_eq!(contrast(), bright);
}

/// A file that is removed at the end.
struct Temporary(PathBuf, #[expect(dead_code, reason = "removed when dropped")] tempfile::TempDir);

impl Temporary {
    fn new(name: &str) -> Self {
        let held = tempfile::tempdir().unwrap();
        Self(held.path().join(name), held)
    }
}

/// Replays the log of the bus: the time of each transfer, its bytes, and the screen after it.
fn replay(log: &Path) -> Vec<(u64, usize, Vec<String>)> {
    let text = std::fs::read_to_string(log).unwrap();
    let mut chip = Chip::powered(Duration::ZERO);
    let mut screens = Vec::new();
    let mut start = None;
    for line in text.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        assert_eq!((fields[1], fields[2]), ("T", "27"), "a violation or another address: {line}");
        let end: u64 = fields[0].parse().unwrap();
        let bytes: Vec<u8> = (0..fields[3].len() / 2)
            .map(|at| u8::from_str_radix(&fields[3][2 * at..2 * at + 2], 16).unwrap())
            .collect();
        let start = *start.get_or_insert(end);
        let duration = 90_000 * (bytes.len() as u64 + 1);
        let mut time = Duration::from_nanos(1_000_000_000 + end - start)
            .saturating_sub(Duration::from_nanos(duration));
        for byte in &bytes {
            time += Duration::from_micros(90);
            chip.drive(Wiring::default().decode(*byte), time);
        }
        screens.push((end, bytes.len(), chip.seen(SIXTEEN, Charset::A00).lines()));
    }
    screens
}

fn emulated(log: &Temporary) -> Lcd {
    settings(LcdBus::Emulator {
        address: 0x27,
        wiring: Wiring::default(),
        log: Some(log.0.clone()),
    })
}

#[test]
fn the_bytes_on_the_emulated_bus_show_the_frames() {
    let log = Temporary::new("bytes");
    let (sender, mut events) = mpsc::channel(16);
    let display = spawn(Lcd { heartbeat: false, ..emulated(&log) }, sender);
    display.show(page("10.99.0.126", "3/3 up  eth1"));
    await_lines(&mut events, "10.99.0.126", "3/3 up  eth1");
    display.show(page("10.99.0.127", "3/3 up  eth1"));
    await_lines(&mut events, "10.99.0.127", "3/3 up  eth1");
    let screens = replay(&log.0);
    let (_, bytes, screen) = screens.last().unwrap();
    assert_eq!(screen[0], "10.99.0.127     ");
    assert_eq!(*bytes, 9, "one character after an instruction");
    let acknowledged = display.stop((Frame::from_lines(SIXTEEN, &["STOPPED"]), false));
    acknowledged.blocking_recv().unwrap().unwrap();
    assert_eq!(replay(&log.0).last().unwrap().2[0], "STOPPED         ");
}

#[test]
fn the_bus_time_is_at_least_that_of_the_bytes() {
    let log = Temporary::new("bus-time");
    let (sender, mut events) = mpsc::channel(16);
    let display = spawn(Lcd { heartbeat: false, ..emulated(&log) }, sender);
    let counts = std::cell::Cell::new((0, Duration::ZERO));
    let mut shown = |address: &str| {
        display.show(page(address, "3/3 up  eth1"));
        await_report(&mut events, |result| match result {
            Ok(Applied::Display { lines, bytes, bus_time, .. }) => {
                counts.set((*bytes, *bus_time));
                lines[0].trim_end() == address
            }
            _ => false,
        });
        counts.get()
    };
    let ((bytes, first), (more, second)) = (shown("10.99.0.126"), shown("10.99.0.127"));
    // Nine bits for each byte at 100 kHz (UM10204, section 3.1.5).
    let least = |bytes: u64| Duration::from_micros(90 * bytes);
    assert!(second - first >= least(more - bytes), "{first:?} {second:?} for {bytes} {more}");
    // The bytes of opening it are beside its drawing, and are fewer than those.
    assert!(first >= least(bytes) / 2, "{first:?} for {bytes}");
    assert!(second < Duration::from_secs(2), "{second:?}");
}

#[test]
fn the_heartbeat_has_one_second_and_stops_with_the_main_loop() {
    let log = Temporary::new("heart");
    let (sender, mut events) = mpsc::channel(16);
    let display = spawn(emulated(&log), sender);
    display.show(page("10.99.0.126", "3/3 up"));
    await_lines(&mut events, "10.99.0.126", "3/3 up         ♥");
    let before = replay(&log.0).len();
    std::thread::sleep(Duration::from_millis(2000));
    let beats = replay(&log.0).len() - before;
    assert!((2..=5).contains(&beats), "{beats} transfers in two seconds");
    assert!(events.try_recv().is_err(), "a beat is no news");
    display.fall_silent();
    std::thread::sleep(Duration::from_millis(700));
    let stopped = replay(&log.0);
    assert_eq!(stopped.last().unwrap().2[1], "3/3 up          ");
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(replay(&log.0).len(), stopped.len(), "nothing is sent while the heart stands still");
    display.renew_dead_man();
    std::thread::sleep(Duration::from_millis(1100));
    assert!(replay(&log.0).len() > stopped.len(), "it beats again");
}

#[test]
fn faults_from_a_script_are_reported_once_and_heal() {
    let log = Temporary::new("script");
    let script = Temporary::new("script-file");
    std::fs::write(&script.0, "300 unplug\n1500 plug\n").unwrap();
    let (sender, mut events) = mpsc::channel(16);
    let display = spawn(Lcd { emulator_script: Some(script.0.clone()), ..emulated(&log) }, sender);
    display.show(page("10.99.0.126", "3/3 up"));
    await_lines(&mut events, "10.99.0.126", "3/3 up         ♥");
    let mut reported = Vec::new();
    while !matches!(reported.last(), Some(Event::Applied(ApplyReport { result: Err(_), .. }))) {
        reported.push(events.blocking_recv().unwrap());
    }
    assert_eq!(
        reported[0],
        Event::Vital(Vital::DisplayErrors(1)),
        "the transfer that was not acknowledged is counted"
    );
    let Event::Applied(ApplyReport { result: Err(error), .. }) = &reported[1] else {
        panic!("{reported:?}")
    };
    assert_eq!(error.kind, ApplyErrorKind::Absent);
    // Later tries are not acknowledged either: that is no error of the bus.
    let others = await_lines(&mut events, "10.99.0.126", "3/3 up         ♥");
    assert_eq!(others, 0, "absence was reported once");
}

#[test]
fn a_display_that_lost_its_power_is_redrawn_at_the_next_heartbeat() {
    let log = Temporary::new("power");
    let script = Temporary::new("power-file");
    std::fs::write(&script.0, "700 power\n").unwrap();
    let (sender, mut events) = mpsc::channel(16);
    let display = spawn(Lcd { emulator_script: Some(script.0.clone()), ..emulated(&log) }, sender);
    display.show(page("10.99.0.126", "3/3 up"));
    await_lines(&mut events, "10.99.0.126", "3/3 up         ♥");
    let first = replay(&log.0);
    std::thread::sleep(Duration::from_millis(1500));
    let later = replay(&log.0).split_off(first.len());
    // A beat is some ten bytes, a page with its glyphs more than a hundred.
    let whole: Vec<u64> =
        later.iter().filter(|(_, bytes, _)| *bytes > 100).map(|(at, ..)| *at).collect();
    assert_eq!(whole.len(), 1, "drawn again once: {later:?}");
    let after = Duration::from_nanos(whole[0] - first[0].0);
    assert!(after < Duration::from_millis(1500), "{after:?}");
    assert!(events.try_recv().is_err(), "nothing has failed");
}

#[test]
fn hardware_that_cannot_detect_a_loss_of_power_is_reported_and_checked_once() {
    let fake = Fake::default();
    fake.blind.store(true, Ordering::SeqCst);
    let (display, mut events) = fake.spawn(settings(LcdBus::Off));
    display.show(page("10.99.0.1", ""));
    await_report(&mut events, |result| matches!(result, Ok(Applied::Display { blind: true, .. })));
    display.hotplug();
    std::thread::sleep(Duration::from_millis(1200));
    assert_eq!(fake.checks.load(Ordering::SeqCst), 1);
    assert!(events.try_recv().is_err(), "reported once");
}

#[test]
fn nothing_is_read_back_before_a_new_address_is_shown() {
    let fake = Fake::default();
    let (display, mut events) = fake.spawn(Lcd { heartbeat: false, ..settings(LcdBus::Off) });
    let address = |text: &str| Playlist { urgent_rows: 1, ..page(text, "") };
    display.show(address("10.99.0.1"));
    await_lines(&mut events, "10.99.0.1", "");
    display.show(address("10.99.0.2"));
    await_lines(&mut events, "10.99.0.2", "");
    assert_eq!(fake.checks.load(Ordering::SeqCst), 0);
    display.show(Playlist { urgent_rows: 1, ..page("10.99.0.2", "news") });
    await_lines(&mut events, "10.99.0.2", "news");
    assert_eq!(fake.checks.load(Ordering::SeqCst), 1);
}

#[test]
fn a_wrong_script_is_a_failure_that_names_the_line() {
    let log = Temporary::new("wrong");
    let script = Temporary::new("wrong-file");
    std::fs::write(&script.0, "300 explode\n").unwrap();
    let (sender, mut events) = mpsc::channel(16);
    let display = spawn(Lcd { emulator_script: Some(script.0.clone()), ..emulated(&log) }, sender);
    display.show(page("x", ""));
    await_report(
        &mut events,
        |result| matches!(result, Err(error) if error.message.contains("line 1")),
    );
}

#[test]
fn a_display_switched_off_is_shown_as_off() {
    let (sender, mut events) = mpsc::channel(16);
    let display = spawn(settings(LcdBus::Off), sender);
    await_report(
        &mut events,
        |result| matches!(result, Err(error) if error.kind == ApplyErrorKind::Off),
    );
    let stopped = display.stop((Frame::blank(SIXTEEN), true)).blocking_recv().unwrap();
    assert_eq!(stopped.unwrap_err().kind, ApplyErrorKind::Off);
}

#[test]
fn no_device_file_is_absent() {
    let (sender, mut events) = mpsc::channel(16);
    let device = PathBuf::from("/dev/i2c-nonexistent");
    let display =
        spawn(settings(LcdBus::I2c { device, address: 0x27, wiring: Wiring::default() }), sender);
    display.show(page("x", ""));
    await_report(
        &mut events,
        |result| matches!(result, Err(error) if error.kind == ApplyErrorKind::Absent),
    );
}

/// A shown frame: time, lines, backlight.
type Shown = (Instant, Vec<String>, bool);

/// A display that records its calls.
#[derive(Clone, Default)]
struct Fake {
    shown: Arc<Mutex<Vec<Shown>>>,
    panics: Arc<AtomicU32>,
    refreshes: Arc<AtomicU32>,
    checks: Arc<AtomicU32>,
    blind: Arc<AtomicBool>,
}

impl Fake {
    fn spawn(&self, settings: Lcd) -> (DisplayHandle, mpsc::Receiver<Event>) {
        let (sender, events) = mpsc::channel(64);
        let fake = self.clone();
        let periods = Periods { refresh: Duration::from_millis(400), ..Periods::USUAL };
        let handle = spawn_with(settings, sender, periods, move |_| {
            let fake = fake.clone();
            Some(Box::new(move || Ok(Box::new(fake.clone()) as Box<dyn CharDisplay>)))
        });
        (handle, events)
    }

    /// Waits for this sequence of the backlight; fails after five seconds.
    fn await_backlight(&self, wanted: &[bool]) {
        let start = Instant::now();
        loop {
            let lit: Vec<bool> = self.shown.lock().unwrap().iter().map(|(.., lit)| *lit).collect();
            if lit.starts_with(wanted) {
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(5), "{lit:?}, not {wanted:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn rows(&self) -> Vec<Vec<String>> {
        self.shown.lock().unwrap().iter().map(|(_, lines, _)| lines.clone()).collect()
    }
}

impl CharDisplay for Fake {
    fn show(&mut self, frame: &Frame, lit: bool) -> Result<(), DeviceError> {
        if self.panics.load(Ordering::SeqCst) > 0 {
            self.panics.fetch_sub(1, Ordering::SeqCst);
            panic!("the driver has a hole");
        }
        self.shown.lock().unwrap().push((Instant::now(), frame.lines(), lit));
        Ok(())
    }
    fn refresh(&mut self) -> Result<(), DeviceError> {
        self.refreshes.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
    fn check(&mut self) -> bool {
        self.checks.fetch_add(1, Ordering::SeqCst);
        !self.blind.load(Ordering::SeqCst)
    }
    fn bytes(&self) -> u64 {
        0
    }
}

#[test]
fn the_thread_continues_after_a_panic() {
    let fake = Fake::default();
    fake.panics.store(1, Ordering::SeqCst);
    let (display, mut events) = fake.spawn(settings(LcdBus::Off));
    display.show(page("10.99.0.126", "3/3 up"));
    await_report(
        &mut events,
        |result| matches!(result, Err(error) if error.message.contains("the driver has a hole")),
    );
    await_lines(&mut events, "10.99.0.126", "3/3 up         ♥");
}

#[test]
fn an_urgent_frame_is_shown_immediately_and_others_ten_times_a_second() {
    let fake = Fake::default();
    let (display, mut events) = fake.spawn(Lcd { heartbeat: false, ..settings(LcdBus::Off) });
    display.show(page("10.99.0.1", "0"));
    await_lines(&mut events, "10.99.0.1", "0");
    let start = Instant::now();
    for number in 1..=500 {
        display.show(page("10.99.0.1", &number.to_string()));
        std::thread::sleep(Duration::from_millis(1));
    }
    await_lines(&mut events, "10.99.0.1", "500");
    let frames = fake.rows().len() - 1;
    let most = start.elapsed().as_millis() / 100 + 1;
    assert!(frames as u128 <= most, "{frames} frames, at most {most} expected");
    let start = Instant::now();
    display.show(page("10.99.0.2", "500"));
    await_lines(&mut events, "10.99.0.2", "500");
    assert!(start.elapsed() < Duration::from_millis(90), "{:?}", start.elapsed());
}

#[test]
fn the_controller_is_initialised_again_at_intervals() {
    let fake = Fake::default();
    let (display, mut events) = fake.spawn(Lcd { heartbeat: false, ..settings(LcdBus::Off) });
    display.show(page("10.99.0.1", "still"));
    await_lines(&mut events, "10.99.0.1", "still");
    let start = Instant::now();
    while fake.refreshes.load(Ordering::SeqCst) < 2 {
        assert!(start.elapsed() < Duration::from_secs(5));
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(start.elapsed() > Duration::from_millis(600), "twice 400 ms");
    assert_eq!(fake.rows().len(), 1);
}

#[test]
fn pages_turn_and_each_is_reported() {
    let fake = Fake::default();
    let (display, mut events) = fake.spawn(settings(LcdBus::Off));
    let pages = ["nodes", "uplink"].map(|row| Page {
        frame: Frame::from_lines(SIXTEEN, &["10.99.0.1", row]),
        dwell: Duration::from_millis(300),
        role: Role::Ordinary,
    });
    display.show(Playlist { pages: pages.to_vec(), urgent_rows: 1, ..Playlist::default() });
    for row in ["nodes          ♥", "uplink         ♥", "nodes          ♥"] {
        await_lines(&mut events, "10.99.0.1", row);
    }
}

#[test]
fn the_backlight_is_switched_off_without_news() {
    let fake = Fake::default();
    let backlight = Backlight::After(Duration::from_millis(300));
    let (display, mut events) =
        fake.spawn(Lcd { heartbeat: false, backlight, ..settings(LcdBus::Off) });
    display.show(page("10.99.0.1", "news"));
    await_lines(&mut events, "10.99.0.1", "news");
    fake.await_backlight(&[true, false]);
    await_report(&mut events, |result| matches!(result, Ok(Applied::Display { lit: false, .. })));
    display.show(page("10.99.0.2", "news"));
    await_lines(&mut events, "10.99.0.2", "news");
    fake.await_backlight(&[true, false, true, false]);
    // A user presses the button.
    display.turn();
    fake.await_backlight(&[true, false, true, false, true]);
}

#[test]
fn a_full_channel_does_not_stop_the_display() {
    let fake = Fake::default();
    let (sender, mut events) = mpsc::channel(1);
    sender.try_send(Event::Tick).unwrap();
    let inner = fake.clone();
    let display = spawn_with(settings(LcdBus::Off), sender, Periods::USUAL, move |_| {
        let fake = inner.clone();
        Some(Box::new(move || Ok(Box::new(fake.clone()) as Box<dyn CharDisplay>)))
    });
    display.show(page("10.99.0.1", ""));
    display.show(page("10.99.0.2", ""));
    std::thread::sleep(Duration::from_millis(600));
    assert!(fake.rows().len() > 1, "the heart beats although no event is read");
    await_lines(&mut events, "10.99.0.2", "               ♥");
}

#[test]
fn dropping_the_handle_leaves_the_glass_alone() {
    let fake = Fake::default();
    let (display, mut events) = fake.spawn(settings(LcdBus::Off));
    display.show(page("10.99.0.1", "restart"));
    await_lines(&mut events, "10.99.0.1", "restart        ♥");
    drop(display);
    std::thread::sleep(Duration::from_millis(50));
    let before = fake.rows();
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(fake.rows(), before);
    assert!(before.last().unwrap()[1].starts_with("restart"));
}
