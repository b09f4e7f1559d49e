#!/usr/bin/env bash
# A bridge that has no port has a carrier when it is new (operstate "unknown"), and none as soon as its first port has come and gone
# (operstate "down"): the same empty bridge, two answers to whether anything is plugged in.
#
# Seen with iproute2 6.1.0 on Linux 6.18. An expert knows NO-CARRIER of an empty docker0 and expects it of each empty bridge.
# Output: new: "1 unknown"; port added: "1 up"; port taken away: "0 down".
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(iproute2=6.1.0-3)

state() {
    at host cat /sys/class/net/bridge0/carrier /sys/class/net/bridge0/operstate | tr '\n' ' '
}

look() {
    hosts host switch
    cable host host0 switch port0
    ip -n host link add bridge0 type bridge
    ip -n host link set bridge0 up
    sleep 1.5
    expect "new bridge" "1 unknown " "$(state)"
    ip -n host link set host0 master bridge0
    sleep 1.5
    expect "with a port" "1 up " "$(state)"
    ip -n host link set host0 nomaster
    sleep 1.5
    expect "without ports again" "0 down " "$(state)"
}

run_finding
