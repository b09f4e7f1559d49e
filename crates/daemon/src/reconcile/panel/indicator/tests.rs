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

/// A thread with an emulated stick of this serial number.
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

fn wait() {
    std::thread::sleep(Duration::from_millis(100));
}

/// Waits until the first LEDs show these colours; fails after five seconds.
fn await_seen(stick: &Stick, wanted: &[Colour]) {
    let start = Instant::now();
    while !stick.seen().starts_with(wanted) {
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "{:?} is shown, not {wanted:?}",
            stick.seen()
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn reports(events: &mut mpsc::Receiver<Event>) -> Vec<Result<Applied, ApplyErrorKind>> {
    let mut reports = Vec::new();
    while let Ok(Event::Applied(ApplyReport { result, .. })) = events.try_recv() {
        reports.push(result.map_err(|error| error.kind));
    }
    reports
}

#[test]
fn breathing_writes_at_most_twenty_times_a_second_and_is_seen_to_breathe() {
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
    let writes = stick.history().len();
    assert!((15..=50).contains(&writes), "{writes} writes in 2.5 s");
    assert_eq!(stick.violations(), [] as [String; 0]);
    let name = "BlinkStick BS000001-1.1".to_owned();
    assert_eq!(reports(&mut events), [Ok(Applied::Indicator { leds: 1, name })]);
}

#[test]
fn steady_and_blinking_write_only_at_the_edges() {
    let (stick, indicator, _events) = bench("BS000001-1.1", settings());
    indicator.show(vec![signal(Colour::BLUE, Pattern::Steady)]);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(stick.history().len(), 1);
    indicator.show(vec![signal(Colour::RED, Pattern::FastBlink)]);
    std::thread::sleep(Duration::from_millis(2000));
    let writes = stick.history().len() - 1;
    assert!((7..=9).contains(&writes), "{writes} edges in 2 s of 2 Hz");
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
fn without_the_main_loop_it_is_steady_amber() {
    let (stick, indicator, _events) = bench("BS000001-1.1", settings());
    indicator.show(vec![signal(Colour::GREEN, Pattern::Breathe)]);
    wait();
    indicator.fall_silent();
    // It is noticed with the next step of the animation.
    std::thread::sleep(Duration::from_secs(1));
    let amber = stick.seen()[0];
    assert!(amber.red == 255 && amber.green > 60 && amber.blue == 0, "{amber}");
    let writes = stick.history().len();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(stick.history().len(), writes, "it is steady");
    indicator.renew_dead_man();
    wait();
    assert_eq!(stick.seen()[0].red, 0, "green again");
}

#[test]
fn an_unplugged_stick_is_absent_and_comes_back_with_hotplug() {
    let (stick, indicator, mut events) = bench("BS000001-1.1", settings());
    indicator.show(vec![signal(Colour::GREEN, Pattern::Steady)]);
    await_seen(&stick, &[Colour::GREEN]);
    stick.inject(Fault::Unplug);
    indicator.show(vec![signal(Colour::RED, Pattern::Steady)]);
    std::thread::sleep(Duration::from_millis(500));
    stick.inject(Fault::Plug);
    indicator.hotplug();
    await_seen(&stick, &[Colour::RED]);
    wait();
    let reports = reports(&mut events);
    let absences = reports.iter().filter(|result| **result == Err(ApplyErrorKind::Absent)).count();
    assert_eq!(absences, 1, "{reports:?}");
    assert!(reports.last().unwrap().is_ok());
}

#[test]
fn a_stall_is_healed_by_opening_again() {
    let (stick, indicator, mut events) = bench("BS000001-1.1", settings());
    indicator.show(vec![signal(Colour::GREEN, Pattern::Steady)]);
    await_seen(&stick, &[Colour::GREEN]);
    stick.inject(Fault::Stuck(Duration::from_millis(200)));
    indicator.show(vec![signal(Colour::RED, Pattern::Steady)]);
    await_seen(&stick, &[Colour::RED]);
    wait();
    let kinds: Vec<_> = reports(&mut events).into_iter().map(|result| result.map(|_| ())).collect();
    assert_eq!(kinds, [Ok(()), Err(ApplyErrorKind::Failed), Ok(())]);
}

#[test]
fn when_all_is_well_for_long_it_dims_to_a_fifth() {
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
fn the_log_of_the_emulated_stick_has_each_report() {
    let held = tempfile::tempdir().unwrap();
    let log = held.path().join("file");
    let (sender, _events) = mpsc::channel(64);
    let device = LedDevice::Emulator { log: Some(PathBuf::from(&log)) };
    let indicator = spawn(Led { device, ..settings() }, sender);
    indicator.show(vec![signal(Colour::RED, Pattern::Steady)]);
    wait();
    indicator.stop(()).blocking_recv().unwrap().unwrap();
    let text = std::fs::read_to_string(&log).unwrap();
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
    wait();
    assert_eq!(reports(&mut events), [Err(ApplyErrorKind::Off)]);
}
