#!/usr/bin/env bash
# `server=ADDRESS@eth1` names its port, but dnsmasq keeps the port's number: after a USB adapter was pulled and plugged in again, with the
# same name and address, every question is refused ("config error is REFUSED"), also after SIGHUP. With `bind-dynamic`, of which the
# manual says that it decides about listening, the same line works again.
#
# Seen with dnsmasq 2.90 on Linux 6.18, and once with 2.93 (Debian 14); the adapter is a port that is deleted and made again. The manual: "If an interface name is given,
# then queries to the server will be forced via that interface"; an expert expects that the name counts, as in SO_BINDTODEVICE.
# Output: answer code (0 NOERROR, 5 REFUSED) before, after and after SIGHUP: 0 5 5; with bind-dynamic: 0 0 0.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(dnsmasq-base=2.90-4~deb12u2 libidn2-0=2.3.3-1+b1 libunistring2=1.0-2 libnettle8=3.8.1-2 libhogweed6=3.8.1-2
    libdbus-1-3=1.14.10-1~deb12u1 libnetfilter-conntrack3=1.0.9-3 libnftables1=1.0.6-2+deb12u2 libnftnl11=1.2.4-2)

plug() {
    cable head eth1 venue venue0
    ip -n head address add 10.99.0.2/24 dev eth1
    ip -n venue address add 10.99.0.1/24 dev venue0
}

# Asks the head's dnsmasq for a name that is not in its cache, and prints the code of the answer.
ask() {
    at head python3 - "$1" <<'PYTHON'
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(5)
label = sys.argv[1].encode()
s.sendto(b"\0\7\1\0\0\1\0\0\0\0\0\0" + bytes([len(label)]) + label + b"\5venue\0\0\1\0\1", ("127.0.0.1", 53))
print(s.recv(2000)[3] & 15)
PYTHON
}

# Prints the codes before the port is plugged in anew, after it, and after SIGHUP: codes PREFIX OPTION...
codes() {
    local before after
    spawn head dnsmasq --no-daemon --user=root --conf-file=/dev/null --no-resolv --no-hosts --server=10.99.0.1@eth1 "${@:2}" 2>"log-$1"
    local server=$spawned
    wait_until grep -q 'using nameserver' "log-$1"
    before=$(ask "$1-before")
    ip -n head link delete eth1
    plug
    sleep 2
    after=$(ask "$1-after")
    kill -HUP "$server"
    sleep 1
    echo "$before $after $(ask "$1-hup")"
    stop "$server"
}

look() {
    hosts head venue
    plug
    spawn venue dnsmasq --no-daemon --user=root --conf-file=/dev/null --no-resolv --no-hosts --bind-dynamic --address=/venue/10.99.0.9 2>venue.log
    wait_until grep -q started venue.log
    expect "before, after and after SIGHUP" "0 5 5" "$(codes plain)"
    echo "its log: $(grep -m 1 'failed to bind' log-plain)"
    expect "the same with bind-dynamic" "0 0 0" "$(codes dynamic --bind-dynamic)"
}

run_finding
