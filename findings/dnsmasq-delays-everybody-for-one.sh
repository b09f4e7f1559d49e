#!/usr/bin/env bash
# `dhcp-reply-delay=tag:slow,2` is for the clients of one tag, and while dnsmasq waits for one of them it serves nobody: another client
# that asks meanwhile waits as long, though it has no such tag.
#
# Seen with dnsmasq 2.90 on Linux 6.18. The option takes a tag, so an expert expects the delay for those clients only, by a timer for each
# answer.
# Output: alone, the untagged client has its offer at once; beside a tagged one it waits a second or more.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(dnsmasq-base=2.90-4~deb12u2 libidn2-0=2.3.3-1+b1 libunistring2=1.0-2 libnettle8=3.8.1-2 libhogweed6=3.8.1-2
    libdbus-1-3=1.14.10-1~deb12u1 libnetfilter-conntrack3=1.0.9-3 libnftables1=1.0.6-2+deb12u2 libnftnl11=1.2.4-2)

# Asks by broadcast for these last octets of the hardware address, at once. Prints how the last one was served: "at-once" or "later".
ask() {
    at client python3 - "$@" <<'PYTHON'
import socket, struct, sys, time

def discover(last):
    mac = bytes([2, 0, 0, 0, 0, last])
    head = struct.pack("!BBBBIHH4s4s4s4s16s64s128s", 1, 1, 6, 0, last, 0, 0x8000, b"", b"", b"", b"", mac, b"", b"")
    return head + b"\x63\x82\x53\x63" + b"\x35\x01\x01" + b"\xff"

s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"client0")
s.bind(("0.0.0.0", 68))
s.settimeout(8)
wanted = [int(word) for word in sys.argv[1:]]
begin = time.monotonic()
for last in wanted:
    s.sendto(discover(last), ("255.255.255.255", 67))
while True:
    answer = s.recv(1500)
    if struct.unpack("!I", answer[4:8])[0] == wanted[-1]:
        break
print("at-once" if time.monotonic() - begin < 0.5 else "later")
PYTHON
}

look() {
    hosts server client
    cable server server0 client client0
    ip -n server address add 10.0.0.1/24 dev server0
    ip -n client address add 10.0.0.2/24 dev client0
    spawn server dnsmasq --no-daemon --user=root --conf-file=/dev/null --port=0 --no-ping --dhcp-leasefile="$PWD/leases" \
        --dhcp-range=10.0.0.100,10.0.0.199,120 --dhcp-host=02:00:00:00:00:01,set:slow --dhcp-reply-delay=tag:slow,2 2>log
    local server=$spawned
    wait_until grep -q 'IP range' log
    expect "a client without the tag, alone" at-once "$(ask 2)"
    expect "another one, while one with the tag is delayed" later "$(ask 1 3)"
    stop "$server"
}

run_finding
