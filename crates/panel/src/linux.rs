//! Opens the machine's I²C adapters and GPIO chips.

use std::path::Path;
use std::time::Duration;

use embedded_hal::delay::DelayNs;
use embedded_hal::i2c::I2c;
use linux_embedded_hal::gpio_cdev::{self, LineRequestFlags};
use linux_embedded_hal::i2cdev::linux::LinuxI2CError;
use linux_embedded_hal::{CdevPin, I2CError, I2cdev};
use rustix::io::Errno;

use super::gpio::{Gpio, Pins};
use super::pcf8574::{ADDRESSES, CLOCK_HZ, Pcf8574};
use crate::bus::{BusError, BusFault};
use crate::claimed;
use crate::device::DeviceError;
use crate::wiring::Wiring;
use crate::{Charset, Controller, Oled, Resolution};

/// A delay that sleeps.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sleep;

impl DelayNs for Sleep {
    fn delay_ns(&mut self, ns: u32) {
        std::thread::sleep(Duration::from_nanos(u64::from(ns)));
    }

    fn delay_us(&mut self, us: u32) {
        std::thread::sleep(Duration::from_micros(u64::from(us)));
    }

    fn delay_ms(&mut self, ms: u32) {
        std::thread::sleep(Duration::from_millis(u64::from(ms)));
    }
}

impl BusError for I2CError {
    /// Classifies an errno by the kernel's Documentation/i2c/fault-codes.rst; many drivers return
    /// EREMOTEIO for a missing acknowledge.
    fn fault(&self) -> BusFault {
        let errno = errno_of(self.inner());
        if matches!(errno.map(Errno::from_raw_os_error), Some(Errno::MSGSIZE | Errno::OPNOTSUPP)) {
            return BusFault::TooLong;
        }
        match DeviceError::from_errno(errno, String::new()) {
            DeviceError::Absent(_) => BusFault::Absent,
            DeviceError::Denied(_) => BusFault::Denied,
            DeviceError::Failed(_) => BusFault::Failed,
        }
    }
}

fn errno_of(error: &LinuxI2CError) -> Option<i32> {
    match error {
        LinuxI2CError::Errno(errno) => Some(*errno),
        LinuxI2CError::Io(error) => error.raw_os_error(),
    }
}

/// Opens an expander on `/dev/i2c-N`.
pub fn open_i2c(
    device: &Path,
    address: u8,
    wiring: Wiring,
) -> Result<Pcf8574<I2cdev, Sleep>, DeviceError> {
    let name = device.display().to_string();
    let bus = open_bus(device, address)?;
    Ok(Pcf8574::new(bus, Sleep, address, wiring, &name, clock_hz(device)))
}

/// Opens an OLED on `/dev/i2c-N`. Without a `controller` the chip is detected.
pub fn open_oled(
    device: &Path,
    address: u8,
    controller: Option<Controller>,
    resolution: Resolution,
    charset: Charset,
) -> Result<Oled<I2cdev>, DeviceError> {
    let name = device.display().to_string();
    let bus = open_bus(device, address)?;
    Ok(Oled::new(bus, address, controller, resolution, charset, &name))
}

/// Addresses that answered a read, each with the byte read; or why the bus cannot be read.
pub type Answers = Result<Vec<(u8, u8)>, String>;

/// Reads a byte from each address that an expander may have, which include those of OLEDs.
pub fn read_expanders(device: &Path) -> Answers {
    let mut bus = I2cdev::new(device).map_err(|error| error.to_string())?;
    let mut answers = Vec::new();
    for address in ADDRESSES.into_iter().flatten() {
        let mut byte = [0];
        if bus.read(address, &mut byte).is_ok() {
            answers.push((address, u8::from_ne_bytes(byte)));
        }
    }
    Ok(answers)
}

/// Opens an adapter for one of its addresses.
fn open_bus(device: &Path, address: u8) -> Result<I2cdev, DeviceError> {
    let name = device.display();
    if let Some((text, remedy)) = claimed::i2c_held(Path::new("/"), device, address) {
        return Err(DeviceError::Failed(format!("{text}; {remedy}")));
    }
    I2cdev::new(device).map_err(|error| {
        let errno = errno_of(&error);
        match DeviceError::from_errno(errno, format!("{name} cannot be opened: {error}")) {
            DeviceError::Absent(_) => DeviceError::Absent(format!(
                "there is no {name}; switch I²C on (dtparam=i2c_arm=on in config.txt), or name another \
                 bus"
            )),
            DeviceError::Denied(_) => DeviceError::Denied(format!(
                "{name} may not be opened; add the user to the group i2c"
            )),
            failed @ DeviceError::Failed(_) => failed,
        }
    })
}

/// Returns the adapter's clock from the device tree (`clock-frequency`, big endian), or the
/// expander's own if it is not given.
fn clock_hz(device: &Path) -> u32 {
    let Some(name) = device.file_name() else { return CLOCK_HZ };
    let path = Path::new("/sys/class/i2c-dev").join(name).join("device/of_node/clock-frequency");
    let bytes = std::fs::read(path).ok().and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
    bytes.map(u32::from_be_bytes).filter(|hz| *hz > 0).unwrap_or(CLOCK_HZ)
}

/// Opens the display's lines on the GPIO chip with this label ("pinctrl-bcm2711"), because chip
/// numbers vary between kernels.
pub fn open_gpio(label: &str, offsets: Pins<u32>) -> Result<Gpio<CdevPin, Sleep>, DeviceError> {
    let fault = |error: gpio_cdev::errors::Error| gpio_fault(label, &error);
    let chips = gpio_cdev::chips().map_err(fault)?;
    let mut chip = chips
        .filter_map(Result::ok)
        .find(|chip| chip.label() == label || chip.name() == label)
        .ok_or_else(|| DeviceError::Absent(format!("there is no GPIO chip labelled {label}")))?;
    let mut line = |offset: u32| -> Result<CdevPin, gpio_cdev::errors::Error> {
        CdevPin::new(chip.get_line(offset)?.request(LineRequestFlags::OUTPUT, 0, "bramblegate")?)
    };
    let [d4, d5, d6, d7] = offsets.data;
    let pins = Pins {
        rs: line(offsets.rs).map_err(fault)?,
        e: line(offsets.e).map_err(fault)?,
        data: [
            line(d4).map_err(fault)?,
            line(d5).map_err(fault)?,
            line(d6).map_err(fault)?,
            line(d7).map_err(fault)?,
        ],
        backlight: offsets.backlight.map(line).transpose().map_err(fault)?,
    };
    Ok(Gpio::new(pins, Sleep, label))
}

fn gpio_fault(label: &str, error: &gpio_cdev::errors::Error) -> DeviceError {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut errno = None;
    while let Some(cause) = source {
        errno = errno.or_else(|| {
            cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error)
        });
        source = cause.source();
    }
    DeviceError::from_errno(errno, format!("GPIO chip {label}: {error}"))
}
