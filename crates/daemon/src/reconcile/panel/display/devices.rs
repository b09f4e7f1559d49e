//! The supported displays. A new one adds a line to [`DISPLAYS`].

use std::path::Path;

use crate::config::{Lcd, LcdBus};
use crate::files::reading;
use crate::panel::emulator::{Backpack, Clock, FaultInjector, OledPanel, Script};
use crate::panel::gpio::Pins;
use crate::panel::hd44780::Hd44780;
use crate::panel::pcf8574::{CLOCK_HZ, Pcf8574};
use crate::panel::{CharDisplay, Controller, Oled, linux};
use crate::reconcile::panel::device::{self, PanelError};

/// Opens a display, as often as it comes and goes, until the settings change.
pub type Connector = device::Connector<dyn CharDisplay>;

/// A kind of display.
#[derive(Debug)]
pub struct DisplayKind {
    pub name: &'static str,
    /// Returns `None` if the settings select another kind.
    pub connect: fn(&Lcd) -> Option<Connector>,
}

/// All kinds; the first that matches the settings is used.
pub const DISPLAYS: &[DisplayKind] = &[
    // OLEDs come first, since their bus is I2C too.
    DisplayKind { name: "oled-i2c", connect: oled },
    DisplayKind { name: "oled-emulator", connect: oled_emulator },
    DisplayKind { name: "hd44780-i2c", connect: i2c },
    DisplayKind { name: "hd44780-gpio", connect: gpio },
    DisplayKind { name: "hd44780-emulator", connect: emulator },
];

/// Returns the connector for the display in the settings, `None` for "off".
pub fn connector(settings: &Lcd) -> Option<Connector> {
    DISPLAYS.iter().find_map(|kind| (kind.connect)(settings))
}

fn oled(settings: &Lcd) -> Option<Connector> {
    let LcdBus::I2c { device, address, .. } = settings.bus.clone() else { return None };
    let (oled_settings, charset) = (settings.oled?, settings.charset);
    Some(Box::new(move || {
        let (controller, resolution) = (oled_settings.controller, oled_settings.resolution);
        Ok(Box::new(linux::open_oled(&device, address, controller, resolution, charset)?))
    }))
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
    let mut device = Lasting::default();
    Some(Box::new(move || {
        let (backpack, clock) = device.get(|clock| {
            let faults = faults(script.as_deref(), log.as_deref())?;
            Ok(Backpack::new(clock, address, wiring).with_faults(faults))
        })?;
        let expander = Pcf8574::new(backpack, clock, address, wiring, EMULATED, CLOCK_HZ);
        Ok(Box::new(Hd44780::new(expander, geometry, charset)))
    }))
}

fn oled_emulator(settings: &Lcd) -> Option<Connector> {
    let LcdBus::Emulator { address, log, .. } = settings.bus.clone() else { return None };
    let (oled_settings, charset) = (settings.oled?, settings.charset);
    let script = settings.emulator_script.clone();
    let mut device = Lasting::default();
    Some(Box::new(move || {
        let (controller, resolution) = (oled_settings.controller, oled_settings.resolution);
        let (panel, _) = device.get(|clock| {
            let faults = faults(script.as_deref(), log.as_deref())?;
            let chip = controller.unwrap_or(Controller::Ssd1306);
            Ok(OledPanel::new(clock, address, chip, resolution).with_faults(faults))
        })?;
        Ok(Box::new(Oled::new(panel, address, controller, resolution, charset, EMULATED)))
    }))
}

/// Name of the emulated bus in errors.
const EMULATED: &str = "the emulated bus";

/// An emulated device that keeps its state while the driver reopens it, like a real one.
pub(crate) struct Lasting<T>(Option<(T, Clock)>);

impl<T> Default for Lasting<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Clone> Lasting<T> {
    /// Returns the device and its clock, made at the first call.
    pub fn get(
        &mut self,
        make: impl FnOnce(Clock) -> Result<T, PanelError>,
    ) -> Result<(T, Clock), PanelError> {
        if let Some(made) = &self.0 {
            return Ok(made.clone());
        }
        let clock = Clock::real();
        let made = (make(clock.clone())?, clock);
        self.0 = Some(made.clone());
        Ok(made)
    }
}

/// Returns the fault injector of an emulated device from its script and log.
pub(crate) fn faults(
    script: Option<&Path>,
    log: Option<&Path>,
) -> Result<FaultInjector, PanelError> {
    let script = script.map_or_else(|| Ok(Script::default()), read_script)?;
    FaultInjector::new(script, log).map_err(PanelError::NoLog)
}

fn read_script(path: &Path) -> Result<Script, PanelError> {
    let text = reading::text(path)
        .map_err(|source| PanelError::ScriptUnread { path: path.to_owned(), source })?;
    Script::parse(&text).map_err(|fault| PanelError::ScriptWrong {
        path: path.to_owned(),
        fault: fault.to_string(),
    })
}
