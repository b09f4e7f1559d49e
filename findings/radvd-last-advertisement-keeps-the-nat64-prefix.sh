#!/usr/bin/env bash
# radvd's last advertisement, at its end, takes back its default route, other routes and resolvers (lifetime 0), but announces its NAT64
# prefix anew for the full time: hosts go on translating IPv4 to a prefix to which nothing leads.
#
# Seen with radvd 2.20 (Debian 13) on Linux 6.18, the first version with `nat64prefix`. RFC 8781 (4) has lifetime 0 for a prefix that is
# no longer to be used, and an expert expects the last advertisement to end whatever depends on this router.
# Output: lifetimes in s of router, route, resolver, NAT64 prefix: "12 12 12 1800" while it runs, at its end "0 0 0 1800".
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(iproute2=6.1.0-3)
newer_debs=(radvd=1:2.20-1+b1 libc6=2.41-12+deb13u5 libbsd0=0.12.2-2 libmd0=1.1.0-2+b1 busybox=1:1.37.0-6+b9)

# Writes the lifetimes of each advertisement into "heard", a line each.
listen() {
    spawn host python3 -c '
import socket, struct
s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
while True:
    message = s.recv(2000)
    if message[0] != 134:
        continue
    times, options = {}, message[16:]
    while options:
        kind, length = options[0], options[1] * 8
        if kind in (24, 25):
            times[kind] = struct.unpack("!I", options[4:8])[0]
        elif kind == 38:
            times[kind] = struct.unpack("!H", options[2:4])[0] & ~7
        options = options[length:]
    print(struct.unpack("!H", message[6:8])[0], times[24], times[25], times[38], flush=True)' >heard
}

# shellcheck disable=SC2317 # wait_until calls it
has_heard() {
    grep -q . heard
}

look() {
    hosts host router
    cable host host0 router in0
    at router sysctl -qw net.ipv6.conf.all.forwarding=1
    ip -n router -6 address add 2001:db8:1::1/64 dev in0 nodad
    sleep 2
    printf '%s\n' 'interface in0 {' 'AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4;' 'prefix 2001:db8:1::/64 {};' \
        'route 2001:db8:5::/48 {};' 'RDNSS 2001:db8:1::1 {};' 'nat64prefix 64:ff9b::/96 { AdvValidLifetime 1800; };' '};' \
        >"$FINDING_WORK/newer/etc/radvd.conf"
    listen
    local listener=$spawned
    spawn_newer router radvd -n -C /etc/radvd.conf -p /run/radvd.pid -m stderr 2>log
    local radvd=$spawned
    wait_until has_heard
    expect "while it runs" "12 12 12 1800" "$(tail -n 1 heard)"
    stop "$radvd"
    sleep 1
    expect "at its end" "0 0 0 1800" "$(tail -n 1 heard)"
    stop "$listener"
}

run_finding
