# shellcheck shell=bash
# shellcheck disable=SC2154,SC2329
# What goes wrong in practice: devices pulled, rules flushed, processes killed.

same_process() { expect "the same process" "$1" "$(main_pid)"; }

replug_lcd() {
    local pid
    pid=$(main_pid)
    usbsim unplug lcd
    wait_for 30 "status says that the LCD is gone" lcd_state_is_not_ok
    node_reaches || fail "the gateway noticed"
    usbsim plug lcd
    wait_for 30 "the bus is back" tiny_usb_bus
    wait_for 60 "row 1 is the address again" row_is 0 "$(lease)"
    same_process "$pid"
}

lcd_state_is_not_ok() { [ "$(status .panel.lcd.state)" != ok ]; }
led_state_is_not_ok() { [ "$(status .panel.led.state)" != ok ]; }

expander_gone() {
    local pid
    pid=$(main_pid)
    usbsim lcd off
    wait_for 30 "status says that the LCD is gone" lcd_state_is_not_ok
    usbsim lcd on
    wait_for 60 "row 1 is the address again" row_is 0 "$(lease)"
    same_process "$pid"
}

replug_stick() {
    local pid
    pid=$(main_pid)
    usbsim unplug stick
    wait_for 30 "status says that the stick is gone" led_state_is_not_ok
    usbsim plug stick
    wait_for 60 "green again" stick_is_green
    same_process "$pid"
}

foreign_flush() {
    nft flush ruleset
    wait_for 3 "the node is online" node_reaches
    nft list table inet bramblegate >/dev/null
}

reload() {
    local pid
    pid=$(main_pid)
    sed -i 's/name = "rpi1"/name = "renamed"/' "$settings"
    systemctl reload bramblegate.service
    wait_for 20 "the new name" status_is '.nodes[0].name' renamed
    same_process "$pid"
    is_active || fail "not active"
    sed -i 's/name = "renamed"/name = "rpi1"/' "$settings"
    systemctl reload bramblegate.service
    wait_for 20 "the old name" status_is '.nodes[0].name' rpi1
    row_is 0 "$(lease)" || fail "row 1"
}

reload_wrong() {
    local pid
    pid=$(main_pid)
    echo 'nonsense = true' >>"$settings"
    systemctl reload bramblegate.service || true
    sleep 2
    same_process "$pid"
    is_active || fail "not active"
    node_reaches || fail "the node is offline"
    good_settings >"$settings"
    systemctl reload bramblegate.service
    is_active || fail "not active after the repair"
}

# Ten pings a second by the node while something happens; none may get lost.
while_pinging() {
    node ping -q -i 0.1 -w "$1" 203.0.113.80 >/run/pings &
    local pinger=$!
    sleep 1
    shift
    "$@"
    wait $pinger || true
    grep -q ' 0% packet loss' /run/pings || fail "$(grep loss /run/pings)"
}

restart() {
    local pid before
    pid=$(main_pid)
    before=$(usbsim lcd history | wc -l)
    while_pinging 10 systemctl restart bramblegate.service
    [ "$(main_pid)" != "$pid" ] || fail "the same process"
    is_active || fail "not active"
    wait_for 20 "row 1 is the address" row_is 0 "$(lease)"
    # The panel stays as it is: the address never left row 1.
    expect "pictures without the address" "" "$(usbsim lcd history | tail -n "+$before" | grep -vF "|$(lease) " || true)"
}

restarted() { [ "$(main_pid)" != "$1" ] && [ "$(main_pid)" != 0 ] && is_active; }

kill_9() {
    local pid
    pid=$(main_pid)
    while_pinging 10 kill -9 "$pid"
    wait_for 20 "restarted" restarted "$pid"
    wait_for 20 "row 1 is the address" row_is 0 "$(lease)"
    [ "$(property NRestarts)" -ge 1 ] || fail "systemd counts no restart"
}

watchdog() {
    local pid restarts
    pid=$(main_pid)
    restarts=$(property NRestarts)
    kill -STOP "$pid"
    node_reaches || fail "the node is offline while the daemon hangs"
    wait_for 90 "restarted" restarted "$pid"
    [ "$(property NRestarts)" -gt "$restarts" ] || fail "systemd counts no restart"
    journalctl -u bramblegate.service --no-pager | grep -qi watchdog || fail "no watchdog in the journal"
    wait_for 20 "row 1 is the address" row_is 0 "$(lease)"
    wait_for 40 "green" stick_is_green
}

stop() {
    systemctl stop bramblegate.service
    row_begins 0 STOPPED || fail "row 1"
    expect "LED" "#000000" "$(stick '.leds[0]')"
    node_reaches || fail "the node is offline"
    expect "result" success "$(property Result)"
}

wrong_settings() {
    echo 'nonsense = true' >>"$settings"
    ! systemctl start bramblegate.service || fail "it started"
    sleep 3
    expect "state" failed "$(property ActiveState)"
    expect "exit code" 78 "$(property ExecMainStatus)"
    row_begins 0 "SETTINGS WRONG" || fail "row 1"
    good_settings >"$settings"
    systemctl reset-failed bramblegate.service
    systemctl start bramblegate.service
    wait_for 20 "row 1 is the address" row_is 0 "$(lease)"
}

