#!/usr/bin/env bash
# A cable that goes to another network takes nothing away from what Linux itself learned by router advertisements of the one before: its
# address stays preferred and its default route listed. Where the old prefix has more bits in common with the destination's address no answer
# comes, for as long as the old router had said (14400 s by the usual default). With dhcpcd both are gone; `disable_ipv6` on and off loses them.
#
# Seen with Linux 6.18, and dhcpcd 9.4.1 as the measure. For IPv4 a client asks again at each link-up; RFC 6059 wants a host to find out
# by its router whether the link is another. An expert expects the new router's address and route at least to be chosen.
# Output: both reach the far side at first; on the other network Linux has 2 addresses, 2 default routes and no answer, dhcpcd 1, 1 and one;
# so has Linux after disable_ipv6=1 and 0.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(dhcpcd-base=9.4.1-24~deb12u5 iproute2=6.1.0-3)

# What a host has and reaches.
state() {
    echo "addresses $(ip -n "$1" -6 -o address show dev port0 scope global | wc -l)," \
        "default routes $(ip -n "$1" -6 route show default | wc -l)," \
        "answer $(answer at "$1" ping -n -c 1 -W 1 2001:db8:9::1)"
}

# Has a network's router advertise itself: 86400 s valid, 14400 s preferred, as radvd does unless asked otherwise.
announce() {
    advertise "$1" router0 1800 0 030440c0000151800000384000000000 "$2"
}

look() {
    hosts switch first second linux dhcpcd
    at switch sysctl -qw net.ipv6.conf.default.disable_ipv6=1
    local each
    for each in first second; do
        ip -n switch link add "$each" type bridge
        ip -n switch link set "$each" up
        at "$each" sysctl -qw net.ipv6.conf.default.accept_dad=0
        cable "$each" router0 switch "to-$each"
        ip -n switch link set "to-$each" master "$each"
        at "$each" sysctl -qw net.ipv6.conf.all.forwarding=1
        ip -n "$each" address add 2001:db8:9::1/128 dev lo
    done
    ip -n first address add 2001:db8:a::1/64 dev router0
    ip -n second address add 2001:db8:b000::1/64 dev router0
    for each in linux dhcpcd; do
        cable "$each" port0 switch "$each"
        ip -n switch link set "$each" master first
    done
    mkdir -p /var/lib/dhcpcd
    spawn dhcpcd dhcpcd -B -6 -f /dev/null port0 >log 2>&1
    local client=$spawned
    sleep 4
    announce first 20010db8000a00000000000000000000
    sleep 4
    expect "Linux on the first network" "addresses 1, default routes 1, answer yes" "$(state linux)"
    expect "dhcpcd on the first network" "addresses 1, default routes 1, answer yes" "$(state dhcpcd)"
    for each in linux dhcpcd; do
        ip -n switch link set "$each" down
    done
    sleep 3
    for each in linux dhcpcd; do
        ip -n switch link set "$each" master second
        ip -n switch link set "$each" up
    done
    sleep 4
    announce second 20010db8b00000000000000000000000
    sleep 4
    # Long enough to find the old router unreachable.
    at linux ping -n -c 10 -W 1 2001:db8:9::1 >/dev/null 2>&1 || true
    expect "Linux on the second network, after 10 pings" "addresses 2, default routes 2, answer no" "$(state linux)"
    ip -n linux -6 route get 2001:db8:9::1
    expect "dhcpcd on the second network" "addresses 1, default routes 1, answer yes" "$(state dhcpcd)"
    stop "$client"
    at linux sysctl -qw net.ipv6.conf.port0.disable_ipv6=1
    at linux sysctl -qw net.ipv6.conf.port0.disable_ipv6=0
    sleep 3
    announce second 20010db8b00000000000000000000000
    sleep 4
    expect "Linux after disable_ipv6=1 and 0" "addresses 1, default routes 1, answer yes" "$(state linux)"
}

run_finding
