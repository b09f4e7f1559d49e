//! Parsers of `[lcd]`, `[led]` and paths.

use std::path::PathBuf;
use std::time::Duration;

use super::fault::ValueError;
use super::grammar::{Parsed, duration, number};
use super::tree::Scalar;
use super::{Backlight, GpioPins};
use bramblegate_panel::{Controller, Geometry, Resolution, Wiring};

/// `lcd.bus`, before it is combined with the other keys.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Bus {
    I2c(PathBuf),
    Gpio,
    Emulator(Option<PathBuf>),
    Off,
}

pub(super) fn bus(text: &str) -> Parsed<Bus> {
    let number = text
        .strip_prefix("/dev/i2c-")
        .or_else(|| text.strip_prefix("i2c-"))
        .filter(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    match text {
        _ if number.is_some() => {
            Ok(Bus::I2c(PathBuf::from(format!("/dev/i2c-{}", number.unwrap_or_default()))))
        }
        "gpio" => Ok(Bus::Gpio),
        "off" => Ok(Bus::Off),
        _ => emulator(text).map(Bus::Emulator).ok_or_else(|| {
            let remedy = "write an I2C bus such as \"/dev/i2c-1\", or \"gpio\", \"emulator\", \
                         \"emulator:FILE\" or \"off\"";
            ValueError::new(format!("{text:?} is not a bus of a display"), remedy)
        }),
    }
}

/// Parses "emulator" or "emulator:FILE".
fn emulator(text: &str) -> Option<Option<PathBuf>> {
    match text.strip_prefix("emulator")? {
        "" => Some(None),
        rest => rest
            .strip_prefix(':')
            .filter(|file| !file.is_empty())
            .map(|file| Some(PathBuf::from(file))),
    }
}

/// `led.device`. The fallback of "auto" is a key of its own.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Light {
    Auto,
    BlinkStick(Option<String>),
    Sysfs(String),
    Emulator(Option<PathBuf>),
    Off,
}

pub(super) fn light(text: &str) -> Parsed<Light> {
    let remedy = "write \"auto\", \"blinkstick\", \"blinkstick:SERIAL\", \"sysfs:NAME\", \
                 \"emulator\", \"emulator:FILE\" or \"off\"";
    let bad = || ValueError::new(format!("{text:?} is not an LED"), remedy);
    match text {
        "auto" => Ok(Light::Auto),
        "off" => Ok(Light::Off),
        "blinkstick" => Ok(Light::BlinkStick(None)),
        _ => match text.split_once(':') {
            Some(("blinkstick", serial))
                if serial.bytes().all(|b| b.is_ascii_graphic()) && !serial.is_empty() =>
            {
                Ok(Light::BlinkStick(Some(serial.to_owned())))
            }
            Some(("sysfs", name)) => kernel_led(name).map(Light::Sysfs).map_err(|error| {
                let remedy = "write a name in /sys/class/leds such as \"sysfs:ACT\"";
                ValueError::new(error.message, remedy)
            }),
            _ => emulator(text).map(Light::Emulator).ok_or_else(bad),
        },
    }
}

/// Parses a name in `/sys/class/leds`.
pub(super) fn kernel_led(name: &str) -> Parsed<String> {
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        let remedy = "write a name in /sys/class/leds such as \"ACT\"";
        return Err(ValueError::new(format!("{name:?} is not the name of a kernel LED"), remedy));
    }
    Ok(name.to_owned())
}

/// `lcd.driver`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Driver {
    /// Chosen by `lcd.size`.
    Auto,
    Hd44780,
    Oled(Controller),
}

/// `lcd.size`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    /// Characters of an HD44780.
    Characters(Geometry),
    /// Pixels of an OLED.
    Pixels(Resolution),
}

