# shellcheck shell=bash
# shellcheck disable=SC2154,SC2329
# Before and after a power cut.

set_up_for_cuts() {
    # A cluster port and an uplink; what is behind them does not matter here.
    ip link add eth0 type veth peer name far0
    ip link add eth1 type veth peer name far1
    place_drop_in
    dpkg -i "$here"/debs/*.deb
    bramblegate setup --yes --uplink eth1 --cluster eth0
    wait_for 60 "active" is_active
    bramblegate nodes add rpi1 --address 192.168.50.11
    bramblegate nodes add rpi2 --address 192.168.50.12
    wait_for 20 "rpi1 is known" knows rpi1
    # What is kept from here on is to be there after each cut.
    bramblegate nodes drain rpi1
    wait_for 20 "rpi1 is in maintenance" health_is rpi1 maintenance
    sha256sum "$settings" >/var/lib/system-test.cuts
    sync
}

knows() { [ -n "$(health_of "$1")" ]; }

whole() {
    wait_for 120 "the service is up" is_active
    expect "restarts" 0 "$(property NRestarts)"
    bramblegate check
    sha256sum --quiet -c /var/lib/system-test.cuts || fail "the settings are others"
    wait_for 30 "rpi1 is still in maintenance" health_is rpi1 maintenance
    nft list table inet bramblegate >/dev/null || fail "no rule set"
    # What was being written is there as a whole or not at all.
    local complaints
    complaints=$(journalctl -b -u bramblegate.service -p warning --no-pager -o cat | grep -F -e /var/lib/bramblegate -e /etc/bramblegate || true)
    expect "complaints about files" "" "$complaints"
    expect "files of no content" "" "$(find /etc/bramblegate /var/lib/bramblegate -type f -empty)"
    # An installation that was cut off is finished as dpkg(1) has it.
    if [ -n "$(dpkg --audit)" ]; then
        dpkg --audit | sed -n 1,3p
        dpkg --configure -a || true
        [ -z "$(dpkg --audit)" ] || dpkg -i "$here"/debs/*.deb
        wait_for 60 "active after that" is_active
    fi
    expect "packages installed" 5 "$(dpkg-query -W -f '${db:Status-Status}\n' 'bramblegate*' | grep -cx installed)"
    dpkg --verify bramblegate bramblegate-web bramblegate-snmp bramblegate-clat bramblegate-lab | grep -v -e /usr/share/doc/ -e /usr/share/man/ >/run/verified || true
    expect "files that differ from the package's" "" "$(cat /run/verified)"
    find /etc/bramblegate /var/lib/bramblegate -type f
}

# Prints what it does: the host shows what was cut off.
writing() {
    echo "=== writing: $*"
    "$@" >/dev/null 2>&1
}

write_without_end() {
    local number debs
    for number in $(seq 10000); do
        writing bramblegate nodes add nas --address 192.168.50.30
        writing bramblegate nodes drain rpi2
        writing bramblegate nodes rename nas store
        writing bramblegate nodes resume rpi2
        writing bramblegate nodes forget store
        if [ $((number % 2)) = 1 ]; then debs=later; else debs=debs; fi
        writing dpkg -i "$here/$debs"/bramblegate_*.deb
        writing systemctl restart bramblegate.service
    done
}
