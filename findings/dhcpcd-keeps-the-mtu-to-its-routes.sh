#!/usr/bin/env bash
# dhcpcd does not set the port's MTU by DHCP option 26: it gives its own routes an MTU. Any other route by the same port, and IPv6, still
# use 1500 bytes: such packets are too long for the network, and get lost where it sends no ICMP.
#
# Seen with dhcpcd 9.4.1 (Debian 12), 10.1.0 (Debian 13) and dnsmasq 2.90 on Linux 6.18. RFC 2132 (5.1) calls it the interface MTU;
# dhclient and NetworkManager set the port's, and an expert expects that.
# Output, each for both versions: the port's MTU 1500, of dhcpcd's default route 1400, of one more route through the same router 1500.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(dhcpcd-base=9.4.1-24~deb12u5 dnsmasq-base=2.90-4~deb12u2 libidn2-0=2.3.3-1+b1 libunistring2=1.0-2 libnettle8=3.8.1-2 libhogweed6=3.8.1-2
    libdbus-1-3=1.14.10-1~deb12u1 libnetfilter-conntrack3=1.0.9-3 libnftables1=1.0.6-2+deb12u2 libnftnl11=1.2.4-2 iproute2=6.1.0-3)
newer_debs=(dhcpcd-base=1:10.1.0-11+deb13u5 libc6=2.41-12+deb13u5 libssl3t64=3.5.9-1~deb13u1 zlib1g=1:1.3.dfsg+really1.3.1-1+deb13u1
    libzstd1=1.5.7+dfsg-1 busybox=1:1.37.0-6+b9)

# shellcheck disable=SC2317 # wait_until calls it
has_default_route() {
    ip -n "$1" route show default | grep -q via
}

# Prints the longest packet to an address: that of its route, else of the port.
longest() {
    local limit
    limit=$(ip -n "$1" route get "$2" | grep -o 'mtu [0-9]*' | cut -d' ' -f2 || true)
    echo "${limit:-$(port_mtu "$1")}"
}

port_mtu() {
    at "$1" cat /sys/class/net/client0/mtu
}

look() {
    hosts server older newer
    ip -n server link add br0 type bridge
    local each
    for each in older newer; do
        cable "$each" client0 server "$each"
        ip -n server link set "$each" master br0
    done
    ip -n server link set br0 up
    ip -n server address add 10.9.0.1/24 dev br0
    mkdir -p /var/lib/dhcpcd "$FINDING_WORK/newer/var/lib/dhcpcd"
    spawn server dnsmasq --no-daemon --user=root --conf-file=/dev/null --port=0 --interface=br0 --no-ping --dhcp-authoritative \
        --dhcp-leasefile="$PWD/leases" --dhcp-range=10.9.0.50,10.9.0.90,1h --dhcp-option=26,1400 2>log
    printf '%s\n' 'option interface_mtu' noarp noipv4ll | tee "$FINDING_WORK/newer/etc/dhcpcd.conf" >dhcpcd.conf
    spawn older dhcpcd -B -4 -f "$PWD/dhcpcd.conf" client0 >log-older 2>&1
    spawn_newer newer dhcpcd -B -4 --nodev client0 >log-newer 2>&1
    for each in older newer; do
        wait_until has_default_route "$each"
        ip -n "$each" route add 198.51.100.0/24 via 10.9.0.1
        expect "$each: the port" 1500 "$(port_mtu "$each")"
        expect "$each: the default route" 1400 "$(longest "$each" 203.0.113.1)"
        expect "$each: one more route" 1500 "$(longest "$each" 198.51.100.1)"
    done
}

run_finding