/// Parses pixels ("128x64"), or columns and rows: "16x2", "16X2", "16*2", or "1602" as printed on
/// packages.
pub(super) fn size(value: Scalar<'_>) -> Parsed<Size> {
    let text = match value {
        Scalar::Text(text) => text.to_owned(),
        Scalar::Integer(integer) => format!("{integer:04}"),
    };
    if let Some(resolution) = Resolution::named(&text) {
        return Ok(Size::Pixels(resolution));
    }
    let parts = match text.split_once(['x', 'X', '*', '×']) {
        Some(parts) => Some(parts),
        None if text.len() == 4 => text.split_at_checked(2),
        None => None,
    };
    let size =
        parts.and_then(|(columns, rows)| Some((number(columns.trim())?, number(rows.trim())?)));
    let mut all = Geometry::ALL.into_iter();
    let geometry = size.and_then(|size| all.find(|known| (known.columns, known.rows) == size));
    geometry.map(Size::Characters).ok_or_else(|| {
        let characters = Geometry::ALL.iter().map(|size| format!("\"{size}\""));
        let pixels = Resolution::ALL.map(|size| format!("\"{}\"", size.name()));
        let sizes: Vec<String> = characters.chain(pixels).collect();
        ValueError::new(
            format!("{text:?} is not the size of a display"),
            format!("write one of {}", sizes.join(", ")),
        )
    })
}

pub(super) fn wiring(text: &str) -> Parsed<Wiring> {
    Wiring::named(text).ok_or_else(|| {
        let names = Wiring::names().collect::<Vec<_>>().join("\", \"");
        ValueError::new(
            format!("{text:?} is not a known wiring"),
            format!(
                "write one of \"{names}\"; `bramblegate detect --try ADDRESS` shows which is right"
            ),
        )
    })
}

/// Parses the expander's address: PCF8574 or PCF8574A.
pub(super) fn expander(value: Scalar<'_>) -> Parsed<u8> {
    let (shown, number) = match value {
        Scalar::Integer(number) => (number.to_string(), u8::try_from(number).ok()),
        Scalar::Text(text) => (format!("{text:?}"), hexadecimal(text)),
    };
    if let Some(address @ (0x20..=0x27 | 0x38..=0x3f)) = number {
        return Ok(address);
    }
    // 27 is most likely the 0x27 of a datasheet or an Arduino sketch.
    let meant = u8::from_str_radix(shown.trim_matches('"'), 16).ok();
    let remedy = match meant {
        Some(meant @ (0x20..=0x27 | 0x38..=0x3f)) => format!("did you mean {meant:#04x}?"),
        _ => "write an address from 0x20 to 0x27 (PCF8574) or from 0x38 to 0x3f (PCF8574A)"
            .to_owned(),
    };
    // The TOML parser does not keep the base of a number, so both are shown.
    let shown = match value {
        Scalar::Integer(number @ 0..) => format!("{number} ({number:#04x})"),
        _ => shown,
    };
    Err(ValueError::new(format!("{shown} is not the address of an expander"), remedy))
}

