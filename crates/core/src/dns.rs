//! Builds DNS queries for a name's addresses and parses the replies (RFC 1035, RFC 3596). Pure. A
//! malformed reply counts as no reply.
//!
//! It is here and not in a watch because the internet probe, the check of our own name server, the
//! verb `doctor` and the lab use it, and none of them may import another.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use simple_dns::rdata::RData;
use simple_dns::{
    CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, ResourceRecord, TYPE,
};

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

/// Returns the addresses in the reply to this query; `None` if it is not its reply, reports an
/// error, or was truncated before the first address (RFC 2181, section 9). A record counts if it is
/// of the name in the query, or of one that its aliases lead to.
pub fn addresses(answer: &[u8], query: &[u8]) -> Option<Vec<IpAddr>> {
    let asked = Packet::parse(query).ok()?;
    let question = asked.questions.first()?;
    let reply = reply(answer, &asked).filter(|reply| reply.rcode() == RCODE::NoError)?;
    let names = names(&question.qname, &reply.answers);
    let records = reply.answers.iter().filter(|record| {
        record.match_qclass(question.qclass)
            && record.match_qtype(question.qtype)
            && names.iter().any(|name| is_same(name, &record.name))
    });
    let found = records.filter_map(|record| match &record.rdata {
        RData::A(a) => Some(IpAddr::V4(Ipv4Addr::from(a.address))),
        RData::AAAA(aaaa) => Some(IpAddr::V6(Ipv6Addr::from(aaaa.address))),
        _ => None,
    });
    let found: Vec<IpAddr> = found.collect();
    (!found.is_empty() || !reply.has_flags(PacketFlag::TRUNCATION)).then_some(found)
}

/// Returns whether this is the reply to the query, of whatever kind.
pub fn is_reply(answer: &[u8], query: &[u8]) -> bool {
    Packet::parse(query).is_ok_and(|asked| reply(answer, &asked).is_some())
}

/// Returns the reply to a query: it has the query's id and question (RFC 5452, section 9.1). Some
/// servers leave the question out, where they report an error.
fn reply<'a>(answer: &'a [u8], asked: &Packet<'_>) -> Option<Packet<'a>> {
    let packet = Packet::parse(answer).ok()?;
    let is_asked = |other: &Question<'_>| {
        asked.questions.iter().any(|question| {
            other.qtype == question.qtype
                && other.qclass == question.qclass
                && is_same(&other.qname, &question.qname)
        })
    };
    let is_reply = packet.id() == asked.id()
        && packet.has_flags(PacketFlag::RESPONSE)
        && packet.questions.iter().all(is_asked);
    is_reply.then_some(packet)
}

/// Returns a name and those that its aliases lead to, in their order (RFC 1034, section 3.6.2).
fn names<'r>(name: &'r Name<'r>, records: &'r [ResourceRecord<'r>]) -> Vec<&'r Name<'r>> {
    let target = |of: &Name<'_>| {
        records.iter().find_map(|record| match &record.rdata {
            RData::CNAME(alias) if is_same(&record.name, of) => Some(&alias.0),
            _ => None,
        })
    };
    let mut names = vec![name];
    while let Some(next) = names.last().and_then(|name| target(name)) {
        if names.iter().any(|known| is_same(known, next)) {
            break;
        }
        names.push(next);
    }
    names
}

