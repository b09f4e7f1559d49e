#!/usr/bin/env bash
# snmpd sends an AgentX request again each second until it is answered, with the same packet number and over the same stream socket,
# where nothing can be lost: a subagent that needs 2.5 s gets one snmpget three times. One that needs more than 6 s is thrown out:
# its session is closed, and all that it registered is gone, while snmpd itself answers everybody else at once.
#
# Seen with snmpd 5.9.3 (Debian 12) and a subagent of 40 lines in this script. An expert expects one request for each question.
# Output: answer after 2.5 s: requests 3, packet numbers 1; answer after 8 s: session "closed", object "No Such Object".
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(snmpd=5.9.3+dfsg-2+deb12u1 snmp=5.9.3+dfsg-2+deb12u1 libsnmp40=5.9.3+dfsg-2+deb12u1 libsnmp-base=5.9.3+dfsg-2+deb12u1
    libsensors5=1:3.6.0-7.1 libpci3=1:3.9.0-4 libwrap0=7.6.q-32 libnsl2=1.3.0-2 libtirpc3=1.3.3+ds-1)

object=.1.3.6.1.4.1.8072.9999.9999.1.0

# A subagent with one object that answers each Get after some seconds and prints the packet number of each: subagent SECONDS.
write_subagent() {
    cat >subagent.py <<'PYTHON'
import socket, struct, sys, time

oid = (1, 3, 6, 1, 4, 1, 8072, 9999, 9999, 1)
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
            print("closed", flush=True)
            sys.exit()
        data += more
    return data

def receive():
    head = read(20)
    session, transaction, packet, length = struct.unpack("!IIII" if head[2] & 0x10 else "<IIII", head[4:])
    read(length)
    return head[1], session, transaction, packet

send(1, 0, 0, 1, struct.pack("!I", 0) + encoded(()) + struct.pack("!I4s", 4, b"slow"))
session = receive()[1]
send(3, session, 0, 2, struct.pack("!BBBB", 0, 127, 0, 0) + encoded(oid))
receive()
print("registered", flush=True)
while True:
    kind, session, transaction, packet = receive()
    if kind == 5:
        print("get", packet, flush=True)
        time.sleep(float(sys.argv[1]))
        value = struct.pack("!HH", 2, 0) + encoded(oid + (0,)) + struct.pack("!I", 7)
        try:
            send(18, session, transaction, packet, struct.pack("!IHH", 0, 0, 0) + value)
        except BrokenPipeError:
            print("closed", flush=True)
            break
PYTHON
}

ask() {
    MIBS='' snmpget -v2c -c public -Oqv -t 20 -r 0 127.0.0.1:16161 "$1" 2>&1 | grep -oE 'No Such Object|genError|^[0-9:.]+$|Timeout' || true
}

start_subagent() {
    rm -f heard
    python3 subagent.py "$1" >heard &
    subagent=$!
    wait_until grep -q registered heard
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

    start_subagent 2.5
    expect "snmpget, subagent needs 2.5 s" 7 "$(ask "$object")"
    expect "requests that the subagent heard" 3 "$(wait_until three_requests && grep -c get heard)"
    expect "different packet numbers among them" 1 "$(grep get heard | sort -u | wc -l)"
    stop "$subagent"

    start_subagent 8
    ask "$object" >first &
    local question=$!
    sleep 0.5
    expect "another object meanwhile" yes "$(answer test -n "$(ask .1.3.6.1.2.1.1.3.0)")"
    wait "$question"
    expect "snmpget, subagent needs 8 s" genError "$(cat first)"
    expect "snmpget afterwards" "No Such Object" "$(ask "$object")"
    wait_until grep -q closed heard
    expect "the subagent's session" closed "$(tail -n 1 heard)"
    stop "$agent"
}

# shellcheck disable=SC2317 # wait_until calls it
three_requests() {
    (($(grep -c get heard) >= 3))
}

run_finding
