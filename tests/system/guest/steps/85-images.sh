# shellcheck shell=bash
# shellcheck disable=SC2154,SC2317,SC2329
# Images of heads by pi-gen and rpi-image-gen, and a head by Ansible: what packaging/ holds for them.

boot_file=boot/firmware/bramblegate.toml

# usage: for_pi_gen COMMAND...: with the functions and variables that pi-gen (build.sh, scripts/common) gives to a stage. The tool itself is
# in no registry. A copy of the stage before would take minutes here: it is moved.
for_pi_gen() {
    copy_previous() {
        [ -d "$PREV_ROOTFS_DIR" ] || fail "no stage before"
        mkdir -p "${ROOTFS_DIR%/*}"
        mv "$PREV_ROOTFS_DIR" "$ROOTFS_DIR"
    }
    on_chroot() {
        mountpoint -q "$ROOTFS_DIR/proc" || mount -t proc proc "$ROOTFS_DIR/proc"
        mountpoint -q "$ROOTFS_DIR/dev" || mount --bind /dev "$ROOTFS_DIR/dev"
        mountpoint -q "$ROOTFS_DIR/dev/pts" || mount --bind /dev/pts "$ROOTFS_DIR/dev/pts"
        mountpoint -q "$ROOTFS_DIR/sys" || mount --bind /sys "$ROOTFS_DIR/sys"
        mountpoint -q "$ROOTFS_DIR/run" || mount -t tmpfs tmpfs "$ROOTFS_DIR/run"
        mountpoint -q "$ROOTFS_DIR/tmp" || mount -t tmpfs tmpfs "$ROOTFS_DIR/tmp"
        capsh "--chroot=$ROOTFS_DIR/" -- -e "$@"
    }
    export -f copy_previous on_chroot fail
    "$@"
}

