#!/bin/bash
# Before any program looks at the ports: the world behind them. The machine has four network cards, two of them the far ends of the
# cables of the other two; these go to where the nodes and the venue are.
set -euo pipefail
# shellcheck source=tests/system/guest/lib.sh
. "$(dirname "$0")/lib.sh"
for file in "$here"/guest/steps/*.sh; do
    # shellcheck source=/dev/null
    . "$file"
done
# Nothing waits for the unit, which others wait for.
# shellcheck disable=SC2034  # for run_in_venue
background=(--no-block -p DefaultDependencies=no)

# usage: card MAC: the name of its port
card() { grep -lx "$1" /sys/class/net/*/address | cut -d/ -f5; }
move_card() { ip link set "$(card "$1")" netns "$2" name "$3"; }

for mac in 52:54:00:00:00:01 52:54:00:00:00:02 52:54:00:00:00:f1 52:54:00:00:00:f2; do wait_for 60 "the card $mac" card "$mac"; done
[ "$(card 52:54:00:00:00:01) $(card 52:54:00:00:00:02)" = "eth0 eth1" ] || fail "the cards have other names"
ip netns add venue
move_card 52:54:00:00:00:f2 venue port
furnish_venue
venue_has_internet venue_serves
furnish_cluster move_card 52:54:00:00:00:f1 switch to-head
