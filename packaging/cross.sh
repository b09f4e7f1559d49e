#!/bin/bash
# cross.sh ARCHITECTURE TRIPLE: builds the programs for another architecture, below target/deb/build. Rust and the compiler come
# from Debian 13, in a root of their own, so that this machine's dpkg learns of no foreign architecture. What is linked with comes
# from Debian 12, so that the programs run there too. Needs root, mmdebstrap and no emulator.
# shellcheck disable=SC2016
set -euo pipefail
umask 022

architecture=${1:?usage: cross.sh ARCHITECTURE TRIPLE}
triple=${2:?usage: cross.sh ARCHITECTURE TRIPLE}
cd "$(dirname "$0")/.."
top=$PWD
case $architecture in
arm64) gnu=aarch64-linux-gnu ;;
armhf) gnu=arm-linux-gnueabihf ;;
*) echo "cross: arm64 or armhf, not $architecture" >&2; exit 64 ;;
esac
tools=$top/target/deb/cross/$architecture
libraries=$tools.libraries
stamp="$(sha256sum "$0" | cut -c1-16)"

if [ "$(cat "$tools.stamp" 2>/dev/null || true)" != "$stamp" ]; then
    echo "cross: making roots with Rust, a compiler and libraries for $architecture in $tools; this happens once and takes minutes" >&2
    rm -rf "$tools" "$libraries" "$tools.stamp"
    mkdir -p "$(dirname "$tools")"
    # The release itself, without its updates: the same commit meets the same compiler and libraries.
    slim=(--setup-hook='sed -i "/-security\|-updates/d" "$1"/etc/apt/sources.list' --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*'
        --dpkgopt='path-exclude=/usr/share/locale/*')
    mmdebstrap --quiet --variant=minbase --format=directory --architectures="$(dpkg --print-architecture),$architecture" \
        --include="rustc,cargo,gcc,libc6-dev,pkg-config,gcc-$gnu,libstd-rust-dev:$architecture" "${slim[@]}" trixie "$tools"
    # Only unpacked: nothing of it is run.
    mmdebstrap --quiet --variant=extract --format=directory --architectures="$architecture" \
        --include="libc6-dev,libgcc-12-dev,libnftnl-dev,libmnl-dev" "${slim[@]}" bookworm "$libraries"
    # libm.so leads to /lib/…, where Debian 13's is: programs would ask for functions that Debian 12 does not have.
    find "$libraries/usr/lib" -type l -lname '/*' | while read -r link; do ln -sfnr "$libraries$(readlink "$link")" "$link"; done
    echo "$stamp" >"$tools.stamp"
fi

home=${CARGO_HOME:-$HOME/.cargo}
mkdir -p "$home"
linker=CARGO_TARGET_$(echo "$triple" | tr 'a-z-' 'A-Z_')_LINKER
# What of this machine the build reads is at its own path inside: the tree and the crates.
unshare --mount bash -euc '
    tools=$1 libraries=$2 top=$3 home=$4
    shift 4
    mount --make-rprivate /
    mkdir -p "$tools/libraries" "$tools$top" "$tools$home" "$tools/proc" "$tools/dev"
    mount --bind "$libraries" "$tools/libraries"
    mount --bind "$top" "$tools$top"
    mount --bind "$home" "$tools$home"
    mount --bind /proc "$tools/proc"
    mount --rbind /dev "$tools/dev"
    cp -L /etc/resolv.conf "$tools/etc/resolv.conf" 2>/dev/null || true
    exec chroot "$tools" /usr/bin/env -i PATH=/usr/bin:/bin HOME=/root "$@"
' cross "$tools" "$libraries" "$top" "$home" \
    "CARGO_HOME=$home" "$linker=$gnu-gcc" "CC_${triple//-/_}=$gnu-gcc" PKG_CONFIG_ALLOW_CROSS=1 \
    "PKG_CONFIG_SYSROOT_DIR=/libraries" "PKG_CONFIG_LIBDIR=/libraries/usr/lib/$gnu/pkgconfig" \
    "BRAMBLEGATE_COMMIT=$(git rev-parse --short=12 HEAD 2>/dev/null || true)" \
    "RUSTFLAGS=-Clink-arg=--sysroot=/libraries --remap-path-prefix=$home=/cargo --remap-path-prefix=$top=/bramblegate" \
    ${http_proxy:+"http_proxy=$http_proxy"} ${https_proxy:+"https_proxy=$https_proxy"} \
    ${CARGO_BUILD_JOBS:+"CARGO_BUILD_JOBS=$CARGO_BUILD_JOBS"} \
    sh -euc 'cd "$1" && shift && exec "$@"' build "$top" \
    cargo build --locked --workspace --bins --release --target "$triple" --target-dir target/deb/build
