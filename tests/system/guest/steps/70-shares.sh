# shellcheck shell=bash
# shellcheck disable=SC2154,SC2329
# A disk of the head that the nodes use: Debian's NFS server, driven by root's small unit.

exports=/etc/exports.d/bramblegate.exports
disk=/mnt/usb

share() { status ".shares[0].$1"; }
share_is() { [ "$(share "$1")" = "$2" ]; }
exports_to() { grep -q "^$disk $1(rw,.*mountpoint" "$exports"; }
# What the server exports now, by its own tool.
serves_to() { exportfs -s | grep -q "^$disk *$1("; }
serves_none() { [ -z "$(exportfs -s)" ]; }
server_is() { [ "$(systemctl is-active nfs-server.service)" = "$1" ]; }

# A disk of its own, as a stick would be.
share_disk_appears() {
    modprobe -a loop nfsd nfsv4
    cp "$here/stick" /run/stick
    mkdir -p "$disk"
    losetup /dev/loop7 /run/stick
    echo "/dev/loop7 $disk ext4 noauto,nofail 0 0" >>/etc/fstab
}

plug_share_disk() {
    mount "$disk"
    chmod 1777 "$disk"
}

# usage: type_alerts_remedy CODE: carries out the command that an alert ends with
type_alerts_remedy() {
    local command
    command=$(status ".alerts[] | select(.code == \"$1\") | .text" | sed -n 's/.*: sudo //p')
    echo "$command"
    bash -c "$command"
}

share_waits_for_its_disk() {
    printf '\n[[share]]\npath = "%s"\nname = "usb"\n' "$disk" >>"$settings"
    bramblegate check
    systemctl reload bramblegate.service
    wait_for 60 "share-missing" has_alert share-missing
    [ ! -e "$exports" ] || fail "the mount point is exported without its disk"
    server_is inactive || fail "the NFS server was started for nothing"
}

share_is_exported() {
    type_alerts_remedy share-missing
    chmod 1777 "$disk"
    wait_for 60 "the exports" exports_to 192.168.50.0/24
    wait_for 120 "the server serves it" serves_to 192.168.50.0/24
    wait_for 60 "exported, by the status" share_is exported true
    wait_for 60 "no alert" has_no_alert share-missing
    expect "the unit's result" success "$(systemctl show -P Result bramblegate-share.service)"
    expect "another client" "" "$(exportfs -s | grep -v 192.168.50.0/24 || true)"
    expect "grace" 15 "$(cat /proc/fs/nfsd/nfsv4gracetime)"
    expect "versions" "" "$(tr ' ' '\n' </proc/fs/nfsd/versions | grep '^+[23]$' || true)"
    systemd-analyze security --no-pager bramblegate-share.service | tail -n 1
}

node_uses_share() {
    # Each `ip netns exec` has mounts of its own: all is done in one.
    # shellcheck disable=SC2016
    node sh -c '
        set -e
        mkdir -p /run/share
        mount -t nfs4 -o retry=2 192.168.50.1:/mnt/usb /run/share
        setpriv --reuid 1000 --regid 1000 --clear-groups sh -c "echo from the node >/run/share/note"
        touch /run/share-is-used
        while [ -e /run/share-is-used ]; do sleep 0.2; done
        umount /run/share' &
    local user=$!
    wait_for 120 "the node's note" grep -q "from the node" "$disk/note"
    expect "its owner" 1000 "$(stat -c %u "$disk/note")"
    wait_for 60 "who uses it" share_is "clients[0]" rpi1
    ls /proc/fs/nfsd/clients
    rm /run/share-is-used
    wait "$user"
}

# listens WHO ADDRESS: can a connection to the NFS server be opened?
listens() { "$1" nc -z -w 3 "$2" 2049; }
here_() { "$@"; }

venue_cannot_reach_share() {
    ip address add fd99::2/64 dev eth1 nodad
    venue ip address add fd99::1/64 dev port nodad
    # The cluster's side has an address of IPv6 too, for its server listens there as well.
    listens here_ ::1 || fail "the server does not listen by IPv6"
    listens node 192.168.50.1 || fail "a node does not reach it"
    venue ping -c 1 -W 5 fd99::2 >/dev/null || fail "the venue does not reach the head at all"
    local address
    for address in "$(lease)" fd99::2; do
        ! listens venue "$address" || fail "the venue reaches it at $address"
    done
    # By the cluster's own address, which the venue may route to the head.
    venue ip route add 192.168.50.1 via "$(lease)"
    ! listens venue 192.168.50.1 || fail "the venue reaches it at the cluster's address"
    venue ip route del 192.168.50.1
    ip address del fd99::2/64 dev eth1
}

