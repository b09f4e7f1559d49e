#!/bin/bash
# run.sh [PART...] [STEP...]: the installed program on whole emulated machines (`make system-test`). Boots the guests of image.sh with
# a second disk that holds the packages, the installation, the USB simulation and the scenarios, and reads the verdicts from a
# serial line. Ends with 0 if every step passed, 1 if one failed, 2 if a machine did not get to the end.
#
#   packages     the packages in Debian 13: first start, setup, each service, upgrade, removal, purge
#   packages-12  the same in Debian 12
#   stranger     README and the guide, typed on a head (Debian 13), with a node that is a machine too: from the package to SAFE TO UNPLUG
#   cuts         power cuts at random moments in Debian 13: the machine is killed while it writes, and booted again
#   firewalls    Debian 13 with Docker, firewalld, ufw and nftables.service beside the gateway, and the flow table in use
#   managers     Debian 13 with NetworkManager behind netplan and cloud-init, as Raspberry Pi OS has it, and with networkd behind netplan
#                (only if it is named)
#   image        what packaging/ has for pi-gen, rpi-image-gen and Ansible; the images are booted (only if it is named)
#   machine      everything else; what STEP... without a part picks from
#
#   MANAGERS=networkd         of the part managers only this run
#   BRAMBLEGATE_BINARY=FILE   test this binary instead of building the release
#   CUTS=5                    power cuts
#   ACCEL=kvm                 software emulation is the default: KVM inside a virtual machine may hang
#   LANES=2                   parts that are played at once, if there are as many; 1 where the machine has one processor
#   CPUS=1  LIMIT=2400        the guests' CPUs, 2 with a single lane; seconds after which the host gives up
#   KEEP=DIR                  keep the logs there
set -euo pipefail
cd "$(dirname "$0")/../.."

cache=${XDG_CACHE_HOME:-$HOME/.cache}/bramblegate-system-test
cargo=${CARGO:-cargo}
target=${CARGO_TARGET_DIR:-target}
deadline=$((SECONDS + ${LIMIT:-2400}))

parts=()
steps=()
for word in "$@"; do
    case $word in
    packages | packages-12 | stranger | cuts | firewalls | managers | image | machine) parts+=("$word") ;;
    *) steps+=("$word") ;;
    esac
