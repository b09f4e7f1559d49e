#!/usr/bin/env bash
# unbound as resolver of an IPv6-only network (module "dns64") answers for names of its own (`local-data`) that there is no IPv6 address:
# only what it asked another server for is synthesised. A network's own pages, portal or printer are out of reach by name.
#
# Seen with unbound 1.17.1, asked for names with an A record alone; one of its own, one of a server that it asks. RFC 6147 (5.1.6)
# synthesises from the A records of the name, and an expert expects no difference by where they are.
# Output: AAAA of the other server's name "2001:db8:64::c633:6450" (198.51.100.80), of its own name "none", its A "198.51.100.81".
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(unbound=1.17.1-2+deb12u4 libevent-2.1-7=2.1.12-stable-8 libhiredis0.14=0.14.1-3 libnghttp2-14=1.52.0-1+deb12u3
    libprotobuf-c1=1.4.1-1+b1 libpython3.11=3.11.2-6+deb12u9 libpython3.11-stdlib=3.11.2-6+deb12u9 libpython3.11-minimal=3.11.2-6+deb12u9)

# Starts unbound with these lines of its part "server:", at an address.
serve() {
    local address=$1
    shift
    printf '%s\n' server: 'username: ""' 'chroot: ""' "directory: $PWD" "pidfile: $PWD/pid-$address" "interface: $address" \
        'do-not-query-localhost: no' 'use-syslog: no' 'logfile: ""' "$@" >"conf-$address"
    spawn resolver unbound -d -c "conf-$address" 2>"log-$address"
}

# Prints the address of a name by the resolver: lookup NAME A|AAAA.
lookup() {
    at resolver python3 - "$@" <<'PY'
import socket, struct, sys
name, kind = sys.argv[1], {"A": 1, "AAAA": 28}[sys.argv[2]]
labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(5)
s.sendto(struct.pack("!HHHHHH", 7, 0x100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", kind, 1), ("127.0.0.1", 53))
answer = s.recv(2000)
if answer[3] & 15:
    print("error", answer[3] & 15)
elif answer[6:8] == b"\0\0":
    print("none")
else:
    print(socket.inet_ntop(socket.AF_INET if kind == 1 else socket.AF_INET6, answer[-4 if kind == 1 else -16:]))
PY
}

# shellcheck disable=SC2317 # wait_until calls it
answers() {
    [[ $(lookup other.example A) == 198.51.100.80 ]]
}

look() {
    hosts resolver
    serve 127.0.0.2 'module-config: "iterator"' 'local-zone: "example." static' 'local-data: "other.example. A 198.51.100.80"'
    serve 127.0.0.1 'module-config: "dns64 iterator"' 'dns64-prefix: 2001:db8:64::/96' 'local-data: "own.hall. A 198.51.100.81"' \
        'forward-zone:' 'name: "example."' 'forward-addr: 127.0.0.2'
    wait_until answers
    expect "AAAA of another server's name" 2001:db8:64::c633:6450 "$(lookup other.example AAAA)"
    expect "AAAA of its own name" none "$(lookup own.hall AAAA)"
    expect "A of its own name" 198.51.100.81 "$(lookup own.hall A)"
}

run_finding
