# shellcheck shell=bash
# shellcheck disable=SC2154,SC2329
# The packages as dpkg, systemd and the kernel have them.

all_packages="bramblegate bramblegate-web bramblegate-snmp bramblegate-clat bramblegate-lab"

need_lease() { venue_leases; }

# The one thing of the unit that is not as shipped: an emulated machine needs ten times as long, and others use its host.
place_drop_in() {
    mkdir -p /etc/systemd/system/bramblegate.service.d
    printf '[Service]\nTimeoutStartSec=300\n' >/etc/systemd/system/bramblegate.service.d/emulated.conf
}

# Every file but for what the system keeps of any package and service.
everything() {
    find / -xdev \( -path /proc -o -path /run -o -path /tmp -o -path /var/tmp -o -path /dev -o -path /var/lib/dpkg -o -path /var/cache \
        -o -path /var/log -o -path /var/lib/systemd -o -path /root -o -path /var/lib/snmp \) -prune -o \
        \( -type f -o -type l -o -type d \) -printf '%y %m %p %l\n' | sort
}

# What packets go by.
network() {
    ip -o address | sed 's/ valid_lft .*//'
    ip rule
    ip -6 rule
    ip route show table all | grep -v ' cache '
    ip -6 route show table all | sed 's/ expires [^ ]*//'
    nft list ruleset
    grep -H . /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/*/{forwarding,arp_ignore,arp_announce,rp_filter} \
        /proc/sys/net/ipv6/conf/*/{forwarding,accept_ra}
}

need_packages() {
    place_drop_in
    ip link set eth0 up
    sleep 3 # addresses of IPv6 come by themselves
    # The image has taken links out of them; systemctl takes such folders away as it passes.
    find /etc/systemd/system -type d -empty -delete
    everything >/run/files.before
    network >/run/network.before
    # As `dpkg -i` in two steps, and between them an event of a device: udevd reads the rules before their group is there.
    dpkg --unpack "$here"/debs/*.deb
    sleep 3 # udevd looks for other rules at most that often
    udevadm trigger --settle --sysname-match=null
    dpkg --configure --pending
    expect "installed" 5 "$(dpkg-query -W -f '${db:Status-Status}\n' 'bramblegate*' | grep -cx installed)"
    wait_for 60 "the gateway is up" is_active
    expect "enabled" enabled "$(systemctl is-enabled bramblegate.service)"
    # Nothing to show, and no firewall yet.
    expect "the page" inactive "$(systemctl is-active bramblegate-web.service || true)"
    # snmpd and the translator have to be set up first.
    expect "for snmpd" disabled "$(systemctl is-enabled bramblegate-snmp.service || true)"
    expect "the translator" disabled "$(systemctl is-enabled bramblegate-clat.service || true)"
    expect "failed units" "" "$(systemctl --failed --plain --no-legend)"
}

first_start() {
    [ ! -e "$settings" ] || fail "there are settings"
    wait_for 60 "row 1 is $(lease)" row_is 0 "$(lease)"
    wait_for 30 "row 2 says what to do" row_begins 1 "RUN SETUP"
    has_alert host-not-set-up || fail "no alert"
    sleep 3
    network >/run/network.now
    diff /run/network.before /run/network.now
    need_rights
}

setup_by_flags() {
    local began
    began=$(date +%s%N)
    bramblegate setup --yes --uplink eth1 --cluster eth0 --web --snmp
    echo "setup took $((($(date +%s%N) - began) / 1000000)) ms"
    wait_for 60 "active" is_active
    wait_for 60 "row 1 is $(lease)" row_is 0 "$(lease)"
    echo "and the address was there after $((($(date +%s%N) - began) / 1000000)) ms"
    wait_for 20 "set up" has_no_alert host-not-set-up
    wait_for 30 "the page behind the venue" node_reaches
    wait_for 60 "addresses are served" serves
    ask_for_lease
    wait_for 20 "the worker is up" health_is worker up
    cat "$settings"
}

# usage: exposure UNIT LIMIT: as systemd-analyze has it
exposure() {
    local score
    score=$(systemd-analyze security --no-pager "$1" | sed -n 's/.*exposure level.*: \([0-9.]*\) .*/\1/p')
    echo "exposure of $1: $score"
    awk -v s="$score" -v l="$2" 'BEGIN { exit !(s != "" && s <= l) }' || fail "exposure $score"
}

