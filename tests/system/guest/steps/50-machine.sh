# shellcheck shell=bash
# shellcheck disable=SC2154,SC2329
# What becomes of the machine itself: busy, its disk full, its card read-only.

# The good settings, and these lines.
with_section() { { good_settings && printf '%s\n' "$@"; } >"$settings"; }
reload_unit() { systemctl reload bramblegate.service; }

pressure_in_status() { [ "$(status '.host.pressure_percent.processor')" != null ]; }

pressure() {
    [ -r /proc/pressure/cpu ] || fail "this kernel counts no pressure"
    wait_for 70 "the pressure in status" pressure_in_status
    local seen
    seen=$(awk '/^some/ { sub("avg60=", "", $3); print int($3) }' /proc/pressure/cpu)
    echo "the kernel says $seen %, status says $(status '.host.pressure_percent.processor') %"
    with_section '[vitals]' 'pressure = "70%"'
    reload_unit
    # Another program loads all processors.
    local number
    for number in 1 2 3 4 5 6; do
        systemd-run --quiet --unit="busy-$number" sh -c 'while :; do :; done'
    done
    wait_for 150 "the alert" has_alert host-pressure
    status '.alerts[] | select(.code == "host-pressure") | .text'
    systemctl stop 'busy-*'
    wait_for 150 "its end" has_no_alert host-pressure
    good_settings >"$settings"
    reload_unit
}

fill_disk() {
    # Also what ext4 reserves for root: to the last block.
    fallocate -l "$(df --output=avail -B1 / | tail -n 1)" /var/filler || true
    dd if=/dev/zero of=/var/filler2 bs=1M 2>/dev/null || true
    dd if=/dev/zero of=/var/filler3 bs=1k 2>/dev/null || true
    df -B1k /
}

# All work but saving goes on; what could not be saved is reported.
full_disk() {
    local said code=0 pid
    pid=$(main_pid)
    fill_disk
    ! echo x >/var/one-more || fail "there is room"
    said=$(bramblegate nodes drain rpi1 2>&1) || code=$?
    echo "an order: $said"
    expect "exit code of an order that cannot be kept" 1 "$code"
    [[ "$said" == *"not kept"*"No space left"* ]] || fail "the order does not say that it is not kept"
    wait_for 10 "it is carried out all the same" health_is rpi1 maintenance
    bramblegate nodes resume rpi1 >/dev/null 2>&1 || true
    # A new node is served from memory.
    ip netns list | grep -q newcomer || ip netns add newcomer
    plug_into switch newcomer
    ip netns exec newcomer busybox udhcpc -f -n -q -i port -t 20 -T 1 -x hostname:newcomer -s "$here/guest/udhcpc.sh"
    wait_for 20 "the new node is up" health_is newcomer up
    wait_for 30 "the journal tells of the leases" said_of_leases "No space left"
    wait_for 90 "the alert" has_alert host-disk
    same_process "$pid"
    node_reaches || fail "the node is offline"
    systemctl restart bramblegate.service || fail "no restart with a full disk"
    is_active || fail "not active"
    wait_for 20 "row 1 is the address" row_is 0 "$(lease)"
    wait_for 60 "addresses are served" serves
    resolves_to worker.bramble "$(worker_address)" || fail "the lease is forgotten"
    # What the stop has freed is used up too: so it is at a boot.
    systemctl stop bramblegate.service
    dd if=/dev/zero of=/var/filler4 bs=1k 2>/dev/null || true
    systemctl start bramblegate.service || fail "no start with a full disk"
    wait_for 20 "row 1 is the address" row_is 0 "$(lease)"
    node_reaches || fail "the node is offline"
    code=0
    said=$(bramblegate nodes add nas --address 192.168.50.30 2>&1) || code=$?
    echo "a change of the settings: $said"
    expect "exit code of a change that cannot be written" 71 "$code"
    [[ "$said" == *"No space left"*"make room"* ]] || fail "no word of the full disk and what helps"
    bramblegate check || fail "half a file is left in the settings"
    rm -f /var/filler /var/filler2 /var/filler3 /var/filler4 /var/one-more
    wait_for 90 "the end of the alert" has_no_alert host-disk
}

said_of_leases() { journalctl -u bramblegate.service --no-pager | grep -F dnsmasq.leases | grep -qF "$1"; }

# Read-only settings: everything goes on, and a verb that would change them reports why it cannot.
read_only_settings() {
    local said code=0
    mount --bind /etc /etc
    mount -o remount,bind,ro /etc
    said=$(bramblegate nodes add nas --address 192.168.50.30 2>&1) || code=$?
    echo "a change of the settings: $said"
    expect "exit code" 71 "$code"
    [[ "$said" == *"ead-only"*"remount,rw"* ]] || fail "no word of read-only and what helps"
    code=0
    said=$(bramblegate setup --yes --uplink eth1 --cluster eth0 2>&1) || code=$?
    echo "setup: $said"
    expect "exit code of setup" 71 "$code"
    [[ "$said" == *"ead-only"*"remount,rw"* ]] || fail "setup says no word of read-only and what helps"
    reload_unit
    systemctl restart bramblegate.service
    umount /etc
    is_active || fail "not active"
    wait_for 20 "row 1 is the address" row_is 0 "$(lease)"
    node_reaches || fail "the node is offline"
}

# A card that fails: the kernel makes the file system read-only under everybody's feet.
read_only_card() {
    local said code=0 pid
    pid=$(main_pid)
    echo 'LABEL=bramblegate / ext4 defaults 0 1' >/etc/fstab
    sync
    echo u >/proc/sysrq-trigger
    wait_for 10 "read-only" root_is_read_only
    wait_for 90 "the alert" has_alert host-read-only
    expect "severity" fault "$(status .severity)"
    lcd '.rows[1]'
    said=$(bramblegate nodes drain rpi1 2>&1) || code=$?
    echo "an order: $said"
    [[ "$code" = 1 && "$said" == *"not kept"* ]] || fail "the order does not say that it is not kept ($code)"
    bramblegate nodes resume rpi1 >/dev/null 2>&1 || true
    ask_for_lease
    node_reaches || fail "the node is offline"
    same_process "$pid"
    systemctl restart bramblegate.service || fail "no restart on a read-only card"
    is_active || fail "not active"
    wait_for 20 "row 1 is the address" row_is 0 "$(lease)"
    wait_for 60 "addresses are served" serves
    wait_for 20 "the lease is known" resolves_to worker.bramble "$(worker_address)"
    said=$(bramblegate nodes add nas --address 192.168.50.30 2>&1) || true
    said=$(sed -n 's/.*(sudo \(mount [^)]*\)).*/\1/p' <<<"$said")
    [[ -n "$said" ]] || fail "a change of the settings does not say what helps"
    echo "as it is printed: $said"
    bash -c "$said" || fail "$said"
    wait_for 90 "the end of the alert" has_no_alert host-read-only
    : >/etc/fstab
}

root_is_read_only() { ! touch /var/probe; }
