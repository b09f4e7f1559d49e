#!/usr/bin/env bash
# dnsmasq that announces itself as IPv6 router sends nothing when it stops: hosts keep a default route for 30 minutes and the prefix
# for ever (lifetime "infinity"). radvd takes the route back at its end by an advertisement with lifetime 0.
#
# Seen with dnsmasq 2.90, radvd 2.19 on Linux 6.18. RFC 4861 (6.2.5) says that a router SHOULD do so; an expert expects both to.
# Output: default routes after the end of dnsmasq: 1, of radvd: 0.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(dnsmasq-base=2.90-4~deb12u2 libidn2-0=2.3.3-1+b1 libunistring2=1.0-2 libnettle8=3.8.1-2 libhogweed6=3.8.1-2
    libdbus-1-3=1.14.10-1~deb12u1 libnetfilter-conntrack3=1.0.9-3 libnftables1=1.0.6-2+deb12u2 libnftnl11=1.2.4-2
    radvd=1:2.19-1+b1 libdaemon0=0.14-7.1 libbsd0=0.11.7-2 libmd0=1.0.4-2)

default_routes() {
    ip -n host -6 route show default | wc -l
}

# shellcheck disable=SC2317 # wait_until calls it
has_default_route() {
    [[ $(default_routes) == 1 ]]
}

# Lets the host learn its route from a program, ends the program, and prints what is left 2 s later.
left_by() {
    ip -n host link set host0 down
    ip -n host link set host0 up
    spawn router "$@" >log 2>&1
    local server=$spawned
    wait_until has_default_route
    stop "$server"
    sleep 2
    default_routes
}

look() {
    hosts host router
    cable host host0 router in0
    at router sysctl -qw net.ipv6.conf.all.forwarding=1
    ip -n router -6 address add fd01::1/64 dev in0 nodad
    sleep 1.5
    expect "default routes after dnsmasq's end" 1 "$(left_by dnsmasq --no-daemon --user=root --conf-file=/dev/null --port=0 \
        --enable-ra --interface=in0 --dhcp-range=fd01::,ra-only,64)"
    echo "prefix: $(ip -n host -6 -o address show dev host0 scope global | grep -o 'valid_lft.*')"
    echo 'interface in0 { AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; prefix fd01::/64 {}; };' >conf
    expect "default routes after radvd's end" 0 "$(left_by radvd -n -C conf -p "$PWD/pid" -m stderr)"
}

run_finding
