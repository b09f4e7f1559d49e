# shellcheck shell=bash
# Shared by the scripts of this folder: fetches pinned public packages into a temporary folder, runs the script's look() in
# namespaces of its own (network, mounts, processes), and judges what it saw. Sourced, never run.
#
# A script sets debs=(NAME=VERSION ...), newer_debs=(NAME=VERSION ...; of Debian 13, run by spawn_newer; with newer_release=forky of Debian 14, and with
# all that they depend on), pips=(NAME==VERSION ...), npms=(NAME@VERSION ...) or crates=(NAME=VERSION ...; then program()
# prints the Rust program that look() runs as "crate-program"), defines look(), and ends with run_finding. Exit: 0 as described, 1 "changed: ...", 2 it could not be run here.

newer_release=trixie
debs=() newer_debs=() pips=() npms=() crates=()
failed=0 spawned=

# Fetches what the script names, then starts it again inside: all processes there end with it, also when it is interrupted.
run_finding() {
    if [[ -n ${FINDING_WORK-} ]]; then
        enter_lab
        look
        ((failed == 0)) && echo "as described"
        exit "$failed"
    fi
    [[ $(id -u) == 0 ]] || give_up "it needs root for its namespaces"
    local work lab=
    work=$(mktemp -d)
    # shellcheck disable=SC2064 # the folder's name is wanted as it is now
    trap "exec 2>/dev/null; [[ -z \$lab ]] || kill -KILL \"\$lab\"; wait; rm -rf '$work'" EXIT
    trap 'exit 130' INT TERM HUP
    fetch "$work"
    FINDING_WORK=$work unshare --net --mount --uts --pid --fork --kill-child --mount-proc \
        timeout --foreground --signal=KILL 150 bash "$0" &
    lab=$!
    local status=0
    wait "$lab" || status=$?
    lab=
    exit "$status"
}

# Ends the script because it cannot be run here. Inside $( ) it ends the next expect.
give_up() {
    echo "not run: $*" >&2
    [[ -z ${FINDING_WORK-} ]] || : >"$FINDING_WORK/given-up"
    exit 2
}

