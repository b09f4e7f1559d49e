#!/bin/bash
# client-roots.sh DIR: small roots of Debian 12 and 13 below DIR, with their DHCP clients and nft, for `make clients-test`.
set -euo pipefail

out=${1:?usage: client-roots.sh DIR}
packages=nftables,netbase,dhcpcd-base,dhcpcd,systemd,dbus,network-manager,netplan.io,udhcpc,chrony,ifupdown,iotop,rfkill,iproute2,libnftnl11,libmnl0,procps,wpasupplicant,python3-dbusmock

SLIM=1 exec "$(dirname "$0")/roots.sh" clients-test "$out" "$packages"
