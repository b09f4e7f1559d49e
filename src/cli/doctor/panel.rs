//! Rights on the devices of display and LED, and other programs that have them open.

use std::os::unix::fs::MetadataExt;

use super::sockets::{Process, holders};
use super::{CheckContext, Finding, FindingCode};
use crate::cli::machine::Machine;
use crate::config::{LcdBus, LedDevice};
use crate::panel::claimed::{self, DetachedStick};

/// The service's own group, and those that its unit adds.
const GROUPS: [&str; 3] = ["bramblegate", "i2c", "gpio"];

/// Finds devices of the settings that the service may not open.
pub fn rights(context: &CheckContext<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(device) = context.i2c_device() {
        if context.machine.exists(&device) {
            findings.extend(check_access(context, &device, FindingCode::LcdDenied));
        } else {
            findings.push(Finding::of(FindingCode::LcdAbsent, format!("there is no {device}")));
        }
    }
    if matches!(context.settings.lcd.bus, LcdBus::Gpio { .. }) {
        let chips =
            context.machine.list("/dev").into_iter().filter(|name| name.starts_with("gpiochip"));
        findings.extend(chips.filter_map(|chip| {
            check_access(context, &format!("/dev/{chip}"), FindingCode::LcdDenied)
        }));
    }
    if uses_stick(&context.settings.led.device) {
        findings.extend(
            sticks(context)
                .iter()
                .filter_map(|device| check_access(context, device, FindingCode::LedDenied)),
        );
    }
    findings
}

fn uses_stick(device: &LedDevice) -> bool {
    matches!(device, LedDevice::Auto { .. } | LedDevice::BlinkStick { .. })
}

/// Returns the device nodes of the BlinkSticks, by the vendor and product number of their HID
/// device.
fn sticks(context: &CheckContext<'_>) -> Vec<String> {
    let names = context.machine.list("/sys/class/hidraw").into_iter();
    names
        .filter(|name| is_stick(context.machine, name))
        .map(|name| format!("/dev/{name}"))
        .collect()
}

/// Returns whether a hidraw device is a BlinkStick (USB 20a0:41e5).
fn is_stick(machine: &Machine, name: &str) -> bool {
    let uevent =
        machine.read(&format!("/sys/class/hidraw/{name}/device/uevent")).unwrap_or_default();
    uevent.to_ascii_uppercase().contains(":000020A0:000041E5")
}

/// Returns a finding unless a device node is open to one of the service's groups.
fn check_access(context: &CheckContext<'_>, device: &str, code: FindingCode) -> Option<Finding> {
    let metadata = context.machine.path(device).metadata().ok()?;
    let group = group_name(context, metadata.gid());
    let writable = metadata.mode() & 0o060 == 0o060;
    if writable && group.as_deref().is_some_and(|group| GROUPS.contains(&group)) {
        return None;
    }
    let group = group.unwrap_or_else(|| metadata.gid().to_string());
    let text = format!(
        "{device} has group {group} and mode {:04o}: the service may not use it",
        metadata.mode() & 0o7777
    );
    Some(Finding::of(code, text))
}

fn group_name(context: &CheckContext<'_>, id: u32) -> Option<String> {
    let groups = context.machine.read("/etc/group")?;
    let id = id.to_string();
    groups.lines().map(|line| line.split(':').collect::<Vec<_>>()).find_map(|fields| {
        match fields.as_slice() {
            [name, _, gid, ..] if *gid == id => Some((*name).to_owned()),
            _ => None,
        }
    })
}

/// Finds other programs that have a device open and may write in between.
fn check_holders(context: &CheckContext<'_>, device: &str) -> Vec<Finding> {
    let others = holders(context.machine, device)
        .into_iter()
        .filter(|process| process.name != "bramblegate");
    others.map(|process| held_by(context.machine, device, &process)).collect()
}

/// Describes a process that has a device open.
fn held_by(machine: &Machine, device: &str, process: &Process) -> Finding {
    let command = machine.read(&format!("/proc/{}/cmdline", process.id)).unwrap_or_default();
    let command = command.trim_end_matches('\0').replace('\0', " ");
    let code = if device.contains("hidraw") { FindingCode::LedHeld } else { FindingCode::LcdHeld };
    Finding::of(code, format!("{process} has {device} open: {command}"))
}

/// Finds a display that a kernel driver holds, and a stick that is detached from its kernel driver.
pub fn claimed(context: &CheckContext<'_>) -> Vec<Finding> {
    let root = context.machine.path("/");
    let mut findings = Vec::new();
    if let LcdBus::I2c { device, address, .. } = &context.settings.lcd.bus {
        let held = claimed::i2c_held(&root, device, *address);
        findings
            .extend(held.map(|(text, remedy)| Finding::new(FindingCode::LcdHeld, text, remedy)));
    }
    if uses_stick(&context.settings.led.device) {
        findings
            .extend(claimed::detached_sticks(&root).iter().map(|stick| detached(context, stick)));
    }
    findings
}

/// Describes a stick that is detached from its kernel driver. A process that holds it must end
/// first.
fn detached(context: &CheckContext<'_>, stick: &DetachedStick) -> Finding {
    let (mut text, mut remedy) = stick.explain();
    if let Some(holder) = holders(context.machine, &stick.node).first() {
        text += &format!("; {holder} has it open now");
        remedy =
            format!("`sudo kill {}`, and take it out of what starts it; then {remedy}", holder.id);
    }
    Finding::new(FindingCode::LedDetached, text, remedy)
}

/// Finds other programs that have a device of the settings open.
pub fn held(context: &CheckContext<'_>) -> Vec<Finding> {
    let sticks =
        if uses_stick(&context.settings.led.device) { sticks(context) } else { Vec::new() };
    let devices = context.i2c_device().into_iter().chain(sticks);
    devices.flat_map(|device| check_holders(context, &device)).collect()
}
