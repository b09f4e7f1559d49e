#!/bin/bash
# lint.sh: everything that can be checked without running the daemon. Runs all checks, names those that failed, and ends
# with 1 if any did. A tool that is missing is a failure too, unless NO_INSTALL=1 asked for that.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

cargo=${CARGO:-cargo}
program=${CARGO_TARGET_DIR:-target}/debug/bramblegate
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=()

check() {
    local name=$1
    shift
    printf -- '-- %s\n' "$name"
    if ! "$@"; then
        failed+=("$name")
        printf -- '-- %s: FAILED\n' "$name"
    fi
}

# usage: with TOOL command...
with() {
    local tool=$1
    shift
    if command -v "$tool" >/dev/null; then
        "$@"
    elif [ "${NO_INSTALL:-0}" = 1 ]; then
        echo "   not checked: $tool is not installed"
    else
        echo "   $tool is not installed"
        return 1
    fi
}

settings_for() {
    printf 'board = "%s"\n[uplink]\ninterfaces = ["eth1", "wlan0"]\n[cluster]\ninterface = "eth0"\n' "$1"
}

every_board() {
    local board name bad=0
    for board in boards/*.toml; do
        [ -e "$board" ] || { echo "   no boards"; return 1; }
        name=$(basename "$board" .toml)
        settings_for "$name" >"$work/$name.toml"
        "$program" check -c "$work/$name.toml" >"$work/out" 2>&1 || { bad=1; echo "   $board:"; sed 's/^/   /' "$work/out"; }
    done
    return $bad
}

shipped_settings() {
    local file bad=0
    while IFS= read -r file; do
        "$program" check -c "$file" >"$work/out" 2>&1 || { bad=1; echo "   $file:"; sed 's/^/   /' "$work/out"; }
    done < <(find docs packaging -name '*.toml' 2>/dev/null)
    return $bad
}

printed_ruleset() {
    settings_for emulated >"$work/ruleset.toml"
    "$program" print ruleset -c "$work/ruleset.toml" >"$work/ruleset.nft" || return 1
    [ -s "$work/ruleset.nft" ] || { echo "   it is empty"; return 1; }
    # Root needs no user namespace, and may not make one in a chroot.
    local own=-rn
    [ "$(id -u)" != 0 ] || own=-n
    unshare $own nft -c -f - <"$work/ruleset.nft"
}

printed_dnsmasq() {
    { settings_for emulated; printf '[cluster.dhcp]\n[cluster.netboot]\n'; } >"$work/dnsmasq.toml"
    "$program" print dnsmasq -c "$work/dnsmasq.toml" >"$work/dnsmasq.conf" || return 1
    [ -s "$work/dnsmasq.conf" ] || { echo "   it is empty"; return 1; }
    dnsmasq --test -C "$work/dnsmasq.conf"
}

# The unit as it is installed, in a root of its own, so that every path it names is there.
units() {
    local root=$work/root out target
    scripts/install.sh install "$program" "$root" /usr /usr/lib >/dev/null || return 1
    install -D "$(type -P sh)" "$root/bin/sh"
    # What units depend on by default.
    for target in sysinit basic paths shutdown; do echo "[Unit]" >"$root/usr/lib/systemd/system/$target.target"; done
    out=$(systemd-analyze verify --man=no --root="$root" "$root"/usr/lib/systemd/system/bramblegate* 2>&1 |
        grep -F bramblegate)
    [ -z "$out" ] || { printf "%s\n" "$out"; return 1; }
    exposed_at_most 2.2 bramblegate.service && exposed_at_most 2.0 bramblegate-setup.service &&
        exposed_at_most 2.0 bramblegate-poweroff.service && exposed_at_most 1.5 bramblegate-web.service &&
        exposed_at_most 1.5 bramblegate-share.service && exposed_at_most 1.5 bramblegate-snmp.service && exposed_at_most 1.8 bramblegate-clat.service
}

# usage: exposed_at_most SCORE UNIT
exposed_at_most() {
    local score
    score=$(systemd-analyze security --offline=true --no-pager "systemd/$2" | sed -n 's/.*exposure level.*: \([0-9.]*\) .*/\1/p')
    echo "   exposure of $2 ${score:-unknown}, at most $1"
    [ -n "$score" ] && awk -v s="$score" -v most="$1" 'BEGIN { exit !(s <= most) }'
}

