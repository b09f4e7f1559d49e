#!/usr/bin/env bash
# netlink-packet-route, the Rust types of rtnetlink, writes the IPv4 settings of a port (IFLA_AF_SPEC, IFLA_INET_CONF) with
# `AfSpecInet::DevConfRequest`, and leaves every setting out that is 0. So `arp_ignore: 1` switches it on, `arp_ignore: 0` is a request
# that asks for nothing, and the kernel acknowledges it.
#
# Seen with netlink-packet-route 0.34.0 and netlink-sys 0.9.0 on Linux 6.18. An expert expects the value that was given to be set: the
# struct has a plain number for each setting, and no way to say "leave it".
# Output: on: answered 0, arp_ignore 1; off: answered 0, arp_ignore still 1; the request to switch it off has no setting in it.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"
crates=(netlink-packet-route=0.34.0 netlink-packet-core=0.9.0 netlink-sys=0.9.0)

program() {
    cat <<'RUST'
use netlink_packet_core::{NetlinkMessage, NLM_F_ACK, NLM_F_REQUEST, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{AfSpecInet, AfSpecUnspec, InetDevConf, LinkAttribute, LinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// Sets arp_ignore of port 1 (lo); prints the message's length and the kernel's answer.
fn main() {
    let value: i32 = std::env::args().nth(1).unwrap().parse().unwrap();
    let mut conf = InetDevConf::default();
    conf.arp_ignore = value;
    let mut link = LinkMessage::default();
    link.header.index = 1;
    let spec = AfSpecUnspec::Inet(vec![AfSpecInet::DevConfRequest(conf)]);
    link.attributes.push(LinkAttribute::AfSpecUnspec(vec![spec]));
    let mut message = NetlinkMessage::from(RouteNetlinkMessage::SetLink(link));
    message.header.flags = NLM_F_REQUEST | NLM_F_ACK;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    let mut socket = Socket::new(NETLINK_ROUTE).unwrap();
    socket.bind_auto().unwrap();
    socket.send_to(&bytes, &SocketAddr::new(0, 0), 0).unwrap();
    let (answer, _) = socket.recv_from_full().unwrap();
    let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer).unwrap();
    match answer.payload {
        NetlinkPayload::Error(error) => println!("{} {}", bytes.len(), error.raw_code()),
        other => println!("{other:?}"),
    }
}
RUST
}

arp_ignore() {
    cat /proc/sys/net/ipv4/conf/lo/arp_ignore
}

look() {
    expect "at first arp_ignore" 0 "$(arp_ignore)"
    expect "on: bytes, answer" "52 0" "$(crate-program 1)"
    expect "on: arp_ignore" 1 "$(arp_ignore)"
    expect "off: bytes, answer" "44 0" "$(crate-program 0)"
    expect "off: arp_ignore" 1 "$(arp_ignore)"
}

run_finding
