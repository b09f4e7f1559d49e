#!/bin/bash
# deb.sh [ARCHITECTURE]: the Debian packages of this tree, into target/debian. ARCHITECTURE is Debian's name of it, and the build
# machine's own by default; for another one packaging/cross.sh makes a root that can build it. Called by make.
#   BUILT=DIR       programs that are built already, in place of building them
#   DEB_VERSION=V   a version other than that of Cargo.toml, for tests
#   OUT=DIR         another folder than target/debian
# The same commit makes the same packages: dates are the commit's, and no path of this machine is in a program.
set -euo pipefail
umask 022

cd "$(dirname "$0")/.."
top=$PWD
cargo=${CARGO:-cargo}
native=$(dpkg --print-architecture)
architecture=${1:-$native}
out=${OUT:-target/debian}
stage=target/deb/stage
# Pinned: another version may write other bits. The newest that Rust 1.85 builds (3.7.0 and 3.8.0 say so, and need 1.88); no library
# of the system.
cargo_deb=3.6.3
packages="bramblegate bramblegate-web bramblegate-snmp bramblegate-clat bramblegate-lab"

case $architecture in
amd64) triple=x86_64-unknown-linux-gnu ;;
arm64) triple=aarch64-unknown-linux-gnu ;;
armhf) triple=armv7-unknown-linux-gnueabihf ;;
*) triple=$(rustc -vV | sed -n 's/^host: //p') ;;
esac

if [ "$architecture" != "$native" ] && [ -z "${BUILT:-}" ] && [ "$(id -u)" != 0 ]; then
    echo "deb: only root can make what builds for another machine: sudo make deb ARCH=$architecture" >&2
    exit 77
fi

# A tree without a repository, such as a release's archive, has the date of its list of changes.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)}
export SOURCE_DATE_EPOCH TZ=UTC LC_ALL=C.UTF-8

# A target folder of its own: it deletes other versions from the folder debian there, wherever it writes.
cargo_deb() { CARGO_TARGET_DIR=$top/target/deb/pack "$top/target/tools/bin/cargo-deb" "$@"; }

install_cargo_deb() {
    [ "$(cargo_deb --version 2>/dev/null)" != "cargo-deb $cargo_deb" ] || return 0
    echo "deb: building cargo-deb $cargo_deb into target/tools; this happens once and takes a few minutes" >&2
    # xz as a program, not as a library: what a Debian machine has in any case.
    "$cargo" install --quiet --locked --root target/tools --target-dir target/tools/build --no-default-features \
        --version "=$cargo_deb" cargo-deb
    rm -rf target/tools/build
}

# Paths of this machine (panics name where a crate's source is) would differ from one builder to the next.
build() {
    local home=${CARGO_HOME:-$HOME/.cargo}
    RUSTFLAGS="--remap-path-prefix=$home=/cargo --remap-path-prefix=$top=/bramblegate ${RUSTFLAGS:-}" \
        "$cargo" build --locked --workspace --bins --release --target "$triple" --target-dir target/deb/build
}

# Debian's form of the list of changes, which packages have to have.
changelog() {
    local version=$1
    printf 'bramblegate (%s) unstable; urgency=medium\n\n' "$version"
    printf '  * What changed is in /usr/share/doc/bramblegate/CHANGELOG.md of the\n    package bramblegate.\n\n'
    printf ' -- The Bramblegate authors <bramblegate@packages.invalid>  %s\n' "$(date -u -R -d "@$SOURCE_DATE_EPOCH")"
}

# Files of one package, in two folders by their mode: cargo-deb takes a mode for each pattern.
stage() {
    local package=$1 all=$stage/$1/all mode
    rm -rf "${stage:?}/$package"
    mkdir -p "$all"
    PACKAGE=$package RUNNABLE=$runnable scripts/install.sh install "$built/bramblegate" "$top/$all" /usr /usr/lib
    install -D -m 644 "packaging/lintian/$package" "$all/usr/share/lintian/overrides/$package"
    for mode in 644 755; do
        mkdir -p "$stage/$package/$mode"
        (cd "$all" && find . -type f -perm "$mode" -exec cp --parents -p {} "../$mode" \;)
    done
    rm -rf "$all"
    [ "$(find "$stage/$package" -type f ! -perm 644 ! -perm 755 | wc -l)" = 0 ]
}

# usage: scripts PACKAGE; what dpkg runs before and after. Services beside the gateway have the same, with their units' names.
scripts() {
    local package=$1 folder=target/deb/scripts/$1 units script enabled=false
    rm -rf "$folder"
    mkdir -p "$folder"
    if [ "$package" = bramblegate ]; then
        cp packaging/bramblegate/{preinst,postinst,prerm,postrm} "$folder"
        return
    fi
    units=$(find "$stage/$package/644" -path '*/systemd/system/*.service' -printf '%f\n' | sort | tr '\n' ' ')
    [ -n "$units" ] || return 0
    # The page is there for who installs it. snmpd and the translator have to be set up first.
    [ "$package" != bramblegate-web ] || enabled=true
    for script in postinst prerm postrm; do
        sed -e "s/@PACKAGE@/$package/" -e "s/@UNITS@/${units% }/" -e "s/@ENABLED@/$enabled/" "packaging/service/$script" >"$folder/$script"
    done
}

install_cargo_deb
version=${DEB_VERSION:-$(sed -n '/^\[workspace.package\]/,/^$/s/^version = "\(.*\)"/\1/p' Cargo.toml)-1}
if [ -n "${BUILT:-}" ]; then
    built=$BUILT
elif [ "$architecture" = "$native" ]; then
    build
    built=target/deb/build/$triple/release
else
    packaging/cross.sh "$architecture" "$triple"
    built=target/deb/build/$triple/release
    packaging/emulated.sh "$architecture" "$built"
fi
built=$(cd "$built" && pwd)
# Completions are written by the program: by one of this machine.
runnable=$built/bramblegate
if [ "$architecture" != "$native" ]; then
    runnable=
    for program in target/deb/build/*/release/bramblegate target/release/bramblegate target/debug/bramblegate; do
        if [ -z "$runnable" ] && "$program" --version >/dev/null 2>&1; then runnable=$program; fi
    done
    [ -n "$runnable" ] || { echo "deb: build for this machine first (make build): shell completions are written by a program that runs here" >&2; exit 69; }
fi

variant=()
[ "$architecture" = "$native" ] || variant=(--variant cross)

mkdir -p "$out" target/deb
changelog "$version" >target/deb/changelog
for package in $packages; do
    # One version of each lies there, so that a pattern names it.
    rm -f "$out/${package}"_*_"$architecture".deb
    stage "$package"
    scripts "$package"
    cargo_deb --quiet --no-build --no-strip --locked --target "$triple" --compress-system -p "$package" "${variant[@]}" \
        --deb-version "$version" --output "$out/${package}_${version}_$architecture.deb"
done
ls -l "$out"/*_"${version}_$architecture".deb
