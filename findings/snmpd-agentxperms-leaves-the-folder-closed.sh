#!/usr/bin/env bash
# snmpd's agentXPerms sets mode and owner of the AgentX socket, but of its folder only the mode, and only if the folder does not exist
# yet. Once snmpd has run with its defaults (folder 0700), no value of agentXPerms lets an unprivileged subagent in.
#
# Seen with snmpd 5.9.3 (Debian 12). snmpd.conf(5): "Defines the permissions and ownership of the AgentX Unix Domain socket, and the
# parent directories of this socket." An expert sees the socket's mode right in `ls` and looks elsewhere.
# Output: "agentXPerms 0660 0755 nobody nogroup": folder there before: "drwx------ root", nobody connects "no"; new folder:
# "drwxr-xr-x root", connects "yes". Socket both times "srw-rw---- nobody".
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
debs=(snmpd=5.9.3+dfsg-2+deb12u1 libsnmp40=5.9.3+dfsg-2+deb12u1 libsnmp-base=5.9.3+dfsg-2+deb12u1 libsensors5=1:3.6.0-7.1
    libpci3=1:3.9.0-4 libwrap0=7.6.q-32 libnsl2=1.3.0-2 libtirpc3=1.3.3+ds-1)

# Starts snmpd with these lines added, and prints the folder, the socket and whether nobody can connect.
look_at_socket() {
    { printf '%s\n' 'master agentx' 'agentXSocket unix:/run/agentx/master' 'agentaddress udp:127.0.0.1:16161' "$@"; } >conf
    MIBS='' snmpd -f -Lo -C -c conf -p pid >log 2>&1 &
    local agent=$!
    wait_until test -S /run/agentx/master
    sleep 0.3
    stat -c '%A %U' /run/agentx /run/agentx/master | tr '\n' ' '
    answer python3 -c 'import os, pwd, socket
user = pwd.getpwnam("nobody")
os.setgroups([])
os.setgid(user.pw_gid)
os.setuid(user.pw_uid)
socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).connect("/run/agentx/master")'
    stop "$agent"
}

look() {
    local perms="agentXPerms 0660 0755 nobody nogroup"
    expect "defaults" "drwx------ root srwxr-xr-x root no" "$(look_at_socket)"
    expect "then agentXPerms" "drwx------ root srw-rw---- nobody no" "$(look_at_socket "$perms")"
    rmdir /run/agentx
    expect "agentXPerms, folder gone before" "drwxr-xr-x root srw-rw---- nobody yes" "$(look_at_socket "$perms")"
}

run_finding
