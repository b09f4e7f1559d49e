use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::*;
use crate::config::LedDevice;
use crate::event::{Applied, ApplyErrorKind, ApplyReport};
use crate::panel::Indicator;
use crate::panel::blinkstick::{BlinkStick, Identity};
use crate::panel::emulator::{Clock, Fault, Stick};
use crate::panel::{Colour, Pattern};

fn settings() -> Led {
    Led {
        device: LedDevice::Off,
        brightness: 1.0,
        dim_after: None,
        quiet_hours: None,
        animate: true,
        emulator_script: None,
    }
}

fn signal(colour: Colour, pattern: Pattern) -> Signal {
    Signal { colour, pattern }
}

/// Spawns the thread with an emulated stick.
fn bench(serial: &str, settings: Led) -> (Stick, IndicatorHandle, mpsc::Receiver<Event>) {
    let (sender, events) = mpsc::channel(64);
    let identity = Identity { serial: serial.to_owned(), release: 0x200 };
    let stick = Stick::new(Clock::real(), identity, 8);
    let device = stick.clone();
    let handle = spawn_with(settings, sender, move |_| {
        let device = device.clone();
        Some(Box::new(move || {
            let transport = device.open()?;
            let identity = transport.identity();
            Ok(Box::new(BlinkStick::new(transport, identity)?) as Box<dyn Indicator>)
        }))
    });
    (stick, handle, events)
}

/// Waits for a condition; fails after ten seconds, which suffices on a busy machine.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(10), "not within 10 s: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until the first LEDs show these colours.
fn await_seen(stick: &Stick, wanted: &[Colour]) {
    until(&format!("{wanted:?} is shown"), || stick.seen().starts_with(wanted));
}

/// Waits for `count` reports.
fn reports(
    events: &mut mpsc::Receiver<Event>,
    count: usize,
) -> Vec<Result<Applied, ApplyErrorKind>> {
    let mut reports = Vec::new();
    until(&format!("{count} reports"), || {
        while let Ok(Event::Applied(ApplyReport { result, .. })) = events.try_recv() {
            reports.push(result.map_err(|error| error.kind));
        }
        reports.len() >= count
    });
    reports
}

/// Waits for `count` reports, and reduces each to its kind.
fn kinds(events: &mut mpsc::Receiver<Event>, count: usize) -> Vec<Result<(), ApplyErrorKind>> {
    reports(events, count).into_iter().map(|result| result.map(drop)).collect()
}

#[test]
fn breathing_writes_at_most_twenty_times_a_second() {
    let (stick, indicator, mut events) = bench("BS000001-1.1", settings());
    indicator.show(vec![signal(Colour::GREEN, Pattern::QuickBreathe)]);
    let start = Instant::now();
    let mut brightest = 0;
    let mut dimmest = 255;
    while start.elapsed() < Duration::from_millis(2500) {
        std::thread::sleep(Duration::from_millis(10));
        let green = stick.seen()[0].green;
        brightest = brightest.max(green);
        if start.elapsed() > Duration::from_millis(200) {
            dimmest = dimmest.min(green);
        }
    }
    assert!(brightest > 240, "{brightest}");
    assert!((2..=4).contains(&dimmest), "never dark: {dimmest}");
    let (writes, most) = (stick.history().len(), start.elapsed().as_millis() / 50 + 1);
    assert!(writes >= 15 && writes as u128 <= most, "{writes} writes, at most {most}");
    assert_eq!(stick.violations(), [] as [String; 0]);
    let name = "BlinkStick BS000001-1.1".to_owned();
    assert_eq!(reports(&mut events, 1), [Ok(Applied::Indicator { leds: 1, name })]);
}

#[test]
fn steady_and_blinking_write_only_at_the_edges() {
    let (stick, indicator, _events) = bench("BS000001-1.1", settings());
    indicator.show(vec![signal(Colour::BLUE, Pattern::Steady)]);
    await_seen(&stick, &[Colour::BLUE]);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(stick.history().len(), 1);
    let start = Instant::now();
    indicator.show(vec![signal(Colour::RED, Pattern::FastBlink)]);
    until("seven edges", || stick.history().len() > 7);
    // As many as there were in that time, which is longer on a busy machine.
    let (edges, passed) = (stick.history().len() - 1, start.elapsed());
    let most = passed.as_millis() / 250 + 1;
    assert!(edges as u128 <= most, "{edges} edges in {passed:?} of 2 Hz");
}

