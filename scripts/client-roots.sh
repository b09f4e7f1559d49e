#!/bin/bash
# client-roots.sh DIR: small roots of Debian 12, 13 and 14 below DIR, with their DHCP clients and nft, for `make clients-test`.
set -euo pipefail

out=${1:?usage: client-roots.sh DIR}
packages=nftables,netbase,dhcpcd-base,dhcpcd,systemd,dbus,network-manager,netplan.io,udhcpc,chrony,ifupdown,iotop,rfkill,iproute2,libnftnl11,libmnl0,procps,wpasupplicant,python3-dbusmock
export SLIM=1

"$(dirname "$0")/roots.sh" clients-test "$out" "$packages"
# In Debian 14 dhcpcd and network-manager exclude each other. A mirror that keeps a day of the past has lists that are out of date.
RELEASES=forky exec "$(dirname "$0")/roots.sh" clients-test "$out" "${packages/,dhcpcd,/,}" '--aptopt=Acquire::Check-Valid-Until "false"'
