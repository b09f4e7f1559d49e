#!/usr/bin/env bash
# Adafruit's library for character displays asks for columns and lines, and puts the rows of each display where a 20x4 has them: on a 16x4 the
# third and fourth row begin at the fifth cell, and their last four letters are in none. The npm library lcdi2c does the same.
#
# Seen with adafruit-circuitpython-charlcd 3.5.7 (PyPI) and lcdi2c 1.0.6 (npm), bus and pins replaced by recorders. Rows of 16x4 begin at 00h, 40h, 10h
# and 50h (DDRAM of 80 octets, two rows in each half); RPLCD does so, and an expert expects it from a library that is given the columns.
# Output: rows by Adafruit for 16x4: 00 40 14 54, for 20x4: 00 40 14 54; lcdi2c for 16x4: 00 40 14 54; RPLCD for 16x4: 00 40 10 50.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
pips=(adafruit-circuitpython-charlcd==3.5.7 RPLCD==1.4.0)
npms=(lcdi2c@1.0.6)

# Prints the addresses at which the four rows begin, by Adafruit's library or RPLCD: rows_by LIBRARY COLUMNS.
rows_by() {
    python3 - "$@" <<'PYTHON'
import sys, types

bytes_sent, nibbles = [], []

def nibble(rs, high):
    """Takes four bits, as the display does when its pin E falls."""
    nibbles.append((rs, high))
    if len(nibbles) == 2:
        (rs, high), (_, low) = nibbles
        nibbles.clear()
        if not rs:
            bytes_sent.append(high << 4 | low)

class Pin:
    def __init__(self, falls=None):
        self.state, self.falls, self.direction = False, falls, None
    value = property(lambda self: self.state)
    @value.setter
    def value(self, value):
        if self.state and not value and self.falls:
            self.falls()
        self.state = value

def adafruit(columns):
    for name in ("digitalio", "micropython", "circuitpython_typing"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["digitalio"].DigitalInOut = Pin
    sys.modules["digitalio"].Direction = types.SimpleNamespace(OUTPUT=1)
    sys.modules["circuitpython_typing"].pwmio = types.SimpleNamespace(PWMOut=Pin)
    sys.modules["micropython"].const = lambda value: value
    from adafruit_character_lcd.character_lcd import Character_LCD_Mono
    rs, data = Pin(), [Pin() for _ in range(4)]
    e = Pin(lambda: nibble(rs.value, sum(pin.value << bit for bit, pin in enumerate(data))))
    lcd = Character_LCD_Mono(rs, e, *data, columns, 4)
    return lambda row: lcd.cursor_position(0, row)

def rplcd(columns):
    class SMBus:
        last = 0
        def __init__(self, port): pass
        def write_byte(self, address, value):
            if SMBus.last & 4 and not value & 4:
                nibble(value & 1, value >> 4)
            SMBus.last = value
    for name in ("smbus", "smbus2"):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].SMBus = SMBus
    from RPLCD.i2c import CharLCD
    lcd = CharLCD("PCF8574", 0x27, cols=columns, rows=4)
    def move(row):
        lcd.cursor_pos = (row, 0)
    return move

move = {"adafruit": adafruit, "RPLCD": rplcd}[sys.argv[1]](int(sys.argv[2]))
rows = []
for row in range(4):
    bytes_sent.clear()
    move(row)
    rows.append(f"{bytes_sent[-1] & 0x7F:02x}")
print(*rows)
PYTHON
}

rows_by_lcdi2c() {
    NODE_PATH=$FINDING_WORK/node/node_modules node --no-deprecation - <<'JAVASCRIPT'
const Module = require("module");
const load = Module._load;
let last = 0, nibbles = [], sent = [];
const sendByteSync = (address, value) => {
    if (last & 4 && !(value & 4)) nibbles.push(value);
    last = value;
    if (nibbles.length === 2) {
        const [high, low] = nibbles.splice(0);
        if (!(high & 1)) sent.push((high & 0xf0) | (low >> 4));
    }
};
const bus = new Proxy({ sendByteSync }, { get: (object, name) => object[name] ?? ((...all) => console.error(name, all)) });
Module._load = (name, ...rest) =>
    name === "i2c-bus" ? { open: () => bus } : name === "sleep" ? { usleep() {}, sleep() {} } : load(name, ...rest);
const LCD = require("lcdi2c");
const lcd = new LCD(1, 0x27, 16, 4);
const rows = [0, 1, 2, 3].map((row) => {
    sent = [];
    lcd.setCursor(0, row);
    return (sent.at(-1) & 0x7f).toString(16).padStart(2, "0");
});
console.log(rows.join(" "));
JAVASCRIPT
}

look() {
    expect "Adafruit, 20x4" "00 40 14 54" "$(rows_by adafruit 20)"
    expect "Adafruit, 16x4" "00 40 14 54" "$(rows_by adafruit 16)"
    expect "lcdi2c, 16x4" "00 40 14 54" "$(rows_by_lcdi2c)"
    expect "RPLCD, 16x4" "00 40 10 50" "$(rows_by RPLCD 16)"
}

run_finding
