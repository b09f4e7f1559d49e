#!/usr/bin/env bash
# `masquerade` takes the outgoing port's first address and not the source address that the route names (`src`), which is what the
# host's own connections use. It even rewrites the host's own packets from the route's address to that first address.
#
# Seen with nftables 1.0.6 on Linux 6.18. The manual says "the outgoing interface's address"; an expert expects the one that the
# kernel itself would choose for this destination.
# Output: without rules the host sends from 192.0.2.1 (route's src); with masquerade the host and the node go out as 198.51.100.7.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(nftables=1.0.6-2+deb12u2 libnftables1=1.0.6-2+deb12u2 libnftnl11=1.2.4-2 tcpdump=4.99.3-1 libpcap0.8=1.10.3-1)

# Prints the source address that the far side sees when a namespace pings it: source_of NS.
source_of() {
    spawn far timeout 5 tcpdump -lnt -i far0 -c 1 'icmp[icmptype] == icmp-echo' >seen 2>log
    local listener=$spawned
    wait_until grep -q listening log
    at "$1" ping -n -c 1 -W 1 203.0.113.9 >/dev/null || true
    wait "$listener" || true
    awk '{ print $2 }' seen
}

look() {
    hosts node nat far
    cable node node0 nat in0
    cable nat out0 far far0
    ip -n node address add 10.0.0.2/24 dev node0
    ip -n node route add default via 10.0.0.1
    ip -n nat address add 10.0.0.1/24 dev in0
    ip -n nat address add 198.51.100.7/24 dev out0
    ip -n nat address add 192.0.2.1/32 dev out0
    ip -n nat route add default via 198.51.100.9 src 192.0.2.1
    ip -n far address add 198.51.100.9/24 dev far0
    at nat sysctl -qw net.ipv4.ip_forward=1

    expect "host's own source without rules" 192.0.2.1 "$(source_of nat)"
    at nat nft 'add table ip t; add chain ip t post { type nat hook postrouting priority 100; }; add rule ip t post oifname out0 masquerade'
    expect "host's own source with masquerade" 198.51.100.7 "$(source_of nat)"
    expect "node's source with masquerade" 198.51.100.7 "$(source_of node)"
}

run_finding
