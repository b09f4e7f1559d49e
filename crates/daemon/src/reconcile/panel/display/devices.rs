//! The displays that there are: a newcomer adds one line here.

use std::path::Path;

use crate::config::{Lcd, LcdBus};
use crate::files::reading;
use crate::panel::emulator::{Backpack, Clock, FaultInjector, Script};
use crate::panel::gpio::Pins;
use crate::panel::hd44780::Hd44780;
use crate::panel::pcf8574::{CLOCK_HZ, Pcf8574};
use crate::panel::{CharDisplay, linux};
use crate::reconcile::panel::device::{self, PanelError};

/// Opens a display, again and again as it comes and goes; lives as long as the settings stand.
pub type Connector = device::Connector<dyn CharDisplay>;

/// A kind of display.
#[derive(Debug)]
pub struct DisplayKind {
    pub name: &'static str,
    /// `None` when the settings ask for another kind
    pub connect: fn(&Lcd) -> Option<Connector>,
}

/// All kinds; the first that feels meant is taken.
pub const DISPLAYS: &[DisplayKind] = &[
    DisplayKind { name: "hd44780-i2c", connect: i2c },
    DisplayKind { name: "hd44780-gpio", connect: gpio },
    DisplayKind { name: "hd44780-emulator", connect: emulator },
];

/// The display that the settings ask for; `None` for "off".
pub fn connector(settings: &Lcd) -> Option<Connector> {
    DISPLAYS.iter().find_map(|kind| (kind.connect)(settings))
}

fn i2c(settings: &Lcd) -> Option<Connector> {
    let LcdBus::I2c { device, address, wiring } = settings.bus.clone() else { return None };
    let (geometry, charset) = (settings.geometry, settings.charset);
    Some(Box::new(move || {
        let expander = linux::open_i2c(&device, address, wiring)?;
        Ok(Box::new(Hd44780::new(expander, geometry, charset)))
    }))
}

fn gpio(settings: &Lcd) -> Option<Connector> {
    let LcdBus::Gpio { chip, pins } = settings.bus.clone() else { return None };
    let (geometry, charset) = (settings.geometry, settings.charset);
    Some(Box::new(move || {
        let data = [pins.d4, pins.d5, pins.d6, pins.d7];
        let offsets = Pins { rs: pins.rs, e: pins.e, data, backlight: pins.backlight };
        Ok(Box::new(Hd44780::new(linux::open_gpio(&chip, offsets)?, geometry, charset)))
    }))
}

fn emulator(settings: &Lcd) -> Option<Connector> {
    let LcdBus::Emulator { address, wiring, log } = settings.bus.clone() else { return None };
    let (geometry, charset) = (settings.geometry, settings.charset);
    let script = settings.emulator_script.clone();
    // The emulated device stays while the driver opens it again, as a real one would.
    let mut device: Option<(Backpack, Clock)> = None;
    Some(Box::new(move || {
        if device.is_none() {
            let clock = Clock::real();
            let faults = faults(script.as_deref(), log.as_deref())?;
            device =
                Some((Backpack::new(clock.clone(), address, wiring).with_faults(faults), clock));
        }
        let Some((backpack, clock)) = device.clone() else {
            return Err(PanelError::NoEmulator.into());
        };
        let expander = Pcf8574::new(backpack, clock, address, wiring, "the emulated bus", CLOCK_HZ);
        Ok(Box::new(Hd44780::new(expander, geometry, charset)))
    }))
}

/// Script and log of an emulated device.
pub(crate) fn faults(
    script: Option<&Path>,
    log: Option<&Path>,
) -> Result<FaultInjector, PanelError> {
    let read = |path: &Path| -> Result<Script, PanelError> {
        let here = || path.to_owned();
        let text = reading::text(path)
            .map_err(|source| PanelError::ScriptUnread { path: here(), source })?;
        Script::parse(&text)
            .map_err(|fault| PanelError::ScriptWrong { path: here(), fault: fault.to_string() })
    };
    let script = script.map_or_else(|| Ok(Script::default()), read)?;
    FaultInjector::new(script, log).map_err(PanelError::NoLog)
}
