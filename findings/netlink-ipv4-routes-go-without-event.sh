#!/usr/bin/env bash
# When a port is set down, Linux removes all its IPv4 routes without one RTM_DELROUTE, while each IPv6 route's removal is announced.
# The IPv4 addresses stay, their local routes' removal is not announced either. A program that follows routes by events only goes
# on believing in a default route that is gone.
#
# Seen with iproute2 6.1.0 on Linux 6.18. An expert who listens to RTNLGRP_IPV4_ROUTE expects to hear of every change.
# Output: routes gone 2, IPv4 events 0, IPv6 events more than 0; the same for `ip nexthop del`: the route goes unannounced.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(iproute2=6.1.0-3)

# Runs a command in the host and keeps what a monitor of routes heard in the file "events".
heard() {
    spawn host ip monitor route >events
    local monitor=$spawned
    sleep 0.5
    "$@"
    sleep 0.7
    stop "$monitor"
}

deleted() {
    grep -c "^Deleted.* $1" events || true
}

look() {
    hosts host switch
    cable host host0 switch port0
    ip -n host address add 10.0.0.1/24 dev host0
    ip -n host -6 address add fd00::1/64 dev host0 nodad
    ip -n host route add default via 10.0.0.254
    ip -n host -6 route add fd09::/64 via fd00::254
    sleep 0.5
    expect "IPv4 routes" 2 "$(ip -n host -4 route | wc -l)"
    heard ip -n host link set host0 down
    expect "IPv4 routes after link down" 0 "$(ip -n host -4 route | wc -l)"
    expect "announced removals of IPv4 routes" 0 "$(deleted '\(default\|10\.0\.0\.0/24\)')"
    expect "announced removals of the IPv6 route" 1 "$(deleted 'fd09::/64')"

    ip -n host link set host0 up
    ip -n host nexthop add id 5 via 10.0.0.254 dev host0
    ip -n host route add 203.0.113.0/24 nhid 5
    heard ip -n host nexthop del id 5
    expect "IPv4 route after its nexthop was deleted" 0 "$(ip -n host -4 route show 203.0.113.0/24 | wc -l)"
    expect "announced removals of that route" 0 "$(deleted 203.0.113.0/24)"
}

run_finding
