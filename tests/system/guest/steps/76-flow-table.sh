# shellcheck shell=bash
# shellcheck disable=SC2154,SC2329
# The flow table of our rules (nf_flow_table), in a kernel that has it: what is in it passes no rule. The gain is measured with a
# connection that the kernel's own generator (pktgen) fills from the node, and with a transfer.

rounds=5

# usage: seen_by_rules: packets that the first chain for what is forwarded has counted
seen_by_rules() {
    nft -j list chain inet bramblegate forward | jq '[.nftables[].rule? // empty | .expr[].counter? // empty | .packets] | add'
}

venue_received() { venue cat /sys/class/net/port/statistics/rx_packets; }

# A UDP connection is assured when it has gone both ways for two seconds (net/netfilter/nf_conntrack_proto_udp.c).
open_connection() {
    venue sh -c 'while sleep 0.3 && echo back; do :; done | timeout 5 nc -u -l 203.0.113.80 9000' >/dev/null &
    sleep 1
    node sh -c 'while sleep 0.3 && echo out; do :; done | timeout 4 nc -u -p 9001 203.0.113.80 9000' >/dev/null || true
    wait
}

connection() { conntrack -L -p udp --orig-port-src 9001 2>/dev/null; }

flow_table_in_use() {
    local before rules passed
    journalctl -b -u bramblegate.service --no-pager -o cat | grep -F "with a flow table" || fail "the daemon reports none"
    nft list flowtables | tee /run/flowtables
    grep -E 'devices = .*eth0.*eth1' /run/flowtables || fail "not between the cluster and the uplink"
    before=$(lsmod | grep -c '^nf_flow_table ') || fail "the module is not loaded"
    open_connection
    connection | grep -F '[OFFLOAD]' || fail "connection tracking does not have it as offloaded: $(connection)"
    venue iperf3 -s -1 >/dev/null &
    wait_for 30 "iperf3 listens" venue_has_iperf3
    before=$(venue_received) rules=$(seen_by_rules)
    node iperf3 -t 3 -c 203.0.113.80 >/run/iperf3 &
    sleep 2
    conntrack -L -p tcp --dport 5201 2>/dev/null | grep -F '[OFFLOAD]' || fail "no connection of the transfer is offloaded"
    wait
    passed=$(($(venue_received) - before)) rules=$(($(seen_by_rules) - rules))
    echo "figure: flow table: of $passed packets of a transfer $rules passed a rule"
    [ "$passed" -gt 1000 ] || fail "a transfer of $passed packets"
    [ $((rules * 20)) -lt "$passed" ] || fail "the rules saw $rules of $passed packets"
}

# The rules as the daemon loaded them, and the same without the flow table.
write_rule_sets() {
    local rules
    # What a protected table has for its owner is not for nft.
    rules=$(bramblegate print ruleset --kernel | sed '/^\tflags /d')
    grep -q 'flow add' <<<"$rules" || fail "no rule fills the flow table"
    printf 'table inet bramblegate\ndelete table inet bramblegate\n%s\n' "$rules" >/run/with.nft
    sed -e '/^\tflowtable /,/^\t}/d' -e '/flow add/d' /run/with.nft >/run/without.nft
    ! grep -q flow /run/without.nft || fail "something of it is left: $(grep flow /run/without.nft)"
}

# usage: pktgen FILE WORD...: an order to the generator in the node's namespace
# shellcheck disable=SC2016
pktgen() { node sh -c 'printf "%s\n" "$2" >"/proc/net/pktgen/$1"' pktgen "$1" "${*:2}"; }

set_up_generator() {
    local word
    modprobe pktgen
    pktgen kpktgend_0 rem_device_all
    pktgen kpktgend_0 add_device port
    for word in "pkt_size 60" "delay 0" "dst 203.0.113.80" "dst_mac $(cat /sys/class/net/eth0/address)" \
        "src_min 192.168.50.11" "src_max 192.168.50.11" "udp_src_min 9001" "udp_src_max 9001" "udp_dst_min 9000" "udp_dst_max 9000"; do
        pktgen port "$word"
    done
    # They end where they arrive.
    venue nft -f - <<'NFT'
table netdev sink {
	chain arrived {
		type filter hook ingress device "port" priority 0; policy accept;
		udp dport 9000 counter drop
	}
}
NFT
}

arrived() { venue nft -j list chain netdev sink arrived | jq '[.nftables[].rule? // empty | .expr[].counter? // empty | .packets] | add'; }

# usage: blast COUNT: prints how many small packets a second were forwarded
blast() {
    local before
    before=$(arrived)
    pktgen port "count $1"
    pktgen pgctrl start
    before=$(($(arrived) - before))
    [ $((before * 100)) -ge $(($1 * 99)) ] || fail "of $1 packets $before arrived"
    node sed -n 's/^ *\([0-9]*\)pps .*/\1/p' /proc/net/pktgen/port
}

# Prints Mbit/s of a transfer.
transfer() { node iperf3 --json -t 1 -c 203.0.113.80 | jq '.end.sum_received.bits_per_second / 1e6 | floor'; }

median() { sort -n | awk '{ value[NR] = $1 } END { print (value[int((NR + 1) / 2)] + value[int((NR + 2) / 2)]) / 2 }'; }

# usage: ratio WHAT UNIT: of what was written to /run/WHAT.with and /run/WHAT.without
ratio() {
    awk -v with="$(median <"/run/$1.with")" -v without="$(median <"/run/$1.without")" -v what="$1" -v unit="$2" 'BEGIN {
        printf "figure: flow table, %s: %.2fx (%d with it, %d without, %s; medians)%s\n",
            what, with / without, with, without, unit, with < without * 1.02 ? ": no gain" : "" }'
}

flow_table_gain() {
    local count way rules
    modprobe pktgen
    write_rule_sets
    systemctl stop bramblegate.service
    trap 'venue nft delete table netdev sink || true; kill $(jobs -p) 2>/dev/null || true; systemctl start bramblegate.service' EXIT
    # A table that outlives its owner keeps its flags, and the kernel takes none without them in its place.
    nft delete table inet bramblegate
    nft -f /run/with.nft
    open_connection
    set_up_generator
    venue iperf3 -s >/dev/null 2>&1 &
    wait_for 30 "iperf3 listens" venue_has_iperf3
    # As many as pass in about a second.
    count=$(blast 5000)
    for _ in $(seq $rounds); do
        for way in with without; do
            nft -f "/run/$way.nft"
            rules=$(seen_by_rules)
            blast "$count" >>"/run/small packets.$way"
            rules=$(($(seen_by_rules) - rules))
            case $way in
            with) [ $((rules * 100)) -lt "$count" ] || fail "with the flow table $rules of $count packets passed a rule" ;;
            without) [ "$rules" -ge $((count * 99 / 100)) ] || fail "without it only $rules of $count packets passed a rule" ;;
            esac
            transfer >>"/run/bulk.$way"
        done
    done
    ratio "small packets" "a second"
    ratio bulk "Mbit/s"
    echo "of $count small packets in $rounds rounds each; bulk in segments of up to 64 KiB"
}