# Another instance is refused and harms neither the running one nor the panel.
second_instance() {
    local pid code=0
    pid=$(main_pid)
    bramblegate run || code=$?
    expect "exit code" 75 "$code"
    same_process "$pid"
    row_is 0 "$(lease)" || fail "row 1"
}

# The first command in one of Bramblegate's texts: `sudo …` or (sudo …).
# shellcheck disable=SC2016
printed() { grep -o '[`(]sudo [^`)]*' | sed -n '1s/.sudo //p'; }
hidraw_has_rights() { [ "$(stat -c '%U:%G %a' /dev/hidraw0)" = "root:bramblegate 660" ]; }

# What our texts print for the service manager and udev is done as it is printed.
printed_commands() {
    local said command
    said=$(bramblegate run 2>&1) || true
    command=$(printed <<<"$said")
    expect "for a second instance" "systemctl stop bramblegate" "$command"
    eval "$command"
    ! is_active || fail "not stopped by: $command"
    said=$(bramblegate status 2>&1) || true
    command=$(printed <<<"$said")
    expect "for a daemon that does not run" "systemctl start bramblegate" "$command"
    eval "$command"
    wait_for 60 "started by: $command" is_active
    wait_for 60 "row 1 is the address" row_is 0 "$(lease)"
    chmod 600 /dev/hidraw0
    said=$(bramblegate doctor 2>&1) || true
    command=$(grep -A 1 'led-denied:' <<<"$said" | printed)
    [ -n "$command" ] || fail "no command for led-denied in: $said"
    eval "${command//sudo /}"
    wait_for 60 "the rights are back by: $command" hidraw_has_rights
    [ -n "$(journalctl --no-pager -u bramblegate -n 1)" ] || fail "the journal says nothing"
    systemctl --no-pager status bramblegate >/dev/null
    hostnamectl hostname other
    expect "the host name" other "$(cat /etc/hostname)"
    hostnamectl hostname head
}

missing_capability() {
    local drop_in=/run/systemd/system/bramblegate.service.d/system-test.conf
    systemctl stop bramblegate.service
    mkdir -p "$(dirname "$drop_in")"
    printf '[Service]\nAmbientCapabilities=\nCapabilityBoundingSet=\nCapabilityBoundingSet=CAP_NET_RAW\n' >"$drop_in"
    systemctl daemon-reload
    ! systemctl start bramblegate.service || fail "it started"
    sleep 3
    expect "state" failed "$(property ActiveState)"
    expect "exit code" 77 "$(property ExecMainStatus)"
    row_begins 0 "CANNOT START" || fail "row 1"
    rm "$drop_in"
    systemctl daemon-reload
    systemctl reset-failed bramblegate.service
    systemctl start bramblegate.service
    wait_for 20 "row 1 is the address" row_is 0 "$(lease)"
}

shutdown_hook() {
    systemctl stop bramblegate.service
    /usr/lib/systemd/system-shutdown/bramblegate poweroff
    [[ "$(lcd '.rows | join(" ")')" == *"SAFE TO UNPLUG"* ]] || fail "the panel"
    expect "backlight" true "$(lcd .backlight)"
    expect "LED" "#000000" "$(stick '.leds[0]')"
}

# The chip's datasheet was respected, over everything that came before. A chip that has just been powered is asked; each of
# the earlier ones went with its plug.
datasheet() {
    expect "what the chip would not have forgiven" 0 "$(lcd '.violations | length')"
}

off() {
    bramblegate off
    ! nft list table inet bramblegate >/dev/null 2>&1 || fail "the table is still there"
    expect "rules of ours" "" "$(ip -4 rule | grep -Ev 'from all lookup (local|main|default)')"
}

uninstallation() {
    "$here/tree/scripts/install.sh" uninstall "$here/tree/bramblegate" "" /usr /usr/lib
    expect "files left" "" "$(find /usr -name '*bramblegate*')"
    [ -e "$settings" ] || fail "the settings are gone"
}

# Nothing has been plugged in: no panel, no cluster port, no uplink.
booted() {
    wait_for 60 "ready" is_active
    local ready network
    ready=$(property ActiveEnterTimestampMonotonic)
    network=$(systemctl show -P ActiveEnterTimestampMonotonic network-pre.target)
    echo "ready at $ready us, network-pre.target at $network us"
    [ "$ready" -gt 0 ] || fail "never ready"
    [ "$network" -ge "$ready" ] || fail "not before the network"
    expect "restarts" 0 "$(property NRestarts)"
    nft list table inet bramblegate >/dev/null
    lcd_state_is_not_ok || fail "an LCD without one"
    expect "cycles" "" "$(journalctl -b --no-pager | grep -i 'ordering cycle' || true)"
    local stopping
    stopping=$(journalctl -b -1 -u bramblegate.service --no-pager -o cat)
    grep -q "stopping: the machine restarts" <<<"$stopping" || fail "no end of the boot before"
    expect "complaints at its end" "" "$(sed '1,/stopping: the machine restarts/d' <<<"$stopping" | grep -i fail || true)"
}
