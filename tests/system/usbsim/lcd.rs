//! What the glass would show: an HD44780 in four-bit mode behind a PCF8574 with the usual wiring
//! (P0 RS, P1 RW, P2 E, P3 backlight, P4 to P7 data).

const ENABLE: u8 = 0x04;
const BACKLIGHT: u8 = 0x08;

#[derive(Debug)]
pub struct Lcd {
    port: u8,
    bytes: u64,
    transactions: u64,
    four_bit: bool,
    high_nibble: Option<u8>,
    address: usize,
    to_glyphs: bool,
    ram: [u8; 128],
}

impl Lcd {
    pub fn new() -> Self {
        Self {
            port: 0xff,
            bytes: 0,
            transactions: 0,
            four_bit: false,
            high_nibble: None,
            address: 0,
            to_glyphs: false,
            ram: [b' '; 128],
        }
    }

    pub fn port(&self) -> u8 {
        self.port
    }

    pub fn transaction(&mut self, data: &[u8]) {
        self.transactions += 1;
        for byte in data {
            self.bytes += 1;
            // The falling edge of E latches.
            if self.port & ENABLE != 0 && byte & ENABLE == 0 {
                self.latch(self.port >> 4, self.port & 1 == 1);
            }
            self.port = *byte;
        }
    }

    fn latch(&mut self, nibble: u8, is_data: bool) {
        if !self.four_bit {
            self.command(nibble << 4);
            return;
        }
        match (self.high_nibble.take(), is_data) {
            (None, _) => self.high_nibble = Some(nibble),
            (Some(high), true) => self.data(high << 4 | nibble),
            (Some(high), false) => self.command(high << 4 | nibble),
        }
    }

    fn command(&mut self, value: u8) {
        match value {
            0x01 => {
                self.ram = [b' '; 128];
                self.address = 0;
                self.to_glyphs = false;
            }
            0x02 | 0x03 => {
                self.address = 0;
                self.to_glyphs = false;
            }
            0x20..=0x3f => {
                self.four_bit = value & 0x10 == 0;
                self.high_nibble = None;
            }
            0x40..=0x7f => self.to_glyphs = true,
            0x80..=0xff => {
                self.address = usize::from(value & 0x7f);
                self.to_glyphs = false;
            }
            _ => {}
        }
    }

    fn data(&mut self, value: u8) {
        if self.to_glyphs {
            return;
        }
        if let Some(cell) = self.ram.get_mut(self.address) {
            *cell = value;
        }
        // In two-line mode the first line ends at 0x27 and the second begins at 0x40.
        self.address = match self.address {
            0x27 => 0x40,
            0x67 => 0,
            other => other + 1,
        };
    }

    /// `{"rows":["…","…"],"bytes":N,"transactions":N,"backlight":true}`; custom glyphs are `*`, other non-ASCII `?`.
    pub fn state(&self) -> String {
        let row = |start: usize| -> String {
            let cells = self.ram.get(start..start + 16).unwrap_or(&[]);
            cells
                .iter()
                .map(|cell| match cell {
                    0..=15 => '*',
                    b'"' | b'\\' => '\'',
                    0x20..=0x7e => char::from(*cell),
                    _ => '?',
                })
                .collect()
        };
        format!(
            "{{\"rows\":[\"{}\",\"{}\"],\"bytes\":{},\"transactions\":{},\"backlight\":{}}}",
            row(0),
            row(0x40),
            self.bytes,
            self.transactions,
            self.port & BACKLIGHT != 0
        )
    }
}
