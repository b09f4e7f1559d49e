#!/bin/bash
# The packages on a machine that boots with systemd: from the first start to the purge.
set -u
# shellcheck source=tests/system/guest/lib.sh
. "$(dirname "$0")/lib.sh"
cd /

echo "=== BEGIN"
echo "guest: Debian $(cat /etc/debian_version), Linux $(uname -r), systemd $(systemctl --version | awk 'NR == 1 { print $2 }'), up $(cut -d. -f1 /proc/uptime) s"
step "USB devices appear: hidraw and an I2C bus" need_devices
step "a venue with a DHCP server, a node, an internet host" need_networks
step "the uplink has an address before anything is installed" need_lease
step "the packages install; the gateway starts" need_packages
step "a first start: address and RUN SETUP on the glass, the network as before" first_start
step "setup by flags: the address on the glass, the node online" setup_by_flags
step "the display is driven by its datasheet" datasheet
step "the gateway's sandbox: user, capabilities, exposure" sandbox
step "bramblegate-web answers" web_answers
step "bramblegate-snmp answers through snmpd" snmp_answers
step "cluster.ipv6 in the sandbox: nodes have IPv6 addresses" nodes_have_ipv6
step "bramblegate-clat waits for orders" clat_waits
step "bramblegate-clat translates in its sandbox, by BPF and without" clat_translates
step "the demo's program is found" demo_is_there
step "an upgrade under a transfer: nothing is lost" upgrade_under_transfer
step "a wrong upgrade of settings: the gateway that runs goes on" upgrade_with_wrong_settings
step "removed: nothing runs, nothing is left in the kernel" packages_removed
step "purged: nothing is left" packages_purged
echo "=== END $passed passed, $failed failed"
