#!/bin/bash -e
# pi-gen: this stage begins with the root file system of the one before.
if [ ! -d "${ROOTFS_DIR}" ]; then
    copy_previous
fi
