//! Finds devices that another driver or program has claimed, through sysfs: a backpack bound to a
//! kernel driver, or a stick without its driver.

use std::fs;
use std::path::{Path, PathBuf};

use super::blinkstick::{PRODUCT, VENDOR};

/// Returns the kernel driver bound to an address of an I²C adapter (`/dev/i2c-1`, 0x27): the
/// address is busy for programs (`I2C_SLAVE`, Documentation/i2c/dev-interface.rst), and i2cdetect
/// shows `UU`.
pub fn i2c_driver(root: &Path, device: &Path, address: u8) -> Option<String> {
    let client = i2c_client(device, address)?;
    let driver =
        fs::read_link(root.join("sys/bus/i2c/devices").join(client).join("driver")).ok()?;
    Some(driver.file_name()?.to_str()?.to_owned())
}

/// Returns the kernel's name of the device at an address of an adapter: `1-0027`.
fn i2c_client(device: &Path, address: u8) -> Option<String> {
    let bus = device.file_name()?.to_str()?.strip_prefix("i2c-")?.parse::<u32>().ok()?;
    Some(format!("{bus}-{address:04x}"))
}

/// Returns an explanation and a remedy for an address that a kernel driver has claimed.
pub fn i2c_held(root: &Path, device: &Path, address: u8) -> Option<(String, String)> {
    let driver = i2c_driver(root, device, address)?;
    let client = i2c_client(device, address)?;
    let text = format!(
        "{}, address {address:#04x} is held by the kernel's driver {driver} (i2cdetect shows UU), \
         so no other program may write there",
        device.display()
    );
    // ssd1307fb of fbdev, ssd130x-i2c of DRM (arch/arm/boot/dts/overlays/README: ssd1306).
    let overlay = if driver.starts_with("ssd130") { "ssd1306" } else { "hd44780-i2c-lcd" };
    let line = match overlay_line(root, overlay) {
        Some((file, number, line)) => format!("take the line {line} ({file}:{number}) out"),
        None => format!("take the line dtoverlay={overlay} out of /boot/firmware/config.txt"),
    };
    let remedy = format!(
        "`echo {client} | sudo tee /sys/bus/i2c/drivers/{driver}/unbind`, and {line} for the next \
         start"
    );
    Some((text, remedy))
}

/// Returns file, line number and text of the overlay line that loads the display's driver.
fn overlay_line(root: &Path, overlay: &str) -> Option<(String, usize, String)> {
    let chip = overlay.split('-').next()?;
    ["boot/firmware/config.txt", "boot/config.txt"].into_iter().find_map(|file| {
        let text = fs::read_to_string(root.join(file)).ok()?;
        let mut lines = text.lines().map(str::trim).enumerate();
        let (place, line) =
            lines.find(|(_, line)| line.starts_with("dtoverlay=") && line.contains(chip))?;
        Some((format!("/{file}"), place + 1, line.to_owned()))
    })
}

/// A BlinkStick without its kernel driver: a program has detached it (through libusb, as the Python
/// package `blinkstick` does), and nothing reattaches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetachedStick {
    /// The USB interface: `1-1.2:1.0`.
    pub interface: String,
    /// The device node that programs use instead of the kernel driver: `/dev/bus/usb/001/005`.
    pub node: String,
}

impl DetachedStick {
    /// Returns an explanation and a remedy.
    pub fn explain(&self) -> (String, String) {
        let text = "the BlinkStick is plugged in, and its driver in the kernel is detached: a \
                    program that uses it by libusb did that (the \
                    Python package blinkstick), and it stays so after that program's end"
            .to_owned();
        let bind = "/sys/bus/usb/drivers/usbhid/bind";
        (
            text,
            format!(
                "`echo {} | sudo tee {bind}`, or unplug the stick and plug it in again",
                self.interface
            ),
        )
    }
}

/// Returns the sticks without a driver.
pub fn detached_sticks(root: &Path) -> Vec<DetachedStick> {
    let devices = root.join("sys/bus/usb/devices");
    let mut sticks: Vec<DetachedStick> =
        names(&devices).iter().filter_map(|name| detached(&devices, name)).collect();
    sticks.sort_by(|a, b| a.interface.cmp(&b.interface));
    sticks
}

