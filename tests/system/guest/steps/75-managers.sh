# shellcheck shell=bash
# shellcheck disable=SC2016,SC2053,SC2154,SC2329
# NetworkManager, networkd, netplan and cloud-init, as they are, beside the gateway.

seed=/boot/firmware/network-config
# What cloud-init writes for netplan, and what setup and doctor write for each.
of_cloud_init=/etc/netplan/50-cloud-init.yaml
cloud_init_off=/etc/cloud/cloud.cfg.d/99-bramblegate.cfg
unmanaged=/etc/NetworkManager/conf.d/90-eth0.conf
unmanaged_by_networkd=/etc/systemd/network/00-eth0.network

# usage: nm_is PORT STATE: as NetworkManager has it
nm_state() { nmcli -t -f DEVICE,STATE device | sed -n "s/^$1://p"; }
nm_is() { [[ "$(nm_state "$1")" == $2 ]]; }
networkd_state() { networkctl --json=short status "$1" | jq -r .AdministrativeState; }
networkd_is() { [ "$(networkd_state "$1")" = "$2" ]; }

as_raspberry_pi_os() {
    wait_for 180 "the uplink has a lease" have_lease
    expect "networkd" disabled "$(systemctl is-enabled systemd-networkd.service || true)"
    grep -A 1 "eth[01]:" $of_cloud_init
    expect "the uplink's profile" netplan-eth1 "$(nmcli -g GENERAL.CONNECTION device show eth1)"
    wait_for 30 "NetworkManager asks for an address on the cluster port" nm_is eth0 "connecting*"
    nmcli -t -f DEVICE,STATE,CONNECTION device
}

# The seed is one of a head on which NetworkManager is not installed: here it is switched off.
as_debian_cloud_image() {
    systemctl disable --quiet --now NetworkManager.service
    rm /usr/lib/netplan/00-network-manager-all.yaml $of_cloud_init $seed
    printf 'network: {config: disabled}\n' >/etc/cloud/cloud.cfg.d/99-of-the-image.cfg
    cat >/etc/netplan/90-default.yaml <<'YAML'
network:
  version: 2
  ethernets:
    all-en:
      match:
        name: en*
      dhcp4: true
    all-eth:
      match:
        name: eth*
      dhcp4: true
YAML
    chmod 600 /etc/netplan/90-default.yaml
    ip address flush dev eth1
    netplan apply
    systemctl is-enabled systemd-networkd.service || systemctl enable --quiet --now systemd-networkd.service
    wait_for 60 "the uplink has a lease" have_lease
    wait_for 30 "networkd asks for an address on the cluster port" networkd_is eth0 configuring
    networkctl list --no-pager --no-legend
}

package_beside_manager() {
    place_drop_in
    # As README has it; apt finds nothing to fetch.
    apt-get install -y "$here"/debs/bramblegate_*.deb
    wait_for 60 "the gateway is up" is_active
    wait_for 60 "row 1 is $(lease)" row_is 0 "$(lease)"
    wait_for 30 "row 2 says what to do" row_begins 1 "RUN SETUP"
    expect "addresses of the cluster port" "" "$(ip -4 -brief address show dev eth0 | awk '{ $1 = $2 = ""; print }' | xargs)"
}

# usage: head_works: the gateway as a user has it
head_works() {
    wait_for 60 "active" is_active
    wait_for 60 "an address of the venue" have_lease
    wait_for 60 "row 1 is $(lease)" row_is 0 "$(lease)"
    wait_for 20 "set up" has_no_alert host-not-set-up
    wait_for 60 "the page behind the venue" node_reaches
    expect "addresses of the cluster port" 192.168.50.1/24 "$(ip -4 -json address show dev eth0 | jq -r '.[].addr_info[] | "\(.local)/\(.prefixlen)"')"
    wait_for 60 "addresses are served" serves
    ask_for_lease
    wait_for 20 "the worker is up" health_is worker up
    doctor_is_content
}

doctor_is_content() {
    local found code=0
    found=$(bramblegate doctor) || code=$?
    echo "$found"
    [[ "$code" = 0 && "$found" == *"nothing is in the way"* ]] || fail "doctor is not content ($code)"
}

# usage: keeps_lease COMMAND...: the uplink has the same address after it, and the head works
keeps_lease() {
    local before
    before=$(lease)
    "$@"
    head_works
    expect "the uplink's address" "$before" "$(lease)"
}

setup_beside_network_manager() {
    [ ! -e "$settings" ] || fail "there are settings"
    keeps_lease bramblegate setup --yes
    grep -v -e '^#' -e '^$' "$settings" $unmanaged $cloud_init_off
    expect "the cluster port" unmanaged "$(nm_state eth0)"
    expect "netplan's definition of it" null "$(netplan get ethernets.eth0)"
}

setup_beside_networkd() {
    keeps_lease bramblegate setup --yes --uplink eth1 --cluster eth0
    grep -v -e '^#' -e '^$' "$settings" $unmanaged_by_networkd
    expect "the cluster port" unmanaged "$(networkd_state eth0)"
    # The pattern is the uplink's too.
    grep -q all-eth /etc/netplan/90-default.yaml || fail "the pattern is gone"
}

# usage: counts_pings COMMAND...: how many of a node's pings, ten a second, are lost while it is carried out and three seconds more
counts_pings() {
    rm -f /run/over
    trap 'touch /run/over; kill $(jobs -p) 2>/dev/null || true' EXIT
    ping_until /run/over 2>/dev/null &
    sleep 1
    "$@"
    sleep 3
    touch /run/over
    wait $! || true
    lost=$(awk '/packets transmitted/ { lost += $1 - $4; sent += $1 } END { print lost + 0; exit !(sent > 20) }' /run/pings)
    echo "$* lost $lost of a node's pings"
}

