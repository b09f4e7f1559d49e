# shellcheck shell=bash
# shellcheck disable=SC2154,SC2329
# Buttons on the lines of a real GPIO chip: 0 next page, 1 acknowledge, 2 power.

press() {
    usbsim press "$1"
    sleep "$2"
    usbsim release "$1"
}

said() { journalctl -b -u bramblegate.service --no-pager | grep -qF "$1"; }
lines_held() { find "/proc/$(main_pid)/fd" -lname '*gpio-event*' 2>/dev/null | wc -l; }
holds_three_lines() { [ "$(lines_held)" = 3 ]; }
holds_no_line() { [ "$(lines_held)" = 0 ]; }
# The one on the virtual bus, whatever others the machine has.
gpio_chip() {
    local chip
    for chip in /sys/bus/gpio/devices/gpiochip*; do
        case $(readlink -f "$chip") in
        */vhci_hcd.*) basename "$chip" && return 0 ;;
        esac
    done
    return 1
}

buttons_appear() {
    with_section '[gpio]' 'chip = "cp2112_gpio"' '[buttons]' 'next = 0' 'acknowledge = 1' 'power = 2'
    bramblegate check
    systemctl reload bramblegate.service
    usbsim plug buttons
    wait_for 30 "a GPIO chip" gpio_chip
    udevadm settle
    expect "rights" "root:gpio 660" "$(stat -c '%U:%G %a' "/dev/$(gpio_chip)")"
    wait_for 90 "the daemon has its lines" holds_three_lines
    cat /sys/kernel/debug/gpio
}

page() { lcd '.rows[1][:-1]'; }
page_is() { [ "$(page)" = "$1" ]; }
page_is_not() { ! page_is "$1"; }

next_page() {
    local before shown
    # Right after it has changed by itself: it would stand for four seconds more.
    before=$(page)
    wait_for 20 "another page" page_is_not "$before"
    before=$(page)
    press 0 0.2
    wait_for 2 "the next page, at once" page_is_not "$before"
    shown=$(page)
    echo "from '$before' to '$shown'"
    sleep 6
    page_is "$shown" || fail "it stood no longer than a page that came by itself: '$(page)'"
}

acknowledge_alert() {
    node ip link set port down
    wait_for 30 "an alert" has_alert node-down
    [ "$(status '.alerts[0].acknowledged')" = false ] || fail "it is known already"
    press 1 0.2
    wait_for 5 "it is known" status_is '.alerts[0].acknowledged' true
    node ip link set port up
    node ip route replace default via 192.168.50.1
    wait_for 30 "the end of the alert" has_no_alert node-down
}

power_let_go() {
    usbsim press 2
    wait_for 5 "the countdown" countdown
    lcd '.rows[1]'
    usbsim release 2
    sleep 5
    [ ! -e /run/bramblegate/power-off ] || fail "it was ordered"
    expect "the power-off unit" inactive "$(systemctl is-active bramblegate-poweroff.service || true)"
    expect "the path unit" active "$(systemctl is-active bramblegate-poweroff.path)"
    ! countdown || fail "the countdown is still there"
}
countdown() { [[ "$(lcd '.rows[1]')" == *OFF* || "$(lcd '.rows[1]')" == *POWER* ]]; }

# The chip pulled while its lines are waited for.
buttons_replugged() {
    local pid
    pid=$(main_pid)
    usbsim unplug buttons
    wait_for 30 "the daemon releases the lines" holds_no_line
    wait_for 10 "the journal says so" said "GPIO chip cp2112_gpio: No such device"
    usbsim plug buttons
    wait_for 90 "it has them again" holds_three_lines
    same_process "$pid"
    press 1 0.2
    is_active || fail "not active"
}

# The nodes power off, then the machine, by the shipped units alone. The button stays pressed.
hold_power() {
    usbsim press 2
    wait_for 150 "systemd powers off" powering_off
    is_off node || fail "rpi1 is still up"
    is_off worker || fail "the worker is still up"
    [ ! -e /run/bramblegate/power-off ] || fail "the order is still there: the next start would power off again"
}
powering_off() { systemctl list-jobs --no-legend --no-pager | grep -q poweroff.target; }
