#!/usr/bin/env bash
# IPv6 `masquerade` gives packets the address of another port, here the private one of the inner network, where the only global address of the
# outgoing port is deprecated: out they go with a source that no answer finds. The port's use_oif_addrs_only=1 keeps it to its own.
#
# Seen with nftables 1.0.6 on Linux 6.18. The manual says "the outgoing interface's IP address", and a deprecated address is still valid for
# that; an expert expects it, or no packet. (The kernel chooses as for its own packets, where RFC 6724 rule 3 comes before rule 5.)
# Output: source seen outside: 2001:db8:1::2 while preferred; fd01::1 once deprecated; with use_oif_addrs_only=1 2001:db8:1::2 again.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(nftables=1.0.6-2+deb12u2 libnftables1=1.0.6-2+deb12u2 libnftnl11=1.2.4-2 tcpdump=4.99.3-1 libpcap0.8=1.10.3-1 iproute2=6.1.0-3)

# Prints the source address that the far side sees when the node pings it.
source_seen() {
    spawn far timeout 5 tcpdump -lnt -i far0 -c 1 'icmp6[icmp6type] == icmp6-echo' >seen 2>log
    local listener=$spawned
    wait_until grep -q listening log
    at node ping -n -c 1 -W 1 2001:db8:9::1 >/dev/null || true
    wait "$listener" || true
    awk '{ print $2 }' seen
}

look() {
    hosts node nat far
    at nat sysctl -qw net.ipv6.conf.all.forwarding=1
    cable node node0 nat in0
    cable nat out0 far far0
    ip -n node address add fd01::2/64 dev node0 nodad
    ip -n nat address add fd01::1/64 dev in0 nodad
    ip -n nat address add 2001:db8:1::2/64 dev out0 nodad
    ip -n far address add 2001:db8:1::1/64 dev far0 nodad
    ip -n far address add 2001:db8:9::1/128 dev lo
    sleep 2
    ip -n node route add default via fd01::1
    ip -n nat route add default via 2001:db8:1::1
    at nat nft 'add table ip6 t; add chain ip6 t post { type nat hook postrouting priority 100; }; add rule ip6 t post oifname out0 masquerade'
    expect "source outside, the port's address preferred" 2001:db8:1::2 "$(source_seen)"
    ip -n nat address change 2001:db8:1::2/64 dev out0 preferred_lft 0
    expect "source outside, the port's address deprecated" fd01::1 "$(source_seen)"
    at nat sysctl -qw net.ipv6.conf.out0.use_oif_addrs_only=1
    expect "the same with use_oif_addrs_only=1" 2001:db8:1::2 "$(source_seen)"
}

run_finding
