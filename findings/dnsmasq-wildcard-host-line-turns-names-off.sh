#!/usr/bin/env bash
# A `dhcp-host` line for all hardware addresses (`*:*:*:*:*:*,TIME`, meant to give everybody another lease time) makes dnsmasq pass over
# the lines that know a client by its host name: it gets an address from the range in place of the one that is written for it.
#
# Seen with dnsmasq 2.90 on Linux 6.18. An expert expects the line that names one client to go before the one that means all.
# Output: without the wildcard line the client "node7" gets 10.0.0.7, with it another address.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(dnsmasq-base=2.90-4~deb12u2 libidn2-0=2.3.3-1+b1 libunistring2=1.0-2 libnettle8=3.8.1-2 libhogweed6=3.8.1-2
    libdbus-1-3=1.14.10-1~deb12u1 libnetfilter-conntrack3=1.0.9-3 libnftables1=1.0.6-2+deb12u2 libnftnl11=1.2.4-2
    busybox=1:1.35.0-4+deb12u1+b1)

# Prints whether node7 gets its own address: gets ARGUMENTS-OF-DNSMASQ...
gets() {
    rm -f leases
    spawn server dnsmasq --no-daemon --user=root --conf-file=/dev/null --port=0 --no-ping --dhcp-leasefile="$PWD/leases" \
        --dhcp-range=10.0.0.100,10.0.0.199,120 --dhcp-host=node7,10.0.0.7 "$@" 2>log
    local server=$spawned
    wait_until grep -q 'IP range' log
    at client timeout 10 busybox udhcpc -q -n -f -i client0 -s /bin/true -x hostname:node7 >client.log 2>&1 || true
    wait_until grep -q DHCPACK log
    answer grep -q 'DHCPACK.*10\.0\.0\.7 ' log
    stop "$server"
}

look() {
    hosts server client
    cable server server0 client client0
    ip -n server address add 10.0.0.1/24 dev server0
    expect "node7 gets its address" yes "$(gets)"
    expect "node7 gets its address beside a line for all" no "$(gets '--dhcp-host=*:*:*:*:*:*,180')"
}

run_finding
