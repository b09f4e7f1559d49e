//! A BlinkStick, emulated at the level of feature reports.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::fault_injector::WriteFault;
use super::{Clock, Fault, FaultInjector};
use crate::Colour;
use crate::blinkstick::{HidTransport, Identity, Model};
use crate::device::DeviceError;

/// Duration of a low-speed USB control transfer in a simulation. With the real clock it takes no
/// time: sleeps would distort measurements of the daemon's wake-ups, which use this emulator.
const TRANSFER: Duration = Duration::from_millis(2);

/// An emulated stick. Clones share the device.
#[derive(Debug, Clone)]
pub struct Stick {
    clock: Clock,
    device: Arc<Mutex<Device>>,
}

#[derive(Debug)]
struct Device {
    identity: Identity,
    model: Model,
    mode: u8,
    leds: Vec<Colour>,
    faults: FaultInjector,
    /// Id and time of each accepted report.
    history: Vec<(u8, Duration)>,
    violations: Vec<String>,
}

impl Stick {
    /// Returns a stick just plugged in, dark. `leds` is used for Flex, and for Pro in mode 2.
    pub fn new(clock: Clock, identity: Identity, leds: usize) -> Self {
        let model = Model::of(&identity);
        let leds = match model {
            Model::BlinkStick | Model::Unknown => 1,
            Model::Nano => 2,
            Model::Square | Model::Strip => 8,
            Model::Pro | Model::Flex => leds.clamp(1, 64),
        };
        let device = Device {
            identity,
            model,
            mode: if leds > 1 { 2 } else { 0 },
            leds: vec![Colour::OFF; leds],
            faults: FaultInjector::default(),
            history: Vec::new(),
            violations: Vec::new(),
        };
        Self { clock, device: Arc::new(Mutex::new(device)) }
    }

    /// Sets a fault injector, which also logs each report.
    pub fn with_faults(self, faults: FaultInjector) -> Self {
        self.lock().faults = faults;
        self
    }

    pub fn inject(&self, fault: Fault) {
        let mut device = self.lock();
        if let Some(fault) = device.faults.apply(fault) {
            device.apply(fault);
        }
    }

    pub fn identity(&self) -> Identity {
        self.lock().identity.clone()
    }

    /// Returns the colours of the LEDs.
    pub fn seen(&self) -> Vec<Colour> {
        self.lock().leds.clone()
    }

    /// Returns id and time of the last thousand accepted reports.
    pub fn history(&self) -> Vec<(u8, Duration)> {
        self.lock().history.clone()
    }

    pub fn violations(&self) -> Vec<String> {
        self.lock().violations.clone()
    }

    /// Opens the device, if it is plugged in.
    pub fn open(&self) -> Result<Self, DeviceError> {
        let mut device = self.lock();
        device.play(self.clock.now());
        if device.faults.plugged {
            Ok(self.clone())
        } else {
            Err(DeviceError::Absent("the emulated BlinkStick is unplugged".to_owned()))
        }
    }

