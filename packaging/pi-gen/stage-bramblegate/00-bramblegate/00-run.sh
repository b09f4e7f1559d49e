#!/bin/bash -e
# pi-gen: installs the packages in files/, and puts files/bramblegate.toml on the boot partition, from where the head takes its
# settings at its first start.
install -d "${ROOTFS_DIR}/var/cache/bramblegate"
install -m 644 files/*.deb "${ROOTFS_DIR}/var/cache/bramblegate/"
on_chroot <<'END'
DEBIAN_FRONTEND=noninteractive apt-get install -y /var/cache/bramblegate/*.deb
rm -r /var/cache/bramblegate
END
if [ -e files/bramblegate.toml ]; then
    install -D -m 644 files/bramblegate.toml "${ROOTFS_DIR}/boot/firmware/bramblegate.toml"
fi
