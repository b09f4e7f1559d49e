#!/usr/bin/env bash
# Started within two seconds of its port's coming up, dnsmasq sends its first router advertisement while the port's link-local address is
# tentative: from the global address, which hosts drop by RFC 4861 (6.1.2). The log says RTR-ADVERT as ever. A host that has solicited
# before waits for the second one, 5 to 20 s later. radvd waits until it has a link-local source.
#
# Seen with dnsmasq 2.90 (ra-only), radvd 2.19 on Linux 6.18, with the address of the network added "nodad". RFC 4861 (4.2): the source MUST
# be the link-local address; an expert expects a router daemon to wait for it.
# Output: source of the first advertisement: with dnsmasq fd01::1 and no route from it, with radvd fe80::... and a route.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(dnsmasq-base=2.90-4~deb12u2 libidn2-0=2.3.3-1+b1 libunistring2=1.0-2 libnettle8=3.8.1-2 libhogweed6=3.8.1-2
    libdbus-1-3=1.14.10-1~deb12u1 libnetfilter-conntrack3=1.0.9-3 libnftables1=1.0.6-2+deb12u2 libnftnl11=1.2.4-2
    radvd=1:2.19-1+b1 libdaemon0=0.14-7.1 libbsd0=0.11.7-2 libmd0=1.0.4-2 iproute2=6.1.0-3)

# Prints the sources of the first two advertisements that reach the host, whether it had a default route 0.5 s after each, and when
# (in seconds after the first) the second one came.
watch='
import socket, subprocess, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x86dd))
s.bind(("host0", 0x86dd))
print("ready", flush=True)
began = None
for nth in ("first", "second"):
    packet = b""
    while len(packet) < 41 or packet[6] != 58 or packet[40] != 134:
        packet = s.recv(2000)
    now = time.monotonic()
    began = began or now
    time.sleep(0.5)
    route = subprocess.run(["ip", "-6", "route", "show", "default"], capture_output=True).stdout
    print(nth, socket.inet_ntop(socket.AF_INET6, packet[8:24]), "route" if route else "no-route", round(now - began), flush=True)
'

# shellcheck disable=SC2317 # wait_until calls them
ready() {
    grep -q ready seen
}

# shellcheck disable=SC2317
one() {
    grep -q first seen
}

# What a program's first advertisement was from, and whether the host had a route by it.
first_of() {
    local server watcher
    ip -n host link set host0 down
    ip -n host link set host0 up
    : >seen
    spawn host python3 -c "$watch" >seen
    watcher=$spawned
    wait_until ready
    # The router's port comes up, and its program is started at once, as when a machine boots.
    ip -n router link set in0 down
    ip -n router link set in0 up
    ip -n router -6 address add fd01::1/64 dev in0 nodad
    spawn router "$@" >log 2>&1
    server=$spawned
    wait_until one
    # The second comes 5 to 20 s later.
    local tries=0
    until grep -q second seen || ((++tries > 250)); do
        sleep 0.1
    done
    stop "$server"
    stop "$watcher"
    sed -n 's/^second [^ ]* \([^ ]*\) \(.*\)/the second came after \2 s: \1/p' seen >&2
    sed -n 's/^first \([^ ]*\) \([^ ]*\) .*/\1 \2/p' seen | sed 's/^fe80::[^ ]*/fe80::.../'
}

look() {
    hosts host router
    cable host host0 router in0
    at router sysctl -qw net.ipv6.conf.all.forwarding=1
    # The host has solicited before: its questions would bring other advertisements.
    at host sysctl -qw net.ipv6.conf.host0.router_solicitations=0 net.ipv6.conf.host0.accept_dad=0
    expect "first advertisement of dnsmasq" "fd01::1 no-route" "$(first_of dnsmasq --no-daemon --user=root --conf-file=/dev/null --port=0 \
        --enable-ra --interface=in0 --dhcp-range=fd01::,ra-only,64)"
    echo 'interface in0 { AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; prefix fd01::/64 {}; };' >conf
    expect "first advertisement of radvd" "fe80::... route" "$(first_of radvd -n -C conf -p "$PWD/pid" -m stderr)"
}

run_finding
