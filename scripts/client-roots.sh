#!/bin/bash
# client-roots.sh DIR: small roots of Debian 12 and 13 below DIR, with their DHCP clients and nft, for `make clients-test`. Each is made
# once, and anew when this script changes.
set -euo pipefail
umask 022

out=${1:?usage: client-roots.sh DIR}
packages=nftables,netbase,dhcpcd-base,dhcpcd,systemd,dbus,network-manager,netplan.io,udhcpc,chrony,ifupdown,iotop,rfkill,iproute2,libnftnl11,libmnl0,procps,wpasupplicant,python3-dbusmock
stamp=$(sha256sum "$0" | cut -c1-16)

mkdir -p "$out"
for release in bookworm trixie; do
    root=$out/$release
    [ "$(cat "$root.stamp" 2>/dev/null || true)" != "$stamp" ] || continue
    echo "clients-test: making a root of $release in $root; this happens once and takes about a minute" >&2
    rm -rf "$root" "$root.stamp"
    mmdebstrap --quiet --variant=minbase --format=directory --include="$packages" \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        "$release" "$root"
    echo "$stamp" >"$root.stamp"
done
