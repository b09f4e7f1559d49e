#!/usr/bin/env bash
# dnsmasq adds addresses to an nft set (`nftset=`) only when an answer comes from upstream, not when it answers from its cache.
# After the rules were loaded anew the set stays empty, while clients get the name's address, until the cached record has expired.
#
# Seen with dnsmasq 2.90, nftables 1.0.6 on Linux 6.18. The manual: "Places the resolved IP addresses of queries for one or more
# domains in the specified nftables set." An expert expects each answer to put the address there.
# Output: first query: 203.0.113.5, 1 element; after flush: query 203.0.113.5 again, 0 elements; after SIGHUP (cache cleared): 1.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(dnsmasq-base=2.90-4~deb12u2 libidn2-0=2.3.3-1+b1 libunistring2=1.0-2 libnettle8=3.8.1-2 libhogweed6=3.8.1-2
    libdbus-1-3=1.14.10-1~deb12u1 libnetfilter-conntrack3=1.0.9-3 libnftables1=1.0.6-2+deb12u2 libnftnl11=1.2.4-2
    nftables=1.0.6-2+deb12u2 busybox=1:1.35.0-4+deb12u1+b1)

query() {
    at gate busybox nslookup -type=a www.example.test 10.0.0.1 2>/dev/null | sed -n 's/^Address: //p'
}

elements() {
    at gate nft list set ip t allowed | grep -c elements || true
}

look() {
    hosts gate upstream
    cable gate gate0 upstream up0
    ip -n gate address add 10.0.0.1/24 dev gate0
    ip -n upstream address add 10.0.0.2/24 dev up0
    at gate nft 'add table ip t; add set ip t allowed { type ipv4_addr; }'
    echo '203.0.113.5 www.example.test' >hosts
    spawn upstream dnsmasq --no-daemon --user=root --conf-file=/dev/null --no-resolv --no-hosts --addn-hosts="$PWD/hosts" \
        --local-ttl=300 2>log
    local upstream=$spawned
    spawn gate dnsmasq --no-daemon --user=root --conf-file=/dev/null --no-resolv --no-hosts --server=10.0.0.2 \
        --nftset=/example.test/4#ip#t#allowed 2>log
    local gate=$spawned
    wait_until query
    expect "first query" "203.0.113.5, 1 element lines" "$(query), $(elements) element lines"
    at gate nft flush set ip t allowed
    expect "query after the set was flushed" "203.0.113.5, 0 element lines" "$(query), $(elements) element lines"
    kill -HUP "$gate"
    sleep 0.5
    expect "query after SIGHUP" "203.0.113.5, 1 element lines" "$(query), $(elements) element lines"
    stop "$gate"
    stop "$upstream"
}

run_finding