# usage: run_stage STAGE: its prerun.sh, then the scripts of each folder in it
run_stage() {
    local folder script
    cd "$1" || return 1
    [ -x prerun.sh ] || fail "prerun.sh would be skipped: it is not executable"
    ./prerun.sh
    for folder in ./*/; do
        cd "$1/$folder" || return 1
        for script in [0-9][0-9]-run.sh; do
            [ -x "$script" ] || fail "$script would be skipped: it is not executable"
            "./$script"
        done
    done
    cd /
}

run_pi_gen_stage() {
    local work=/mnt/pi-gen
    export PREV_ROOTFS_DIR=$work/before/rootfs ROOTFS_DIR=$work/stage-bramblegate/rootfs
    mkdir -p $work
    mount /dev/vdc $work
    mkdir -p $PREV_ROOTFS_DIR
    find $work -mindepth 1 -maxdepth 1 ! -name before ! -name lost+found -exec mv -t $PREV_ROOTFS_DIR {} +
    # As the guide has it: packages and settings into the stage's folder.
    cp -r "$here/tree/packaging/pi-gen/stage-bramblegate" /run/stage
    cp "$here"/debs/*.deb /run/stage/00-bramblegate/files/
    good_settings >/run/stage/00-bramblegate/files/bramblegate.toml
    for_pi_gen run_stage /run/stage
    umount -R $ROOTFS_DIR/{dev,proc,sys,run,tmp}
    mv -t $work $ROOTFS_DIR/*
    packages_are_in $work
    umount $work
    rm -r /run/stage
}

# usage: customize_hooks LAYER: as options of mmdebstrap, each ended by a zero byte. That is what bdebstrap, which rpi-image-gen calls, makes
# of a layer; Debian 13 has no bdebstrap.
customize_hooks() {
    python3 - "$1" <<'PYTHON'
import sys, yaml
layer = yaml.safe_load(open(sys.argv[1]))["mmdebstrap"]
hooks = layer.pop("customize-hooks")
assert hooks and not layer, f"unknown to this test: {layer}"
sys.stdout.write("".join(f"--customize-hook={hook}\0" for hook in hooks))
PYTHON
}

# The root is one that is made already, and mmdebstrap installs nothing else. (rpi-image-gen itself is in no registry.) The seed for cloud-init
# is that of a fresh card: comments.
run_rpi_image_gen_layer() {
    local root=/mnt/layer hooks
    mkdir -p $root /run/nothing
    mount /dev/vdd $root
    : >/run/nothing/Packages
    # mmdebstrap makes device files, and expects none; apt is to look for nothing elsewhere.
    find $root/dev -mindepth 1 -delete
    rm -f $root/etc/apt/sources.list $root/etc/apt/sources.list.d/*
    good_settings >/run/layer.toml
    echo "# nothing" >$root/boot/firmware/network-config
    customize_hooks "$here/tree/packaging/rpi-image-gen/bramblegate.yaml" >/run/hooks
    mapfile -d '' hooks </run/hooks
    IGconf_bramblegate_packages=$here/debs IGconf_bramblegate_settings=/run/layer.toml mmdebstrap --variant=custom --mode=root \
        --format=directory --skip=check/empty,cleanup/reproducible "${hooks[@]}" trixie $root "deb [trusted=yes] copy:/run/nothing ./"
    packages_are_in $root
    umount $root
}

packages_are_in() {
    expect "packages installed" 5 "$(dpkg-query --admindir "$1/var/lib/dpkg" -W -f '${db:Status-Status}\n' 'bramblegate*' | grep -cx installed)"
    [ -e "$1/$boot_file" ] || fail "no settings on the boot partition"
    [ ! -e "$1/etc/bramblegate/bramblegate.toml" ] || fail "the image has settings, not only its boot partition"
    [ ! -e "$1/var/cache/bramblegate" ] || fail "the packages' files are left in the image"
    sync
}

image_is_a_head() {
    journalctl -b -u bramblegate-setup.service --no-pager -o cat
    head_works
    diff /$boot_file "$settings"
    expect "the boot partition was read by its unit" success "$(systemctl show -P Result bramblegate-setup.service)"
    expect "failed units" "" "$(systemctl --failed --plain --no-legend)"
    expect "complaints" "" "$(journalctl -b -u bramblegate-setup.service --no-pager -o cat | grep -E 'note:|warning:|error:' || true)"
}

image_has_its_networks() {
    expect "the cluster port" unmanaged "$(nm_state eth0)"
    expect "the uplink" connected "$(nm_state eth1)"
    nmcli -t -f DEVICE,STATE,CONNECTION device
    ! netplan get ethernets | grep eth0 || fail "netplan has the cluster port"
    # Where the seed has an uplink, cloud-init has come to set it.
    if grep -q eth1 "$seed"; then expect "the uplink's profile" netplan-eth1 "$(nmcli -g GENERAL.CONNECTION device show eth1)"; fi
}

ansible_ssh_server() {
    [ -e /root/.ssh/id_ed25519 ] || ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519
    cp /root/.ssh/id_ed25519.pub /root/.ssh/authorized_keys
    mkdir -p /etc/dropbear
    systemd-run --quiet --unit=ssh-server dropbear -F -R -s -p 127.0.0.1:22
}

# As the head of head.yml has it; dropbear has no sftp.
play_role() {
    LC_ALL=C.UTF-8 ANSIBLE_HOST_KEY_CHECKING=False ANSIBLE_SSH_TRANSFER_METHOD=piped ansible-playbook -i 127.0.0.1, -u root -b \
        "$here/tree/packaging/ansible/head.yml" -e bramblegate_packages_from="$here/debs" -e bramblegate_settings=/run/head.toml |
        tee /run/play
}

run_ansible_role() {
    place_drop_in
    install -d -m 700 /root/.ssh
    ansible_ssh_server
    wait_for 180 "the uplink has a lease" have_lease
    good_settings >/run/head.toml
    play_role
    diff /run/head.toml "$settings"
    head_works
}

run_ansible_role_again() {
    local pid
    pid=$(main_pid)
    play_role
    grep -E "changed=0 .*unreachable=0 .*failed=0" /run/play || fail "something changed"
    same_process "$pid"
}
