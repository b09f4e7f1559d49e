#!/usr/bin/env bash
# A port's alternative name (altname, as systemd gives them) works with `ip`, with if_nametoindex() and SO_BINDTODEVICE; yet nft's
# iifname never matches it and dnsmasq's interface= does not know it, both without an error. sysctl and /sys do not know it either.
#
# Seen with nftables 1.0.6, dnsmasq 2.90, iproute2 6.1.0 on Linux 6.18. An expert expects a name that the kernel takes to be good
# everywhere, or to be refused.
# Output: bind "yes"; packets counted by iifname altname 0, by iifname of the real name 2; dnsmasq starts and answers nobody.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(dnsmasq-base=2.90-4~deb12u2 libidn2-0=2.3.3-1+b1 libunistring2=1.0-2 libnettle8=3.8.1-2 libhogweed6=3.8.1-2
    libdbus-1-3=1.14.10-1~deb12u1 libnetfilter-conntrack3=1.0.9-3 libnftables1=1.0.6-2+deb12u2 libnftnl11=1.2.4-2
    nftables=1.0.6-2+deb12u2 iproute2=6.1.0-3 busybox=1:1.35.0-4+deb12u1+b1)

# shellcheck disable=SC2317 # answer calls it
bind_to() {
    at host python3 -c 'import socket, sys
socket.socket().setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, sys.argv[1].encode())' "$1"
}

packets() {
    at host nft list chain ip t in | awk -v name="\"$1\"" '$2 == name { print $5 }'
}

# Prints whether a dnsmasq for this port starts, and whether it answers: serves PORT.
serves() {
    spawn host dnsmasq --no-daemon --user=root --conf-file=/dev/null --no-resolv --no-hosts --address=/a.test/203.0.113.1 \
        --interface="$1" 2>log
    local server=$spawned
    wait_until grep -q started log
    sleep 0.3
    echo "runs $(answer kill -0 "$server"), answers $(answer at client timeout 3 busybox nslookup -type=a a.test 10.0.0.1)"
    stop "$server"
}

look() {
    hosts host client
    cable host host0 client client0
    ip -n host address add 10.0.0.1/24 dev host0
    ip -n client address add 10.0.0.2/24 dev client0
    ip -n host link property add dev host0 altname cluster0
    expect "ip takes the altname" yes "$(answer ip -n host route add 203.0.113.0/24 dev cluster0)"
    expect "SO_BINDTODEVICE takes it" yes "$(answer bind_to cluster0)"
    expect "/sys knows it" no "$(answer at host test -e /sys/class/net/cluster0)"
    at host nft 'add table ip t; add chain ip t in { type filter hook input priority 0; }'
    at host nft 'add rule ip t in iifname cluster0 counter; add rule ip t in iifname host0 counter'
    at client ping -n -q -c 2 -i 0.2 10.0.0.1 >/dev/null
    expect "packets counted by iifname host0" 2 "$(packets host0)"
    expect "packets counted by iifname cluster0" 0 "$(packets cluster0)"
    expect "dnsmasq for host0" "runs yes, answers yes" "$(serves host0)"
    expect "dnsmasq for cluster0" "runs yes, answers no" "$(serves cluster0)"
}

run_finding