    fn take_time(&self, time: Duration) {
        if time > TRANSFER || matches!(self.clock, Clock::Simulated(_)) {
            self.clock.pass(time);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Device> {
        self.device.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Device {
    fn play(&mut self, now: Duration) {
        while let Some(fault) = self.faults.due(now) {
            self.apply(fault);
        }
    }

    fn apply(&mut self, fault: Fault) {
        if fault == Fault::Power {
            self.leds.fill(Colour::OFF);
        }
    }

    /// Returns the result of a transfer and its duration.
    fn answer(&mut self, now: Duration) -> (Result<(), DeviceError>, Duration) {
        self.play(now);
        match self.faults.next_write_fault() {
            None => (Ok(()), TRANSFER),
            Some(WriteFault::Stuck(time)) => {
                (Err(DeviceError::Failed("emulated BlinkStick: timed out".to_owned())), time)
            }
            Some(WriteFault::Gone) => (
                Err(DeviceError::Absent("emulated BlinkStick: unplugged".to_owned())),
                Duration::ZERO,
            ),
            Some(WriteFault::Refused(_)) => {
                (Err(DeviceError::Failed("emulated BlinkStick: stalled".to_owned())), TRANSFER)
            }
        }
    }

    fn set(&mut self, led: usize, colour: Colour) {
        if let Some(led) = self.leds.get_mut(led) {
            *led = colour;
        }
    }

    fn take(&mut self, report: &[u8], now: Duration) {
        let id = report.first().copied().unwrap_or(0);
        match (id, report, self.model) {
            (1, [_, red, green, blue], _) => {
                self.set(0, Colour { red: *red, green: *green, blue: *blue })
            }
            (1..=3, _, _) => self.violation(now, "report 1 is three bytes"),
            (_, _, Model::BlinkStick) => {
                self.violation(now, "this model knows reports 1 to 3 only")
            }
            (4, _, _) => self.violation(now, "the mode is kept in EEPROM: not to be written"),
            (5, [_, 0, led, red, green, blue], _) => {
                self.set(usize::from(*led), Colour { red: *red, green: *green, blue: *blue });
            }
            (6..=9, [_, 0, rest @ ..], _) if rest.len() == 24 << (id - 6) => {
                for (led, dots) in rest.chunks(3).enumerate() {
                    if let [green, red, blue] = dots {
                        self.set(led, Colour { red: *red, green: *green, blue: *blue });
                    }
                }
            }
            _ => self.violation(now, "no such report, or of a wrong length"),
        }
        let limit = if id < 6 { 20 } else { 10 };
        let second = self
            .history
            .iter()
            .filter(|(known, at)| *known == id && *at + Duration::from_secs(1) > now);
        if second.count() >= limit {
            self.violation(now, &format!("more than {limit} reports {id} in a second"));
        }
        if self.history.len() >= 1000 {
            self.history.remove(0);
        }
        self.history.push((id, now));
        self.faults.log.transaction(id, report);
    }

    fn violation(&mut self, now: Duration, what: &str) {
        self.faults.log.violation(what);
        if self.violations.len() < 100 {
            self.violations.push(format!("{what} at {} ms", now.as_millis()));
        }
    }
}

impl HidTransport for Stick {
    fn send(&mut self, report: &[u8]) -> Result<(), DeviceError> {
        let now = self.clock.now();
        let (result, time) = self.lock().answer(now);
        self.take_time(time);
        if result.is_ok() {
            let now = self.clock.now();
            self.lock().take(report, now);
        }
        result
    }

    fn receive(&mut self, id: u8, buffer: &mut [u8]) -> Result<usize, DeviceError> {
        let now = self.clock.now();
        let (result, time) = self.lock().answer(now);
        self.take_time(time);
        result?;
        let device = self.lock();
        let value = match (id, device.model) {
            (4, Model::Pro) => device.mode,
            (0x81, Model::Flex) => u8::try_from(device.leds.len()).unwrap_or(u8::MAX),
            _ => {
                return Err(DeviceError::Failed(format!(
                    "emulated BlinkStick: no report {id:#04x}"
                )));
            }
        };
        for (place, byte) in buffer.iter_mut().zip([id, value]) {
            *place = byte;
        }
        Ok(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blinkstick::BlinkStick;
    use crate::device::Indicator;

    fn stick(serial: &str, release: u16, leds: usize) -> (Stick, BlinkStick<Stick>) {
        let identity = Identity { serial: serial.to_owned(), release };
        let stick = Stick::new(Clock::simulated(), identity.clone(), leds);
        (stick.clone(), BlinkStick::new(stick, identity).unwrap())
    }

    #[test]
    fn every_model_is_recognised_and_shows_its_colours() {
        let models = [
            ("BS000001-1.1", 0x200, 1, Model::BlinkStick, 1),
            ("BS000002-2.0", 0x200, 1, Model::Pro, 1),
            ("BS000002-2.0", 0x200, 64, Model::Pro, 64),
            ("BS000003-3.0", 0x200, 1, Model::Square, 8),
            ("BS000004-3.0", 0x201, 1, Model::Strip, 8),
            ("BS000005-3.0", 0x202, 1, Model::Nano, 2),
            ("BS000006-3.0", 0x203, 12, Model::Flex, 12),
            ("BS000006-3.0", 0x203, 32, Model::Flex, 32),
            ("BS000007-4.0", 0x300, 1, Model::Unknown, 1),
        ];
        for (serial, release, leds, model, expected) in models {
            let (device, mut indicator) = stick(serial, release, leds);
            assert_eq!(indicator.model(), model);
            assert_eq!(indicator.leds(), expected);
            let wanted = [Colour::GREEN, Colour::RED, Colour::BLUE];
            indicator.set(&wanted).unwrap();
            let seen = device.seen();
            let shown = usize::from(expected).min(3);
            assert_eq!(seen[..shown], wanted[..shown], "{serial}");
            assert!(seen[shown..].iter().all(|colour| *colour == Colour::OFF));
            assert_eq!(device.violations(), [] as [String; 0], "{serial}");
        }
    }

    #[test]
    fn only_changes_are_sent_and_one_led_is_a_short_report() {
        let (device, mut indicator) = stick("BS000003-3.0", 0x200, 1);
        indicator.set(&[Colour::GREEN, Colour::GREEN]).unwrap();
        indicator.set(&[Colour::GREEN, Colour::GREEN]).unwrap();
        indicator.set(&[Colour::GREEN, Colour::RED]).unwrap();
        assert_eq!(device.history().iter().map(|(id, _)| *id).collect::<Vec<_>>(), [6, 5]);
        assert_eq!(device.seen()[1], Colour::RED);
    }

    #[test]
    fn after_an_error_everything_is_sent_again() {
        let (device, mut indicator) = stick("BS000001-1.1", 0x200, 1);
        indicator.set(&[Colour::GREEN]).unwrap();
        device.inject(Fault::Nack { count: 1, bytes: 0 });
        assert!(indicator.set(&[Colour::RED]).is_err());
        indicator.set(&[Colour::GREEN]).unwrap();
        assert_eq!(device.history().len(), 2);
        device.inject(Fault::Unplug);
        assert!(indicator.set(&[Colour::RED]).is_err());
        assert!(device.open().is_err());
        device.inject(Fault::Plug);
        assert!(device.open().is_ok());
    }
}
