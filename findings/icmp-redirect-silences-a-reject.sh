#!/usr/bin/env bash
# A port that is published on a router's inner address and leads to a host of the same network: while the host is away, `reject` in the
# forward chain does not answer the client. The packet turns back to the port that it came by, so the kernel first sends an ICMP redirect
# (`send_redirects` is on for a new port), and that takes the client's turn in the ICMP rate limit (net.ipv4.icmp_ratelimit, one a second
# for each host): the error of `reject` is not sent.
#
# Seen with nftables 1.0.6 on Linux 6.18. An expert expects the two not to know each other: the rule set never mentions redirects, and
# its counter shows that the packet was rejected.
# Output: with send_redirects the client times out though one packet was rejected; without it, error 113 at once.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(nftables=1.0.6-2+deb12u2 libnftables1=1.0.6-2+deb12u2 libnftnl11=1.2.4-2)

# Sends a datagram to the published port. Prints the error's number, or "timeout".
heard() {
    at client python3 - <<'PYTHON'
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(0.8)
s.connect(("10.0.0.1", 9))
s.send(b"x")
try:
    s.recv(100)
except TimeoutError:
    print("timeout")
except OSError as error:
    print(error.errno)
PYTHON
}

# Prints how often the rule rejected.
rejected() {
    at router nft list counter inet t rejected | awk '/packets/ { print $2 }'
}

# Prints one of the kernel's counters of ICMP (/proc/net/snmp).
icmp() {
    # shellcheck disable=SC2016 # awk's own
    at router awk -v name="$1" '/^Icmp:/ { if (!at) { for (i = 1; i <= NF; i++) if ($i == name) at = i } else print $at }' /proc/net/snmp
}

look() {
    hosts router client
    cable client client0 router router0
    ip -n router address add 10.0.0.1/24 dev router0
    ip -n client address add 10.0.0.2/24 dev client0
    at router sysctl -q -w net.ipv4.ip_forward=1
    at router nft -f - <<'RULES'
table inet t {
    counter rejected { }
    chain prerouting {
        type nat hook prerouting priority dstnat
        ip daddr 10.0.0.1 udp dport 9 dnat ip to 10.0.0.7
    }
    chain forward {
        type filter hook forward priority 0
        ip daddr 10.0.0.7 counter name rejected reject with icmpx admin-prohibited
    }
}
RULES
    expect "send_redirects as shipped" 1 "$(at router cat /proc/sys/net/ipv4/conf/router0/send_redirects)"
    expect "the client hears" timeout "$(heard)"
    expect "rejected" 1 "$(rejected)"
    expect "redirects, errors sent" "1 0" "$(icmp OutRedirects) $(icmp OutDestUnreachs)"
    expect "errors kept back by the limit" 1 "$(icmp OutRateLimitHost)"
    at router sysctl -q -w net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.router0.send_redirects=0
    sleep 1.5
    expect "without redirects the client hears" 113 "$(heard)"
    expect "rejected" 2 "$(rejected)"
}

run_finding
