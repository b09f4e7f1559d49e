//! A BlinkStick on the USB bus: HID device 20a0:41e5 whose feature reports set the colours.

use std::collections::VecDeque;
use std::time::Instant;

use crate::usbip::descriptor::{Identity, configuration};
use crate::usbip::{Device, Setup, Speed, Stall};

const HID: u8 = 3;
const LEDS: usize = 64;
const REMEMBERED: usize = 4096;

/// Feature reports by number: how many bytes follow the number.
const REPORTS: [(u8, u8); 10] =
    [(1, 3), (2, 32), (3, 32), (4, 1), (5, 5), (6, 25), (7, 49), (8, 97), (9, 193), (0x81, 2)];

/// A report that changed the first LED: milliseconds since the stick was plugged in, and its new colour.
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
    /// `model` is the number in the serial, `release` tells Square (0x200), Strip, Nano and Flex apart when it is 3.
    pub fn new(model: u8, release: u16) -> Self {
        let identity = Identity {
            vendor: 0x20a0,
            product: 0x41e5,
            release,
            maker: "Agile Innovative Ltd",
            name: "BlinkStick",
            serial: format!("BS012345-{model}.0"),
        };
        Self { identity, leds: [[0; 3]; LEDS], reports: 0, plugged: Instant::now(), changes: VecDeque::new() }
    }

    /// `{"leds":["#rrggbb",…],"reports":N,"ms":T}` with the first eight LEDs.
    pub fn state(&self) -> String {
        let leds: Vec<String> = self.leds.iter().take(8).map(|led| format!("\"{}\"", hex(*led))).collect();
        format!(
            "{{\"leds\":[{}],\"reports\":{},\"ms\":{}}}",
            leds.join(","),
            self.reports,
            self.plugged.elapsed().as_millis()
        )
    }

    /// One line `ms #rrggbb` for each change of the first LED.
    pub fn history(&self) -> String {
        self.changes.iter().map(|(ms, colour)| format!("{ms} {}\n", hex(*colour))).collect()
    }

    fn report(&mut self, number: u8, body: &[u8]) -> Result<(), Stall> {
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

    fn set(&mut self, index: usize, colour: [u8; 3]) {
        if let Some(led) = self.leds.get_mut(index) {
            *led = colour;
        }
    }

    fn answer(&self, number: u8) -> Result<Vec<u8>, Stall> {
        let length = REPORTS.iter().find(|(report, _)| *report == number).ok_or(Stall)?.1;
        let mut bytes = vec![number];
        match number {
            1 => bytes.extend(self.leds.first().copied().unwrap_or_default()),
            0x81 => bytes.extend([0, 8]),
            _ => {}
        }
        bytes.resize(usize::from(length) + 1, 0);
        Ok(bytes)
    }
}

impl Device for BlinkStick {
    fn speed(&self) -> Speed {
        Speed::Low
    }

    fn control(&mut self, setup: Setup, data: &[u8]) -> Result<Vec<u8>, Stall> {
        let report_map = report_map();
        let [low, high] = setup.value.to_le_bytes();
        match (setup.request_type, setup.request, high) {
            (0x80, 6, 1) => Ok(self.identity.device()),
            (0x80, 6, 2) => {
                let mut rest = vec![9, 0x21, 0x11, 0x01, 0, 1, 0x22, report_map.len() as u8, 0];
                rest.extend([7, 5, 0x81, 3, 8, 0, 10]);
                Ok(configuration(HID, 1, &rest))
            }
            (0x80, 6, 3) => Ok(self.identity.string(low)),
            (0x81, 6, 0x22) => Ok(report_map),
            (0x80, 0, _) => Ok(vec![0, 0]),
            // SET_ADDRESS, SET_CONFIGURATION, SET_INTERFACE, and HID's SET_IDLE and SET_PROTOCOL
            (0x00 | 0x01, _, _) | (0x21, 0x0a | 0x0b, _) => Ok(vec![]),
            (0x21, 9, 3) => self.report(low, data.get(1..).unwrap_or(&[])).map(|()| vec![]),
            (0xa1, 1, 3) => self.answer(low),
            _ => Err(Stall),
        }
    }
}

/// The HID report descriptor (HID 1.11, 6.2.2): a vendor page with one feature report for each line of [`REPORTS`].
fn report_map() -> Vec<u8> {
    let mut map = vec![0x06, 0x00, 0xff, 0x09, 0x01, 0xa1, 0x01, 0x15, 0x00, 0x26, 0xff, 0x00, 0x75, 0x08];
    for (number, length) in REPORTS {
        map.extend([0x85, number, 0x95, length, 0x09, 0x00, 0xb2, 0x02, 0x01]);
    }
    map.push(0xc0);
    map
}

fn hex([r, g, b]: [u8; 3]) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}
