#!/usr/bin/env bash
# A prefix that dhcpcd 10.1 got by DHCPv6 and hands to no port (`ia_pd 2 -`) leaves its `unreachable` route behind when its lease ends
# without renewal: the log says "DHCPv6 lease expired", the route stays until another lease comes or dhcpcd stops. 9.4 takes it away at once.
#
# Seen with dhcpcd 10.1.0 (Debian 13), 9.4.1 (Debian 12) and ISC dhcpd 4.4.3 on Linux 6.18, lease 14 s. The route drops what is for the
# delegated network (RFC 7084, WPD-5), so an expert expects it for as long as there is one.
# Output: with the lease one route each; 4 s after its end none with 9.4.1, one with 10.1.0; one each with the next lease.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(dhcpcd-base=9.4.1-24~deb12u5 isc-dhcp-server=4.4.3-P1-2 iproute2=6.1.0-3)
newer_debs=(dhcpcd-base=1:10.1.0-11+deb13u5 libc6=2.41-12+deb13u5 libssl3t64=3.5.9-1~deb13u1 zlib1g=1:1.3.dfsg+really1.3.1-1+deb13u1
    libzstd1=1.5.7+dfsg-1 busybox=1:1.37.0-6+b9)

routes() {
    ip -n "$1" -6 route show type unreachable | wc -l
}

# Prints how many routes dhcpcd 9.4.1 and 10.1.0 have put there.
both() {
    echo "$(routes older) $(routes newer)"
}

# shellcheck disable=SC2317 # wait_until calls them
has_route() {
    [[ $(routes "$1") == 1 ]]
}

# shellcheck disable=SC2317
each_has_one() {
    [[ $(both) == "1 1" ]]
}

# shellcheck disable=SC2317
both_expired() {
    grep -q 'DHCPv6 lease expired' log-older && grep -q 'DHCPv6 lease expired' log-newer
}

# shellcheck disable=SC2317
bound_again() {
    ip -n "$1" -6 route show type unreachable | grep -q '2001:db8:3:'
}

# Starts a server that delegates from this /40, leases of 14 s.
delegate() {
    printf '%s\n' 'default-lease-time 14;' 'preferred-lifetime 12;' 'option dhcp-renewal-time 6;' 'option dhcp-rebinding-time 9;' \
        "subnet6 2001:db8:1::/64 { prefix6 $1:: $1:ff00:: /56; }" >conf
    : >leases
    spawn server dhcpd -6 -f -cf conf -lf leases -pf pid br0 2>/dev/null
}

look() {
    hosts server older newer
    at server sysctl -qw net.ipv6.conf.default.accept_dad=0
    ip -n server link add br0 type bridge
    local each
    for each in older newer; do
        cable "$each" client0 server "$each"
        ip -n server link set "$each" master br0
    done
    ip -n server link set br0 up
    ip -n server address add 2001:db8:1::1/64 dev br0 nodad
    sleep 2
    mkdir -p /var/lib/dhcpcd "$FINDING_WORK/newer/var/lib/dhcpcd"
    delegate 2001:db8:2
    local server=$spawned
    printf '%s\n' 'interface client0' 'ia_pd 2 -' | tee "$FINDING_WORK/newer/etc/dhcpcd.conf" >dhcpcd.conf
    spawn older dhcpcd -B -6 -f "$PWD/dhcpcd.conf" client0 >log-older 2>&1
    local older=$spawned
    sleep 2
    advertise server br0 1800 80 # "use DHCPv6"
    # One after the other: the server offers both the same prefix otherwise.
    wait_until has_route older
    spawn_newer newer dhcpcd -B -6 --nodev client0 >log-newer 2>&1
    local newer=$spawned
    sleep 2
    advertise server br0 1800 80
    wait_until each_has_one
    expect "unreachable routes of 9.4.1 and 10.1.0 with the lease" "1 1" "$(both)"
    stop "$server"
    sleep 4
    wait_until both_expired
    sleep 4
    expect "4 s after both logged that it has ended" "0 1" "$(both)"
    delegate 2001:db8:3
    server=$spawned
    wait_until bound_again older
    wait_until bound_again newer
    expect "with a lease of another prefix" "1 1" "$(both)"
    stop "$newer"
    expect "once 10.1.0 has stopped" "1 0" "$(both)"
    stop "$older"
    stop "$server"
}

run_finding
