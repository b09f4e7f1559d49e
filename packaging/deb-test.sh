#!/bin/bash
# deb-test.sh [RELEASE...]: what `make deb` made, tried in bare roots of Debian 12 and 13 (packaging/deb-roots.sh): the same files as
# `make install`, the same bits when packed twice, nothing for lintian, programs and a cargo-deb that the Rust of Debian 13 builds, and in each
# root: installed, a first start without settings, settings on the boot partition, upgrade, downgrade, removal, purge. Needs root. A
# root is looked at through an overlay, in namespaces of its own: nothing of it is changed, and nothing of this machine. Ends with 1 if
# anything failed.
# shellcheck disable=SC2317
set -euo pipefail
umask 022

cd "$(dirname "$0")/.."
top=$PWD
target=${CARGO_TARGET_DIR:-target}
architecture=$(dpkg --print-architecture)
releases=("${@:-bookworm}")
[ $# -gt 0 ] || releases=(bookworm trixie)
version=$(sed -n '/^\[workspace.package\]/,/^$/s/^version = "\(.*\)"/\1/p' Cargo.toml)-1
former=0.0.1-1
packages="bramblegate bramblegate-web bramblegate-snmp bramblegate-clat bramblegate-lab"
built=
for folder in target/deb/build/*/release; do
    if [ -z "$built" ] && "$folder/bramblegate" --version >/dev/null 2>&1; then built=$folder; fi
done
[ -n "$built" ] || { echo "deb-test: make deb first" >&2; exit 69; }
[ "$(id -u)" = 0 ] || { echo "deb-test: only root may enter a root: sudo make deb-test" >&2; exit 77; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=()

check() {
    local name=$1
    shift
    if "$@" >"$work/out" 2>&1; then
        echo "ok      $name"
    else
        failed+=("$name")
        echo "FAILED  $name"
        sed 's/^/        /' "$work/out"
    fi
}

# Mode, checksum and path of each file, unpacked where it was packed; not what only the one or the other has: Debian's copyright
# and list of changes, and licences beside the source.
listing() {
    local root=$1
    (cd "$root" && find . -type f ! -name 'LICENSE-*' ! -name copyright ! -name 'changelog.Debian.gz' ! -path '*/lintian/overrides/*' |
        sort | while read -r file; do
        case $file in
        *.gz) echo "$(stat -c %a "$file") $(zcat "$file" | sha256sum | cut -c1-64) ${file%.gz}" ;;
        *) echo "$(stat -c %a "$file") $(sha256sum <"$file" | cut -c1-64) $file" ;;
        esac
    done | sort -k 3)
}

# The packages together are what `make install` places: one list (packaging/files.sh), and this is the proof.
same_files_as_make_install() {
    local package
    rm -rf "$work/installed" "$work/unpacked"
    scripts/install.sh install "$built/bramblegate" "$work/installed" /usr /usr/lib
    mkdir "$work/unpacked"
    for package in $packages; do
        dpkg-deb -x "target/debian/${package}_${version}_$architecture.deb" "$work/unpacked"
    done
    listing "$work/installed" >"$work/installed.list"
    listing "$work/unpacked" >"$work/unpacked.list"
    [ "$(wc -l <"$work/installed.list")" -gt 40 ]
    diff "$work/installed.list" "$work/unpacked.list"
}

# Units and helpers name the program where it is, also below another prefix.
paths_follow_the_prefix() {
    scripts/install.sh install "$built/bramblegate" "$work/local" /usr/local /usr/lib
    if grep -rIl '/usr/bin/bramblegate' "$work/local/usr/lib"; then return 1; fi
}

same_bits_twice() {
    local package name
    (umask 077 && TZ=Asia/Tokyo BUILT=$built OUT=$work/again packaging/deb.sh)
    for package in $packages; do
        name=${package}_${version}_$architecture.deb
        cmp "target/debian/$name" "$work/again/$name"
    done
    # Nor a path of the machine that built them.
    if grep -laE "$top|${CARGO_HOME:-$HOME/.cargo}/registry" "$built"/bramblegate{,-web,-snmp,-clat,-lab}; then return 1; fi
}

# Those for other architectures too, where `make deb ARCH=` has made some.
lintian_has_nothing() {
    lintian --fail-on error,warning --suppress-tags bad-distribution-in-changes-file "target/debian/"*"_${version}_"*.deb
}

installed_size() {
    local size
    size=$(dpkg-deb -f "target/debian/bramblegate_${version}_$architecture.deb" Installed-Size)
    echo "bramblegate: $size KiB installed"
    [ "$size" -le $((12 * 1024)) ]
}

# usage: with_debians_rust COMMAND...: runs it in this tree, in the root of Debian 13 that has Debian's Rust and what README installs to
# build with. What it writes is gone afterwards; the tree is only read.
with_debians_rust() {
    # shellcheck disable=SC2016
    unshare --mount --pid --fork --kill-child bash -euc '
        root=$1 overlay=$2 home=$3 top=$4
        shift 4
        mount --make-rprivate /
        mount -t tmpfs tmpfs "$overlay"
        mkdir "$overlay/"{upper,work,root}
        mount -t overlay overlay -o "lowerdir=$root,upperdir=$overlay/upper,workdir=$overlay/work" "$overlay/root"
        cd "$overlay/root"
        mkdir -p cargo tree etc/ssl/certs
        mount --bind "$home" cargo
        mount --bind -o ro "$top" tree
        mount -t proc proc proc
        mount --rbind /dev dev
        cp -L /etc/resolv.conf etc/resolv.conf
        cp -L /etc/ssl/certs/ca-certificates.crt etc/ssl/certs/
        exec chroot . /usr/bin/env -i PATH=/usr/bin:/bin HOME=/root CARGO_HOME=/cargo CARGO_TARGET_DIR=/tmp/build \
            ${http_proxy:+"http_proxy=$http_proxy"} ${https_proxy:+"https_proxy=$https_proxy"} \
            sh -c "cd /tree && exec \"\$@\"" in-the-tree "$@"
    ' rust "$top/$target/deb/roots/rust/trixie" "$work/overlay" "${CARGO_HOME:-$HOME/.cargo}" "$top" "$@"
}

# The Rust that README installs, 1.85 in Debian 13, builds cargo-deb in the version that deb.sh names: what the crate itself says
# of that is not true of each of its versions.
debians_own_rust_packs() {
    local version
    version=$(sed -n 's/^cargo_deb=//p' packaging/deb.sh)
    [ -n "$version" ]
    with_debians_rust cargo install --quiet --locked --root /tmp/tools --no-default-features --version "=$version" cargo-deb
}

# A newer one accepts more of the language, whatever Cargo.toml says of the oldest.
debians_own_rust_accepts_the_programs() {
    with_debians_rust cargo check --quiet --locked --workspace --bins
}

# usage: inside RELEASE; the rest is packaging/deb-inside.sh, in the root.
inside() {
    local root=$top/$target/deb/roots/$1
    mkdir -p "$work/debs"
    cp "target/debian/"*"_${version}_$architecture.deb" "$work/former/"*.deb packaging/deb-inside.sh "$work/debs/"
    # shellcheck disable=SC2016
    unshare --mount --pid --net --uts --ipc --fork --kill-child bash -euc '
        root=$1 debs=$2 work=$3
        mount --make-rprivate /
        mount -t tmpfs tmpfs "$work/overlay"
        mkdir "$work/overlay/"{upper,work,root}
        mount -t overlay overlay -o "lowerdir=$root,upperdir=$work/overlay/upper,workdir=$work/overlay/work" "$work/overlay/root"
        cd "$work/overlay/root"
        mkdir -p debs boot/firmware
        mount --bind "$debs" debs
        mount -t proc proc proc
        mount -t sysfs sysfs sys
        mount -t tmpfs tmpfs run
        mount -t tmpfs tmpfs tmp
        exec chroot . /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 HOME=/root bash /debs/deb-inside.sh "$4" "$5"
    ' inside "$root" "$work/debs" "$work" "$former" "$version"
}

mkdir "$work/overlay" "$work/former"
BUILT=$built OUT=$work/former DEB_VERSION=$former packaging/deb.sh >/dev/null
check "the packages have the files of make install" same_files_as_make_install
check "units and helpers follow the prefix" paths_follow_the_prefix
check "the same bits twice" same_bits_twice
check "installed size without the page" installed_size
check "lintian" lintian_has_nothing
check "Debian 13's own Rust builds cargo-deb" debians_own_rust_packs
check "Debian 13's own Rust accepts the programs" debians_own_rust_accepts_the_programs
for release in "${releases[@]}"; do
    echo "in Debian $release:"
    inside "$release" || failed+=("$release")
done

if [ ${#failed[@]} -gt 0 ]; then
    echo "deb-test: failed: ${failed[*]}"
    exit 1
fi
echo "deb-test: all good"
