#!/usr/bin/env bash
# A set or map of concatenated intervals (address . port) refuses an entry that overlaps with one that is there, if the new one's first or last
# value is in the old one. A new entry that reaches beyond the old one on both sides is taken, and both are listed. So the same
# two entries, "one board" and "the whole network", load in one order and are refused in the other; and once both are in, the small one
# cannot be changed any more: what is deleted and added again, also in one transaction, is refused ("File exists").
#
# Seen with nftables 1.0.6 on Linux 6.18. The manual has nothing about it; an expert expects each overlap to be refused, as in sets of plain
# intervals, or each to be taken.
# Output: small then wide: yes, packets by the small one 1, by the wide one 1; small changed: no; wide then small: no; plain intervals: no no.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(nftables=1.0.6-2+deb12u2 libnftables1=1.0.6-2+deb12u2 libnftnl11=1.2.4-2)

send_from() {
    python3 -c 'import socket, sys
for source in sys.argv[1:]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind((source, 0))
        s.sendto(b"x", ("127.0.0.1", 22))' "$@"
}

# Makes the table anew: fresh KEY.
fresh() {
    nft -f - <<RULES
table ip t
delete table ip t
table ip t {
    map m {
        type $1 : verdict
        flags interval
    }
    chain small {
        counter
    }
    chain wide {
        counter
    }
}
RULES
}

# Prints whether nft takes a line.
takes() {
    answer nft "$1"
}

packets() {
    nft list chain ip t "$1" | awk '/packets/ { print $3 }'
}

look() {
    local small='{ 127.0.0.11 . 22 : goto small }' wide='{ 127.0.0.0/24 . 22 : goto wide }'
    fresh 'ipv4_addr . inet_service'
    nft 'add chain ip t in { type filter hook input priority 0; }; add rule ip t in ip saddr . udp dport vmap @m'
    nft "add element ip t m $small"
    expect "small, then wide" yes "$(takes "add element ip t m $wide")"
    send_from 127.0.0.11 127.0.0.12
    expect "packets by small, by wide" "1 1" "$(packets small) $(packets wide)"
    expect "small deleted and added again" no "$(takes "delete element ip t m { 127.0.0.11 . 22 }; add element ip t m $small")"
    nft list table ip t >listing
    expect "the listing loads" yes "$(nft delete table ip t && answer nft -f listing)"

    fresh 'ipv4_addr . inet_service'
    nft "add element ip t m $wide"
    expect "wide, then small" no "$(takes "add element ip t m $small")"

    small=${small// . 22/} wide=${wide// . 22/}
    fresh ipv4_addr
    nft "add element ip t m $small"
    expect "plain intervals: small, then wide" no "$(takes "add element ip t m $wide")"
    fresh ipv4_addr
    nft "add element ip t m $wide"
    expect "plain intervals: wide, then small" no "$(takes "add element ip t m $small")"
}

run_finding
