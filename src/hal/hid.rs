//! Opens BlinkSticks behind hidraw.

use std::path::Path;

use hidapi::{DeviceInfo, HidApi, HidDevice, HidError};

use super::blinkstick::{BlinkStick, HidTransport, Identity, PRODUCT, VENDOR};
use super::{absent, claimed, failed, from_errno};
use crate::event::{ApplyError, ApplyErrorKind};

/// A hidraw device.
pub struct HidRaw {
    device: HidDevice,
    /// for errors
    name: String,
}

impl std::fmt::Debug for HidRaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HidRaw({})", self.name)
    }
}

impl HidTransport for HidRaw {
    fn send(&mut self, report: &[u8]) -> Result<(), ApplyError> {
        self.device.send_feature_report(report).map_err(|error| self.explain(&error))
    }

    fn receive(&mut self, id: u8, buffer: &mut [u8]) -> Result<usize, ApplyError> {
        if let Some(first) = buffer.first_mut() {
            *first = id;
        }
        self.device.get_feature_report(buffer).map_err(|error| self.explain(&error))
    }
}

impl HidRaw {
    fn explain(&self, error: &HidError) -> ApplyError {
        let text = error.to_string();
        // hidapi keeps the number of the operating system only in its text.
        if text.contains("ENODEV") {
            absent(format!("{} was unplugged", self.name))
        } else {
            failed(format!("{}: {text}", self.name))
        }
    }
}

/// The BlinkSticks that are plugged in.
pub fn list() -> Result<Vec<Identity>, ApplyError> {
    let api = enumerate()?;
    Ok(api.device_list().filter(|info| is_ours(info)).map(identity).collect())
}

/// Opens the stick with this serial number, or the first one.
pub fn open(serial: Option<&str>) -> Result<BlinkStick<HidRaw>, ApplyError> {
    let api = enumerate()?;
    let mut sticks = api.device_list().filter(|info| is_ours(info));
    let wanted = |info: &&DeviceInfo| serial.is_none_or(|serial| info.serial_number() == Some(serial));
    let Some(info) = sticks.find(wanted) else {
        if let Some(stick) = claimed::detached_sticks(Path::new("/")).first() {
            let (text, remedy) = stick.explain();
            return Err(failed(format!("{text}: {remedy}")));
        }
        let which = serial.map(|serial| format!(" with serial number {serial}")).unwrap_or_default();
        return Err(absent(format!("no BlinkStick{which} is plugged in")));
    };
    let path = info.path().to_string_lossy().into_owned();
    let device = api.open_path(info.path()).map_err(|error| {
        // The error carries the number of the operating system only in its text.
        let errno = std::fs::File::options().read(true).write(true).open(&path).err().and_then(|e| e.raw_os_error());
        let mut failure = from_errno(errno, format!("{path} cannot be opened: {error}"));
        if failure.kind == ApplyErrorKind::Denied {
            failure.message = format!("{path} may not be opened: is the udev rule for BlinkStick installed?");
        }
        failure
    })?;
    let identity = identity(info);
    let name = format!("BlinkStick {} ({path})", identity.serial);
    BlinkStick::new(HidRaw { device, name }, identity)
}

fn enumerate() -> Result<HidApi, ApplyError> {
    HidApi::new().map_err(|error| failed(format!("HID devices cannot be listed: {error}")))
}

fn is_ours(info: &DeviceInfo) -> bool {
    info.vendor_id() == VENDOR && info.product_id() == PRODUCT
}

fn identity(info: &DeviceInfo) -> Identity {
    Identity { serial: info.serial_number().unwrap_or_default().to_owned(), release: info.release_number() }
}
