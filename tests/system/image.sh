#!/bin/bash
# image.sh DIR [RELEASE] [FLAVOUR]: the guest that `make system-test` boots, made once and kept in DIR:
#   vmlinuz  initrd  root.ext4  stamp
# Of flavour "firewalls" it also has other programs with rules. Of flavour "managers" it has NetworkManager, netplan and cloud-init in the order in which Raspberry Pi OS has them, and the
# tools that make images and heads: mmdebstrap, ansible-core.
# A minimal Debian with systemd and udev, Debian's own kernel (not the cloud flavour: it lacks vhci_hcd), and a tiny
# initramfs. Whatever changes this script, kernel.sh or the release makes the image anew.
set -euo pipefail
umask 022

out=${1:?usage: image.sh DIR [RELEASE] [FLAVOUR]}
release=${2:-trixie}
flavour=${3:-}
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/system/kernel.sh
. "$here/kernel.sh"
stamp="$release$flavour $(cat "$here/image.sh" "$here/kernel.sh" | sha256sum | cut -c1-16)"

if [ "$(cat "$out/stamp" 2>/dev/null || true)" = "$stamp" ]; then
    exit 0
fi

packages=(systemd systemd-sysv udev dbus kmod busybox-static
    nftables iproute2 iputils-ping dnsmasq-base libnftnl11 libmnl0 i2c-tools usbutils netcat-openbsd jq
    nfs-kernel-server nfs-common iperf3 snmpd snmp udhcpc openssh-client dropbear-bin)
case $flavour in
'') ;;
# Other firewalls beside the gateway.
firewalls) packages+=(docker.io docker-cli iptables firewalld ufw conntrack) ;;
managers) packages+=(network-manager netplan.io cloud-init sudo mmdebstrap python3-yaml libcap2-bin ansible-core python3-apt) ;;
*)
    echo "image.sh: there is no flavour $flavour" >&2
    exit 2
    ;;
esac

# What the scenario loads (vhci, HID, I2C, netfilter, veth, NFS) is all below these; the rest is weight.
unwanted=(drivers/gpu drivers/media drivers/infiniband drivers/net/ethernet drivers/net/wireless drivers/scsi
    drivers/staging drivers/iio drivers/mtd drivers/platform drivers/target drivers/isdn drivers/ata sound
    fs/xfs fs/btrfs fs/ocfs2 fs/bcachefs fs/gfs2 fs/f2fs fs/smb fs/ceph)

mkdir -p "$out"
work=$(mktemp -d "$out/build.XXXXXX")
trap 'rm -rf "$work"' EXIT

echo "system-test: making the guest image ($release${flavour:+, $flavour}) in $out; this happens once and takes about a minute" >&2

kernel_hook linux-image-amd64 >"$work/kernel-hook"
chmod +x "$work/kernel-hook"

list=$(IFS=,; echo "${packages[*]}")
mmdebstrap --quiet --variant=minbase --format=tar --include="$list" \
    --customize-hook="$work/kernel-hook \"\$1\" '$work'" \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    "$release" "$work/root.tar"

version=$(kernel_version "$work/kernel")
modules=$work/kernel/usr/lib/modules/$version
for part in "${unwanted[@]}"; do rm -rf "${modules:?}/kernel/$part"; done
depmod -b "$work/kernel" "$version" 2>/dev/null
cp "$work/kernel/boot/vmlinuz-$version" "$work/vmlinuz"

# The initramfs: busybox and the modules that make the root disk appear.
ird=$work/initramfs
mkdir -p "$ird"/{bin,dev,proc,sys,mods,root}
tar -xOf "$work/root.tar" ./usr/bin/busybox >"$ird/bin/busybox"
chmod +x "$ird/bin/busybox"
for applet in sh mount insmod switch_root sleep echo; do ln -s busybox "$ird/bin/$applet"; done
number=100
module_files "$work/kernel" "$version" virtio_pci virtio_blk ext4 | while read -r path; do
    name=$(basename "$path")
    plain_module "$path" >"$ird/mods/$number-${name%.ko*}.ko"
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
pack_first_stage "$ird" >"$work/initrd"

