//! Opens BlinkSticks through hidraw.

use std::path::Path;

use hidapi::{DeviceInfo, HidApi, HidDevice, HidError};

use super::blinkstick::{BlinkStick, HidTransport, Identity, PRODUCT, VENDOR};
use crate::claimed;
use crate::device::DeviceError;

/// A hidraw device.
pub struct HidRaw {
    device: HidDevice,
    /// The name for errors.
    name: String,
}

impl std::fmt::Debug for HidRaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HidRaw({})", self.name)
    }
}

impl HidTransport for HidRaw {
    fn send(&mut self, report: &[u8]) -> Result<(), DeviceError> {
        self.device.send_feature_report(report).map_err(|error| self.explain(&error))
    }

    fn receive(&mut self, id: u8, buffer: &mut [u8]) -> Result<usize, DeviceError> {
        if let Some(first) = buffer.first_mut() {
            *first = id;
        }
        self.device.get_feature_report(buffer).map_err(|error| self.explain(&error))
    }
}

impl HidRaw {
    fn explain(&self, error: &HidError) -> DeviceError {
        let text = error.to_string();
        // hidapi has the errno only in its text.
        if text.contains("ENODEV") {
            DeviceError::Absent(format!("{} was unplugged", self.name))
        } else {
            DeviceError::Failed(format!("{}: {text}", self.name))
        }
    }
}

/// Returns the serial numbers of the connected BlinkSticks; none if devices cannot be listed.
pub fn serials() -> Vec<String> {
    let Ok(api) = enumerate() else { return Vec::new() };
    let sticks = api.device_list().filter(|info| is_ours(info));
    sticks.map(|info| info.serial_number().unwrap_or("?").to_owned()).collect()
}

/// Opens the stick with this serial number, or the first one.
pub fn open(serial: Option<&str>) -> Result<BlinkStick<HidRaw>, DeviceError> {
    let api = enumerate()?;
    let mut sticks = api.device_list().filter(|info| is_ours(info));
    let wanted =
        |info: &&DeviceInfo| serial.is_none_or(|serial| info.serial_number() == Some(serial));
    let Some(info) = sticks.find(wanted) else {
        if let Some(stick) = claimed::detached_sticks(Path::new("/")).first() {
            let (text, remedy) = stick.explain();
            return Err(DeviceError::Failed(format!("{text}; {remedy}")));
        }
        let which =
            serial.map(|serial| format!(" with serial number {serial}")).unwrap_or_default();
        return Err(DeviceError::Absent(format!("no BlinkStick{which} is plugged in")));
    };
    let path = info.path().to_string_lossy().into_owned();
    let device = api.open_path(info.path()).map_err(|error| {
        // hidapi's error has the errno only in its text, so open the device again to get it.
        let errno = std::fs::File::options()
            .read(true)
            .write(true)
            .open(&path)
            .err()
            .and_then(|e| e.raw_os_error());
        DeviceError::from_errno(errno, format!("{path} cannot be opened: {error}"))
            .or_denied(|| format!("{path} may not be opened; install the udev rule for BlinkStick"))
    })?;
    let identity = identity(info);
    let name = format!("BlinkStick {} ({path})", identity.serial);
    BlinkStick::new(HidRaw { device, name }, identity)
}

fn enumerate() -> Result<HidApi, DeviceError> {
    HidApi::new()
        .map_err(|error| DeviceError::Failed(format!("HID devices cannot be listed: {error}")))
}

fn is_ours(info: &DeviceInfo) -> bool {
    info.vendor_id() == VENDOR && info.product_id() == PRODUCT
}

fn identity(info: &DeviceInfo) -> Identity {
    Identity {
        serial: info.serial_number().unwrap_or_default().to_owned(),
        release: info.release_number(),
    }
}