fetch() {
    local work=$1 each
    mkdir "$work/debs" "$work/root" "$work/python" "$work/tmp"
    # All at once is quickest; where that fails, one by one shows which.
    if ((${#debs[@]})) && download "$work" "${debs[@]}" 2>/dev/null; then
        echo "with ${debs[*]}"
    else
        for each in ${debs[@]+"${debs[@]}"}; do
            fetch_deb "$work" "${each%%=*}" "${each#*=}"
        done
    fi
    for each in "$work"/debs/*.deb; do
        [[ ! -e $each ]] || dpkg -x "$each" "$work/root"
    done
    if ((${#newer_debs[@]})); then
        fetch_newer "$work"
    fi
    if ((${#pips[@]})); then
        echo "with ${pips[*]}"
        timeout --foreground 120 python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-cache-dir \
            --no-deps --target "$work/python" "${pips[@]}" || give_up "pip could not install ${pips[*]}"
    fi
    if ((${#npms[@]})); then
        echo "with ${npms[*]}"
        timeout --foreground 120 npm install --silent --no-audit --no-fund --ignore-scripts --cache "$work/npm-cache" --prefix "$work/node" \
            "${npms[@]}" >/dev/null || give_up "npm could not install ${npms[*]}"
    fi
    if ((${#crates[@]})); then
        echo "with ${crates[*]}"
        build_program "$work"
    fi
}

# Makes a root of Debian 13 or 14 from its packages alone, with busybox for the tools of scripts. Its lists are kept apart from the machine's.
fetch_newer() {
    local work=$1 site each found number=13 suites="trixie trixie-updates" pinned=()
    [[ $newer_release == trixie ]] || number=14 suites="forky sid"
    # shellcheck disable=SC2016 # apt's own variable
    site=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | head -n 1)
    [[ -n $site ]] || give_up "apt knows no mirror of Debian (apt-get update?)"
    mkdir -p "$work/newer-debs" "$work/newer/usr/bin" "$work/apt/lists/partial" "$work/apt/cache/archives/partial"
    for each in $suites; do
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $site $each main"
    done >"$work/apt/sources.list"
    apt_newer "$work" apt-get -qq -o APT::Sandbox::User=root update || give_up "no lists of Debian $number from the mirror"
    for each in "${newer_debs[@]}"; do
        found=$(apt_newer "$work" apt-cache madison "${each%%=*}" | awk -v version="${each#*=}" -v upstream="${each#*=}" \
            'BEGIN { sub(/-[^-]*$/, "-", upstream) } $3 == version { same = $3 } index($3, upstream) == 1 { other = $3 }
            END { print same ? same : other }')
        [[ -n $found ]] || give_up "Debian $number on the mirror has no ${each%-*}-* any more"
        pinned+=("${each%%=*}=$found")
        (cd "$work/newer-debs" && apt_newer "$work" apt-get -qq -o APT::Sandbox::User=root download "${each%%=*}=$found") ||
            give_up "could not download ${each%%=*}=$found"
        echo "with ${each%%=*}=$found of Debian $number$([[ $found == "${each#*=}" ]] || echo ": ${each#*=} is not on the mirror")"
    done
    if ((number == 14)); then
        fetch_dependencies "$work" "${pinned[@]}"
    fi
    for each in "$work"/newer-debs/*.deb; do
        dpkg -x "$each" "$work/newer"
    done
    for each in bin sbin lib lib64; do
        [[ -e $work/newer/$each ]] || ln -s "usr/$each" "$work/newer/$each"
    done
    mkdir -p "$work"/newer/{dev,proc,run,tmp,etc,var/lib,usr/sbin}
    for each in sh cat chmod cmp cp date grep ls mkdir mv rm rmdir sed sleep touch; do
        [[ -e $work/newer/usr/bin/$each ]] || ln -s busybox "$work/newer/usr/bin/$each"
    done
}

# fetch_dependencies WORK NAME=VERSION...: what these depend on, in the versions of the day: Debian 14 is no release yet.
fetch_dependencies() {
    : >"$1/apt/status"
    apt_newer "$1" apt-get -qq -y -o APT::Sandbox::User=root -o Dir::State::status="$1/apt/status" --no-install-recommends --download-only \
        install "${@:2}" >/dev/null || give_up "could not download what ${*:2} depend on"
    mv "$1"/apt/cache/archives/*.deb "$1/newer-debs"
    echo "with what they depend on: $(find "$1/newer-debs" -name '*.deb' | wc -l) packages together"
}

# apt_newer WORK PROGRAM ARGUMENT...: apt with the lists of that release alone. A mirror that keeps a day of the past has lists out of date.
apt_newer() {
    timeout --foreground 120 "$2" -o Acquire::Check-Valid-Until=false -o Dir::State::lists="$1/apt/lists" -o Dir::Cache="$1/apt/cache" -o Dir::Etc::sourcelist="$1/apt/sources.list" \
        -o Dir::Etc::sourceparts=/dev/null -o Dir::Etc::preferencesparts=/dev/null -o Acquire::Languages=none "${@:3}"
}

# Builds the script's Rust program with exactly these versions of its crates.
build_program() {
    local work=$1 each
    mkdir -p "$work/crate/src" "$work/root/usr/bin"
    {
        printf '[package]\nname = "crate-program"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n[dependencies]\n'
        for each in "${crates[@]}"; do
            printf '%s = "=%s"\n' "${each%%=*}" "${each#*=}"
        done
    } >"$work/crate/Cargo.toml"
    program >"$work/crate/src/main.rs"
    CARGO_TARGET_DIR=$work/crate/target timeout --foreground 300 cargo build --quiet --manifest-path "$work/crate/Cargo.toml" ||
        give_up "cargo could not build with ${crates[*]}"
    cp "$work/crate/target/debug/crate-program" "$work/root/usr/bin"
}

# download WORK NAME=VERSION...
download() {
    (cd "$1/debs" && timeout --foreground 120 apt-get -qq -o APT::Sandbox::User=root download "${@:2}")
}

# Takes the pinned version; where the mirror has dropped it, another Debian revision of the same upstream version.
fetch_deb() {
    local work=$1 name=$2 version=$3 other
    if download "$work" "$name=$version" 2>/dev/null; then
        echo "with $name=$version"
        return
    fi
    other=$(apt-cache madison "$name" | awk -v upstream="${version%-*}-" 'index($3, upstream) == 1 { print $3; exit }')
    [[ -n $other ]] || give_up "the mirror has neither $name $version nor another ${version%-*}-* (apt-get update?)"
    download "$work" "$name=$other" || give_up "could not download $name=$other"
    echo "with $name=$other: $version is not on the mirror, this is the same upstream version"
}

# Makes the unpacked programs the first ones found, and hides the places where they would write on the machine.
enter_lab() {
    local root=$FINDING_WORK/root
    export PATH=$root/usr/sbin:$root/usr/bin:$root/sbin:$root/bin:$PATH
    LD_LIBRARY_PATH=$(printf '%s:' "$root"/usr/lib/*-linux-gnu "$root"/lib/*-linux-gnu)
    export LD_LIBRARY_PATH PYTHONPATH=$FINDING_WORK/python:$root/usr/lib/python3/dist-packages
    export PYTHONDONTWRITEBYTECODE=1 TMPDIR=$FINDING_WORK/tmp LC_ALL=C.UTF-8
    mount -t tmpfs tmpfs /run
    mount -t tmpfs tmpfs /var/lib
    if [[ -f /etc/resolv.conf ]]; then
        : >"$TMPDIR/resolv.conf"
        mount --bind "$TMPDIR/resolv.conf" /etc/resolv.conf
    fi
    if ((${#newer_debs[@]})); then
        mount -t proc proc "$FINDING_WORK/newer/proc"
        mount --rbind /dev "$FINDING_WORK/newer/dev"
    fi
    cd "$TMPDIR" || give_up "$TMPDIR is gone"
    ip link set lo up
    echo "on Linux $(uname -r)"
}

# Makes network namespaces with these names.
hosts() {
    local name
    for name; do
        ip netns add "$name"
        ip -n "$name" link set lo up
    done
}

# Connects two namespaces: cable NS PORT NS PORT.
cable() {
    ip link add "$2" netns "$1" type veth peer name "$4" netns "$3"
    ip -n "$1" link set "$2" up
    ip -n "$3" link set "$4" up
}

# Succeeds where a port's carrier is as asked: carrier_is NS PORT 0|1.
carrier_is() {
    [[ $(at "$1" cat "/sys/class/net/$2/carrier") == "$3" ]]
}

# Runs a command in a namespace: at NS COMMAND...
at() {
    local name=$1
    shift
    ip netns exec "$name" "$@"
}

# Starts a program in a namespace in the background: spawn NS COMMAND...; its id is then in $spawned.
spawn() {
    ip netns exec "$@" &
    # shellcheck disable=SC2034 # for the script
    spawned=$!
}

# The same with a program of newer_debs, in their root.
spawn_newer() {
    local name=$1
    shift
    ip netns exec "$name" env -u LD_LIBRARY_PATH PATH=/usr/sbin:/usr/bin chroot "$FINDING_WORK/newer" "$@" &
    # shellcheck disable=SC2034 # for the script
    spawned=$!
}

# Starts NetworkManager of newer_debs in a namespace, for one port: spawn_networkmanager NS PORT LINE..., lines for "ipv4" of its profile.
spawn_networkmanager() {
    local root=$FINDING_WORK/newer name=$1 port=$2
    if [[ ! -e $root/etc/bus.conf ]]; then
        mkdir -p "$root"/{sys,run/dbus,var/lib/NetworkManager,var/lib/dbus,etc/NetworkManager/system-connections}
        echo 'root:x:0:0::/root:/bin/sh' >"$root/etc/passwd"
        echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
        echo '<busconfig><type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen><auth>EXTERNAL</auth>
            <policy context="default"><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/></policy></busconfig>' >"$root/etc/bus.conf"
        printf '%s\n' '[main]' dns=none 'no-auto-default=*' plugins=keyfile '[device]' 'match-device=*' managed=1 >"$root/etc/NetworkManager/NetworkManager.conf"
        spawn_newer "$name" dbus-daemon --config-file=/etc/bus.conf --nofork --nopidfile >/dev/null 2>&1
        wait_until test -e "$root/run/dbus/system_bus_socket"
    fi
    local profile=$root/etc/NetworkManager/system-connections/$port.nmconnection
    printf '%s\n' '[connection]' "id=$port" uuid=6f3e3c0e-0000-4000-8000-000000000001 type=ethernet "interface-name=$port" \
        '[ipv4]' method=auto may-fail=true "${@:3}" '[ipv6]' method=auto addr-gen-mode=eui64 >"$profile"
    chmod 600 "$profile"
    # It waits for udev where /sys can be written to.
    # shellcheck disable=SC2016 # for the other shell
    spawn "$name" env -u LD_LIBRARY_PATH PATH=/usr/sbin:/usr/bin \
        sh -c 'mount -t sysfs -o ro sysfs "$0/sys" && exec chroot "$0" NetworkManager -n' "$root" >/dev/null 2>&1
}

# Ends a program in the background, by force if it has not ended after 3 s.
stop() {
    local tries=0
    kill "$1" 2>/dev/null || true
    while kill -0 "$1" 2>/dev/null && ((++tries < 30)); do
        sleep 0.1
    done
    kill -KILL "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
}

# Waits up to 15 s until a command succeeds: wait_until COMMAND...
wait_until() {
    local tries=0
    until "$@" >/dev/null 2>&1; do
        ((++tries < 150)) || give_up "waited 15 s in vain for: $*"
        sleep 0.1
    done
}

# Sends a router advertisement: advertise NS PORT LIFETIME FLAGS OPTION..., flags and options in hexadecimal.
advertise() {
    at "$1" python3 - "${@:2}" <<'PY'
import socket, struct, sys
port, lifetime, flags, *options = sys.argv[1:]
s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
message = struct.pack("!BBHBBHII", 134, 0, 0, 64, int(flags, 16), int(lifetime), 0, 0) + bytes.fromhex("".join(options))
s.sendto(message, ("ff02::1", 0, 0, socket.if_nametoindex(port)))
PY
}

# Compares what was seen with what the script describes: expect WHAT WANTED SEEN.
expect() {
    [[ ! -e $FINDING_WORK/given-up ]] || exit 2
    if [[ $3 == "$2" ]]; then
        printf '%s: %s\n' "$1" "$3"
    else
        printf 'changed: %s: %s (described: %s)\n' "$1" "$3" "$2"
        failed=1
    fi
}

# Prints "yes" where a command succeeds, else "no".
answer() {
    if "$@" >/dev/null 2>&1; then echo yes; else echo no; fi
}
