#!/bin/bash
# run.sh: the program for arm64 on an emulated Raspberry Pi 3 (`make pi-test`): QEMU's raspi3b, Debian's kernel with its driver of the
# board's own I2C controller, an initramfs of ours. What passes the bus is traced by QEMU, decoded into what the LCD shows, and
# compared with what the gateway claims. Prints the way from power to the address on the glass, share by share. Ends with 0 if all
# is as it should be, 1 if something is not, 2 if the machine did not get to the end.
#
#   BRAMBLEGATE_BINARY=FILE   this program for arm64 in place of building it
#   ANOTHER=FILE              another build, started in turn with it: which one shows its first text sooner?
#   ANOTHER_MODULES=FILE      what is loaded before that build's unit, if it is another list
#   RATIO=0.5                 this build's first text has to come within that fraction of the other's time
#   LIMIT=240                 seconds after which the host gives up
#   KEEP=DIR                  keep console and trace there
set -euo pipefail
cd "$(dirname "$0")/../../.."

here=tests/system/pi
cache=${XDG_CACHE_HOME:-$HOME/.cache}/bramblegate-pi-test
cargo=${CARGO:-cargo}
target=${CARGO_TARGET_DIR:-target}
triple=aarch64-unknown-linux-gnu
# shellcheck source=tests/system/kernel.sh
. tests/system/kernel.sh

work=$(mktemp -d)
machine=
cleanup() {
    if [ -n "$machine" ]; then
        kill -KILL "$machine" 2>/dev/null || true
        wait "$machine" 2>/dev/null || true
    fi
    if [ -n "${KEEP:-}" ]; then
        mkdir -p "$KEEP"
        cp "$work"/*.log "$KEEP/" || true
    fi
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

"$here/image.sh" "$cache"
echo "pi-test: building for arm64 ($SECONDS s)"
program=${BRAMBLEGATE_BINARY:-}
if [ -z "$program" ]; then
    packaging/cross.sh arm64 "$triple"
    program=target/deb/build/$triple/release/bramblegate
fi
"$cargo" build --locked --example bustrace

root=$work/root
cp -a "$cache/root" "$root"
mkdir -p "$root"/{usr/bin,lib,etc/bramblegate,etc/modules-load.d}

# usage: add PROGRAM NAME: a program for arm64, to /usr/bin, and the libraries that it needs
add() {
    readelf -h "$1" | grep -q 'Machine: *AArch64' || { echo "pi-test: $1 is not a program for arm64" >&2; exit 2; }
    install -m 755 "$1" "$root/usr/bin/$2"
    add_libraries "$1"
}
add_libraries() {
    local library
    for library in $(readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]$/\1/p') ld-linux-aarch64.so.1; do
        [ ! -e "$root/lib/$library" ] || continue
        cp "$cache/libraries/$library" "$root/lib/$library" || { echo "pi-test: $1 needs $library" >&2; exit 2; }
        add_libraries "$root/lib/$library"
    done
}
add "$program" bramblegate
if [ -n "${ANOTHER:-}" ]; then
    add "$ANOTHER" another
    install -m 644 "${ANOTHER_MODULES:-systemd/bramblegate.modules-load}" "$root/etc/modules-load.d/another.conf"
fi
add_libraries "$root/usr/sbin/dnsmasq"
install -m 755 "$here/init" "$root/init"
install -m 755 "$here/port" "$here/lease" "$root/etc/"
install -m 755 tests/system/guest/udhcpc.sh "$root/etc/udhcpc.sh"
install -m 644 "$here/mdev.conf" "$root/etc/mdev.conf"
install -m 644 "$here/settings.toml" "$root/etc/bramblegate/bramblegate.toml"
install -m 644 systemd/bramblegate.modules-load "$root/etc/modules-load.d/bramblegate.conf"
printf 'root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n' >"$root/etc/passwd"
printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
pack_first_stage "$root" >"$work/initrd"

# QEMU runs in a root of its own, or it would load modules of another QEMU that is installed here; and in a network of its own: the
# guest's DHCP server is QEMU's.
cp "$cache/vmlinuz" "$cache/board.dtb" "$work/"
own=(--net --mount)
[ "$(id -u)" = 0 ] || own+=(--map-root-user)
qemu() {
    # shellcheck disable=SC2016  # for the inner shell
    exec unshare "${own[@]}" bash -euc 'mount --bind "$1" "$2/mnt"; exec chroot "$2" qemu-system-aarch64 "${@:3}"' qemu "$work" "$cache/qemu" "$@"
}
(qemu --version) | head -n 1

# An EEPROM of one octet takes each byte and reads back the last one, as the expander's outputs do: Debian's QEMU has no PCF8574.
expander=at24c-eeprom,bus=i2c-bus.1,address=0x27,rom-size=1
echo "pi-test: booting ($SECONDS s)"
console=$work/console.log
: >"$console"
# An instruction takes 2 ns on the guest's clock, and the four cores take turns: what is measured hardly depends on the load of this machine.
qemu -M raspi3b -accel tcg,thread=single -icount shift=1 -display none -monitor none -no-reboot \
    -kernel /mnt/vmlinuz -dtb /mnt/board.dtb -initrd /mnt/initrd \
    -append "console=ttyAMA0 quiet loglevel=3 panic=-1 net.ifnames=0" \
    -device "$expander" \
    -netdev hubport,id=cluster,hubid=0 -device usb-net,netdev=cluster,mac=b8:27:eb:00:00:01 \
    -netdev user,id=uplink,ipv6=off -device usb-net,netdev=uplink,mac=b8:27:eb:00:00:02 \
    -trace i2c_event -trace i2c_send -trace i2c_recv -D /mnt/trace.log \
    -serial "file:/mnt/console.log" </dev/null >"$work/qemu.log" 2>&1 &
machine=$!

deadline=$((SECONDS + ${LIMIT:-240}))
until tr -d '\r' <"$console" | grep -q '^=== end$'; do
    over=
    kill -0 "$machine" 2>/dev/null || over="the machine stopped by itself"
    [ $SECONDS -lt $deadline ] || over="no end within ${LIMIT:-240} s"
    if [ -n "$over" ]; then
        echo "pi-test: FAIL: $over. The end of the console, and what QEMU printed:"
        tail -n 30 "$console" | cut -c1-200
        cat "$work/qemu.log"
        exit 2
    fi
    sleep 0.5
done

verdict=0
# What the kernel prints in between may be in the middle of a line.
sed -i 's/\r//g' "$console"
"$target/debug/examples/bustrace" "$work/trace.log" "$console" ${RATIO:+"$RATIO"} || verdict=$?
if [ "$verdict" != 0 ]; then grep -v '^===' "$console" | sed 's/^/   | /' | tail -n 80; fi
echo "pi-test: $SECONDS s"
(exit "$verdict")
