#!/bin/bash
# deb-roots.sh DIR: bare roots of Debian 12 and 13 below DIR, with what the packages depend on, for `make deb-test`. Each is made
# once, and anew when this script changes.
set -euo pipefail
umask 022

out=${1:?usage: deb-roots.sh DIR}
# What the packages want, and ip and nft to look with. No documentation is left out: packages bring some, which is looked for.
packages=systemd,udev,dbus,kmod,dnsmasq-base,libnftnl11,libmnl0,iproute2,nftables,procps,busybox,iputils-ping,udhcpc,snmpd
stamp=$(sha256sum "$0" | cut -c1-16)

mkdir -p "$out"
for release in bookworm trixie; do
    root=$out/$release
    [ "$(cat "$root.stamp" 2>/dev/null || true)" != "$stamp" ] || continue
    echo "deb-test: making a root of $release in $root; this happens once and takes about a minute" >&2
    rm -rf "$root" "$root.stamp"
    mmdebstrap --quiet --variant=minbase --format=directory --include="$packages" "$release" "$root"
    echo "$stamp" >"$root.stamp"
done