#[test]
fn the_first_led_is_the_cluster_and_the_others_are_nodes() {
    let (stick, indicator, _events) = bench("BS000003-3.0", settings());
    let signals =
        [Colour::RED, Colour::GREEN, Colour::BLUE].map(|colour| signal(colour, Pattern::Steady));
    indicator.show(signals.to_vec());
    await_seen(&stick, &[Colour::RED, Colour::GREEN, Colour::BLUE, Colour::OFF]);
    indicator.show(vec![signal(Colour::GREEN, Pattern::Breathe); 9]);
    std::thread::sleep(Duration::from_millis(2000));
    assert_eq!(stick.violations(), [] as [String; 0]);
}

#[test]
fn it_is_steady_amber_after_the_dead_man_timer_has_expired() {
    let (stick, indicator, _events) = bench("BS000001-1.1", settings());
    indicator.show(vec![signal(Colour::GREEN, Pattern::Breathe)]);
    until("it breathes", || stick.seen()[0].green > 0);
    indicator.fall_silent();
    until("it is amber", || {
        let seen = stick.seen()[0];
        seen.red == 255 && seen.green > 60 && seen.blue == 0
    });
    let writes = stick.history().len();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(stick.history().len(), writes, "it is steady");
    indicator.renew_dead_man();
    until("it is green again", || stick.seen()[0].red == 0);
}

#[test]
fn an_unplugged_stick_is_absent_and_recovers_at_hotplug() {
    let (stick, indicator, mut events) = bench("BS000001-1.1", settings());
    indicator.show(vec![signal(Colour::GREEN, Pattern::Steady)]);
    await_seen(&stick, &[Colour::GREEN]);
    stick.inject(Fault::Unplug);
    indicator.show(vec![signal(Colour::RED, Pattern::Steady)]);
    assert_eq!(kinds(&mut events, 2), [Ok(()), Err(ApplyErrorKind::Absent)]);
    stick.inject(Fault::Plug);
    indicator.hotplug();
    await_seen(&stick, &[Colour::RED]);
    assert_eq!(kinds(&mut events, 1), [Ok(())]);
}

#[test]
fn a_stalled_stick_is_reopened() {
    let (stick, indicator, mut events) = bench("BS000001-1.1", settings());
    indicator.show(vec![signal(Colour::GREEN, Pattern::Steady)]);
    await_seen(&stick, &[Colour::GREEN]);
    stick.inject(Fault::Stuck(Duration::from_millis(200)));
    indicator.show(vec![signal(Colour::RED, Pattern::Steady)]);
    await_seen(&stick, &[Colour::RED]);
    assert_eq!(kinds(&mut events, 3), [Ok(()), Err(ApplyErrorKind::Failed), Ok(())]);
}

#[test]
fn a_good_state_is_dimmed_to_a_fifth_after_a_while() {
    let led = Led { dim_after: Some(Duration::from_millis(300)), animate: false, ..settings() };
    let (stick, indicator, _events) = bench("BS000001-1.1", led);
    indicator.show(vec![signal(Colour::GREEN, Pattern::Breathe)]);
    await_seen(&stick, &[Colour::GREEN]);
    await_seen(&stick, &[Colour { green: 51, ..Colour::GREEN }]);
    indicator.show(vec![signal(Colour::RED, Pattern::FastBlink)]);
    await_seen(&stick, &[Colour::RED]);
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(stick.seen(), [Colour::RED], "a fault never dims");
}

#[test]
fn stop_is_dark() {
    let (stick, indicator, _events) = bench("BS000003-3.0", settings());
    indicator.show(vec![signal(Colour::GREEN, Pattern::Steady); 3]);
    await_seen(&stick, &[Colour::GREEN; 3]);
    indicator.stop(()).blocking_recv().unwrap().unwrap();
    assert!(stick.seen().iter().all(|colour| *colour == Colour::OFF));
}

#[test]
fn the_log_of_the_emulated_stick_has_each_hid_report() {
    let held = tempfile::tempdir().unwrap();
    let log = held.path().join("file");
    let (sender, _events) = mpsc::channel(64);
    let device = LedDevice::Emulator { log: Some(PathBuf::from(&log)) };
    let indicator = spawn(Led { device, ..settings() }, sender);
    indicator.show(vec![signal(Colour::RED, Pattern::Steady)]);
    // What was ordered a moment before the end need not be shown any more.
    let text = || std::fs::read_to_string(&log).unwrap_or_default();
    until("red is logged", || !text().is_empty());
    indicator.stop(()).blocking_recv().unwrap().unwrap();
    let text = text();
    let reports: Vec<&str> = text.lines().map(|line| line.split_once(' ').unwrap().1).collect();
    assert_eq!(
        reports,
        ["T 06 060000ff00000000000000000000000000000000000000000000", "T 05 050000000000"]
    );
}

#[test]
fn off_is_reported() {
    let (sender, mut events) = mpsc::channel(64);
    let _indicator = spawn(settings(), sender);
    assert_eq!(reports(&mut events, 1), [Err(ApplyErrorKind::Off)]);
}
