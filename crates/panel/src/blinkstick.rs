//! BlinkStick: USB LEDs driven by HID feature reports (vendor 20a0, product 41e5).
//!
//! | report | content after the id |
//! |---|---|
//! | 1 | R G B of the first LED |
//! | 4 | mode: 0 RGB, 1 inverse RGB, 2 WS2812, 3 WS2812 mirrored; in EEPROM, so only read here |
//! | 5 | channel, index, R G B |
//! | 6, 7, 8, 9 | channel, then 8, 16, 32, 64 times G R B |
//! | 0x81 | number of LEDs (Flex) |

use std::time::Duration;

use crate::Colour;
use crate::device::{DeviceError, Indicator};

pub const VENDOR: u16 = 0x20a0;
pub const PRODUCT: u16 = 0x41e5;

/// The devices are low-speed USB and stall beyond 20 (10) writes per second.
const ONE_LED: Duration = Duration::from_millis(52);
const ALL_LEDS: Duration = Duration::from_millis(104);

/// Feature reports of a HID device; the first byte is the report id.
pub trait HidTransport: Send {
    /// Sends a feature report (HIDIOCSFEATURE); can block for 5 s.
    fn send(&mut self, report: &[u8]) -> Result<(), DeviceError>;
    /// Returns the length of the report with this id (HIDIOCGFEATURE), which is written to
    /// `buffer`.
    fn receive(&mut self, id: u8, buffer: &mut [u8]) -> Result<usize, DeviceError>;
}

/// What a device reports about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `BSnnnnnn-M.m`
    pub serial: String,
    /// `bcdDevice`.
    pub release: u16,
}

/// The models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Model {
    BlinkStick,
    Pro,
    Square,
    Strip,
    Nano,
    Flex,
    /// A later model, driven like the first one.
    Unknown,
}

impl Model {
    /// Returns the model: by the major version in the serial number, and from version 3 on by
    /// bcdDevice.
    pub fn of(identity: &Identity) -> Self {
        let version = identity.serial.rsplit_once('-').map(|(_, version)| version);
        let major = version
            .and_then(|version| version.split('.').next())
            .and_then(|major| major.parse().ok());
        match (major, identity.release) {
            (Some(1), _) => Self::BlinkStick,
            (Some(2), _) => Self::Pro,
            (Some(3), 0x200) => Self::Square,
            (Some(3), 0x201) => Self::Strip,
            (Some(3), 0x202) => Self::Nano,
            (Some(3), 0x203) => Self::Flex,
            _ => Self::Unknown,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::BlinkStick => "BlinkStick",
            Self::Pro => "BlinkStick Pro",
            Self::Square => "BlinkStick Square",
            Self::Strip => "BlinkStick Strip",
            Self::Nano => "BlinkStick Nano",
            Self::Flex => "BlinkStick Flex",
            Self::Unknown => "BlinkStick of an unknown kind",
        }
    }
}

/// An open stick.
#[derive(Debug)]
pub struct BlinkStick<T> {
    transport: T,
    identity: Identity,
    model: Model,
    /// Colour last sent to each LED; `None` if unknown.
    held: Vec<Option<Colour>>,
}

impl<T: HidTransport> BlinkStick<T> {
    /// Opens a stick. Queries the number of LEDs if it varies within the model.
    pub fn new(mut transport: T, identity: Identity) -> Result<Self, DeviceError> {
        let model = Model::of(&identity);
        let leds = match model {
            Model::BlinkStick | Model::Unknown => 1,
            Model::Square | Model::Strip => 8,
            Model::Nano => 2,
            Model::Pro => match read(&mut transport, 4)? {
                Some(0 | 1) | None => 1,
                Some(_) => 64,
            },
            Model::Flex => match read(&mut transport, 0x81)? {
                Some(0) | None => 8,
                Some(leds) => usize::from(leds.min(64)),
            },
        };
        Ok(Self { transport, identity, model, held: vec![None; leds] })
    }

    pub fn model(&self) -> Model {
        self.model
    }

    /// Returns the report that shows `wanted`; `None` if the LEDs already do.
    fn report(&self, wanted: &[Colour]) -> Option<Vec<u8>> {
        let mut changed = self
            .held
            .iter()
            .zip(wanted)
            .enumerate()
            .filter(|(_, (held, new))| **held != Some(**new));
        let (index, (_, colour)) = changed.next()?;
        let Colour { red, green, blue } = *colour;
        if self.held.len() == 1 {
            return Some(vec![1, red, green, blue]);
        }
        if changed.next().is_none() {
            return Some(vec![5, 0, u8::try_from(index).ok()?, red, green, blue]);
        }
        let (id, size) = [(6, 8), (7, 16), (8, 32)]
            .into_iter()
            .find(|(_, size)| *size >= wanted.len())
            .unwrap_or((9, 64));
        let mut report = vec![id, 0];
        for led in 0..size {
            let Colour { red, green, blue } = wanted.get(led).copied().unwrap_or(Colour::OFF);
            report.extend([green, red, blue]);
        }
        Some(report)
    }
}

fn read<T: HidTransport>(transport: &mut T, id: u8) -> Result<Option<u8>, DeviceError> {
    let mut buffer = [0; 8];
    let length = transport.receive(id, &mut buffer)?;
    Ok(buffer.get(..length.min(buffer.len())).and_then(|report| report.get(1)).copied())
}

impl<T: HidTransport> Indicator for BlinkStick<T> {
    fn set(&mut self, colours: &[Colour]) -> Result<(), DeviceError> {
        let wanted: Vec<Colour> = (0..self.held.len())
            .map(|led| colours.get(led).copied().unwrap_or(Colour::OFF))
            .collect();
        let Some(report) = self.report(&wanted) else { return Ok(()) };
        let result = self.transport.send(&report);
        let sent = result.is_ok();
        self.held = wanted.into_iter().map(|colour| sent.then_some(colour)).collect();
        result
    }

    fn leds(&self) -> u16 {
        u16::try_from(self.held.len()).unwrap_or(u16::MAX)
    }

    fn name(&self) -> String {
        format!("{} {}", self.model.name(), self.identity.serial)
    }

    fn dimmable(&self) -> bool {
        true
    }

    fn interval(&self, changing: usize) -> Duration {
        if self.held.len() == 1 || changing < 2 { ONE_LED } else { ALL_LEDS }
    }
}
