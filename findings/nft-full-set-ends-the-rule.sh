#!/usr/bin/env bash
# A statement that adds to a set (`add @s { ... }`, `update @s { ... }`) is also a condition: once the set is full, the rest of the
# rule does not run for new elements. A rule that remembers sources and then accepts stops accepting, without a word.
#
# Seen with nftables 1.0.6 on Linux 6.18. The manual describes them as statements that add; an expert expects the verdict to stand.
# Output: set of size 2, datagrams from 4 sources: the rule's counter says 2, the next rule's 4; known sources still pass.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(nftables=1.0.6-2+deb12u2 libnftables1=1.0.6-2+deb12u2 libnftnl11=1.2.4-2)

packets() {
    nft list counter ip t "$1" | awk '/packets/ { print $2 }'
}

send_from() {
    python3 -c 'import socket, sys
for source in sys.argv[1:]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind((source, 0))
        s.sendto(b"x", ("127.0.0.1", 9))' "$@"
}

look() {
    nft -f - <<'RULES'
table ip t {
    counter remembered { }
    counter seen { }
    set sources {
        type ipv4_addr
        flags dynamic
        size 2
    }
    chain in {
        type filter hook input priority 0
        udp dport 9 counter name seen
        udp dport 9 update @sources { ip saddr } counter name remembered accept
    }
}
RULES
    send_from 127.0.0.1 127.0.0.2 127.0.0.3 127.0.0.4
    expect "datagrams" 4 "$(packets seen)"
    expect "datagrams that got past the update" 2 "$(packets remembered)"
    send_from 127.0.0.1 127.0.0.2
    expect "after two more from known sources" 4 "$(packets remembered)"
}

run_finding