/// Compares names, ignoring case (RFC 4343).
fn is_same(one: &Name<'_>, other: &Name<'_>) -> bool {
    let [one, other] = [one, other].map(|name| name.as_bytes().map(<[u8]>::to_ascii_lowercase));
    one.eq(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use simple_dns::rdata::{A, AAAA, CNAME};

    const HOST: &str = "internet.example";

    const NO_ERROR: u8 = 0;
    const REFUSED: u8 = 5;
    const ADDRESS: u32 = u32::from_be_bytes([10, 99, 0, 1]);

    fn asked() -> Vec<u8> {
        query(7, HOST, false).unwrap()
    }

    fn found(answer: &[u8]) -> Option<Vec<IpAddr>> {
        addresses(answer, &asked())
    }

    fn record(name: &'static str, data: RData<'static>) -> ResourceRecord<'static> {
        ResourceRecord::new(Name::new(name).unwrap(), CLASS::IN, 60, data)
    }

    fn alias(name: &'static str, target: &'static str) -> ResourceRecord<'static> {
        record(name, RData::CNAME(CNAME(Name::new(target).unwrap())))
    }

    fn a(name: &'static str) -> ResourceRecord<'static> {
        record(name, RData::A(A { address: ADDRESS }))
    }

    /// Returns a reply to the question for this name.
    fn reply_about(
        name: &str,
        ipv6: bool,
        answers: impl IntoIterator<Item = ResourceRecord<'static>>,
    ) -> Vec<u8> {
        let question = query(7, name, ipv6).unwrap();
        let answers: Vec<ResourceRecord<'_>> = answers.into_iter().collect();
        let mut packet = Packet::new_reply(7);
        packet.questions = Packet::parse(&question).unwrap().questions;
        packet.answers = answers;
        packet.build_bytes_vec_compressed().unwrap()
    }

    /// Returns a reply with this code (RFC 1035, section 4.1.1).
    fn reply(id: u16, code: u8) -> Vec<u8> {
        let mut bytes =
            reply_about(HOST, false, [alias(HOST, "other.example"), a("other.example")]);
        bytes[..2].copy_from_slice(&id.to_be_bytes());
        bytes[3] |= code;
        bytes
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
        let one: Vec<IpAddr> = vec![[10, 99, 0, 1].into()];
        assert_eq!(found(&reply(7, NO_ERROR)), Some(one), "behind a question and an alias");
        assert_eq!(found(&reply(8, NO_ERROR)), None);
        assert_eq!(found(&reply(7, REFUSED)), None);
        assert!(is_reply(&reply(7, REFUSED), &asked()), "a refusal is a reply");
        assert_eq!(found(&asked()), None, "our own question reflected");
        assert!(!is_reply(&asked(), &asked()));
    }

    /// The id alone has 16 bits, which can be guessed.
    #[test]
    fn a_reply_to_another_question_is_rejected() {
        assert_eq!(found(&reply_about("evil.example", false, [a("evil.example")])), None);
        assert_eq!(found(&reply_about("evil.example", false, [a(HOST)])), None);
        assert_eq!(found(&reply_about(HOST, true, [a(HOST)])), None, "asked for IPv6");
        assert!(!is_reply(&reply_about(HOST, true, []), &asked()));
        let count = |answer: &[u8]| found(answer).map(|found| found.len());
        assert_eq!(count(&reply_about("Internet.EXAMPLE", false, [a(HOST)])), Some(1), "case");
        let mut bare = Packet::new_reply(7);
        bare.answers.push(a(HOST));
        assert_eq!(count(&bare.build_bytes_vec().unwrap()), Some(1), "without the question");
    }

    #[test]
    fn a_record_counts_for_the_name_that_was_asked_and_its_aliases() {
        let count = |answers: &[ResourceRecord<'static>]| {
            found(&reply_about(HOST, false, answers.iter().cloned())).map(|found| found.len())
        };
        let (one, two) = (alias(HOST, "one.example"), alias("ONE.example", "two.example"));
        assert_eq!(count(&[a("two.example"), two.clone(), one.clone()]), Some(1), "in any order");
        assert_eq!(count(&[one, a("two.example"), a("evil.example")]), Some(0), "not led to");
        assert_eq!(count(&[two, a("two.example"), a(HOST)]), Some(1), "an alias of another name");
        let looped = [alias(HOST, "one.example"), alias("one.example", HOST), a(HOST)];
        assert_eq!(count(&looped), Some(1), "a loop ends");
        let v6 = || record(HOST, RData::AAAA(AAAA { address: 1 }));
        assert_eq!(count(&[v6()]), Some(0), "IPv4 was asked for");
        let both = reply_about(HOST, true, [v6(), a(HOST)]);
        let only = addresses(&both, &query(7, HOST, true).unwrap());
        assert_eq!(only, Some(vec![std::net::Ipv6Addr::LOCALHOST.into()]));
    }

    /// A resolver that sends nothing but the question asks for TCP: "no address" is not its answer.
    #[test]
    fn a_reply_that_lacks_its_records_is_rejected() {
        let mut none = reply_about(HOST, false, []);
        assert_eq!(found(&none), Some(Vec::new()));
        none[2] |= 0x02;
        assert_eq!(found(&none), None);
        let mut some = reply(7, NO_ERROR);
        some[2] |= 0x02;
        assert_eq!(found(&some).map(|found| found.len()), Some(1), "what came counts");
    }

    #[test]
    fn a_truncated_reply_is_rejected() {
        let whole = reply(7, NO_ERROR);
        for length in 0..whole.len() {
            assert_eq!(found(&whole[..length]), None, "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_replies_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            found(&bytes);
            addresses(&bytes, &bytes);
        }

        #[test]
        fn corrupt_replies_never_panic(at in 0_usize..120, byte: u8) {
            let mut bytes = reply(7, NO_ERROR);
            if let Some(b) = bytes.get_mut(at) { *b = byte; }
            found(&bytes);
            addresses(&bytes, &bytes);
        }
    }
}
