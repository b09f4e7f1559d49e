#!/usr/bin/env bash
# RPLCD keeps a copy of the text and leaves out each character that it thinks is there: writing the same line again sends one
# cursor move for each character, as many bytes as the text itself, and no text. A glass that a glitch has garbled stays so.
#
# Seen with RPLCD 1.4.0 (from PyPI), I2C backpack PCF8574, its bus replaced by a recorder. An expert expects write_string() to write
# the string, or to save traffic if it does not.
# Output: first writing of 11 characters: 88 bytes, text "hello_world"; second: 88 bytes, text "", 11 cursor moves; after clear(): text.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
pips=(RPLCD==1.4.0)

# Prints for each step: bytes on the bus, characters and cursor moves in them.
record() {
    python3 - <<'PYTHON'
import sys, types

class SMBus:
    """Stands for the bus: keeps each byte that is written to the PCF8574."""
    log = []
    def __init__(self, port): pass
    def write_byte(self, address, value): self.log.append(value)

for name in ("smbus", "smbus2"):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].SMBus = SMBus
from RPLCD.i2c import CharLCD

def seen(step):
    nibbles = [now for now, later in zip(SMBus.log, SMBus.log[1:]) if now & 4 and not later & 4]
    whole = [(high & 1, high & 0xF0 | low >> 4) for high, low in zip(nibbles[::2], nibbles[1::2])]
    text = "".join(chr(byte) for is_text, byte in whole if is_text)
    moves = sum(1 for is_text, byte in whole if not is_text and byte & 0x80)
    print(f"{step}|{len(SMBus.log)} bytes, text '{text}', {moves} cursor moves")
    SMBus.log.clear()

lcd = CharLCD("PCF8574", 0x27, cols=16, rows=2)
SMBus.log.clear()
lcd.write_string("hello_world")
seen("first")
lcd.cursor_pos = (0, 0)
SMBus.log.clear()
lcd.write_string("hello_world")
seen("again")
lcd.clear()
SMBus.log.clear()
lcd.write_string("hello_world")
seen("cleared")
PYTHON
}

look() {
    record >steps
    expect "first" "88 bytes, text 'hello_world', 0 cursor moves" "$(sed -n 's/^first|//p' steps)"
    expect "the same again" "88 bytes, text '', 11 cursor moves" "$(sed -n 's/^again|//p' steps)"
    expect "after clear()" "88 bytes, text 'hello_world', 0 cursor moves" "$(sed -n 's/^cleared|//p' steps)"
}

run_finding