share_becomes_read_only() {
    mount -o remount,ro "$disk"
    wait_for 60 "share-read-only" has_alert share-read-only
    mount -o remount,rw "$disk"
    wait_for 60 "no alert" has_no_alert share-read-only
}

share_is_full() {
    mkdir "$disk/filler"
    dd if=/dev/zero of="$disk/filler/zeros" bs=1M 2>/dev/null || true
    wait_for 60 "share-full" has_alert share-full
    type_alerts_remedy share-full | grep filler
    rm -r "$disk/filler"
    wait_for 60 "no alert" has_no_alert share-full
}

# Others stop the server, or take our file away.
share_not_exported() {
    systemctl stop nfs-server.service
    wait_for 120 "share-not-exported" has_alert share-not-exported
    type_alerts_remedy share-not-exported
    wait_for 60 "served again" serves_to 192.168.50.0/24
    wait_for 60 "no alert" has_no_alert share-not-exported
    rm "$exports"
    systemctl start bramblegate-share
    exports_to 192.168.50.0/24 || fail "the file is not there again"
}

share_moves_with_cluster() {
    sed -i 's/192\.168\.50\./192.168.60./g' "$settings"
    systemctl reload bramblegate.service
    wait_for 120 "the new subnet" exports_to 192.168.60.0/24
    wait_for 120 "served there" serves_to 192.168.60.0/24
    sed -i 's/192\.168\.60\./192.168.50./g' "$settings"
    systemctl reload bramblegate.service
    wait_for 120 "back" serves_to 192.168.50.0/24
}

share_survives_restart() {
    local began
    began=$(systemctl show -P ActiveEnterTimestampMonotonic nfs-server.service)
    systemctl restart bramblegate.service
    sleep 3
    serves_to 192.168.50.0/24 || fail "not served after a restart of the daemon"
    expect "the server's start" "$began" "$(systemctl show -P ActiveEnterTimestampMonotonic nfs-server.service)"
}

# The line of docs/guide/shared-disk.md, with the head later than the node, and with a disk that is missing at first.
automount_waits_for_head() {
    systemctl stop nfs-server.service
    umount "$disk"
    wait_for 60 "share-missing" has_alert share-missing
    wait_for 60 "no exports" test ! -e "$exports"
    server_is inactive || fail "the server was started without a disk"
    mkdir -p /mnt/as-a-node
    sed -n 's|^rack:/mnt/usb  */mnt/usb|192.168.50.1:/mnt/usb /mnt/as-a-node|p' "$here/tree/docs/guide/shared-disk.md" >>/etc/fstab
    grep x-systemd.automount /etc/fstab
    mkdir -p /etc/systemd/system/mnt-as\\x2da\\x2dnode.mount.d
    sed -n "s|^printf '\(.*\)' .*mnt-usb.mount.d.*|\1|p" "$here/tree/docs/guide/shared-disk.md" | xargs -0 printf '%b' |
        tee /etc/systemd/system/mnt-as\\x2da\\x2dnode.mount.d/again.conf | grep StartLimitIntervalSec=0
    systemctl daemon-reload
    systemctl start mnt-as\\x2da\\x2dnode.automount
    (timeout 300 cat /mnt/as-a-node/note >/run/read-as-a-node) &
    local reader=$!
    sleep 8
    kill -0 "$reader" || fail "the read did not wait for the head"
    plug_share_disk
    wait "$reader"
    expect "read by the node" "from the node" "$(cat /run/read-as-a-node)"
    umount /mnt/as-a-node
    # The head is there, and its disk is not: tried again and again, and then it comes.
    systemctl stop nfs-server.service
    umount "$disk"
    wait_for 60 "no exports" test ! -e "$exports"
    systemctl start nfs-server.service
    local try
    for try in 1 2 3 4 5 6 7 8; do timeout 5 cat /mnt/as-a-node/note && fail "try $try read it"; done
    plug_share_disk
    wait_for 60 "served" serves_to 192.168.50.0/24
    systemctl status --no-pager mnt-as\\x2da\\x2dnode.automount mnt-as\\x2da\\x2dnode.mount || true
    expect "read after all" "from the node" "$(timeout 120 cat /mnt/as-a-node/note)"
    umount /mnt/as-a-node
    systemctl stop mnt-as\\x2da\\x2dnode.automount
}

share_ends_with_settings() {
    local kept
    kept=$(sed '/^\[\[share\]\]$/,/^name/d' "$settings")
    printf '%s\n' "$kept" >"$settings"
    systemctl reload bramblegate.service
    wait_for 60 "no exports" test ! -e "$exports"
    wait_for 60 "nothing is served" serves_none
    [ ! -e /etc/nfs.conf.d/bramblegate.conf ] || fail "the server's settings stay"
    systemctl stop nfs-server.service
    umount "$disk"
}
