#!/bin/bash
# base-mibs.sh FOLDER: fetches the modules that BRAMBLEGATE-MIB imports (SNMPv2-SMI, -TC, -CONF), for smilint alone: Debian's
# main section has none of them. They come in an npm package, of one version and with this sum.
set -euo pipefail

package=net-snmp@3.29.2
sum=a89a7a7e29638b5353aa246563821172754ff1980bfc4b5dbd09dc1b217c6f04
folder=$1
[ ! -e "$folder/package/lib/mibs/SNMPv2-SMI.mib" ] || exit 0
mkdir -p "$folder"
cd "$folder"
archive=$(npm pack --silent "$package")
echo "$sum  $archive" | sha256sum --check --quiet
tar xzf "$archive" package/lib/mibs
