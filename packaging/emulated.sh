#!/bin/bash
# emulated.sh ARCHITECTURE FOLDER: runs the programs in FOLDER that packaging/cross.sh built for another architecture, with the
# libraries of Debian 12 for it, by Debian's QEMU. That is unpacked only: its package would have this machine's kernel run all
# programs of other architectures.
set -euo pipefail

architecture=${1:?usage: emulated.sh ARCHITECTURE FOLDER}
folder=${2:?usage: emulated.sh ARCHITECTURE FOLDER}
cd "$(dirname "$0")/.."
# Cortex-A7: the least that Debian's armhf is for, as on a Raspberry Pi 2.
case $architecture in
arm64) emulator=qemu-aarch64-static cpu=cortex-a53 gnu=aarch64-linux-gnu ;;
armhf) emulator=qemu-arm-static cpu=cortex-a7 gnu=arm-linux-gnueabihf ;;
*) echo "emulated: arm64 or armhf, not $architecture" >&2; exit 64 ;;
esac
scripts/unpacked.sh target/unpacked qemu-user-static
PATH=$PATH:$PWD/target/unpacked/usr/bin

# The loader of armhf asks by statx(2) whether a folder of libraries exists, and QEMU 7.2 does not look below -L for that: it is named.
libraries=$PWD/target/deb/cross/$architecture.libraries
emulated() {
    "$emulator" -cpu "$cpu" -L "$libraries" -E "LD_LIBRARY_PATH=$libraries/lib/$gnu:$libraries/usr/lib/$gnu" "$folder/$1" "${@:2}"
}

version=$(sed -n '/^\[workspace.package\]/,/^$/s/^version = "\(.*\)"/\1/p' Cargo.toml)
for program in bramblegate bramblegate-web bramblegate-snmp bramblegate-clat bramblegate-lab; do
    emulated "$program" --version | grep -F "$version"
done
emulated bramblegate check -c packaging/bramblegate.toml
emulated bramblegate completions bash | bash -n
echo "emulated: the programs for $architecture run on a $cpu"
[ "$architecture" = armhf ] || exit 0

# A Raspberry Pi 1 or Zero: its processor runs no program of Debian's armhf, and uname(1) on it is that of Debian's armel, whose
# programs are for ARMv4T. Raspberry Pi OS calls itself armhf there.
older=target/deb/cross/armv6
if [ ! -x "$older/bin/busybox" ]; then
    rm -rf "$older"
    mmdebstrap --quiet --variant=extract --format=directory --architectures=armel --include=busybox-static bookworm "$older.new"
    mv "$older.new" "$older"
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# shellcheck disable=SC2016
printf '#!/bin/sh\nexec "%s" -cpu "$CPU" "%s" uname "$@"\n' "$(command -v "$emulator")" "$PWD/$older/bin/busybox" >"$work/uname"
printf '#!/bin/sh\necho armhf\n' >"$work/dpkg"
chmod +x "$work/uname" "$work/dpkg"
PATH=$work:$PATH
export PATH CPU
installs() { CPU=$1 sh packaging/bramblegate/preinst install 2>"$work/errors"; }
installs "$cpu"
code=0
installs arm1176 || code=$?
if [ $code = 0 ] || ! grep "ARMv6" "$work/errors"; then
    echo "emulated: the package is not refused on ARMv6" >&2
    exit 1
fi
ulimit -c 0
code=0
(cpu=arm1176 && emulated bramblegate --version) 2>/dev/null || code=$?
# 128 and SIGILL: so the refusal is needed.
[ $code = 132 ] || { echo "emulated: the program ended with $code on ARMv6, where it should not run at all" >&2; exit 1; }
echo "emulated: an ARMv6 processor does not run the programs, and the package refuses to be installed there"
