#!/bin/bash
# fuzz.sh: runs every fuzz target for SECONDS_EACH seconds (default 30). With cargo-fuzz and a nightly toolchain it searches
# by coverage; without them the corpus is replayed and mutated by the stable tests (`cargo test --test fuzz`).
set -euo pipefail
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
seconds=${SECONDS_EACH:-30}
if [ -d fuzz ] && "$cargo" +nightly fuzz --version >/dev/null 2>&1; then
    for target in $("$cargo" +nightly fuzz list); do
        echo "== $target, $seconds s"
        "$cargo" +nightly fuzz run "$target" -- -max_total_time="$seconds"
    done
else
    echo "No cargo-fuzz with a nightly toolchain here; using the stable form (cargo install cargo-fuzz would search by coverage)."
    BRAMBLEGATE_FUZZ_SECONDS=$seconds "$cargo" test --locked --release --test fuzz
fi
