//! Grammars of `[lcd]`, `[led]` and paths.

use std::path::PathBuf;
use std::time::Duration;

use super::fault::Complaint;
use super::grammar::{Parsed, duration};
use super::tree::Scalar;
use super::{Backlight, GpioPins};
use bramblegate_panel::{Controller, Geometry, Resolution, Wiring};

/// `lcd.bus` before its other keys are looked at.
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
        .filter(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    match text {
        _ if number.is_some() => Ok(Bus::I2c(PathBuf::from(text))),
        "gpio" => Ok(Bus::Gpio),
        "off" => Ok(Bus::Off),
        _ => emulator(text).map(Bus::Emulator).ok_or_else(|| {
            let right = "write \"/dev/i2c-1\" (any number), \"gpio\", \"emulator\", \
                         \"emulator:FILE\" or \"off\"";
            Complaint::new(format!("{text:?} is no bus of a display"), right)
        }),
    }
}

/// "emulator" or "emulator:FILE".
fn emulator(text: &str) -> Option<Option<PathBuf>> {
    match text.strip_prefix("emulator")? {
        "" => Some(None),
        rest => rest
            .strip_prefix(':')
            .filter(|file| !file.is_empty())
            .map(|file| Some(PathBuf::from(file))),
    }
}

/// `led.device`; the fallback of "auto" is another key.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Light {
    Auto,
    BlinkStick(Option<String>),
    Sysfs(String),
    Emulator(Option<PathBuf>),
    Off,
}

pub(super) fn light(text: &str) -> Parsed<Light> {
    let right = "write \"auto\", \"blinkstick\", \"blinkstick:SERIAL\", \"sysfs:NAME\", \
                 \"emulator\", \"emulator:FILE\" or \"off\"";
    let bad = || Complaint::new(format!("{text:?} is no LED"), right);
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
            Some(("sysfs", name)) => kernel_led(name).map(Light::Sysfs),
            _ => emulator(text).map(Light::Emulator).ok_or_else(bad),
        },
    }
}

/// Parses a name in `/sys/class/leds`.
pub(super) fn kernel_led(name: &str) -> Parsed<String> {
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        let right = "write a name as in /sys/class/leds, as \"sysfs:ACT\" for led.device or \
                     \"ACT\" for led.kernel";
        return Err(Complaint::new(format!("{name:?} is no name of a kernel LED"), right));
    }
    Ok(name.to_owned())
}

/// `lcd.driver`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Driver {
    /// by `lcd.size`
    Auto,
    Hd44780,
    Oled(Controller),
}

/// `lcd.size`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    /// characters of an HD44780
    Characters(Geometry),
    /// pixels of an OLED
    Pixels(Resolution),
}

pub(super) fn size(text: &str) -> Parsed<Size> {
    if let Some(resolution) = Resolution::named(text) {
        return Ok(Size::Pixels(resolution));
    }
    text.parse().map(Size::Characters).map_err(|()| {
        let sizes: Vec<String> = Geometry::ALL.iter().map(ToString::to_string).collect();
        let pixels = Resolution::ALL.map(Resolution::name);
        Complaint::new(
            format!("no display is made in size {text:?}"),
            format!("sizes are {}, and {} of an OLED", sizes.join(" "), pixels.join(" ")),
        )
    })
}

pub(super) fn wiring(text: &str) -> Parsed<Wiring> {
    Wiring::named(text).ok_or_else(|| {
        let names = Wiring::names().collect::<Vec<_>>().join("\", \"");
        Complaint::new(
            format!("{text:?} is no known wiring"),
            format!("known are \"{names}\"; `bramblegate detect --try ADDRESS` shows which"),
        )
    })
}

/// Parses the expander's address: PCF8574 or PCF8574A.
pub(super) fn expander(value: Scalar<'_>) -> Parsed<u8> {
    let right = "a PCF8574 has 0x20 to 0x27, a PCF8574A 0x38 to 0x3f, without quotes";
    match value {
        Scalar::Integer(number) => match u8::try_from(number) {
            Ok(address @ (0x20..=0x27 | 0x38..=0x3f)) => Ok(address),
            _ if number < 0 => {
                Err(Complaint::new(format!("{number} is no address of an expander"), right))
            }
            _ => Err(Complaint::new(format!("{number:#04x} is no address of an expander"), right)),
        },
        Scalar::Text(text) => Err(Complaint::new(format!("{text:?} is a text"), right)),
    }
}

