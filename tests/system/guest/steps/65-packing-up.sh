# shellcheck shell=bash
# shellcheck disable=SC2154,SC2329
# The nodes shut down over ssh, by the command and then by the button, under the real systemd.

shutdown_key=/etc/bramblegate/shutdown_key

is_off() { [ "$(ip -n "$1" -json link show port | jq -r '.[0].operstate')" = DOWN ]; }

# As docs/guide/packing-up.md has it, but for what the key does: the nodes are namespaces, and one without power has no link.
nodes_have_key() {
    ssh-keygen -q -t ed25519 -N '' -C bramblegate-shutdown -f "$shutdown_key"
    install -d -m 700 /root/.ssh
    printf 'restrict,command="(sleep 1; ip link set port down) >/dev/null 2>&1 &" %s\n' "$(cat "$shutdown_key.pub")" >/root/.ssh/authorized_keys
    mkdir -p /etc/dropbear
    node dropbear -R -s
    worker dropbear -R -s
    printf '[shutdown]\nkey = "%s"\n' "$shutdown_key" >>"$settings"
    bramblegate check
    systemctl reload bramblegate.service
    wait_for 60 "rpi1 is up" health_is rpi1 up
    wait_for 60 "the worker is up" health_is worker up
    bramblegate shutdown --all --dry-run
}

nodes_shut_down() {
    local began=$SECONDS
    bramblegate shutdown --yes
    # The slowest is off a second after it was asked; that it is silent is believed after eight.
    echo "the nodes were off after $((SECONDS - began)) s"
    is_off node || fail "rpi1 is still up"
    is_off worker || fail "the worker is still up"
    wait_for 20 "no alarm for rpi1" health_is rpi1 maintenance
    expect "alerts of nodes" "" "$(status '.alerts[].code' | grep node- || true)"
    is_active || fail "the gateway ended"
    node ip link set port up
    node ip route replace default via 192.168.50.1
    worker ip link set port up
    wait_for 60 "rpi1 is back" health_is rpi1 up
    wait_for 60 "the worker is back" health_is worker up
}