fn hexadecimal(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?;
    u8::from_str_radix(digits, 16).ok().filter(|_| digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

pub(super) fn backlight(text: &str) -> Parsed<Backlight> {
    match text {
        "on" => Ok(Backlight::On),
        "off" => Ok(Backlight::Off),
        _ => match duration(text) {
            Ok(after) if !after.is_zero() => Ok(Backlight::After(after)),
            _ => Err(ValueError::new(
                format!("{text:?} is not a setting of the backlight"),
                "write \"on\", \"off\" or a duration such as \"5m\"",
            )),
        },
    }
}

/// Parses a duration, or "off".
pub(super) fn duration_or_off(text: &str) -> Parsed<Option<Duration>> {
    match text {
        "off" => Ok(None),
        _ => match duration(text) {
            Ok(after) if !after.is_zero() => Ok(Some(after)),
            _ => Err(ValueError::new(
                format!("{text:?} is neither \"off\" nor a duration"),
                "write a duration such as \"10m\", or \"off\"",
            )),
        },
    }
}

/// Parses the path of a Unix socket; `sun_path` of unix(7) has 108 bytes with its NUL.
pub(super) fn socket(text: &str) -> Parsed<PathBuf> {
    if !text.starts_with('/') || text.ends_with('/') || text.contains('\0') {
        return Err(ValueError::new(
            format!("{text:?} is not the absolute path of a socket"),
            "write one such as \"/run/bramblegate/bramblegate.sock\"",
        ));
    }
    if text.len() > 107 {
        return Err(ValueError::new(
            format!("{text:?} is too long for a socket"),
            "write a path of at most 107 bytes",
        ));
    }
    Ok(PathBuf::from(text))
}

pub(super) fn file(text: &str) -> Parsed<PathBuf> {
    if text.is_empty() || text.contains('\0') {
        return Err(ValueError::new(format!("{text:?} is not a path"), "write the path of a file"));
    }
    Ok(PathBuf::from(text))
}

/// Parses a text that is not empty.
pub(super) fn name(text: &str) -> Parsed<String> {
    if text.is_empty() {
        Err(ValueError::new("the string is empty", "write a name"))
    } else {
        Ok(text.to_owned())
    }
}

/// Longest path, bytes: dnsmasq limits a whole line of its settings (`MAXDNAME`).
const MAX_FOLDER: usize = 1000;

/// Parses a folder's absolute path that dnsmasq's settings can hold: quotes are syntax there, a
/// comma ends a value, and a `#` after a blank begins a comment.
pub(super) fn folder(text: &str) -> Parsed<PathBuf> {
    let message = if !text.starts_with('/') {
        "is not an absolute path".to_owned()
    } else if let Some(bad) = text.chars().find(|c| c.is_control() || matches!(c, '"' | ',')) {
        format!("holds {bad:?}, with which dnsmasq would take it for another folder")
    } else if text.contains(" #") || text.ends_with(' ') {
        "has a blank at its end or before a '#', with which dnsmasq would take it for another \
         folder"
            .to_owned()
    } else if text.len() > MAX_FOLDER {
        format!("is longer than the {MAX_FOLDER} bytes that dnsmasq reads")
    } else {
        return Ok(PathBuf::from(text));
    };
    Err(ValueError::new(
        format!("{text:?} {message}"),
        "write a path such as \"/srv/tftp\", which may be a link to the folder",
    ))
}

/// Parses the file that firmware loads: below the TFTP root, or a URL.
pub(super) fn boot_file(text: &str) -> Parsed<String> {
    let remedy =
        "write a file below cluster.netboot.root such as \"grubx64.efi\", or an http:// URL";
    loadable(text, &["http://"], remedy)
}

/// Parses the file that iPXE starts: as [`boot_file`], with the URL schemes of iPXE.
pub(super) fn loader_file(text: &str) -> Parsed<String> {
    let remedy = "write a file below cluster.netboot.root such as \"boot.ipxe\", or a URL with \
                 http://, https:// or tftp://";
    loadable(text, &["http://", "https://", "tftp://"], remedy)
}

fn loadable(text: &str, schemes: &[&str], remedy: &str) -> Parsed<String> {
    let clean = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',' && byte != b'"');
    let below = !text.starts_with('/') && !text.split('/').any(|part| part == "..");
    let named = |scheme: &str| {
        text.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
    };
    let url = schemes.iter().any(|scheme| named(scheme));
    // The field `file` of a DHCP message has 128 bytes with its final NUL (RFC 2131, 2).
    if clean && !text.is_empty() && text.len() < 128 && (url || below && !text.contains(':')) {
        return Ok(text.to_owned());
    }
    Err(ValueError::new(format!("{text:?} cannot be loaded"), remedy))
}

/// `gpio.chip`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum GpioChip {
    /// The chip of the board's pin header, if the board is known.
    Auto,
    /// A chip, by its label.
    Label(String),
    Emulator(PathBuf),
    Off,
}

pub(super) fn gpio_chip(text: &str) -> Parsed<GpioChip> {
    let number = text.trim_start_matches("/dev/").strip_prefix("gpiochip");
    if number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err(ValueError::new(
            format!("{text:?} is a number that may change with the kernel"),
            "write \"auto\", or the label that gpiodetect shows in brackets such as \
             \"pinctrl-bcm2711\"",
        ));
    }
    match text {
        "auto" => Ok(GpioChip::Auto),
        "off" => Ok(GpioChip::Off),
        _ => match text.strip_prefix("emulator:") {
            Some(path) => file(path).map(GpioChip::Emulator),
            None => name(text).map(GpioChip::Label),
        },
    }
}

impl GpioPins {
    /// Returns the lines of the pins, with their names in the settings.
    pub(super) fn named(&self) -> impl Iterator<Item = (&'static str, u32)> {
        let Self { rs, e, d4, d5, d6, d7, backlight } = *self;
        let pins = [("rs", rs), ("e", e), ("d4", d4), ("d5", d5), ("d6", d6), ("d7", d7)];
        pins.into_iter().chain(backlight.map(|line| ("backlight", line)))
    }

    /// Returns the name of the pin on this line, if there is one.
    pub fn name_of(&self, line: u32) -> Option<&'static str> {
        self.named().find(|(_, pin)| *pin == line).map(|(name, _)| name)
    }
}
