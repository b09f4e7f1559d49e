#!/usr/bin/env bash
# NetworkManager 1.58 writes `forwarding` of each port that it configures, without a word of forwarding in profile or settings: what an
# administrator switched on for one port is off after NetworkManager's start, and again after each restart. 1.52 leaves it alone.
#
# Seen with NetworkManager 1.58.1 (Debian 14) and 1.52.1 (Debian 13) on Linux 6.18. The new property `ipv4.forwarding` is unset and means
# "auto": the kernel's value for new ports (`net.ipv4.conf.default.forwarding`), not the port's. An expert expects what is unset to be left alone.
# Output: forwarding of the port before 1, after the start 0, after it was set and NetworkManager restarted 0; with the line
# `forwarding=1` in the profile 1.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(iproute2=6.1.0-3)
newer_release=forky
newer_debs=(network-manager=1.58.1-1 dbus-daemon=1.16.2-8 busybox=1:1.38.0-3+b1)

PREFIX=030440c000000e1000000e100000000020010db8000900000000000000000000

# shellcheck disable=SC2317 # wait_until calls it
configured() {
    advertise venue venue0 1800 00 "$PREFIX"
    ip -n head -6 route show default | grep -q 'dev head0'
}

# Prints the port's forwarding once NetworkManager has configured it, and ends NetworkManager.
left_by_networkmanager() {
    ip -n head -6 route flush dev head0
    spawn_networkmanager head head0 "$@"
    local manager=$spawned
    wait_until configured
    sleep 1
    forwarding
    stop "$manager"
}

forwarding() {
    at head cat /proc/sys/net/ipv4/conf/head0/forwarding
}

look() {
    hosts head venue
    cable head head0 venue venue0
    sleep 2
    at head sysctl -qw net.ipv4.conf.head0.forwarding=1
    expect "set by hand" 1 "$(forwarding)"
    expect "NetworkManager has started" 0 "$(left_by_networkmanager)"
    at head sysctl -qw net.ipv4.conf.head0.forwarding=1
    expect "set again, NetworkManager restarted" 0 "$(left_by_networkmanager)"
    expect "with forwarding=1 in the profile" 1 "$(left_by_networkmanager forwarding=1)"
}

run_finding