fn detached(devices: &Path, name: &str) -> Option<DetachedStick> {
    let folder = devices.join(name);
    let value = |file: &str| Some(fs::read_to_string(folder.join(file)).ok()?.trim().to_owned());
    let number = |file: &str| u16::from_str_radix(&value(file)?, 16).ok();
    if number("idVendor") != Some(VENDOR) || number("idProduct") != Some(PRODUCT) {
        return None;
    }
    let interface = format!("{name}:1.0");
    // Below its device, or in the flat list.
    let places: [PathBuf; 2] = [folder.join(&interface), devices.join(&interface)];
    let place = places.iter().find(|place| place.is_dir())?;
    let driver = fs::read_link(place.join("driver")).ok();
    let driver = driver.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
    if driver.is_some_and(|driver| driver != "usbfs") {
        return None;
    }
    let (bus, device): (u16, u16) =
        (value("busnum")?.parse().ok()?, value("devnum")?.parse().ok()?);
    Some(DetachedStick { interface, node: format!("/dev/bus/usb/{bus:03}/{device:03}") })
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn file(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn a_backpack_bound_to_a_kernel_driver_is_reported_with_its_overlay() {
        let held = tempfile::tempdir().unwrap();
        let root = held.path().to_owned();
        file(&root, "sys/bus/i2c/devices/1-0027/name", "hd44780\n");
        let device = Path::new("/dev/i2c-1");
        assert_eq!(
            i2c_held(&root, device, 0x27),
            None,
            "named by the device tree, and no driver has it"
        );
        symlink(
            "../../../../bus/i2c/drivers/hd44780",
            root.join("sys/bus/i2c/devices/1-0027/driver"),
        )
        .unwrap();
        let (text, remedy) = i2c_held(&root, device, 0x27).unwrap();
        assert!(text.contains("/dev/i2c-1, address 0x27") && text.contains("hd44780"), "{text}");
        assert!(
            remedy.starts_with("`echo 1-0027 | sudo tee /sys/bus/i2c/drivers/hd44780/unbind`"),
            "{remedy}"
        );
        assert!(
            remedy.contains("dtoverlay=hd44780-i2c-lcd out of /boot/firmware/config.txt"),
            "{remedy}"
        );
        file(
            &root,
            "boot/firmware/config.txt",
            "[all]\ndtparam=i2c_arm=on\ndtoverlay=hd44780-i2c-lcd,pcf857x\n",
        );
        let (_, remedy) = i2c_held(&root, device, 0x27).unwrap();
        assert!(
            remedy.contains("dtoverlay=hd44780-i2c-lcd,pcf857x (/boot/firmware/config.txt:3)"),
            "{remedy}"
        );
        assert_eq!(i2c_held(&root, device, 0x3f), None);
        assert_eq!(i2c_held(&root, Path::new("/dev/i2c-0"), 0x27), None);
    }

    #[test]
    fn an_oled_bound_to_a_kernel_driver_is_reported_with_its_overlay() {
        let held = tempfile::tempdir().unwrap();
        let root = held.path().to_owned();
        let driver = root.join("sys/bus/i2c/devices/1-003c/driver");
        fs::create_dir_all(driver.parent().unwrap()).unwrap();
        symlink("../../../../bus/i2c/drivers/ssd130x-i2c", driver).unwrap();
        file(&root, "boot/firmware/config.txt", "dtoverlay=hd44780-lcd\ndtoverlay=ssd1306\n");
        let (text, remedy) = i2c_held(&root, Path::new("/dev/i2c-1"), 0x3c).unwrap();
        assert!(text.contains("ssd130x-i2c"), "{text}");
        assert!(remedy.contains("dtoverlay=ssd1306 (/boot/firmware/config.txt:2)"), "{remedy}");
    }

    #[test]
    fn a_stick_without_its_driver_is_detected() {
        let held = tempfile::tempdir().unwrap();
        let root = held.path().to_owned();
        let device = "sys/bus/usb/devices/1-1.2";
        for (name, text) in
            [("idVendor", "20a0\n"), ("idProduct", "41e5\n"), ("busnum", "1\n"), ("devnum", "5\n")]
        {
            file(&root, &format!("{device}/{name}"), text);
        }
        file(&root, &format!("{device}/1-1.2:1.0/bInterfaceClass"), "03\n");
        let stick = DetachedStick {
            interface: "1-1.2:1.0".to_owned(),
            node: "/dev/bus/usb/001/005".to_owned(),
        };
        assert_eq!(detached_sticks(&root), std::slice::from_ref(&stick));
        let driver = root.join(format!("{device}/1-1.2:1.0/driver"));
        symlink("../../../bus/usb/drivers/usbfs", &driver).unwrap();
        assert_eq!(detached_sticks(&root), [stick]);
        fs::remove_file(&driver).unwrap();
        symlink("../../../bus/usb/drivers/usbhid", &driver).unwrap();
        assert_eq!(detached_sticks(&root), []);
        file(&root, &format!("{device}/idProduct"), "0001\n");
        fs::remove_file(&driver).unwrap();
        assert_eq!(detached_sticks(&root), [], "another device");
    }
}
