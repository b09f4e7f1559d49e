#!/usr/bin/env bash
# The clock of a head is set back by an hour (by NTP, after a hardware clock that ran ahead). For this hour dnsmasq sends no router
# advertisement any more, as it plans them by the time of day: its hosts lose their IPv6 default route when its lifetime ends. SIGHUP does
# not help, a restart does. radvd, beside it, goes on.
#
# Seen with dnsmasq 2.90 (and once 2.93 of Debian 14), radvd 2.19 on Linux 6.18; libfaketime 0.9.10 sets the clock of these programs alone. The manual knows of clocks
# in connection with leases only; an expert expects intervals by the monotonic clock from a program for routers without a hardware clock.
# Output: in 25 s after the step 0 advertisements, then no default route; 0 in 21 s after SIGHUP; after a restart the route is back. Meanwhile
# a dnsmasq whose clock was left alone, and a radvd whose clock was set back, each send some and keep the route.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(dnsmasq-base=2.90-4~deb12u2 libidn2-0=2.3.3-1+b1 libunistring2=1.0-2 libnettle8=3.8.1-2 libhogweed6=3.8.1-2
    libdbus-1-3=1.14.10-1~deb12u1 libnetfilter-conntrack3=1.0.9-3 libnftables1=1.0.6-2+deb12u2 libnftnl11=1.2.4-2
    libfaketime=0.9.10-2.1 radvd=1:2.19-1+b1 libdaemon0=0.14-7.1 libbsd0=0.11.7-2 libmd0=1.0.4-2)

# Starts a program in a namespace of its own, with a host, and a clock that the file "clock-NAME" moves: spawn_clocked NAME PROGRAM...
spawn_clocked() {
    local name=$1
    shift
    if [[ ! -e clock-$name ]]; then
        hosts "$name" "host-$name"
        cable "$name" router0 "host-$name" host0
        ip -n "$name" address add fd00:1::1/64 dev router0 nodad
        at "$name" python3 -c 'open("/proc/sys/net/ipv6/conf/all/forwarding", "w").write("1")'
        sleep 2
    fi
    echo +0 >"clock-$name"
    spawn "$name" env LD_PRELOAD="$FINDING_WORK/root/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1" \
        FAKETIME_TIMESTAMP_FILE="$PWD/clock-$name" FAKETIME_NO_CACHE=1 DONT_FAKE_MONOTONIC=1 "$@" 2>"log-$name"
}

start_dnsmasq() {
    spawn_clocked "$1" dnsmasq --no-daemon --user=root --conf-file=/dev/null --no-resolv --no-hosts --port=0 --enable-ra \
        --dhcp-range=fd00:1::,ra-only,64 --ra-param=router0,4,24
}

# Writes to "count-NAME" how many advertisements come to the host of NAME within so many seconds: count NAME SECONDS.
count() {
    { at "host-$1" timeout "$2" python3 - || true; } <<'PYTHON' | wc -l >"count-$1"
import socket
s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
while True:
    if s.recv(1500)[0] == 134:
        print("one", flush=True)
PYTHON
}

# Prints whether the host of NAME has a default route that has not expired.
default_route() {
    answer has_default_route "$1"
}

# shellcheck disable=SC2317 # answer and wait_until call it
has_default_route() {
    ip -n "host-$1" -6 route show default | grep -qv 'expires -'
}

look() {
    local name server counts=()
    printf '%s\n' 'interface router0 { AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 8; AdvDefaultLifetime 24; prefix fd00:1::/64 { }; };' >radvd.conf
    chmod 600 radvd.conf
    start_dnsmasq dnsmasq
    server=$spawned
    start_dnsmasq left-alone
    spawn_clocked radvd radvd -C radvd.conf -n -m stderr -u root -p "$PWD/radvd.pid"
    for name in dnsmasq left-alone radvd; do
        wait_until has_default_route "$name"
    done
    echo -3600 | tee clock-dnsmasq >clock-radvd
    # One that was due may be on its way.
    sleep 1
    for name in dnsmasq left-alone radvd; do
        count "$name" 25 &
        counts+=($!)
    done
    wait "${counts[@]}"
    expect "dnsmasq, clock set back: advertisements in 25 s, default route" "0 no" "$(cat count-dnsmasq) $(default_route dnsmasq)"
    for name in left-alone radvd; do
        echo "$name: $(cat "count-$name") advertisements"
        expect "$name: some, default route" "yes yes" "$(answer test "$(cat "count-$name")" -gt 0) $(default_route "$name")"
    done
    kill -HUP "$server"
    count dnsmasq 21
    expect "dnsmasq: in 21 s after SIGHUP" 0 "$(cat count-dnsmasq)"
    stop "$server"
    start_dnsmasq dnsmasq
    wait_until has_default_route dnsmasq
    expect "after a restart: default route" yes "$(default_route dnsmasq)"
}

run_finding
