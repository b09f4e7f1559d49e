//! The contents of the LCD, decoded from the bytes on the emulated bus, independently of the
//! daemon's status.

/// Decodes the text of a display from a log of I²C transactions (`TIME W ADDRESS HEX` per line) to
/// a backpack with the usual wiring (P0 RS, P2 E, P4–P7 data). Custom glyphs become `\u{25a0}`.
pub fn decode(log: &str, columns: usize, rows: usize) -> Vec<String> {
    let mut chip = Chip::default();
    for line in log.lines() {
        let Some(hex) = line.split_whitespace().last() else { continue };
        for pair in hex.as_bytes().chunks_exact(2) {
            if let Some(byte) =
                std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok())
            {
                chip.expander(byte);
            }
        }
    }
    let starts = [0, 0x40, columns, 0x40 + columns];
    starts
        .iter()
        .take(rows)
        .map(|start| (0..columns).map(|column| chip.cell(start + column)).collect())
        .collect()
}

/// An HD44780 behind a PCF8574 expander.
#[derive(Debug)]
struct Chip {
    /// Last byte of the expander.
    last: u8,
    four_bits: bool,
    /// The first nibble of a byte in 4-bit mode.
    high: Option<u8>,
    address: u8,
    /// Data goes to the CGRAM.
    to_glyphs: bool,
    /// The entry mode decrements the address.
    left: bool,
    ram: [u8; 128],
}

impl Default for Chip {
    fn default() -> Self {
        Self {
            last: 0,
            four_bits: false,
            high: None,
            address: 0,
            to_glyphs: false,
            left: false,
            ram: [b' '; 128],
        }
    }
}

impl Chip {
    fn expander(&mut self, byte: u8) {
        let falling = self.last & 0x04 != 0 && byte & 0x04 == 0;
        let (latched, read) = (self.last, self.last & 0x02 != 0);
        self.last = byte;
        if !falling || read {
            return;
        }
        let (nibble, data) = (latched >> 4, latched & 0x01 != 0);
        if !self.four_bits {
            return self.receive(nibble << 4, data);
        }
        match self.high.take() {
            None => self.high = Some(nibble),
            Some(high) => self.receive(high << 4 | nibble, data),
        }
    }

    fn receive(&mut self, byte: u8, data: bool) {
        if data {
            if !self.to_glyphs {
                if let Some(cell) = self.ram.get_mut(usize::from(self.address & 0x7f)) {
                    *cell = byte;
                }
            }
            self.step();
            return;
        }
        match byte {
            0x80.. => (self.to_glyphs, self.address) = (false, byte & 0x7f),
            0x40..=0x7f => self.to_glyphs = true,
            0x20..=0x3f => (self.four_bits, self.high) = (byte & 0x10 == 0, None),
            0x10..=0x1f => {}
            0x08..=0x0f => {}
            0x04..=0x07 => self.left = byte & 0x02 == 0,
            0x02..=0x03 => (self.to_glyphs, self.address) = (false, 0),
            0x01 => (self.ram, self.to_glyphs, self.address) = ([b' '; 128], false, 0),
            0x00 => {}
        }
    }

    /// Advances the address counter: 0x00–0x27, then 0x40–0x67, then from the beginning.
    fn step(&mut self) {
        if self.to_glyphs {
            return;
        }
        self.address = match (self.left, self.address) {
            (false, 0x27) => 0x40,
            (false, 0x67) => 0,
            (false, address) => (address + 1) & 0x7f,
            (true, 0x40) => 0x27,
            (true, 0) => 0x67,
            (true, address) => address - 1,
        };
    }

    fn cell(&self, address: usize) -> char {
        match self.ram.get(address).copied().unwrap_or(b' ') {
            0x00..=0x0f => '\u{25a0}',
            byte @ 0x20..=0x7d => char::from(byte),
            0xdf => '°',
            _ => '\u{fffd}',
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the bytes of one nibble, with E high and then low.
    fn nibble(value: u8, rs: u8) -> String {
        let base = value << 4 | rs | 0x08;
        format!("{:02x}{:02x}", base | 4, base)
    }

    fn byte(value: u8, rs: u8) -> String {
        nibble(value >> 4, rs) + &nibble(value & 0x0f, rs)
    }

    #[test]
    fn a_panel_that_is_initialised_and_written_shows_the_text() {
        let mut hex: String = [3, 3, 3, 2].map(|value| nibble(value, 0)).concat();
        hex += &[0x28, 0x0c, 0x06, 0x80].map(|command| byte(command, 0)).concat();
        hex += &"10.0.0.7".bytes().map(|scalar| byte(scalar, 1)).collect::<String>();
        hex += &byte(0xc0, 0);
        let log = format!("100 W 27 {hex}\n200 W 27 {}\n", byte(b'x', 1));
        assert_eq!(decode(&log, 16, 2), ["10.0.0.7        ", "x               "]);
    }
}
