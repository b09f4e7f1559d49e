#!/usr/bin/env bash
# The Python library `blinkstick` detaches the kernel's HID driver from a BlinkStick as soon as it finds it, even only to read its
# serial number, and never attaches it again: after the program's end there is no /dev/hidraw for other programs until replugging.
#
# Seen with blinkstick 1.2.0, pyusb 1.3.1 (from PyPI); pyusb's back end is replaced by a recorder. An expert expects a library that
# detaches a driver to give it back at the end, or libusb to do it.
# Output: calls "detach_kernel_driver", no "attach_kernel_driver"; driver active at the end "no".
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
pips=(blinkstick==1.2.0 pyusb==1.3.1)

record() {
    python3 - <<'PYTHON'
import array, atexit, types
import usb.backend, usb.backend.libusb1

class Stick(usb.backend.IBackend):
    """Stands for libusb with one BlinkStick: keeps whether the kernel's driver has it."""
    kernel_has_it, calls = True, []
    def enumerate_devices(self): return [1]
    def get_device_descriptor(self, dev):
        return types.SimpleNamespace(bLength=18, bDescriptorType=1, bcdUSB=0x110, bDeviceClass=0, bDeviceSubClass=0,
            bDeviceProtocol=0, bMaxPacketSize0=8, idVendor=0x20A0, idProduct=0x41E5, bcdDevice=0x200, iManufacturer=1,
            iProduct=2, iSerialNumber=3, bNumConfigurations=1, address=5, bus=1, port_number=1, port_numbers=(1,), speed=1)
    def open_device(self, dev): return 1
    def close_device(self, handle): self.calls.append("close")
    def is_kernel_driver_active(self, handle, interface): return self.kernel_has_it
    def detach_kernel_driver(self, handle, interface):
        Stick.kernel_has_it = False
        self.calls.append("detach_kernel_driver")
    def attach_kernel_driver(self, handle, interface):
        Stick.kernel_has_it = True
        self.calls.append("attach_kernel_driver")
    def ctrl_transfer(self, handle, kind, request, value, index, data, timeout):
        if kind == 0x80 and request == 6:
            text = {0: b"\x09\x04"}.get(value & 0xFF, "BS000001-3.0".encode("utf-16-le"))
            reply = array.array("B", bytes([len(text) + 2, 3]) + text)
            data[:len(reply)] = reply
            return len(reply)
        self.calls.append(f"report {value}")
        return len(data)

usb.backend.libusb1.get_backend = lambda find_library=None: Stick()
# Registered before the library's own exit handlers, so it runs after them.
atexit.register(lambda: print(*Stick.calls, "driver", "active" if Stick.kernel_has_it else "gone"))
from blinkstick import blinkstick
stick = blinkstick.find_first()
print(stick.get_serial())
PYTHON
}

look() {
    record >out
    expect "serial number" BS000001-3.0 "$(sed -n 1p out)"
    echo "calls: $(sed -n 2p out)"
    expect "detached" yes "$(answer grep -q detach_kernel_driver out)"
    expect "attached again" no "$(answer grep -qw attach_kernel_driver out)"
    expect "driver at the program's end" gone "$(sed -n 's/.*driver //p' out)"
}

run_finding
