//! The supported indicators. A new one adds a line to [`INDICATORS`].

use std::path::Path;

use crate::config::{Led, LedDevice};
use crate::event::ApplyErrorKind;
use crate::panel::blinkstick::{BlinkStick, Identity};
use crate::panel::emulator::Stick;
use crate::panel::sysfs_led::{LEDS, SysfsLed};
use crate::panel::{Indicator, hid};
use crate::reconcile::panel::device::{self, PanelError};
use crate::reconcile::panel::display::{Lasting, faults};

/// Opens an indicator, as often as it comes and goes, until the settings change.
pub type Connector = device::Connector<dyn Indicator>;

/// A kind of indicator.
#[derive(Debug)]
pub struct IndicatorKind {
    pub name: &'static str,
    /// Returns `None` if the settings select another kind.
    pub connect: fn(&Led) -> Option<Connector>,
}

/// All kinds. With `auto` several match, and are tried in this order.
pub const INDICATORS: &[IndicatorKind] = &[
    IndicatorKind { name: "blinkstick", connect: blinkstick },
    IndicatorKind { name: "sysfs", connect: sysfs },
    IndicatorKind { name: "emulator", connect: emulator },
];

/// Returns the connector for the indicator in the settings, `None` for "off".
pub fn connector(settings: &Led) -> Option<Connector> {
    let mut candidates: Vec<Connector> =
        INDICATORS.iter().filter_map(|kind| (kind.connect)(settings)).collect();
    if candidates.is_empty() {
        return None;
    }
    Some(Box::new(move || {
        let mut reported = None;
        for candidate in &mut candidates {
            match candidate() {
                Ok(indicator) => return Ok(indicator),
                // The first candidate's error is reported, unless another is present but fails.
                Err(error) if reported.is_none() || error.kind != ApplyErrorKind::Absent => {
                    reported = Some(error)
                }
                Err(_) => {}
            }
        }
        Err(reported.unwrap_or_else(|| PanelError::NoIndicator.into()))
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
    let mut device = Lasting::default();
    Some(Box::new(move || {
        let (stick, _) = device.get(|clock| {
            let identity = Identity { serial: "BS000000-3.0".to_owned(), release: 0x200 };
            let faults = faults(script.as_deref(), log.as_deref())?;
            Ok(Stick::new(clock, identity, 8).with_faults(faults))
        })?;
        let transport = stick.open()?;
        let identity = transport.identity();
        Ok(Box::new(BlinkStick::new(transport, identity)?))
    }))
}
