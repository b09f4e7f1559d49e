#!/usr/bin/env bash
# Taking away the last rule that needs connection tracking switches tracking off for the namespace at once: packets of open
# connections pass a NAT host without being translated, though `conntrack -L` still lists the connections as they were.
#
# Seen with nftables 1.0.6, conntrack 1.4.7 on Linux 6.18. An expert expects open NAT connections to live as long as their entries:
# NAT rules are only consulted for a connection's first packet.
# Output: with the rule: sources "203.0.113.1"; without: "10.0.0.2" and yet one listed entry; with any `ct state` rule: "203.0.113.1".
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(nftables=1.0.6-2+deb12u2 libnftables1=1.0.6-2+deb12u2 libnftnl11=1.2.4-2 conntrack=1:1.4.7-1+b2 libnetfilter-conntrack3=1.0.9-3
    tcpdump=4.99.3-1 libpcap0.8=1.10.3-1)

# Prints the source address with which one more datagram of the open flow leaves the NAT host.
source_outside() {
    at far timeout 5 tcpdump -lnt -i far0 -c 1 udp dst port 9000 >seen 2>log &
    local listener=$!
    wait_until grep -q listening log
    at node python3 -c 'import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("10.0.0.2", 4000)); s.sendto(b"x", ("203.0.113.2", 9000))'
    wait "$listener" || true
    awk '{ sub(/\.[0-9]+$/, "", $2); print $2 }' seen
}

listed() {
    at nat conntrack -L -p udp 2>/dev/null | grep -c 'dst=203.0.113.1 '
}

look() {
    hosts node nat far
    cable node node0 nat in0
    cable nat out0 far far0
    ip -n node address add 10.0.0.2/24 dev node0
    ip -n node route add default via 10.0.0.1
    ip -n nat address add 10.0.0.1/24 dev in0
    ip -n nat address add 203.0.113.1/24 dev out0
    ip -n far address add 203.0.113.2/24 dev far0
    at nat sysctl -qw net.ipv4.ip_forward=1
    at nat nft 'add table ip t; add chain ip t post { type nat hook postrouting priority 100; }; add rule ip t post oifname out0 masquerade'

    expect "source with the masquerade rule" 203.0.113.1 "$(source_outside)"
    expect "entries listed" 1 "$(listed)"
    at nat nft 'add chain ip t pass { type filter hook forward priority 0; }; add rule ip t pass ct state established counter accept; flush chain ip t post'
    expect "source without it, while a ct rule is left" 203.0.113.1 "$(source_outside)"
    at nat nft flush chain ip t pass
    expect "source without any ct rule" 10.0.0.2 "$(source_outside)"
    expect "entries still listed" 1 "$(listed)"
    at nat nft add rule ip t pass ct state established counter accept
    expect "source when a ct rule is back" 203.0.113.1 "$(source_outside)"
}

run_finding
