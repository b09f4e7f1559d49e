#!/usr/bin/env bash
# dhcpcd keeps of a router's advertisements only what the last one had: after one that carries PREF64 alone, the resolvers (RDNSS) of the
# one before are gone from resolv.conf and its MTU from the routes, long before their lifetime ends. The address stays.
#
# Seen with dhcpcd 10.1.0 (Debian 13) and, for the MTU, 9.4.1 (Debian 12); Linux 6.18's own autoconfiguration as the measure. A router MAY
# leave options out of an advertisement (RFC 4861, 6.2.3), and hosts take the union of all (6.3.4); an expert expects a resolver for its 1800 s.
# Output: after the first advertisement a resolver and 1400 bytes for all; after the second both are gone with dhcpcd, the kernel keeps the MTU.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(dhcpcd-base=9.4.1-24~deb12u5 iproute2=6.1.0-3)
newer_debs=(dhcpcd-base=1:10.1.0-11+deb13u5 libc6=2.41-12+deb13u5 libssl3t64=3.5.9-1~deb13u1 zlib1g=1:1.3.dfsg+really1.3.1-1+deb13u1
    libzstd1=1.5.7+dfsg-1 busybox=1:1.37.0-6+b9)

mtu=0501000000000578                                                              # 1400 bytes
prefix=030440c000000e100000070800000000$(printf %s 20010db8000100000000000000000000) # 2001:db8:1::/64 for 3600 s, preferred for 1800 s
rdnss=190300000000070820010db8000100000000000000000053                            # 2001:db8:1::53 for 1800 s
pref64=260207080064ff9b0000000000000000                                           # 64:ff9b::/96 for 1800 s

# The MTU of a client's way out; the kernel's client has it on the port.
mtu_of() {
    if [[ $1 == kernel ]]; then
        at kernel cat /proc/sys/net/ipv6/conf/client0/mtu
    else
        ip -n "$1" -6 route show default | grep -o 'mtu [0-9]*' || echo none
    fi
}

resolvers() {
    grep -c '^nameserver' "$FINDING_WORK/newer/etc/resolv.conf" || true
}

addresses() {
    ip -n "$1" -6 -o address show dev client0 scope global | wc -l
}

# shellcheck disable=SC2317 # wait_until calls it
all_have_heard() {
    [[ $(mtu_of older) == "mtu 1400" && $(mtu_of newer) == "mtu 1400" && $(mtu_of kernel) == 1400 && $(resolvers) == 1 ]]
}

# What all clients have: the MTU of each, the newer one's resolvers, and how many addresses each has.
have() {
    echo "MTU of dhcpcd 9.4.1 $(mtu_of older), 10.1.0 $(mtu_of newer), the kernel $(mtu_of kernel);" \
        "resolvers of 10.1.0 $(resolvers); addresses $(addresses older) $(addresses newer) $(addresses kernel)"
}

look() {
    hosts router older newer kernel
    at router sysctl -qw net.ipv6.conf.default.accept_dad=0
    ip -n router link add router0 type bridge
    local each
    for each in older newer kernel; do
        cable "$each" client0 router "$each"
        ip -n router link set "$each" master router0
    done
    ip -n router link set router0 up
    mkdir -p /var/lib/dhcpcd "$FINDING_WORK/newer/var/lib/dhcpcd"
    spawn older dhcpcd -B -6 -f /dev/null -C resolv.conf client0 >log 2>&1
    local older=$spawned
    spawn_newer newer dhcpcd -B -6 --nodev -f /dev/null client0 >log2 2>&1
    local newer=$spawned
    sleep 4
    advertise router router0 1800 0 "$mtu" "$prefix" "$rdnss"
    wait_until all_have_heard
    sleep 2
    expect "with MTU, network and resolver" "MTU of dhcpcd 9.4.1 mtu 1400, 10.1.0 mtu 1400, the kernel 1400; resolvers of 10.1.0 1; addresses 1 1 1" "$(have)"
    advertise router router0 1800 0 "$pref64"
    sleep 3
    expect "3 s after PREF64" "MTU of dhcpcd 9.4.1 none, 10.1.0 none, the kernel 1400; resolvers of 10.1.0 0; addresses 1 1 1" "$(have)"
    stop "$newer"
    stop "$older"
}

run_finding
