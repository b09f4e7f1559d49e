# shellcheck shell=bash
# shellcheck disable=SC2154,SC2329
# The nodes shut down over ssh, by the command and then by the button, under the real systemd.

shutdown_key=/etc/bramblegate/shutdown_key

# Beside the node and the worker; all four go at once.
further="third fourth"

is_off() { [ "$(ip -n "$1" -json link show port | jq -r '.[0].operstate')" = DOWN ]; }

# As docs/guide/packing-up.md has it, but for what the key does: the nodes are namespaces, and one without power has no link.
nodes_have_key() {
    local name last=12
    for name in $further; do
        last=$((last + 1))
        ip netns add "$name"
        plug_into switch "$name"
        ip -n "$name" address add "192.168.50.$last/24" dev port
        bramblegate nodes add "$name" --address "192.168.50.$last"
    done
    ssh-keygen -q -t ed25519 -N '' -C bramblegate-shutdown -f "$shutdown_key"
    install -d -m 700 /root/.ssh
    printf 'restrict,command="(sleep 1; ip link set port down) >/dev/null 2>&1 &" %s\n' "$(cat "$shutdown_key.pub")" >/root/.ssh/authorized_keys
    mkdir -p /etc/dropbear
    for name in node worker $further; do ip netns exec "$name" dropbear -R -s; done
    printf '[shutdown]\nkey = "%s"\n' "$shutdown_key" >>"$settings"
    bramblegate check
    systemctl reload bramblegate.service
    wait_for 60 "rpi1 is up" health_is rpi1 up
    for name in worker $further; do wait_for 60 "$name is up" health_is "$name" up; done
    bramblegate shutdown --all --dry-run
}

nodes_shut_down() {
    local began name
    began=$(date +%s%N)
    bramblegate shutdown --yes
    # Each is off a second after it was asked; that it is silent is believed after eight.
    awk -v ns=$(($(date +%s%N) - began)) 'BEGIN { printf "figure: four nodes were off after %.1f s, each of them a second after it was asked\n", ns / 1e9 }'
    for name in node worker $further; do is_off "$name" || fail "$name is still up"; done
    wait_for 20 "no alarm for rpi1" health_is rpi1 maintenance
    expect "alerts of nodes" "" "$(status '.alerts[].code' | grep node- || true)"
    is_active || fail "the gateway ended"
    node ip link set port up
    node ip route replace default via 192.168.50.1
    for name in worker $further; do ip -n "$name" link set port up; done
    wait_for 60 "rpi1 is back" health_is rpi1 up
    for name in worker $further; do wait_for 60 "$name is back" health_is "$name" up; done
}
