#!/usr/bin/env bash
# A program that listens for conntrack's DESTROY events hears nothing of the end of connections that began before it listened:
# neither when they time out nor when they are deleted by hand. `conntrack -L` lists them all the same.
#
# Seen with conntrack 1.4.7 on Linux 6.18 (net.netfilter.nf_conntrack_events=2, the default; the kernel gives an entry room for
# events only when somebody listens at its birth). An expert expects one DESTROY for every entry, as with the value 1.
# Output: old entry deleted: 0 events; new entry deleted: 1 event; with nf_conntrack_events=1 the old one: 1 event.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(nftables=1.0.6-2+deb12u2 libnftables1=1.0.6-2+deb12u2 libnftnl11=1.2.4-2 conntrack=1:1.4.7-1+b2 libnetfilter-conntrack3=1.0.9-3)

open_flow() {
    python3 -c "import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('127.0.0.2', $1)); s.sendto(b'x', ('127.0.0.1', 9))"
}

listen() {
    stdbuf -oL conntrack -E -e DESTROY -p udp >events 2>log &
    listener=$!
    sleep 0.5
}

# Deletes the flow and prints how many events of its end were heard.
end_flow() {
    conntrack -D -p udp --sport "$1" >/dev/null 2>&1
    sleep 0.5
    grep -c "sport=$1 " events || true
}

look() {
    local listener
    nft 'add table ip t; add chain ip t in { type filter hook input priority 0; }; add rule ip t in ct state established counter'
    expect "nf_conntrack_events by default" 2 "$(sysctl -n net.netfilter.nf_conntrack_events)"
    open_flow 4001
    listen
    expect "old flow listed" 1 "$(conntrack -L -p udp 2>/dev/null | grep -c 'sport=4001 ')"
    open_flow 4002
    expect "events at the end of a flow older than the listener" 0 "$(end_flow 4001)"
    expect "events at the end of a flow younger than the listener" 1 "$(end_flow 4002)"
    kill "$listener"
    wait "$listener" 2>/dev/null || true
    sleep 0.3

    sysctl -qw net.netfilter.nf_conntrack_events=1
    open_flow 4003
    listen
    expect "events of the older flow with nf_conntrack_events=1" 1 "$(end_flow 4003)"
    kill "$listener"
}

run_finding
