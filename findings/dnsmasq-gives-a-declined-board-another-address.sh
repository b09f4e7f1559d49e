#!/usr/bin/env bash
# A board finds its reserved address (`dhcp-host`) in use by another machine and declines it. dnsmasq gives it a free address of the range instead,
# under its name and for the whole lease time, and keeps the reserved one from it for ten minutes: also after the other machine has left,
# and also when the board asks anew.
#
# Seen with dnsmasq 2.90, busybox 1.35.0; libfaketime 0.9.10 moves dnsmasq's clock. The manual has not one word about DHCPDECLINE; an
# expert expects no lease until the reserved address is free, and the address then, as of a reservation elsewhere.
# Output: offered first 10.0.0.11, bound to 10.0.0.60; the other one gone, asked anew: 10.0.0.60; eleven minutes later: 10.0.0.11.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(dnsmasq-base=2.90-4~deb12u2 libidn2-0=2.3.3-1+b1 libunistring2=1.0-2 libnettle8=3.8.1-2 libhogweed6=3.8.1-2
    libdbus-1-3=1.14.10-1~deb12u1 libnetfilter-conntrack3=1.0.9-3 libnftables1=1.0.6-2+deb12u2 libnftnl11=1.2.4-2
    busybox=1:1.35.0-4+deb12u1+b1 libfaketime=0.9.10-2.1)

# Asks for an address, and prints the one that the board takes after its own check.
bound() {
    ip -n board address flush dev board0
    at board timeout 20 busybox udhcpc -q -n -f -a -A 1 -i board0 -s "$PWD/script" 2>/dev/null | sed -n 's/^bound //p'
}

look() {
    hosts head board other
    ip -n head link add bridge0 type bridge
    ip -n head link set bridge0 up
    ip -n head address add 10.0.0.1/24 dev bridge0
    cable head head0 board board0
    cable head head1 other other0
    ip -n head link set head0 master bridge0
    ip -n head link set head1 master bridge0
    ip -n board link set board0 address 02:00:00:00:00:11
    ip -n other address add 10.0.0.11/24 dev other0
    # shellcheck disable=SC2016 # for the script
    printf '%s\n' '#!/bin/sh' '[ "$1" != bound ] || echo "bound $ip"' >script
    chmod +x script
    echo +0 >clock
    spawn head env LD_PRELOAD="$FINDING_WORK/root/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1" FAKETIME_TIMESTAMP_FILE="$PWD/clock" \
        FAKETIME_NO_CACHE=1 DONT_FAKE_MONOTONIC=1 dnsmasq --no-daemon --user=root --conf-file=/dev/null --no-resolv --no-hosts --no-ping \
        --dhcp-leasefile="$PWD/leases" --dhcp-range=10.0.0.60,10.0.0.60,12h --dhcp-authoritative --dhcp-host=02:00:00:00:00:11,10.0.0.11,rpi1 2>log
    wait_until grep -q 'IP range' log
    expect "bound to, with the reserved address in use" 10.0.0.60 "$(bound)"
    expect "offered first" 10.0.0.11 "$(awk '/DHCPOFFER/ { print $3; exit }' log)"
    expect "lease in the file" "10.0.0.60 rpi1" "$(awk '{ print $3, $4 }' leases)"
    ip -n other address flush dev other0
    expect "asked anew, the other one gone" 10.0.0.60 "$(bound)"
    echo +660 >clock
    expect "asked anew eleven minutes later" 10.0.0.11 "$(bound)"
    echo "dnsmasq: $(grep -m 1 'not using' log)"
}

run_finding
