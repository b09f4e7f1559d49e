#!/bin/bash
# deb-roots.sh DIR: bare roots of Debian 12 and 13 below DIR, with what the packages depend on, for `make deb-test`; and one of
# Debian 13 with its own Rust. No documentation is left out: packages bring some, which is looked for.
set -euo pipefail

out=${1:?usage: deb-roots.sh DIR}
# What the packages want, and ip and nft to look with.
packages=systemd,udev,dbus,kmod,dnsmasq-base,libnftnl11,libmnl0,iproute2,nftables,procps,busybox,iputils-ping,udhcpc,snmpd

# What README has people install to build with, but for git and make.
rust=cargo,rustc,gcc,libc6-dev,pkg-config,libmnl-dev,libnftnl-dev

roots=$(dirname "$0")/../scripts/roots.sh
"$roots" deb-test "$out" "$packages"
RELEASES=trixie "$roots" deb-test "$out/rust" "$rust"
