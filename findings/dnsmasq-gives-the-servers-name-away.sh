#!/usr/bin/env bash
# dnsmasq refuses a client that calls itself as a name in the hosts file, and logs so; yet with `domain=cluster` and without
# `expand-hosts` NAME.cluster is the client's, forward and reverse: only the bare name stays the server's.
#
# Seen with dnsmasq 2.90, busybox 1.35.0 on Linux 6.18. An expert takes the log line "not giving name ..." for the whole truth.
# Output: headbox -> 10.0.0.1; headbox.cluster -> the client's address; with expand-hosts both -> 10.0.0.1.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(dnsmasq-base=2.90-4~deb12u2 libidn2-0=2.3.3-1+b1 libunistring2=1.0-2 libnettle8=3.8.1-2 libhogweed6=3.8.1-2
    libdbus-1-3=1.14.10-1~deb12u1 libnetfilter-conntrack3=1.0.9-3 libnftables1=1.0.6-2+deb12u2 libnftnl11=1.2.4-2
    busybox=1:1.35.0-4+deb12u1+b1)

resolve() {
    at server busybox nslookup -type="$1" "$2" 10.0.0.1 2>/dev/null | sed -n "s/^Address: //p;s/.*name = //p"
}

# Starts dnsmasq with these options and lets a client called headbox take a lease.
serve() {
    rm -f leases
    spawn server dnsmasq --no-daemon --user=root --conf-file=/dev/null --no-ping --no-resolv --no-hosts \
        --addn-hosts="$PWD/hosts" --dhcp-leasefile="$PWD/leases" --dhcp-range=10.0.0.10,10.0.0.10,1h --domain=cluster "$@" 2>log
    server=$spawned
    wait_until grep -q 'IP range' log
    at client busybox udhcpc -f -q -n -i client0 -s /bin/true -x hostname:headbox >/dev/null 2>&1
}

look() {
    local server
    hosts server client
    cable server server0 client client0
    ip -n server address add 10.0.0.1/24 dev server0
    echo '10.0.0.1 headbox' >hosts

    serve
    expect "logged" "not giving name headbox to the DHCP lease of 10.0.0.10" "$(grep -o 'not giving name headbox to the DHCP lease of [0-9.]*' log | head -n 1)"
    expect "headbox" 10.0.0.1 "$(resolve a headbox)"
    expect "headbox.cluster" 10.0.0.10 "$(resolve a headbox.cluster)"
    expect "name of 10.0.0.10" headbox.cluster "$(resolve ptr 10.0.0.10.in-addr.arpa)"
    stop "$server"

    serve --expand-hosts
    expect "headbox.cluster with expand-hosts" 10.0.0.1 "$(resolve a headbox.cluster)"
    stop "$server"
}

run_finding
