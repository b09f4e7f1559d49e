#!/usr/bin/env bash
# The head comes to another network: new address, new gateway. Over SNMP the deprecated table of addresses (ipAddrTable) shows it at once, its
# successor (ipAddressTable) up to 30 s later, the tables of routes after a minute (ipCidrRouteTable, inetCidrRouteTable) and after two
# (ipRouteTable). Till then they name the old address and gateway, in answers that look fresh.
#
# Seen with snmpd 5.9.3 (Debian 12) on Linux 6.18, asked every few seconds. Times of some tables, not of ipRouteTable, can be read and set in
# NET-SNMP-AGENT-MIB (nsCacheTable); an expert expects a few seconds, and the successor to be no older than the deprecated table.
# Output: 3 s after the change new, old, old, old; after 34 s new, new, old, old; after 70 s new, new, new, old; the kernel: new at once.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(snmpd=5.9.3+dfsg-2+deb12u1 snmp=5.9.3+dfsg-2+deb12u1 libsnmp40=5.9.3+dfsg-2+deb12u1 libsnmp-base=5.9.3+dfsg-2+deb12u1
    libsensors5=1:3.6.0-7.1 libpci3=1:3.9.0-4 libwrap0=7.6.q-32 libnsl2=1.3.0-2 libtirpc3=1.3.3+ds-1)

# Prints for a table whether it knows the new network or the old one: in_table COLUMN.
in_table() {
    at head env MIBS= snmpwalk -v2c -c public -On 127.0.0.1:16161 ".$1" |
        sed -nE 's/.*\b10\.77\.0\.[0-9]+\b.*/new/p; s/.*\b10\.99\.0\.[0-9]+\b.*/old/p' | sort -u | paste -sd +
}

# Prints the same for ipAddrTable, ipAddressTable, ipCidrRouteTable and ipRouteTable.
in_tables() {
    local column all=()
    for column in 1.3.6.1.2.1.4.20.1.1 1.3.6.1.2.1.4.34.1.3 1.3.6.1.2.1.4.24.4.1.4 1.3.6.1.2.1.4.21.1.7; do
        all+=("$(in_table "$column")")
    done
    echo "${all[*]}"
}

# shellcheck disable=SC2317 # wait_until calls it
answers() {
    [[ $(in_tables) == "old old old old" ]]
}

# Gives the head an address of a network and a gateway there: come_to NETWORK.
come_to() {
    ip -n head address flush dev eth1
    ip -n head address add "$1.2/24" dev eth1
    ip -n head route add default via "$1.1"
}

look() {
    local begin
    hosts head venue
    cable head eth1 venue venue0
    come_to 10.99.0
    printf '%s\n' 'rocommunity public 127.0.0.1' 'agentaddress udp:127.0.0.1:16161' >conf
    spawn head env MIBS= snmpd -f -Lo -C -c "$PWD/conf" -p "$PWD/pid" -I -smux >log 2>&1
    wait_until answers
    come_to 10.77.0
    begin=$SECONDS
    expect "the kernel's gateway" 10.77.0.1 "$(ip -n head route show default | awk '{ print $3 }')"
    sleep 3
    expect "after $((SECONDS - begin)) s" "new old old old" "$(in_tables)"
    sleep 31
    expect "after $((SECONDS - begin)) s" "new new old old" "$(in_tables)"
    sleep 36
    expect "after $((SECONDS - begin)) s" "new new new old" "$(in_tables)"
}

run_finding
