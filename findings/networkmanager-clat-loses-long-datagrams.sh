#!/usr/bin/env bash
# NetworkManager's translator of IPv4 to IPv6 (464XLAT, `ipv4.clat`) loses each datagram that is longer than a packet: the fragments
# leave for nowhere, no error comes back. A datagram without a checksum, as IPv4 allows, is lost as well.
#
# Seen with NetworkManager 1.58.1 (Debian 14) on Linux 6.18. RFC 7915 (4 and 4.5) translates fragments to IPv6 fragments, and computes
# the checksum of a whole datagram that has none; an expert expects both, as tayga translates the fragments.
# Output: of 3 datagrams of 1400 bytes 3 are answered; of 1600 bytes 0, though 3 by IPv6 itself; of 100 bytes without checksum 0.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(iproute2=6.1.0-3)
newer_release=forky
newer_debs=(network-manager=1.58.1-1 dbus-daemon=1.16.2-8 busybox=1:1.38.0-3+b1)

PREFIX=030440c000000e1000000e100000000020010db8000900000000000000000000
PREF64=2602070820010db80064000000000000
SERVER=2001:db8:64::c633:6450

# shellcheck disable=SC2317 # wait_until calls it
translates() {
    advertise venue venue0 1800 00 "$PREFIX" "$PREF64"
    ip -n head address show dev head0 | grep -q '192.0.0.5/32' && at head ping -c 1 -W 1 198.51.100.80
}

# Prints how many of three datagrams are answered: answered ADDRESS BYTES [unsummed].
answered() {
    at head python3 - "$@" <<'PY'
import socket, sys
address, size, *unsummed = sys.argv[1:]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
SO_NO_CHECK, IP_MTU_DISCOVER, IP_PMTUDISC_DONT = 11, 10, 0
s = socket.socket(family, socket.SOCK_DGRAM)
s.settimeout(1)
if family == socket.AF_INET:
    s.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
if unsummed:
    s.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
count = 0
for _ in range(3):
    s.sendto(b"x" * int(size), (address, 7))
    try:
        count += s.recv(100) == size.encode()
    except TimeoutError:
        pass
print(count)
PY
}

look() {
    hosts head venue
    cable head head0 venue venue0
    at venue sysctl -qw net.ipv6.conf.all.forwarding=1
    ip -n venue address add 2001:db8:9::1/64 dev venue0 nodad
    # The far side of the NAT64: 198.51.100.80. It answers with the size of what came.
    ip -n venue address add "$SERVER/128" dev lo nodad
    spawn venue python3 -c "
import socket
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.bind(('$SERVER', 7))
while True:
    data, sender = s.recvfrom(65535)
    s.sendto(b'%d' % len(data), sender)"
    sleep 2
    spawn_networkmanager head head0 clat=2
    wait_until translates
    expect "answered of 3 with 1400 bytes" 3 "$(answered 198.51.100.80 1400)"
    expect "with 1600 bytes" 0 "$(answered 198.51.100.80 1600)"
    expect "with 1600 bytes by IPv6" 3 "$(answered "$SERVER" 1600)"
    expect "with 100 bytes without checksum" 0 "$(answered 198.51.100.80 100 unsummed)"
}

run_finding
