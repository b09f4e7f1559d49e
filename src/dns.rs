//! A name's addresses, asked and answered (RFC 1035, RFC 3596): as much of DNS as a gateway asks. Pure. What does not fit is
//! no answer.

use std::net::IpAddr;

/// The identifier, the flags and four counts.
const HEADER: usize = 12;
/// Flags of the third and the fourth byte.
const RECURSION_DESIRED: u8 = 0x01;
const RESPONSE: u8 = 0x80;
const RCODE: u8 = 0x0f;
/// Types, and the class of the internet.
const A: u16 = 1;
const AAAA: u16 = 28;
const IN: u16 = 1;
/// The longest label; a longer length is a pointer, which ends a name.
const LABEL: usize = 63;
const NAME: usize = 253;

/// The question for the addresses of `host`; `None` if that is no name.
pub fn query(id: u16, host: &str, ipv6: bool) -> Option<Vec<u8>> {
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.len() > NAME {
        return None;
    }
    let mut bytes = Vec::with_capacity(HEADER + host.len() + 6);
    bytes.extend(id.to_be_bytes());
    bytes.extend([RECURSION_DESIRED, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in host.split('.') {
        let in_names = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if !(1..=LABEL).contains(&label.len()) || !label.bytes().all(in_names) {
            return None;
        }
        bytes.push(u8::try_from(label.len()).ok()?);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend(if ipv6 { AAAA } else { A }.to_be_bytes());
    bytes.extend(IN.to_be_bytes());
    Some(bytes)
}

/// The addresses in an answer to the question with this id; `None` if it is not one, or a refusal.
pub fn addresses(answer: &[u8], id: u16) -> Option<Vec<IpAddr>> {
    let mut rest = Rest(answer);
    let (told, flags, code) = (rest.u16()?, rest.u8()?, rest.u8()?);
    if told != id || flags & RESPONSE == 0 || code & RCODE != 0 {
        return None;
    }
    let (questions, answers) = (rest.u16()?, rest.u16()?);
    rest.take(4)?;
    for _ in 0..questions {
        rest.name()?;
        rest.take(4)?;
    }
    let mut found = Vec::new();
    for _ in 0..answers {
        found.extend(rest.record()?);
    }
    Some(found)
}

/// What of a message is still to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(*self.take(2)?.first_chunk()?))
    }

    /// Passes over a name; whose it is does not matter: the answer is to our question.
    fn name(&mut self) -> Option<()> {
        loop {
            match usize::from(self.u8()?) {
                0 => return Some(()),
                length @ 1..=LABEL => self.take(length).map(drop)?,
                0xc0.. => return self.take(1).map(drop),
                _ => return None,
            }
        }
    }

    /// One record: its address, if it is one. `None`: it does not fit.
    fn record(&mut self) -> Option<Option<IpAddr>> {
        self.name()?;
        let (kind, class) = (self.u16()?, self.u16()?);
        self.take(4)?;
        let length = usize::from(self.u16()?);
        let data = self.take(length)?;
        let v4 = || <[u8; 4]>::try_from(data).ok().map(IpAddr::from);
        let v6 = || <[u8; 16]>::try_from(data).ok().map(IpAddr::from);
        match (class, kind) {
            (IN, A) => v4().map(Some),
            (IN, AAAA) => v6().map(Some),
            _ => Some(None),
        }
    }
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
    fn a_question_is_read_by_others_as_it_was_meant() {
        for (ipv6, kind) in [(false, TYPE::A), (true, TYPE::AAAA)] {
            let bytes = query(7, HOST, ipv6).unwrap();
            let packet = Packet::parse(&bytes).unwrap();
            assert_eq!((packet.id(), packet.questions.len()), (7, 1));
            assert_eq!(packet.questions[0].qname.to_string(), HOST);
            assert_eq!(packet.questions[0].qtype, QTYPE::TYPE(kind));
            assert!(packet.has_flags(PacketFlag::RECURSION_DESIRED) && !packet.has_flags(PacketFlag::RESPONSE));
        }
        assert_eq!(query(7, "internet.example.", false), query(7, HOST, false), "a name may end in its root");
        assert!(query(7, &"x.".repeat(127), false).is_some());
    }

    #[test]
    fn what_is_no_name_is_not_asked() {
        let (label, long) = ("x".repeat(64), "xy.".repeat(85));
        for wrong in [label.as_str(), &long, "", ".", "a..b", "a b", "ä.example"] {
            assert_eq!(query(7, wrong, false), None, "{wrong}");
        }
    }

    #[test]
    fn an_answer_counts_only_with_our_id_and_without_error() {
        let both: Vec<IpAddr> = vec![[10, 99, 0, 1].into(), std::net::Ipv6Addr::LOCALHOST.into()];
        assert_eq!(addresses(&reply(7, RCODE::NoError), 7), Some(both), "behind a question and an alias");
        assert_eq!(addresses(&reply(8, RCODE::NoError), 7), None);
        assert_eq!(addresses(&reply(7, RCODE::Refused), 7), None);
        assert_eq!(addresses(&query(7, HOST, false).unwrap(), 7), None, "our own question reflected");
    }

    #[test]
    fn an_answer_that_ends_early_is_none() {
        let whole = reply(7, RCODE::NoError);
        for length in 0..whole.len() {
            assert_eq!(addresses(&whole[..length], 7), None, "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_answers_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            addresses(&bytes, 7);
        }

        #[test]
        fn damaged_answers_never_panic(at in 0_usize..120, byte: u8) {
            let mut bytes = reply(7, RCODE::NoError);
            if let Some(b) = bytes.get_mut(at) { *b = byte; }
            addresses(&bytes, 7);
        }
    }
}
