#!/bin/bash
# image.sh DIR [RELEASE]: the guest that `make system-test` boots, made once and kept in DIR:
#   vmlinuz  initrd  root.ext4  stamp
# A minimal Debian with systemd and udev, Debian's own kernel (not the cloud flavour: it lacks vhci_hcd), and a tiny
# initramfs. Whatever changes this script, or the release, makes the image anew.
set -euo pipefail
umask 022

out=${1:?usage: image.sh DIR [RELEASE]}
release=${2:-trixie}
here=$(cd "$(dirname "$0")" && pwd)
stamp="$release $(sha256sum "$here/image.sh" | cut -c1-16)"

if [ "$(cat "$out/stamp" 2>/dev/null || true)" = "$stamp" ]; then
    exit 0
fi

packages=(systemd systemd-sysv udev dbus kmod busybox-static
    nftables iproute2 iputils-ping dnsmasq-base libnftnl11 libmnl0 i2c-tools usbutils netcat-openbsd jq
    nfs-kernel-server nfs-common iperf3 snmpd snmp udhcpc openssh-client dropbear-bin)

# What the scenario loads (vhci, HID, I2C, netfilter, veth, NFS) is all below these; the rest is weight.
unwanted=(drivers/gpu drivers/media drivers/infiniband drivers/net/ethernet drivers/net/wireless drivers/scsi
    drivers/staging drivers/iio drivers/mtd drivers/platform drivers/target drivers/isdn drivers/ata sound
    fs/xfs fs/btrfs fs/ocfs2 fs/bcachefs fs/gfs2 fs/f2fs fs/smb fs/ceph)

mkdir -p "$out"
work=$(mktemp -d "$out/build.XXXXXX")
trap 'rm -rf "$work"' EXIT

echo "system-test: making the guest image ($release) in $out; this happens once and takes about a minute" >&2

# Runs outside the guest's root with mmdebstrap's own apt configuration: fetch the kernel that the meta package names and
# unpack just its files. Installing it would make an initramfs that is never used.
cat >"$work/kernel-hook" <<'HOOK'
#!/bin/sh
set -eu
root=$1 work=$2
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
cd "$work"
image=$(apt-cache depends linux-image-amd64 | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)$/\1/p' | head -n 1)
modules=$(apt-cache depends "$image" | sed -n 's/^ *Depends: \(linux-modules-[0-9].*\)$/\1/p' | head -n 1)
apt-get download -q "$image" ${modules:+"$modules"} >&2
for package in linux-*.deb; do dpkg-deb -x "$package" "$work/kernel"; done
HOOK
chmod +x "$work/kernel-hook"

list=$(IFS=,; echo "${packages[*]}")
mmdebstrap --quiet --variant=minbase --format=tar --include="$list" \
    --customize-hook="$work/kernel-hook \"\$1\" '$work'" \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    "$release" "$work/root.tar"

version=$(basename "$(echo "$work"/kernel/boot/vmlinuz-*)" | sed 's/^vmlinuz-//')
modules=$work/kernel/usr/lib/modules/$version
[ -d "$modules" ] || { mkdir -p "$work/kernel/usr/lib"; mv "$work/kernel/lib/modules" "$work/kernel/usr/lib/"; }
for part in "${unwanted[@]}"; do rm -rf "${modules:?}/kernel/$part"; done
mkdir -p "$work/kernel/lib"
ln -sfn ../usr/lib/modules "$work/kernel/lib/modules"
depmod -b "$work/kernel" "$version" 2>/dev/null
cp "$work/kernel/boot/vmlinuz-$version" "$work/vmlinuz"

# The initramfs: busybox and the modules that make the root disk appear.
ird=$work/initramfs
mkdir -p "$ird"/{bin,dev,proc,sys,mods,root}
tar -xOf "$work/root.tar" ./usr/bin/busybox >"$ird/bin/busybox"
chmod +x "$ird/bin/busybox"
for applet in sh mount insmod switch_root sleep echo; do ln -s busybox "$ird/bin/$applet"; done
number=100
for module in virtio_pci virtio_blk ext4; do
    modprobe -d "$work/kernel" -S "$version" --show-depends "$module"
done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r path; do
    name=$(basename "$path")
    case $path in
    *.xz) xz -dc "$path" >"$ird/mods/$number-${name%.xz}" ;;
    *.zst) zstd -qdc "$path" >"$ird/mods/$number-${name%.zst}" ;;
    *) cp "$path" "$ird/mods/$number-$name" ;;
    esac
    number=$((number + 1))
done
cat >"$ird/init" <<'INIT'
#!/bin/sh
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for m in /mods/*; do insmod "$m" || echo "initramfs: insmod $m failed"; done
i=0
while [ ! -b /dev/vda ] && [ $i -lt 300 ]; do sleep 0.1; i=$((i + 1)); done
mount -t ext4 /dev/vda /root || { echo "initramfs: no root file system"; exec sh; }
for d in dev proc sys; do mount --move /$d /root/$d; done
exec switch_root /root /sbin/init
INIT
chmod +x "$ird/init"
(cd "$ird" && find . | cpio --quiet -o -H newc -R 0:0 | gzip -1) >"$work/initrd"

# What makes it a test machine: a fixed identity (or systemd would enable every unit on "first boot"), no logins, no timers,
# and one unit that unpacks the second disk and runs what is on it.
furnish() {
    local root=$1 unit
    echo "0123456789abcdef0123456789abcdef" >"$root/etc/machine-id"
    echo "head" >"$root/etc/hostname"
    : >"$root/etc/fstab"
    # Installed, but only started by the step that is about it.
    rm -f "$root/etc/systemd/system/multi-user.target.wants/"{snmpd,iperf3,dnsmasq}.service
    for unit in console-getty.service serial-getty@ttyS0.service getty@tty1.service systemd-networkd-wait-online.service \
        apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer \
        systemd-firstboot.service nfs-blkmap.service rpcbind.service rpcbind.socket; do
        ln -sf /dev/null "$root/etc/systemd/system/$unit"
    done
    # The step about shares starts them.
    rm -f "$root"/etc/systemd/system/*.wants/nfs-*
    cat >"$root/etc/systemd/system/scenario.service" <<'UNIT'
[Unit]
DefaultDependencies=no
After=basic.target
[Service]
ExecStart=/bin/sh -c 'mkdir -p /run/scenario && tar -C /run/scenario -xf /dev/vdb && exec /run/scenario/guest/main.sh'
StandardOutput=file:/dev/ttyS1
StandardError=inherit
KillMode=process
UNIT
    ln -sf /usr/lib/systemd/system/multi-user.target "$root/etc/systemd/system/default.target"
    mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
    ln -sf ../scenario.service "$root/etc/systemd/system/multi-user.target.wants/scenario.service"
}

# fakeroot keeps the archive's owners when this is not run by root.
pack() {
    mkdir "$work/root"
    tar -C "$work/root" --numeric-owner -xf "$work/root.tar"
    mkdir -p "$work/root/usr/lib/modules"
    cp -r "$work/kernel/usr/lib/modules/$version" "$work/root/usr/lib/modules/"
    furnish "$work/root"
    mke2fs -q -t ext4 -d "$work/root" -E lazy_itable_init=1,lazy_journal_init=1 -L bramblegate "$work/root.ext4" 1500M
}
if [ "$(id -u)" = 0 ]; then
    pack
else
    export -f pack furnish
    export work version
    fakeroot -- bash -ec pack
fi

for file in vmlinuz initrd root.ext4; do mv -f "$work/$file" "$out/$file"; done
echo "$stamp" >"$out/stamp"