pub(super) fn backlight(text: &str) -> Parsed<Backlight> {
    match text {
        "on" => Ok(Backlight::On),
        "off" => Ok(Backlight::Off),
        _ => match duration(text) {
            Ok(after) if !after.is_zero() => Ok(Backlight::After(after)),
            _ => Err(Complaint::new(
                format!("{text:?} is no setting of the backlight"),
                "write \"on\", \"off\", or a duration without news after which it goes dark, as \
                 \"5m\"",
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
            _ => Err(Complaint::new(
                format!("{text:?} is neither \"off\" nor a duration"),
                "write \"10m\", or \"off\"",
            )),
        },
    }
}

/// Path of a Unix socket; `sun_path` of unix(7) has 108 bytes with its NUL.
pub(super) fn socket(text: &str) -> Parsed<PathBuf> {
    if !text.starts_with('/') || text.ends_with('/') || text.contains('\0') {
        return Err(Complaint::new(
            format!("{text:?} is no absolute path of a socket"),
            "write one as \"/run/bramblegate/status.sock\"",
        ));
    }
    if text.len() > 107 {
        return Err(Complaint::new(
            format!("{text:?} is too long for a socket"),
            "107 bytes are the most",
        ));
    }
    Ok(PathBuf::from(text))
}

pub(super) fn file(text: &str) -> Parsed<PathBuf> {
    if text.is_empty() || text.contains('\0') {
        return Err(Complaint::new(format!("{text:?} is no path"), "write the path of a file"));
    }
    Ok(PathBuf::from(text))
}

/// Any text but the empty one.
pub(super) fn name(text: &str) -> Parsed<String> {
    if text.is_empty() {
        Err(Complaint::new("it is empty", "write a name"))
    } else {
        Ok(text.to_owned())
    }
}

/// dnsmasq reads no longer lines (its `MAXDNAME`), and there stands more than the path in one.
const LONGEST_FOLDER: usize = 1000;

/// Parses a folder's absolute path, as dnsmasq's file of settings can have it: it knows quotes, a
/// comma ends a value, and a `#` behind a blank begins a comment.
pub(super) fn folder(text: &str) -> Parsed<PathBuf> {
    let wrong = if !text.starts_with('/') {
        "is no absolute path".to_owned()
    } else if let Some(bad) = text.chars().find(|c| c.is_control() || matches!(c, '"' | ',')) {
        format!("holds {bad:?}, with which dnsmasq would take it for another folder")
    } else if text.contains(" #") || text.ends_with(' ') {
        "has a blank at its end or before a '#', with which dnsmasq would take it for another \
         folder"
            .to_owned()
    } else if text.len() > LONGEST_FOLDER {
        format!("is longer than the {LONGEST_FOLDER} bytes that dnsmasq reads")
    } else {
        return Ok(PathBuf::from(text));
    };
    Err(Complaint::new(
        format!("{text:?} {wrong}"),
        "write one as \"/srv/tftp\", or a link to it that has such a name",
    ))
}

/// Parses what firmware is to load: a file below the folder that is served, or a URL.
pub(super) fn boot_file(text: &str) -> Parsed<String> {
    let right = "write a file below cluster.netboot.root, as \"grubx64.efi\", or an http:// URL";
    loadable(text, &["http://"], right)
}

/// Parses what iPXE is to start: as [`boot_file`], by one of the protocols that it knows.
pub(super) fn loader_file(text: &str) -> Parsed<String> {
    let right = "write a file below cluster.netboot.root, as \"boot.ipxe\", or a URL with \
                 http://, https:// or tftp://";
    loadable(text, &["http://", "https://", "tftp://"], right)
}

fn loadable(text: &str, schemes: &[&str], right: &str) -> Parsed<String> {
    let clean = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',' && byte != b'"');
    let below = !text.starts_with('/') && !text.split('/').any(|part| part == "..");
    let named = |scheme: &str| {
        text.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
    };
    let url = schemes.iter().any(|scheme| named(scheme));
    // 128 bytes are the field `file` of a DHCP message (RFC 2131, 2), its final NUL included.
    if clean && !text.is_empty() && text.len() < 128 && (url || below && !text.contains(':')) {
        return Ok(text.to_owned());
    }
    Err(Complaint::new(format!("{text:?} cannot be loaded"), right))
}

/// `buttons.chip`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ButtonChip {
    Gpio(String),
    Emulator(PathBuf),
    Off,
}

pub(super) fn buttons(text: &str) -> Parsed<ButtonChip> {
    if text == "off" {
        return Ok(ButtonChip::Off);
    }
    match text.strip_prefix("emulator:") {
        Some(path) => file(path).map(ButtonChip::Emulator),
        None => name(text).map(ButtonChip::Gpio),
    }
}

impl GpioPins {
    /// Returns the pin on this line, if it is one of them.
    pub fn name_of(&self, line: u32) -> Option<&'static str> {
        let Self { rs, e, d4, d5, d6, d7, backlight } = *self;
        let pins = [("rs", rs), ("e", e), ("d4", d4), ("d5", d5), ("d6", d6), ("d7", d7)];
        let backlight = backlight.map(|line| ("backlight", line));
        pins.into_iter().chain(backlight).find(|(_, taken)| *taken == line).map(|(name, _)| name)
    }
}
