//! Keys of buttons, display, LED and sockets.

use super::Preset::{Board, Toml, Words};
use super::form::{PIN, key, scalar, seconds, text};
use super::{Key, Kind};
use crate::fault::Complaint;
use crate::tree::Scalar;
use crate::{devices, grammar};

/// In the order of the man page.
pub static PANEL: &[Key] = &[
    key(
        "buttons.chip",
        text!("label of a GPIO chip, \"emulator:FILE\" or \"off\"", devices::buttons),
        Toml("\"off\""),
        "The GPIO chip of the buttons, as gpiodetect shows its label.",
    ),
    key("buttons.next", PIN, Words("none"), "Line of the button that shows the next page."),
    key(
        "buttons.acknowledge",
        PIN,
        Words("none"),
        "Line of the button that acknowledges what is wrong.",
    ),
    key(
        "buttons.power",
        PIN,
        Words("none"),
        "Line of the button that powers the head off when held for 5 s.",
    ),
    key(
        "buttons.active_low",
        Kind::Bool,
        Toml("true"),
        "A pressed button connects its line to ground.",
    ),
    key(
        "control.socket",
        text!("absolute path, at most 107 bytes", devices::socket),
        Toml("\"/run/bramblegate/control.sock\""),
        "Where the daemon takes orders about nodes, from root and the group bramblegate.",
    ),
    key(
        "lcd.bus",
        text!("\"/dev/i2c-N\", \"gpio\", \"emulator\", \"emulator:FILE\" or \"off\"", devices::bus),
        Board,
        "What the display hangs on. \"emulator:FILE\" also writes each transaction to FILE as \"ns T ADDR HEX\".",
    ),
    key(
        "lcd.address",
        scalar!("0x20 to 0x27 (PCF8574) or 0x38 to 0x3f (PCF8574A)", devices::expander),
        Board,
        "The backpack's I2C address.",
    ),
    key(
        "lcd.wiring",
        text!("name of a wiring", devices::wiring),
        Board,
        "How the backpack is wired to the display. bramblegate detect --try ADDRESS shows each wiring's name on the glass.",
    ),
    key(
        "lcd.size",
        text!("8x2 16x1 16x2 16x4 20x2 20x4 40x2, in quotes", devices::geometry),
        Board,
        "Columns and rows.",
    ),
    key(
        "lcd.charset",
        Kind::Choice(&["A00", "A02"]),
        Board,
        "The controller's character ROM: A00 has katakana, A02 has more European letters.",
    ),
    key(
        "lcd.backlight",
        text!("\"on\", \"off\" or a duration", devices::backlight),
        Toml("\"on\""),
        "A duration: dark after that long without news, which are another address, alerts, counts of nodes, and a button that is pressed.",
    ),
    key(
        "lcd.page_time",
        Kind::Duration(seconds(1), seconds(3600)),
        Toml("\"4s\""),
        "How long one page stands.",
    ),
    key("lcd.heartbeat", Kind::Bool, Toml("true"), "The beating heart in the last cell."),
    key(
        "lcd.gpio_chip",
        text!("label of a GPIO chip", devices::name),
        Board,
        "For bus = \"gpio\": the chip's label, as gpiodetect shows it.",
    ),
    key(
        "lcd.emulator_script",
        text!("path", devices::file),
        Words("none"),
        "Faults that the emulated display shows at times; for tests.",
    ),
    key("lcd.pins.rs", PIN, Board, "Line of the chip that drives RS."),
    key("lcd.pins.e", PIN, Board, "Line that drives E."),
    key("lcd.pins.d4", PIN, Board, "Line that drives D4."),
    key("lcd.pins.d5", PIN, Board, "Line that drives D5."),
    key("lcd.pins.d6", PIN, Board, "Line that drives D6."),
    key("lcd.pins.d7", PIN, Board, "Line that drives D7."),
    key("lcd.pins.backlight", PIN, Board, "Line that switches the backlight, where one does."),
    key(
        "led.device",
        text!(
            "\"auto\", \"blinkstick\", \"blinkstick:SERIAL\", \"sysfs:NAME\", \"emulator\", \"emulator:FILE\" or \"off\"",
            devices::light
        ),
        Board,
        "The status light. \"auto\" is the first BlinkStick, else led.kernel.",
    ),
    key(
        "led.kernel",
        text!("name in /sys/class/leds", devices::kernel_led),
        Board,
        "The kernel's LED that \"auto\" falls back to.",
    ),
    key(
        "led.brightness",
        Kind::Number(0.0, 1.0),
        Toml("0.3"),
        "0.0 is dark, 1.0 as bright as it can be.",
    ),
    key(
        "led.dim_after",
        text!("duration, or \"off\"", devices::duration_or_off),
        Toml("\"off\""),
        "After so long while all is well: a fifth of the brightness.",
    ),
    key(
        "led.night",
        text!("\"22:00-07:00\", or \"off\"", grammar::night),
        Toml("\"off\""),
        "At these hours a fifth of the brightness while all is well; local time, only once the clock is set.",
    ),
    key("led.animate", Kind::Bool, Toml("true"), "false: colours stand still. For measurements."),
    key(
        "led.emulator_script",
        text!("path", devices::file),
        Words("none"),
        "Faults that the emulated LED shows at times; for tests.",
    ),
    key(
        "status.socket",
        text!("absolute path, at most 107 bytes", devices::socket),
        Toml("\"/run/bramblegate/status.sock\""),
        "Where the daemon shows its state.",
    ),
];
