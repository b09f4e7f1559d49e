//! A name's addresses from the resolvers of one uplink (RFC 1035), asked through that uplink.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::{UplinkTarget, unguessable};

/// Port 53.
const PORT: u16 = 53;
/// An unanswered question is put again after this.
const RETRY: Duration = Duration::from_secs(1);

/// The question for the addresses of `host`; `None` if that is no name.
pub fn query(id: u16, host: &str, ipv6: bool) -> Option<Vec<u8>> {
    let kind = if ipv6 { TYPE::AAAA } else { TYPE::A };
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let question = Question::new(Name::new(host).ok()?, QTYPE::TYPE(kind), QCLASS::CLASS(CLASS::IN), false);
    packet.questions.push(question);
    packet.build_bytes_vec().ok()
}

/// The addresses in an answer to the question with this id; `None` if it is not one, or a refusal.
pub fn addresses(answer: &[u8], id: u16) -> Option<Vec<IpAddr>> {
    let packet = Packet::parse(answer).ok()?;
    if packet.id() != id || !packet.has_flags(PacketFlag::RESPONSE) || packet.rcode() != RCODE::NoError {
        return None;
    }
    let found = packet.answers.iter().filter_map(|record| match &record.rdata {
        RData::A(a) => Some(IpAddr::V4(a.address.into())),
        RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.address.into())),
        _ => None,
    });
    Some(found.collect())
}

/// Asks all resolvers of the uplink at once; the first answer with addresses counts. Waits as long as it is let.
///
/// # Errors
/// No socket, or no resolver could be asked.
pub async fn resolve(target: &UplinkTarget, host: &str) -> io::Result<Vec<IpAddr>> {
    let outside: Vec<_> = target.resolvers.iter().copied().filter(|resolver| !resolver.is_loopback()).collect();
    let inside: Vec<_> = target.resolvers.iter().copied().filter(IpAddr::is_loopback).collect();
    tokio::select! {
        found = ask(target, &outside, Some(&target.name), host), if !outside.is_empty() => found,
        found = ask(target, &inside, None, host), if !inside.is_empty() => found,
        else => Err(io::Error::new(io::ErrorKind::NotFound, "no resolver is known")),
    }
}

async fn ask(target: &UplinkTarget, resolvers: &[IpAddr], port: Option<&str>, host: &str) -> io::Result<Vec<IpAddr>> {
    let v4 = socket("0.0.0.0:0", port).await;
    let v6 = socket("[::]:0", port).await;
    let [high, low, ..] = unguessable().to_ne_bytes();
    let id = u16::from_ne_bytes([high, low]);
    let question = query(id, host, target.source.is_ipv6())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("{host} is not a host name")))?;
    loop {
        for &resolver in resolvers {
            let socket = if resolver.is_ipv4() { &v4 } else { &v6 };
            // One that cannot be reached leaves the others.
            if let Ok(socket) = socket {
                let _ = socket.send_to(&question, endpoint(resolver, target)).await;
            }
        }
        let first = async {
            tokio::select! {
                found = answer(&v4, resolvers, id) => found,
                found = answer(&v6, resolvers, id) => found,
            }
        };
        if let Ok(found) = timeout(RETRY, first).await {
            return Ok(found);
        }
    }
}

async fn socket(any: &str, port: Option<&str>) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(any).await?;
    socket.bind_device(port.map(str::as_bytes))?;
    Ok(socket)
}

fn endpoint(resolver: IpAddr, target: &UplinkTarget) -> SocketAddr {
    match resolver {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => SocketAddrV6::new(v6, PORT, 0, target.index).into(),
        other => SocketAddr::new(other, PORT),
    }
}

/// The first answer with addresses from one of the resolvers. What others send is passed over.
async fn answer(socket: &io::Result<UdpSocket>, resolvers: &[IpAddr], id: u16) -> Vec<IpAddr> {
    let Ok(socket) = socket else { return std::future::pending().await };
    let mut buffer = [0; 1500];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, from)) if from.port() == PORT && resolvers.contains(&from.ip()) => {
                let found = buffer.get(..length).and_then(|bytes| addresses(bytes, id)).unwrap_or_default();
                if !found.is_empty() {
                    return found;
                }
            }
            Ok(_) => {}
            // "connection refused" of an earlier question; the next may fare better
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use simple_dns::ResourceRecord;
    use simple_dns::rdata::A;

    fn reply(id: u16, code: RCODE) -> Vec<u8> {
        let mut packet = Packet::new_reply(id);
        *packet.rcode_mut() = code;
        let a = RData::A(A { address: u32::from_be_bytes([10, 99, 0, 1]) });
        packet.answers.push(ResourceRecord::new(Name::new("internet.example").unwrap(), CLASS::IN, 60, a));
        packet.build_bytes_vec().unwrap()
    }

    #[test]
    fn a_question_is_read_back_as_it_was_meant() {
        let bytes = query(7, "internet.example", true).unwrap();
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!(packet.questions[0].qname.to_string(), "internet.example");
        assert!(packet.has_flags(PacketFlag::RECURSION_DESIRED));
        assert_eq!(query(7, &"x".repeat(64), false), None, "a label has at most 63 bytes");
    }

    #[test]
    fn an_answer_counts_only_with_our_id_and_without_error() {
        assert_eq!(addresses(&reply(7, RCODE::NoError), 7), Some(vec![[10, 99, 0, 1].into()]));
        assert_eq!(addresses(&reply(8, RCODE::NoError), 7), None);
        assert_eq!(addresses(&reply(7, RCODE::Refused), 7), None);
        assert_eq!(addresses(&query(7, "internet.example", false).unwrap(), 7), None, "our own question reflected");
    }

    proptest! {
        #[test]
        fn arbitrary_answers_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            addresses(&bytes, 7);
        }

        #[test]
        fn damaged_answers_never_panic(at in 0_usize..60, byte: u8) {
            let mut bytes = reply(7, RCODE::NoError);
            if let Some(b) = bytes.get_mut(at) { *b = byte; }
            addresses(&bytes, 7);
        }
    }
}
