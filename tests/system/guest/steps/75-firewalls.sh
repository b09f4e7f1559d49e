# shellcheck shell=bash
# shellcheck disable=SC2154,SC2329
# Beside other firewalls: what the gateway promises goes on, or status and doctor name what drops it with a remedy that is typed as it
# is printed; the venue stays out; and the rules of the others stay as they are.

# Of documentation (RFC 3849); the venue's router is the other one.
head_ipv6=2001:db8:99::2
venue_ipv6=2001:db8:99::1

node_ipv6() { ip -n node -6 -json address show dev port scope global | jq -r '.[].addr_info[]?.local' | grep -m 1 '^f[cd]'; }

# The networks of the other parts, with IPv6 in the venue and something that listens: on the head, at a node.
need_neighbourhood() {
    need_networks
    venue_leases
    venue sh -c 'echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
    venue ip -6 address add "$venue_ipv6/64" dev port nodad
    ip -6 address add fe80::2/64 dev eth1 nodad
    ip -6 address add "$head_ipv6/64" dev eth1 nodad
    ip -6 route add default via "$venue_ipv6" dev eth1
    mkdir -p /etc/dropbear
    systemd-run --quiet --unit=head-ssh dropbear -F -R -s
    systemd-run --quiet --unit=head-web busybox httpd -f -p '[::]:8000' -h /run/www
    systemd-run --quiet --unit=node-web -p NetworkNamespacePath=/run/netns/node busybox httpd -f -p '[::]:8000' -h /run/www
    # A curious stranger: whatever lies behind the head, it is sent there.
    venue ip route add 192.168.50.0/24 via "$(lease)"
    venue ip route add 172.17.0.0/16 via "$(lease)"
}

need_gateway() {
    place_drop_in
    dpkg -i "$here"/debs/bramblegate_*.deb
    bramblegate setup --yes --uplink eth1 --cluster eth0
    printf '[cluster]\nipv6 = "auto"\n' >"$(dirname "$settings")/bramblegate.toml.d/90-ipv6.toml"
    systemctl reload bramblegate.service
    bramblegate nodes add rpi1 --address 192.168.50.11
    all_is_well
    venue ip -6 route add "$(status '.cluster.ipv6.prefix')" via "$head_ipv6"
}

# usage: promise WORDS COMMAND...: prints the words if the command fails
promise() {
    local words=$1
    shift
    "$@" >/dev/null 2>&1 || echo "$words"
}

# usage: knocks WHO ADDRESS PORT: can a connection be opened?
knocks() { "$1" nc -z -w 3 "$2" "$3"; }
pings() { "$1" ping -q -c 2 -i 0.3 -W 2 "$2"; }
gets_lease() { ask_for_lease -t 5; }
gets_names() { [ "$(asks_names node 192.168.50.1)" -gt 0 ]; }

# Prints what of all that is promised does not work, a line each; asked at once.
broken() {
    promise "a node's pings" pings node 203.0.113.80 &
    promise "a node's connections" node_reaches &
    promise "a node's IPv6" pings node "$venue_ipv6" &
    promise "addresses for nodes" gets_lease &
    promise "names for nodes" gets_names &
    promise "pings of nodes" pings here_ 192.168.50.11 &
    promise "the head's own connections" knocks here_ 203.0.113.80 80 &
    promise "ssh from the venue" knocks venue "$(lease)" 22 &
    promise "ssh from the venue by IPv6" knocks venue "$head_ipv6" 22 &
    promise "pings from the venue" pings venue "$(lease)" &
    wait
}

nothing_is_broken() { [ -z "$(broken)" ]; }

# All works, and neither status nor doctor names another program's rules.
all_is_well() {
    local deadline=$((SECONDS + 90)) left
    while left=$(broken) && [ -n "$left" ]; do
        [ $SECONDS -lt $deadline ] || fail "broken: $left" || return 1
        sleep 0.5
    done
    wait_for 60 "no alert about other programs' rules" has_no_alert gateway-blocked
    expect "named by doctor" "" "$(named_by_doctor)"
}

