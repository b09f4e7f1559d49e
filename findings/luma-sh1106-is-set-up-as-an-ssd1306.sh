#!/usr/bin/env bash
# luma.oled sets an SH1106 up with commands that only an SSD1306 has: the addressing mode (20h) and the charge pump (8Dh 14h). The
# SH1106 has neither; its own switch for the DC-DC converter (ADh 8Bh) is never sent. To that chip 14h sets the high column to 4.
#
# Seen with luma.oled 3.16.0 (class sh1106, 128x64). An expert expects the chip's own start sequence from a class of its name.
# Output: 20h and 8Dh are among the commands of the constructor, ADh is not.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
pips=(luma.oled==3.16.0 luma.core==2.5.3 pillow==11.3.0 cbor2==5.7.0 deprecated==1.2.18 wrapt==1.17.3)

look() {
    local commands
    commands=$(python3 - <<'PROGRAM'
from luma.oled.device import sh1106


class Recorder:
    def __init__(self):
        self.commands = []

    def command(self, *octets):
        self.commands += octets

    def data(self, octets):
        pass

    def cleanup(self):
        pass


recorder = Recorder()
device = sh1106(recorder, width=128, height=64)
device.persist = True
print(" ".join(f"{octet:02X}" for octet in recorder.commands))
PROGRAM
    )
    echo "commands: $commands"
    expect "addressing mode, 20h" yes "$([[ " $commands " == *" 20 "* ]] && echo yes || echo no)"
    expect "charge pump, 8Dh 14h" yes "$([[ " $commands " == *" 8D 14 "* ]] && echo yes || echo no)"
    expect "the chip's DC-DC converter, ADh" no "$([[ " $commands " == *" AD "* ]] && echo yes || echo no)"
}

run_finding
