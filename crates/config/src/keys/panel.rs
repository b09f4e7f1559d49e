//! Keys of buttons, GPIO, display, LED and sockets.

use std::path::PathBuf;
use std::time::Duration;

use bramblegate_panel::{Charset, Controller, Wiring};

use super::Preset::{Board, Toml, Words};
use super::form::{BOOL, PIN, choice, duration, keys, number, scalar, seconds, text};
use crate::devices::{Bus, Driver, GpioChip, Light, Size};
use crate::{Backlight, devices, grammar};

keys! {
    PANEL =
    /// false: there are no buttons.
    BUTTONS_ENABLED: bool = "buttons.enabled", BOOL, Words("true if a button has a line");

    /// The line of the button that shows the next page.
    BUTTONS_NEXT: u32 = "buttons.next", PIN, Words("none");

    /// The line of the button that acknowledges all current alerts.
    BUTTONS_ACKNOWLEDGE: u32 = "buttons.acknowledge", PIN, Words("none");

    /// The line of the button that powers the head node off when held for 5 s.
    BUTTONS_POWER: u32 = "buttons.power", PIN, Words("none");

    /// true: a pressed button connects its line to ground.
    BUTTONS_ACTIVE_LOW: bool = "buttons.active_low", BOOL, Toml("true");

    /// The GPIO chip of the buttons, and of a display with bus = "gpio". Give its label, as
    /// gpiodetect shows it: the number in gpiochip0 may change with the kernel. "auto" is the chip
    /// of the board's pin header. "emulator:FILE" reads the buttons from a FIFO, for tests.
    GPIO_CHIP: GpioChip =
        "gpio.chip",
        text!(
            "\"auto\", the label of a GPIO chip such as \"pinctrl-bcm2711\", \"emulator:FILE\" or \
             \"off\"",
            devices::gpio_chip
        ),
        Toml("\"auto\""), was "lcd.gpio_chip", "buttons.chip";

    /// false: there is no display.
    LCD_ENABLED: bool = "lcd.enabled", BOOL, Words("true, unless bus is \"off\"");

    /// What the display is connected to. "emulator:FILE" also writes each transaction to FILE as
    /// "ns T ADDR HEX".
    LCD_BUS: Bus =
        "lcd.bus",
        text!(
            "an I2C bus such as \"/dev/i2c-1\", or \"gpio\", \"emulator\", \"emulator:FILE\" or \
             \"off\"",
            devices::bus
        ),
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
        scalar!(
            "an address from 0x20 to 0x27 (PCF8574) or from 0x38 to 0x3f (PCF8574A)",
            devices::expander
        ),
        Board;

    /// How the backpack is wired to the display. Run bramblegate detect --try ADDRESS: it shows
    /// each wiring's number on the display.
    LCD_WIRING: Wiring =
        "lcd.wiring", text!("the name of a wiring such as \"usual\"", devices::wiring), Board;

    /// Columns and rows. The number on the display's package, such as "1602", is accepted as well.
    /// For an OLED, give its pixels: "128x32" shows 16 columns and 2 rows, "128x64" 4 rows. An OLED
    /// that only lcd.driver names has 128x64.
    LCD_SIZE: Size =
        "lcd.size",
        scalar!(
            "\"8x2\", \"16x1\", \"16x2\", \"16x4\", \"20x2\", \"20x4\", \"40x2\", \"128x32\" or \"128x64\"",
            devices::size
        ),
        Board;

    /// The controller's character ROM: A00 has katakana, A02 has more European letters. An OLED
    /// has those of A02 unless A00 is written.
    LCD_CHARSET: Charset =
        "lcd.charset", choice!("A00" => Charset::A00, "A02" => Charset::A02), Board;

    /// With a duration, the backlight goes off after that time without news. News are another
    /// address, an alert, another number of nodes, and a pressed button. An OLED, whose pixels age
    /// with their light, dims after 10 minutes without news and then goes off as a whole.
    LCD_BACKLIGHT: Backlight =
        "lcd.backlight",
        text!("\"on\", \"off\" or a duration such as \"5m\"", devices::backlight),
        Toml("\"on\"");

    /// How long each page is shown.
    LCD_PAGE_TIME: Duration = "lcd.page_time", duration(seconds(1), seconds(3600)), Toml("\"4s\"");

    /// Show the beating heart in the last cell.
    LCD_HEARTBEAT: bool = "lcd.heartbeat", BOOL, Toml("true");

    /// The script of failures of the emulated display, for tests.
    LCD_EMULATOR_SCRIPT: PathBuf =
        "lcd.emulator_script",
        text!("a path such as \"lcd-faults.txt\"", devices::file),
        Words("none");

    /// For bus = "gpio": the line that drives RS.
    LCD_PINS_RS: u32 = "lcd.pins.rs", PIN, Board;

    /// The line that drives E.
    LCD_PINS_E: u32 = "lcd.pins.e", PIN, Board;

    /// The line that drives D4.
    LCD_PINS_D4: u32 = "lcd.pins.d4", PIN, Board;

    /// The line that drives D5.
    LCD_PINS_D5: u32 = "lcd.pins.d5", PIN, Board;

    /// The line that drives D6.
    LCD_PINS_D6: u32 = "lcd.pins.d6", PIN, Board;

    /// The line that drives D7.
    LCD_PINS_D7: u32 = "lcd.pins.d7", PIN, Board;

    /// The line that switches the backlight, if there is one.
    LCD_PINS_BACKLIGHT: u32 = "lcd.pins.backlight", PIN, Board;

    /// false: there is no status LED.
    LED_ENABLED: bool = "led.enabled", BOOL, Words("true, unless device is \"off\"");

    /// The status LED. "auto" is the first BlinkStick, otherwise the LED of led.kernel. "sysfs:NAME"
    /// is an LED in /sys/class/leds.
    LED_DEVICE: Light =
        "led.device",
        text!(
            "\"auto\", \"blinkstick\", \"blinkstick:SERIAL\", \"sysfs:NAME\", \"emulator\", \
             \"emulator:FILE\" or \"off\"",
            devices::light
        ),
        Board;

    /// The kernel LED that "auto" falls back to.
    LED_KERNEL: String =
        "led.kernel",
        text!("a name in /sys/class/leds such as \"ACT\"", devices::kernel_led),
        Board;

    /// 0.0 is dark, 1.0 is full brightness.
    LED_BRIGHTNESS: f32 = "led.brightness", number(0.0, 1.0), Toml("0.3");

    /// After this time without alerts the LED dims to a fifth of its brightness.
    LED_DIM_AFTER: Option<Duration> =
        "led.dim_after",
        text!("a duration such as \"10m\", or \"off\"", devices::duration_or_off),
        Toml("\"off\"");

    /// In these hours the LED dims to a fifth of its brightness while there are no alerts. The hours
    /// are in local time, and count only once the clock is set.
    LED_QUIET_HOURS: Option<(u16, u16)> =
        "led.quiet_hours",
        text!("a time range such as \"22:00-07:00\", or \"off\"", grammar::quiet_hours),
        Toml("\"off\""), was "led.night";

    /// false: colours do not change over time. For measurements.
    LED_ANIMATE: bool = "led.animate", BOOL, Toml("true");

    /// The script of failures of the emulated LED, for tests.
    LED_EMULATOR_SCRIPT: PathBuf =
        "led.emulator_script",
        text!("a path such as \"led-faults.txt\"", devices::file),
        Words("none");

    /// Where the daemon publishes its state.
    SOCKETS_STATUS: PathBuf =
        "sockets.status",
        text!(
            "an absolute path of at most 107 bytes such as \"/run/bramblegate/status.sock\"",
            devices::socket
        ),
        Toml("\"/run/bramblegate/status.sock\""), was "status.socket";

    /// Where the daemon accepts commands, from root and the group bramblegate.
    SOCKETS_CONTROL: PathBuf =
        "sockets.control",
        text!(
            "an absolute path of at most 107 bytes such as \"/run/bramblegate/control.sock\"",
            devices::socket
        ),
        Toml("\"/run/bramblegate/control.sock\""), was "control.socket";
}
