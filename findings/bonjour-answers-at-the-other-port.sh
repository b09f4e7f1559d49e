#!/usr/bin/env bash
# A program of the head publishes its page by the npm library bonjour-service. The library listens at all ports and answers at one, that of the
# default route: a node that asks gets nothing, and the answer to it goes out into the venue's network. There the head's name is
# announced with the addresses of all ports, so laptops of the venue also try the cluster's address, which they cannot reach.
#
# Seen with bonjour-service 1.4.4 and multicast-dns 7.2.5 (npm). RFC 6762 (6, 14): answers go out at
# the interface where the question came in, with what is valid there; avahi does so, and an expert expects it.
# Output: announced in the venue: 192.168.50.1 and 10.99.0.5; to the nodes: nothing; a node asks: node hears 0 answers, venue 1 or more.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
npms=(bonjour-service@1.4.4 multicast-dns@7.2.5)

# Prints each answer that arrives at a port, with the addresses in it: hear NS ADDRESS, the port's own.
hear() {
    cat >hear.py <<'PYTHON'
import re, socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("", 5353))
s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton("224.0.0.251") + socket.inet_aton(sys.argv[1]))
print("listens", flush=True)
while True:
    data, (sender, _) = s.recvfrom(9000)
    if data[2] & 128 and sender != sys.argv[1]:
        addresses = re.findall(rb"\x00\x01[\x00\x80]\x01....\x00\x04(....)", data, re.DOTALL)
        print("answer", *(socket.inet_ntoa(address) for address in addresses), flush=True)
PYTHON
    spawn "$1" python3 hear.py "$2" >"heard-$1"
    wait_until grep -q listens "heard-$1"
}

# Asks for pages by multicast: ask NS ADDRESS.
ask() {
    at "$1" python3 - "$2" <<'PYTHON'
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("", 5353))
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(sys.argv[1]))
s.sendto(bytes(4) + b"\0\1\0\0\0\0\0\0\5_http\4_tcp\5local\0\0\x0c\0\1", ("224.0.0.251", 5353))
PYTHON
}

# Prints how many answers arrived.
heard() {
    grep -c answer "heard-$1" || true
}

look() {
    local node venue
    hosts head node venue
    cable head eth0 node node0
    cable head eth1 venue venue0
    ip -n head address add 192.168.50.1/24 dev eth0
    ip -n head address add 10.99.0.5/24 dev eth1
    ip -n head route add default via 10.99.0.1
    ip -n node address add 192.168.50.11/24 dev node0
    ip -n venue address add 10.99.0.1/24 dev venue0
    hear node 192.168.50.11
    hear venue 10.99.0.1
    echo 'new (require("bonjour-service").Bonjour)().publish({ name: "panel", type: "http", port: 80 })' >publish.js
    spawn head env NODE_PATH="$FINDING_WORK/node/node_modules" node publish.js
    wait_until grep -q answer heard-venue
    sleep 2
    expect "addresses announced in the venue" "192.168.50.1 10.99.0.5" "$(sed -n 's/^answer //p' heard-venue | head -n 1)"
    expect "announcements to the nodes" 0 "$(heard node)"
    # The last announcement has gone out.
    sleep 4
    node=$(heard node) venue=$(heard venue)
    ask node 192.168.50.11
    sleep 2
    expect "a node asks: answers at the node" 0 $(($(heard node) - node))
    expect "answers in the venue" yes "$(answer test "$(heard venue)" -gt "$venue")"
}

run_finding
