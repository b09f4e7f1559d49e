#!/bin/bash
# deb-roots.sh DIR: bare roots of Debian 12 and 13 below DIR, with what the packages depend on, for `make deb-test`; and one of
# Debian 13 with its own Rust. Each is made once, and anew when this script changes.
set -euo pipefail
umask 022

out=${1:?usage: deb-roots.sh DIR}
# What the packages want, and ip and nft to look with. No documentation is left out: packages bring some, which is looked for.
packages=systemd,udev,dbus,kmod,dnsmasq-base,libnftnl11,libmnl0,iproute2,nftables,procps,busybox,iputils-ping,udhcpc,snmpd
stamp=$(sha256sum "$0" | cut -c1-16)

# What README has people install to build with, but for git and make.
rust=cargo,rustc,gcc,libc6-dev

# usage: make_root NAME RELEASE PACKAGES
make_root() {
    local root=$out/$1
    [ "$(cat "$root.stamp" 2>/dev/null || true)" != "$stamp" ] || return 0
    echo "deb-test: making a root of $2 in $root; this happens once and takes about a minute" >&2
    rm -rf "$root" "$root.stamp"
    mmdebstrap --quiet --variant=minbase --format=directory --include="$3" "$2" "$root"
    echo "$stamp" >"$root.stamp"
}

mkdir -p "$out"
make_root bookworm bookworm "$packages"
make_root trixie trixie "$packages"
make_root rust trixie "$rust"
