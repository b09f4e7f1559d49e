#!/usr/bin/env bash
# `nft -j list ruleset` of a map whose value is a concatenation (address . port) is refused by `nft -j -f` of the same version,
# while the plain text listing of the same rules loads.
#
# Seen with nftables 1.0.6 on Linux 6.18. An expert expects JSON to be the safe way to save and restore rules.
# Output: text loads "yes", JSON loads "no": "Error: Invalid map type 'ipv4_addr . inet_service'."
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(nftables=1.0.6-2+deb12u2 libnftables1=1.0.6-2+deb12u2 libnftnl11=1.2.4-2)

look() {
    nft -f - <<'RULES'
table ip t {
    map published {
        type inet_service : ipv4_addr . inet_service
        elements = { 8080 : 10.0.0.1 . 80 }
    }
    chain pre {
        type nat hook prerouting priority dstnat
        dnat ip to tcp dport map @published
    }
}
RULES
    nft list ruleset >text
    nft -j list ruleset >json
    nft flush ruleset
    expect "the text listing loads" yes "$(answer nft -f text)"
    nft flush ruleset
    expect "the JSON listing loads" no "$(answer nft -j -f json)"
    expect "error" "Error: Invalid map type 'ipv4_addr . inet_service'." \
        "$(nft -j -f json 2>&1 | grep -o 'Error: Invalid.*' || true)"
}

run_finding