done
if [ ${#parts[@]} = 0 ]; then
    parts=(machine)
    [ ${#steps[@]} -gt 0 ] || parts=(packages packages-12 stranger cuts firewalls machine)
fi
wanted() { [ ${#steps[@]} = 0 ] || [[ " ${steps[*]} " == *" $1 "* ]]; }

work=$(mktemp -d)
machine=
machines=()
# Each line of it has how many steps passed and how many failed.
verdicts=$work/verdicts
verdict() { echo "$1 $2" >>"$verdicts"; }
# At once, as when the plug is pulled.
stop_machines() {
    for machine in "${machines[@]}"; do
        kill -KILL "$machine" 2>/dev/null || true
        wait "$machine" 2>/dev/null || true
    done
    machine=""
    machines=()
}
cleanup() {
    local player
    # Those that play parts stop their machines.
    for player in "$work"/*.player; do
        [ ! -e "$player" ] || kill -TERM "$(cat "$player")" 2>/dev/null || true
    done
    wait
    if [ -n "${KEEP:-}" ]; then mkdir -p "$KEEP"; cp "$work"/*.log "$KEEP/" || true; fi
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# usage: release_of PART: the release of its guest, and where a flavour of it is kept
release_of() {
    case $1 in
    packages-12) echo bookworm ;;
    firewalls) echo trixie-firewalls ;;
    managers | image) echo trixie-managers ;;
    *) echo trixie ;;
    esac
}
for part in "${parts[@]}"; do
    release=$(release_of "$part")
    IFS=- read -r name flavour <<<"$release"
    tests/system/image.sh "$cache/$release" "$name" "$flavour"
done

echo "system-test: building"
binary=${BRAMBLEGATE_BINARY:-}
if [ -z "$binary" ]; then
    "$cargo" build --locked --release --workspace
    binary=$target/release/bramblegate
fi
"$cargo" build --locked --example usbsim

# The packages, and the same ones again as a later version: only their heads differ.
mkdir -p "$work/disk/debs" "$work/disk/later"
if [ "${parts[*]}" != machine ]; then
    BUILT=$(dirname "$binary") OUT=$work/disk/debs packaging/deb.sh >/dev/null
    for deb in "$work"/disk/debs/*.deb; do
        dpkg-deb -R "$deb" "$work/deb"
        sed -i '/^Version: /s/$/+later/' "$work/deb/DEBIAN/control"
        dpkg-deb --root-owner-group -Zgzip -z1 -b "$work/deb" "$work/disk/later" >/dev/null
        rm -rf "$work/deb"
    done
fi

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
printf '%s\n' "${steps[@]}" >"$work/disk/steps"
tar -C "$work/disk" --owner=0 --group=0 -cf "$work/disk.tar" .
truncate -s %1M "$work/disk.tar"

case ${ACCEL:-tcg} in
kvm) accel=(-accel kvm -cpu host) ;;
*) accel=(-accel "tcg,thread=multi" -cpu max) ;;
esac

# usage: boot SCENARIO RELEASE NAME DISK [OPTION...]: a machine, with its file system on DISK, which may end in options of -drive, and
# further options of QEMU. What it prints is in $result from now on. What the guest has had written is in the file when QEMU is killed;
# that the host has it on its own disk (cache=unsafe: no fsync) matters to nothing here.
# The kernel's check of the timer (no_timer_check) counts ticks, which a busy host delays: it would panic.
boot() {
    local scenario=$1 release=$2 name=$3 disk=$4
    shift 4
    result=$work/$name.log console=$work/$name.console.log shown=0
    : >"$result"
    nice qemu-system-x86_64 -M q35 "${accel[@]}" -smp "$cpus" -m 1024 -nodefaults -display none \
        -kernel "$cache/$release/vmlinuz" -initrd "$cache/$release/initrd" \
        -append "console=ttyS0 quiet no_timer_check systemd.show_status=0 net.ifnames=0 panic=0 system-test=$scenario" \
        -drive "if=none,id=root,format=raw,cache=unsafe,file=$disk" -device virtio-blk-pci,drive=root \
        -drive "file=$work/disk.tar,if=none,id=disk,format=raw,readonly=on" -device virtio-blk-pci,drive=disk \
        -serial "file:$console" -serial "file:$result" "$@" >"$work/$name.qemu.log" 2>&1 &
    machine=$!
    machines+=("$machine")
}

show() {
    local lines
    lines=$(wc -l <"$result")
    [ "$lines" -gt "$shown" ] || return 0
    sed -n "$((shown + 1)),${lines}p" "$result" | tr -d '\r' | grep -v -e '^=== ' -e '^|' || true
    shown=$lines
}

# usage: follow MARKER: shows the verdicts as they come, until there is a line that begins with the marker
follow() {
    local over=
    while ! grep -q "^=== $1" "$result"; do
        if ! kill -0 "$machine" 2>/dev/null; then over="the machine stopped by itself"; fi
        if [ $SECONDS -ge "$deadline" ]; then over="no end within ${LIMIT:-2400} s"; fi
        show
        if [ -n "$over" ]; then
            echo "system-test: FAIL: $over. The end of the console:"
            tail -n 30 "$console" || true
            cat "$work"/*.qemu.log
            exit 2
        fi
        sleep 0.5
    done
    show
}

# usage: count; adds the scenario's verdicts
count() {
    tr -d '\r' <"$result" | sed -n 's/^=== END \([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' >>"$verdicts"
}

# usage: play_packages PART
play_packages() {
    local release
    release=$(release_of "$1")
    echo "system-test: the packages in Debian $release"
    boot packages "$release" "$1" "$cache/$release/root.ext4,snapshot=on"
    follow END
    count
    stop_machines
}

# What was measured.
figures() { tr -d '\r' <"$result" | sed -n 's/^=== said: figure: /      /p'; }

# In between there is a reboot.
play_firewalls() {
    echo "system-test: beside other firewalls"
    boot firewalls trixie-firewalls firewalls "$cache/trixie-firewalls/root.ext4,snapshot=on"
    follow END
    count
    stop_machines
    figures
}

# The machine is killed at some moment while its disk is written to, and has to be whole after the next boot. The first boot installs.
play_cuts() {
    local number moment
    cp --sparse=always "$cache/trixie/root.ext4" "$work/cuts.ext4"
    for number in $(seq 0 "${CUTS:-5}"); do
        boot cuts trixie "cuts-$number" "$work/cuts.ext4"
        follow END
        count
        moment=$((RANDOM % 15000))
        if [ "$number" -lt "${CUTS:-5}" ]; then
            sleep "$(printf '%d.%03d' $((moment / 1000)) $((moment % 1000)))"
            stop_machines
            echo "system-test: power cut $((number + 1)), $moment ms after it began to write: $(tr -d '\r' <"$result" | sed -n 's/^=== writing: //p' | tail -n 1)"
        fi
        stop_machines
    done
    rm -f "$work/cuts.ext4"
}

# usage: plugged_in NAME PEER MAC: options for a network interface, and the cable from it to that of another machine
plugged_in() {
    cable=(-netdev "dgram,id=cluster,local.type=unix,local.path=$work/$1.cable,remote.type=unix,remote.path=$work/$2.cable"
        -device "virtio-net-pci,netdev=cluster,mac=$3,romfile=")
}

# usage: unmounted IMAGE: the file system was unmounted when its machine ended
unmounted() { dumpe2fs -h "$1" 2>/dev/null | grep -E '^Filesystem (state|features):' | tr '\n' ' ' | grep -v needs_recovery; }

# usage: play_stranger: the node is on first. At the end both machines have ended by themselves.
play_stranger() {
    local node head node_result cable early=""
    echo "system-test: a stranger with two machines"
    cp --sparse=always "$cache/trixie/root.ext4" "$work/stranger.ext4"
    truncate -s 64M "$work/shared.ext4"
    mke2fs -q -t ext4 "$work/shared.ext4"
    plugged_in node head b8:27:eb:00:00:01
    boot node trixie stranger-node "$cache/trixie/root.ext4,snapshot=on" "${cable[@]}"
    node=$machine node_result=$result
    plugged_in head node 52:54:00:00:00:01
    boot stranger trixie stranger "$work/stranger.ext4" "${cable[@]}" \
        -drive "file=$work/shared.ext4,if=none,id=shared,format=raw,cache=unsafe" -device virtio-blk-pci,drive=shared
    head=$machine
    follow END
    count
    for _ in $(seq 1500); do
        if [ -z "$early" ] && grep -q '^|SAFE TO UNPLUG' "$result" && kill -0 "$node" 2>/dev/null; then early=yes; fi
        if ! kill -0 "$head" 2>/dev/null; then break; fi
        sleep 0.1
    done
    host_step "SAFE TO UNPLUG is the last text on the glass" '^|SAFE TO UNPLUG' "$(tr -d '\r' <"$result" | grep '^|' | tail -n 1)"
    if kill -0 "$node" 2>/dev/null || [ -n "$early" ]; then early=on; else early=off; fi
    host_step "the node was off before that" off "$early"
    if kill -0 "$head" 2>/dev/null; then early=on; else early=off; fi
    host_step "the head is off" off "$early"
    stop_machines
    host_step "its own file system was unmounted" "state: *clean" "$(unmounted "$work/stranger.ext4")"
    host_step "and the shared disk" "state: *clean" "$(unmounted "$work/shared.ext4")"
    host_step "with the node's file on it" "from rpi1" "$(debugfs -R 'cat /common/note' "$work/shared.ext4" 2>/dev/null)"
    tr -d '\r' <"$result" | sed -n 's/^=== said: \(from Enter to the address.*\)/      \1/p'
    result=$node_result shown=0
    if grep -q '^=== END' "$result"; then
        show
        count
    else
        show
        verdict 0 1
        echo "FAIL  the node did not get to its end"
    fi
}

# usage: two_cables: options for four network cards, two of which are the far ends of the others' cables (guest/world.sh)
two_cables() {
    local mac number=0
    cables=()
    for mac in 00:01 00:02 00:f1 00:f2; do
        cables+=(-netdev "hubport,id=card$number,hubid=$((number % 2))"
            -device "virtio-net-pci,netdev=card$number,mac=52:54:00:00:$mac,romfile=")
        number=$((number + 1))
    done
}

# Three boots each.
play_managers() {
    local manager cables root=$cache/trixie-managers/root.ext4
    two_cables
    for manager in ${MANAGERS:-NetworkManager networkd}; do
        echo "system-test: $manager"
        boot "managers manager=$manager" trixie-managers "managers-$manager" "$root,snapshot=on" "${cables[@]}"
        follow END
        count
        stop_machines
    done
}

# The first machine makes two images, which are booted then.
play_image() {
    local image cables root=$cache/trixie-managers/root.ext4
    local disks=()
    two_cables
    for image in pi-gen rpi-image-gen; do
        cp --sparse=always "$root" "$work/$image.ext4"
        disks+=(-drive "file=$work/$image.ext4,if=none,id=$image,format=raw,cache=unsafe" -device "virtio-blk-pci,drive=$image")
    done
    boot images trixie-managers image "$root,snapshot=on" "${cables[@]}" "${disks[@]}"
    follow END
    count
    stop_machines
    for image in pi-gen rpi-image-gen; do
        echo "system-test: the image of $image"
        boot head trixie-managers "image-$image" "$work/$image.ext4" "${cables[@]}"
        follow END
        count
        stop_machines
        rm -f "$work/$image.ext4"
    done
}

# pictures FROM TO: what the LCD showed between two markers
pictures() { tr -d '\r' <"$result" | sed -n "/^=== $1/,/^=== $2/p" | grep '^|' || true; }
host_step() {
    if grep -q "$2" <<<"$3"; then
        verdict 1 0
        echo "PASS  $1"
    else
        verdict 0 1
        printf 'FAIL  %s; there was:\n%s\n' "$1" "$(tail -n 5 <<<"$3")"
    fi
}

# In between there is a reboot, and the scenario ends with a power-off. The simulated LCD lives to the last moment and writes what it
# shows on the same line.
play_machine() {
    boot machine trixie result "$cache/trixie/root.ext4,snapshot=on"
    follow END
    count
    for _ in $(seq 300); do
        if ! wanted power_off || ! kill -0 "$machine" 2>/dev/null; then break; fi
        sleep 0.5
    done
    stop_machines
    figures
    if wanted reboot; then
        host_step "at the reboot the panel says RESTARTING" '^|RESTARTING' "$(pictures REBOOT BEGIN)"
    fi
    if wanted power_off; then
        host_step "at power-off the panel says SHUTTING DOWN" '^|SHUTTING DOWN' "$(pictures POWEROFF NEVER)"
        host_step "and SAFE TO UNPLUG when the file systems are unmounted" '^|SAFE TO UNPLUG' "$(pictures POWEROFF NEVER)"
    fi
}

# Plays the parts that no other lane has taken, one after the other. What each prints begins with its name.
lane() {
    local part
    for part in "${parts[@]}"; do
        mkdir "$work/$part.taken" 2>/dev/null || continue
        (
            echo "$BASHPID" >"$work/$part.player"
            trap 'stop_machines; rm -f "$work/$part.player"' EXIT
            trap 'exit 130' INT TERM
            case $part in
            packages*) play_packages "$part" ;;
            stranger) play_stranger ;;
            cuts) play_cuts ;;
            firewalls) play_firewalls ;;
            managers) play_managers ;;
            image) play_image ;;
            machine) play_machine ;;
            esac
        ) 2>&1 | sed -u "s/^/$part: /"
    done
}

# The longest part first: so the lanes end at about the same time.
mapfile -t parts < <(printf '%s\n' managers machine firewalls image packages-12 packages stranger cuts | grep -xF -f <(printf '%s\n' "${parts[@]}"))
lanes=${LANES:-2}
[ "$lanes" -le ${#parts[@]} ] || lanes=${#parts[@]}
[ "$(nproc)" -gt 1 ] || lanes=1
cpus=${CPUS:-$((lanes > 1 ? 1 : 2))}
echo "system-test: booting (software emulation takes its time; a scenario starts after about half a minute)"
code=0
: >"$verdicts"
running=()
for ((number = 0; number < lanes; number++)); do
    lane &
    running+=($!)
done
for player in "${running[@]}"; do wait "$player" || code=$?; done
read -r passed failed < <(awk '{ passed += $1; failed += $2 } END { print passed + 0, failed + 0 }' "$verdicts")
echo "system-test: $passed passed, $failed failed, $SECONDS s"
[ "$code" = 0 ] || exit "$code"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
