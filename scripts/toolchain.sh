#!/bin/bash
# toolchain.sh [CARGO]: checks for a Rust that can build this. If there is none, prints what to do and exits with 69.
set -euo pipefail
cargo=${1:-cargo}
wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$(dirname "$0")/../Cargo.toml")
remedy() {
    echo "$1"
    echo "Rust $wanted or newer is needed:"
    echo "  Debian 13, Raspberry Pi OS (trixie):  sudo apt install cargo rustc"
    echo "  anywhere:                             rustup, see https://rustup.rs, then open a new shell"
    exit 69
} >&2
command -v "$cargo" >/dev/null || remedy "There is no \`$cargo\` on the PATH."
found=$(rustc --version 2>/dev/null | sed -n 's/^rustc \([0-9]*\.[0-9]*\).*/\1/p')
[ -n "$found" ] || remedy "\`rustc --version\` gives no answer."
[ "$(printf '%s\n%s\n' "$wanted" "$found" | sort -V | head -n 1)" = "$wanted" ] || remedy "This is Rust $found."