# The BPF object that is checked in is made of its source. The same compiler makes the same instructions, octet by octet; another
# release of clang makes others of the same source. Then programs, maps and licence are compared here, and
# `BRAMBLEGATE_CLAT_OBJECT=FILE make clat-test` compares what the new object does.
bpf_object() {
    local kept=crates/clat/bpf/clat.bpf.o new=$work/clat.bpf.o section
    crates/clat/bpf/build.sh "$new" || return 1
    made_by() { llvm-objcopy -O binary --only-section=compiler "$1" - 2>/dev/null | tr -d '\0'; }
    # Symbols with their sections, without places and sizes of code.
    symbols() { llvm-readelf --symbols --wide "$1" | awk '($4 == "FUNC" || $4 == "OBJECT") && $8 != "COMPILER" { print $4, $5, $8, $4 == "OBJECT" ? $3 : "" }' | sort; }
    sections() { llvm-readelf --sections --wide "$1" | grep -o ' classifier/[a-z]*'; }
    [ -n "$(made_by "$kept")" ] || { echo "   $kept names no compiler"; return 1; }
    if [ "$(made_by "$kept")" = "$(made_by "$new")" ]; then
        for section in classifier/outward classifier/inward classifier/returned maps license; do
            cmp <(llvm-objcopy -O binary --only-section="$section" "$kept" - 2>/dev/null) \
                <(llvm-objcopy -O binary --only-section="$section" "$new" - 2>/dev/null) ||
                { echo "   $section differs: run crates/clat/bpf/build.sh"; return 1; }
        done
        return 0
    fi
    echo "   another compiler than that of the object: programs, maps and licence are compared, not instructions"
    diff <(symbols "$kept") <(symbols "$new") && diff <(sections "$kept") <(sections "$new") || return 1
    for section in maps license; do
        cmp <(llvm-objcopy -O binary --only-section="$section" "$kept" - 2>/dev/null) \
            <(llvm-objcopy -O binary --only-section="$section" "$new" - 2>/dev/null) || return 1
    done
}

udev_rules() {
    # udevadm verify came with systemd 254.
    if udevadm verify --help >/dev/null 2>&1; then
        udevadm verify --no-summary --resolve-names=never udev/*.rules
    else
        ! grep -n 'MODE="[0-7]*[2367]"' udev/*.rules
    fi
}

manual_pages() {
    local page
    for page in docs/man/*.[1-8]; do
        [ -e "$page" ] || { echo "   no pages"; return 1; }
        mandoc -T lint -W warning "$page" || return 1
        # Without a name line that it understands `whatis` and `apropos` do not know the page.
        lexgrog -m "$page" >/dev/null || { echo "   $page: lexgrog finds no name"; return 1; }
    done
}

scripts_check() {
    find scripts packaging tests .ci systemd crates/clat/bpf -type f -exec awk 'FNR == 1 && /^#!.*sh|^# shellcheck shell/ { printf "%s%c", FILENAME, 0 } { nextfile }' {} + |
        xargs -0 shellcheck -x
}

# The steps of the system test are sourced together: a second function of the same name would take the place of the first.
guest_functions() {
    local twice
    twice=$(grep -hoE '^[a-z0-9_]+\(\)' tests/system/guest/lib.sh tests/system/guest/steps/*.sh | sort | uniq -d)
    [ -z "$twice" ] || { echo "   defined twice: $twice"; return 1; }
}

# Rust 1.85 (Debian 13) has no chains of `let`, and clippy does not know that; `make deb-test` compiles with it.
oldest_rust() {
    local chains
    chains=$(find crates src tests benches -name '*.rs' -exec awk '
        FNR == 1 { open = 0 }
        /&& let / || (open && /^ *&& /) { printf "%s:%d:%s\n", FILENAME, FNR, $0 }
        { open = /^ *(\} else )?(if|while) let [^{]*$/ || (open && !/\{$/) }' {} +)
    [ -z "$chains" ] || { printf '   a chain of let, which Rust 1.85 does not know:\n%s\n' "$chains"; return 1; }
}

# The documentation as a book: private items too, for readers of the source.
book() {
    RUSTDOCFLAGS="-D warnings" "$cargo" doc --quiet --locked --workspace --no-deps --document-private-items
}

check "format" "$cargo" fmt --all --check
check "clippy" "$cargo" clippy --locked --workspace --all-targets -- -D warnings
check "clippy of the tests with targets of their own" "$cargo" clippy --locked --workspace --test clients --test snmp --test observability --test browser --test mpi --test tayga -- -D warnings
check "build" "$cargo" build --locked --workspace
check "documentation" book
check "boards pass bramblegate check" every_board
check "shipped settings pass bramblegate check" shipped_settings
check "the printed rule set passes nft -c" with nft printed_ruleset
check "the printed settings pass dnsmasq --test" with dnsmasq printed_dnsmasq
check "systemd unit" with systemd-analyze units
check "the BPF object is that of its source" with clang with llvm-objcopy bpf_object
check "udev rules" udev_rules
check "manual pages" with mandoc with lexgrog manual_pages
check "no syntax that Rust 1.85 lacks" oldest_rust
check "shell scripts" with shellcheck scripts_check
check "functions of the system test have names of their own" guest_functions
if command -v cargo-deny >/dev/null; then check "licences and advisories" "$cargo" deny check; fi

if [ ${#failed[@]} -gt 0 ]; then
    printf 'lint: %s failed:\n' "${#failed[@]}"
    printf '  %s\n' "${failed[@]}"
    exit 1
fi
echo "lint: all good"
