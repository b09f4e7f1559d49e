#!/bin/bash
# roots.sh PURPOSE DIR PACKAGES [OPTION...]: small roots of Debian 12 and 13 below DIR, with PACKAGES (a list with commas), made by
# mmdebstrap with these options. Each is made once, and anew when one of that changes. SLIM=1 leaves documentation out;
# RELEASES=trixie makes that one alone.
set -euo pipefail
umask 022

purpose=${1:?usage: roots.sh PURPOSE DIR PACKAGES [OPTION...]}
out=${2:?usage: roots.sh PURPOSE DIR PACKAGES [OPTION...]}
packages=${3:?usage: roots.sh PURPOSE DIR PACKAGES [OPTION...]}
shift 3
options=("$@")
if [ "${SLIM:-0}" = 1 ]; then
    for path in /usr/share/doc /usr/share/man /usr/share/locale; do options+=("--dpkgopt=path-exclude=$path/*"); done
fi
stamp=$(echo "$packages ${options[*]}" | sha256sum | cut -c1-16)

mkdir -p "$out"
for release in ${RELEASES:-bookworm trixie}; do
    root=$out/$release
    [ "$(cat "$root.stamp" 2>/dev/null || true)" != "$stamp" ] || continue
    echo "$purpose: making a root of $release in $root; this happens once and takes about a minute" >&2
    rm -rf "$root" "$root.stamp"
    mmdebstrap --quiet --variant=minbase --format=directory --include="$packages" "${options[@]}" "$release" "$root"
    echo "$stamp" >"$root.stamp"
done