# A manager that starts sets the uplink's routes anew, and some pings may fall into that.
restart_network_manager() {
    local lost
    keeps_lease counts_pings systemctl restart NetworkManager.service
    [ "$lost" -le 5 ] || fail "more than half a second"
}

restart_networkd() {
    local lost
    keeps_lease counts_pings systemctl restart systemd-networkd.service
    [ "$lost" -le 5 ] || fail "more than half a second"
}

# For NetworkManager it takes the uplink's address away, stops and starts it, with or without a gateway on the machine.
apply_netplan() {
    local lost
    keeps_lease counts_pings netplan apply
}

network_manager_leaves_port() {
    expect "starts of the gateway that failed" 0 "$(property NRestarts)"
    head_works
    expect "the cluster port" unmanaged "$(nm_state eth0)"
    expect "the uplink" connected "$(nm_state eth1)"
    expect "profiles for the cluster port" "" "$(grep -lsx interface-name=eth0 {/run,/etc}/NetworkManager/system-connections/* || true)"
    expect "netplan's definition of it" null "$(netplan get ethernets.eth0)"
    cat $of_cloud_init
}

networkd_leaves_port() {
    expect "starts of the gateway that failed" 0 "$(property NRestarts)"
    head_works
    expect "the cluster port" unmanaged "$(networkd_state eth0)"
    expect "the uplink" configured "$(networkd_state eth1)"
}

finds() { grep -q " $1: " <<<"$(bramblegate doctor || true)"; }
finds_no_more() { ! finds "$1"; }

# usage: type_doctors_remedy CODE: doctor has the finding; its remedy, as it is printed, ends it
type_doctors_remedy() {
    local found command commands
    wait_for 60 "the finding $1" finds "$1"
    found=$(bramblegate doctor || true)
    echo "$found"
    commands=$(grep -A 1 " $1: " <<<"$found" | sed -n 's/^ *remedy: //p' | head -n 1 | grep -o '`[^`]*`' | tr -d '`')
    [ -n "$commands" ] || fail "no command in the remedy of $1"
    while read -r command <&3; do
        echo "typed: $command"
        bash -ec "$command"
    done 3<<<"$commands"
    wait_for 60 "the end of the finding $1" finds_no_more "$1"
}

remedy_network_manager() {
    rm $unmanaged
    nmcli general reload
    wait_for 60 "NetworkManager has the port" nm_is eth0 "[cd]*"
    type_doctors_remedy gateway-port-managed
    wait_for 20 "NetworkManager leaves it" nm_is eth0 unmanaged
    head_works
}

remedy_cloud_init() {
    rm $cloud_init_off
    type_doctors_remedy gateway-port-cloud-init
    grep -q eth0 $seed || fail "the seed is another"
}

remedy_netplan_of_cloud_init() {
    rm $cloud_init_off
    netplan set --origin-hint=50-cloud-init ethernets.eth0.dhcp4=true
    grep -q eth0 $of_cloud_init || fail "netplan wrote to another file"
    netplan generate
    type_doctors_remedy gateway-port-netplan
    ! grep -q eth0 $of_cloud_init || fail "it is still in the file"
    [ -e $cloud_init_off ] || fail "cloud-init would write it again"
    head_works
}

remedy_netplan_match() {
    printf 'network:\n  version: 2\n  ethernets:\n    lan:\n      match:\n        name: eth0\n      dhcp4: true\n' >/etc/netplan/60-own.yaml
    chmod 600 /etc/netplan/60-own.yaml
    netplan apply
    type_doctors_remedy gateway-port-netplan
    head_works
    expect "netplan's definition" null "$(netplan get ethernets.lan)"
}

remedy_network_manager_uplink() {
    printf '[keyfile]\nunmanaged-devices+=interface-name:eth1\n' >/etc/NetworkManager/conf.d/50-left.conf
    nmcli general reload
    wait_for 20 "NetworkManager leaves the uplink" nm_is eth1 unmanaged
    ip address flush dev eth1
    type_doctors_remedy uplink-no-client
    head_works
}

remedy_networkd() {
    rm $unmanaged_by_networkd
    printf '[Match]\nPermanentMACAddress=52:54:00:00:00:01\n[Network]\nAddress=192.168.60.1/24\n' >/etc/systemd/network/05-lan.network
    networkctl reload
    wait_for 30 "networkd has the port" networkd_is eth0 configured
    type_doctors_remedy gateway-port-managed
    wait_for 20 "networkd leaves it" networkd_is eth0 unmanaged
    # networkd itself takes its address away as it leaves the port, or leaves it.
    ip address del 192.168.60.1/24 dev eth0 2>/dev/null || true
    head_works
}

remedy_netplan_set_name() {
    cat >/etc/netplan/95-own.yaml <<'YAML'
network:
  version: 2
  ethernets:
    board:
      match:
        macaddress: "52:54:00:00:00:01"
      set-name: eth0
      dhcp4: true
YAML
    chmod 600 /etc/netplan/95-own.yaml
    type_doctors_remedy gateway-port-netplan
    expect "netplan's definition" null "$(netplan get ethernets.board)"
    head_works
}

remedy_networkd_uplink() {
    rm /etc/netplan/90-default.yaml
    netplan generate
    networkctl reload
    wait_for 20 "networkd leaves the uplink" networkd_is eth1 unmanaged
    ip address flush dev eth1
    type_doctors_remedy uplink-no-client
    head_works
}
