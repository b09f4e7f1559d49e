#!/usr/bin/env bash
# Linux waits a random time of up to 0.8 s before it answers a neighbour solicitation for an address that it proxies (`ip neigh add
# proxy`), so each first packet to such an address is late by half a second. `net.ipv6.neigh.PORT.proxy_delay=0`
# is the cure.
#
# Seen with iproute2 6.1.0 on Linux 6.18. An expert expects the answer at once, as for the host's own addresses (RFC 4861 asks for a
# delay only for anycast and where several proxies may answer).
# Output: own addresses: answered within 0.1 s "8 of 8"; proxied: some of 8, never all; with proxy_delay=0: "8 of 8".
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(iproute2=6.1.0-3)

# Prints how many of eight addresses are resolved within 0.1 s: quick DIGIT.
quick() {
    at client python3 - "$1" <<'PYTHON'
import socket, subprocess, sys, time
quick = 0
for last in range(8):
    address = f"fd01::{sys.argv[1]}{last}"
    begin = time.monotonic()
    socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).sendto(b"x", (address, 9))
    while True:
        passed = time.monotonic() - begin
        known = subprocess.run(["ip", "-6", "neigh", "show", address], capture_output=True, text=True).stdout
        if "lladdr" in known or passed > 3:
            break
        time.sleep(0.005)
    quick += passed < 0.1
print(quick)
PYTHON
}

look() {
    local last slow
    hosts router client
    cable router router0 client client0
    ip -n router -6 address add fd01::1/64 dev router0 nodad
    ip -n client -6 address add fd01::2/64 dev client0 nodad
    at router sysctl -qw net.ipv6.conf.all.forwarding=1 net.ipv6.conf.router0.proxy_ndp=1
    for last in 0 1 2 3 4 5 6 7; do
        ip -n router -6 address add "fd01::a$last/64" dev router0 nodad
        ip -n router -6 neigh add proxy "fd01::b$last" dev router0
        ip -n router -6 neigh add proxy "fd01::c$last" dev router0
    done
    sleep 2
    expect "own addresses answered within 0.1 s" 8 "$(quick a)"
    slow=$(quick b)
    echo "proxied addresses answered within 0.1 s: $slow"
    expect "all eight of them" no "$(answer test "$slow" = 8)"
    at router sysctl -qw net.ipv6.neigh.router0.proxy_delay=0
    expect "proxied addresses with proxy_delay=0" 8 "$(quick c)"
}

run_finding
