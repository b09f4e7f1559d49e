#!/usr/bin/env bash
# `ip route get` answers with a port that has lost its carrier as if all were well: no error and no flag, also in JSON. Only
# `ip route show` and `ip route get fibmatch` print "linkdown", and only ignore_routes_with_linkdown=1 turns it into an error.
#
# Seen with iproute2 6.1.0 on Linux 6.18. An expert expects the kernel's answer "how would this packet go" to say that it cannot.
# Output: get: flags []; get fibmatch: flags ["linkdown"]; show: "linkdown".
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(iproute2=6.1.0-3)

flags() {
    ip -n host -j "$@" | python3 -c 'import json, sys; print(*json.load(sys.stdin)[0]["flags"])'
}

look() {
    hosts host switch
    cable host host0 switch port0
    ip -n host address add 10.0.0.1/24 dev host0
    ip -n host route add default via 10.0.0.254
    ip -n switch link set port0 down
    wait_until carrier_is host host0 0
    sleep 0.3
    expect "flags of route show" linkdown "$(flags route show default)"
    expect "flags of route get fibmatch" linkdown "$(flags route get fibmatch 203.0.113.1)"
    expect "flags of route get" "" "$(flags route get 203.0.113.1)"
    expect "route get succeeds" yes "$(answer ip -n host route get 203.0.113.1)"
    at host sysctl -qw net.ipv4.conf.host0.ignore_routes_with_linkdown=1
    expect "route get succeeds with ignore_routes_with_linkdown" no "$(answer ip -n host route get 203.0.113.1)"
}

run_finding
