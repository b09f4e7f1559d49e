#!/usr/bin/env bash
# IPv6's per-port `forwarding` does not say whether packets of that port are forwarded: with 1 on both ports nothing is forwarded
# while `all` is 0, and with 0 on both ports everything is forwarded while `all` is 1. For IPv4 the port's own value decides.
#
# Seen on Linux 6.18 (iproute2 6.1.0). An expert takes both families' switches to mean the same; for IPv6 the port's value only says
# whether it acts as a router (router advertisements, redirects). `force_forwarding` (since 6.17) does switch, by arriving port.
# Output: as in the table of the script: "all 0, ports 1: no", "all 1, ports 0: yes"; IPv4 the other way round.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(iproute2=6.1.0-3)

# Sets family, `all` and then both ports, and prints whether a ping gets through: forwards FAMILY ALL PORTS.
forwards() {
    local target=10.2.0.2
    [[ $1 == ipv4 ]] || target=fd02::2
    at router sysctl -qw "net.$1.conf.all.forwarding=$2" "net.$1.conf.r0.forwarding=$3" "net.$1.conf.r1.forwarding=$3"
    answer at left ping -n -c 1 -W 1 "$target"
}

look() {
    hosts left router right
    cable left left0 router r0
    cable router r1 right right0
    local net host port
    while read -r host port net; do
        ip -n "$host" address add "10.$net/24" dev "$port"
        ip -n "$host" -6 address add "fd0${net%%.*}::${net##*.}/64" dev "$port" nodad
    done <<'ADDRESSES'
left left0 1.0.2
router r0 1.0.1
router r1 2.0.1
right right0 2.0.2
ADDRESSES
    for net in 10. fd0; do
        [[ $net == 10. ]] && host=.0.1 || host=::1
        ip -n left route add default via "${net}1$host"
        ip -n right route add default via "${net}2$host"
    done
    sleep 1.5
    expect "IPv4 with all 0, ports 1" yes "$(forwards ipv4 0 1)"
    expect "IPv4 with all 1, ports 0" no "$(forwards ipv4 1 0)"
    expect "IPv6 with all 0, ports 1" no "$(forwards ipv6 0 1)"
    expect "IPv6 with all 1, ports 0" yes "$(forwards ipv6 1 0)"

    forwards ipv6 0 0 >/dev/null
    if [[ -e /proc/sys/net/ipv6/conf/all/force_forwarding ]]; then
        at router sysctl -qw net.ipv6.conf.r0.force_forwarding=1
        expect "IPv6 with force_forwarding on the port of the request only" no "$(answer at left ping -n -c 1 -W 1 fd02::2)"
        at router sysctl -qw net.ipv6.conf.r1.force_forwarding=1
        expect "IPv6 with force_forwarding on both ports" yes "$(answer at left ping -n -c 1 -W 1 fd02::2)"
    fi
}

run_finding
