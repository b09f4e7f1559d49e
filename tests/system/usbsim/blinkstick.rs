//! A BlinkStick on the USB bus: HID device 20a0:41e5, whose feature reports set the colours.

use std::collections::VecDeque;
use std::time::Instant;

use crate::hid::{self, Hid};
use crate::usbip::descriptor::Identity;
use crate::usbip::{Device, Setup, Speed, Stall};

const LEDS: usize = 64;
const REMEMBERED: usize = 4096;

/// Feature reports by number: how many bytes follow the number.
const REPORTS: [(u8, u8); 10] =
    [(1, 3), (2, 32), (3, 32), (4, 1), (5, 5), (6, 25), (7, 49), (8, 97), (9, 193), (0x81, 2)];

/// A report that changed the first LED: milliseconds since the stick was plugged in, and its new
/// colour.
type Change = (u128, [u8; 3]);

#[derive(Debug)]
pub struct BlinkStick {
    identity: Identity,
    leds: [[u8; 3]; LEDS],
    reports: u64,
    plugged: Instant,
    changes: VecDeque<Change>,
}

impl BlinkStick {
    /// `model` is the number in the serial; if it is 3, `release` distinguishes Square (0x200),
    /// Strip, Nano and Flex.
    pub fn new(model: u8, release: u16) -> Self {
        let identity = Identity {
            vendor: 0x20a0,
            product: 0x41e5,
            release,
            maker: "Agile Innovative Ltd",
            name: "BlinkStick",
            serial: format!("BS012345-{model}.0"),
        };
        Self {
            identity,
            leds: [[0; 3]; LEDS],
            reports: 0,
            plugged: Instant::now(),
            changes: VecDeque::new(),
        }
    }

    /// Returns `{"leds":["#rrggbb",…],"reports":N,"ms":T}` with the first eight LEDs.
    pub fn state(&self) -> String {
        let leds: Vec<String> =
            self.leds.iter().take(8).map(|led| format!("\"{}\"", hex(*led))).collect();
        format!(
            "{{\"leds\":[{}],\"reports\":{},\"ms\":{}}}",
            leds.join(","),
            self.reports,
            self.plugged.elapsed().as_millis()
        )
    }

    /// Returns one line `ms #rrggbb` for each change of the first LED.
    pub fn history(&self) -> String {
        self.changes.iter().map(|(ms, colour)| format!("{ms} {}\n", hex(*colour))).collect()
    }

    fn set(&mut self, index: usize, colour: [u8; 3]) {
        if let Some(led) = self.leds.get_mut(index) {
            *led = colour;
        }
    }
}

impl Hid for BlinkStick {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn reports(&self) -> &'static [(u8, u8)] {
        &REPORTS
    }

    fn write(&mut self, number: u8, body: &[u8]) -> Result<(), Stall> {
        let before = self.leds.first().copied();
        match (number, body) {
            (1, [r, g, b, ..]) => self.set(0, [*r, *g, *b]),
            (5, [_channel, index, r, g, b, ..]) => self.set(usize::from(*index), [*r, *g, *b]),
            (6..=9, [_channel, colours @ ..]) => {
                for (index, grb) in colours.chunks_exact(3).enumerate() {
                    if let [g, r, b] = *grb {
                        self.set(index, [r, g, b]);
                    }
                }
            }
            (2..=4, _) => {}
            _ => return Err(Stall),
        }
        self.reports += 1;
        if let Some(after) = self.leds.first().copied().filter(|after| Some(*after) != before) {
            if self.changes.len() == REMEMBERED {
                self.changes.pop_front();
            }
            self.changes.push_back((self.plugged.elapsed().as_millis(), after));
        }
        Ok(())
    }

    fn read(&self, number: u8) -> Vec<u8> {
        match number {
            1 => self.leds.first().copied().unwrap_or_default().to_vec(),
            0x81 => vec![0, 8],
            _ => vec![],
        }
    }
}

impl Device for BlinkStick {
    fn speed(&self) -> Speed {
        Speed::Low
    }

    fn control(&mut self, setup: Setup, data: &[u8]) -> Result<Vec<u8>, Stall> {
        hid::control(self, setup, data)
    }
}

fn hex([r, g, b]: [u8; 3]) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}
