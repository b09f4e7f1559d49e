#!/usr/bin/env bash
# `nft monitor` hears how an element with a timeout is added and deleted by hand, but not how it expires; of what a rule adds by `add @set`
# it hears neither. A copy of a set that is kept by events fills up with what is long gone.
#
# Seen with nftables 1.0.6 on Linux 6.18. For addresses, neighbours and connections the kernel reports the end of a lifetime, so an
# expert expects that of set elements.
# Output: events of an element deleted by hand: "add delete"; of one that expires, and is gone from the listing: "add"; of one that a
# rule added, and that is listed: none.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(nftables=1.0.6-2+deb12u2 libnftables1=1.0.6-2+deb12u2 libnftnl11=1.2.4-2 libmnl0=1.0.4-3 libjansson4=2.14-2 iproute2=6.1.0-3)

# Prints what was heard of an element.
events() {
    grep " element .*{ $1 " heard | cut -d' ' -f1 | paste -sd' ' || true
}

# shellcheck disable=SC2317 # wait_until calls it
heard() {
    [[ -n $(events "$1") ]]
}

# shellcheck disable=SC2317 # answer calls it
listed() {
    at host nft list set ip t "$1" | grep -q "$2"
}

look() {
    hosts host
    at host nft -f - <<'NFT'
table ip t {
    set kept { type ipv4_addr; timeout 2s; }
    set seen { type ipv4_addr; size 100; flags dynamic,timeout; timeout 60s; }
    chain c { type filter hook output priority 0; ip daddr 127.0.0.7 add @seen { ip daddr }; }
}
NFT
    spawn host nft monitor >heard
    local monitor=$spawned
    sleep 1
    at host nft add element ip t kept '{ 10.0.0.1 timeout 60s }'
    at host nft delete element ip t kept '{ 10.0.0.1 }'
    at host nft add element ip t kept '{ 10.0.0.2 }'
    at host ping -c 1 -W 1 127.0.0.7 >answer
    expect "10.0.0.2 is listed" yes "$(answer listed kept 10.0.0.2)"
    sleep 5
    # One more event: all before it have been heard.
    at host nft add element ip t kept '{ 10.0.0.3 timeout 60s }'
    wait_until heard 10.0.0.3
    expect "events of the one deleted by hand" "add delete" "$(events 10.0.0.1)"
    expect "10.0.0.2 is listed 5 s later" no "$(answer listed kept 10.0.0.2)"
    expect "events of it" add "$(events 10.0.0.2)"
    expect "what a rule added is listed" yes "$(answer listed seen 127.0.0.7)"
    expect "events of it" "" "$(events 127.0.0.7)"
    stop "$monitor"
}

run_finding
