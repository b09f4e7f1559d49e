#!/bin/bash
# The machines' own programs for networks, beside the gateway, over three boots of one machine. The kernel's command line has which one:
# manager=NetworkManager, with cloud-init and netplan in front of it, or manager=networkd, with netplan.
set -u
# shellcheck source=tests/system/guest/lib.sh
. "$(dirname "$0")/lib.sh"
cd /
manager=$(sed -n 's/.* manager=\([A-Za-z]*\).*/\1/p' /proc/cmdline)
kept=/var/lib/system-test.managers
boot=1
# shellcheck source=/dev/null
[ ! -e $kept ] || . $kept

NetworkManager_1() {
    step "Raspberry Pi OS: cloud-init writes for netplan, netplan for NetworkManager, which has both ports" as_raspberry_pi_os
    step "the package installs; the address is on the glass, nothing is changed" package_beside_manager
    step "setup frees the cluster port of all three and keeps the uplink" setup_beside_network_manager
    step "NetworkManager's own restart" restart_network_manager
    step "netplan apply" apply_netplan
}
NetworkManager_2() {
    step "after a reboot the profiles have not come back" network_manager_leaves_port
    step "NetworkManager takes the port: doctor's remedy" remedy_network_manager
    step "cloud-init is to set networks again: doctor's remedy" remedy_cloud_init
    step "cloud-init's file for netplan: doctor's remedy" remedy_netplan_of_cloud_init
    step "a file for netplan under another name: doctor's remedy" remedy_netplan_match
    step "NetworkManager leaves the uplink: doctor's remedy" remedy_network_manager_uplink
}
NetworkManager_3() {
    step "after another reboot the remedies hold" network_manager_leaves_port
}
networkd_1() {
    step "Debian's cloud image: one pattern of netplan's for all ports, by networkd" as_debian_cloud_image
    step "the package installs; the address is on the glass, nothing is changed" package_beside_manager
    step "setup frees the cluster port and keeps the uplink" setup_beside_networkd
    step "networkd's own restart" restart_networkd
    step "netplan apply" apply_netplan
}
networkd_2() {
    step "after a reboot networkd leaves the port alone" networkd_leaves_port
    step "networkd takes the port by its hardware address: doctor's remedy" remedy_networkd
    step "a definition of netplan's for the port: doctor's remedy" remedy_netplan_set_name
    step "no file of networkd's for the uplink: doctor's remedy" remedy_networkd_uplink
}
networkd_3() {
    step "after another reboot the remedies hold" networkd_leaves_port
}

[ $boot != 1 ] || echo "=== BEGIN"
step "boot $boot: USB devices appear" need_devices
"${manager}_$boot"
if [ $boot -lt 3 ]; then
    echo "passed=$passed failed=$failed boot=$((boot + 1))" >$kept
    sync
    systemctl --no-block reboot
    exit
fi
echo "=== END $passed passed, $failed failed"
