# shellcheck shell=bash
# shellcheck disable=SC2154,SC2329
# What the nodes get: addresses and names, by a dnsmasq inside the unit's sandbox; and what people may order about them.

# ask_for_lease [OPTION...]: until there is a lease; it is kept when the client ends
ask_for_lease() {
    worker busybox udhcpc -f -n -q -i port -t 20 -T 1 -x hostname:worker -s "$here/guest/udhcpc.sh" "$@"
}

worker_address() { ip -n worker -4 -json address show dev port | jq -r '.[].addr_info[]?.local'; }
resolved() { worker getent ahostsv4 "$1" | awk 'NR == 1 { print $1 }'; }
resolves_to() { [ "$(resolved "$1")" = "$2" ]; }
serves() { status_is .cluster.dhcp serving; }
health_of() { status ".nodes[] | select(.name == \"$1\") | .health"; }
health_is() { [ "$(health_of "$1")" = "$2" ]; }

node_gets_lease() {
    wait_for 60 "addresses are served" serves
    ask_for_lease
    local address
    address=$(worker_address)
    [[ "$address" =~ ^192\.168\.50\.1[0-9][0-9]$ ]] || fail "the address is '$address'"
    wait_for 20 "the worker is up" health_is worker up
    expect "its address in status" "$address" "$(status '.nodes[] | select(.name == "worker") | .address')"
    journalctl -u bramblegate.service --no-pager | grep -F "$address" | grep -qF 06:00:00:00:00:02 || fail "no line of the lease in the journal"
}

# A name of the settings, one that a node gave itself, one that only the venue's resolver knows.
node_resolves_names() {
    expect "nameserver" "nameserver 192.168.50.1" "$(worker grep nameserver /etc/resolv.conf)"
    wait_for 10 "rpi1 by its short name" resolves_to rpi1 192.168.50.11
    expect "worker.bramble" "$(worker_address)" "$(resolved worker.bramble)"
    wait_for 20 "a name of the internet" resolves_to www.example 203.0.113.80
    expect "the page behind it" online "$(worker timeout 5 busybox wget -q -O - http://203.0.113.80/ok)"
    expect "a name that nobody has" "" "$(resolved nobody.bramble || true)"
}

dnsmasq_pid() {
    local pid
    while read -r pid; do
        if [ "$(cat "/proc/$pid/comm")" = dnsmasq ]; then echo "$pid"; fi
    done </sys/fs/cgroup/system.slice/bramblegate.service/cgroup.procs
}
another_dnsmasq() { [ -n "$(dnsmasq_pid)" ] && [ "$(dnsmasq_pid)" != "$1" ]; }

dnsmasq_in_sandbox() {
    local pid
    pid=$(dnsmasq_pid)
    [ -n "$pid" ] || fail "there is no dnsmasq in the unit"
    expect "user" bramblegate "$(stat -c %U "/proc/$pid")"
    expect "mounts" "$(readlink "/proc/$(main_pid)/ns/mnt")" "$(readlink "/proc/$pid/ns/mnt")"
    expect "capabilities that it could ever have" 0000000000003400 "$(awk '/^CapBnd/ { print $2 }' "/proc/$pid/status")"
    expect "no new privileges" 1 "$(awk '/^NoNewPrivs/ { print $2 }' "/proc/$pid/status")"
    expect "system calls are filtered" 2 "$(awk '/^Seccomp:/ { print $2 }' "/proc/$pid/status")"
    # Names are answered on the cluster port, and nowhere else.
    expect "port 53 elsewhere" "" "$(ss -Hlun 'sport = 53' | awk '{ print $4 }' | grep -v -e '^192\.168\.50\.1:' -e '%eth0:' || true)"
    ss -Hlun 'sport = 53' | grep -qF 192.168.50.1:53 || fail "no server answers on the cluster port"
    # One that dies is there again, and knows its leases.
    kill -9 "$pid"
    wait_for 20 "another dnsmasq" another_dnsmasq "$pid"
    wait_for 20 "its names" resolves_to worker.bramble "$(worker_address)"
}

leases_survive_restart() {
    local before
    before=$(worker_address)
    systemctl restart bramblegate.service
    wait_for 60 "addresses are served" serves
    wait_for 20 "the name is known" resolves_to worker.bramble "$before"
    wait_for 20 "the worker is up" health_is worker up
    # A node that comes back after it was unplugged asks for the address it had.
    ask_for_lease -r "$before"
    expect "the address" "$before" "$(worker_address)"
    # Nothing of it hangs on the runtime directory, which a stop takes away.
    systemctl stop bramblegate.service
    [ ! -e /run/bramblegate/dnsmasq ] || fail "the runtime directory is still there"
    [ -z "$(ss -Hlun 'sport = 53' | grep -F 192.168.50.1: || true)" ] || fail "a server still answers"
    systemctl start bramblegate.service
    wait_for 60 "addresses are served" serves
    wait_for 20 "the name is known after a stop" resolves_to worker.bramble "$before"
    wait_for 20 "row 1 is the address" row_is 0 "$(lease)"
}

# Orders: from root and members of the group, by the mode of the socket's file; from no other user.
orders() {
    local said code=0
    expect "the socket" "bramblegate:bramblegate 660" "$(stat -c '%U:%G %a' /run/bramblegate/control.sock)"
    expect "its folder" "bramblegate:bramblegate 755" "$(stat -c '%U:%G %a' /run/bramblegate)"
    getent passwd anna >/dev/null || useradd --groups bramblegate anna
    getent passwd ben >/dev/null || useradd ben
    runuser -u anna -- bramblegate nodes drain rpi1
    wait_for 10 "rpi1 is worked on" health_is rpi1 maintenance
    said=$(runuser -u ben -- bramblegate nodes resume rpi1 2>&1) || code=$?
    echo "$said"
    expect "exit code of a stranger's order" 77 "$code"
    [[ "$said" == *"usermod -aG bramblegate"* ]] || fail "no remedy for a stranger"
    health_is rpi1 maintenance || fail "a stranger's order was carried out"
    # The remedy as it is printed, for ben, who logs in again: what `$USER` is to him it is here.
    # shellcheck disable=SC2016
    (USER=ben && eval "$(sed -n 's/.*`sudo \(usermod [^`]*\)`.*/\1/p' <<<"$said")")
    runuser -u ben -- bramblegate nodes resume rpi1
    wait_for 20 "rpi1 is up" health_is rpi1 up
    gpasswd --delete ben bramblegate
    runuser -u anna -- bramblegate nodes drain rpi1
    wait_for 10 "rpi1 is worked on" health_is rpi1 maintenance
    # Every user may read.
    runuser -u ben -- bramblegate status >/dev/null || fail "a stranger may not look"
    systemctl restart bramblegate.service
    wait_for 20 "rpi1 is still worked on" health_is rpi1 maintenance
    runuser -u anna -- bramblegate nodes resume rpi1
    wait_for 20 "rpi1 is up" health_is rpi1 up
    journalctl -u bramblegate.service -o json --no-pager | jq -se 'any(.[]; .NODE == "rpi1" and (.MESSAGE | test("worked on|maintenance")))' >/dev/null ||
        fail "the journal does not tell of it"
}
