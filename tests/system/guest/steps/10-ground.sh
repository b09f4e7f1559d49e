# shellcheck shell=bash
# shellcheck disable=SC2154,SC2329
# What the rest stands on: USB devices, networks, the installation.

need_devices() {
    modprobe -a vhci-hcd usbhid hid-generic hid-cp2112 i2c-tiny-usb i2c-dev
    # Real devices outlive the system that is shut down: @ as the first letter keeps systemd-shutdown from killing it.
    systemd-run --quiet --unit=usbsim -p DefaultDependencies=no -p KillMode=none -p Type=exec \
        bash -c "exec -a @usbsim '$here/bin/usbsim' serve '$hub'"
    wait_for 10 "the simulation answers" test -S "$hub"
    usbsim plug stick
    usbsim plug lcd
    wait_for 30 "a hidraw node" test -c /dev/hidraw0
    wait_for 30 "an I2C bus" tiny_usb_bus
    udevadm settle
    lsusb
}

# The bus is found by its adapter's name: other adapters may come first.
tiny_usb_bus() {
    local name
    for name in /sys/class/i2c-dev/i2c-*/name; do
        case $(cat "$name") in
        *tiny-usb*) basename "$(dirname "$name")" && return 0 ;;
        esac
    done
    return 1
}

# plug_into SWITCH NAMESPACE: the port of a namespace, and a cable to the switch
plug_into() {
    ip link add "to-$2" netns "$1" type veth peer name port netns "$2"
    ip -n "$1" link set "to-$2" master switch up
    ip -n "$2" link set lo up
    ip -n "$2" link set port up
}

# usage: run_in_venue NAME [OPTION...] COMMAND...: in the background; $background has more options
run_in_venue() {
    systemd-run --quiet "${background[@]}" --unit="venue-$1" -p NetworkNamespacePath=/run/netns/venue "${@:2}"
}

# The venue's end of the cable is there already.
furnish_venue() {
    venue ip address add 10.99.0.1/24 dev port
    venue ip address add 203.0.113.80/32 dev lo
    venue ip link set lo up
    venue ip link set port up
    mkdir -p /run/www
    printf online >/run/www/ok
    run_in_venue web busybox httpd -f -p 203.0.113.80:80 -h /run/www
}

need_venue() {
    ip netns add venue
    ip link add eth1 type veth peer name port netns venue
    furnish_venue
    # The DHCP client is the distribution's: systemd-networkd, on the uplink only.
    mkdir -p /run/systemd/network
    printf '[Match]\nName=eth1\n[Network]\nDHCP=ipv4\nIPv6AcceptRA=no\nLinkLocalAddressing=no\n' >/run/systemd/network/10-uplink.network
    systemctl restart systemd-networkd.service
}

# The cluster: a switch with the head, a node that has its address by itself, and one that asks for one. Usage: furnish_cluster
# COMMAND...: it puts the head's cable, `to-head`, into the namespace `switch`
furnish_cluster() {
    local namespace
    for namespace in switch node worker; do ip netns add "$namespace"; done
    ip -n switch link add switch type bridge
    ip -n switch link set switch up
    "$@"
    ip -n switch link set to-head master switch up
    plug_into switch node
    plug_into switch worker
    node ip address add 192.168.50.11/24 dev port
    node ip route add default via 192.168.50.1
    worker ip link set port address 06:00:00:00:00:02
    # Each node has a resolv.conf of its own (ip-netns(8)). It is written to later, when the disk may be full or read-only.
    mkdir -p /run/nodes/worker /run/nodes/newcomer
    touch /run/nodes/worker/resolv.conf /run/nodes/newcomer/resolv.conf
    [ -e /etc/resolv.conf ] || touch /etc/resolv.conf
    ln -sfn /run/nodes /etc/netns
}

need_networks() {
    mkdir -p /run/systemd/network
    printf '[Match]\nName=eth0\n[Link]\nUnmanaged=yes\n' >/run/systemd/network/10-cluster.network
    need_venue
    furnish_cluster ip link add eth0 type veth peer name to-head netns switch
}

need_installation() {
    "$here/tree/scripts/install.sh" install "$here/tree/bramblegate" "" /usr /usr/lib
    # The one thing of the unit that is not as shipped: an emulated machine needs ten times as long, and others use its host.
    mkdir -p /etc/systemd/system/bramblegate.service.d
    printf '[Service]\nTimeoutStartSec=300\n' >/etc/systemd/system/bramblegate.service.d/emulated.conf
    systemctl daemon-reload
    mkdir -p "$(dirname "$settings")"
    good_settings >"$settings"
    bramblegate check
}

good_settings() {
    cat <<TOML
board = "generic-pc"

[uplink]
interfaces = ["eth1"]
check.url = "http://203.0.113.80/ok"
check.expect = "online"

[cluster]
interface = "eth0"
address = "192.168.50.1/24"

[cluster.dhcp]
range = "192.168.50.100-192.168.50.199"

[[node]]
name = "rpi1"
address = "192.168.50.11"
probe = "icmp"

[lcd]
bus = "/dev/$(tiny_usb_bus)"
address = 0x27
size = "16x2"

[led]
device = "blinkstick"
TOML
}

need_rights() {
    expect "hidraw" "root:bramblegate 660" "$(stat -c '%U:%G %a' /dev/hidraw0)"
    expect "i2c" "root:i2c 660" "$(stat -c '%U:%G %a' "/dev/$(tiny_usb_bus)")"
}
