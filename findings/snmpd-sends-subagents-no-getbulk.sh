#!/usr/bin/env bash
# snmpd sends a subagent no GetBulk, though AgentX has one (RFC 2741 section 6.2.7): a request for 8 repetitions of one object comes
# as 8 GetNext with one search range each, one after the other, each only when the last one was answered. A table of 1,000 values
# costs 1,000 changes of process, however large the repetitions are that the manager asks for.
#
# Seen with snmpd 5.9.3 (Debian 12) and a subagent of 50 lines in this script. An expert expects one GetBulk, or GetNext with a range
# for each repetition that can be known.
# Output: 8 values in the answer; the subagent heard 0 GetBulk and 8 GetNext, at most 1 range in each.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(snmpd=5.9.3+dfsg-2+deb12u1 snmp=5.9.3+dfsg-2+deb12u1 libsnmp40=5.9.3+dfsg-2+deb12u1 libsnmp-base=5.9.3+dfsg-2+deb12u1
    libsensors5=1:3.6.0-7.1 libpci3=1:3.9.0-4 libwrap0=7.6.q-32 libnsl2=1.3.0-2 libtirpc3=1.3.3+ds-1)

column=.1.3.6.1.4.1.8072.9999.9999.1

# A subagent with instances 1 to 20 of one column. It prints the kind of each request and how many search ranges it has.
write_subagent() {
    cat >subagent.py <<'PYTHON'
import socket, struct, sys

column = (1, 3, 6, 1, 4, 1, 8072, 9999, 9999, 1)
connection = socket.socket(socket.AF_UNIX)
connection.connect("/run/agentx-master")

def encoded(numbers):
    return struct.pack("!BBBB", len(numbers), 0, 0, 0) + b"".join(struct.pack("!I", n) for n in numbers)

def send(kind, session, transaction, packet, payload):
    head = struct.pack("!BBBBIIII", 1, kind, 0x10, 0, session, transaction, packet, len(payload))
    connection.sendall(head + payload)

def read(length):
    data = b""
    while len(data) < length:
        more = connection.recv(length - len(data))
        if not more:
            sys.exit()
        data += more
    return data

def receive():
    head = read(20)
    order = "!" if head[2] & 0x10 else "<"
    session, transaction, packet, length = struct.unpack(order + "IIII", head[4:])
    return head[1], order, session, transaction, packet, read(length)

def identifier(data, at, order):
    count, prefix, include = data[at], data[at + 1], data[at + 2]
    numbers = struct.unpack_from(order + "I" * count, data, at + 4)
    return ((1, 3, 6, 1, prefix) if prefix else ()) + numbers, include, at + 4 + 4 * count

def ranges(data, order):
    at, found = 0, []
    while at < len(data):
        start, include, at = identifier(data, at, order)
        _, _, at = identifier(data, at, order)
        found.append((start, include))
    return found

send(1, 0, 0, 1, struct.pack("!I", 0) + encoded(()) + struct.pack("!I8s", 5, b"table"))
session = receive()[2]
send(3, session, 0, 2, struct.pack("!BBBB", 0, 127, 0, 0) + encoded(column))
receive()
print("registered", flush=True)
while True:
    kind, order, session, transaction, packet, payload = receive()
    if kind not in (5, 6, 7):
        continue
    if kind == 7:
        payload = payload[4:]
    asked = ranges(payload, order)
    print({5: "Get", 6: "GetNext", 7: "GetBulk"}[kind], len(asked), flush=True)
    answer = b""
    for start, include in asked:
        row = start[len(column)] if len(start) > len(column) else 0
        row = row if include and row else row + 1
        if row <= 20:
            answer += struct.pack("!HH", 2, 0) + encoded(column + (row,)) + struct.pack("!I", row)
        else:
            answer += struct.pack("!HH", 130, 0) + encoded(start)
    send(18, session, transaction, packet, struct.pack("!IHH", 0, 0, 0) + answer)
PYTHON
}

look() {
    local agent subagent
    write_subagent
    printf '%s\n' 'master agentx' 'agentXSocket unix:/run/agentx-master' 'rocommunity public 127.0.0.1' \
        'agentaddress udp:127.0.0.1:16161' >conf
    MIBS='' snmpd -f -Lo -C -c conf -p pid >log 2>&1 &
    agent=$!
    wait_until test -S /run/agentx-master
    sleep 0.5
    python3 subagent.py >heard &
    subagent=$!
    wait_until grep -q registered heard

    MIBS='' snmpbulkget -v2c -c public -Oqv -Cn0 -Cr8 127.0.0.1:16161 "$column" >values
    expect "values that a manager gets for 8 repetitions" 8 "$(wc -l <values)"
    expect "GetBulk that the subagent heard" 0 "$(grep -c GetBulk heard || true)"
    expect "GetNext that it heard" 8 "$(grep -c GetNext heard || true)"
    expect "search ranges in each, at most" 1 "$(awk '$2 > most { most = $2 } END { print most }' heard)"
    stop "$subagent"
    stop "$agent"
}

run_finding
