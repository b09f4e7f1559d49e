#!/usr/bin/env bash
# An IPv6 route whose lifetime has ended (a router's that sends no more advertisements) is no way out any more, but stays in the list, with
# `expires -9sec`, and its RTM_DELROUTE comes when the next round of collecting does, up to 30 s later (net.ipv6.route.gc_interval).
#
# Seen with iproute2 6.1.0 on Linux 6.18. An expert expects list, event and look-up to agree on what is a route; so does a monitor that
# keeps the list up to date by events.
# Output: 10 s after the end of a default route of 5 s: look-up "unreachable", in the list "yes", event "no"; then the event's delay.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(iproute2=6.1.0-3)

# What the look-up, the list and the events say.
three() {
    local look_up=reachable
    at host ip -6 route get 2001:db8:9::1 >/dev/null 2>&1 || look_up=unreachable
    echo "$look_up, listed $(answer listed), deleted by event $(answer grep -q '^Deleted default' events)"
}

listed() {
    [[ -n $(ip -n host -6 route show default) ]]
}

look() {
    hosts host router
    cable host host0 router router0
    at router sysctl -qw net.ipv6.conf.router0.accept_dad=0
    at host sysctl -qw net.ipv6.conf.host0.accept_dad=0
    ip -n host address add 2001:db8:1::2/64 dev host0 nodad
    sleep 2
    spawn host ip monitor route >events
    local monitor=$spawned
    sleep 1
    advertise router router0 5 0
    wait_until listed
    expect "with a router's lifetime of 5 s" "reachable, listed yes, deleted by event no" "$(three)"
    sleep 15
    expect "10 s after its end" "unreachable, listed yes, deleted by event no" "$(three)"
    ip -n host -6 route show default
    local late=10
    while listed && ((late < 40)); do
        sleep 1
        ((++late))
    done
    expect "when it went from the list, $late s after its end" "unreachable, listed no, deleted by event yes" "$(three)"
    stop "$monitor"
}

run_finding
