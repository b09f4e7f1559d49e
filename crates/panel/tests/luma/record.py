#!/usr/bin/env python3
"""Records what luma.oled, another driver, sends to an OLED, and the pictures it was to show.

Makes the files beside it anew, which tests/luma.rs feeds to the emulated controllers:

    python3 -m venv /tmp/luma && /tmp/luma/bin/pip install -r requirements.txt
    /tmp/luma/bin/python record.py

NAME.log has a line for each transaction: the address and the bytes in hexadecimal. `# N` says that
picture N is complete: NAME-N.pbm, drawn on luma's own device without hardware
(luma.core.device.dummy).
"""

import pathlib
import random

from PIL import Image
from luma.core.device import dummy
from luma.core.interface.serial import i2c
from luma.core.render import canvas
from luma.oled.device import sh1106, ssd1306

HERE = pathlib.Path(__file__).parent
DISPLAYS = [(ssd1306, 128, 64), (ssd1306, 128, 32), (sh1106, 128, 64)]


class Recorder:
    """An smbus that writes down what it is asked to send (i2c_smbus_write_i2c_block_data)."""

    def __init__(self):
        self.lines = []

    def write_i2c_block_data(self, address, command, data):
        self.lines.append(f"{address:02x} " + bytes([command, *data]).hex())


def frame_and_text(draw, width, height):
    draw.rectangle((0, 0, width - 1, height - 1), outline="white")
    draw.text((3, 2), "10.99.0.126", fill="white")
    draw.line((0, height - 1, width - 1, 0), fill="white")


def noise(draw, width, height):
    dice = random.Random(1306)
    places = [(x, y) for x in range(width) for y in range(height)]
    draw.point([place for place in places if dice.random() < 0.5], fill="white")


def corner(draw, width, height):
    draw.point([(0, 0), (width - 1, 0), (0, height - 1), (1, 1)], fill="white")


for driver, width, height in DISPLAYS:
    name = f"{driver.__name__}-{width}x{height}"
    bus = Recorder()
    real = driver(i2c(bus=bus, address=0x3C), width=width, height=height)
    for number, picture in enumerate([frame_and_text, noise, corner], 1):
        own = dummy(width=width, height=height, mode="1")
        for device in (real, own):
            with canvas(device) as draw:
                picture(draw, width, height)
        bus.lines.append(f"# {number}")
        image: Image.Image = own.image
        lit = lambda x, y: "1" if image.getpixel((x, y)) else "0"
        rows = ("".join(lit(x, y) for x in range(width)) for y in range(height))
        text = f"P1\n{width} {height}\n" + "\n".join(rows) + "\n"
        (HERE / f"{name}-{number}.pbm").write_text(text)
    real.contrast(0x20)
    real.hide()
    (HERE / f"{name}.log").write_text("\n".join(bus.lines) + "\n")
