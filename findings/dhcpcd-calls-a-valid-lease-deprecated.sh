#!/usr/bin/env bash
# From T2 (87 % of the lease, or what the server says) until the lease ends, dhcpcd's IPv4 address carries the flag "deprecated",
# which Linux ignores for IPv4: the address is still chosen as source, even before a younger one that is not deprecated.
#
# Seen with dhcpcd 9.4.1, busybox udhcpd 1.35.0 on Linux 6.18 (lease 24 s, T1 5 s, T2 6 s). An expert takes a deprecated address for one
# that is not to be used any more, as for IPv6, and does not expect the flag on IPv4 at all.
# Output: before T2 "fresh"; after it "deprecated", and still the source of a new connection.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(dhcpcd-base=9.4.1-24~deb12u5 busybox=1:1.35.0-4+deb12u1+b1 iproute2=6.1.0-3)

state() {
    ip -n client -j address show dev client0 | python3 -c '
import json, sys
for a in json.load(sys.stdin)[0]["addr_info"]:
    if a["local"] == "10.0.0.10":
        print("deprecated" if a.get("deprecated") else "fresh")'
}

# Succeeds where the address is as asked.
# shellcheck disable=SC2317 # wait_until calls it
is() {
    [[ $(state) == "$1" ]]
}

look() {
    hosts server client
    cable server server0 client client0
    ip -n server address add 10.0.0.1/24 dev server0
    mkdir -p /var/lib/misc /var/lib/dhcpcd
    touch /var/lib/misc/udhcpd.leases
    printf '%s\n' 'start 10.0.0.10' 'end 10.0.0.10' 'interface server0' "pidfile $PWD/pid" 'option subnet 255.255.255.0' \
        'option router 10.0.0.1' 'option lease 24' 'min_lease 10' 'option 58 00000005' 'option 59 00000006' >conf
    spawn server busybox udhcpd -f conf 2>log
    local server=$spawned
    spawn client dhcpcd -B -4 --noarp -f /dev/null client0 >log2 2>&1
    local client=$spawned
    wait_until is fresh
    echo "with its lease: fresh"
    stop "$server"
    ip -n client address add 10.0.0.20/24 dev client0
    sleep 8
    expect "2 s after T2, 16 s before the end of the lease" deprecated "$(state)"
    expect "source of a new connection" 10.0.0.10 \
        "$(ip -n client -j route get 203.0.113.1 | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["prefsrc"])')"
    stop "$client"
}

run_finding