named_by_doctor() {
    (bramblegate doctor --json || true) | jq -r '.checks[].findings[] | select(.code == "gateway-blocked" or .code == "uplink-blocked") | .text'
}

# The commands at the end of the alerts that name a chain, a line for each. Those that name none are about what was lost up to now.
printed_remedies() { status '.alerts[] | select(.code == "gateway-blocked") | .text' | sed -n 's/^chain [^:]*: //p'; }
printed_others() { [ "$(printed_remedies)" != "$1" ]; }

# usage: put_right: what is broken is named, and mended by what is printed. A second round is for what was behind the first.
put_right() {
    local lost named remedies command rounds=0
    while [ $rounds -lt 3 ]; do
        # The daemon looks when the others have been quiet for a moment, two seconds after their first change at the latest.
        sleep 4
        lost=$(broken | command paste -sd,)
        remedies=$(printed_remedies)
        [ -z "$lost" ] || echo "lost: $lost"
        if [ -z "$remedies" ]; then
            [ -z "$lost" ] || fail "nothing is named, and lost: $lost"
            break
        fi
        named=$(named_by_doctor)
        echo "$named"
        [ -n "$named" ] || fail "doctor does not name what status does: $remedies"
        while read -r command; do
            echo "typed: $command"
            bash -ec "$command" </dev/null
        done <<<"$remedies"
        wait_for 20 "the remedies end their alerts" printed_others "$remedies"
        rounds=$((rounds + 1))
    done
    echo "put right after $rounds rounds of remedies"
    all_is_well
}

# Everything that listens on the head, a port at a node and in a container.
scanned_ports() { (ss -Hltn | awk '{ print $4 }' | sed 's/.*://'; printf '%s\n' 80 111 2375 5201 8000) | sort -nu; }

scanned_addresses() {
    printf '%s\n' "$(lease)" "$head_ipv6" 192.168.50.1 "$(status '.cluster.ipv6.address' | cut -d/ -f1)" \
        192.168.50.11 "$(node_ipv6)" 172.17.0.1 172.17.0.2
}

# A question for rpi1.bramble (RFC 1035, 4).
question='\022\064\001\000\000\001\000\000\000\000\000\000\004rpi1\007bramble\000\000\001\000\001'

# usage: asks_names WHO ADDRESS: prints how many bytes the answer has
asks_names() { printf %b "$question" | "$1" timeout 3 nc -u -w 2 "$2" 53 2>/dev/null | wc -c; }

# Prints what answers the venue, a line each.
scan() {
    # shellcheck disable=SC2016
    venue env addresses="$(scanned_addresses | command paste -sd' ')" ports="$(scanned_ports | command paste -sd' ')" question="$question" bash -c '
        names() { printf %b "$question" | timeout 2 nc -u -w 2 "$1" 53 2>/dev/null | wc -c; }
        for address in $addresses; do
            (if [ "$(names "$address")" != 0 ]; then echo "$address names"; fi) &
            for port in $ports; do
                (if nc -z -w 2 "$address" "$port" 2>/dev/null; then echo "$address $port"; fi) &
            done
        done
        wait' | sort
}

# What is closed is there: the head's page, the node's page, names. The first scan is kept for the others.
only_ssh_is_open() {
    local open
    knocks node 192.168.50.1 8000 || fail "nothing listens on the head"
    knocks here_ 192.168.50.11 8000 || fail "nothing listens at the node"
    knocks here_ "$(node_ipv6)" 8000 || fail "nothing listens at the node by IPv6"
    [ "$(asks_names node 192.168.50.1)" -gt 0 ] || fail "names are not asked for as they should be"
    open=$(scan)
    grep -qx "$(lease) 22" <<<"$open" || fail "no ssh by IPv4"
    grep -qx "$head_ipv6 22" <<<"$open" || fail "no ssh by IPv6"
    # ssh is the head's, at whatever address of it.
    expect "open beside ssh" "" "$(grep -v ' 22$' <<<"$open" || true)"
    expect "open at nodes and containers" "" "$(grep -e '^192.168.50.11 ' -e "^$(node_ipv6) " -e '^172.17.0.2 ' <<<"$open" || true)"
    # Docker's bridge brings an address of the head.
    grep -v '^172.17.0.1 22$' <<<"$open" >/run/scan.now
    [ -e /run/scan.before ] || cp /run/scan.now /run/scan.before
    expect "open as before" "$(cat /run/scan.before)" "$(cat /run/scan.now)"
    echo "$(scanned_addresses | wc -l) addresses, ports $(scanned_ports | command paste -sd' '), names: open are $(command paste -sd, <<<"$open")"
}

