//! One HTTP/1.1 GET (RFC 9110, 9112), bound to a port: enough to tell the internet from a captive portal.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::tcp::connect;
use crate::config::{HttpExpectation, NodeProbe};
use crate::event::Reachability;

/// No more of an answer is read.
const LONGEST: usize = 64 * 1024;
/// `httparse` wants to know how many headers there can be.
const HEADERS: usize = 64;

/// The request's bytes.
pub fn request(host: &str, port: u16, path: &str) -> Vec<u8> {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let port = if port == 80 { String::new() } else { format!(":{port}") };
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}{port}\r\nUser-Agent: bramblegate\r\nAccept: */*\r\nCache-Control: no-cache\r\n\
         Connection: close\r\n\r\n"
    )
    .into_bytes()
}

/// How far an answer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// more bytes could change the judgement
    Incomplete,
    /// not HTTP
    Nonsense,
    Status {
        code: u16,
        /// where it begins
        body: usize,
        /// where it ends, if that is told
        ends: Option<usize>,
    },
}

/// Reads the head of an answer; interim ones before it (1xx, RFC 9110 section 15.2) are passed over.
pub fn head(bytes: &[u8]) -> Answer {
    let mut from = 0;
    loop {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        match (response.parse(bytes.get(from..).unwrap_or_default()), response.code) {
            (Ok(httparse::Status::Complete(length)), Some(100..=199)) if bytes.len() < LONGEST => from += length,
            (Ok(httparse::Status::Complete(length)), Some(code)) => {
                return Answer::Status { code, body: from + length, ends: end(response.headers, from + length) };
            }
            // More headers than we have room for: the status line was good.
            (Err(httparse::Error::TooManyHeaders), Some(code)) => {
                return Answer::Status { code, body: bytes.len(), ends: None };
            }
            (Ok(_), _) if bytes.len() < LONGEST => return Answer::Incomplete,
            _ => return Answer::Nonsense,
        }
    }
}

/// Where a body that begins at `body` ends, if a header says so: some servers do not close.
fn end(headers: &[httparse::Header<'_>], body: usize) -> Option<usize> {
    let length = headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"))?;
    let length: usize = std::str::from_utf8(length.value).ok()?.trim().parse().ok()?;
    Some(body.saturating_add(length))
}

/// What an answer says; `None` when more of it is needed. `ended`: there will be no more.
pub fn judge(bytes: &[u8], expect: &HttpExpectation, ended: bool) -> Option<Reachability> {
    let (code, body, ended) = match head(bytes) {
        Answer::Incomplete => return ended.then_some(Reachability::Nothing),
        Answer::Nonsense => return Some(Reachability::Nothing),
        Answer::Status { code, body, ends } => {
            let whole = ends.is_some_and(|ends| bytes.len() >= ends);
            let ends = ends.map_or(bytes.len(), |ends| ends.min(bytes.len()));
            (code, bytes.get(body..ends).unwrap_or_default(), ended || whole)
        }
    };
    match expect {
        HttpExpectation::Status(wanted) if *wanted == code => Some(Reachability::Online),
        HttpExpectation::Body(text) if code == 200 => {
            let needle = text.as_bytes();
            let found = needle.is_empty() || body.windows(needle.len()).any(|window| window == needle);
            match found {
                true => Some(Reachability::Online),
                false => (ended || bytes.len() >= LONGEST).then_some(Reachability::Portal),
            }
        }
        _ => Some(Reachability::Portal),
    }
}

/// Asks once, over a connection that is there.
///
/// # Errors
/// The connection broke before it could be judged.
pub async fn ask(stream: &mut TcpStream, request: &[u8], expect: &HttpExpectation) -> io::Result<Reachability> {
    stream.write_all(request).await?;
    let mut bytes = Vec::new();
    loop {
        let ended = stream.read_buf(&mut bytes).await? == 0;
        if let Some(reachability) = judge(&bytes, expect, ended) {
            return Ok(reachability);
        }
    }
}

/// `http://:PORT/PATH` of a node: well when it answers as expected; where nothing is said, with a status of 2xx or 3xx.
pub fn is_well(address: Ipv4Addr, probe: NodeProbe) -> BoxFuture<'static, bool> {
    Box::pin(async move {
        let NodeProbe::Http { port: number, path, expect } = probe else { return false };
        is_healthy(address, number, &path, expect.as_ref()).await.unwrap_or(false)
    })
}

async fn is_healthy(address: Ipv4Addr, number: u16, path: &str, expect: Option<&HttpExpectation>) -> io::Result<bool> {
    let mut stream = connect(SocketAddr::new(IpAddr::V4(address), number), None, None).await?;
    let request = request(&address.to_string(), number, path);
    if let Some(expect) = expect {
        return Ok(ask(&mut stream, &request, expect).await? == Reachability::Online);
    }
    stream.write_all(&request).await?;
    let mut bytes = Vec::new();
    while stream.read_buf(&mut bytes).await? > 0 {
        match head(&bytes) {
            Answer::Incomplete => {}
            Answer::Nonsense => return Ok(false),
            Answer::Status { code, .. } => return Ok((200..400).contains(&code)),
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NO_CONTENT: HttpExpectation = HttpExpectation::Status(204);

    #[test]
    fn the_expected_status_is_the_internet_and_any_other_a_portal() {
        let judged = |text: &str| judge(text.as_bytes(), &NO_CONTENT, false);
        assert_eq!(judged("HTTP/1.1 204 No Content\r\n\r\n"), Some(Reachability::Online));
        assert_eq!(judged("HTTP/1.1 302 Found\r\nLocation: http://login.hotel/\r\n\r\n"), Some(Reachability::Portal));
        assert_eq!(judged("HTTP/1.0 200 OK\r\n\r\n<html>Welcome"), Some(Reachability::Portal));
        assert_eq!(judged("HTTP/1.1 204 No Con"), None);
        assert_eq!(judged("SSH-2.0-OpenSSH_9.2\r\n"), Some(Reachability::Nothing));
    }

    #[test]
    fn a_connection_that_closes_without_a_word_is_nothing() {
        assert_eq!(judge(b"", &NO_CONTENT, false), None);
        assert_eq!(judge(b"", &NO_CONTENT, true), Some(Reachability::Nothing));
        assert_eq!(judge(b"HTTP/1.1 204 No Con", &NO_CONTENT, true), Some(Reachability::Nothing));
    }

    #[test]
    fn an_expected_body_may_come_in_pieces() {
        let expect = HttpExpectation::Body("NetworkManager is online".into());
        let all = b"HTTP/1.1 200 OK\r\n\r\nNetworkManager is online\n";
        assert_eq!(judge(&all[..30], &expect, false), None);
        assert_eq!(judge(all, &expect, false), Some(Reachability::Online));
        assert_eq!(judge(&all[..30], &expect, true), Some(Reachability::Portal));
    }

    #[test]
    fn an_interim_answer_is_none_and_a_server_that_does_not_close_is_not_waited_for() {
        let interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
        assert_eq!(judge(interim, &NO_CONTENT, false), None);
        let answered = [&interim[..], b"HTTP/1.1 204 No Content\r\n\r\n"].concat();
        assert_eq!(judge(&answered, &NO_CONTENT, false), Some(Reachability::Online));
        let expect = HttpExpectation::Body("Success".into());
        let login = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nlog in";
        assert_eq!(judge(login, &expect, false), Some(Reachability::Portal));
        assert_eq!(judge(&login[..login.len() - 1], &expect, false), None);
        assert_eq!(
            judge(&[login, &b"Success"[..]].concat(), &expect, true),
            Some(Reachability::Portal),
            "beyond its end"
        );
        assert_eq!(judge(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\nx", &expect, false), None);
    }

    #[test]
    fn the_request_names_host_and_port_as_a_server_expects_them() {
        let text = String::from_utf8(request("internet.example", 8080, "/generate_204")).unwrap();
        assert!(text.starts_with("GET /generate_204 HTTP/1.1\r\nHost: internet.example:8080\r\n"), "{text}");
        assert!(String::from_utf8(request("2001:db8::1", 80, "/")).unwrap().contains("Host: [2001:db8::1]\r\n"));
    }

    proptest! {
        #[test]
        fn arbitrary_answers_are_judged_once_they_have_ended(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(judge(&bytes, &NO_CONTENT, true).is_some());
        }

        #[test]
        fn a_judgement_does_not_change_with_more_bytes(cut in 0_usize..60, rest in proptest::collection::vec(any::<u8>(), 0..60)) {
            let mut bytes = b"HTTP/1.1 204 No Content\r\nServer: x\r\n\r\n".to_vec();
            bytes.extend(rest);
            let early = judge(&bytes[..cut.min(bytes.len())], &NO_CONTENT, false);
            prop_assert!(early.is_none() || early == judge(&bytes, &NO_CONTENT, true));
        }
    }
}
