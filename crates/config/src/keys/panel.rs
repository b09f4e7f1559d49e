//! Keys of buttons, display, LED and sockets.

use std::path::PathBuf;
use std::time::Duration;

use bramblegate_panel::{Charset, Controller, Wiring};

use super::Preset::{Board, Toml, Words};
use super::form::{BOOL, PIN, choice, duration, keys, number, scalar, seconds, text};
use crate::devices::{Bus, Driver, Light, Size};
use crate::{Backlight, devices, grammar};

keys! {
    PANEL =
    /// The GPIO chip of the buttons, as gpiodetect shows its label.
    BUTTONS_CHIP: devices::ButtonChip =
        "buttons.chip",
        text!("label of a GPIO chip, \"emulator:FILE\" or \"off\"", devices::buttons),
        Toml("\"off\"");

    /// Line of the button that shows the next page.
    BUTTONS_NEXT: u32 = "buttons.next", PIN, Words("none");

    /// Line of the button that acknowledges what is wrong.
    BUTTONS_ACKNOWLEDGE: u32 = "buttons.acknowledge", PIN, Words("none");

    /// Line of the button that powers the head off when held for 5 s.
    BUTTONS_POWER: u32 = "buttons.power", PIN, Words("none");

    /// A pressed button connects its line to ground.
    BUTTONS_ACTIVE_LOW: bool = "buttons.active_low", BOOL, Toml("true");

    /// Where the daemon takes orders about nodes, from root and the group bramblegate.
    CONTROL_SOCKET: PathBuf =
        "control.socket",
        text!("absolute path, at most 107 bytes", devices::socket),
        Toml("\"/run/bramblegate/control.sock\"");

    /// What the display hangs on. "emulator:FILE" also writes each transaction to FILE as "ns T
    /// ADDR HEX".
    LCD_BUS: Bus =
        "lcd.bus",
        text!("\"/dev/i2c-N\", \"gpio\", \"emulator\", \"emulator:FILE\" or \"off\"", devices::bus),
        Board;

    /// The display's controller. "auto" goes by the size: an OLED where it is in pixels, else an
    /// HD44780; which of the two an OLED has is asked of it.
    LCD_DRIVER: Driver =
        "lcd.driver",
        choice!(
            "auto" => Driver::Auto,
            "hd44780" => Driver::Hd44780,
            "ssd1306" => Driver::Oled(Controller::Ssd1306),
            "sh1106" => Driver::Oled(Controller::Sh1106)
        ),
        Toml("\"auto\"");

    /// The I2C address of the backpack, or of the OLED: 0x3c unless 0x3d is written.
    LCD_ADDRESS: u8 =
        "lcd.address",
        scalar!("0x20 to 0x27 (PCF8574) or 0x38 to 0x3f (PCF8574A)", devices::expander),
        Board;

    /// How the backpack is wired to the display. bramblegate detect --try ADDRESS shows each
    /// wiring's name on the glass.
    LCD_WIRING: Wiring = "lcd.wiring", text!("name of a wiring", devices::wiring), Board;

    /// Columns and rows; of an OLED the pixels, which show 16 columns and 2 or 4 rows. An OLED
    /// named by its driver alone has 128x64.
    LCD_SIZE: Size =
        "lcd.size",
        text!("8x2 16x1 16x2 16x4 20x2 20x4 40x2 128x32 128x64, in quotes", devices::size),
        Board;

    /// The controller's character ROM: A00 has katakana, A02 has more European letters. An OLED
    /// has those of A02 unless A00 is written.
    LCD_CHARSET: Charset =
        "lcd.charset", choice!("A00" => Charset::A00, "A02" => Charset::A02), Board;

    /// A duration: dark after that long without news, which are another address, alerts, counts of
    /// nodes, and a button that is pressed. An OLED glows less after 10 minutes without news, and
    /// goes dark as a whole, as its pixels age with their light.
    LCD_BACKLIGHT: Backlight =
        "lcd.backlight", text!("\"on\", \"off\" or a duration", devices::backlight), Toml("\"on\"");

    /// How long one page stands.
    LCD_PAGE_TIME: Duration = "lcd.page_time", duration(seconds(1), seconds(3600)), Toml("\"4s\"");

    /// The beating heart in the last cell.
    LCD_HEARTBEAT: bool = "lcd.heartbeat", BOOL, Toml("true");

    /// For bus = "gpio": the chip's label, as gpiodetect shows it.
    LCD_GPIO_CHIP: String = "lcd.gpio_chip", text!("label of a GPIO chip", devices::name), Board;

    /// Faults that the emulated display shows at times; for tests.
    LCD_EMULATOR_SCRIPT: PathBuf =
        "lcd.emulator_script", text!("path", devices::file), Words("none");

    /// Line of the chip that drives RS.
    LCD_PINS_RS: u32 = "lcd.pins.rs", PIN, Board;

    /// Line that drives E.
    LCD_PINS_E: u32 = "lcd.pins.e", PIN, Board;

    /// Line that drives D4.
    LCD_PINS_D4: u32 = "lcd.pins.d4", PIN, Board;

    /// Line that drives D5.
    LCD_PINS_D5: u32 = "lcd.pins.d5", PIN, Board;

    /// Line that drives D6.
    LCD_PINS_D6: u32 = "lcd.pins.d6", PIN, Board;

    /// Line that drives D7.
    LCD_PINS_D7: u32 = "lcd.pins.d7", PIN, Board;

    /// Line that switches the backlight, where one does.
    LCD_PINS_BACKLIGHT: u32 = "lcd.pins.backlight", PIN, Board;

    /// The status light. "auto" is the first BlinkStick, else led.kernel.
    LED_DEVICE: Light =
        "led.device",
        text!(
            "\"auto\", \"blinkstick\", \"blinkstick:SERIAL\", \"sysfs:NAME\", \"emulator\", \
             \"emulator:FILE\" or \"off\"",
            devices::light
        ),
        Board;

    /// The kernel's LED that "auto" falls back to.
    LED_KERNEL: String = "led.kernel", text!("name in /sys/class/leds", devices::kernel_led), Board;

    /// 0.0 is dark, 1.0 as bright as it can be.
    LED_BRIGHTNESS: f32 = "led.brightness", number(0.0, 1.0), Toml("0.3");

    /// After so long while all is well: a fifth of the brightness.
    LED_DIM_AFTER: Option<Duration> =
        "led.dim_after", text!("duration, or \"off\"", devices::duration_or_off), Toml("\"off\"");

    /// At these hours a fifth of the brightness while all is well; local time, only once the clock
    /// is set.
    LED_NIGHT: Option<(u16, u16)> =
        "led.night", text!("\"22:00-07:00\", or \"off\"", grammar::night), Toml("\"off\"");

    /// false: colours stand still. For measurements.
    LED_ANIMATE: bool = "led.animate", BOOL, Toml("true");

    /// Faults that the emulated LED shows at times; for tests.
    LED_EMULATOR_SCRIPT: PathBuf =
        "led.emulator_script", text!("path", devices::file), Words("none");

    /// Where the daemon shows its state.
    STATUS_SOCKET: PathBuf =
        "status.socket",
        text!("absolute path, at most 107 bytes", devices::socket),
        Toml("\"/run/bramblegate/status.sock\"");
}
