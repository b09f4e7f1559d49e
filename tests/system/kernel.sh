# shellcheck shell=bash
# Debian's kernel for the guests, its modules and a first stage. Sourced by image.sh and pi/image.sh.

# usage: kernel_hook META >FILE: a hook for mmdebstrap, called as FILE ROOT WORK. It runs outside the guest's root with mmdebstrap's own
# apt configuration: fetches the kernel that the meta package names and unpacks just its files, below WORK/kernel. Installing it
# would make an initramfs that is never used.
kernel_hook() {
    cat <<HOOK
#!/bin/sh
set -eu
work=\$2 meta=$1
HOOK
    cat <<'HOOK'
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
cd "$work"
image=$(apt-cache depends "$meta" | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)$/\1/p' | head -n 1)
modules=$(apt-cache depends "$image" | sed -n 's/^ *Depends: \(linux-modules-[0-9].*\)$/\1/p' | head -n 1)
apt-get download -q "$image" ${modules:+"$modules"} >&2
for package in linux-*.deb; do dpkg-deb -x "$package" "$work/kernel"; done
rm -f linux-*.deb
# Some releases have the modules below /lib.
[ -d kernel/usr/lib/modules ] || { mkdir -p kernel/usr/lib; mv kernel/lib/modules kernel/usr/lib/; }
mkdir -p kernel/lib
ln -sfn ../usr/lib/modules kernel/lib/modules
HOOK
}

# usage: kernel_version ROOT
kernel_version() { basename "$(echo "$1"/boot/vmlinuz-*)" | sed 's/^vmlinuz-//'; }

# usage: module_files ROOT VERSION MODULE...: the files of these modules and of those they need, in the order in which they load
module_files() {
    local root=$1 version=$2 module
    shift 2
    for module in "$@"; do
        modprobe -d "$root" -S "$version" --show-depends "$module"
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }'
}

# usage: plain_module FILE: what is in it, not compressed
plain_module() {
    case $1 in
    *.xz) xz -dc "$1" ;;
    *.zst) zstd -qdc "$1" ;;
    *) cat "$1" ;;
    esac
}

# usage: pack_first_stage DIR: an initramfs of what is in DIR, owned by root
pack_first_stage() { (cd "$1" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0 | gzip -1); }
