#!/usr/bin/env bash
# A boot file is written anew in place (`cp`, `dd`, `rsync --inplace`) while some board has a transfer of it open, be it one that was switched
# off. dnsmasq gives the next boards the new content with the old length: a longer kernel ends early, as a transfer that succeeded.
#
# Seen with dnsmasq 2.90 on Linux 6.18, and once with 2.93 (Debian 14): it shares one open file among all its transfers of the same inode, with the length that it had for
# the first one. Nothing in the manual; an expert expects each request to open the file, so that only the board in the middle suffers.
# Output: 1000 bytes become 3000: "tsize" and bytes for the next board 1000 1000, of the new content; once no transfer is open 3000 3000.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(dnsmasq-base=2.90-4~deb12u2 libidn2-0=2.3.3-1+b1 libunistring2=1.0-2 libnettle8=3.8.1-2 libhogweed6=3.8.1-2
    libdbus-1-3=1.14.10-1~deb12u1 libnetfilter-conntrack3=1.0.9-3 libnftables1=1.0.6-2+deb12u2 libnftnl11=1.2.4-2)

load() {
    at client python3 - <<'PYTHON'
import os, socket

def request():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(5)
    s.sendto(b"\0\1kernel\0octet\0tsize\x000\0", ("10.0.0.1", 69))
    return s, *s.recvfrom(1500)

def whole():
    s, announced, server = request()
    block, content = b"\0\0", b""
    while True:
        s.sendto(b"\0\4" + block, server)
        data = s.recv(1500)
        block, content = data[2:4], content + data[4:]
        if len(data) < 516:
            s.sendto(b"\0\4" + block, server)
            return announced.split(b"\0")[2].decode(), len(content), content[:1].decode()

open("files/kernel", "w").write("a" * 1000)
first, _, server = request()
inode = os.stat("files/kernel").st_ino
open("files/kernel", "w").write("b" * 3000)
assert os.stat("files/kernel").st_ino == inode
print("open:", *whole())
first.sendto(b"\0\5\0\0stopped\0", server)
print("none-open:", *whole())
PYTHON
}

look() {
    hosts server client
    cable server server0 client client0
    ip -n server address add 10.0.0.1/24 dev server0
    ip -n client address add 10.0.0.2/24 dev client0
    mkdir files
    spawn server dnsmasq --no-daemon --user=root --conf-file=/dev/null --port=0 --enable-tftp --tftp-root="$PWD/files" 2>log
    wait_until grep -q 'TFTP root' log
    load >seen
    expect "tsize, bytes and content while another transfer is open" "1000 1000 b" "$(sed -n 's/^open: //p' seen)"
    expect "once none is open" "3000 3000 b" "$(sed -n 's/^none-open: //p' seen)"
}

run_finding
