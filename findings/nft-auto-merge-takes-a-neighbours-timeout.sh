#!/usr/bin/env bash
# In a set with `auto-merge` and timeouts, an entry is merged with its neighbours whatever their timeouts are, and the whole gets one of them:
# what was put in for an hour is gone after seconds with its neighbour, or what was put in for seconds stays for the hour. An address
# that lies within a network that is there is passed over, with its longer timeout.
#
# Seen with nftables 1.0.6 on Linux 6.18, and once with 1.1.7 (Debian 14). The manual: "automatic merge of adjacent/overlapping set elements"; an expert expects that only
# entries of the same timeout are merged, or an error, as without auto-merge.
# Output: halves of a /24 for 3 s and 1 h, in one command: one element of 3 s, gone after 4 s; in two commands: one element of 1 h; a host for
# 1 h within a network of 3 s: one element of 3 s; without auto-merge: two elements, of 3 s and 1 h.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(nftables=1.0.6-2+deb12u2 libnftables1=1.0.6-2+deb12u2 libnftnl11=1.2.4-2)

# Makes the set anew: fresh [auto-merge].
fresh() {
    nft -f - <<RULES
table ip t
delete table ip t
table ip t {
    set s {
        type ipv4_addr
        flags interval,timeout
        ${1-}
    }
}
RULES
}

add() {
    nft "add element ip t s { $1 }"
}

# Prints the elements with the timeout of each.
elements() {
    nft list set ip t s | tr ',\n\t' '\n  ' | sed -nE 's/.* ([0-9.\/]+) timeout ([0-9a-z]+) .*/\1 \2/p' | paste -sd ' '
}

look() {
    local first='10.0.0.0/25 timeout 3s' second='10.0.0.128/25 timeout 1h'
    fresh
    add "$first, $second"
    expect "without auto-merge" "10.0.0.0/25 3s 10.0.0.128/25 1h" "$(elements)"
    fresh auto-merge
    add "$first"
    add "$second"
    expect "two commands" "10.0.0.0/24 1h" "$(elements)"
    fresh auto-merge
    add '10.0.0.0/24 timeout 3s'
    add '10.0.0.11 timeout 1h'
    expect "a host within a network" "10.0.0.0/24 3s" "$(elements)"
    fresh auto-merge
    add "$first, $second"
    expect "one command" "10.0.0.0/24 3s" "$(elements)"
    sleep 4
    expect "after 4 s" "" "$(elements)"
}

run_finding
