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
arm64) emulator=qemu-aarch64-static cpu=cortex-a53 ;;
armhf) emulator=qemu-arm-static cpu=cortex-a7 ;;
*) echo "emulated: arm64 or armhf, not $architecture" >&2; exit 64 ;;
esac
scripts/unpacked.sh target/unpacked qemu-user-static
PATH=$PATH:$PWD/target/unpacked/usr/bin

emulated() { "$emulator" -cpu "$cpu" -L "target/deb/cross/$architecture.libraries" "$folder/$1" "${@:2}"; }

version=$(sed -n '/^\[workspace.package\]/,/^$/s/^version = "\(.*\)"/\1/p' Cargo.toml)
for program in bramblegate bramblegate-web bramblegate-snmp bramblegate-clat bramblegate-lab; do
    emulated "$program" --version | grep -F "$version"
done
emulated bramblegate check -c packaging/bramblegate.toml
emulated bramblegate completions bash | bash -n
echo "emulated: the programs for $architecture run on a $cpu"
