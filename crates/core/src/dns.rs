//! Builds DNS queries for a name's addresses and parses the replies (RFC 1035, RFC 3596). Pure. A
//! malformed reply counts as no reply.
//!
//! It is here and not in a watch because the internet probe, the check of our own name server, the
//! verb `doctor` and the lab use it, and none of them may import another.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE};

/// Returns a query for the addresses of `host`; `None` if that is not a valid host name.
pub fn query(id: u16, host: &str, ipv6: bool) -> Option<Vec<u8>> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let in_names = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    // `Name` takes an empty label as the end of the name.
    if !host.bytes().all(in_names) || host.split('.').any(str::is_empty) {
        return None;
    }
    let name = Name::new(host).ok()?;
    let kind = if ipv6 { TYPE::AAAA } else { TYPE::A };
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    packet.questions.push(Question::new(name, QTYPE::TYPE(kind), QCLASS::CLASS(CLASS::IN), false));
    packet.build_bytes_vec().ok()
}

/// Returns the addresses in the reply to the query with this id; `None` if it is not that reply,
/// reports an error, or was truncated before the first address (RFC 2181, section 9).
pub fn addresses(answer: &[u8], id: u16) -> Option<Vec<IpAddr>> {
    let packet = Packet::parse(answer).ok()?;
    if packet.id() != id
        || !packet.has_flags(PacketFlag::RESPONSE)
        || packet.rcode() != RCODE::NoError
    {
        return None;
    }
    let records = packet.answers.iter().filter(|record| record.class == CLASS::IN);
    let found = records.filter_map(|record| match &record.rdata {
        RData::A(a) => Some(IpAddr::V4(Ipv4Addr::from(a.address))),
        RData::AAAA(aaaa) => Some(IpAddr::V6(Ipv6Addr::from(aaaa.address))),
        _ => None,
    });
    let found: Vec<IpAddr> = found.collect();
    (!found.is_empty() || !packet.has_flags(PacketFlag::TRUNCATION)).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use simple_dns::rdata::{A, AAAA, CNAME, RData};
    use simple_dns::{CLASS, Name, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE};

    const HOST: &str = "internet.example";

    fn reply(id: u16, code: RCODE) -> Vec<u8> {
        let question = query(id, HOST, false).unwrap();
        let mut packet = Packet::new_reply(id);
        *packet.rcode_mut() = code;
        packet.questions = Packet::parse(&question).unwrap().questions;
        let name = Name::new(HOST).unwrap();
        let record = |data| ResourceRecord::new(name.clone(), CLASS::IN, 60, data);
        packet.answers.push(record(RData::CNAME(CNAME(Name::new("other.example").unwrap()))));
        packet.answers.push(record(RData::A(A { address: u32::from_be_bytes([10, 99, 0, 1]) })));
        packet.answers.push(record(RData::AAAA(AAAA { address: 1 })));
        packet.build_bytes_vec_compressed().unwrap()
    }

    #[test]
    fn a_query_round_trips_through_the_parser() {
        for (ipv6, kind) in [(false, TYPE::A), (true, TYPE::AAAA)] {
            let bytes = query(7, HOST, ipv6).unwrap();
            let packet = Packet::parse(&bytes).unwrap();
            assert_eq!((packet.id(), packet.questions.len()), (7, 1));
            assert_eq!(packet.questions[0].qname.to_string(), HOST);
            assert_eq!(packet.questions[0].qtype, QTYPE::TYPE(kind));
            assert!(
                packet.has_flags(PacketFlag::RECURSION_DESIRED)
                    && !packet.has_flags(PacketFlag::RESPONSE)
            );
        }
        assert_eq!(
            query(7, "internet.example.", false),
            query(7, HOST, false),
            "a name may end in its root"
        );
        assert!(query(7, &"x.".repeat(127), false).is_some());
    }

    #[test]
    fn invalid_names_have_no_query() {
        let (label, long) = ("x".repeat(64), "xy.".repeat(85));
        for wrong in [label.as_str(), &long, "", ".", "a..b", "a b", "ä.example"] {
            assert_eq!(query(7, wrong, false), None, "{wrong}");
        }
    }

    #[test]
    fn a_reply_needs_our_id_and_no_error() {
        let both: Vec<IpAddr> = vec![[10, 99, 0, 1].into(), std::net::Ipv6Addr::LOCALHOST.into()];
        assert_eq!(
            addresses(&reply(7, RCODE::NoError), 7),
            Some(both),
            "behind a question and an alias"
        );
        assert_eq!(addresses(&reply(8, RCODE::NoError), 7), None);
        assert_eq!(addresses(&reply(7, RCODE::Refused), 7), None);
        assert_eq!(
            addresses(&query(7, HOST, false).unwrap(), 7),
            None,
            "our own question reflected"
        );
    }

    /// A resolver that sends nothing but the question asks for TCP: "no address" is not its answer.
    #[test]
    fn a_reply_that_lacks_its_records_is_rejected() {
        let question = query(7, HOST, false).unwrap();
        let mut packet = Packet::new_reply(7);
        packet.questions = Packet::parse(&question).unwrap().questions;
        assert_eq!(addresses(&packet.build_bytes_vec().unwrap(), 7), Some(Vec::new()));
        packet.set_flags(PacketFlag::TRUNCATION);
        assert_eq!(addresses(&packet.build_bytes_vec().unwrap(), 7), None);
        let mut some = reply(7, RCODE::NoError);
        some[2] |= 0x02;
        assert_eq!(addresses(&some, 7).map(|found| found.len()), Some(2), "what came counts");
    }

    #[test]
    fn a_truncated_reply_is_rejected() {
        let whole = reply(7, RCODE::NoError);
        for length in 0..whole.len() {
            assert_eq!(addresses(&whole[..length], 7), None, "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_replies_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            addresses(&bytes, 7);
        }

        #[test]
        fn corrupt_replies_never_panic(at in 0_usize..120, byte: u8) {
            let mut bytes = reply(7, RCODE::NoError);
            if let Some(b) = bytes.get_mut(at) { *b = byte; }
            addresses(&bytes, 7);
        }
    }
}
