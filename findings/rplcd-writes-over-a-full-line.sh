#!/usr/bin/env bash
# RPLCD puts the text after "\n" over the first line if that line was exactly as long as the display is wide: it wraps by itself, then
# heeds the newline too and comes back to the top. One character less, or "\r\n" instead of "\n", and the second line is where it should be.
#
# Seen with RPLCD 1.4.0 (from PyPI), 16x2, its bus replaced by a stub. An expert expects a wrap and a newline at the same place to be one
# line feed, as RPLCD itself does it for "\r\n".
# Output: rows for "0123456789abcdef" + "\n" + "second": "second6789abcdef" and blank; with "\r\n": "0123456789abcdef" and "second".
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
pips=(RPLCD==1.4.0)

# Prints the two rows that the display's memory holds after a text, by the bytes on the bus: rows TEXT.
rows() {
    python3 - "$1" <<'PYTHON'
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

lcd = CharLCD("PCF8574", 0x27, cols=16, rows=2)
SMBus.log.clear()
lcd.write_string(sys.argv[1].encode().decode("unicode_escape"))
nibbles = [now for now, later in zip(SMBus.log, SMBus.log[1:]) if now & 4 and not later & 4]
memory, at = [" "] * 128, 0
for high, low in zip(nibbles[::2], nibbles[1::2]):
    byte = high & 0xF0 | low >> 4
    if high & 1:
        memory[at] = chr(byte)
        at += 1
    elif byte & 0x80:
        at = byte & 0x7F
print("".join(memory[0:16]).rstrip() + "|" + "".join(memory[64:80]).rstrip())
PYTHON
}

look() {
    expect 'full line, \n' "second6789abcdef|" "$(rows '0123456789abcdef\nsecond')"
    expect 'full line, \r\n' "0123456789abcdef|second" "$(rows '0123456789abcdef\r\nsecond')"
    expect 'one character less, \r\n' "0123456789abcde|second" "$(rows '0123456789abcde\r\nsecond')"
}

run_finding