# What makes it a test machine: a fixed identity (or systemd would enable every unit on "first boot"), no logins, no timers,
# and one unit that unpacks the second disk and runs what is on it.
furnish() {
    local root=$1 unit
    echo "0123456789abcdef0123456789abcdef" >"$root/etc/machine-id"
    echo "head" >"$root/etc/hostname"
    : >"$root/etc/fstab"
    # Installed, but only started by the step that is about it.
    rm -f "$root/etc/systemd/system/multi-user.target.wants/"{snmpd,iperf3,dnsmasq,docker,containerd,firewalld,ufw}.service \
        "$root/etc/systemd/system/sockets.target.wants/docker.socket"
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
After=basic.target world.service
[Service]
ExecStart=/bin/sh -c '[ -e /run/scenario ] || { mkdir /run/scenario && tar -C /run/scenario -xf /dev/vdb; }; exec /run/scenario/guest/main.sh'
StandardOutput=file:/dev/ttyS1
StandardError=inherit
KillMode=process
UNIT
    ln -sf /usr/lib/systemd/system/multi-user.target "$root/etc/systemd/system/default.target"
    mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
    ln -sf ../scenario.service "$root/etc/systemd/system/multi-user.target.wants/scenario.service"
    [ "$flavour" != managers ] || furnish_as_raspberry_pi_os "$root"
}

# As Raspberry Pi OS (trixie) has it: cloud-init's seed is on the boot partition, here a folder; netplan makes NetworkManager's profiles of
# what cloud-init writes. The world behind the ports is there before any of them looks.
furnish_as_raspberry_pi_os() {
    local root=$1 boot=$1/boot/firmware
    rm -f "$root"/etc/systemd/system/dbus-org.freedesktop.network1.service "$root"/etc/systemd/system/*.wants/systemd-networkd*
    cat >"$root/etc/cloud/cloud.cfg.d/99_raspberry-pi.cfg" <<'CLOUD'
datasource_list: [NoCloud, None]
datasource: {NoCloud: {seedfrom: "file:///boot/firmware/"}}
ssh_deletekeys: false
ssh_genkeytypes: []
# What has nothing to do with networks takes minutes under emulation.
cloud_init_modules: []
cloud_config_modules: []
cloud_final_modules: []
CLOUD
    install -d "$boot" "$root/usr/lib/netplan"
    printf 'dsmode: local\ninstance_id: rpios-image\n' >"$boot/meta-data"
    echo '#cloud-config' >"$boot/user-data"
    cat >"$boot/network-config" <<'SEED'
network:
  version: 2
  ethernets:
    eth0:
      dhcp4: true
      optional: true
    eth1:
      dhcp4: true
      optional: true
SEED
    printf 'network:\n  version: 2\n  renderer: NetworkManager\n' >"$root/usr/lib/netplan/00-network-manager-all.yaml"
    chmod 600 "$root/usr/lib/netplan/00-network-manager-all.yaml"
    cat >"$root/etc/systemd/system/world.service" <<'UNIT'
[Unit]
DefaultDependencies=no
After=systemd-udev-trigger.service systemd-udevd.service systemd-modules-load.service
Before=network-pre.target cloud-init-local.service bramblegate-setup.service bramblegate.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'mkdir -p /run/scenario && tar -C /run/scenario -xf /dev/vdb && exec /run/scenario/guest/world.sh'
StandardOutput=file:/dev/ttyS1
StandardError=inherit
KillMode=process
TimeoutStartSec=300
UNIT
    ln -sf ../world.service "$root/etc/systemd/system/multi-user.target.wants/world.service"
    for unit in NetworkManager-wait-online.service systemd-networkd-wait-online.service; do
        ln -sf /dev/null "$root/etc/systemd/system/$unit"
    done
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
    export -f pack furnish furnish_as_raspberry_pi_os
    export work version flavour
    fakeroot -- bash -ec pack
fi

for file in vmlinuz initrd root.ext4; do mv -f "$work/$file" "$out/$file"; done
echo "$stamp" >"$out/stamp"
