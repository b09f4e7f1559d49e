#!/usr/bin/env bash
# `reject with icmpx host-unreachable` looks like the right word for a host that is down, and a Linux client that sends datagrams by a
# connected socket never hears it: the kernel takes host-unreachable for a passing trouble. `admin-prohibited` ends its wait at once.
#
# Seen with nftables 1.0.6 on Linux 6.18. Both are ICMP type 3; an expert expects both to reach the socket. A TCP client waits for its
# next SYN in the first case, and is refused at once in the second.
# Output: host-unreachable: the client times out; admin-prohibited: error 113 (EHOSTUNREACH); port-unreachable: error 111.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(nftables=1.0.6-2+deb12u2 libnftables1=1.0.6-2+deb12u2 libnftnl11=1.2.4-2)

# Sends a datagram where the router rejects it so. Prints the error's number, or "timeout".
heard() {
    at router nft -f - <<RULES
flush ruleset
table inet t {
    chain forward {
        type filter hook forward priority 0
        udp dport 9 reject with icmpx type $1
    }
}
RULES
    at client python3 - <<'PYTHON'
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(1.5)
s.connect(("10.0.1.2", 9))
s.send(b"x")
try:
    s.recv(100)
except TimeoutError:
    print("timeout")
except OSError as error:
    print(error.errno)
PYTHON
}

look() {
    hosts client router server
    cable client client0 router router0
    cable router router1 server server0
    ip -n client address add 10.0.0.2/24 dev client0
    ip -n router address add 10.0.0.1/24 dev router0
    ip -n router address add 10.0.1.1/24 dev router1
    ip -n server address add 10.0.1.2/24 dev server0
    ip -n client route add default via 10.0.0.1
    ip -n server route add default via 10.0.1.1
    at router sysctl -q -w net.ipv4.ip_forward=1
    expect "host-unreachable" timeout "$(heard host-unreachable)"
    expect "admin-prohibited" 113 "$(heard admin-prohibited)"
    expect "port-unreachable" 111 "$(heard port-unreachable)"
}

run_finding
