#!/usr/bin/env bash
# `jhash ... mod N` without `seed` takes a new random seed whenever the same text is loaded, and `nft list ruleset` does not show
# the seed: clients that were spread over backends by their address are dealt anew by a reload of unchanged rules.
#
# Seen with nftables 1.0.6 on Linux 6.18. An expert expects the same text to give the same mapping, or the listing to save it.
# Output: 16 clients over 8 buckets: two loads of one text differ, also the reload of the listing; with `seed 0x1` they are alike.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(nftables=1.0.6-2+deb12u2 libnftables1=1.0.6-2+deb12u2 libnftnl11=1.2.4-2)

# Prints the bucket of each of 16 clients. The set keeps "client . bucket" as the rule saw it.
buckets() {
    nft flush set ip t dealt
    python3 - <<'PYTHON'
import socket
for client in range(1, 17):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind((f"127.0.1.{client}", 0))
        s.sendto(b"x", ("127.0.0.1", 9))
PYTHON
    nft -j list set ip t dealt | python3 -c '
import json, sys
pairs = [e["concat"] for o in json.load(sys.stdin)["nftables"] if "set" in o for e in o["set"]["elem"]]
print("".join(str(bucket) for client, bucket in sorted(pairs, key=lambda p: int(p[0].split(".")[3]))))'
}

# Loads rules from standard input in the place of all others.
reload() {
    nft flush ruleset
    nft -f -
}

rules() {
    cat <<RULES
table ip t {
    set dealt {
        type ipv4_addr . mark
        flags dynamic
        size 64
    }
    chain in {
        type filter hook input priority 0
        udp dport 9 meta mark set jhash ip saddr mod 8 $1
        udp dport 9 add @dealt { ip saddr . meta mark }
    }
}
RULES
}

look() {
    local first second listed
    rules "" | reload
    first=$(buckets)
    rules "" | reload
    second=$(buckets)
    nft flush set ip t dealt
    nft list ruleset >saved
    reload <saved
    listed=$(buckets)
    echo "three loads: $first $second $listed"
    expect "buckets seen" 16 "${#first}"
    expect "same buckets after a second load" no "$(answer test "$first" = "$second")"
    expect "same buckets after loading the listing" no "$(answer test "$second" = "$listed")"
    expect "the listing shows a seed" no "$(answer grep -q seed saved)"

    rules "seed 0x1" | reload
    first=$(buckets)
    rules "seed 0x1" | reload
    expect "same buckets with a seed" "$first" "$(buckets)"
}

run_finding
