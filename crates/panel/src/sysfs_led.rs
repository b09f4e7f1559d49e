//! LEDs of the kernel: `/sys/class/leds/NAME` (Documentation/leds/leds-class.rst,
//! leds-class-multicolor.rst).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Colour;
use crate::device::{DeviceError, Indicator};

/// The kernel's LED directory.
pub const LEDS: &str = "/sys/class/leds";

/// A kernel LED.
#[derive(Debug)]
pub struct SysfsLed {
    folder: PathBuf,
    name: String,
    /// `max_brightness`
    full: u32,
    /// `multi_index`, for a multicolour LED.
    channels: Option<Vec<String>>,
    dimmable: bool,
    held: Option<Colour>,
}

impl SysfsLed {
    /// Opens an LED and disables its trigger. `leds` is [`LEDS`] except in tests.
    pub fn open(leds: &Path, name: &str) -> Result<Self, DeviceError> {
        let folder = leds.join(name);
        if !folder.is_dir() {
            return Err(DeviceError::Absent(format!("there is no LED {}", folder.display())));
        }
        let full = read(&folder.join("max_brightness"))
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(1);
        let channels = read(&folder.join("multi_index")).ok();
        let channels = channels.map(|text| text.split_whitespace().map(str::to_owned).collect());
        let driver = fs::read_link(folder.join("device/driver")).ok();
        let by_gpio =
            driver.is_some_and(|driver| driver.file_name().is_some_and(|name| name == "leds-gpio"));
        let led = Self {
            folder,
            name: name.to_owned(),
            full,
            channels,
            dimmable: full > 1 && !by_gpio,
            held: None,
        };
        led.write("trigger", "none")?;
        Ok(led)
    }

    fn write(&self, file: &str, value: &str) -> Result<(), DeviceError> {
        let path = self.folder.join(file);
        fs::write(&path, value).map_err(|error| {
            DeviceError::from_errno(error.raw_os_error(), format!("{}: {error}", path.display()))
                .or_denied(|| {
                    format!("{} may not be written; install the udev rule for LEDs", path.display())
                })
        })
    }

    fn scaled(&self, value: u8) -> u32 {
        let value = u32::from(value);
        // A colour that is not dark stays visible.
        if value == 0 { 0 } else { (value * self.full / 255).max(1) }
    }

    fn show(&self, colour: Colour) -> Result<(), DeviceError> {
        let Colour { red, green, blue } = colour;
        let Some(channels) = &self.channels else {
            return self.write("brightness", &self.scaled(red.max(green).max(blue)).to_string());
        };
        let intensities: Vec<String> = channels
            .iter()
            .map(|channel| match channel.as_str() {
                "red" => red,
                "green" => green,
                "blue" => blue,
                _ => 0,
            })
            .map(|value| self.scaled(value).to_string())
            .collect();
        self.write("multi_intensity", &intensities.join(" "))?;
        self.write("brightness", &self.full.to_string())
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    fs::read_to_string(path)
}

impl Indicator for SysfsLed {
    fn set(&mut self, colours: &[Colour]) -> Result<(), DeviceError> {
        let colour = colours.first().copied().unwrap_or(Colour::OFF);
        if self.held == Some(colour) {
            return Ok(());
        }
        self.held = None;
        self.show(colour)?;
        self.held = Some(colour);
        Ok(())
    }

    fn leds(&self) -> u16 {
        1
    }

    fn name(&self) -> String {
        format!("kernel LED {}", self.name)
    }

    fn dimmable(&self) -> bool {
        self.dimmable
    }

    fn interval(&self, _changing: usize) -> Duration {
        Duration::from_millis(50)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf, #[expect(dead_code, reason = "removed when dropped")] tempfile::TempDir);

    impl Folder {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let held = tempfile::Builder::new().prefix(name).tempdir().unwrap();
            let path = held.path().to_owned();
            fs::create_dir_all(path.join("led")).unwrap();
            for (file, content) in files {
                fs::write(path.join("led").join(file), content).unwrap();
            }
            Self(path, held)
        }

        fn read(&self, file: &str) -> String {
            fs::read_to_string(self.0.join("led").join(file)).unwrap()
        }
    }

    #[test]
    fn a_plain_led_shows_the_brightest_channel() {
        let folder = Folder::new(
            "plain",
            &[("max_brightness", "255\n"), ("brightness", "0"), ("trigger", "[mmc0]")],
        );
        let mut led = SysfsLed::open(&folder.0, "led").unwrap();
        assert_eq!(folder.read("trigger"), "none");
        led.set(&[Colour { red: 10, green: 77, blue: 0 }]).unwrap();
        assert_eq!(folder.read("brightness"), "77");
        led.set(&[Colour::OFF]).unwrap();
        assert_eq!(folder.read("brightness"), "0");
    }

    #[test]
    fn a_multicolour_led_gets_each_channel_in_its_own_order() {
        let files = [
            ("max_brightness", "127"),
            ("multi_index", "green blue red\n"),
            ("multi_intensity", ""),
        ];
        let folder = Folder::new("multi", &files);
        let mut led = SysfsLed::open(&folder.0, "led").unwrap();
        led.set(&[Colour { red: 255, green: 128, blue: 1 }]).unwrap();
        assert_eq!(folder.read("multi_intensity"), "63 1 127");
        assert_eq!(folder.read("brightness"), "127");
        assert!(led.dimmable());
    }

    #[test]
    fn a_missing_led_is_absent() {
        let error = SysfsLed::open(Path::new("/nonexistent"), "ACT").unwrap_err();
        assert!(matches!(error, DeviceError::Absent(_)), "{error}");
    }

    #[test]
    fn a_binary_led_is_not_dimmable() {
        let folder = Folder::new("onoff", &[("max_brightness", "1")]);
        assert!(!SysfsLed::open(&folder.0, "led").unwrap().dimmable());
    }
}
