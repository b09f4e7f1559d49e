#!/usr/bin/env bash
# dnsmasq pings for 3 s before its offer to a client that it does not know, and serves no other DHCP client meanwhile. It gives up
# pinging after six clients: of ten that ask at once, the sixth to the tenth get their offers after 18 s, all together.
#
# Seen with dnsmasq 2.90 on Linux 6.18. An expert knows the ping, and expects it to hold up one client and not the queue.
# Output: offers after 3 6 9 12 15 18 18 18 18 18 s; with no-ping 0 s for all.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(dnsmasq-base=2.90-4~deb12u2 libidn2-0=2.3.3-1+b1 libunistring2=1.0-2 libnettle8=3.8.1-2 libhogweed6=3.8.1-2
    libdbus-1-3=1.14.10-1~deb12u1 libnetfilter-conntrack3=1.0.9-3 libnftables1=1.0.6-2+deb12u2 libnftnl11=1.2.4-2)

# Sends ten clients' DISCOVER at once and prints after how many whole seconds each has its offer.
ask() {
    at client python3 - <<'PYTHON'
import socket, struct, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"client0")
s.bind(("0.0.0.0", 68))
begin, offers = time.monotonic(), {}
for client in range(1, 11):
    head = struct.pack("!BBBBIHH16x16s192x", 1, 1, 6, 0, client, 0, 0x8000, bytes([2, 0, 0, 0, 0, client]))
    s.sendto(head + b"\x63\x82\x53\x63\x35\x01\x01\xff", ("255.255.255.255", 67))
s.settimeout(1)
while len(offers) < 10 and time.monotonic() < begin + 30:
    try:
        client = struct.unpack("!I", s.recv(1500)[4:8])[0]
    except TimeoutError:
        continue
    offers.setdefault(client, int(time.monotonic() - begin))
print(*(offers.get(client, "none") for client in range(1, 11)))
PYTHON
}

offers() {
    rm -f leases
    spawn server dnsmasq --no-daemon --user=root --conf-file=/dev/null --port=0 --dhcp-leasefile="$PWD/leases" \
        --dhcp-range=10.0.0.10,10.0.0.200,1h "$@" 2>log
    local server=$spawned
    wait_until grep -q 'IP range' log
    ask
    stop "$server"
}

look() {
    hosts server client
    cable server server0 client client0
    ip -n server address add 10.0.0.1/24 dev server0
    expect "offers after (s)" "3 6 9 12 15 18 18 18 18 18" "$(offers)"
    expect "offers with no-ping after (s)" "0 0 0 0 0 0 0 0 0 0" "$(offers --no-ping)"
}

run_finding
