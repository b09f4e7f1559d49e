#!/usr/bin/env bash
# NetworkManager's translator of IPv4 to IPv6 (464XLAT, `ipv4.clat`) ends with its process, also when that is stopped cleanly. The
# translator's address 192.0.0.5 and the IPv4 default route stay: what follows them leaves the port as plain IPv4, from 192.0.0.5, into
# a network that has none.
#
# Seen with NetworkManager 1.58.1 (Debian 14) on Linux 6.18. That a stopped NetworkManager leaves addresses and routes is known and meant
# for networks that go on working. An expert expects of it to keep the programs attached as well (pinned), or to take the route with them.
# Output: with NetworkManager 3 of 3 pings are answered by the NAT64's side and none shows as IPv4; after its end the address and the
# route are there, none of 3 is answered, and 3 show as IPv4.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(iproute2=6.1.0-3)
newer_release=forky
newer_debs=(network-manager=1.58.1-1 dbus-daemon=1.16.2-8 busybox=1:1.38.0-3+b1)

PREFIX=030440c000000e1000000e100000000020010db8000900000000000000000000
PREF64=2602070820010db80064000000000000

# shellcheck disable=SC2317 # wait_until calls it
translates() {
    advertise venue venue0 1800 00 "$PREFIX" "$PREF64"
    ip -n head address show dev head0 | grep -q '192.0.0.5/32' && at head ping -c 1 -W 1 198.51.100.80
}

# Prints how many of three pings are answered, and how many packets the venue sees as IPv4.
three() {
    at venue python3 - <<'PY' &
import socket, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
s.bind(("venue0", 0x0800))
s.settimeout(0.1)
seen, end = 0, time.time() + 4
while time.time() < end:
    try:
        packet = s.recv(2000)
    except TimeoutError:
        continue
    seen += packet[12:20] == socket.inet_aton("192.0.0.5") + socket.inet_aton("198.51.100.80")
open("seen", "w").write(str(seen))
PY
    local listener=$!
    sleep 1
    at head ping -c 3 -i 0.3 -W 1 198.51.100.80 >answers || true
    wait "$listener"
    echo "$(grep -c 'bytes from' answers) $(cat seen)"
}

held() {
    echo "$(ip -n head -4 -o address show dev head0 | wc -l) $(ip -n head -4 route show default | wc -l)"
}

look() {
    hosts head venue
    cable head head0 venue venue0
    at venue sysctl -qw net.ipv6.conf.all.forwarding=1
    ip -n venue address add 2001:db8:9::1/64 dev venue0 nodad
    # The far side of the NAT64: 198.51.100.80.
    ip -n venue address add 2001:db8:64::c633:6450/128 dev lo nodad
    sleep 2
    spawn_networkmanager head head0 clat=2
    local manager=$spawned
    wait_until translates
    expect "addresses and default routes of IPv4" "1 1" "$(held)"
    expect "with NetworkManager: answered, seen as IPv4" "3 0" "$(three)"
    stop "$manager"
    sleep 1
    expect "addresses and default routes after its end" "1 1" "$(held)"
    expect "after its end: answered, seen as IPv4" "0 3" "$(three)"
}

run_finding