# usage: in_sandbox UNIT: it runs, once, as a user of its own, with a filter of system calls
in_sandbox() {
    local pid
    pid=$(systemctl show -P MainPID "$1")
    expect "$1" active "$(systemctl is-active "$1" || true)"
    expect "restarts of $1" 0 "$(systemctl show -P NRestarts "$1")"
    [ "$(stat -c %u "/proc/$pid")" != 0 ] || fail "$1 is root"
    expect "system calls are filtered" 2 "$(awk '/^Seccomp:/ { print $2 }' "/proc/$pid/status")"
    expect "no new privileges" 1 "$(awk '/^NoNewPrivs/ { print $2 }' "/proc/$pid/status")"
}

page_answers() { timeout 5 busybox wget -q -O - "http://$1/healthz" >/dev/null; }

web_answers() {
    wait_for 60 "the page on this machine" page_answers 127.0.0.1
    in_sandbox bramblegate-web.service
    # From the cluster always, from the venue because setup was asked to.
    worker timeout 10 busybox wget -q -O - http://192.168.50.1/status.json | jq -e '.uplink.address' >/dev/null || fail "not from the cluster"
    venue timeout 10 busybox wget -q -O - "http://$(lease)/healthz" >/dev/null || fail "not from the venue"
    exposure bramblegate-web.service 2.2
}

snmp_root=.1.3.6.1.4.1.8072.9999.9999.7654
walk_has_worker() { snmpwalk -v 2c -c public -O nq 127.0.0.1 $snmp_root | grep -qF 06:00:00:00:00:02; }

snmp_answers() {
    wait_for 90 "snmpd knows the nodes" walk_has_worker
    snmpwalk -v 2c -c public -O nq 127.0.0.1 $snmp_root | head -n 12
    snmpget -v 2c -c public -O nq 127.0.0.1 "$(snmpwalk -v 2c -c public -O nq 127.0.0.1 $snmp_root | awk 'NR == 1 { print $1 }')" | tee /run/snmpget
    ! grep -q "No Such" /run/snmpget || fail "snmpget"
    in_sandbox bramblegate-snmp.service
    exposure bramblegate-snmp.service 2.2
}

worker_ipv6() { ip -n worker -6 -json address show dev port scope global | jq -r '.[].addr_info[]?.local' | grep -m 1 '^f[cd]'; }
ipv6_prefix() { status '.cluster.ipv6.prefix // empty'; }
has_prefix() { [ -n "$(ipv6_prefix)" ]; }

nodes_have_ipv6() {
    printf '[cluster]\nipv6 = "auto"\n' >"$(dirname "$settings")/bramblegate.toml.d/90-ipv6.toml"
    bramblegate check
    systemctl reload bramblegate.service
    wait_for 60 "a prefix" has_prefix
    status '.cluster.ipv6'
    wait_for 60 "the worker has an address of it" worker_ipv6
    echo "the worker is $(worker_ipv6)"
    worker ping -q -c 2 -i 0.3 "$(status '.cluster.ipv6.address' | cut -d/ -f1)"
    # Written by files of /proc/sys, which the unit has to be able to.
    expect "the cluster port hears no router" 0 "$(cat /proc/sys/net/ipv6/conf/eth0/accept_ra)"
    expect "complaints" "" "$(journalctl -b -u bramblegate.service -p warning --no-pager -o cat | grep -F -e /proc/sys -e ead-only || true)"
    expect "alerts about it" "" "$(status '.alerts[].code' | grep -i ipv6 || true)"
}

clat_state() { jq -r "$1" /run/bramblegate-clat/state.json; }
clat_mode_is() { [ "$(clat_state '.mode // "none"')" = "$1" ]; }

clat_waits() {
    # As doctor advises; at a boot it starts for the owner alone who wants that.
    systemctl enable --now bramblegate-clat
    systemctl disable bramblegate-clat
    wait_for 20 "a state" test -s /run/bramblegate-clat/state.json
    in_sandbox bramblegate-clat.service
    cat /run/bramblegate-clat/state.json
    expect "a device" none "$(clat_state '.device // "none"')"
    [ ! -e /sys/class/net/clat0 ] || fail "there is a device"
    exposure bramblegate-clat.service 2.2
}

# usage: order_clat MODE: as the daemon writes it, in one step
order_clat() {
    printf '{"schema": 1, "uplink": "eth1", "prefix": "64:ff9b::/96", "mode": "%s"}\n' "$1" >/run/bramblegate/clat.json.new
    chmod 644 /run/bramblegate/clat.json.new
    mv /run/bramblegate/clat.json.new /run/bramblegate/clat.json
}

# The daemon, which it wants, stays stopped.
restart_clat() {
    systemctl daemon-reload
    systemctl restart --job-mode=ignore-dependencies bramblegate-clat.service
}

