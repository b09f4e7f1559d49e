#!/usr/bin/env bash
# A routing rule cannot name port 65535: the kernel refuses it alone and as the end of a range, for source and destination.
#
# Seen with iproute2 6.1.0 on Linux 6.18: "Invalid sport range." comes from the kernel (net/core/fib_rules.c). An expert expects the
# whole range of ports, as nft and iptables take it. A rule "for all high ports" has to end at 65534, and misses one port.
# Output: 65535 and 60000-65535 are refused with status 2, 60000-65534 is taken; nft takes 60000-65535.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(iproute2=6.1.0-3 libbpf1=1:1.1.2-0+deb12u1 nftables=1.0.6-2+deb12u2 libnftables1=1.0.6-2+deb12u2 libnftnl11=1.2.4-2)

# Prints how `ip rule add` ends.
add() {
    ip rule add "$@" lookup main 2>>"$FINDING_WORK/tmp/errors" && echo taken || echo "refused with status $?"
}

look() {
    expect "source port 65535" "refused with status 2" "$(add sport 65535)"
    expect "destination ports 60000-65535" "refused with status 2" "$(add dport 60000-65535)"
    expect "destination ports 60000-65534" "taken" "$(add dport 60000-65534)"
    expect "what the kernel says" 2 "$(grep -c 'Invalid [sd]port range' "$FINDING_WORK/tmp/errors")"
    nft 'add table ip t; add chain ip t c; add rule ip t c udp dport 60000-65535 accept'
    expect "nft with 60000-65535" 1 "$(nft list chain ip t c | grep -c 60000-65535)"
}

run_finding
