#!/bin/bash
# fuzz.sh: runs every fuzz target, or those named, for SECONDS_EACH seconds (default 30). With cargo-fuzz and a nightly
# toolchain it searches by coverage; without them the corpus is mutated by the stable test (`cargo test --test fuzz`).
# What cargo-fuzz finds interesting stays in fuzz/target/corpus; what breaks a target in fuzz/artifacts.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
seconds=${SECONDS_EACH:-30}

# Files of the project that are seeds too.
seeds() {
    case $1 in
    settings) echo tests/settings/good tests/settings/bad ;;
    boards) echo boards ;;
    venues) echo tests/venues ;;
    esac
}

if ! "$cargo" +nightly fuzz --version >/dev/null 2>&1; then
    echo "No cargo-fuzz with a nightly toolchain here; using the stable form (cargo install cargo-fuzz would search by coverage)."
    BRAMBLEGATE_FUZZ_SECONDS=$seconds exec "$cargo" test --locked --test fuzz -- --nocapture "$@"
fi

targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <("$cargo" +nightly fuzz list)
for target in "${targets[@]}"; do
    echo "== $target, $seconds s"
    mkdir -p "fuzz/target/corpus/$target"
    # shellcheck disable=SC2046
    "$cargo" +nightly fuzz run "$target" "fuzz/target/corpus/$target" "fuzz/corpus/$target" $(seeds "$target") -- \
        -max_total_time="$seconds" -max_len=8192 -timeout=10 -print_final_stats=0 -verbosity=0
done
