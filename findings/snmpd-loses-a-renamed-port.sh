#!/usr/bin/env bash
# A network port gets another name while snmpd runs. From then on its counters of bytes and packets stand still, and ifName keeps the old name,
# though ifDescr of the same row has the new one. When another port comes under the old name, two rows have that ifName. Only a restart helps.
#
# Seen with snmpd 5.9.3 (Debian 12) on Linux 6.18, and once with 5.9.5.2 (Debian 14): the number of the port stays the same, and snmpd finds ports by it. Nothing in the
# manual; an expert expects both names to follow, or neither, and counters that go on.
# Output: ifDescr, ifName before "eth1 eth1", after "wan0 eth1"; bytes counted by the kernel since then more than 5000, by snmpd 0, both
# over 20 s later; with a new eth1 two rows of ifName eth1; after a restart of snmpd "wan0 wan0" and the kernel's bytes.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(snmpd=5.9.3+dfsg-2+deb12u1 snmp=5.9.3+dfsg-2+deb12u1 libsnmp40=5.9.3+dfsg-2+deb12u1 libsnmp-base=5.9.3+dfsg-2+deb12u1
    libsensors5=1:3.6.0-7.1 libpci3=1:3.9.0-4 libwrap0=7.6.q-32 libnsl2=1.3.0-2 libtirpc3=1.3.3+ds-1)

# Starts snmpd; its id is then in $spawned.
start_snmpd() {
    spawn head env MIBS= snmpd -f -Lo -C -c "$PWD/conf" -p "$PWD/pid" -I -smux >log 2>&1
    wait_until answers
}

# shellcheck disable=SC2317 # wait_until calls it
answers() {
    [[ -n $(column 1.3.6.1.2.1.2.2.1.2) ]]
}

# Prints a column of a table, or one of its cells, in one line.
column() {
    at head env MIBS= snmpwalk -v2c -c public -Oqv 127.0.0.1:16161 ".$1" 2>/dev/null | tr -d '"' | paste -sd ' '
}

# Prints ifDescr and ifName of the port.
names() {
    echo "$(column "1.3.6.1.2.1.2.2.1.2.$number") $(column "1.3.6.1.2.1.31.1.1.1.1.$number")"
}

bytes_by_snmpd() {
    column "1.3.6.1.2.1.31.1.1.1.6.$number"
}

bytes_by_kernel() {
    at head cat "/sys/class/net/$1/statistics/rx_bytes"
}

look() {
    local number snmpd kernel counted
    hosts head venue
    cable head eth1 venue venue0
    ip -n head address add 10.99.0.2/24 dev eth1
    ip -n venue address add 10.99.0.1/24 dev venue0
    number=$(at head cat /sys/class/net/eth1/ifindex)
    printf '%s\n' 'rocommunity public 127.0.0.1' 'agentaddress udp:127.0.0.1:16161' >conf
    start_snmpd
    snmpd=$spawned
    expect "ifDescr, ifName" "eth1 eth1" "$(names)"
    ip -n head link set eth1 down
    ip -n head link set eth1 name wan0
    ip -n head link set wan0 up
    sleep 5
    expect "after the renaming" "wan0 eth1" "$(names)"
    kernel=$(bytes_by_kernel wan0) counted=$(bytes_by_snmpd)
    at venue ping -c 20 -i 0.1 -s 400 -q 10.99.0.2 >/dev/null
    sleep 20
    expect "more than 5000 bytes by the kernel since then" yes "$(answer test $(($(bytes_by_kernel wan0) - kernel)) -gt 5000)"
    expect "by snmpd" 0 "$(($(bytes_by_snmpd) - counted))"
    expect "ifDescr, ifName" "wan0 eth1" "$(names)"
    cable head eth1 venue venue1
    sleep 5
    expect "rows of ifName eth1 with a new eth1" 2 "$(column 1.3.6.1.2.1.31.1.1.1.1 | grep -ow eth1 | wc -l)"
    stop "$snmpd"
    start_snmpd
    expect "after a restart" "wan0 wan0" "$(names)"
    expect "more than 5000 bytes by snmpd" yes "$(answer test "$(bytes_by_snmpd)" -gt 5000)"
    stop "$spawned"
}

run_finding
