#!/usr/bin/env bash
# A route that uses a nexthop object (`nhid`, as systemd-networkd makes its IPv6 default route) is removed for good when its port
# loses the carrier for a moment. The same route with the gateway written in it stays, marked linkdown, and works again later. The
# end of the IPv4 route is not even announced (no RTM_DELROUTE), that of the IPv6 route is.
#
# Seen with iproute2 6.1.0 on Linux 6.18, IPv4 and IPv6. An expert takes nexthop objects for another way to write the same route.
# Output: after the cable was pulled and put back: plain routes 1 and 1, nexthop routes 0 and 0, nexthop objects 0;
# announced removals: IPv4 0, IPv6 1.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(iproute2=6.1.0-3)

count() {
    ip -n host "$@" | grep -c . || true
}

look() {
    hosts host switch
    cable host host0 switch port0
    ip -n host address add 10.0.0.1/24 dev host0
    ip -n host -6 address add fd00::1/64 dev host0 nodad
    ip -n host route add 192.0.2.0/24 via 10.0.0.254
    ip -n host -6 route add fd01::/64 via fd00::254
    ip -n host nexthop add id 4 via 10.0.0.254 dev host0
    ip -n host nexthop add id 6 via fd00::254 dev host0
    ip -n host route add 203.0.113.0/24 nhid 4
    ip -n host -6 route add fd02::/64 nhid 6
    expect "nexthop routes at first" "1 1" "$(count -4 route show 203.0.113.0/24) $(count -6 route show fd02::/64)"

    spawn host ip monitor route >events
    local monitor=$spawned
    sleep 0.5
    ip -n switch link set port0 down
    wait_until carrier_is host host0 0
    sleep 0.3
    ip -n switch link set port0 up
    wait_until carrier_is host host0 1
    sleep 0.3
    stop "$monitor"
    expect "plain routes afterwards" "1 1" "$(count -4 route show 192.0.2.0/24) $(count -6 route show fd01::/64)"
    expect "nexthop routes afterwards" "0 0" "$(count -4 route show 203.0.113.0/24) $(count -6 route show fd02::/64)"
    expect "announced removals" "0 1" "$(grep -c '^Deleted 203' events || true) $(grep -c '^Deleted fd02' events || true)"
    expect "nexthop objects afterwards" 0 "$(count nexthop)"
}

run_finding