pings_through_clat() { ping -q -c 2 -i 0.3 -W 2 -I clat0 45.45.45.81; }

clat_fails() {
    cat /run/bramblegate-clat/state.json
    journalctl -b -u bramblegate-clat.service --no-pager -o cat
    return 1
}

venue_without_ipv6() {
    rm -f /run/bramblegate/clat.json
    ip -6 route del default via 2001:db8:99::1 dev eth1
    ip -6 address del 2001:db8:99::2/64 dev eth1
    ip -6 address del fe80::2/64 dev eth1
}

# The venue has IPv6 and answers for 45.45.45.81 as its NAT64 would (the well-known prefix takes no address of documentation,
# RFC 6052).
clat_translates() {
    local before
    # The daemon orders by what it sees of the venue, and its rules know the translator only then: here it would get in the way.
    systemctl stop bramblegate.service
    bramblegate off
    install -d -m 755 /run/bramblegate
    trap 'venue_without_ipv6; systemctl start bramblegate.service' EXIT
    venue sh -c 'echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
    venue ip -6 address add 2001:db8:99::1/64 dev port nodad
    venue ip -6 address add 64:ff9b::2d2d:2d51/128 dev lo nodad
    ip -6 address add fe80::2/64 dev eth1 nodad
    ip -6 address add 2001:db8:99::2/64 dev eth1 nodad
    ip -6 route add default via 2001:db8:99::1 dev eth1
    before=$(cat /proc/sys/net/ipv6/conf/all/forwarding)
    order_clat bpf
    wait_for 60 "by BPF" clat_mode_is bpf || clat_fails
    cat /run/bramblegate-clat/state.json
    wait_for 30 "an answer by BPF" pings_through_clat
    # The way for kernels that take no BPF: it has to write to /proc/sys.
    order_clat tun
    wait_for 60 "by TUN" clat_mode_is tun || clat_fails
    wait_for 30 "an answer by TUN" pings_through_clat
    expect "neighbours are answered" 1 "$(cat /proc/sys/net/ipv6/conf/eth1/proxy_ndp)"
    # By itself: BPF, and where the kernel refuses that, TUN with the reason.
    order_clat auto
    wait_for 60 "by BPF" clat_mode_is bpf || clat_fails
    expect "a reason" none "$(clat_state '.reason // "none"')"
    mkdir -p /run/systemd/system/bramblegate-clat.service.d
    printf '[Service]\nAmbientCapabilities=\nAmbientCapabilities=CAP_NET_ADMIN\nCapabilityBoundingSet=\nCapabilityBoundingSet=CAP_NET_ADMIN\n' \
        >/run/systemd/system/bramblegate-clat.service.d/without-bpf.conf
    restart_clat
    wait_for 60 "by TUN" clat_mode_is tun || clat_fails
    wait_for 30 "an answer by TUN" pings_through_clat
    clat_state .reason | grep "not permitted" || clat_fails
    journalctl -b -u bramblegate-clat.service --no-pager -o cat | grep "without BPF.*not permitted" || clat_fails
    rm -r /run/systemd/system/bramblegate-clat.service.d
    restart_clat
    wait_for 60 "by BPF again" clat_mode_is bpf || clat_fails
    rm -f /run/bramblegate/clat.json
    wait_for 30 "nothing" clat_mode_is none
    expect "forwarding as before" "$before" "$(cat /proc/sys/net/ipv6/conf/all/forwarding)"
    in_sandbox bramblegate-clat.service
    journalctl -b -u bramblegate-clat.service --no-pager -o cat | tail -n 8
}

demo_is_there() { bramblegate demo --help | grep -q -- --seconds; }

# Twenty pings of a node at a time, ten a second, until there is the file: the end of one that is interrupted may count as a loss.
ping_until() {
    while [ ! -e "$1" ]; do node ping -q -c 20 -i 0.1 -W 20 203.0.113.80; done >/run/pings
}

venue_has_iperf3() { venue ss -Hltn 'sport = 5201' | grep -q .; }

