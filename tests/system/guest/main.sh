#!/bin/bash
# The scenario, in the guest. Its verdicts go to the serial line that is its standard output.
set -u
# shellcheck source=tests/system/guest/lib.sh
. "$(dirname "$0")/lib.sh"
cd /
# What the host boots the machine for.
scenario=$(sed -n 's/.*system-test=\([a-z]*\).*/\1/p' /proc/cmdline)
[ "$scenario" = machine ] || exec "$here/guest/$scenario.sh"

echo "=== BEGIN"
echo "guest: Linux $(uname -r), systemd $(systemctl --version | awk 'NR == 1 { print $2 }'), up $(cut -d. -f1 /proc/uptime) s"

second_boot=/var/lib/system-test.second-boot
wanted() { ! grep -q . "$here/steps" || grep -qx "$1" "$here/steps"; }

first_boot() {
    step "USB devices appear: hidraw and an I2C bus" need_devices
    step "a venue with a DHCP server, a node, an internet host" need_networks
    step "installation" need_installation
    step "devices carry the shipped rules' rights" need_rights
    step "the unit starts and is ready" start_unit
    step "without a lease the panel says so" panel_without_lease
    step "a real lease; its address is row 1" lease_on_row_1
    step "the node reaches the internet through the gateway" node_online
    step "the LED breathes green" led_breathes_green
    step "status agrees" status_agrees
    step "the journal tells it, with fields" journal_fields
    step "the sandbox: user, capabilities, exposure" sandbox
    step "the LCD is driven by its datasheet" datasheet
    step "boot has an order with the unit in it" boot_order
    step "a node gets an address from the unit" node_gets_lease
    step "and names: of nodes and of the internet" node_resolves_names
    step "dnsmasq runs in the unit's sandbox, on the cluster port alone" dnsmasq_in_sandbox
    step "leases survive a restart and a stop" leases_survive_restart
    step "orders by a member of the group, not by a stranger" orders
    step "LCD pulled and plugged in again" replug_lcd
    step "expander gone from the bus and back" expander_gone
    step "BlinkStick pulled and plugged in again" replug_stick
    step "a foreign flush" foreign_flush
    step "reload takes new settings and keeps the process" reload
    step "reload with wrong settings keeps the old ones" reload_wrong
    step "a disk to share" share_disk_appears
    step "a share waits for its disk" share_waits_for_its_disk
    step "a disk is exported to the cluster alone, by NFS 4" share_is_exported
    step "a node mounts it and writes" node_uses_share
    step "the venue does not reach it, by IPv4 and IPv6" venue_cannot_reach_share
    step "a disk that has become read-only" share_becomes_read_only
    step "a disk that is full" share_is_full
    step "a server that others stopped" share_not_exported
    step "the share moves with the cluster" share_moves_with_cluster
    step "a restart of the daemon is none of the NFS server" share_survives_restart
    step "the nodes' line in fstab: a head that comes late" automount_waits_for_head
    step "without the setting nothing is shared" share_ends_with_settings
    step "restart: a new process, no STOPPED, no lost packet" restart
    step "kill -9: back by itself" kill_9
    step "a hung daemon is restarted by the watchdog" watchdog
    step "stop: STOPPED, LED dark, NAT stays" stop
    step "wrong settings: 78, not restarted, said on the panel" wrong_settings
    step "a second instance: 75, and the first goes on" second_instance
    step "printed commands for systemd and udev do what they are for" printed_commands
    step "a missing capability: 77, not restarted, said on the panel" missing_capability
    step "settings on a read-only file system" read_only_settings
    step "a disk that is full to the last block" full_disk
    step "a card that has become read-only" read_only_card
    step "the kernel's count of tasks that wait" pressure
    step "power-off hook: SAFE TO UNPLUG" shutdown_hook
    step "the LCD is still driven by its datasheet" datasheet
    step "off takes everything away" off
    step "uninstall leaves only settings and state" uninstallation
    step "installed again over what stayed" need_installation
    step "started again" start_unit
    step "the address is back" address_is_back
}

# The same disk, the unit enabled: what a head node does every evening. Devices and ports come late.
after_reboot() {
    step "booted: ready before the network, without panel and ports" booted
    step "USB devices appear late" need_devices
    step "ports appear late" need_networks
    step "a lease is row 1 after a boot" lease_on_row_1
    step "the node reaches the internet after a boot" node_online
    step "a node gets its address after a boot" node_gets_lease
    step "buttons on a GPIO chip appear late" buttons_appear
    step "button: the next page" next_page
    step "button: acknowledge" acknowledge_alert
    step "button: power, let go in time" power_let_go
    step "buttons pulled and plugged in again" buttons_replugged
    step "a key for the nodes' power" nodes_have_key
    step "shutdown: the nodes are off, the head stays on" nodes_shut_down
}

if [ ! -e "$second_boot" ]; then
    first_boot
    if wanted reboot; then
        echo "passed=$passed failed=$failed" >"$second_boot"
        sync
        systemctl enable --quiet --now bramblegate.service
        echo "=== REBOOT"
        usbsim lcd watch /dev/ttyS1 >/dev/null
        systemctl --no-block reboot
        exit
    fi
else
    # shellcheck source=/dev/null
    . "$second_boot"
    power_off=$(wanted power_off && echo yes)
    # Here all steps belong together.
    : >"$here/steps"
    after_reboot
fi
if [ "${power_off-yes}" = yes ] && wanted power_off; then
    echo "=== POWEROFF"
    usbsim lcd watch /dev/ttyS1 >/dev/null
    step "button: power, held for five seconds: the nodes go, then systemd powers off" hold_power
fi
echo "=== END $passed passed, $failed failed"
