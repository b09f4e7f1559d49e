//! The common part of all simulated HID devices: feature reports on the default pipe (HID 1.11).

use crate::usbip::descriptor::{Identity, configuration};
use crate::usbip::{Setup, Stall};

const CLASS: u8 = 3;

/// A device behind its feature reports.
pub trait Hid {
    fn identity(&self) -> &Identity;

    /// Returns the feature reports by number, and how many bytes follow the number.
    fn reports(&self) -> &'static [(u8, u8)];

    /// Handles a write of report `number` by the host.
    fn write(&mut self, number: u8, body: &[u8]) -> Result<(), Stall>;

    /// Returns what follows the number in report `number`; the caller pads it with zeros.
    fn read(&self, number: u8) -> Vec<u8>;
}

/// Answers a control transfer.
pub fn control(device: &mut impl Hid, setup: Setup, data: &[u8]) -> Result<Vec<u8>, Stall> {
    let report_map = report_map(device.reports());
    let [low, high] = setup.value.to_le_bytes();
    match (setup.request_type, setup.request, high) {
        (0x80, 6, 1) => Ok(device.identity().device()),
        (0x80, 6, 2) => {
            let [length, more] = (report_map.len() as u16).to_le_bytes();
            let mut rest = vec![9, 0x21, 0x11, 0x01, 0, 1, 0x22, length, more];
            rest.extend([7, 5, 0x81, 3, 8, 0, 10]);
            Ok(configuration(CLASS, 1, &rest))
        }
        (0x80, 6, 3) => Ok(device.identity().string(low)),
        (0x81, 6, 0x22) => Ok(report_map),
        (0x80, 0, _) => Ok(vec![0, 0]),
        // SET_ADDRESS, SET_CONFIGURATION, SET_INTERFACE, and HID's SET_IDLE and SET_PROTOCOL.
        (0x00 | 0x01, _, _) | (0x21, 0x0a | 0x0b, _) => Ok(vec![]),
        (0x21, 9, 3) => device.write(low, data.get(1..).unwrap_or(&[])).map(|()| vec![]),
        (0xa1, 1, 3) => {
            let length = device.reports().iter().find(|(number, _)| *number == low).ok_or(Stall)?.1;
            let mut answer = vec![low];
            answer.extend(device.read(low));
            answer.resize(usize::from(length) + 1, 0);
            Ok(answer)
        }
        _ => Err(Stall),
    }
}

/// Returns the HID report descriptor (6.2.2): a vendor page with each feature report.
fn report_map(reports: &[(u8, u8)]) -> Vec<u8> {
    let mut map =
        vec![0x06, 0x00, 0xff, 0x09, 0x01, 0xa1, 0x01, 0x15, 0x00, 0x26, 0xff, 0x00, 0x75, 0x08];
    for (number, length) in reports {
        map.extend([0x85, *number, 0x95, *length, 0x09, 0x00, 0xb2, 0x02, 0x01]);
    }
    map.push(0xc0);
    map
}
