#!/usr/bin/env bash
# The crate nftnl has `Verdict::Reject(RejectionType::Icmp(code))` with four codes by name. In a table `inet` these are sent; in a table `ip` or
# `ip6` the same numbers go to the kernel as codes of ICMP itself, where they mean something else: "admin prohibited" becomes "port
# unreachable" (a client is told that nothing listens), "host unreachable" becomes "protocol unreachable".
#
# Seen with nftnl 0.9.4 and mnl 0.3.1 (it needs the headers of libnftnl and libmnl) and nftables 1.0.6 on Linux 6.18. Nothing in the crate's
# documentation; an expert expects the code that the name says, in each family, or an error.
# Output: listed in ip, ip6, inet for NoRoute, PortUnreach, HostUnreach, AdminProhibited as below; error of a client that is rejected
# with AdminProhibited: in ip ECONNREFUSED, in inet EHOSTUNREACH.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
crates=(nftnl=0.9.4 mnl=0.3.1)
debs=(nftables=1.0.6-2+deb12u2 libnftables1=1.0.6-2+deb12u2 libnftnl11=1.2.4-2)

program() {
    cat <<'RUST'
use nftnl::expr::{IcmpCode, RejectionType, Verdict};
use nftnl::{Batch, Chain, Hook, MsgType, ProtoFamily, Rule, Table, nft_expr};

/// Writes a table with a chain for each code, and one that rejects the datagrams that come in.
fn main() {
    let family = match std::env::args().nth(1).unwrap().as_str() {
        "ip" => ProtoFamily::Ipv4,
        "ip6" => ProtoFamily::Ipv6,
        _ => ProtoFamily::Inet,
    };
    let mut batch = Batch::new();
    let table = Table::new(c"t", family);
    batch.add(&table, MsgType::Add);
    let codes = [IcmpCode::NoRoute, IcmpCode::PortUnreach, IcmpCode::HostUnreach, IcmpCode::AdminProhibited];
    let names = [c"no-route", c"port-unreach", c"host-unreach", c"admin-prohibited"];
    let mut chains: Vec<_> = names.iter().map(|name| Chain::new(name, &table)).collect();
    chains[3].set_hook(Hook::In, 0);
    for (chain, code) in chains.iter().zip(codes) {
        batch.add(chain, MsgType::Add);
        let mut rule = Rule::new(chain);
        rule.add_expr(&nft_expr!(meta l4proto));
        rule.add_expr(&nft_expr!(cmp == 17u8));
        rule.add_expr(&Verdict::Reject(RejectionType::Icmp(code)));
        batch.add(&rule, MsgType::Add);
    }
    let batch = batch.finalize();
    let socket = mnl::Socket::new(mnl::Bus::Netfilter).unwrap();
    socket.send_all(&batch).unwrap();
    let mut buffer = vec![0; nftnl::nft_nlmsg_maxsize() as usize];
    let mut expected = batch.sequence_numbers();
    while !expected.is_empty() {
        for message in socket.recv(&mut buffer[..]).unwrap() {
            mnl::cb_run(message.unwrap(), expected.next().unwrap(), socket.portid()).unwrap();
        }
    }
}
RUST
}

# Writes the rules in a table of this family, and prints what nft lists for the four codes, in their order.
listed() {
    nft flush ruleset
    crate-program "$1"
    nft list table "$1" t | sed -nE 's/.*reject( with [a-z0-9]+)? ?/\1 /p' | sed 's/^ *with //; s/ *$//; s/^$/default/' | paste -sd ,
}

# Prints how a client's datagram is refused.
refusal() {
    python3 - <<'PYTHON'
import errno, socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(2)
s.connect(("127.0.0.1", 9))
s.send(b"x")
try:
    s.recv(9)
except OSError as error:
    print(errno.errorcode.get(error.errno, error))
PYTHON
}

look() {
    echo "in the crate: NoRoute, PortUnreach, HostUnreach, AdminProhibited; nft lists port-unreachable as plain \"reject\""
    expect "in a table ip" "icmp net-unreachable,icmp host-unreachable,icmp prot-unreachable,default" "$(listed ip)"
    expect "AdminProhibited in it, as a client sees it" ECONNREFUSED "$(refusal)"
    expect "in a table ip6" "icmpv6 no-route,icmpv6 admin-prohibited,icmpv6 2,icmpv6 addr-unreachable" "$(listed ip6)"
    expect "in a table inet" "icmpx no-route,default,icmpx host-unreachable,icmpx admin-prohibited" "$(listed inet)"
    expect "AdminProhibited in it, as a client sees it" EHOSTUNREACH "$(refusal)"
}

run_finding
