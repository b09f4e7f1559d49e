//! The wiring between an I²C backpack's expander and the HD44780, as data.

/// The expander bit (0–7) for each pin of the display.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Wiring {
    pub rs: u8,
    /// `None`: tied to ground.
    pub rw: Option<u8>,
    pub e: u8,
    pub backlight: Option<u8>,
    /// The backlight is on while its bit is 0.
    pub backlight_inverse: bool,
    /// D4, D5, D6, D7.
    pub data: [u8; 4],
}

/// A commercial wiring, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownWiring {
    /// The name in settings and boards.
    pub name: &'static str,
    pub wiring: Wiring,
    /// Backpacks that use it.
    pub found_on: &'static str,
}

/// RS, RW, E and backlight on the low bits, data on the high bits.
const USUAL: Wiring = Wiring {
    rs: 0,
    rw: Some(1),
    e: 2,
    backlight: Some(3),
    backlight_inverse: false,
    data: [4, 5, 6, 7],
};

/// All known wirings, the most common first, as `detect` lists them.
pub const WIRINGS: &[KnownWiring] = &[
    KnownWiring {
        name: "usual",
        wiring: USUAL,
        found_on: "YwRobot, DFRobot, SainSmart, Sunrom, LCM1602 IIC, most others",
    },
    KnownWiring {
        name: "usual-inverse",
        wiring: Wiring { backlight_inverse: true, ..USUAL },
        found_on: "Robot Arduino LCM1602 with a PNP transistor",
    },
    KnownWiring {
        name: "mjkdz",
        wiring: Wiring {
            rs: 6,
            rw: Some(5),
            e: 4,
            backlight: Some(7),
            backlight_inverse: true,
            data: [0, 1, 2, 3],
        },
        found_on: "mjkdz, GY-I2CLCD",
    },
    KnownWiring {
        name: "mjkdz-positive",
        wiring: Wiring {
            rs: 6,
            rw: Some(5),
            e: 4,
            backlight: Some(7),
            backlight_inverse: false,
            data: [0, 1, 2, 3],
        },
        found_on: "copies of mjkdz with an NPN transistor",
    },
    KnownWiring {
        name: "lcdxio",
        wiring: Wiring {
            rs: 4,
            rw: Some(5),
            e: 6,
            backlight: Some(7),
            backlight_inverse: false,
            data: [0, 1, 2, 3],
        },
        found_on: "ElectroFun LCDXIO with an NPN transistor",
    },
    KnownWiring {
        name: "lcdxio-inverse",
        wiring: Wiring {
            rs: 4,
            rw: Some(5),
            e: 6,
            backlight: Some(7),
            backlight_inverse: true,
            data: [0, 1, 2, 3],
        },
        // LCDproc's server/drivers/hd44780-i2c.c: the light is on while its bit is 0, unless
        // BacklightInvert says otherwise.
        found_on: "LCDproc's own wiring, ElectroFun LCDXIO with a PNP transistor",
    },
    KnownWiring {
        name: "rw-grounded",
        wiring: Wiring {
            rs: 0,
            rw: None,
            e: 2,
            backlight: Some(3),
            backlight_inverse: false,
            data: [4, 5, 6, 7],
        },
        found_on: "the usual wiring, P1 not connected",
    },
    KnownWiring {
        name: "data-low",
        wiring: Wiring {
            rs: 4,
            rw: None,
            e: 5,
            backlight: Some(7),
            backlight_inverse: false,
            data: [0, 1, 2, 3],
        },
        found_on: "home-made: data on P0–P3, RS on P4, E on P5",
    },
    KnownWiring {
        name: "pi-plate",
        wiring: Wiring {
            rs: 1,
            rw: None,
            e: 2,
            backlight: Some(7),
            backlight_inverse: false,
            data: [3, 4, 5, 6],
        },
        found_on: "backpacks laid out as Adafruit's, RS on P1, E on P2, data on P3–P6",
    },
];

impl Default for Wiring {
    fn default() -> Self {
        USUAL
    }
}

