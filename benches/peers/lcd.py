"""The address on an LCD, as scripts do it: `lcd.py LOG PORT poll SECONDS` or `lcd.py LOG PORT monitor`.

Writes as RPLCD does to a PCF8574 (a transaction for each byte of the expander, four a nibble, with its pauses), to an
emulated bus of 100 kHz: a transfer takes its time, then stands in LOG.
"""

import re
import subprocess
import sys
import time

log = open(sys.argv[1], "a", buffering=1)
port = sys.argv[2]


def transfer(byte):
    end = time.perf_counter() + 20 / 100e3
    while time.perf_counter() < end:
        pass
    log.write(f"{time.time_ns()} T 27 {byte:02x}\n")


def nibble(value, data):
    byte = value << 4 | 8 | data
    transfer(byte)
    transfer(byte)
    time.sleep(1e-6)
    transfer(byte | 4)
    time.sleep(1e-6)
    transfer(byte)
    time.sleep(1e-4)


def send(byte, data):
    nibble(byte >> 4, data)
    nibble(byte & 15, data)


def write(row, text):
    send(0x80 | row * 0x40, 0)
    for byte in text.ljust(16).encode():
        send(byte, 1)


time.sleep(0.05)
for first in (3, 3, 3, 2):
    nibble(first, 0)
    time.sleep(0.0045)
for command in (0x28, 0x0C, 0x06, 0x01):
    send(command, 0)
    time.sleep(0.003)
write(1, "IP address above")

pattern = re.compile(r"inet ([\d.]+)/")
if sys.argv[3] == "poll":
    while True:
        told = subprocess.run(["ip", "-4", "-o", "addr", "show", "dev", port], stdout=subprocess.PIPE, text=True).stdout
        found = pattern.search(told)
        write(0, found[1] if found else "no address")
        time.sleep(float(sys.argv[4]))
monitor = ["ip", "-4", "-o", "monitor", "address", "dev", port]
with subprocess.Popen(monitor, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
    for line in process.stdout:
        found = pattern.search(line)
        if found and not line.startswith("Deleted"):
            write(0, found[1])
