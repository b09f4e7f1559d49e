#!/usr/bin/env bash
# `IPRoute().get_default_routes()` of pyroute2 has a parameter for the table, by default the main one, and does not heed it: it returns the default
# routes of all tables, in the kernel's order, in which other tables can come first. On a head with policy routing (two uplinks, a VPN, venue and
# cluster with one subnet) a script that shows its first one shows a gateway that nothing goes by.
#
# Seen with pyroute2 0.9.7 (PyPI) on Linux 6.18; 0.8.1 heeds it. "Get default routes", and the parameter table=254, let an expert
# expect those of table 254; so does get_routes(table=254) of the same version.
# Output: gateways for table 254: 10.99.0.9 10.99.0.1, for table 100 the same; by get_routes: 10.99.0.1; way out by the kernel: 10.99.0.1.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
pips=(pyroute2==0.9.7)

gateways() {
    python3 - <<'PYTHON'
from pyroute2 import IPRoute

def gateways(routes):
    return " ".join(route.get_attr("RTA_GATEWAY") for route in routes)

with IPRoute() as ip:
    print(gateways(ip.get_default_routes(family=2, table=254)))
    print(gateways(ip.get_default_routes(family=2, table=100)))
    print(gateways(route for route in ip.get_routes(family=2, table=254) if not route["dst_len"]))
PYTHON
}

look() {
    ip link add eth1 type veth peer name peer
    ip link set eth1 up
    ip link set peer up
    ip address add 10.99.0.2/24 dev eth1
    ip route add default via 10.99.0.1
    ip rule add from 10.99.0.200 lookup 100
    ip route add default via 10.99.0.9 table 100
    gateways >out
    expect "get_default_routes, table 254" "10.99.0.9 10.99.0.1" "$(sed -n 1p out)"
    expect "get_default_routes, table 100" "10.99.0.9 10.99.0.1" "$(sed -n 2p out)"
    expect "get_routes, table 254" 10.99.0.1 "$(sed -n 3p out)"
    expect "the kernel's way out" 10.99.0.1 "$(ip route get 192.0.2.1 | awk '{ print $3; exit }')"
}

run_finding
