#!/usr/bin/env bash
# A board has a lease under the name that it sent. Then the administrator writes another name for that address into a file of
# `addn-hosts`, and sends SIGHUP. In some processes of dnsmasq the lease has the file's name now, in others it keeps the board's, by which
# the address is found for the rest of the lease: dnsmasq looks the address up in its own cache, where both names stand, in an order
# that differs from process to process. After a second SIGHUP, with nothing changed, the file's name has won in all.
#
# Seen with dnsmasq 2.90 (Debian 12). An expert expects that the file wins at once, or never; not that it depends on the process.
# Output: over 24 processes, after one SIGHUP both the file's and the board's name; after two the file's name in 24.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(dnsmasq-base=2.90-4~deb12u2 libidn2-0=2.3.3-1+b1 libunistring2=1.0-2 libnettle8=3.8.1-2 libhogweed6=3.8.1-2
    libdbus-1-3=1.14.10-1~deb12u1 libnetfilter-conntrack3=1.0.9-3 libnftables1=1.0.6-2+deb12u2 libnftnl11=1.2.4-2
    busybox=1:1.35.0-4+deb12u1+b1)
processes=24

# Sends SIGHUP and waits until the file was read so many times.
reload() {
    kill -HUP "$1"
    wait_until has_read "$2"
    sleep 0.05
}

# shellcheck disable=SC2317 # wait_until calls it
has_read() {
    (($(grep -c 'read .*/hosts' log) >= $1))
}

# Prints the name in the file of leases after one SIGHUP, and after two: names BOARD.
names() {
    rm -f leases
    : >hosts
    spawn server dnsmasq --no-daemon --user=root --conf-file=/dev/null --no-resolv --no-hosts --no-ping --dhcp-leasefile="$PWD/leases" \
        --addn-hosts="$PWD/hosts" --domain=lan --expand-hosts --dhcp-range=10.0.0.50,10.0.0.50,120 2>log
    local server=$spawned first
    wait_until grep -q 'IP range' log
    at client timeout 10 busybox udhcpc -q -n -f -i client0 -s /bin/true -x hostname:"$1" >client.log 2>&1 || true
    wait_until grep -q DHCPACK log
    echo "10.0.0.50 rpi2" >hosts
    local before
    before=$(grep -c 'read .*/hosts' log || true)
    reload "$server" $((before + 1))
    first=$(awk '{ print $4 }' leases)
    reload "$server" $((before + 2))
    echo "$first $(awk '{ print $4 }' leases)"
    stop "$server"
}

look() {
    local number
    hosts server client
    cable server server0 client client0
    ip -n server address add 10.0.0.1/24 dev server0
    for ((number = 1; number <= processes; number++)); do
        names "board$number" >>seen
    done
    echo "after one SIGHUP: the file's name in $(grep -c '^rpi2 ' seen || true), the board's in $(grep -c '^board' seen || true)"
    expect "the file's name after one SIGHUP, in some" yes "$(answer grep -q '^rpi2 ' seen)"
    expect "the board's name after one SIGHUP, in some" yes "$(answer grep -q '^board' seen)"
    expect "the file's name after two" "$processes" "$(grep -c ' rpi2$' seen)"
}

run_finding
