#!/bin/bash
# run.sh [STEP...]: the installed program on a whole emulated machine (`make system-test`). Boots the guest of image.sh with
# a second disk that holds the installation, the USB simulation and the scenario, and reads the verdicts from a serial line.
# Ends with 0 if every step passed, 1 if one failed, 2 if the machine did not get to the end.
#
#   BRAMBLEGATE_BINARY=FILE   test this binary instead of building the release
#   ACCEL=kvm                 software emulation is the default: KVM inside a virtual machine may hang
#   CPUS=2  LIMIT=2400        the guest's CPUs; seconds after which the host gives up
#   KEEP=DIR                  keep the logs there
set -euo pipefail
cd "$(dirname "$0")/../.."

cache=${XDG_CACHE_HOME:-$HOME/.cache}/bramblegate-system-test
cargo=${CARGO:-cargo}
limit=${LIMIT:-2400}
target=${CARGO_TARGET_DIR:-target}

work=$(mktemp -d)
machine=
cleanup() {
    if [ -n "$machine" ]; then kill "$machine" 2>/dev/null || true; fi
    if [ -n "${KEEP:-}" ]; then mkdir -p "$KEEP"; cp "$work"/*.log "$KEEP/" || true; fi
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

tests/system/image.sh "$cache"

echo "system-test: building"
binary=${BRAMBLEGATE_BINARY:-}
if [ -z "$binary" ]; then
    "$cargo" build --locked --release --workspace
    binary=$target/release/bramblegate
fi
"$cargo" build --locked --example usbsim

# The tree without sources: the guest runs the real installer on it.
mkdir -p "$work/disk/tree"
cp -r scripts packaging systemd udev boards docs ./*.md LICENSE-* "$work/disk/tree"
cp "$binary" "$work/disk/tree/bramblegate"
# Beside it lies the demo's program, as in an installation.
cp "$(dirname "$binary")/bramblegate-lab" "$work/disk/tree/bramblegate-lab"
install -D "$target/debug/examples/usbsim" "$work/disk/bin/usbsim"
strip "$work/disk/bin/usbsim" 2>/dev/null || true
cp -r tests/system/guest "$work/disk/guest"
# A disk to share: the guest has no mke2fs.
truncate -s 24M "$work/disk/stick"
mke2fs -q -t ext4 "$work/disk/stick"
printf '%s\n' "$@" >"$work/disk/steps"
tar -C "$work/disk" --owner=0 --group=0 -cf "$work/disk.tar" .
truncate -s %1M "$work/disk.tar"

case ${ACCEL:-tcg} in
kvm) accel=(-accel kvm -cpu host) ;;
*) accel=(-accel "tcg,thread=multi" -cpu max) ;;
esac

echo "system-test: booting (software emulation takes its time; the scenario starts after about half a minute)"
nice qemu-system-x86_64 -M q35 "${accel[@]}" -smp "${CPUS:-2}" -m 1024 -nodefaults -display none \
    -kernel "$cache/vmlinuz" -initrd "$cache/initrd" \
    -append "console=ttyS0 quiet systemd.show_status=0 net.ifnames=0 panic=0" \
    -drive "file=$cache/root.ext4,if=none,id=root,format=raw,snapshot=on" -device virtio-blk-pci,drive=root \
    -drive "file=$work/disk.tar,if=none,id=disk,format=raw,readonly=on" -device virtio-blk-pci,drive=disk \
    -serial "file:$work/console.log" -serial "file:$work/result.log" >"$work/qemu.log" 2>&1 &
machine=$!

# Show the verdicts as they come, until the scenario says that it is over, the machine dies or the time is up.
shown=0
over=
deadline=$((SECONDS + limit))
touch "$work/result.log"
while [ -z "$over" ]; do
    if ! kill -0 "$machine" 2>/dev/null; then over="the machine stopped by itself"; fi
    if [ $SECONDS -ge $deadline ]; then over="no end within $limit s"; fi
    lines=$(wc -l <"$work/result.log")
    if [ "$lines" -gt "$shown" ]; then
        sed -n "$((shown + 1)),${lines}p" "$work/result.log" | tr -d '\r' | grep -v -e '^=== ' -e '^|' || true
        shown=$lines
    fi
    if grep -q '^=== END' "$work/result.log"; then over=yes; fi
    [ -n "$over" ] || sleep 0.5
done

if [ "$over" != yes ]; then
    echo "system-test: FAIL: $over. The end of the console:"
    tail -n 30 "$work/console.log" || true
    cat "$work/qemu.log"
    exit 2
fi
# In between there is a reboot, and the scenario ends with a power-off. The simulated LCD lives to the last moment and writes what it shows on the same line.
powers_off=
if [[ $# = 0 || " $* " == *" power_off "* ]]; then powers_off=yes; fi
for _ in $(seq 300); do
    if [ -z "$powers_off" ] || ! kill -0 "$machine" 2>/dev/null; then break; fi
    sleep 0.5
done
# pictures FROM TO: what the LCD showed between two markers
pictures() { tr -d '\r' <"$work/result.log" | sed -n "/^=== $1/,/^=== $2/p" | grep '^|' || true; }
verdict=$(tr -d '\r' <"$work/result.log" | sed -n 's/^=== END \([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p')
read -r passed failed <<<"$verdict"
host_step() {
    if grep -q "$2" <<<"$3"; then
        passed=$((passed + 1))
        echo "PASS  $1"
    else
        failed=$((failed + 1))
        printf 'FAIL  %s; the LCD showed:\n%s\n' "$1" "$(tail -n 5 <<<"$3")"
    fi
}
if [[ $# = 0 || " $* " == *" reboot "* ]]; then
    host_step "at the reboot the panel says RESTARTING" '^|RESTARTING' "$(pictures REBOOT BEGIN)"
fi
if [ -n "$powers_off" ]; then
    host_step "at power-off the panel says SHUTTING DOWN" '^|SHUTTING DOWN' "$(pictures POWEROFF NEVER)"
    host_step "and SAFE TO UNPLUG when the file systems are unmounted" '^|SAFE TO UNPLUG' "$(pictures POWEROFF NEVER)"
fi
echo "system-test: ${passed:-0} passed, ${failed:-?} failed, $SECONDS s"
[ "${failed:-1}" = 0 ] && [ "${passed:-0}" -gt 0 ]