# Rules and forwarding of others, without their counters.
others_rules() {
    nft -s list ruleset 2>/dev/null | awk '/^table inet bramblegate / { ours = 1 } !ours { print } /^}/ { ours = 0 }'
    cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding
}

# usage: stop_and_off [COMMAND...]: neither changes anything of the others; the command holds without us too
stop_and_off() {
    others_rules >/run/others.before
    grep -q '^table' /run/others.before || fail "there are no rules of others"
    systemctl stop bramblegate.service
    others_rules | diff /run/others.before - || fail "changed by a stop"
    bramblegate off
    ! nft list table inet bramblegate >/dev/null 2>&1 || fail "our table is still there"
    # IPv6 is forwarded for the nodes alone.
    sed '$d' /run/others.before >/run/others.wanted
    others_rules | sed '$d' | diff /run/others.wanted - || fail "changed by off"
    [ $# = 0 ] || "$@"
    systemctl start bramblegate.service
    all_is_well
    others_rules | diff /run/others.before - || fail "changed by a start"
    echo "$(grep -c . /run/others.before) lines of theirs are as they were"
}

# usage: forget_tables TABLE...: what iptables' programs leave behind is taken away
forget_tables() {
    local table
    for table in "$@"; do
        # shellcheck disable=SC2086
        nft delete table $table 2>/dev/null || true
    done
}

firewalld_beside() {
    systemctl enable --now firewalld.service
    firewall-cmd --state
    echo "firewalld $(firewall-cmd --version), zone $(firewall-cmd --get-default-zone)"
    put_right
}

firewalld_again() {
    firewall-cmd --reload
    all_is_well
    systemctl restart firewalld.service
    all_is_well
    only_ssh_is_open
}

firewalld_left_alone() {
    stop_and_off
    systemctl disable --now firewalld.service
    all_is_well
}

ufw_beside() {
    systemctl enable --now ufw.service
    ufw --force enable
    ufw version | head -n 1
    put_right
    ufw status verbose
}

ufw_again() {
    ufw reload
    all_is_well
    systemctl restart ufw.service
    all_is_well
    only_ssh_is_open
}

ufw_left_alone() {
    stop_and_off
    ufw disable
    systemctl disable --now ufw.service
    forget_tables "ip filter" "ip6 filter" "ip nat" "ip mangle" "ip raw"
    all_is_well
}

in_container() { docker exec inside /usr/bin/busybox "$@"; }
container_online() { [ "$(in_container timeout 5 wget -q -O - http://203.0.113.80/ok)" = online ]; }
container_answers() { [ "$(busybox wget -q -T 5 -O - http://172.17.0.2:8000/ok)" = online ]; }

docker_beside() {
    systemctl enable --now docker.service
    docker version --format 'Docker {{.Server.Version}}'
    tar -c -C / usr/bin/busybox -C /run/www ok | docker import - box
    docker run --detach --restart always --name inside box /usr/bin/busybox httpd -f -p 8000 -h /
    put_right
    wait_for 30 "the container is online" container_online
    wait_for 30 "the container answers the head" container_answers
    iptables -S FORWARD
    iptables -S DOCKER-USER
}

docker_again() {
    systemctl restart docker.service
    all_is_well
    wait_for 60 "the container is online" container_online
    iptables -S DOCKER-USER
    only_ssh_is_open
}

docker_left_alone() { stop_and_off container_online; }

# The lines of the guide that keep the remedy, as they stand there.
docker_remedy_is_kept() {
    sed -n '/docker.service.d$/,/daemon-reload$/p' "$here/tree/docs/guide/troubleshooting.md" | sed 's/sudo //' >/run/typed
    grep -q daemon-reload /run/typed || fail "the guide has no such lines"
    bash -ex /run/typed
    systemctl restart docker.service
    all_is_well
    iptables -S DOCKER-USER
    expect "rules, each once" 2 "$(iptables -S DOCKER-USER | grep -c eth0)"
}

# The gateway starts before Docker, and what nftables.service loads begins with `flush ruleset`. Nothing is typed.
docker_after_reboot() {
    wait_for 60 "the gateway is up" is_active
    wait_for 120 "Docker is up" docker info
    expect "nftables.service" active "$(systemctl is-active nftables.service)"
    iptables -S FORWARD
    iptables -S DOCKER-USER
    all_is_well
    wait_for 60 "the container is online" container_online
    venue ip -6 route add "$(status '.cluster.ipv6.prefix')" via "$head_ipv6"
    only_ssh_is_open
    expect "restarts" 0 "$(property NRestarts)"
    expect "cycles" "" "$(journalctl -b --no-pager | grep -i 'ordering cycle' || true)"
}

# What becomes of our table, with the time in µs at which it was read.
note_times() {
    local line
    while IFS= read -r line; do
        case $line in
        "add table inet bramblegate"* | "delete table inet bramblegate"*) echo "${EPOCHREALTIME/./} ${line%% *}" ;;
        "# new generation"*) echo "${EPOCHREALTIME/./} generation" ;;
        esac
    done
}

