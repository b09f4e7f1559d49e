#!/usr/bin/env bash
# A Linux router that forwards by `force_forwarding=1` (since 6.17, with forwarding=0) says "no router" in its neighbour
# advertisements. Hosts that learned their default route from its router advertisements delete it some 5 s later, when they first
# probe their neighbour, until the next advertisement comes; with forwarding=1 on that port the route stays.
#
# Seen with dnsmasq 2.90 (ra-only) on Linux 6.18, host and router. An expert expects force_forwarding to make a router of the port.
# The host is right (RFC 4861, 7.2.5); the two switches differ in more than their names say.
# Output: force_forwarding: ping through the router "yes" at first, and within 12 s the default route deleted "yes"; forwarding=1: "no".
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(dnsmasq-base=2.90-4~deb12u2 libidn2-0=2.3.3-1+b1 libunistring2=1.0-2 libnettle8=3.8.1-2 libhogweed6=3.8.1-2
    libdbus-1-3=1.14.10-1~deb12u1 libnetfilter-conntrack3=1.0.9-3 libnftables1=1.0.6-2+deb12u2 libnftnl11=1.2.4-2)

# shellcheck disable=SC2317 # wait_until calls it
has_default_route() {
    [[ -n $(ip -n host -6 route show default) ]]
}

# Lets the host learn its route anew, pings through the router, and prints whether that worked, and whether the route was deleted
# within the next 12 s.
learn_and_wait() {
    ip -n host link set host0 down
    ip -n host link set host0 up
    wait_until has_default_route
    spawn host ip monitor route >events
    local monitor=$spawned
    wait_until at host ping -n -c 1 -W 1 fd02::2
    sleep 12
    stop "$monitor"
    echo "ping yes, default route deleted $(answer grep -q '^Deleted default' events)"
}

look() {
    hosts host router far
    cable host host0 router in0
    cable router out0 far far0
    ip -n router -6 address add fd01::1/64 dev in0 nodad
    ip -n router -6 address add fd02::1/64 dev out0 nodad
    ip -n far -6 address add fd02::2/64 dev far0 nodad
    ip -n far -6 route add default via fd02::1
    if [[ ! -e /proc/sys/net/ipv6/conf/all/force_forwarding ]]; then
        give_up "this kernel has no force_forwarding"
    fi
    at router sysctl -qw net.ipv6.conf.in0.force_forwarding=1 net.ipv6.conf.out0.force_forwarding=1
    sleep 1.5
    spawn router dnsmasq --no-daemon --user=root --conf-file=/dev/null --port=0 --enable-ra --interface=in0 \
        --dhcp-range=fd01::,ra-only,64 2>log
    local server=$spawned
    expect "forwarding by force_forwarding alone" "ping yes, default route deleted yes" "$(learn_and_wait)"
    at router sysctl -qw net.ipv6.conf.in0.forwarding=1
    expect "forwarding=1 on the hosts' port as well" "ping yes, default route deleted no" "$(learn_and_wait)"
    stop "$server"
}

run_finding
