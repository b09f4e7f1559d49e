#!/usr/bin/env bash
# The kernel announces a cable that is plugged in at once, and one that is pulled at its next turn for such news, of which there is one a
# second for the whole machine. If the cable is back by then, pulled by hand or by a switch that moves the port to another VLAN, the only
# message says that there is a carrier, as before; what gives the pull away is IFLA_CARRIER_DOWN_COUNT in it. With veth all is announced at
# once, so tests in namespaces do not show it.
#
# Seen on Linux 6.18 with a TAP port, whose carrier is set by ioctl: what is not urgent is put off (net/core/link_watch.c), as for any
# port that is its own lower one, such as Ethernet and USB adapters. An expert expects both changes at once, or both late.
# Output: TAP: latest of 6 losses over 300 ms, of 6 returns not; of 6 pulls of 0.1 s fewer than 6 messages without carrier, down count +6;
# veth: latest loss under 300 ms, 6 messages.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(iproute2=6.1.0-3)

# Pulls and plugs the cable of a port of this kind, and prints the delays in ms and what was announced: pull tap|veth.
pull() {
    python3 - "$1" <<'PYTHON'
import fcntl, os, socket, struct, subprocess, sys, time

def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True)

kind = sys.argv[1]
port = kind + "0"
if kind == "tap":
    tap = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tap, 0x400454CA, struct.pack("16sH22x", port.encode(), 0x1002))  # TUNSETIFF: IFF_TAP | IFF_NO_PI
    carrier = lambda on: fcntl.ioctl(tap, 0x400454E2, struct.pack("i", on))  # TUNSETCARRIER
else:
    ip("link", "add", port, "type", "veth", "peer", "name", "other")
    carrier = lambda on: ip("link", "set", "other", "up" if on else "down")
    carrier(True)
ip("link", "set", port, "up")
index = socket.if_nametoindex(port)
events = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
events.bind((0, 1))  # RTMGRP_LINK

def link(timeout):
    """Returns whether the next message about the port has a carrier, and its down count; None after the timeout."""
    end = time.monotonic() + timeout
    while (left := end - time.monotonic()) > 0:
        events.settimeout(left)
        try:
            data = events.recv(65536)
        except TimeoutError:
            return None
        length, kind_of_message = struct.unpack_from("=IH", data)
        number, flags = struct.unpack_from("=iI", data, 20)
        if kind_of_message != 16 or number != index:
            continue
        at, down = 32, None
        while at < length:
            size, attribute = struct.unpack_from("=HH", data, at)
            if attribute == 48:  # IFLA_CARRIER_DOWN_COUNT
                down, = struct.unpack_from("=I", data, at + 4)
            at += (size + 3) & ~3
        return bool(flags & 0x10000), down  # IFF_LOWER_UP

def delay(on):
    """Sets the carrier; returns the ms until a message says so."""
    begin = time.monotonic()
    carrier(on)
    while (state := link(5)) and state[0] != on:
        pass
    return int((time.monotonic() - begin) * 1000) if state else 9999

def rest():
    """Lets the changes before be announced."""
    while link(2.5):
        pass

rest()
off, on = [], []
for _ in range(6):
    off.append(delay(False))
    on.append(delay(True))
    time.sleep(0.1)
print("off", max(off), "on", max(on), "of", *off)
rest()
carrier(False)
while (last := link(5))[0]:
    pass
carrier(True)
rest()
for _ in range(6):
    carrier(False)
    time.sleep(0.1)
    carrier(True)
    time.sleep(0.2)
announced = []
while message := link(2.5):
    announced.append(message)
print("pulls-announced", sum(not up for up, _ in announced))
print("last", "carrier" if announced[-1][0] else "none", "down-count", announced[-1][1] - last[1])
PYTHON
}

look() {
    pull tap >out
    paste -sd ' ' out
    expect "TAP: the latest of 6 losses comes over 300 ms late" yes "$(awk '/^off/ { print ($2 > 300) ? "yes" : "no" }' out)"
    expect "TAP: the latest of 6 returns over 300 ms late" no "$(awk '/^off/ { print ($4 > 300) ? "yes" : "no" }' out)"
    expect "TAP: all of 6 short pulls announced" no "$(awk '/^pulls-announced/ { print ($2 == 6) ? "yes" : "no" }' out)"
    expect "TAP: the last message" "carrier down-count 6" "$(sed -n 's/^last //p' out)"
    pull veth >out
    paste -sd ' ' out
    expect "veth: the latest of 6 losses comes over 300 ms late" no "$(awk '/^off/ { print ($2 > 300) ? "yes" : "no" }' out)"
    expect "veth: short pulls announced, of 6" 6 "$(sed -n 's/^pulls-announced //p' out)"
}

run_finding
