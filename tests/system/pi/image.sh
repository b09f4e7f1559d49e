#!/bin/bash
# image.sh DIR: what `make pi-test` boots, made once and kept in DIR:
#   qemu/         a root with QEMU of Debian 13, only unpacked: Debian 12's emulates no I2C controller of the BCM2835
#   vmlinuz       Debian's kernel for arm64
#   board.dtb     the device tree of a Raspberry Pi 3 B, from the same package
#   root/         the guest's files but ours: busybox, dnsmasq, modules, libraries
#   stamp
# Nothing is installed, and dpkg here learns of no other architecture. Whatever changes this script or kernel.sh makes it anew.
set -euo pipefail
umask 022

out=${1:?usage: image.sh DIR}
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/system/kernel.sh
. "$here/../kernel.sh"
release=trixie
stamp="$release $(cat "$here/image.sh" "$here/../kernel.sh" | sha256sum | cut -c1-16)"

if [ "$(cat "$out/stamp" 2>/dev/null || true)" = "$stamp" ]; then
    exit 0
fi

# What a Raspberry Pi 3 loads by its device tree and its USB, and what our table asks the kernel for.
modules=(i2c-bcm2835 i2c-dev hid bcm2835_wdt bcm2835-rng leds-gpio phy-generic dwc2 cdc_ether rndis_host
    nf_tables nft_chain_nat nft_masq nft_nat nft_redir nft_ct nft_flow_offload nf_flow_table_inet nft_limit nft_log nft_numgen nft_hash
    nft_reject_inet nft_fib_inet nft_socket nfnetlink_log nf_conntrack_netlink nft_connlimit)
applets=(sh mount mkdir cat cut date find grep ip kill ls mdev modprobe poweroff readlink rm sed sleep sort touch tr true udhcpc uname wc xargs)

mkdir -p "$out"
rm -f "$out/stamp"
work=$(mktemp -d "$out/build.XXXXXX")
trap 'rm -rf "$work"' EXIT

echo "pi-test: fetching QEMU, kernel and libraries into $out; this happens once and takes about a minute" >&2
mmdebstrap --quiet --variant=extract --format=directory --include=qemu-system-arm "$release" "$work/qemu"
for folder in "$work"/qemu/usr/lib*; do ln -s "usr/${folder##*/}" "$work/qemu/${folder##*/}"; done
mkdir -p "$work/qemu/mnt"
kernel_hook linux-image-arm64 >"$work/kernel-hook"
chmod +x "$work/kernel-hook"
mmdebstrap --quiet --variant=extract --format=directory --architectures=arm64 \
    --include=busybox-static,dnsmasq-base,libc6,libgcc-s1,libnftnl11,libmnl0 \
    --extract-hook="$work/kernel-hook \"\$1\" '$work'" "$release" "$work/arm64"

kernel=$work/kernel
version=$(kernel_version "$kernel")
cp "$kernel/boot/vmlinuz-$version" "$work/vmlinuz"
cp "$kernel/usr/lib/linux-image-$version/broadcom/bcm2837-rpi-3-b.dtb" "$work/board.dtb"

root=$work/root
mkdir -p "$root"/{bin,dev,etc,proc,run,sys,tmp,usr/sbin,var/lib,lib/modules/"$version"}
cp "$work/arm64/usr/bin/busybox" "$root/bin/busybox"
for applet in "${applets[@]}"; do ln -s busybox "$root/bin/$applet"; done
# Where the kernel looks for it.
mkdir -p "$root/sbin"
ln -s ../bin/busybox "$root/sbin/modprobe"
cp "$work/arm64/usr/sbin/dnsmasq" "$root/usr/sbin/dnsmasq"

depmod -b "$kernel" "$version"
module_files "$kernel" "$version" "${modules[@]}" >"$work/modules"
while read -r path; do
    name=$(basename "$path")
    plain_module "$path" >"$root/lib/modules/$version/${name%.ko*}.ko"
done <"$work/modules"
cp "$kernel/usr/lib/modules/$version"/modules.{builtin,builtin.modinfo,order} "$root/lib/modules/$version/"
depmod -b "$root" "$version"

# All libraries that the packages brought, where the loader of arm64 looks; run.sh takes those that are needed.
mkdir -p "$work/libraries"
find "$work/arm64" -path '*/aarch64-linux-gnu/*' -name '*.so.*' -exec cp -L {} "$work/libraries/" \;
cp -L "$(find "$work/arm64" -name ld-linux-aarch64.so.1 -print -quit)" "$work/libraries/"

for part in qemu vmlinuz board.dtb root libraries; do
    rm -rf "${out:?}/$part"
    mv "$work/$part" "$out/$part"
done
echo "$stamp" >"$out/stamp"
