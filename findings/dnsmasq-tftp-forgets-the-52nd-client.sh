#!/usr/bin/env bash
# dnsmasq's TFTP server serves 51 transfers at a time (tftp-max=50) and drops a further request without an error packet and without a
# line in its log. A client that vanishes in the middle (a board that is switched off) keeps its place for almost half a minute.
#
# Seen with dnsmasq 2.90 on Linux 6.18. The manual names the limit, not what is beyond it: an expert expects 50, an ERROR and a log line.
# Output: requests 1 to 51 answered, 52 and 53 not; log lines about them 0; a new one is answered again after about 26 s.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(dnsmasq-base=2.90-4~deb12u2 libidn2-0=2.3.3-1+b1 libunistring2=1.0-2 libnettle8=3.8.1-2 libhogweed6=3.8.1-2
    libdbus-1-3=1.14.10-1~deb12u1 libnetfilter-conntrack3=1.0.9-3 libnftables1=1.0.6-2+deb12u2 libnftnl11=1.2.4-2)

# Begins transfers and never goes on with them. Prints how many were answered, and when one more was.
ask() {
    at client python3 - <<'PYTHON'
import socket, time

def begun(wait):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(wait)
    s.sendto(b"\0\x01kernel\0octet\0", ("10.0.0.1", 69))
    try:
        s.recv(1500)
        kept.append(s)
        return True
    except TimeoutError:
        return False

kept = []
begin = time.monotonic()
print("answered", *(number for number in range(1, 54) if begun(0.5)))
while not begun(1) and time.monotonic() < begin + 60:
    pass
seconds = time.monotonic() - begin
print("free-again", "20-40" if 20 < seconds < 40 else round(seconds))
PYTHON
}

look() {
    hosts server client
    cable server server0 client client0
    ip -n server address add 10.0.0.1/24 dev server0
    ip -n client address add 10.0.0.2/24 dev client0
    mkdir files
    head -c 100000 /dev/zero >files/kernel
    spawn server dnsmasq --no-daemon --user=root --conf-file=/dev/null --port=0 --enable-tftp --tftp-root="$PWD/files" 2>log
    local server=$spawned
    wait_until grep -q 'TFTP root' log
    ask >seen
    expect "transfers begun" "1 to 51" "$(awk '/^answered/ { print $2 " to " $NF; exit }' seen)"
    expect "log lines that are not about one of these" 0 "$(grep tftp log | grep -vc 'TFTP root\|failed sending' || true)"
    expect "seconds until another one is served" 20-40 "$(sed -n 's/^free-again //p' seen)"
    stop "$server"
}

run_finding
