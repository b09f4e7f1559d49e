#!/bin/bash
# The gateway beside other firewalls of Debian, really running, and the flow table of its rules. The second boot is that of a head
# on which Docker and nftables.service start by themselves.
set -u
# shellcheck source=tests/system/guest/lib.sh
. "$(dirname "$0")/lib.sh"
cd /

second_boot=/var/lib/system-test.second-boot
echo "=== BEGIN"
if [ ! -e "$second_boot" ]; then
    echo "guest: Debian $(cat /etc/debian_version), Linux $(uname -r), nftables $(nft --version | awk '{ print $2 }'), up $(cut -d. -f1 /proc/uptime) s"
    step "a venue with IPv4 and IPv6, nodes" need_neighbourhood
    step "the gateway from its package, and all that it promises" need_gateway
    step "what the venue reaches: ssh" only_ssh_is_open
    step "the flow table: a connection is in it" flow_table_in_use
    step "the flow table: its gain, with and without in turn" flow_table_gain
    step "nftables.service restarts: the table is protected" nftables_restart_protected
    step "the same without protection" nftables_restart_unprotected
    step "stop and off leave its rules alone" nftables_left_alone
    step "firewalld: what it drops is named, and the remedy helps" firewalld_beside
    step "firewalld: it holds over reload and restart; the venue stays out" firewalld_again
    step "firewalld: stop and off leave its rules alone" firewalld_left_alone
    step "ufw: what it drops is named, and the remedy helps" ufw_beside
    step "ufw: it holds over reload and restart; the venue stays out" ufw_again
    step "ufw: stop and off leave its rules alone" ufw_left_alone
    step "Docker: what it drops is named, and the remedy helps" docker_beside
    step "Docker: it holds over a restart; the venue stays out" docker_again
    step "Docker: stop and off leave its rules alone" docker_left_alone
    step "Docker: the guide's lines keep the remedy" docker_remedy_is_kept
    echo "passed=$passed failed=$failed" >"$second_boot"
    sync
    echo "=== REBOOT"
    systemctl --no-block reboot
    exit
fi
# shellcheck source=/dev/null
. "$second_boot"
step "after a reboot: networks appear" need_neighbourhood
step "after a reboot: the nodes are online beside Docker and nftables.service" docker_after_reboot
echo "=== END $passed passed, $failed failed"
