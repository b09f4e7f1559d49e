#!/usr/bin/env bash
# Net boot with Debian's initramfs: `ipconfig` asks dnsmasq for the address and the root file system. Where the options come near to what a
# client without option 57 takes (312 octets), dnsmasq puts the last ones into the field for the file's name, as RFC 2132 9.3 has it
# ("option overload"). `ipconfig` does not look there: a few search domains more, and a board has no root path, without a line about it.
#
# Seen with klibc-utils 2.0.12, dnsmasq 2.90. RFC 2131 4.1 has clients read both fields; busybox udhcpc does, and an expert expects
# it. With `dhcp-no-override` the option is left out as well, but dnsmasq logs "no space left in packet".
# Output: root path of 114 letters by ipconfig with one search domain: whole; with five: none, though in the packet; by udhcpc: whole.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(klibc-utils=2.0.12-1 libklibc=2.0.12-1 dnsmasq-base=2.90-4~deb12u2 libidn2-0=2.3.3-1+b1 libunistring2=1.0-2 libnettle8=3.8.1-2
    libhogweed6=3.8.1-2 libdbus-1-3=1.14.10-1~deb12u1 libnetfilter-conntrack3=1.0.9-3 libnftables1=1.0.6-2+deb12u2 libnftnl11=1.2.4-2
    busybox=1:1.35.0-4+deb12u1+b1)

path=10.0.0.1:/srv/nfs/cluster/raspberrypi/bookworm-arm64-lite/root,vers=3,proto=tcp,nolock,rsize=1048576,wsize=1048576

# Prints the root path that a client takes, with so many search domains: root_path ipconfig|udhcpc DOMAINS.
root_path() {
    local domains=(rack-a.cluster.example rack-b.cluster.example storage.example hall.fair.example lab.university.example)
    rm -f leases
    spawn server dnsmasq --no-daemon --user=root --conf-file=/dev/null --no-resolv --no-hosts --no-ping --port=0 --log-dhcp \
        --dhcp-leasefile="$PWD/leases" --dhcp-range=10.0.0.50,10.0.0.60,120 --dhcp-option=option:root-path,"$path" \
        --dhcp-option=option:domain-name,cluster.example --dhcp-option=option:dns-server,10.0.0.1,10.0.0.2 \
        --dhcp-option=option:domain-search,"$(IFS=,; echo "${domains[*]:0:$2}")" \
        --dhcp-option=121,"$(printf '10.%d.0.0/16,10.0.0.1,' {1..6})0.0.0.0/0,10.0.0.1" 2>"log-$1-$2"
    local server=$spawned
    wait_until grep -q 'IP range' "log-$1-$2"
    if [[ $1 == udhcpc ]]; then
        at client timeout 10 busybox udhcpc -q -n -f -i client0 -O search -O staticroutes -O rootpath -s "$PWD/script" 2>&1 | sed -n 's/^rootpath=//p'
    else
        at client timeout 10 chroot "$FINDING_WORK/root" /usr/lib/klibc/bin/ipconfig -t 5 -c dhcp client0 2>&1 |
            sed -n 's/.*rootpath: //p'
        ip -n client address flush dev client0
    fi
    stop "$server"
}

look() {
    hosts server client
    cable server server0 client client0
    ip -n server address add 10.0.0.1/24 dev server0
    # shellcheck disable=SC2016 # for the script
    printf '%s\n' '#!/bin/sh' '[ "$1" != bound ] || echo "rootpath=$rootpath"' >script
    chmod +x script
    mkdir -p "$FINDING_WORK/root/run"
    expect "ipconfig, one search domain" "$path" "$(root_path ipconfig 1)"
    expect "ipconfig, five search domains" "" "$(root_path ipconfig 5)"
    echo "dnsmasq: $(grep -oE 'option: 52 .*' log-ipconfig-5 | tail -n 1); $(grep -oE 'option: 17 .*' log-ipconfig-5 | tail -n 1)"
    expect "dnsmasq sent it" yes "$(answer grep -q "option: 17 root-path  $path" log-ipconfig-5)"
    expect "udhcpc, five search domains" "$path" "$(root_path udhcpc 5)"
}

run_finding