impl Wiring {
    /// Returns the known wiring with this name.
    pub fn named(name: &str) -> Option<Self> {
        WIRINGS.iter().find(|known| known.name == name).map(|known| known.wiring)
    }

    /// Returns the name of this wiring, if it is a known one.
    pub fn name(&self) -> Option<&'static str> {
        WIRINGS.iter().find(|known| known.wiring == *self).map(|known| known.name)
    }

    /// Returns the names for the settings.
    pub fn names() -> impl Iterator<Item = &'static str> {
        WIRINGS.iter().map(|known| known.name)
    }

    /// Returns the expander's byte for these pin levels. The low four bits of `nibble` are D7–D4.
    /// RW is low, since we only write.
    pub fn encode(&self, nibble: u8, rs: bool, e: bool, lit: bool) -> u8 {
        let mut byte = 0;
        for (number, bit) in self.data.into_iter().enumerate() {
            byte |= ((nibble >> number) & 1) << (bit & 7);
        }
        byte |= u8::from(rs) << (self.rs & 7);
        byte |= u8::from(e) << (self.e & 7);
        if let Some(bit) = self.backlight {
            byte |= u8::from(lit != self.backlight_inverse) << (bit & 7);
        }
        byte
    }

    /// Returns the levels of the display's pins when the expander holds `byte`.
    pub fn decode(&self, byte: u8) -> Pins {
        let bit = |number: u8| byte >> (number & 7) & 1 == 1;
        let mut nibble = 0;
        for (number, place) in self.data.into_iter().enumerate() {
            nibble |= u8::from(bit(place)) << number;
        }
        Pins {
            nibble,
            rs: bit(self.rs),
            rw: self.rw.is_some_and(bit),
            e: bit(self.e),
            lit: self.backlight.is_none_or(|number| bit(number) != self.backlight_inverse),
        }
    }
}

/// Levels of the display's pins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pins {
    /// D7–D4 in the low four bits.
    pub nibble: u8,
    pub rs: bool,
    pub rw: bool,
    pub e: bool,
    pub lit: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_wiring_has_a_unique_name() {
        for known in WIRINGS {
            assert_eq!(Wiring::named(known.name), Some(known.wiring));
            assert_eq!(known.wiring.name(), Some(known.name), "twice in the table");
        }
    }

    /// This also proves that no two pins share a bit.
    #[test]
    fn decode_inverts_encode() {
        for known in WIRINGS {
            for nibble in 0..16 {
                for flags in 0..8 {
                    let (rs, e, lit) = (flags & 1 != 0, flags & 2 != 0, flags & 4 != 0);
                    let seen = known.wiring.decode(known.wiring.encode(nibble, rs, e, lit));
                    assert_eq!(seen, Pins { nibble, rs, rw: false, e, lit }, "{}", known.name);
                }
            }
        }
    }

    #[test]
    fn the_usual_backpack_has_its_well_known_bytes() {
        assert_eq!(Wiring::default().encode(0b1010, true, true, true), 0b1010_1101);
        assert_eq!(Wiring::named("mjkdz").unwrap().encode(0b1010, true, false, true), 0b0100_1010);
    }

    /// LCDproc 0.5.9, server/drivers/hd44780-i2c.c: data on bits 0 to 3, RS 0x10, RW 0x20, EN 0x40,
    /// BL 0x80; without BacklightInvert BL is 0 while the light is on.
    #[test]
    fn lcdprocs_wiring_has_an_inverted_backlight() {
        let lcdproc = Wiring::named("lcdxio-inverse").unwrap();
        let rest = 0b1010 | 0x10 | 0x40;
        assert_eq!(lcdproc.encode(0b1010, true, true, true), rest);
        assert_eq!(lcdproc.encode(0b1010, true, true, false), rest | 0x80);
        let own = |known: &&KnownWiring| known.found_on.contains("LCDproc's own");
        assert_eq!(
            WIRINGS.iter().filter(own).map(|known| known.name).collect::<Vec<_>>(),
            ["lcdxio-inverse"]
        );
    }
}
