#!/usr/bin/env bash
# The crate snmp2 numbers its requests, but counts on only when an answer came. After a timeout the next request, for whatever object, has the
# number of the one before. If the late answer to that one arrives now, it is returned as Ok, with the object and value of the other
# question. The answer to the second waits in the socket, so every request from then on fails ("RequestIdMismatch").
#
# Seen with snmp2 0.5.3 (SyncSession; AsyncSession counts at once; `snmp` 0.2.2, of which it is a fork, has the same lines) and snmpd 5.9.3
# with an object that needs 2 s. An expert expects late answers to be dropped: that is what the number is for (RFC 1157 4.1.1).
# Output: slow object, 1 s: Receive; then sysName: Ok with the slow object's oid and value; then three times: RequestIdMismatch.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
crates=(snmp2=0.5.3)
debs=(snmpd=5.9.3+dfsg-2+deb12u1 libsnmp40=5.9.3+dfsg-2+deb12u1 libsnmp-base=5.9.3+dfsg-2+deb12u1
    libsensors5=1:3.6.0-7.1 libpci3=1:3.9.0-4 libwrap0=7.6.q-32 libnsl2=1.3.0-2 libtirpc3=1.3.3+ds-1)

program() {
    cat <<'RUST'
use snmp2::{Oid, SyncSession};
use std::{thread::sleep, time::Duration};

fn ask(session: &mut SyncSession, oid: &[u64]) {
    match session.get(&Oid::from(oid).unwrap()) {
        Ok(answer) => answer.varbinds.for_each(|(oid, value)| println!("Ok {oid} {value:?}")),
        Err(error) => println!("{error:?}"),
    }
}

fn main() {
    let (slow, name) = ([1, 3, 6, 1, 4, 1, 8072, 9999, 9999, 1, 0], [1, 3, 6, 1, 2, 1, 1, 5, 0]);
    let second = Duration::from_secs(1);
    let mut session = SyncSession::new_v2c("127.0.0.1:16161", b"public", Some(second), 1).unwrap();
    ask(&mut session, &slow);
    sleep(2 * second);
    for _ in 0..4 {
        ask(&mut session, &name);
        sleep(second);
    }
}
RUST
}

look() {
    printf '%s\n' '#!/bin/sh' 'sleep 2' 'echo .1.3.6.1.4.1.8072.9999.9999.1.0' 'echo integer' 'echo 42' >slow
    chmod +x slow
    printf '%s\n' 'rocommunity public 127.0.0.1' 'agentaddress udp:127.0.0.1:16161' 'sysName head' \
        "pass .1.3.6.1.4.1.8072.9999.9999.1 $PWD/slow" >conf
    MIBS='' snmpd -f -Lo -C -c conf -p pid >log 2>&1 &
    wait_until grep -q 'NET-SNMP version' log
    crate-program >out
    expect "slow object, timeout 1 s" Receive "$(sed -n 1p out)"
    expect "then sysName" "Ok 1.3.6.1.4.1.8072.9999.9999.1.0 INTEGER: 42" "$(sed -n 2p out)"
    expect "then three times" "RequestIdMismatch RequestIdMismatch RequestIdMismatch" "$(sed -n '3,5p' out | paste -sd ' ')"
}

run_finding