# Two hundred pings of a node a second until there is the file; not interrupted, for that may count as a loss.
ping_fast_until() {
    while [ ! -e "$1" ]; do node ping -q -c 100 -i 0.005 -W 5 203.0.113.80; done >/run/pings
}

# usage: restart_nftables TIMES: prints how many pings were lost; what became of our table is in /run/heard
restart_nftables() {
    local pinger ear time
    rm -f /run/restarted
    nft monitor > >(note_times >/run/heard) &
    ear=$!
    ping_fast_until /run/restarted &
    pinger=$!
    trap 'touch /run/restarted; kill $(jobs -p) 2>/dev/null || true' EXIT
    sleep 1
    for time in $(seq "$1"); do
        systemctl restart nftables.service
        wait_for 5 "our table is there after restart $time" nft list table inet bramblegate
        sleep 0.5
    done
    touch /run/restarted
    wait "$pinger"
    kill "$ear"
    sleep 0.5
    awk -v times="$1" '/packets transmitted/ { sent += $1; got += $4 }
        END { printf "figure: %d of %d pings lost over %d restarts of nftables.service\n", sent - got, sent, times; print sent - got >"/run/lost" }' /run/pings
}

nftables_restart_protected() {
    systemctl enable --now nftables.service
    expect "the first line of Debian's file" "flush ruleset" "$(grep -v '^#' /etc/nftables.conf | grep -m 1 .)"
    all_is_well
    restart_nftables 3
    grep -q generation /run/heard || fail "nothing was heard at all"
    expect "heard of our table" "" "$(grep -v generation /run/heard || true)"
    expect "lost pings" 0 "$(cat /run/lost)"
    all_is_well
}

nftables_restart_unprotected() {
    printf '[gateway]\nprotect = false\n' >"$(dirname "$settings")/bramblegate.toml.d/91-protect.toml"
    systemctl reload bramblegate.service
    sleep 2
    restart_nftables 3
    # What is put back is sent as: add, delete, add. What counts is how a transaction ends.
    awk '$2 != "generation" { last = $2; next }
        last == "delete" && !gone { gone = $1 }
        last == "add" && gone { print $1 - gone; gone = 0 }
        { last = "" }' /run/heard | sort -n >/run/away
    [ -s /run/away ] || fail "the table was never away: $(cat /run/heard)"
    awk '{ time[NR] = $1 } END { printf "figure: without protection our table was away %d times, as nft monitor printed it for %.1f ms (median), %.1f ms (longest)\n", NR, time[int((NR + 1) / 2)] / 1000, time[NR] / 1000 }' /run/away
    all_is_well
    rm "$(dirname "$settings")/bramblegate.toml.d/91-protect.toml"
    systemctl reload bramblegate.service
    all_is_well
}

nftables_left_alone() { stop_and_off; }
