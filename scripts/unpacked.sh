#!/bin/bash
# unpacked.sh DIR PACKAGE...: programs of Debian packages, below DIR/usr/bin, without installing them: a server's package would
# start it, open to the network. What is on this machine already is used as it is, where PACKAGE is the name of its program too.
set -euo pipefail
umask 022

out=${1:?usage: unpacked.sh DIR PACKAGE...}
shift
PATH=$PATH:/usr/sbin:/sbin

mkdir -p "$out"
out=$(cd "$out" && pwd)
for package in "$@"; do
    if command -v "$package" >/dev/null || [ -e "$out/usr/share/doc/$package" ]; then
        continue
    fi
    if ! command -v apt-get >/dev/null; then
        echo "This is not Debian or Raspberry Pi OS: put $package into the search path, then run this again." >&2
        exit 69
    fi
    if [ "${NO_INSTALL:-0}" = 1 ]; then
        echo "NO_INSTALL=1: $package is missing and not fetched. It need not be installed; to do it by hand:" >&2
        echo "  cd $out && apt-get download $package && dpkg -x $package*.deb ." >&2
        exit 69
    fi
    echo "Fetching $package for its program; it is not installed" >&2
    work=$(mktemp -d "$out/fetch.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    # apt drops its privileges to fetch, where it may write.
    (cd "$work" && chmod 755 . && apt-get download -q -o APT::Sandbox::User=root "$package")
    dpkg -x "$work"/*.deb "$out"
    rm -rf "$work"
    trap - EXIT
done
