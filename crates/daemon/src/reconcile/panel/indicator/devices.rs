//! The indicators that there are: a newcomer adds one line here.

use std::path::Path;

use crate::config::{Led, LedDevice};
use crate::event::ApplyErrorKind;
use crate::panel::blinkstick::{BlinkStick, Identity};
use crate::panel::emulator::{Clock, Stick};
use crate::panel::sysfs_led::{LEDS, SysfsLed};
use crate::panel::{Indicator, hid};
use crate::reconcile::panel::device::{self, PanelError};
use crate::reconcile::panel::display::faults;

/// Opens an indicator, again and again as it comes and goes; lives as long as the settings stand.
pub type Connector = device::Connector<dyn Indicator>;

/// A kind of indicator.
#[derive(Debug)]
pub struct IndicatorKind {
    pub name: &'static str,
    /// `None` when the settings ask for another kind
    pub connect: fn(&Led) -> Option<Connector>,
}

/// All kinds. With `auto` several feel meant: they are tried in this order.
pub const INDICATORS: &[IndicatorKind] = &[
    IndicatorKind { name: "blinkstick", connect: blinkstick },
    IndicatorKind { name: "sysfs", connect: sysfs },
    IndicatorKind { name: "emulator", connect: emulator },
];

/// Returns how to open the indicator that the settings ask for; `None` for "off".
pub fn connector(settings: &Led) -> Option<Connector> {
    let mut candidates: Vec<Connector> =
        INDICATORS.iter().filter_map(|kind| (kind.connect)(settings)).collect();
    if candidates.is_empty() {
        return None;
    }
    Some(Box::new(move || {
        let mut first = None;
        for candidate in &mut candidates {
            match candidate() {
                Ok(indicator) => return Ok(indicator),
                // What was looked for first is the best to report, unless another is there and does
                // not work.
                Err(error) if first.is_none() || error.kind != ApplyErrorKind::Absent => {
                    first = Some(error)
                }
                Err(_) => {}
            }
        }
        Err(first.unwrap_or_else(|| PanelError::NoIndicator.into()))
    }))
}

fn blinkstick(settings: &Led) -> Option<Connector> {
    let serial = match settings.device.clone() {
        LedDevice::Auto { .. } => None,
        LedDevice::BlinkStick { serial } => serial,
        _ => return None,
    };
    Some(Box::new(move || Ok(Box::new(hid::open(serial.as_deref())?))))
}

fn sysfs(settings: &Led) -> Option<Connector> {
    let name = match settings.device.clone() {
        LedDevice::Auto { fallback } => fallback?,
        LedDevice::Sysfs { name } => name,
        _ => return None,
    };
    Some(Box::new(move || Ok(Box::new(SysfsLed::open(Path::new(LEDS), &name)?))))
}

fn emulator(settings: &Led) -> Option<Connector> {
    let LedDevice::Emulator { log } = settings.device.clone() else { return None };
    let script = settings.emulator_script.clone();
    // The emulated device stays while the driver opens it again, as a real one would.
    let mut device: Option<Stick> = None;
    Some(Box::new(move || {
        if device.is_none() {
            let identity = Identity { serial: "BS000000-3.0".to_owned(), release: 0x200 };
            let faults = faults(script.as_deref(), log.as_deref())?;
            device = Some(Stick::new(Clock::real(), identity, 8).with_faults(faults));
        }
        let Some(stick) = &device else { return Err(PanelError::NoEmulator.into()) };
        let transport = stick.open()?;
        let identity = transport.identity();
        Ok(Box::new(BlinkStick::new(transport, identity)?))
    }))
}