upgrade_under_transfer() {
    local pid page clat transfer pinger began took version
    systemctl enable --quiet bramblegate-clat.service
    pid=$(main_pid)
    page=$(systemctl show -P MainPID bramblegate-web.service)
    clat=$(systemctl show -P MainPID bramblegate-clat.service)
    wait_for 60 "the node is online" node_reaches
    rm -f /run/upgraded
    # What goes on beside it ends with the step, however that ends.
    trap 'touch /run/upgraded; kill $(jobs -p) 2>/dev/null' EXIT
    ping_until /run/upgraded 2>/dev/null &
    pinger=$!
    # The node receives at a steady rate, until it is stopped.
    venue iperf3 -s -1 >/run/iperf3.server 2>&1 &
    wait_for 30 "iperf3 listens" venue_has_iperf3
    node iperf3 --forceflush -f k -R -b 4M -i 2 -t 600 -c 203.0.113.80 >/run/iperf3 2>&1 &
    transfer=$!
    sleep 8
    began=$SECONDS
    dpkg -i "$here"/later/*.deb
    took=$((SECONDS - began))
    wait_for 60 "active" is_active
    sleep 3
    kill -0 $transfer || fail "the transfer ended: $(cat /run/iperf3 /run/iperf3.server)"
    kill -TERM $transfer
    touch /run/upgraded
    wait $transfer || true
    wait $pinger
    [ "$(main_pid)" != "$pid" ] || fail "the same process"
    [ "$(systemctl show -P MainPID bramblegate-web.service)" != "$page" ] || fail "the page was not started anew"
    [ "$(systemctl show -P MainPID bramblegate-clat.service)" != "$clat" ] || fail "the translator was not started anew"
    awk '/packets transmitted/ { sent += $1; got += $4 } END { print sent " pings sent, " got " answered"; exit !(sent > 0 && sent == got) }' /run/pings ||
        fail "pings were lost"
    # Two seconds a line: [ ID] 2.00-4.00 sec 977 KBytes 4001 Kbits/sec
    awk '/-.* sec .*bits\/sec/ && !/receiver|sender/ { lines++; if ($7 + 0 == 0) still++ } END { print lines * 2 " s of transfer, " still * 2 " of them without a bit"; exit !(lines > 3 && !still) }' /run/iperf3 ||
        fail "the transfer stood still: $(cat /run/iperf3)"
    echo "the upgrade took $took s"
    for version in $(dpkg-query -W -f '${Version}\n' 'bramblegate*'); do
        [[ "$version" == *+later ]] || fail "still $version"
    done
    wait_for 20 "row 1 is the address" row_is 0 "$(lease)"
    wait_for 30 "the page answers" page_answers 127.0.0.1
    expect "failed units" "" "$(systemctl --failed --plain --no-legend)"
}

# Back to the version before, which does not accept what is written.
upgrade_with_wrong_settings() {
    local pid said
    pid=$(main_pid)
    printf 'uplink.of_the_future = true\n' >"$(dirname "$settings")/bramblegate.toml.d/95-future.toml"
    said=$(dpkg -i "$here"/debs/bramblegate_*.deb 2>&1)
    echo "$said"
    [[ "$said" == *"does not accept the settings"* ]] || fail "no word of it"
    same_process "$pid"
    node_reaches || fail "the node is offline"
    rm "$(dirname "$settings")/bramblegate.toml.d/95-future.toml"
    dpkg -i "$here"/later/bramblegate_*.deb
    [ "$(main_pid)" != "$pid" ] || fail "the same process"
}

packages_removed() {
    # shellcheck disable=SC2086
    dpkg -r $all_packages
    expect "units that run" "" "$(systemctl list-units --plain --no-legend 'bramblegate*')"
    expect "processes" "" "$(grep -l '^bramblegate' /proc/[0-9]*/comm 2>/dev/null || true)"
    ! nft list table inet bramblegate >/dev/null 2>&1 || fail "the table is still there"
    expect "rules of ours" "" "$(ip -4 rule | grep -Ev 'from all lookup (local|main|default)'; ip -6 rule | grep -Ev 'from all lookup (local|main|default)')"
    # Addresses and settings of ports, as before the installation; the lease and what networkd does with it stay.
    network >/run/network.now
    diff /run/network.before /run/network.now
    row_begins 0 STOPPED || fail "row 1: $(lcd '.rows[0]')"
    [ -e "$settings" ] || fail "the settings are gone"
}

packages_purged() {
    # shellcheck disable=SC2086
    dpkg -P $all_packages
    everything >/run/files.after
    # The user stays (Debian's policy), with what useradd keeps of the lists before.
    diff <(grep -v -E '^f [0-9]+ /etc/(passwd|group|shadow|gshadow)- ' /run/files.before) \
        <(grep -v -E '^f [0-9]+ /etc/(passwd|group|shadow|gshadow)- ' /run/files.after)
    expect "known to dpkg" "" "$(dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' 'bramblegate*' 2>/dev/null | grep -E '^(ii|rc)' || true)"
    [ ! -e /run/bramblegate ] || fail "the runtime directory is still there"
    expect "failed units" "" "$(systemctl --failed --plain --no-legend)"
}
