# shellcheck shell=bash
# shellcheck disable=SC2154,SC2119,SC2120,SC2329
# The daemon as a user sees it: unit, panel, traffic, journal.

start_unit() {
    systemctl enable --quiet bramblegate.service
    systemctl start bramblegate.service
    is_active || fail "not active"
    expect "rule set in the kernel" yes "$(nft list table inet bramblegate >/dev/null 2>&1 && echo yes)"
    wait_for 30 "text on the glass" lcd_has_text
    # Nothing of an earlier start: the chip goes on showing that.
    local text began
    text=$(lcd .first_text_us)
    began=$(property ExecMainStartTimestampMonotonic)
    [ "$text" -lt "$began" ] || echo "the first text on the glass $(((text - began) / 1000)) ms after the unit's start"
}

lcd_has_text() { [ "$(lcd .first_text_us)" != null ]; }

panel_without_lease() {
    wait_for 20 "words on row 1" lcd_has_words
    [ -z "$(lease)" ] || fail "there is a lease already"
    lcd '.rows[0]'
}

lcd_has_words() { [[ "$(lcd '.rows[0]')" =~ ^(SEARCHING|NO\ DHCP|NO\ CABLE|NO\ UPLINK) ]]; }

# usage: venue_serves [OPTION...]: addresses and names; options are those of its dnsmasq
venue_serves() {
    run_in_venue dhcp -p PrivateTmp=yes \
        dnsmasq --keep-in-foreground --conf-file=/dev/null --no-ping --interface=port --bind-interfaces \
        --dhcp-authoritative --dhcp-range=10.99.0.100,10.99.0.199,1h --dhcp-leasefile=/tmp/leases --log-dhcp \
        --no-resolv --no-hosts --address=/www.example/203.0.113.80 "$@"
}

# usage: venue_leases [OPTION...]: the same, and the uplink has an address
venue_leases() {
    venue_serves "$@"
    networkctl reconfigure eth1
    wait_for 40 "a lease" have_lease
}

lease_on_row_1() {
    venue_leases
    wait_for 10 "row 1 is $(lease)" row_is 0 "$(lease)"
    lcd '.rows[0], .rows[1]'
}

address_is_back() { wait_for 30 "row 1 is $(lease)" row_is 0 "$(lease)"; }

have_lease() { [ -n "$(lease)" ]; }

node_online() {
    wait_for 20 "the page behind the venue" node_reaches
    node ping -q -c 3 -i 0.3 203.0.113.80
    expect "forwarding" "1 1" "$(cat /proc/sys/net/ipv4/conf/eth0/forwarding /proc/sys/net/ipv4/conf/eth1/forwarding | xargs)"
}

led_breathes_green() {
    wait_for 40 "green" stick_is_green
    sleep 5
    # Several levels of pure green in the last seconds: it breathes, and is not merely lit.
    local levels
    levels=$(usbsim stick history | tail -n 25 | awk '{ print $2 }' | grep -Ec '^#00[0-9a-f]{2}00$')
    [ "$levels" -ge 10 ] || fail "only $levels changes of green in the last 25"
    [ "$(usbsim stick history | tail -n 25 | awk '{ print $2 }' | sort -u | wc -l)" -ge 5 ] || fail "fewer than five levels"
}

stick_is_green() { usbsim stick history | tail -n 3 | grep -Eq '#00(0[1-9a-f]|[1-9a-f][0-9a-f])00'; }

status_agrees() {
    expect "uplink" "$(lease)" "$(status '.uplink.address' | cut -d/ -f1)"
    wait_for 20 "online" status_is .uplink.state online
    wait_for 20 "rpi1 up" status_is '.nodes[0].health' up
    expect "lcd" ok "$(status .panel.lcd.state)"
    expect "led" ok "$(status .panel.led.state)"
    expect "row 1 in status and on the glass" "$(lcd '.rows[0]')" "$(status '.panel.lcd.lines[0]')"
    bramblegate status
}

status_is() { [ "$(status "$1")" = "$2" ]; }

journal_fields() {
    local entries
    entries=$(journalctl -u bramblegate.service -o json --no-pager)
    jq -se --arg lease "$(lease)" 'any(.[]; (.MESSAGE_ID // "") != "" and ((.ADDRESS // "") | startswith($lease)))' <<<"$entries" >/dev/null ||
        fail "no entry with MESSAGE_ID and ADDRESS=$(lease)"
    jq -se 'any(.[]; (.MESSAGE_ID // "") != "" and .NODE == "rpi1")' <<<"$entries" >/dev/null || fail "no entry with NODE=rpi1"
    # Every message id that was used has an explanation in the catalog.
    local id
    for id in $(jq -r 'select(._COMM == "bramblegate") | .MESSAGE_ID // empty' <<<"$entries" | sort -u); do
        journalctl --list-catalog "$id" 2>/dev/null | grep -q . || fail "message $id is not in the catalog" || return 1
    done
    # A logbook: a line for each change of fact, none for each poll.
    local lines
    lines=$(jq -r 'select(._COMM == "bramblegate") | .MESSAGE' <<<"$entries" | wc -l)
    [ "$lines" -le 60 ] || fail "$lines lines"
}

sandbox() {
    local pid effective score
    pid=$(main_pid)
    expect "user" bramblegate "$(stat -c %U "/proc/$pid")"
    effective=$(awk '/^CapEff/ { print $2 }' "/proc/$pid/status")
    # CAP_NET_BIND_SERVICE 10, CAP_NET_ADMIN 12, CAP_NET_RAW 13
    expect "capabilities" 0000000000003400 "$effective"
    expect "no new privileges" 1 "$(awk '/^NoNewPrivs/ { print $2 }' "/proc/$pid/status")"
    score=$(systemd-analyze security --no-pager bramblegate.service | sed -n 's/.*exposure level.*: \([0-9.]*\) .*/\1/p')
    echo "exposure $score"
    awk -v s="$score" 'BEGIN { exit !(s != "" && s <= 2.2) }' || fail "exposure $score"
}

# With the unit enabled, the whole boot has an order.
boot_order() {
    local said
    said=$(systemd-analyze verify --man=no multi-user.target 2>&1 | grep -Ei 'cycle|bramblegate' || true)
    expect "complaints" "" "$said"
}
