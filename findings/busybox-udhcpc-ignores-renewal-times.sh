#!/usr/bin/env bash
# busybox's udhcpc does not heed the renewal time T1 (option 58) that the server sends: it renews at half of the lease, whatever the
# server says. dhcpcd renews at T1. A server that wants its clients back soon (new address plan) has to shorten the lease.
#
# Seen with busybox 1.35.0, dhcpcd 9.4.1, dnsmasq 2.90 on Linux 6.18, lease 120 s (dnsmasq's least), T1 5 s. RFC 2131 (4.4.5) makes T1
# "configurable by the server"; an expert expects each client to follow it.
# Output: requests at the server within 10 s of the lease: udhcpc 1 (the first), dhcpcd 2 or more.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(dnsmasq-base=2.90-4~deb12u2 libidn2-0=2.3.3-1+b1 libunistring2=1.0-2 libnettle8=3.8.1-2 libhogweed6=3.8.1-2
    libdbus-1-3=1.14.10-1~deb12u1 libnetfilter-conntrack3=1.0.9-3 libnftables1=1.0.6-2+deb12u2 libnftnl11=1.2.4-2
    busybox=1:1.35.0-4+deb12u1+b1 dhcpcd-base=9.4.1-24~deb12u5)

# Prints whether a client renews within 10 s of its lease.
renews() {
    rm -f leases
    spawn server dnsmasq --no-daemon --user=root --conf-file=/dev/null --port=0 --no-ping --dhcp-leasefile="$PWD/leases" \
        --dhcp-range=10.0.0.10,10.0.0.99,120 --dhcp-option=option:T1,5 2>log
    local server=$spawned
    wait_until grep -q 'IP range' log
    spawn client "$@" >client.log 2>&1
    local client=$spawned
    wait_until grep -q DHCPACK log
    sleep 10
    answer test "$(grep -c DHCPACK log)" -ge 2
    stop "$client"
    stop "$server"
    ip -n client address flush dev client0
}

look() {
    hosts server client
    cable server server0 client client0
    ip -n server address add 10.0.0.1/24 dev server0
    mkdir -p /var/lib/dhcpcd
    # shellcheck disable=SC2016 # for the script that udhcpc runs
    printf '#!/bin/sh\n[ "$1" = bound ] && ip address add "$ip/24" dev "$interface"\nexit 0\n' >hook
    chmod +x hook
    expect "udhcpc renews 5 s after the lease, as T1 asks" no "$(renews busybox udhcpc -f -i client0 -s "$PWD/hook")"
    expect "dhcpcd renews 5 s after the lease, as T1 asks" yes "$(renews dhcpcd -B -4 --noarp -f /dev/null client0)"
}

run_finding
